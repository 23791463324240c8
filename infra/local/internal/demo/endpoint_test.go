package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/shared/signature"
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
		"another token is refused": {"whtok_x", plain(secret, body), standard(secret, body, now), now, false, "X-Webhook-Token"},
		"the secret of another config is refused": {
			token, plain(other, body), standard(secret, body, now), now, false, "X-Webhook-Signature",
		},
		"another body is refused": {
			token, plain(secret, body+" "), standard(secret, body, now), now, false, "X-Webhook-Signature",
		},
		"no signature is refused":            {token, "", standard(secret, body, now), now, false, "X-Webhook-Signature"},
		"another standard secret is refused": {token, plain(secret, body), standard(other, body, now), now, false, "webhook-signature"},
		"an old timestamp is refused": {
			token, plain(secret, body), standard(secret, body, now.Add(-time.Hour)), now.Add(-time.Hour), false, "webhook-signature",
		},
		"before registration all is refused": {"", plain("", body), standard(secret, body, now), now, true, "X-Webhook-Token"},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan arrival, 1)
			endpoint := newEndpoint("http://127.0.0.1:1", arrived, journal.New(journal.Options{}))
			if !test.unregistered {
				endpoint.Learn("whtok_other", other)
				endpoint.Learn(token, secret)
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
			for _, want := range []string{"refused: ", "webhook-id           evt_1"} {
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
	synctest.Test(t, func(t *testing.T) {
		arrived := make(chan arrival, 1)
		e := newEndpoint("http://127.0.0.1:1", arrived, journal.New(journal.Options{}))
		e.Learn(token, secret)
		behave := func(b Behaviour) {
			t.Helper()
			if err := e.Behave(b); err != nil || e.Behaviour() != b {
				t.Fatalf("told to %s it does %q (%v)", b, e.Behaviour(), err)
			}
		}
		// ask sends a request with this token and says what it is answered, and when; 200 stands for no answer.
		ask := func(ctx context.Context, token signature.Secret) string {
			request := httptest.NewRequestWithContext(ctx, "POST", "/", strings.NewReader("{}"))
			credentials := signature.Credentials{Token: token, Secret: secret}
			if err := signature.Sign(request.Header, "evt_1", []byte("{}"), time.Now(), credentials, nil); err != nil {
				t.Fatal(err)
			}
			recorder, began := httptest.NewRecorder(), time.Now()
			e.ServeHTTP(recorder, request)
			header := recorder.Header()
			return fmt.Sprint(recorder.Code, header.Get("Retry-After"), header.Get("Location"), " after ", time.Since(began))
		}
		for _, b := range []Behaviour{"", "dance"} {
			if err := e.Behave(b); err == nil || e.Behaviour() != succeed {
				t.Errorf("told to %q it does %q (%v)", b, e.Behaviour(), err)
			}
		}
		got := map[Behaviour]string{}
		for b := range answers {
			behave(b)
			asked := make(chan string)
			go func() { asked <- ask(t.Context(), token) }()
			if b == "hang" {
				synctest.Wait()
				behave("slow")
			}
			got[b] = <-asked
			<-arrived
		}
		want := map[Behaviour]string{
			"succeed":  "204 after 0s",
			"fail":     "500 after 0s",
			"gone":     "410 after 0s",
			"limit":    "429120 after 0s",
			"redirect": "308/elsewhere after 0s",
			"slow":     "204 after 3s",
			"hang":     "204 after 3s", // once it is slow
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		behave("hang")
		ctx, giveUp := context.WithTimeout(t.Context(), time.Second)
		defer giveUp()
		if got := ask(ctx, token); got != "200 after 1s" {
			t.Errorf("to a sender that gives up it answers %s", got)
		}
		if got := ask(t.Context(), "whtok_x"); got != "401 after 0s" {
			t.Errorf("a forged request is answered %s, whatever else the endpoint would do", got)
		}
	})
}
