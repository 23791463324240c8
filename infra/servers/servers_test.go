// Package servers shows what HTTP servers of others make of the requests that endpoints get. `make servers` installs
// them below .build, without a change to the machine, and prints their versions and what each says to each request.
package servers

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

var prepare = flag.Bool("prepare", false, "install the servers below .build (needs Debian's apt-get, Node.js, Python, Java and Maven)")

// patience is how long a server may take to start.
const patience = 3 * time.Minute

// host is the name of every server.
const host = "hooks.example.com"

// packages are Debian's of the servers; what they need and the machine lacks comes with them.
var packages = []string{"php-cli", "php8.2-cli", "nginx", "apache2-bin", "libapache2-mod-security2", "modsecurity-crs"}

func TestMain(m *testing.M) {
	flag.Parse()
	if *prepare {
		if err := install(); err != nil {
			fmt.Fprintln(os.Stderr, "servers:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// installed returns the absolute path of a file below .build.
func installed(parts ...string) string {
	path, err := filepath.Abs(filepath.Join(append([]string{"..", "..", ".build", "servers"}, parts...)...))
	if err != nil {
		panic(err)
	}
	return path
}

// install unpacks Debian's packages instead of installing them, so that no service starts.
func install() error {
	for program, name := range map[string]string{
		"apt-get": "Debian's apt-get", "node": "Node.js", python(): "Python 3 (set PYTHON)", "java": "Java", "mvn": "Maven",
	} {
		if _, err := exec.LookPath(program); err != nil {
			return errors.New("make servers needs " + name)
		}
	}
	archives := installed("archives")
	if err := os.MkdirAll(filepath.Join(archives, "partial"), 0o755); err != nil {
		return err
	}
	if err := run(".", "apt-get", append([]string{
		"-qq", "--yes", "--download-only", "--reinstall", "--no-install-recommends", "-o", "Debug::NoLocking=1",
		"-o", "Dir::Cache::archives=" + archives, "install",
	}, packages...)...); err != nil {
		return fmt.Errorf("downloading packages (is apt-get update needed?): %w", err)
	}
	found, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil || len(found) < len(packages) {
		return fmt.Errorf("%d packages were downloaded: %w", len(found), err)
	}
	for _, archive := range found {
		if err := run(".", "dpkg-deb", "--extract", archive, installed("root")); err != nil {
			return err
		}
	}
	return run("tomcat", "mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory="+installed("tomcat"))
}

func python() string { return cmp.Or(os.Getenv("PYTHON"), "python3") }

func run(folder, name string, arguments ...string) error {
	command := exec.Command(name, arguments...)
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}

// server is a server of others, and how to ask for its version.
type server struct {
	name     string
	version  []string
	tls      bool
	rewrites bool // header names, by HTTP/2 or as a proxy
	firewall bool // which lets pass what is usual
	start    func(t *testing.T, place *place)
}

// place is where a server runs. Templates of configurations use it.
type place struct {
	Folder, Seen, Cert, Key, Root string
	Port, Behind                  int
	Paranoia                      int
}

func servers() []server {
	root := installed("root")
	node := func(mode string) func(*testing.T, *place) {
		return func(t *testing.T, p *place) { p.serve(t, []string{"MODE=" + mode}, "node", "app.mjs") }
	}
	apache := filepath.Join(root, "usr/sbin/apache2")
	all := []server{
		{
			name: "PHP's built-in server", version: []string{filepath.Join(root, "usr/bin/php8.2"), "--version"},
			start: func(t *testing.T, p *place) {
				p.serve(t, nil, filepath.Join(root, "usr/bin/php8.2"), "-n", "-S", fmt.Sprint("127.0.0.1:", p.Port), "app.php")
			},
		},
		{
			name:    "Tomcat",
			version: []string{"java", "-cp", filepath.Join(installed("tomcat"), "*"), "org.apache.catalina.util.ServerInfo"},
			start: func(t *testing.T, p *place) {
				p.serve(t, nil, "java", "-cp", filepath.Join(installed("tomcat"), "*"), "tomcat/App.java")
			},
		},
		{name: "Node.js http", version: []string{"node", "--version"}, start: node("http")},
		{name: "Node.js http2", version: []string{"node", "--version"}, tls: true, rewrites: true, start: node("http2")},
		{name: "Node.js http2, asking for HTTP/1.1", version: []string{"node", "--version"}, tls: true, start: node("http1-required")},
		{
			name: "Python http.server", version: []string{python(), "--version"},
			start: func(t *testing.T, p *place) { p.serve(t, nil, python(), "app.py") },
		},
		{
			name: "nginx, before Python", version: []string{filepath.Join(root, "usr/sbin/nginx"), "-v"}, tls: true, rewrites: true,
			start: func(t *testing.T, p *place) {
				p.inFront(t, "nginx.conf")
				p.serve(t, nil, filepath.Join(root, "usr/sbin/nginx"), "-e", "stderr", "-c", filepath.Join(p.Folder, "nginx.conf"))
			},
		},
	}
	for paranoia := 1; paranoia <= 4; paranoia++ {
		all = append(all, server{
			name:    fmt.Sprint("Apache with the OWASP core rule set, paranoia level ", paranoia, ", before Python"),
			version: []string{apache, "-v"}, rewrites: true, firewall: true,
			start: func(t *testing.T, p *place) {
				p.Paranoia = paranoia
				p.inFront(t, "apache.conf")
				// The rules name their data by the paths of an installation.
				p.serve(t, nil, apache, "-X", "-f", filepath.Join(p.Folder, "apache.conf"))
			},
		})
	}
	return all
}

// newPlace returns a place for a server, with a certificate.
func newPlace(t *testing.T, trusted *authority) *place {
	t.Helper()
	folder := t.TempDir()
	p := &place{Folder: folder, Seen: filepath.Join(folder, "seen"), Root: installed("root"), Port: freePort(t)}
	p.Cert, p.Key = trusted.issue(t, folder)
	return p
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// inFront starts the application that a proxy hands requests to, and writes the proxy's configuration.
func (p *place) inFront(t *testing.T, name string) {
	t.Helper()
	behind := *p
	behind.Port = freePort(t)
	behind.serve(t, nil, python(), "app.py")
	p.Behind = behind.Port
	var text bytes.Buffer
	if err := template.Must(template.ParseFiles(name)).Execute(&text, p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Folder, name), text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// serve runs a program until the test ends, and returns when it takes connections.
func (p *place) serve(t *testing.T, environment []string, name string, arguments ...string) {
	t.Helper()
	command := exec.Command(name, arguments...)
	var said bytes.Buffer
	command.Stdout, command.Stderr, command.WaitDelay = &said, &said, time.Second
	command.Env = append(os.Environ(), append(environment,
		"PORT="+strconv.Itoa(p.Port), "SEEN="+p.Seen, "CERT="+p.Cert, "KEY="+p.Key, "FOLDER="+p.Folder,
		"LD_LIBRARY_PATH="+installed("root", "usr/lib/x86_64-linux-gnu"))...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", name, &said)
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", p.Port))
		if err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s has ended: %v", name, err)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not start", name)
		}
	}
}

// seen is what an application was handed of a request.
type seen struct {
	Target  string            `json:"target"`
	Headers map[string]string `json:"headers"`
	SHA256  string            `json:"sha256"`
}

// last returns what the application was handed last, and forgets it. It is false if nothing was.
func (p *place) last(t *testing.T) (s seen, ok bool) {
	t.Helper()
	text, err := os.ReadFile(p.Seen)
	if errors.Is(err, os.ErrNotExist) {
		return s, false
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err = errors.Join(err, os.Remove(p.Seen)); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s, true
}

// request is one kind of request.
type request struct {
	name    string
	target  string
	event   webhook.Event
	headers map[string]signature.Secret
	overlap bool
	odd     bool // so that a firewall may refuse it
	refused bool // when a config is written
}

func requests() []request {
	const sequence = "0000000000004421584500000000017450439091"
	usual := webhook.Event{
		DocumentID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Status: webhook.Processed, PreviousStatus: webhook.Processing,
		Sequence: sequence,
	}
	related, longest, test, odd := usual, usual, usual, usual
	related.Related = "https://documents.example/v1/" + usual.DocumentID
	longest.DocumentID = strings.Repeat("\x01", webhook.MaxDocumentIDLength)
	longest.Related = "https://documents.example/" + strings.Repeat("%01", 413)
	test.Sequence, test.Test = "", true
	odd.DocumentID = "Übergröße 😀 \u2028"
	all := []request{
		{name: "a usual one", event: usual},
		{name: "with a link to the document", event: related, odd: true},
		{name: "the longest", event: longest, odd: true},
		{name: "a test", event: test},
		{name: "of a document id beyond ASCII", event: odd},
		{name: "of a rotation's overlap", event: usual, overlap: true},
		{name: "with custom headers", event: usual, headers: map[string]signature.Secret{
			"Authorization": "Basic dXNlcjpwYXNz", "x-api-key": "k1", "X-Env": "a b",
		}},
		{name: "to a usual URL", event: usual, target: "/hooks/v1/documents?tenant=acme&key=4711"},
		{
			name: "to a percent-encoded URL", event: usual, odd: true,
			target: "/a%20b/%7Bc%7D?tenant=%7Bacme%7D&a=1%7C2&filter%5Ba%5D=1&x=%22y%22",
		},
		{name: "to a URL of all that is allowed", event: usual, odd: true, target: "/a;v=1/b:c@d/!$&'()*+,=-._~?a=/?:@!$'()*+,;=-._~"},
	}
	for _, target := range []string{"/?tenant={acme}", "/?a=1|2", `/?x="y"`, "/?filter[a]=1", "/?a=<b>", "/?a=%zz", "/?a=^`"} {
		all = append(all, request{name: "to " + target + ", which no config may have", event: usual, target: target, refused: true})
	}
	return all
}

// send makes the attempt.
func (r request) send(t *testing.T, client *endpoint.Client, url string) (endpoint.Request, endpoint.Result) {
	t.Helper()
	own, err := signature.NewCredentials(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	e := r.event
	e.Version, e.OccurredAt, e.ID = webhook.RenderVersion, webhook.At(at), webhook.NewEventID(at, r.name)
	body, err := e.Render("0197a1de-0000-7000-8000-000000000001")
	if err != nil {
		t.Fatal(err)
	}
	sent := endpoint.Request{
		URL: url + cmp.Or(r.target, "/hook"), EventID: e.ID, Key: "dlv_1", Body: body, Attempt: 1, Current: own,
	}
	sent.Current.Headers = r.headers
	if r.overlap {
		before, err := signature.NewCredentials(nil)
		if err != nil {
			t.Fatal(err)
		}
		sent.Previous = &before
	}
	return sent, client.Post(t.Context(), sent)
}

// TestServers sends every kind of request to every server.
func TestServers(t *testing.T) {
	if _, err := os.Stat(installed("tomcat")); err != nil {
		if *prepare {
			t.Fatal(err)
		}
		t.Skip("the servers are not installed: make servers")
	}
	for _, s := range servers() {
		t.Run(s.name, func(t *testing.T) {
			trusted := newAuthority(t)
			p := newPlace(t, trusted)
			s.start(t, p)
			version := versionOf(t, s.version)
			if s.firewall {
				_, rules, _ := strings.Cut(versionOf(t, []string{"grep", "-m1", "OWASP", installed("root", ruleSet)}), "# ")
				version += ", " + rules
			}
			t.Logf("%s: %s", s.name, version)
			scheme := "http"
			if s.tls {
				scheme = "https"
			}
			client := endpoint.NewClient(endpoint.ClientOptions{
				AllowHTTP: true, Now: time.Now, RootCAs: trusted.pool,
				Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprint("127.0.0.1:", p.Port))
				},
			})
			defer client.Rested()
			refused := 0 // of the URLs that no config may have
			for _, r := range requests() {
				sent, result := r.send(t, client, fmt.Sprint(scheme, "://", host, ":", p.Port))
				got, arrived := p.last(t)
				said, rules := cmp.Or(result.Error, "accepted"), p.rules(t)
				if rules != "" {
					said += ", rules " + rules
				}
				t.Logf("%-60s %3d %s", r.name, result.Status, said)
				if strings.Contains(rules, missingAccept) || s.firewall && !r.odd && !r.refused && p.Paranoia <= 2 && rules != "" {
					t.Errorf("%s meets the rules %s", r.name, rules)
				}
				switch {
				case s.firewall && (r.odd || r.refused || p.Paranoia > 2): // whether it passes is for the firewall to say
				case r.refused:
					if result.Status == http.StatusBadRequest {
						refused++
					}
				case !result.Success() || !arrived:
					t.Errorf("%s: %+v", r.name, result)
				default:
					check(t, s, r, sent, got)
				}
			}
			if s.name == "Tomcat" && refused < 6 {
				t.Errorf("it takes all but %d of the URLs that no config may have, so why may none?", refused)
			}
		})
	}
}

// check compares what an application was handed with what was sent.
func check(t *testing.T, s server, r request, sent endpoint.Request, got seen) {
	t.Helper()
	if sum := sha256.Sum256(sent.Body); got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%s: the body has changed", r.name)
	}
	if want := cmp.Or(r.target, "/hook"); got.Target != want {
		t.Errorf("%s: the target is %s, want %s", r.name, got.Target, want)
	}
	header := http.Header{}
	for name, value := range got.Headers {
		header.Set(name, value)
	}
	verifies := sent.Current
	if sent.Previous != nil {
		verifies = *sent.Previous
	}
	if err := signature.Verify(header, sent.Body, verifies); err != nil {
		t.Errorf("%s: %v", r.name, err)
	}
	want := map[string]string{"Accept": "*/*", "Accept-Encoding": "identity", "Idempotency-Key": "dlv_1", "X-Webhook-Attempt": "1"}
	for name, value := range r.headers {
		want[name] = value.Reveal()
	}
	for name, value := range want {
		if header.Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", r.name, name, header.Get(name), value)
		}
	}
	for _, name := range signature.StandardHeaders() {
		if _, found := got.Headers[name]; !found && !s.rewrites {
			t.Errorf("%s: the application looks up %s in vain among %v", r.name, name, got.Headers)
		}
	}
}

// missingAccept is the rule that a request without Accept meets from paranoia level 2 or 3 on.
const missingAccept = "920300"

var matched = regexp.MustCompile(`\[id "(\d+)"\]`)

// rules returns the rules of a firewall that a request has met, and forgets them.
func (p *place) rules(t *testing.T) string {
	t.Helper()
	if p.Paranoia == 0 {
		return ""
	}
	log, err := os.ReadFile(filepath.Join(p.Folder, "error.log"))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, one := range matched.FindAllStringSubmatch(string(log), -1) {
		if one[1] != "980130" { // which only sums up, after the answer
			ids = append(ids, one[1])
		}
	}
	if err := os.Truncate(filepath.Join(p.Folder, "error.log"), 0); err != nil {
		t.Fatal(err)
	}
	return strings.Join(ids, " ")
}

// ruleSet is a file of the firewall's rules, which begins with their name and version.
const ruleSet = "usr/share/modsecurity-crs/rules/REQUEST-901-INITIALIZATION.conf"

func versionOf(t *testing.T, command []string) string {
	t.Helper()
	asked := exec.Command(command[0], command[1:]...)
	asked.Env = append(os.Environ(), "LD_LIBRARY_PATH="+installed("root", "usr/lib/x86_64-linux-gnu"))
	out, err := asked.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
