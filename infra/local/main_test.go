package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/control"
)

// screen collects output and tells when it matches.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	waiting map[*regexp.Regexp]chan []string
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	for pattern, found := range s.waiting {
		if match := pattern.FindStringSubmatch(s.text.String()); match != nil {
			found <- match
			delete(s.waiting, pattern)
		}
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await returns a channel for the match of what has been and will be written.
func (s *screen) await(expression string) <-chan []string {
	pattern, found := regexp.MustCompile(expression), make(chan []string, 1)
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = map[*regexp.Regexp]chan []string{}
	}
	s.waiting[pattern] = found
	s.mu.Unlock()
	s.Write(nil)
	return found
}

// running is a stack that run has started.
type running struct {
	api    string
	stdout *screen
	stderr *screen
	stop   func() int // returns the exit code
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stdout: &screen{}, stderr: &screen{}}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0"}, args...), r.stdout, r.stderr)
	}()
	r.stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
		}
	})
	select {
	case match := <-r.stdout.await(`API +(http://\S+)`):
		r.api = match[1]
	case early := <-code:
		code <- early
		t.Fatalf("run returned %d before it served", early)
	case <-time.After(5 * time.Minute):
		t.Fatal("the stack did not start")
	}
	return r
}

// do makes a request and returns status and body.
func (r *running) do(t *testing.T, method, path, body string, header ...string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.api+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func (r *running) configuration(t *testing.T) control.Configuration {
	t.Helper()
	status, body := r.do(t, "GET", "/_local/config", "")
	var c control.Configuration
	if err := json.Unmarshal(body, &c); status != 200 || err != nil {
		t.Fatalf("config answered %d %s (%v)", status, body, err)
	}
	return c
}

func TestStackRunsWhatTheTemplateDeclares(t *testing.T) {
	t.Setenv("LEAKED", "from the parent")
	posted := make(chan string, 10)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posted <- string(body)
	}))
	defer callback.Close()
	r := start(
		t, "-template", "testdata/template.yaml", "-demo=false", "-organization", "org_a=key_a", "-organization", "org_b=key_b",
		"-parameter", "CallbackUrl="+callback.URL,
	)

	t.Run("a request passes authorizer, function and services", func(t *testing.T) {
		status, body := r.do(t, "POST", "/echo/a%20b", "{}", "X-Api-Key", "key_b")
		var got struct {
			ID             string
			OrganizationID string `json:"organization_id"`
			Secret, Denied string
			Environment    []string
		}
		if err := json.Unmarshal(body, &got); status != 200 || err != nil {
			t.Fatalf("got %d %s (%v)", status, body, err)
		}
		if got.ID != "a b" || got.OrganizationID != "org_b" {
			t.Errorf("id %q of %q, want \"a b\" of org_b", got.ID, got.OrganizationID)
		}
		var keyring map[string]string
		if err := json.Unmarshal([]byte(got.Secret), &keyring); err != nil || keyring["primary"] != "k1" ||
			!regexp.MustCompile(`^[0-9A-Za-z]{40}$`).MatchString(keyring["k1"]) {
			t.Errorf("the generated secret is %s (%v)", got.Secret, err)
		}
		if !strings.Contains(got.Denied, "AccessDeniedException") || !strings.Contains(got.Denied, "dynamodb:PutItem") {
			t.Errorf("what the policies do not allow answered %q", got.Denied)
		}
		want := []string{
			"ALLOW_PRIVATE_ADDRESSES", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
			"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_FORMAT",
			"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY",
			"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "ONLY_LOOPBACK", "PATH", "SECRET", "TABLE", "TZ", "_HANDLER",
		}
		// The runtime client sets the trace id by itself, for the time of an invocation.
		have := slices.DeleteFunc(got.Environment, func(name string) bool { return name == "_X_AMZN_TRACE_ID" })
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("environment of a function (-want +got):\n%s", diff)
		}
	})

	for name, test := range map[string]struct {
		header []string
		path   string
		status int
		body   string
	}{
		"an unknown key is forbidden":        {[]string{"X-Api-Key", "other"}, "/echo/1", 403, `{"message":"Forbidden"}`},
		"without a key it is unauthorized":   {nil, "/echo/1", 401, `{"message":"Unauthorized"}`},
		"an unknown route is not found":      {[]string{"X-Api-Key", "key_a"}, "/other", 404, `{"message":"Not Found"}`},
		"an unknown local path is not found": {nil, "/_local/other", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := r.do(t, "POST", test.path, "", test.header...)
			if status != test.status || test.body != "" && string(body) != test.body {
				t.Errorf("got %d %s, want %d %s", status, body, test.status, test.body)
			}
		})
	}

	t.Run("a document goes through stream and queue", func(t *testing.T) {
		const document = `{"status":"processed","pages":12.50,"tags":["a",true,null],"sub":{"x":"y"}}`
		status, body := r.do(t, "PUT", "/_local/documents/doc_1", document)
		var item map[string]any
		if err := json.Unmarshal(body, &item); status != 200 || err != nil {
			t.Fatalf("got %d %s (%v)", status, body, err)
		}
		changed, _ := item["updated_at"].(string)
		_, err := time.Parse("2006-01-02T15:04:05.000Z", changed)
		if err != nil || item["organization_id"] != "org_a" || item["id"] != "doc_1" {
			t.Errorf("answered %s", body)
		}
		var image map[string]any
		select {
		case text := <-posted:
			if err := json.Unmarshal([]byte(text), &image); err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing arrived")
		}
		want := map[string]any{
			"id": map[string]any{"S": "doc_1"}, "organization_id": map[string]any{"S": "org_a"}, "status": map[string]any{"S": "processed"},
			"updated_at": map[string]any{"S": changed}, "pages": map[string]any{"N": "12.5"},
			"tags": map[string]any{"L": []any{map[string]any{"S": "a"}, map[string]any{"BOOL": true}, map[string]any{"NULL": true}}},
			"sub":  map[string]any{"M": map[string]any{"x": map[string]any{"S": "y"}}},
		}
		if diff := cmp.Diff(want, image); diff != "" {
			t.Errorf("image of the document (-want +got):\n%s", diff)
		}
		select {
		case <-r.stderr.await(`(?m)^\[RecordFunction\] posting `):
		case <-time.After(time.Minute):
			t.Error("a function's output is not shown")
		}
	})

	for name, test := range map[string]struct{ body, want string }{
		"a document that is no JSON is refused":             {`{"status"`, "JSON object"},
		"a document that is null is refused":                {`null`, "not null"},
		"a document that is a list is refused":              {`[]`, "JSON object"},
		"a document with more after it is refused":          {`{"status":"a"} x`, "nothing after it"},
		"a document without status is refused":              {`{}`, "status must be a text"},
		"a document with another id is refused":             {`{"id":"doc_2","status":"a"}`, "doc_2"},
		"a document of no organization is refused":          {`{"organization_id":7,"status":"a"}`, "organization_id must be a text"},
		"a document that DynamoDB does not take is refused": {`{"status":"failed","n":1e999}`, "DocumentsTable"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := r.do(t, "PUT", "/_local/documents/doc_1", test.body)
			if status != 400 || !strings.Contains(string(body), test.want) {
				t.Errorf("got %d %s, want 400 and %q", status, body, test.want)
			}
		})
	}

	t.Run("queue depths are shown", func(t *testing.T) {
		status, body := r.do(t, "GET", "/_local/queues", "")
		var got map[string]map[string]int
		if err := json.Unmarshal(body, &got); status != 200 || err != nil {
			t.Fatalf("got %d %s (%v)", status, body, err)
		}
		if _, ok := got["DeadLetterQueue"]; !ok || len(got) != 2 {
			t.Errorf("depths = %v", got)
		}
	})

	c := r.configuration(t)
	t.Run("the configuration tells names, IAM and processes", func(t *testing.T) {
		if c.API != r.api || c.Queues["Queue"].URL != c.Endpoint+"/000000000000/Queue" || c.Tables["DocumentsTable"].StreamARN == "" ||
			c.Outputs["Documents"] != "DocumentsTable" {
			t.Errorf("configuration = %+v", c)
		}
		denied := false
		for _, d := range c.IAM.Denied {
			denied = denied || d.Function == "EchoFunction" && d.Action == "dynamodb:PutItem"
		}
		needed := false
		for _, g := range c.IAM.Needed {
			needed = needed || g.Function == "AuthorizeFunction" && g.Sid == "ReadKey" && g.Action == "dynamodb:GetItem"
		}
		if !denied || !needed || len(c.IAM.Denied) != 1 {
			t.Errorf("IAM = %+v", c.IAM)
		}
		if !strings.Contains(
			r.stderr.String(),
			"ACCESS DENIED: EchoFunction dynamodb:PutItem on arn:aws:dynamodb:us-east-1:000000000000:table/ApiKeysTable",
		) {
			t.Error("the denial is not shown")
		}
		if len(c.Processes) != 4 {
			t.Errorf("processes = %v, want of all four functions", c.Processes)
		}
	})

	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	for name, processes := range c.Processes {
		for _, p := range processes {
			if err := syscall.Kill(p.PID, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the process %d of %s is still there (%v)", p.PID, name, err)
			}
		}
	}
	leftovers, err := filepath.Glob(filepath.Join(os.TempDir(), "docuhook-local-*"))
	if err != nil || slices.ContainsFunc(
		leftovers, func(path string) bool { return strings.Contains(path, "local-"+strconv.Itoa(os.Getpid())+"-") },
	) {
		t.Errorf("binaries are left behind: %v (%v)", leftovers, err)
	}
}

