package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
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

	"github.com/google/go-cmp/cmp"
)

// stack answers like a local stack with one function, or like AWS with one stack.
type stack struct {
	url     string
	bridge  string // where containers reach it; "" for nowhere
	samples bool   // it has the world of the sample events
	failed  string // how the function fails
	asked   []string
}

func (s *stack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+key))
	switch {
	case r.URL.Path == "/_local/config":
		fmt.Fprintf(w, `{"endpoint":%q,"docker_endpoint":%q,"region":"us-east-1"}`, s.url, s.bridge)
	case r.URL.Path == "/_local/samples" && s.samples:
		io.WriteString(w, `{"sample":true}`)
	case strings.HasSuffix(r.URL.Path, "/invocations"):
		w.Header().Set("X-Amz-Log-Result", base64.StdEncoding.EncodeToString([]byte("a line\n")))
		if s.failed != "" {
			w.Header().Set("X-Amz-Function-Error", s.failed)
		}
		fmt.Fprintf(w, `{"statusCode":200,"body":%q}`, body)
	case strings.HasSuffix(r.URL.Path, "/configuration"):
		fmt.Fprintf(w, `{"Environment":{"Variables":{"TABLE":"T","QUEUE_URL":%q,"PATH":"/bin","AWS_LAMBDA_LOG_LEVEL":"INFO"}}}`, s.url+"/q")
	case r.URL.Path == "/":
		fmt.Fprint(w, "<R><DescribeStackResourceResult><StackResourceDetail><PhysicalResourceId>hooks-Get-1</PhysicalResourceId>"+
			"</StackResourceDetail></DescribeStackResourceResult></R>")
	default:
		http.NotFound(w, r)
	}
}

// fixture is a repository with two functions, a stack, and programs that are noted and not run.
type fixture struct {
	*command
	stack    *stack
	out, err bytes.Buffer
	ran      []string // programs with their arguments
	sam      *exec.Cmd
	docker   bool // there is Docker
	early    int  // how many starts of SAM's container are too early for the function
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"functions/get-config/main.go":           "",
		"functions/get-config/events/first.json": `{"n":1}`,
		"functions/get-config/events/next.json":  `{"n":2}`,
		"functions/sweep/main.go":                "",
		"functions/sweep/events/minute.json":     `{}`,
		"mine.json":                              `{"n":3}`,
		"broken.json":                            `{`,
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x := &fixture{stack: &stack{bridge: "http://172.17.0.1:4566"}}
	server := httptest.NewServer(x.stack)
	t.Cleanup(server.Close)
	x.stack.url = server.URL
	x.command = &command{root: root, out: &x.out, err: &x.err, now: time.Now, start: func(cmd *exec.Cmd) error {
		x.ran = append(x.ran, strings.Join(cmd.Args, " "))
		switch cmd.Args[0] {
		case "docker":
			if !x.docker {
				return errors.New("no such program")
			}
		case "make":
			built := filepath.Join(root, ".build", "invoke", x.architecture)
			template := "Resources:\n  SweepFunction: {Type: F, Properties: {CodeUri: b}}\n" +
				"  GetConfigFunction: {Type: F, Properties: {CodeUri: a, Environment: {Variables: {TABLE: {Ref: T}}}}}\n"
			return errors.Join(os.MkdirAll(built, 0o755), os.WriteFile(filepath.Join(built, "template.yaml"), []byte(template), 0o644))
		default:
			x.sam = cmd
			if x.early--; x.early >= 0 {
				io.WriteString(cmd.Stderr, `{"level":"WARN","text":"failed to get the next invoke: Get \"http://127.0.0.1:9001/2018-06-01`+
					`/runtime/invocation/next\": dial tcp 127.0.0.1:9001: connect: connection refused"}`+"\n")
				return nil
			}
			io.WriteString(cmd.Stdout, `{"statusCode":200}`)
		}
		return nil
	}}
	return x
}

func (x *fixture) run(t *testing.T, arguments ...string) int {
	t.Helper()
	always := []string{"-local", x.stack.url, "-architecture", "x86_64", "-sam", "bin/sam"}
	return x.command.run(t.Context(), append(always, arguments...))
}

