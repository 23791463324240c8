import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.Collections;
import java.util.HexFormat;
import java.util.stream.Collectors;
import org.apache.catalina.startup.Tomcat;

/** Writes down what Tomcat hands to an application of a request. */
class App extends HttpServlet {
  public static void main(String[] arguments) throws Exception {
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(System.getenv("FOLDER"));
    tomcat.setPort(Integer.parseInt(System.getenv("PORT")));
    tomcat.getConnector().setProperty("address", "127.0.0.1");
    var context = tomcat.addContext("", System.getenv("FOLDER"));
    Tomcat.addServlet(context, "app", new App());
    context.addServletMappingDecoded("/*", "app");
    tomcat.start();
    tomcat.getServer().await();
  }

  @Override
  protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
    byte[] body = request.getInputStream().readAllBytes();
    String query = request.getQueryString() == null ? "" : "?" + request.getQueryString();
    String headers = Collections.list(request.getHeaderNames()).stream()
        .map(name -> quoted(name) + ":" + quoted(request.getHeader(name))).collect(Collectors.joining(","));
    String seen = "{\"target\":" + quoted(request.getRequestURI() + query) + ",\"headers\":{" + headers + "},\"sha256\":"
        + quoted(HexFormat.of().formatHex(digest().digest(body))) + "}\n";
    Files.writeString(Path.of(System.getenv("SEEN")), seen, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (java.security.NoSuchAlgorithmException impossible) {
      throw new AssertionError(impossible);
    }
  }

  private static String quoted(String text) {
    return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
  }
}
