package endpoint

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/shared/signature"
)

// TestStandardWebhooks goes through what version 1.0 of the specification asks of a sender, in its
// order, with the official library as the receiver. What it asks of retries is tested where they are
// scheduled.
//
// Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func TestStandardWebhooks(t *testing.T) {
	clock := time.Now()
	client := NewClient(ClientOptions{
		Guard: NewGuard(true), AllowHTTP: true, Now: func() time.Time { return clock }, Timeout: 5 * time.Second,
	})
	post := func(t *testing.T, url string, attempt int, previous *signature.Credentials) Result {
		t.Helper()
		r := requestTo(url)
		r.Attempt, r.Previous = attempt, previous
		return client.Post(t.Context(), r)
	}
	verify := func(t *testing.T, c signature.Credentials, r received) error {
		t.Helper()
		library, err := standardwebhooks.NewWebhook(c.Secret.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		return library.Verify(r.body, r.header)
	}
	const minute = time.Minute
	judged := func(status int, header ...string) func(*testing.T) Result {
		return func(t *testing.T) Result {
			url, _ := endpoint(t, answering(status, header...))
			return post(t, url, 1, nil)
		}
	}

	t.Run("1 the official library verifies a request", func(t *testing.T) {
		url, requests := endpoint(t, answering(200))
		post(t, url, 1, nil)
		got := <-requests
		if err := verify(t, current, got); err != nil {
			t.Error(err)
		}
		got.body = append(got.body, ' ')
		if verify(t, current, got) == nil {
			t.Error("and with another body, too")
		}
	})
	t.Run("2 the id is the event's and stays the same over attempts, and so does the body", func(t *testing.T) {
		url, requests := endpoint(t, answering(500))
		post(t, url, 1, nil)
		post(t, url, 2, nil)
		first, second := <-requests, <-requests
		id := first.header.Get("webhook-id")
		if id != event().ID || second.header.Get("webhook-id") != id || strings.Contains(id, ".") {
			t.Errorf("ids %q and %q", id, second.header.Get("webhook-id"))
		}
		if !bytes.Equal(first.body, second.body) {
			t.Error("the bodies differ")
		}
	})
	t.Run("3 the timestamp is that of the attempt, in Unix seconds, and is signed anew", func(t *testing.T) {
		url, requests := endpoint(t, answering(500))
		before := clock
		defer func() { clock = before }()
		post(t, url, 1, nil)
		clock = clock.Add(minute)
		post(t, url, 2, nil)
		first, second := <-requests, <-requests
		for n, want := range []time.Time{before, clock} {
			if got := []received{first, second}[n].header.Get("webhook-timestamp"); got != strconv.FormatInt(want.Unix(), 10) {
				t.Errorf("attempt %d: timestamp %q, want %d", n+1, got, want.Unix())
			}
		}
		if first.header.Get("webhook-signature") == second.header.Get("webhook-signature") {
			t.Error("both attempts have the same signature")
		}
		for n, r := range []received{first, second} {
			if err := verify(t, current, r); err != nil {
				t.Errorf("attempt %d: %v", n+1, err)
			}
		}
		second.header.Set("webhook-timestamp", first.header.Get("webhook-timestamp"))
		if verify(t, current, second) == nil {
			t.Error("the timestamp is not signed")
		}
	})
	t.Run("4 the signature is v1, HMAC-SHA256 in base64", func(t *testing.T) {
		url, requests := endpoint(t, answering(200))
		post(t, url, 1, nil)
		got := <-requests
		encoded, found := strings.CutPrefix(got.header.Get("webhook-signature"), "v1,")
		if raw, err := base64.StdEncoding.DecodeString(encoded); !found || err != nil || len(raw) != 32 {
			t.Errorf("%q", got.header.Get("webhook-signature"))
		}
	})
	t.Run("5 during a rotation there are two signatures with a space between, and either secret verifies", func(t *testing.T) {
		url, requests := endpoint(t, answering(200))
		post(t, url, 1, &previous)
		got := <-requests
		if n := len(strings.Split(got.header.Get("webhook-signature"), " ")); n != 2 {
			t.Errorf("%d signatures", n)
		}
		for name, c := range map[string]signature.Credentials{"new": current, "previous": previous} {
			if err := verify(t, c, got); err != nil {
				t.Errorf("with the %s secret: %v", name, err)
			}
		}
	})
	t.Run("6 a secret is whsec_ and the base64 of 24 to 64 bytes, another one for every endpoint", func(t *testing.T) {
		seen := map[signature.Secret]bool{}
		for range 100 {
			c, err := signature.NewCredentials(nil)
			if err != nil {
				t.Fatal(err)
			}
			encoded, found := strings.CutPrefix(c.Secret.Reveal(), "whsec_")
			raw, err := base64.StdEncoding.DecodeString(encoded)
			if !found || err != nil || len(raw) < 24 || len(raw) > 64 || seen[c.Secret] {
				t.Errorf("%d bytes, prefix: %t, seen before: %t, %v", len(raw), found, seen[c.Secret], err)
			}
			seen[c.Secret] = true
		}
	})
	t.Run("7 the body is JSON, as the content type says, and small", func(t *testing.T) {
		url, requests := endpoint(t, answering(200))
		post(t, url, 1, nil)
		if got := <-requests; got.header.Get("Content-Type") != "application/json" || len(got.body) > 20<<10 || got.body[0] != '{' {
			t.Errorf("%s, %d bytes", got.header.Get("Content-Type"), len(got.body))
		}
	})
	t.Run("8 2xx is success and nothing else is", func(t *testing.T) {
		for status := 200; status < 600; status++ {
			if status == 204 || status == 304 || status%10 < 5 { // a sample of each class
				if got := judged(status)(t); got.Success() != (status <= 299) || got.Status != status {
					t.Errorf("%d: %+v", status, got)
				}
			}
		}
	})
	t.Run("9 redirects are not followed and are failures", func(t *testing.T) {
		url, requests := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
		})
		if got := post(t, url, 1, nil); got.Code != CodeRedirect || len(requests) != 1 {
			t.Errorf("%+v after %d requests", got, len(requests))
		}
	})
	t.Run("10 410 says that the endpoint is gone", func(t *testing.T) {
		if got := judged(410)(t); !got.Gone() || got.Success() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("11 429 and 503 may say when to come back", func(t *testing.T) {
		for _, status := range []int{429, 503} {
			if got := judged(status, "Retry-After", "120")(t); got.RetryAfter != 2*minute || got.Success() {
				t.Errorf("%d: %+v", status, got)
			}
		}
	})
	t.Run("12 an attempt takes 15 to 30 seconds at most", func(t *testing.T) {
		if AttemptTimeout < 15*time.Second || AttemptTimeout > 30*time.Second {
			t.Error(AttemptTimeout)
		}
		url, _ := endpoint(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		slow := NewClient(ClientOptions{Guard: NewGuard(true), AllowHTTP: true, Now: time.Now, Timeout: 100 * time.Millisecond})
		if got := slow.Post(t.Context(), requestTo(url)); got.Code != CodeTimeout {
			t.Errorf("%+v", got)
		}
	})
	t.Run("13 nothing is sent to addresses inside", func(t *testing.T) {
		url, requests := endpoint(t, answering(200))
		guarded := NewClient(ClientOptions{Guard: NewGuard(false), AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second})
		if got := guarded.Post(t.Context(), requestTo(url)); got.Code != CodeBlockedAddress || len(requests) != 0 {
			t.Errorf("%+v after %d requests", got, len(requests))
		}
	})
}
