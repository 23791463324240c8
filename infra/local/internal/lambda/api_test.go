package lambda

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// onlyInvoke lets one access key invoke and do nothing else, and everybody else everything.
type onlyInvoke string

func (o onlyInvoke) Allow(accessKey, action, arn string) error {
	if accessKey == string(o) && (action != "lambda:InvokeFunction" || arn != testARN) {
		return &awsjson.Error{Status: 403, Code: "AccessDeniedException", Message: action}
	}
	return nil
}

// ask makes a request of the API of x; headers are pairs.
func (x *fixture) ask(method, path, body string, headers ...string) (*http.Response, string) {
	x.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	x.API(onlyInvoke("INVOKER")).ServeHTTP(recorder, r)
	answer := recorder.Result()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	return answer, string(got)
}

func TestAPIInvokes(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	echo := string(payloadOf(request{Do: "echo"}))
	invoker := "AWS4-HMAC-SHA256 Credential=INVOKER/20260314/us-east-1/lambda/aws4_request"
	for name, test := range map[string]struct {
		function, body string
		headers        []string
		status         int
		failed         string // X-Amz-Function-Error
		kind           string // X-Amzn-Errortype
		answer         string // part of it
	}{
		"by name":          {function: "Test", body: echo, status: 200, answer: echo},
		"by ARN":           {function: testARN + ":$LATEST", body: echo, status: 200, answer: echo},
		"who may":          {function: "Test", body: echo, headers: []string{"Authorization", invoker}, status: 200, answer: echo},
		"an error of its":  {function: "Test", body: `{"do":"fail"}`, status: 200, failed: "Unhandled", answer: "no luck"},
		"no such function": {function: "Other", status: 404, kind: "ResourceNotFoundException", answer: "no such function"},
		"no JSON":          {function: "Test", body: "{", status: 400, kind: "InvalidRequestContentException"},
		"an event too long": {function: "Test", body: strings.Repeat(" ", MaxRequest+1),
			status: 413, kind: "RequestEntityTooLargeException",
		},
		"not waited for": {
			function: "Test", headers: []string{"X-Amz-Invocation-Type", "Event"}, status: 400, kind: "InvalidParameterValueException",
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := x.ask("POST", Paths+test.function+"/invocations", test.body, test.headers...)
			h := answer.Header
			if answer.StatusCode != test.status || h.Get("X-Amz-Function-Error") != test.failed || h.Get("X-Amzn-Errortype") != test.kind ||
				!strings.Contains(body, test.answer) {
				t.Errorf("got %d, %v, %s", answer.StatusCode, h, body)
			}
			if h.Get("X-Amz-Log-Result") != "" || answer.StatusCode == 200 && h.Get("X-Amzn-Requestid") == "" {
				t.Errorf("headers %v, want no log that nobody has asked for, and the request's id", h)
			}
		})
	}
}

func TestAPITellsTheConfiguration(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	answer, body := x.ask("GET", Paths+"Test/configuration", "")
	var got struct {
		Timeout     int
		Environment struct{ Variables map[string]string }
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || answer.StatusCode != 200 || got.Timeout != 60 ||
		got.Environment.Variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] != "256" {
		t.Errorf("got %d, %s, %v", answer.StatusCode, body, err)
	}
	answer, body = x.ask("GET", Paths+"Test/configuration", "", "Authorization", "x Credential=INVOKER/")
	if answer.StatusCode != 403 || answer.Header.Get("X-Amzn-Errortype") != "AccessDeniedException" {
		t.Errorf("who may not: %d, %s", answer.StatusCode, body)
	}
}

// TestAPITellsTheEndOfTheLog asks again and again, as a log that comes after the answer is late only now and then.
func TestAPITellsTheEndOfTheLog(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	tail := func(body string) string {
		t.Helper()
		answer, _ := x.ask("POST", Paths+"Test/invocations", body, "X-Amz-Log-Type", "Tail")
		log, err := base64.StdEncoding.DecodeString(answer.Header.Get("X-Amz-Log-Result"))
		if err != nil {
			t.Fatal(err)
		}
		return string(log)
	}
	for range 20 {
		if got := tail(`{"do":"print"}`); got != "to stdout\nto stderr\n" {
			t.Fatalf("two lines: %q", got)
		}
		x.invoke(request{Do: "print"}) // and its lines belong to nobody
		if got := tail(`{"do":"echo"}`); got != "" {
			t.Fatalf("nothing was written: %q", got)
		}
		if got, want := tail(`{"do":"print part","size":5000}`), strings.Repeat("x", maxTail-1)+"\n"; got != want {
			t.Fatalf("a line without an end: %d bytes, want %d", len(got), len(want))
		}
	}
	if got := tail(`{"do":"panic"}`); !strings.Contains(got, "lost my head") {
		t.Errorf("a panic: %q", got)
	}
}