func TestRecursiveLoopOfAScheduledFunctionEnds(t *testing.T) {
	r := start(t, "-template", "testdata/loop.yaml", "-demo=false", "-time-scale", "600")
	c := r.configuration(t)
	client := sqs.New(sqs.Options{
		Region: c.Region, BaseEndpoint: &c.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	})
	url := c.Queues["DeadLetterQueue"].URL
	var dead []types.Message
	for len(dead) == 0 && t.Context().Err() == nil {
		out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &url, WaitTimeSeconds: 20, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
		})
		if err != nil {
			t.Fatal(err)
		}
		dead = out.Messages
	}
	if trace := dead[0].Attributes["AWSTraceHeader"]; !regexp.MustCompile(`;Lineage=[0-9a-f]{8}:16$`).MatchString(trace) {
		t.Errorf("the message was sent with %q, want the function's sixteenth invocation in its chain", trace)
	}
	if n := dead[0].Attributes["ApproximateReceiveCount"]; n != "3" {
		t.Errorf("it was received %s times, want the queue's two and this one", n)
	}
	if !strings.Contains(r.stderr.String(), "RecursiveInvocationsDropped") {
		t.Error("the refusal is not shown")
	}
}

func TestWithoutEnforcementDenialsAreOnlyShown(t *testing.T) {
	r := start(
		t, "-template", "testdata/template.yaml", "-demo=false", "-enforce-iam=false", "-public", "-parameter",
		"Environment=production", "-ca", "testdata/template.yaml",
	)
	status, body := r.do(t, "POST", "/echo/1", "{}", "X-Api-Key", "dk_test_local")
	var got struct {
		Denied      string
		Environment []string
	}
	if err := json.Unmarshal(body, &got); status != 200 || err != nil {
		t.Fatalf("got %d %s (%v)", status, body, err)
	}
	if got.Denied != "" || !strings.Contains(r.stderr.String(), "would be denied on AWS: EchoFunction dynamodb:PutItem") {
		t.Errorf("denied = %q, want none and a report", got.Denied)
	}
	if slices.Contains(got.Environment, "ALLOW_PRIVATE_ADDRESSES") {
		t.Error("private addresses must not be allowed outside of the sandbox")
	}
	if !slices.Contains(got.Environment, "SSL_CERT_FILE") {
		t.Error("-ca is for the functions to trust")
	}
	if slices.Contains(got.Environment, "ONLY_LOOPBACK") {
		t.Error("-public lets webhooks leave the machine")
	}
}

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	small, err := os.ReadFile("testdata/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// changed is a template with other texts in some places. Its functions are not there: nothing is built.
	changed := func(oldnew ...string) string {
		path := filepath.Join(t.TempDir(), "template.yaml")
		if err := os.WriteFile(path, []byte(strings.NewReplacer(oldnew...).Replace(string(small))), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		args  []string
		wants []string
	}{
		"an address of the network":     {[]string{"-addr", "0.0.0.0:0"}, []string{"-addr 0.0.0.0:0", "loopback only"}},
		"an address of every interface": {[]string{"-aws-addr", ":0"}, []string{"-aws-addr :0", "loopback only"}},
		"an address without a port":     {[]string{"-addr", "127.0.0.1"}, []string{"-addr 127.0.0.1", "port"}},
		"a taken API port": {
			[]string{"-addr", taken.Addr().String()},
			[]string{taken.Addr().String() + " is in use", "with -addr"},
		},
		"a taken port of AWS services": {
			[]string{"-aws-addr", taken.Addr().String()}, []string{taken.Addr().String() + " is in use", "with -aws-addr"},
		},
		"a template that is not there": {
			[]string{"-template", "testdata/none.yaml"},
			[]string{"reading the template", "testdata/none.yaml"},
		},
		"a template with more in it": {
			[]string{"-template", changed("Resources:\n", "Resources:\n  Bucket: {Type: AWS::S3::Bucket}\n")},
			[]string{"line 12: Bucket", "AWS::S3::Bucket"},
		},
		"a filter that is not supported": {
			[]string{
				"-template",
				changed("BatchSize: 10}", `BatchSize: 10, FilterCriteria: {Filters: [{Pattern: '{"eventName":[{"wildcard":"*"}]}'}]}}`),
			},
			[]string{
				"RelayFunction: Properties.Events.Documents.Properties: FilterCriteria.Filters[0]: eventName: " +
					"the operator wildcard is not supported",
			},
		},
		"a role without what Lambda needs": {
			[]string{"-template", changed(
				"      CodeUri: functions/record\n", "      CodeUri: functions/record\n      Role: !GetAtt Role.Arn\n",
				"Resources:\n", `Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]
      Policies: [{PolicyName: p, PolicyDocument: {Statement: [{Effect: Allow, Action: ["logs:*"], Resource: "*"}]}}]
`)},
			[]string{
				"RecordFunction: Properties.Events.Queue: the function's role does not allow sqs:ReceiveMessage on " +
					"arn:aws:sqs:us-east-1:000000000000:Queue",
			},
		},
		"an unknown parameter": {[]string{"-parameter", "Colour=red"}, []string{"parameter Colour", "no such parameter"}},
		"a function with a typo": {
			[]string{"-template", "testdata/broken/template.yaml"}, []string{"main.go:4:15: undefined: undefined", "do not compile"},
		},
		"an unknown flag":              {[]string{"-port", "1"}, []string{"-port"}},
		"an argument":                  {[]string{"start"}, []string{`"start"`}},
		"half an organization":         {[]string{"-organization", "org"}, []string{"ID=API_KEY"}},
		"two organizations of one key": {[]string{"-organization", "a=k", "-organization", "b=k"}, []string{"same API key as a"}},
		"half a parameter":             {[]string{"-parameter", "Colour"}, []string{"NAME=VALUE"}},
		"a parameter twice":            {[]string{"-parameter", "A=1", "-parameter", "A=2"}, []string{"A is given twice"}},
		"an account without places":    {[]string{"-account-concurrency", "0"}, []string{"-account-concurrency", "above 0"}},
		"queues without places":        {[]string{"-in-flight-limit", "-1"}, []string{"-in-flight-limit", "above 0"}},
		"faults of no kind":            {[]string{"-faults", `{"rules":[{"kind":"odd"}]}`}, []string{"-faults", `kind "odd"`}},
		"faults in a file that is not": {[]string{"-faults", "testdata/none.json"}, []string{"-faults", "testdata/none.json"}},
		"a clock that stands still":    {[]string{"-time-scale", "0"}, []string{"-time-scale must be above 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr screen
			args := append(
				[]string{"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-template", "testdata/template.yaml", "-demo=false"},
				test.args...,
			)
			if code := run(t.Context(), args, &stdout, &stderr); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, want := range test.wants {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr does not say %q:\n%s", want, stderr.String())
				}
			}
		})
	}
}

