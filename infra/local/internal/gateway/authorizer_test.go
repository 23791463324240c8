package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"
)

// authorizing is a gateway with one route behind an authorizer, and what its functions were asked.
type authorizing struct {
	*Gateway
	now       time.Time
	asked     int
	payload   []byte // of the authorizer
	called    int
	authority map[string]any // what the route's function was told
}

func newAuthorizing(t *testing.T, cache time.Duration, headers []string, answer func() ([]byte, error)) *authorizing {
	a := &authorizing{now: noon}
	a.Gateway = newGateway(t, Options{
		Now: func() time.Time { return a.now },
		Routes: []Route{{Method: "POST", Path: "/a/{id}", Function: "F", Authorizer: &Authorizer{
			Name: "Keys", Function: "AuthorizeFunction", Headers: headers, Cache: cache,
		}}},
		Invoker: invoker(func(function string, payload []byte) ([]byte, error) {
			if function == "AuthorizeFunction" {
				a.asked++
				a.payload = payload
				return answer()
			}
			a.called++
			var e struct {
				RequestContext struct {
					Authorizer struct{ Lambda map[string]any }
				}
			}
			err := json.Unmarshal(payload, &e)
			a.authority = e.RequestContext.Authorizer.Lambda
			return []byte(empty), err
		}),
	})
	return a
}

