package receivers

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// verifier runs an official library of Standard Webhooks on a request in a file. It errors unless the library takes
// the request as signed with secret.
type verifier struct {
	language string
	verify   func(t *testing.T, file, secret string) error
}

func verifiers() []verifier {
	program := func(needs string, command ...string) func(*testing.T, string, string) error {
		return func(t *testing.T, file, secret string) error {
			t.Helper()
			for _, path := range []string{command[0], needs} {
				if _, err := exec.LookPath(path); err != nil && !exists(path) {
					lack(t, path+" is not installed: make receivers")
				}
			}
			return run(".", command[0], append(append([]string{}, command[1:]...), file, secret)...)
		}
	}
	in := func(parts ...string) string { return filepath.Join(append([]string{libraries}, parts...)...) }
	return []verifier{
		{"Go", verifyInGo},
		{"JavaScript", program(in("node", "node_modules", "standardwebhooks"), "node", in("node", "verify.mjs"))},
		{"Python", program("python3", in("python", "bin", "python"), "-B", "libraries/verify.py")},
		{"Rust", program("cargo", in("rust", "release", "verify"))},
		{"Java", program(in("java", "standardwebhooks-1.1.0.jar"), "java", "-cp", in("java", "*"), "libraries/java/Verify.java")},
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func verifyInGo(_ *testing.T, file, secret string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return err
	}
	body, readErr := io.ReadAll(request.Body)
	library, err := standardwebhooks.NewWebhook(secret)
	if err != nil || readErr != nil {
		return errors.Join(err, readErr)
	}
	return library.Verify(body, request.Header)
}

// installVerifiers builds what the libraries of Rust and Java need.
func installVerifiers() error {
	for program, name := range map[string]string{"cargo": "Rust with cargo", "mvn": "Java with Maven"} {
		if _, err := exec.LookPath(program); err != nil {
			return errors.New("the libraries of Standard Webhooks need " + name)
		}
	}
	built, err := filepath.Abs(libraries)
	if err != nil {
		return err
	}
	return errors.Join(
		copyFiles(filepath.Join(libraries, "node"), "libraries/verify.mjs"),
		run("libraries/rust", "cargo", "build", "--quiet", "--release", "--locked", "--target-dir", filepath.Join(built, "rust")),
		run("libraries/java", "mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies",
			"-DoutputDirectory="+filepath.Join(built, "java")),
	)
}

// capture returns a request as it comes over the wire.
func capture(t *testing.T, shift time.Duration, request endpoint.Request) []byte {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	captured := make(chan []byte, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var raw bytes.Buffer
		if read, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw))); err == nil {
			io.Copy(io.Discard, read.Body)
		}
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		captured <- raw.Bytes()
	}()
	if got := post(t, "http://"+listener.Addr().String()+"/hook", shift, request); got != 204 {
		t.Fatalf("answered %d", got)
	}
	return <-captured
}

// TestOfficialLibrariesVerifyACapturedRequest hands what comes over the wire to the libraries of Standard Webhooks in
// five languages.
func TestOfficialLibrariesVerifyACapturedRequest(t *testing.T) {
	own, before, other := mint(t), mint(t), mint(t)
	usual := eventOf(t, own, webhook.Event{DocumentID: "doc_1", Status: webhook.Processed, Sequence: sequence(t, 1)})
	odd := event(t, "Übergröße 😀 <&>\"\\\u2028", own)
	odd.Current.Headers = map[string]signature.Secret{"Authorization": "Bearer abc"}
	overlap := event(t, "doc_2", own)
	overlap.Previous = &before
	requests := []struct {
		name    string
		request endpoint.Request
		shift   time.Duration
		change  func([]byte) []byte
		takes   []signature.Credentials
		refuses []signature.Credentials
	}{
		{name: "a usual one", request: usual, takes: []signature.Credentials{own}, refuses: []signature.Credentials{other}},
		{name: "one of odd characters", request: odd, takes: []signature.Credentials{own}},
		{
			name: "one of a rotation's overlap", request: overlap,
			takes: []signature.Credentials{own, before}, refuses: []signature.Credentials{other},
		},
		{name: "an old one", request: usual, shift: -10 * time.Minute, refuses: []signature.Credentials{own}},
		{
			name: "one that was changed", request: usual, refuses: []signature.Credentials{own},
			change: func(raw []byte) []byte { return bytes.Replace(raw, []byte("processed"), []byte("submitted"), 1) },
		},
	}
	files := map[string]string{}
	for _, r := range requests {
		raw := capture(t, r.shift, r.request)
		if r.change != nil {
			raw = r.change(raw)
		}
		files[r.name] = filepath.Join(t.TempDir(), "request.http")
		if err := os.WriteFile(files[r.name], raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range verifiers() {
		t.Run(v.language, func(t *testing.T) {
			t.Parallel()
			for _, r := range requests {
				for _, c := range r.takes {
					if err := v.verify(t, files[r.name], c.Secret.Reveal()); err != nil {
						t.Errorf("%s is refused: %v", r.name, err)
					}
				}
				for _, c := range r.refuses {
					err := v.verify(t, files[r.name], c.Secret.Reveal())
					if err == nil || strings.Contains(err.Error(), "Exception in thread") || strings.Contains(err.Error(), "panicked") {
						t.Errorf("%s is not refused: %v", r.name, err)
					}
				}
			}
		})
	}
}
