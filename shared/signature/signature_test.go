package signature_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	current = signature.Credentials{
		Token:  "whtok_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		Secret: "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
	}
	previous = signature.Credentials{
		Token:  "whtok_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
)

// TestVectorOfTheSpecification: the example that the specification and its libraries share.
//
// Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/go/webhook_test.go
func TestVectorOfTheSpecification(t *testing.T) {
	credentials := signature.Credentials{Token: current.Token, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	header := http.Header{}
	at := time.Unix(1614265330, 0)
	err := signature.Sign(header, "msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`), at, credentials, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Webhook-Id":        {"msg_p5jXN8AQM9LWM0D4loKWxJek"},
		"Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		"X-Webhook-Token":   {current.Token.Reveal()},
		// printf '{"test": 2432232314}' | openssl dgst -sha256 -hmac whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
		"X-Webhook-Signature": {"80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"},
	}
	if diff := cmp.Diff(want, header); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHex: the key is the secret's characters, prefix included.
func TestHex(t *testing.T) {
	// RFC 4231, section 4.3.
	const want = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
	if got := signature.Hex("Jefe", []byte("what do ya want for nothing?")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	body := []byte(`{"a":1}`)
	signed := func(at time.Time, current signature.Credentials, previous *signature.Credentials) http.Header {
		header := http.Header{}
		if err := signature.Sign(header, "evt_1", body, at, current, previous); err != nil {
			t.Fatal(err)
		}
		return header
	}
	without := func(name string) http.Header {
		header := signed(time.Now(), current, nil)
		header.Del(name)
		return header
	}
	with := func(name, value string) http.Header {
		header := signed(time.Now(), current, nil)
		header.Set(name, value)
		return header
	}
	now := time.Now()
	cases := []struct {
		name   string
		header http.Header
		body   string
		with   signature.Credentials
		want   error
	}{
		{name: "what was signed is accepted", header: signed(now, current, nil), with: current},
		{name: "within an overlap the previous credentials are accepted", header: signed(now, current, &previous), with: previous},
		{
			name:   "without an overlap the previous credentials are refused",
			header: signed(now, current, nil),
			with:   previous,
			want:   signature.ErrSignature,
		},
		{name: "another body is refused", header: signed(now, current, nil), body: `{"a":2}`, with: current, want: signature.ErrSignature},
		{
			name:   "another token is refused",
			header: with("X-Webhook-Token", previous.Token.Reveal()),
			with:   current,
			want:   signature.ErrSignature,
		},
		{
			name:   "another hex signature is refused",
			header: with("X-Webhook-Signature", strings.Repeat("0", 64)),
			with:   current,
			want:   signature.ErrSignature,
		},
		{
			name:   "another standard signature is refused",
			header: with("webhook-signature", "v1,"+strings.Repeat("A", 43)+"="),
			with:   current,
			want:   signature.ErrSignature,
		},
		{name: "another id is refused", header: with("webhook-id", "evt_2"), with: current, want: signature.ErrSignature},
		{
			name:   "another timestamp is refused",
			header: with("webhook-timestamp", strconv.FormatInt(now.Unix()-60, 10)),
			with:   current,
			want:   signature.ErrSignature,
		},
		{
			name:   "an old timestamp is refused",
			header: signed(now.Add(-6*time.Minute), current, nil),
			with:   current,
			want:   standardwebhooks.ErrMessageTooOld,
		},
		{
			name:   "a timestamp in the future is refused",
			header: signed(now.Add(6*time.Minute), current, nil),
			with:   current,
			want:   standardwebhooks.ErrMessageTooNew,
		},
		{name: "a request without a token is refused", header: without("X-Webhook-Token"), with: current, want: signature.ErrSignature},
		{
			name:   "a request without a hex signature is refused",
			header: without("X-Webhook-Signature"),
			with:   current,
			want:   signature.ErrSignature,
		},
		{
			name:   "a request without a standard signature is refused",
			header: without("webhook-signature"),
			with:   current,
			want:   standardwebhooks.ErrRequiredHeaders,
		},
		{name: "a request without any header is refused", header: http.Header{}, with: current, want: signature.ErrSignature},
		{name: "no credentials accept nothing", header: http.Header{}, want: signature.ErrCredentials},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			received := body
			if c.body != "" {
				received = []byte(c.body)
			}
			err := signature.Verify(c.header, received, c.with)
			if c.want == nil && err != nil || !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if err == nil {
				return
			}
			if strings.Contains(err.Error(), current.Secret.Reveal()) || strings.Contains(err.Error(), current.Token.Reveal()) {
				t.Errorf("the error quotes the credentials: %v", err)
			}
		})
	}
}

func TestCredentialsThatCannotSign(t *testing.T) {
	secrets := map[string]signature.Secret{
		"empty":           "",
		"a prefix alone":  "whsec_",
		"no prefix":       "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
		"no base64":       "whsec_AQIDBAUG BwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
		"URL-safe base64": "whsec_--__BAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
		"23 bytes":        signature.Secret("whsec_" + "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhc="),
		"65 bytes":        signature.Secret("whsec_" + strings.Repeat("AQID", 21) + "AQI="),
	}
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			broken := signature.Credentials{Token: current.Token, Secret: secret}
			for role, err := range map[string]error{
				"current":  signature.Sign(http.Header{}, "evt_1", nil, time.Now(), broken, nil),
				"previous": signature.Sign(http.Header{}, "evt_1", nil, time.Now(), current, &broken),
			} {
				if !errors.Is(err, signature.ErrCredentials) {
					t.Errorf("as the %s one: %v", role, err)
				}
				if secret != "" && secret != "whsec_" && strings.Contains(err.Error(), secret.Reveal()) {
					t.Errorf("as the %s one the error quotes the secret: %v", role, err)
				}
			}
		})
	}
	t.Run("token without its prefix", func(t *testing.T) {
		if err := (signature.Credentials{Token: "x", Secret: current.Secret}).Check(); !errors.Is(err, signature.ErrCredentials) {
			t.Error(err)
		}
	})
	t.Run("nothing is set by halves", func(t *testing.T) {
		header := http.Header{}
		if err := signature.Sign(header, "evt_1", nil, time.Now(), current, &signature.Credentials{}); err == nil || len(header) > 0 {
			t.Errorf("%v, %v", err, header)
		}
	})
	for _, secret := range []signature.Secret{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		signature.Secret("whsec_" + strings.Repeat("AQID", 21) + "AQ=="),
	} {
		if err := (signature.Credentials{Token: current.Token, Secret: secret}).Check(); err != nil {
			t.Errorf("a secret within the limits: %v", err)
		}
	}
}

