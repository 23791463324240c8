package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"
)

// invoker is a fake Invoker.
type invoker func(function string, payload []byte) ([]byte, error)

func (f invoker) Invoke(_ context.Context, function string, payload []byte) ([]byte, error) {
	return f(function, payload)
}

// echo answers with the event it got.
func echo(_ string, payload []byte) ([]byte, error) {
	return json.Marshal(map[string]any{"statusCode": 200, "body": string(payload)})
}

// empty is the answer of a function that has nothing to say.
const empty = `{"statusCode":200,"body":"{}"}`

func answering(answer string) invoker {
	return func(string, []byte) ([]byte, error) { return []byte(answer), nil }
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 5e6, time.UTC)

func newGateway(t *testing.T, options Options) *Gateway {
	t.Helper()
	if options.Now == nil {
		options.Now = func() time.Time { return noon }
	}
	if options.Account == "" {
		options.Account, options.API, options.Region = "000000000000", "Api", "us-east-1"
	}
	g, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func do(g *Gateway, request *http.Request) *http.Response {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, request)
	return w.Result()
}

func bodyOf(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRouting(t *testing.T) {
	var routes []Route
	for _, key := range []string{
		"GET /v1/configs", "POST /v1/configs", "GET /v1/configs/{id}", "GET /v1/configs/special",
		"POST /v1/configs/{id}/test", "ANY /v1/any", "POST /v1/any", "GET /v1/{kind}/{id}/test", "GET /v1/folder/",
	} {
		method, path, _ := strings.Cut(key, " ")
		routes = append(routes, Route{Method: method, Path: path, Function: key})
	}
	var called string
	g := newGateway(t, Options{Routes: routes, Invoker: invoker(func(function string, payload []byte) ([]byte, error) {
		called = function
		return echo(function, payload)
	})})
	for name, test := range map[string]struct {
		method, target string
		want           string // route; "": 404
		parameters     map[string]string
	}{
		"a fixed path is found":                       {"GET", "/v1/configs", "GET /v1/configs", nil},
		"the method decides":                          {"POST", "/v1/configs", "POST /v1/configs", nil},
		"a parameter takes a segment":                 {"GET", "/v1/configs/abc", "GET /v1/configs/{id}", map[string]string{"id": "abc"}},
		"a fixed segment is preferred to a parameter": {"GET", "/v1/configs/special", "GET /v1/configs/special", nil},
		"a parameter is decoded": {
			"GET", "/v1/configs/a%20b%C3%A4", "GET /v1/configs/{id}", map[string]string{"id": "a bä"},
		},
		"an encoded slash stays in its segment": {"GET", "/v1/configs/a%2Fb", "GET /v1/configs/{id}", map[string]string{"id": "a/b"}},
		"a plus is a plus":                      {"GET", "/v1/configs/a+b", "GET /v1/configs/{id}", map[string]string{"id": "a+b"}},
		"a dead end falls back to the parameter": {
			"GET", "/v1/configs/special/test", "GET /v1/{kind}/{id}/test", map[string]string{"kind": "configs", "id": "special"},
		},
		"ANY takes a method without a route":         {"DELETE", "/v1/any", "ANY /v1/any", nil},
		"the method's own route is preferred to ANY": {"POST", "/v1/any", "POST /v1/any", nil},
		"an unknown path is not found":               {"GET", "/v2/configs", "", nil},
		"an unknown method is not found":             {"PUT", "/v1/configs", "", nil},
		"HEAD is not GET":                            {"HEAD", "/v1/configs", "", nil},
		"OPTIONS is not answered":                    {"OPTIONS", "/v1/configs", "", nil},
		"a trailing slash is another path":           {"GET", "/v1/configs/", "", nil},
		"a longer path is not found":                 {"GET", "/v1/configs/abc/def", "", nil},
		"the root is not found":                      {"GET", "/", "", nil},
		"an empty segment is no parameter":           {"GET", "/v1/configs//test", "", nil},
		"a path is not cleaned":                      {"GET", "/v1/x/../configs", "", nil},
		"a route's own slash is part of its path":    {"GET", "/v1/folder/", "GET /v1/folder/", nil},
		"below a route's slash is another path":      {"GET", "/v1/folder/a", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			called = ""
			response := do(g, httptest.NewRequest(test.method, test.target, nil))
			body := bodyOf(t, response)
			if called != test.want {
				t.Fatalf("invoked %q, want %q", called, test.want)
			}
			if test.want == "" {
				if response.StatusCode != 404 || body != `{"message":"Not Found"}` {
					t.Errorf("got %d %s, want 404 and API Gateway's body", response.StatusCode, body)
				}
				return
			}
			var e event
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.parameters, e.PathParameters); diff != "" {
				t.Errorf("path parameters (-want +got):\n%s", diff)
			}
			if e.RouteKey != test.want {
				t.Errorf("route key %q, want %q", e.RouteKey, test.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, routes := range map[string][]Route{
		"a greedy parameter":       {{Method: "GET", Path: "/v1/{proxy+}"}},
		"half a parameter":         {{Method: "GET", Path: "/v1/{id"}},
		"an unnamed parameter":     {{Method: "GET", Path: "/v1/{}"}},
		"a parameter within text":  {{Method: "GET", Path: "/v1/a{id}"}},
		"a parameter twice":        {{Method: "GET", Path: "/{id}/{id}"}},
		"a relative path":          {{Method: "GET", Path: "$default"}},
		"the same route twice":     {{Method: "GET", Path: "/a"}, {Method: "GET", Path: "/a"}},
		"the same route by params": {{Method: "GET", Path: "/{a}"}, {Method: "GET", Path: "/{b}"}},
		"routes that cross":        {{Method: "GET", Path: "/{a}/b"}, {Method: "GET", Path: "/a/{b}"}},
		"a tail":                   {{Method: "GET", Path: "/a/{b...}"}},
		"an end":                   {{Method: "GET", Path: "/a/{$}"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(Options{Routes: routes}); err == nil || !strings.Contains(err.Error(), routes[0].Method) {
				t.Errorf("New = %v, want an error that names the route", err)
			}
		})
	}
}

func TestResponse(t *testing.T) {
	type want struct {
		Status int
		Body   string
		Header http.Header
	}
	plain := http.Header{"Content-Type": {"text/plain;charset=UTF-8"}}
	failed := want{500, `{"message":"Internal Server Error"}`, http.Header{"Content-Type": {"application/json"}}}
	for name, test := range map[string]struct {
		answer string
		err    error
		want   want
	}{
		"status and body are answered": {answer: `{"statusCode":201,"body":"hi"}`, want: want{201, "hi", plain}},
		"headers are answered": {
			answer: `{"statusCode":200,"headers":{"content-type":"application/vnd.api+json","X-A":"1"},"body":"{}"}`,
			want:   want{200, "{}", http.Header{"Content-Type": {"application/vnd.api+json"}, "X-A": {"1"}}},
		},
		"a base64 body is decoded": {
			answer: `{"statusCode":200,"body":"AAH/","isBase64Encoded":true}`,
			want:   want{Status: 200, Body: "\x00\x01\xff", Header: plain},
		},
		"204 has no body":                    {answer: `{"statusCode":204,"body":"x"}`, want: want{204, "", plain}},
		"several values of a header are one": {answer: `{"statusCode":200,"multiValueHeaders":{"x-a":["1","2"]}}`, want: failed},
		"cookies are one":                    {answer: `{"statusCode":200,"cookies":["a=1"]}`, want: failed},
		"a header that is no text is one":    {answer: `{"statusCode":200,"headers":{"a":5}}`, want: failed},
		"an answer without a status is one":  {answer: `{"a":1}`, want: failed},
		"an answer that is a list is one":    {answer: `[1]`, want: failed},
		"bad base64 is an error":             {answer: `{"statusCode":200,"body":"%","isBase64Encoded":true}`, want: failed},
		"a status that is no number is one":  {answer: `{"statusCode":"x"}`, want: failed},
		"an impossible status is one":        {answer: `{"statusCode":99}`, want: failed},
		"an answer that is not JSON is one":  {answer: `{`, want: failed},
		"a failed function is one":           {answer: ``, err: errors.New("boom"), want: failed},
	} {
		t.Run(name, func(t *testing.T) {
			var reports []string
			g := newGateway(t, Options{
				Routes:  []Route{{Method: "GET", Path: "/a", Function: "F"}},
				Invoker: invoker(func(string, []byte) ([]byte, error) { return []byte(test.answer), test.err }),
				Report:  func(route, id, message string, err error) { reports = append(reports, route) },
			})
			response := do(g, httptest.NewRequest("GET", "/a", nil))
			if response.Header.Get("Apigw-Requestid") == "" {
				t.Error("the response lacks apigw-requestid")
			}
			response.Header.Del("Apigw-Requestid")
			response.Header.Del("Content-Length")
			got := want{response.StatusCode, bodyOf(t, response), response.Header}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			if reported := len(reports) == 1; reported != (got.Status == 500) {
				t.Errorf("reports = %v for status %d; every 500 must be explained once", reports, got.Status)
			}
		})
	}
}

// TestAnswersToCurl: a person reads them. What is no JSON, and what programs are answered, stays as it is.
func TestAnswersToCurl(t *testing.T) {
	for _, test := range []struct{ agent, body, want string }{
		{agent: "curl/8.5.0", body: `{"data":[1]}`, want: "{\n  \"data\": [\n    1\n  ]\n}\n"},
		{agent: "curl/8.5.0", body: "", want: ""},
		{agent: "curl/8.5.0", body: "text", want: "text"},
		{agent: "python-requests/2", body: `{"data":[1]}`, want: `{"data":[1]}`},
	} {
		answer, err := json.Marshal(map[string]any{"statusCode": 200, "body": test.body})
		if err != nil {
			t.Fatal(err)
		}
		g := newGateway(t, Options{Routes: []Route{{Method: "GET", Path: "/v1", Function: "F"}}, Invoker: answering(string(answer))})
		request := httptest.NewRequest("GET", "/v1", nil)
		request.Header.Set("User-Agent", test.agent)
		response := do(g, request)
		if got := bodyOf(t, response); got != test.want || response.ContentLength != int64(len(got)) {
			t.Errorf("%s is answered %q for %q, of %d bytes", test.agent, got, test.body, response.ContentLength)
		}
	}
}

func TestThrottledFunctionIsUnavailable(t *testing.T) {
	throttled := errors.New("throttled")
	g := newGateway(t, Options{
		Routes:    []Route{{Method: "GET", Path: "/a", Function: "F"}},
		Invoker:   invoker(func(string, []byte) ([]byte, error) { return nil, fmt.Errorf("invoking F: %w", throttled) }),
		Throttled: throttled,
	})
	response := do(g, httptest.NewRequest("GET", "/a", nil))
	if body := bodyOf(t, response); response.StatusCode != 503 || body != `{"message":"Service Unavailable"}` {
		t.Errorf("answered %d %s", response.StatusCode, body)
	}
}

func TestSlowFunctionIsUnavailable(t *testing.T) {
	for name, test := range map[string]struct {
		takes time.Duration
		want  int
	}{
		"within the timeout it is waited for": {29 * time.Second, 200},
		"after the timeout it is 503":         {31 * time.Second, 503},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				finished := false
				g := newGateway(t, Options{
					Routes: []Route{{Method: "GET", Path: "/a", Function: "F"}},
					Invoker: invoker(func(string, []byte) ([]byte, error) {
						<-time.After(test.takes)
						finished = true
						return []byte(empty), nil
					}),
				})
				response := do(g, httptest.NewRequest("GET", "/a", nil))
				if response.StatusCode != test.want {
					t.Errorf("status %d, want %d", response.StatusCode, test.want)
				}
				if body := bodyOf(t, response); test.want == 503 && body != `{"message":"Service Unavailable"}` {
					t.Errorf("body %s", body)
				}
				<-time.After(5 * time.Second)
				synctest.Wait()
				if !finished {
					t.Error("the function must go on to its end")
				}
			})
		})
	}
}