func TestRunExplainsItself(t *testing.T) {
	for name, test := range map[string]struct {
		arg   string
		wants []string
	}{
		"help tells the flags": {"-help", []string{"-time-scale", "-organization", "loopback"}},
		"ignored tells what has no effect": {
			"-ignored", []string{"template.yaml:", "DeliverFunction: Properties.Tracing: there is no X-Ray here", "QueuePolicy: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr screen
			code := run(
				t.Context(), []string{"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-template", "../../template.yaml", test.arg},
				&stdout, &stderr,
			)
			if code != 0 || stderr.String() != "" {
				t.Errorf("exit code %d and stderr %q, want 0 and none", code, stderr.String())
			}
			for _, want := range test.wants {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("stdout does not say %q:\n%s", want, stdout.String())
				}
			}
		})
	}
}

func TestRunTellsWhyItCannotBuild(t *testing.T) {
	// compiler is a PATH whose go does this.
	compiler := func(script string) func(t *testing.T) {
		return func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, "go"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", folder)
		}
	}
	for name, test := range map[string]struct {
		prepare func(t *testing.T)
		want    []string
	}{
		"a full disk": {
			compiler("echo 'write /tmp/x: no space left on device' >&2; exit 1"), []string{"no space left to build", "TMPDIR", "GOCACHE"},
		},
		"a limit of files' size": {
			compiler("echo 'link: mapping output file failed: file too large' >&2; exit 1"),
			[]string{"no space left to build", "file too large"},
		},
		"no compiler": {
			func(t *testing.T) { t.Setenv("PATH", t.TempDir()) }, []string{"building the functions", "executable file not found"},
		},
		"a temporary directory that is missing": {
			func(t *testing.T) { t.Setenv("TMPDIR", "testdata/none") }, []string{"testdata/none", "TMPDIR"},
		},
		"one that is a file": {
			func(t *testing.T) { t.Setenv("TMPDIR", "testdata/template.yaml") }, []string{"testdata/template.yaml", "TMPDIR"},
		},
		"one that takes no directory": {
			func(t *testing.T) { t.Setenv("TMPDIR", "/proc") }, []string{"making a directory", "/proc", "TMPDIR"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.prepare(t)
			var stdout, stderr screen
			code := run(
				t.Context(),
				[]string{"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-template", "testdata/template.yaml", "-demo=false"}, &stdout,
				&stderr,
			)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr does not say %q:\n%s", want, stderr.String())
				}
			}
		})
	}
}

func TestWithoutDockerThereIsNoBridge(t *testing.T) {
	if _, err := net.InterfaceByName("docker0"); err == nil {
		t.Skip("Docker runs here")
	}
	var stdout, stderr screen
	args := []string{"-docker", "-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-template", "testdata/template.yaml", "-demo=false"}
	if code := run(t.Context(), args, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "no network interface docker0") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