func TestInvokeWithoutDocker(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		prepare   func(*fixture)
		code      int
		answers   string // the event, as the function has answered it
	}{
		"the first event":          {arguments: []string{"-function", "get-config"}, answers: `{"n":1}`},
		"an event by its name":     {arguments: []string{"-function", "get-config", "-event", "next"}, answers: `{"n":2}`},
		"an event of another file": {arguments: []string{"-function", "get-config", "-event", "MINE"}, answers: `{"n":3}`},
		"an event of the samples' world": {
			arguments: []string{"-function", "get-config"}, answers: `{"sample":true}`,
			prepare: func(x *fixture) { x.stack.samples = true },
		},
		"a function that fails": {
			arguments: []string{"-function", "get-config"}, answers: `{"n":1}`, code: exitFailure,
			prepare: func(x *fixture) { x.stack.failed = "Unhandled" },
		},
		"Docker is there, and not wanted": {
			arguments: []string{"-function", "get-config", "-docker", "no"}, answers: `{"n":1}`,
			prepare: func(x *fixture) { x.docker = true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newFixture(t)
			if test.prepare != nil {
				test.prepare(x)
			}
			for i := range test.arguments {
				test.arguments[i] = strings.ReplaceAll(test.arguments[i], "MINE", filepath.Join(x.root, "mine.json"))
			}
			if code := x.run(t, test.arguments...); code != test.code {
				t.Fatalf("exit code %d: %s", code, x.err.String())
			}
			var want bytes.Buffer
			if err := json.Indent(&want, []byte(`{"body":`+test.answers+`,"statusCode":200}`), "", "  "); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String()+"\n", x.out.String()); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(x.err.String(), "a line\nget-config in the local stack, ") {
				t.Errorf("no log or no time in %s", x.err.String())
			}
			if last := x.stack.asked[len(x.stack.asked)-1]; last != "POST /2015-03-31/functions/GetConfigFunction/invocations local" {
				t.Errorf("asked %q", last)
			}
		})
	}
}

// TestNothingBeginsThatCannotEnd: what is wrong is said before anything is installed, built or asked.
func TestNothingBeginsThatCannotEnd(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		says      []string
	}{
		"no such function": {
			arguments: []string{"-function", "deliverx"}, says: []string{`no function "deliverx" (F); there are get-config, sweep`},
		},
		"no such event":        {arguments: []string{"-function", "get-config", "-event", "x"}, says: []string{"EVENT", "has first, next"}},
		"an event that is not": {arguments: []string{"-function", "get-config", "-event", "BROKEN"}, says: []string{"is no JSON"}},
		"no Docker": {
			arguments: []string{"-function", "get-config", "-docker", "yes"}, says: []string{"docker info does not answer", "DOCKER=no"},
		},
		"no Docker for the API": {arguments: []string{"-function", "start-api"}, says: []string{"start-api needs Docker"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newFixture(t)
			for i := range test.arguments {
				test.arguments[i] = strings.ReplaceAll(test.arguments[i], "BROKEN", filepath.Join(x.root, "broken.json"))
			}
			if code := x.run(t, test.arguments...); code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			for _, text := range test.says {
				if !strings.Contains(x.err.String(), text) {
					t.Errorf("does not say %q: %s", text, x.err.String())
				}
			}
			for _, program := range x.ran {
				if program != "docker info" {
					t.Errorf("has run %s", program)
				}
			}
			if len(x.stack.asked) > 0 {
				t.Errorf("has asked %v", x.stack.asked)
			}
		})
	}
}

func TestNoStack(t *testing.T) {
	x := newFixture(t)
	x.stack.url += "/nowhere"
	if code := x.run(t, "-function", "sweep"); code != exitFailure || !strings.Contains(x.err.String(), "start one with make run") {
		t.Errorf("exit code %d: %s", code, x.err.String())
	}
}

func TestInvokeInContainer(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "of the user")
	t.Setenv("AWS_PROFILE", "of-the-user")
	x := newFixture(t)
	x.docker = true
	if code := x.run(t, "-function", "get-config", "-event", "next", "--", "--skip-pull-image"); code != 0 {
		t.Fatalf("exit code %d: %s", code, x.err.String())
	}
	built := filepath.Join(x.root, ".build", "invoke", "x86_64")
	if diff := cmp.Diff([]string{
		"docker info",
		"make --no-print-directory build SAM=bin/sam ARCHITECTURE=x86_64 BUILDFLAGS=--build-dir .build/invoke/x86_64 GetConfigFunction",
		"bin/sam local invoke GetConfigFunction --event - --template " + built + "/invoke.yaml --env-vars " + built +
			"/invoke.json --parameter-overrides Architecture=x86_64 " +
			"--container-host 172.17.0.1 --container-host-interface 172.17.0.1 --skip-pull-image",
	}, x.ran); diff != "" {
		t.Error(diff)
	}
	if event, err := io.ReadAll(x.sam.Stdin); err != nil || string(event) != `{"n":2}` {
		t.Errorf("the event is %s, %v", event, err)
	}
	if diff := cmp.Diff("{\n  \"statusCode\": 200\n}\n", x.out.String()); diff != "" {
		t.Error(diff)
	}
	var told map[string]map[string]string
	raw, err := os.ReadFile(filepath.Join(built, "invoke.json"))
	if err != nil || json.Unmarshal(raw, &told) != nil {
		t.Fatalf("%s, %v", raw, err)
	}
	want := map[string]map[string]string{"GetConfigFunction": {"TABLE": "T", "QUEUE_URL": "http://172.17.0.1:4566/q"}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	declared, err := os.ReadFile(filepath.Join(built, "invoke.yaml"))
	for _, line := range []string{"QUEUE_URL:", "CodeUri: a", "Timeout: 300"} {
		if err != nil || !strings.Contains(string(declared), line) {
			t.Errorf("SAM sets the declared variables only, and counts the start of the function. No %s in\n%s", line, declared)
		}
	}
	for _, pair := range x.sam.Env {
		if strings.Contains(pair, "of-the-user") || strings.Contains(pair, "of the user") {
			t.Errorf("SAM is told %s", pair)
		}
	}
}

