// Package localtest starts the local stack, or its AWS services alone, for tests.
package localtest

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
)

// Start builds and starts the local stack on free ports and returns the URL of its API. The stack
// ends with the test.
func Start(t testing.TB, arguments ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "local")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/docuhook/docuhook/infra/local").CombinedOutput(); err != nil {
		t.Fatalf("building the local stack: %v\n%s", err, out)
	}
	command := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0"}, arguments...)...)
	command.Dir = dynamotest.Root(t)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("the stack ended with %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	api := regexp.MustCompile(`API +(http://\S+)`)
	var printed []string
	for lines.Scan() {
		if match := api.FindStringSubmatch(lines.Text()); match != nil {
			go io.Copy(io.Discard, out)
			return match[1]
		}
		printed = append(printed, lines.Text())
	}
	t.Fatalf("the stack did not start:\n%s", strings.Join(printed, "\n"))
	return ""
}
