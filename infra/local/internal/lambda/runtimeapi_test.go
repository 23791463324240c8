package lambda

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// call is a request to the Runtime API and the status it is answered with.
type call struct {
	path   string // below /2018-06-01/runtime
	body   string // GET if empty
	status int
}

func TestRuntimeAPI(t *testing.T) {
	const next, response, fail = "/invocation/next", "/invocation/r1/response", "/invocation/r1/error"
	for _, tc := range []struct {
		name  string
		calls []call
		want  result
	}{
		{name: "an answer is accepted", calls: []call{{next, "", 200}, {response, `{}`, 202}}, want: result{Response: `{}`}},
		{name: "the first result stands", calls: []call{
			{next, "", 200}, {response, `1`, 202}, {response, `2`, 403}, {fail, `{}`, 403},
		}, want: result{Response: `1`}},
		{name: "an id that is not the current one is refused", calls: []call{
			{next, "", 200}, {"/invocation/r2/response", `2`, 400}, {response, `1`, 202},
		}, want: result{Response: `1`}},
		{
			name:  "no work before the current one has a result",
			calls: []call{{path: next, status: 200}, {path: next, status: 403}, {path: response, body: `1`, status: 202}},
			want:  result{Response: `1`},
		},
		{name: "an initialization error is refused when it has ended", calls: []call{
			{next, "", 200}, {"/init/error", `{}`, 403}, {response, `1`, 202},
		}, want: result{Response: `1`}},
		{name: "an error that is not JSON becomes one", calls: []call{{next, "", 200}, {fail, `broken`, 202}}, want: result{
			Err: "Unhandled", Payload: `{"errorType":"Runtime.Unknown","errorMessage":"broken"}`,
		}},
		{name: "another version is not found", calls: []call{
			{next, "", 200}, {"/../../2020-01-01/extension/register", `{}`, 404}, {response, `1`, 202},
		}, want: result{Response: `1`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &instance{ready: make(chan struct{}), events: make(chan *invocation)}
			server := httptest.NewServer(in.runtimeAPI())
			defer server.Close()
			inv := newInvocation("r1", Function{Timeout: time.Second}, []byte(`{"a":1}`), nil)
			go func() { in.events <- inv }()
			for _, c := range tc.calls {
				if status, _ := do(t, server.URL+"/2018-06-01/runtime"+c.path, c.body); status != c.status {
					t.Errorf("%s: status %d, want %d", c.path, status, c.status)
				}
			}
			<-inv.answered
			if diff := cmp.Diff(tc.want, resultOf(inv.response, inv.err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFailureInTheMiddleOfAnAnswer(t *testing.T) {
	in := &instance{ready: make(chan struct{}), events: make(chan *invocation)}
	inv := newInvocation("r1", Function{Timeout: time.Second}, nil, nil)
	in.current = inv
	server := httptest.NewServer(in.runtimeAPI())
	defer server.Close()
	request, err := http.NewRequest(
		"POST", server.URL+"/2018-06-01/runtime/invocation/r1/response", io.MultiReader(strings.NewReader("half an ans")),
	)
	if err != nil {
		t.Fatal(err)
	}
	request.Trailer = http.Header{
		"Lambda-Runtime-Function-Error-Type": {"Runtime.StreamError"},
		"Lambda-Runtime-Function-Error-Body": {
			base64.StdEncoding.EncodeToString([]byte(`{"errorMessage":"lost","errorType":"Runtime.StreamError"}`)),
		},
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	<-inv.answered
	want := result{Err: "Unhandled", Payload: `{"errorMessage":"lost","errorType":"Runtime.StreamError"}`}
	if diff := cmp.Diff(want, resultOf(inv.response, inv.err)); diff != "" {
		t.Error(diff)
	}
}

func do(t *testing.T, url, body string) (int, string) {
	t.Helper()
	var answer *http.Response
	var err error
	if body == "" {
		answer, err = http.Get(url)
	} else {
		answer, err = http.Post(url, "application/json", strings.NewReader(body))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}