// TestFunctionThatAsksTooEarly: it has not seen the event, so it is started again, though not for ever.
func TestFunctionThatAsksTooEarly(t *testing.T) {
	for _, test := range []struct{ early, code, starts int }{
		{early: 0, code: 0, starts: 1},
		{early: maxStarts - 1, code: 0, starts: maxStarts},
		{early: maxStarts, code: exitFailure, starts: maxStarts},
	} {
		x := newFixture(t)
		x.docker, x.early = true, test.early
		if code := x.run(t, "-function", "sweep"); code != test.code {
			t.Errorf("%d times too early: exit code %d, %s", test.early, code, x.err.String())
		}
		if event, err := io.ReadAll(x.sam.Stdin); err != nil || string(event) != `{}` {
			t.Errorf("%d times too early: the event is %s, %v", test.early, event, err)
		}
		if starts := len(x.ran) - len([]string{"docker info", "make build"}); starts != test.starts {
			t.Errorf("%d times too early: %d starts, want %d", test.early, starts, test.starts)
		}
	}
}

// TestContainersReachTheStack: on Linux only a stack that listens on the bridge, elsewhere all of them.
func TestContainersReachTheStack(t *testing.T) {
	x := newFixture(t)
	x.docker, x.stack.bridge = true, ""
	code := x.run(t, "-function", "get-config")
	if reachesLoopback() {
		if raw, err := os.ReadFile(filepath.Join(x.root, ".build/invoke/x86_64/invoke.json")); code != 0 ||
			!strings.Contains(string(raw), "http://host.docker.internal:") {
			t.Errorf("exit code %d, %s, %v", code, raw, err)
		}
		return
	}
	if code != exitFailure || !strings.Contains(x.err.String(), "make run FLAGS=-docker") || len(x.ran) != 1 {
		t.Errorf("exit code %d after %v: %s", code, x.ran, x.err.String())
	}
}

func TestDeployedStack(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "MINE", "AWS_SECRET_ACCESS_KEY": "of the user", "AWS_SESSION_TOKEN": "", "AWS_REGION": "eu-west-1",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	x := newFixture(t)
	x.docker = true
	if code := x.run(t, "-function", "get-config", "-stack", "hooks", "-endpoint", x.stack.url); code != 0 {
		t.Fatalf("exit code %d: %s", code, x.err.String())
	}
	asked := []string{"POST / MINE", "GET /2015-03-31/functions/hooks-Get-1/configuration MINE"}
	if diff := cmp.Diff(asked, x.stack.asked); diff != "" {
		t.Error(diff)
	}
	environment := strings.Join(x.sam.Env, "\n")
	for _, pair := range []string{"AWS_SECRET_ACCESS_KEY=of the user", "AWS_DEFAULT_REGION=eu-west-1"} {
		if !strings.Contains(environment, pair) {
			t.Errorf("SAM is not told %s", pair)
		}
	}
}

func TestStartAPI(t *testing.T) {
	x := newFixture(t)
	x.docker = true
	if code := x.run(t, "-function", "start-api"); code != 0 {
		t.Fatalf("exit code %d: %s", code, x.err.String())
	}
	raw, err := os.ReadFile(filepath.Join(x.root, ".build/invoke/x86_64/invoke.json"))
	if err != nil || !strings.Contains(string(raw), "GetConfigFunction") || !strings.Contains(string(raw), "SweepFunction") {
		t.Errorf("the functions are told %s, %v", raw, err)
	}
	if last := x.ran[len(x.ran)-1]; !strings.HasPrefix(last, "bin/sam local start-api --port 3001 ") {
		t.Errorf("has run %s", last)
	}
}
