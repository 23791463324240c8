package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
)

func TestEndpointVerifies(t *testing.T) {
	const (
		token  = "whtok_abc"
		secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
		other  = "whsec_OTk5MzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
		body   = `{"a":1}`
	)
	now := time.Now()
	plain := func(secret, body string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	standard := func(secret, body string, at time.Time) string {
		webhook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := webhook.Sign("evt_1", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	for name, test := range map[string]struct {
		token, signature, standard string
		at                         time.Time
		unregistered               bool
		want                       string // why it is refused; "": accepted
	}{
		"what is right is accepted": {token, plain(secret, body), standard(secret, body, now), now, false, ""},
		"one of two standard signatures is enough": {
			token, plain(secret, body), standard(other, body, now) + " " + standard(secret, body, now), now, false, "",
		},
		"another token is refused":  {"whtok_x", plain(secret, body), standard(secret, body, now), now, false, "X-Webhook-Token"},
		"another secret is refused": {token, plain(other, body), standard(secret, body, now), now, false, "X-Webhook-Signature"},
		"another body is refused": {
			token, plain(secret, body+" "), standard(secret, body, now), now, false, "X-Webhook-Signature",
		},
		"no signature is refused":            {token, "", standard(secret, body, now), now, false, "X-Webhook-Signature"},
		"another standard secret is refused": {token, plain(secret, body), standard(other, body, now), now, false, "webhook-signature"},
		"an old timestamp is refused": {
			token, plain(secret, body), standard(secret, body, now.Add(-time.Hour)), now.Add(-time.Hour), false, "webhook-signature",
		},
		"before registration all is refused": {"", plain("", body), standard(secret, body, now), now, true, "no credentials yet"},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan arrival, 1)
			endpoint := newEndpoint("http://127.0.0.1:1", arrived, journal.New(journal.Options{}))
			if !test.unregistered {
				endpoint.setCredentials(token, secret)
			}
			request := httptest.NewRequest("POST", "/", strings.NewReader(body))
			request.Header.Set("X-Webhook-Token", test.token)
			request.Header.Set("X-Webhook-Signature", test.signature)
			request.Header.Set("Webhook-Id", "evt_1")
			request.Header.Set("Webhook-Timestamp", strconv.FormatInt(test.at.Unix(), 10))
			request.Header.Set("Webhook-Signature", test.standard)
			answer := httptest.NewRecorder()
			endpoint.ServeHTTP(answer, request)
			hook := <-arrived
			if test.want == "" {
				if hook.rejected != nil || answer.Code != http.StatusNoContent {
					t.Errorf("answered %d, %v; want 204", answer.Code, hook.rejected)
				}
				return
			}
			if hook.rejected == nil || !strings.Contains(hook.rejected.Error(), test.want) || answer.Code != http.StatusUnauthorized {
				t.Errorf("answered %d, %v; want 401 and %q", answer.Code, hook.rejected, test.want)
			}
			shown := hook.describe(palette{})
			for _, want := range []string{"refused: ", "Webhook-Id           evt_1"} {
				if !strings.Contains(shown, want) {
					t.Errorf("it is shown without %q as\n%s", want, shown)
				}
			}
		})
	}
}

func TestEndpointBehaves(t *testing.T) {
	const (
		token  = "whtok_abc"
		secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	)
	ctx, giveUp := context.WithCancel(t.Context())
	r := newEndpoint("http://127.0.0.1:1", make(chan arrival, 1), journal.New(journal.Options{}))
	for _, b := range []Behaviour{"", "dance"} {
		if err := r.Behave(b); err == nil {
			t.Errorf("it does %q", b)
		}
	}
	if got := r.decide(ctx); got != http.StatusNoContent {
		t.Errorf("at first it answers %d", got)
	}
	if err := r.Behave(fail); err != nil || r.decide(ctx) != http.StatusInternalServerError || r.Behaviour() != fail {
		t.Errorf("told to fail it does %q (%v)", r.Behaviour(), err)
	}
	if err := r.Behave(hang); err != nil {
		t.Fatal(err)
	}
	answers := make(chan int)
	go func() { answers <- r.decide(t.Context()) }()
	if err := r.Behave(succeed); err != nil {
		t.Fatal(err)
	}
	if got := <-answers; got != http.StatusNoContent {
		t.Errorf("recovered it answers %d", got)
	}
	if err := r.Behave(hang); err != nil {
		t.Fatal(err)
	}
	giveUp()
	if got := r.decide(ctx); got != 0 {
		t.Errorf("to a sender that gave up it answers %d", got)
	}

	// What cannot be verified is refused, whatever else the endpoint would do.
	r.setCredentials(token, secret)
	answer := httptest.NewRecorder()
	r.ServeHTTP(answer, httptest.NewRequest("POST", "/", strings.NewReader("{}")))
	if answer.Code != http.StatusUnauthorized {
		t.Errorf("a forged request is answered %d", answer.Code)
	}
}
