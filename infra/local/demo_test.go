package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
)

func TestDemoShowsTheWholePath(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every function of the system")
	}
	r := start(t, "-template", "../../template.yaml")
	select {
	case <-r.stdout.await(`Ctrl-C stops`):
	case <-time.After(2 * time.Minute):
		t.Fatal("the demo did not come to its end")
	}
	shown := r.stdout.String()
	for _, want := range []string{
		"A webhook arrived", "token and both signatures verified", `"document_id": "doc_demo"`, `"status": "processed"`,
		"PUT '" + r.api + "/_local/documents/doc_demo'", "X-Api-Key: dk_test_local", "--table-name DocumentsTable", "/v1/webhooks/deliveries/dlv_",
		"start-message-move-task --source-arn arn:aws:sqs:us-east-1:000000000000:DeliveryDeadLetterQueue",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if strings.Contains(shown, "\x1b") {
		t.Error("colours are for terminals only")
	}
	if denied := r.configuration(t).IAM.Denied; len(denied) > 0 {
		t.Errorf("denied on the way: %v", denied)
	}

	t.Run("every further webhook is shown as well", func(t *testing.T) {
		second := r.stdout.await(`(?s)A webhook arrived.*A webhook arrived.*"status": "failed".*verified`)
		if status, body := r.do(t, "PUT", "/_local/documents/doc_demo", `{"status":"failed"}`); status != http.StatusOK {
			t.Fatalf("got %d %s", status, body)
		}
		select {
		case <-second:
		case <-time.After(time.Minute):
			t.Error("no second webhook was shown")
		}
	})

	t.Run("the commands work as they are printed", func(t *testing.T) {
		match := regexp.MustCompile(`/v1/webhooks/deliveries/(dlv_[^/]+)/resend`).FindStringSubmatch(shown)
		if match == nil {
			t.Fatal("there is no command to send a delivery again")
		}
		if status, body := r.do(t, "POST", match[0], "", "X-Api-Key", "dk_test_local"); status != http.StatusAccepted {
			t.Errorf("sending again answered %d %s", status, body)
		}
	})
	if code := r.stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestDemoNeedsTheSandbox(t *testing.T) {
	r := start(t, "-template", "testdata/template.yaml", "-parameter", "Environment=production")
	select {
	case <-r.stdout.await(`The demo did not succeed: .*Environment=production refuses`):
	case <-time.After(time.Minute):
		t.Error("the demo does not say why it cannot run")
	}
}

func TestReceiverVerifies(t *testing.T) {
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
		"what is right is accepted":                {token, plain(secret, body), standard(secret, body, now), now, false, ""},
		"one of two standard signatures is enough": {token, plain(secret, body), standard(other, body, now) + " " + standard(secret, body, now), now, false, ""},
		"another token is refused":                 {"whtok_x", plain(secret, body), standard(secret, body, now), now, false, "X-Webhook-Token"},
		"another secret is refused":                {token, plain(other, body), standard(secret, body, now), now, false, "X-Webhook-Signature"},
		"another body is refused":                  {token, plain(secret, body+" "), standard(secret, body, now), now, false, "X-Webhook-Signature"},
		"no signature is refused":                  {token, "", standard(secret, body, now), now, false, "X-Webhook-Signature"},
		"another standard secret is refused":       {token, plain(secret, body), standard(other, body, now), now, false, "webhook-signature"},
		"an old timestamp is refused":              {token, plain(secret, body), standard(secret, body, now.Add(-time.Hour)), now.Add(-time.Hour), false, "webhook-signature"},
		"before registration all is refused":       {"", plain("", body), standard(secret, body, now), now, true, "no credentials yet"},
	} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan arrival, 1)
			endpoint := newReceiver("http://127.0.0.1:1", arrived, journal.New(journal.Options{}))
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
			if text := hook.describe(palette{}); !strings.Contains(text, "refused: ") || !strings.Contains(text, "Webhook-Id           evt_1") {
				t.Errorf("it is shown as\n%s", text)
			}
		})
	}
}

func TestPaletteColoursOnlyTerminals(t *testing.T) {
	got := []string{palette{terminal: true}.green("x"), palette{}.green("x"), newPalette(&screen{}).bold("x")}
	if diff := cmp.Diff([]string{"\x1b[32mx\x1b[0m", "x", "x"}, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}