func (a *authorizing) post(headers ...string) (status int, body string) {
	r := httptest.NewRequest("POST", "/a/1?q=2", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestAuthorizer(t *testing.T) {
	const key = "X-Api-Key"
	for name, test := range map[string]struct {
		headers   []string // of the identity source
		request   []string
		answer    string
		err       error
		status    int
		body      string
		asked     int
		called    int
		authority map[string]any
	}{
		"an allowed request reaches the function with the context": {
			headers:   []string{key},
			request:   []string{key, "k"},
			answer:    `{"isAuthorized":true,"context":{"organization_id":"org","n":1}}`,
			status:    200,
			body:      `{}`,
			asked:     1,
			called:    1,
			authority: map[string]any{"organization_id": "org", "n": 1.0},
		},
		"an allowed request without context reaches it too": {
			headers: []string{key},
			request: []string{key, "k"},
			answer:  `{"isAuthorized":true}`,
			status:  200,
			body:    `{}`,
			asked:   1,
			called:  1,
		},
		"a denied request is forbidden": {
			headers: []string{key},
			request: []string{key, "k"},
			answer:  `{"isAuthorized":false}`,
			status:  403,
			body:    `{"message":"Forbidden"}`,
			asked:   1,
			called:  0,
		},
		"without the header it is unauthorized and nobody is asked": {
			headers: []string{key}, answer: ``, status: 401, body: `{"message":"Unauthorized"}`, asked: 0, called: 0},
		"with an empty header as well": {
			headers: []string{key},
			request: []string{key, ""},
			answer:  ``,
			status:  401,
			body:    `{"message":"Unauthorized"}`,
			asked:   0,
			called:  0,
		},
		"with one of two headers as well": {
			headers: []string{key, "X-Other"},
			request: []string{key, "k"},
			answer:  ``,
			status:  401,
			body:    `{"message":"Unauthorized"}`,
			asked:   0,
			called:  0,
		},
		"an answer without isAuthorized is an error": {
			headers: []string{key},
			request: []string{key, "k"},
			answer:  `{}`,
			status:  500,
			body:    `{"message":"Internal Server Error"}`,
			asked:   1,
			called:  0,
		},
		"an answer that is no object is one": {
			headers: []string{key},
			request: []string{key, "k"},
			answer:  `"yes"`,
			status:  500,
			body:    `{"message":"Internal Server Error"}`,
			asked:   1,
			called:  0,
		},
		"a failed authorizer is one": {
			headers: []string{key},
			request: []string{key, "k"},
			answer:  ``,
			err:     errors.New("boom"),
			status:  500,
			body:    `{"message":"Internal Server Error"}`,
			asked:   1,
			called:  0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthorizing(t, time.Minute, test.headers, func() ([]byte, error) { return []byte(test.answer), test.err })
			status, body := a.post(test.request...)
			if status != test.status || body != test.body {
				t.Errorf("got %d %s, want %d %s", status, body, test.status, test.body)
			}
			if a.asked != test.asked || a.called != test.called {
				t.Errorf("asked %d times and called %d times, want %d and %d", a.asked, a.called, test.asked, test.called)
			}
			if diff := cmp.Diff(test.authority, a.authority); diff != "" {
				t.Errorf("context (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthorizerEvent(t *testing.T) {
	a := newAuthorizing(t, 0, []string{"X-Api-Key"}, func() ([]byte, error) { return []byte(`{"isAuthorized":true}`), nil })
	a.post("X-Api-Key", "k")
	var got events.APIGatewayV2CustomAuthorizerV2Request
	if err := json.Unmarshal(a.payload, &got); err != nil {
		t.Fatal(err)
	}
	const route = "arn:aws:execute-api:us-east-1:000000000000:Api/$default/POST/a/{id}"
	if got.Version != "2.0" || got.Type != "REQUEST" || got.RouteArn != route {
		t.Errorf("version, type and routeArn = %q, %q, %q", got.Version, got.Type, got.RouteArn)
	}
	if diff := cmp.Diff([]string{"k"}, got.IdentitySource); diff != "" {
		t.Errorf("identity source (-want +got):\n%s", diff)
	}
	if got.Headers["x-api-key"] != "k" || got.PathParameters["id"] != "1" || got.QueryStringParameters["q"] != "2" {
		t.Errorf("headers %v, path %v, query %v", got.Headers, got.PathParameters, got.QueryStringParameters)
	}
	var raw map[string]any
	if err := json.Unmarshal(a.payload, &raw); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"body", "isBase64Encoded"} {
		if _, ok := raw[name]; ok {
			t.Errorf("an authorizer is not given %s", name)
		}
	}
}

func TestAuthorizerCache(t *testing.T) {
	type step struct {
		name    string
		advance time.Duration
		key     string
		asked   int // in all
		status  int
	}
	for name, test := range map[string]struct {
		cache time.Duration
		steps []step
	}{
		"answers count for the cache's time, each key its own": {time.Minute, []step{
			{"first", 0, "good", 1, 200},
			{"again", 59 * time.Second, "good", 1, 200},
			{"another key", 0, "bad", 2, 403},
			{"a denial is remembered as well", 0, "bad", 2, 403},
			{"after the time", time.Second, "good", 3, 200},
			{"counted from the last answer", 59 * time.Second, "good", 3, 200},
			{"errors are not remembered", 0, "broken", 4, 500},
			{"so they are asked again", 0, "broken", 5, 500},
		}},
		"without cache everybody is asked about": {0, []step{
			{"first", 0, "good", 1, 200},
			{"again", 0, "good", 2, 200},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var a *authorizing
			a = newAuthorizing(t, test.cache, []string{"X-Api-Key"}, func() ([]byte, error) {
				var e struct{ IdentitySource []string }
				if err := json.Unmarshal(a.payload, &e); err != nil || e.IdentitySource[0] == "broken" {
					return nil, errors.New("boom")
				}
				return fmt.Appendf(nil, `{"isAuthorized":%t}`, e.IdentitySource[0] == "good"), nil
			})
			for _, step := range test.steps {
				a.now = a.now.Add(step.advance)
				status, _ := a.post("X-Api-Key", step.key)
				if status != step.status || a.asked != step.asked {
					t.Errorf("%s: status %d after %d questions, want %d after %d", step.name, status, a.asked, step.status, step.asked)
				}
			}
		})
	}
}

// TestFloodWithoutAKey is what limits.md says of one: it takes the tokens of all, and reaches no function but the
// authorizer, so that nothing which is counted for an organization is used up.
func TestFloodWithoutAKey(t *testing.T) {
	var a *authorizing
	a = newAuthorizing(t, time.Minute, []string{"X-Api-Key"}, func() ([]byte, error) {
		var e struct{ IdentitySource []string }
		err := json.Unmarshal(a.payload, &e)
		return fmt.Appendf(nil, `{"isAuthorized":%t}`, err == nil && e.IdentitySource[0] == "good"), err
	})
	a.throttle = rate.NewLimiter(10, 20)
	count := map[int]int{}
	for n := range 100 {
		status, _ := a.post()
		count[status]++
		if n%2 == 0 {
			status, _ = a.post("X-Api-Key", fmt.Sprint("guess ", n))
			count[status]++
		}
	}
	if want := map[int]int{401: 13, 403: 7, 429: 130}; !maps.Equal(count, want) || a.asked != 7 || a.called != 0 {
		t.Errorf("answered %v, want %v; %d questions, %d calls", count, want, a.asked, a.called)
	}
	for wait, want := range []int{429, 200} {
		a.now = a.now.Add(time.Duration(wait) * 100 * time.Millisecond)
		if status, _ := a.post("X-Api-Key", "good"); status != want {
			t.Errorf("with a key, %d tenths of a second later: %d, want %d", wait, status, want)
		}
	}
}

func TestCacheForgetsWhatNoLongerCounts(t *testing.T) {
	a := newAuthorizing(t, time.Minute, []string{"X-Api-Key"}, func() ([]byte, error) { return []byte(`{"isAuthorized":false}`), nil })
	for i := range 1000 {
		a.post("X-Api-Key", fmt.Sprint(i))
	}
	a.now = a.now.Add(2 * time.Minute)
	a.post("X-Api-Key", "one more")
	if n := len(a.verdicts); n != 1 {
		t.Errorf("%d answers are kept, want the one that counts", n)
	}
}

func TestSlowAuthorizerIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthorizing(t, 0, []string{"X-Api-Key"}, func() ([]byte, error) {
			<-time.After(11 * time.Second)
			return []byte(`{"isAuthorized":true}`), nil
		})
		if status, body := a.post("X-Api-Key", "k"); status != 500 || body != `{"message":"Internal Server Error"}` {
			t.Errorf("got %d %s, want 500", status, body)
		}
		<-time.After(2 * time.Second)
	})
}