func TestNewCredentials(t *testing.T) {
	numbers := make([]byte, 64)
	for i := range numbers {
		numbers[i] = byte(i)
	}
	got, err := signature.NewCredentials(bytes.NewReader(numbers))
	want := signature.Credentials{
		Token:  "whtok_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%s %s, %v", got.Token.Reveal(), got.Secret.Reveal(), err)
	}
	if got.Prefix() != "whsec_ICEiIy" {
		t.Errorf("prefix %q", got.Prefix())
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	broken := errors.New("no more entropy")
	for name, random := range map[string]io.Reader{"too few bytes": bytes.NewReader(numbers[:63]), "an error": iotest.ErrReader(broken)} {
		if got, err := signature.NewCredentials(random); err == nil || got.Token != "" || got.Secret != "" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if (signature.Credentials{Secret: "x"}).Prefix() != "x" || (signature.Credentials{}).Prefix() != "" {
		t.Error("the prefix of a short secret")
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	const planted = "whsec_planted"
	secret := signature.Secret(planted)
	credentials := signature.Credentials{Token: secret, Secret: secret}
	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%!"} {
		shown[verb] = fmt.Sprintf(verb, secret)
		shown["pointer "+verb] = fmt.Sprintf(verb, &secret)
		shown["struct "+verb] = fmt.Sprintf(verb, credentials)
		shown["pointer to struct "+verb] = fmt.Sprintf(verb, &credentials)
		shown["slice "+verb] = fmt.Sprintf(verb, []signature.Secret{secret})
		shown["map "+verb] = fmt.Sprintf(verb, map[signature.Secret]any{secret: secret})
	}
	shown["Sprint"] = fmt.Sprint(secret, credentials)
	shown["String"] = secret.String()
	shown["error"] = fmt.Errorf("opening %v: %w", secret, errors.New("failed")).Error()
	for name, value := range map[string]any{
		"JSON":              secret,
		"JSON of a struct":  credentials,
		"JSON of a map":     map[string]any{"secret": secret, "credentials": credentials},
		"JSON of a pointer": &credentials,
	} {
		data, err := json.Marshal(value)
		if err != nil {
			t.Error(err)
		}
		shown[name] = string(data)
	}
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"slog JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		"slog text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
	} {
		var out bytes.Buffer
		slog.New(handler(&out)).With("with", secret).Info("message", "secret", secret, "credentials", credentials, "pointer", &credentials,
			slog.Group("group", "secret", secret), "any", []any{secret, credentials})
		shown[name] = out.String()
	}
	for name, text := range shown {
		if strings.Contains(text, planted) || strings.Contains(text, fmt.Sprintf("%x", planted)) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
	if secret.Reveal() != planted {
		t.Error("and now it is gone altogether")
	}
}

// goldenRequest is what receivers in any language can be checked against.
type goldenRequest struct {
	Comment   string            `json:"comment"`
	Token     string            `json:"token"`
	Secret    string            `json:"secret"`
	Timestamp int64             `json:"timestamp"` // Unix seconds of the attempt
	Headers   map[string]string `json:"headers"`   // with lower-case names
	Body      string            `json:"body"`

	Overlap struct {
		PreviousToken  string            `json:"previous_token"`
		PreviousSecret string            `json:"previous_secret"`
		Headers        map[string]string `json:"headers"`
	} `json:"overlap"` // the same request while a rotation overlaps
}

func TestGoldenRequest(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	event := webhook.Event{
		Version: 1, ID: webhook.NewEventID(at, "golden"), DocumentID: "doc_7c9e/ä <&> \"1\"",
		Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: webhook.At(at),
	}
	body, err := event.Render("01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		t.Fatal(err)
	}
	headers := func(previous *signature.Credentials) map[string]string {
		header := http.Header{}
		if err := signature.Sign(header, event.ID, body, at, current, previous); err != nil {
			t.Fatal(err)
		}
		lower := map[string]string{}
		for name := range header {
			lower[strings.ToLower(name)] = header.Get(name)
		}
		return lower
	}
	golden := goldenRequest{
		Comment: "A request as Docuhook signs it, for checking receivers. Written by the test of package signature with -update.",
		Token:   current.Token.Reveal(), Secret: current.Secret.Reveal(), Timestamp: at.Unix(), Headers: headers(nil), Body: string(body),
	}
	golden.Overlap.PreviousToken, golden.Overlap.PreviousSecret = previous.Token.Reveal(), previous.Secret.Reveal()
	golden.Overlap.Headers = headers(&previous)
	var got bytes.Buffer
	encoder := json.NewEncoder(&got)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(golden); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "request.json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}

	// What is in the file verifies, read back as a receiver would.
	var file goldenRequest
	if err := json.Unmarshal(want, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		secret  string
		headers map[string]string
	}{{file.Secret, file.Headers}, {file.Secret, file.Overlap.Headers}, {file.Overlap.PreviousSecret, file.Overlap.Headers}} {
		library, err := standardwebhooks.NewWebhook(c.secret)
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{}
		for name, value := range c.headers {
			header.Set(name, value)
		}
		if err := library.VerifyIgnoringTimestamp([]byte(file.Body), header); err != nil {
			t.Error(err)
		}
	}
}
