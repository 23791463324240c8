// Package receivers tests the example receivers with the requests that endpoints really get.
//
// Each example is started as the program that it is. The Go one always runs; those in Node.js and
// Python run when their libraries are installed below .build, which -prepare does.
package receivers

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

var prepare = flag.Bool("prepare", false,
	"install the libraries of the Node.js and Python examples below .build, and fail if the examples cannot run")

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// libraries is where the libraries of the examples are installed.
const libraries = "../../.build/receivers"

// example is a receiver in one language. command returns how to run it, and skips the test if its
// libraries are not installed.
type example struct {
	language string
	command  func(t *testing.T) *exec.Cmd
}

func examples() []example {
	return []example{{"Go", goExample}, {"Node.js", nodeExample}, {"Python", pythonExample}}
}

func goExample(t *testing.T) *exec.Cmd {
	binary := filepath.Join(t.TempDir(), "receiver")
	if err := run(".", "go", "build", "-o", binary, "./go"); err != nil {
		t.Fatal(err)
	}
	return exec.Command(binary)
}

func nodeExample(t *testing.T) *exec.Cmd {
	modules, err := filepath.Abs(filepath.Join(libraries, "node", "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "standardwebhooks")); err != nil {
		lack(t, "the Node.js example's library is not installed: make receivers")
	}
	if _, err := exec.LookPath("node"); err != nil {
		lack(t, "the Node.js example needs Node.js")
	}
	// Node.js looks for libraries beside the program and above, so that it runs as a copy.
	copied := t.TempDir()
	if err := copyFiles(copied, "node/receiver.mjs"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(copied, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return exec.Command("node", filepath.Join(copied, "receiver.mjs"))
}

func pythonExample(t *testing.T) *exec.Cmd {
	python, err := filepath.Abs(filepath.Join(libraries, "python", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	if exec.Command(python, "-c", "import standardwebhooks").Run() != nil {
		lack(t, "the Python example's library is not installed: make receivers")
	}
	return exec.Command(python, "-B", "python/receiver.py")
}

// lack skips a test, which after -prepare must not be skipped.
func lack(t *testing.T, what string) {
	t.Helper()
	if *prepare {
		t.Fatal(what)
	}
	t.Skip(what)
}

func TestMain(m *testing.M) {
	flag.Parse()
	if *prepare {
		if err := install(); err != nil {
			fmt.Fprintln(os.Stderr, "receivers:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// install installs the pinned libraries of the examples.
func install() error {
	node, venv := filepath.Join(libraries, "node"), filepath.Join(libraries, "python")
	python := cmp.Or(os.Getenv("PYTHON"), "python3")
	for program, name := range map[string]string{"npm": "Node.js with npm", python: "Python 3 (set PYTHON)"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the examples need %s", name)
		}
	}
	return errors.Join(
		installVerifiers(),
		copyFiles(node, "node/package.json", "node/package-lock.json"),
		run(node, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"),
		run(".", python, "-m", "venv", venv),
		run(".", filepath.Join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", "python/requirements.txt"),
	)
}

func run(folder, name string, arguments ...string) error {
	command := exec.Command(name, arguments...)
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}

func copyFiles(folder string, names ...string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(name)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// receiver is a running example.
type receiver struct {
	url   string
	lines chan string
}

// start runs an example with credentials until the test ends.
func start(t *testing.T, command *exec.Cmd, credentials ...signature.Credentials) *receiver {
	t.Helper()
	return startWith(t, command, "", credentials...)
}

// startWith is start with a database in a file, "" for one in memory.
func startWith(t *testing.T, command *exec.Cmd, database string, credentials ...signature.Credentials) *receiver {
	t.Helper()
	var tokens, secrets []string
	for _, one := range credentials {
		tokens = append(tokens, one.Token.Reveal())
		secrets = append(secrets, one.Secret.Reveal())
	}
	again := exec.Command(command.Path, command.Args[1:]...)
	again.Env = append(os.Environ(), "PORT=0", "DATABASE="+database,
		"WEBHOOK_TOKEN="+strings.Join(tokens, " "), "WEBHOOK_SECRET="+strings.Join(secrets, " "))
	var complaints bytes.Buffer
	again.Stderr = &complaints
	stdout, err := again.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	r := &receiver{lines: make(chan string, 10000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(r.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			r.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		again.Process.Kill()
		<-read
		again.Wait() // reports that it was killed
		if t.Failed() {
			t.Logf("the receiver complained:\n%s", &complaints)
		}
	})
	r.url = strings.TrimPrefix(r.line(t), "listening on ")
	return r
}

// line returns the next line that the receiver prints.
func (r *receiver) line(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-r.lines:
		if !ok {
			t.Fatal("the receiver has ended")
		}
		return line
	case <-time.After(patience):
		t.Fatal("the receiver printed nothing")
	}
	return ""
}

// post makes an attempt as the deliver function does, at a time that is off by shift. It returns the
// status of the answer, 0 if the connection ended without one.
func post(t *testing.T, url string, shift time.Duration, request endpoint.Request) int {
	t.Helper()
	client := endpoint.NewClient(endpoint.ClientOptions{
		Guard: endpoint.NewGuard(true), AllowHTTP: true, Now: func() time.Time { return time.Now().Add(shift) },
	})
	defer client.Rested()
	request.URL, request.Attempt = url, 1
	result := client.Post(context.Background(), request)
	if result.Status == 0 && result.Code != endpoint.CodeConnectionReset {
		t.Fatalf("no answer: %s %s", result.Code, result.Error)
	}
	return result.Status
}

// change is a request that was altered on its way.
type change func(header http.Header, body []byte) []byte

// intermediary passes requests on to url after it has changed them.
func intermediary(t *testing.T, url string, change change) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		header := r.Header.Clone()
		body = change(header, body)
		onward, err := http.NewRequestWithContext(r.Context(), r.Method, url, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		onward.Header = header
		answer, err := http.DefaultClient.Do(onward)
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func mint(t *testing.T) signature.Credentials {
	t.Helper()
	credentials, err := signature.NewCredentials(nil)
	if err != nil {
		t.Fatal(err)
	}
	return credentials
}

// event returns the request of an event about a document, whose sequence is null.
func event(t *testing.T, documentID string, current signature.Credentials) endpoint.Request {
	t.Helper()
	return eventOf(t, current, webhook.Event{DocumentID: documentID, Status: webhook.Processed, PreviousStatus: webhook.Processing})
}

// eventOf returns the request of an event, which gets an id that goes with what it says.
func eventOf(t *testing.T, current signature.Credentials, e webhook.Event) endpoint.Request {
	t.Helper()
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	e.Version, e.OccurredAt = webhook.RenderVersion, webhook.At(at)
	e.ID = webhook.NewEventID(at, fmt.Sprint(e))
	body, err := e.Render("0197a1de-0000-7000-8000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
	return endpoint.Request{EventID: e.ID, Body: body, Current: current}
}

// forEach runs a test for every example.
func forEach(t *testing.T, test func(t *testing.T, command *exec.Cmd)) {
	for _, e := range examples() {
		t.Run(e.language, func(t *testing.T) {
			t.Parallel()
			test(t, e.command(t))
		})
	}
}

func TestExamplesAcceptWhatWeSendAndNothingElse(t *testing.T) {
	const standard, hmac = "/standard-webhooks", "/hmac"
	tests := []struct {
		name   string
		path   string
		signer func(own, other signature.Credentials) signature.Credentials // default: own
		shift  time.Duration
		change change
		body   []byte // default: a rendered event
		want   int
	}{
		{name: "a request is accepted", path: standard, want: 204},
		{
			name: "a document id beyond ASCII is accepted",
			path: standard,
			body: []byte(`{"data":{"id":"evt_1","attributes":{"document_id":"Übergröße 😀 <&>","status":"processed"}}}`),
			want: 204,
		},
		{name: "a tampered body is refused", path: standard, change: tamper, want: 401},
		{name: "an appended byte is refused", path: standard, change: appendByte, want: 401},
		{name: "a wrong secret is refused", path: standard, signer: foreignSecret, want: 401},
		{name: "another event id is refused", path: standard, change: withHeader("webhook-id", "evt_other"), want: 401},
		{
			name:   "a later timestamp on an old request is refused",
			path:   standard,
			change: withHeader("webhook-timestamp", "4102444800"),
			want:   401,
		},
		{name: "a missing signature is refused", path: standard, change: withHeader("webhook-signature", ""), want: 401},
		{
			name:   "a signature that makes no sense is refused",
			path:   standard,
			change: withHeader("webhook-signature", "v1 v1, x,y v1,*"),
			want:   401,
		},
		{name: "an old request is refused", path: standard, shift: -10 * time.Minute, want: 401},
		{name: "a request from the future is refused", path: standard, shift: 10 * time.Minute, want: 401},
		{name: "a request of four minutes ago is accepted", path: standard, shift: -4 * time.Minute, want: 204},
		{name: "a body without an event is refused", path: standard, body: []byte(`{"data":{}}`), want: 400},
		{name: "a request is accepted by the hex signature", path: hmac, want: 204},
		{name: "a tampered body is refused by the hex signature", path: hmac, change: tamper, want: 401},
		{name: "a wrong secret is refused by the hex signature", path: hmac, signer: foreignSecret, want: 401},
		{name: "a wrong token is refused", path: hmac, signer: foreignToken, want: 401},
		{name: "a missing token is refused", path: hmac, change: withHeader("X-Webhook-Token", ""), want: 401},
		{name: "a missing hex signature is refused", path: hmac, change: withHeader("X-Webhook-Signature", ""), want: 401},
		{name: "a shortened hex signature is refused", path: hmac, change: withHeader("X-Webhook-Signature", "00"), want: 401},
		{name: "an enormous body is refused", path: hmac, body: bytes.Repeat([]byte(" "), 65<<10), want: 413},
		{name: "another path is not there", path: "/", want: 404},
	}
	forEach(t, func(t *testing.T, command *exec.Cmd) {
		own, other := mint(t), mint(t)
		r := start(t, command, own)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				signer := own
				if test.signer != nil {
					signer = test.signer(own, other)
				}
				request := event(t, "doc_1", signer)
				if test.body != nil {
					request.Body = test.body
				}
				url := r.url + test.path
				if test.change != nil {
					url = intermediary(t, url, test.change)
				}
				got := post(t, url, test.shift, request)
				if got == 0 && test.want == 413 {
					return // it hung up on the rest of the body, and its answer was lost with that
				}
				if got != test.want {
					t.Errorf("status %d, want %d", got, test.want)
				}
			})
		}
	})
}

func foreignSecret(own, other signature.Credentials) signature.Credentials {
	return signature.Credentials{Token: own.Token, Secret: other.Secret}
}

func foreignToken(own, other signature.Credentials) signature.Credentials {
	return signature.Credentials{Token: other.Token, Secret: own.Secret}
}

func tamper(_ http.Header, body []byte) []byte {
	return bytes.Replace(body, []byte("doc_1"), []byte("doc_2"), 1)
}

func appendByte(_ http.Header, body []byte) []byte { return append(body, ' ') }

// withHeader sets a header, or takes it away.
func withHeader(name, value string) change {
	return func(header http.Header, body []byte) []byte {
		header.Del(name)
		if value != "" {
			header.Set(name, value)
		}
		return body
	}
}

func TestExamplesSurviveARotation(t *testing.T) {
	forEach(t, func(t *testing.T, command *exec.Cmd) {
		previous, current := mint(t), mint(t)
		receivers := []struct {
			name string
			*receiver
		}{
			{"with the previous credentials", start(t, command, previous)},
			{"with the new credentials", start(t, command, current)},
			{"with both", start(t, command, previous, current)},
		}
		phases := []struct {
			name     string
			current  signature.Credentials
			previous *signature.Credentials
			want     map[string][]int // by path, one status for each receiver
		}{
			{"before", previous, nil, map[string][]int{"/standard-webhooks": {204, 401, 204}, "/hmac": {204, 401, 204}}},
			// Standard Webhooks carries both signatures, the other scheme the previous credentials.
			{"during the overlap", current, &previous, map[string][]int{"/standard-webhooks": {204, 204, 204}, "/hmac": {204, 401, 204}}},
			{"after", current, nil, map[string][]int{"/standard-webhooks": {401, 204, 204}, "/hmac": {401, 204, 204}}},
		}
		for _, phase := range phases {
			for path, want := range phase.want {
				for i, r := range receivers {
					request := event(t, "doc_1", phase.current)
					request.Previous = phase.previous
					if got := post(t, r.url+path, 0, request); got != want[i] {
						t.Errorf("%s, a receiver %s answers %d on %s, want %d", phase.name, r.name, got, path, want[i])
					}
				}
			}
		}
	})
}