func TestLimits(t *testing.T) {
	g := newGateway(t, Options{Routes: []Route{{Method: "POST", Path: "/a", Function: "F"}}, Invoker: answering(empty)})
	post := func(size int, header string) *http.Request {
		r := httptest.NewRequest("POST", "/a", bytes.NewReader(bytes.Repeat([]byte("x"), size)))
		r.Header.Set("X-Long", header)
		return r
	}
	for name, test := range map[string]struct {
		request *http.Request
		status  int
		body    string
	}{
		"10 MiB are accepted":             {post(10<<20, ""), 200, `{}`},
		"one byte more is too large":      {post(10<<20+1, ""), 413, `{"message":"Request Entity Too Large"}`},
		"headers of 10,000 are accepted":  {post(0, strings.Repeat("x", 10000)), 200, `{}`},
		"headers of 10,240 are too large": {post(0, strings.Repeat("x", 10240)), 431, `{"message":"Request Header Fields Too Large"}`},
	} {
		t.Run(name, func(t *testing.T) {
			response := do(g, test.request)
			if body := bodyOf(t, response); response.StatusCode != test.status || body != test.body {
				t.Errorf("got %d %s, want %d %s", response.StatusCode, body, test.status, test.body)
			}
		})
	}
}

func TestThrottle(t *testing.T) {
	now := noon
	g := newGateway(t, Options{
		Now: func() time.Time { return now },
		Routes: []Route{
			{Method: "GET", Path: "/a", Function: "F"},
			{Method: "GET", Path: "/b", Function: "F"},
		},
		Throttle: rate.NewLimiter(2, 3),
		Invoker:  answering(empty),
	})
	get := func(path string) int { return do(g, httptest.NewRequest("GET", path, nil)).StatusCode }
	steps := []struct {
		name    string
		advance time.Duration
		path    string
		want    int
	}{
		{"the burst passes", 0, "/a", 200},
		{"the burst passes on every route", 0, "/b", 200},
		{"the burst's last passes", 0, "/a", 200},
		{"after the burst it is 429", 0, "/a", 429},
		{"other routes share the limit", 0, "/b", 429},
		{"half a second gives one more", 500 * time.Millisecond, "/a", 200},
		{"and only one", 0, "/a", 429},
		{"tokens do not pile up beyond the burst", time.Hour, "/a", 200},
		{"second of three", 0, "/a", 200},
		{"third of three", 0, "/a", 200},
		{"fourth of three", 0, "/a", 429},
		{"an unknown route costs nothing", 0, "/none", 404},
	}
	for _, step := range steps {
		now = now.Add(step.advance)
		if got := get(step.path); got != step.want {
			t.Errorf("%s: %s answered %d, want %d", step.name, step.path, got, step.want)
		}
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	g := newGateway(t, Options{Invoker: answering(empty)})
	seen := map[string]bool{}
	for range 1000 {
		id := do(g, httptest.NewRequest("GET", "/", nil)).Header.Get("Apigw-Requestid")
		if id == "" || seen[id] {
			t.Fatalf("the request id %q is empty or was there before", id)
		}
		seen[id] = true
	}
}
