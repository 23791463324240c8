import com.standardwebhooks.Webhook;
import com.standardwebhooks.exceptions.WebhookVerificationException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Verifies a request, in a file as it came over the wire: java -cp standardwebhooks.jar Verify.java FILE SECRET. */
class Verify {
  public static void main(String[] arguments) throws Exception {
    String raw = Files.readString(Path.of(arguments[0]));
    int end = raw.indexOf("\r\n\r\n");
    Map<String, List<String>> headers = new HashMap<>();
    raw.substring(0, end).lines().skip(1).forEach(line -> {
      String[] field = line.split(": ", 2);
      headers.put(field[0], List.of(field[1]));
    });
    try {
      new Webhook(arguments[1]).verify(raw.substring(end + 4), headers);
    } catch (WebhookVerificationException problem) {
      System.err.println(problem.getMessage());
      System.exit(1);
    }
  }
}
