package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/telemetry"
	"github.com/docuhook/docuhook/shared/webhook"
)

const configID = "01890a5d-ac96-774b-bcce-b302099a8057"

// surroundings are the store, health, queue and source of a Deliverer, all of which may fail.
type surroundings struct {
	config  *webhook.Config
	failing bool
	ring    string

	mu       sync.Mutex
	outcomes []webhook.Outcome
}

var errAway = errors.New("away")

func (s *surroundings) Load(_ context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
	loaded := map[webhook.Key]webhook.Loaded{}
	for _, k := range keys {
		config := *s.config
		loaded[k] = webhook.Loaded{Config: &config}
	}
	return loaded, nil
}

func (s *surroundings) Record(_ context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
	recorded := make([]webhook.Recorded, len(outcomes))
	for i, o := range outcomes {
		recorded[i] = s.record(o)
	}
	return recorded
}

func (s *surroundings) Start(_ context.Context, o webhook.Outcome) webhook.Recorded {
	after, counts := o.Known.After(o)
	return webhook.Recorded{Delivery: &after, Counts: counts}
}

func (s *surroundings) record(o webhook.Outcome) webhook.Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes = append(s.outcomes, o)
	if s.failing {
		return webhook.Recorded{Err: fmt.Errorf("refused %+v", o)}
	}
	after, counts := o.Known.After(o)
	return webhook.Recorded{Delivery: &after, Counts: counts}
}

func (s *surroundings) err() error {
	if s.failing {
		return fmt.Errorf("%w: %+v", errAway, s.config)
	}
	return nil
}

func (s *surroundings) Deactivate(context.Context, *webhook.Config, string, time.Time) (bool, error) {
	return !s.failing, s.err()
}
func (s *surroundings) CountFailure(context.Context, *webhook.Config, time.Time) (int, time.Time, error) {
	return 100, time.Now().Add(-48 * time.Hour), s.err()
}
func (s *surroundings) ResetFailures(context.Context, *webhook.Config) error         { return s.err() }
func (s *surroundings) SetLane(context.Context, *webhook.Config, webhook.Lane) error { return s.err() }
func (s *surroundings) ChangeVisibility(context.Context, []webhook.Visibility) error { return s.err() }
func (s *surroundings) SendOnce(context.Context, webhook.Message, time.Duration) error {
	return s.err()
}
func (s *surroundings) Is(string) bool                       { return false }
func (s *surroundings) Read(context.Context) ([]byte, error) { return []byte(s.ring), nil }

// panicking is a poster that breaks with everything it knows.
type panicking struct{ delivery.Poster }

func (panicking) Post(_ context.Context, r endpoint.Request) endpoint.Result {
	panic(fmt.Sprintf("broken with %+v and %x", r, r.Current))
}

// TestPlantedSecretNeverShows delivers to endpoints that send back what they receive and more, with
// everything else failing too, and looks for the credentials, the keys and the URL in every line of
// the log, every metric and every outcome, and for the payload in the lines.
func TestPlantedSecretNeverShows(t *testing.T) {
	credentials, err := signature.NewCredentials(nil)
	if err != nil {
		t.Fatal(err)
	}
	previous, err := signature.NewCredentials(nil)
	if err != nil {
		t.Fatal(err)
	}
	own, ownBefore := keyring.NewKey(), keyring.NewKey()+`/"<&>"`
	credentials.Headers = map[string]signature.Secret{"Authorization": signature.Secret("Bearer " + own)}
	previous.Headers = map[string]signature.Secret{"x-key": signature.Secret(ownBefore)}
	random := keyring.NewKey()
	ringJSON := fmt.Sprintf(`{"primary":"k1","k1":%q}`, random)
	ring, err := keyring.Parse([]byte(ringJSON))
	if err != nil {
		t.Fatal(err)
	}
	seal := func(c signature.Credentials) string {
		sealed, err := ring.Seal(c, "org_1", configID)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	all := strings.Join([]string{
		credentials.Token.Reveal(), credentials.Secret.Reveal(), previous.Token.Reveal(), previous.Secret.Reveal(),
		own, ownBefore,
	}, " ")
	const path = "/a-path-that-is-secret-too"

	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, answer)
		}
	}
	answering := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Echo", all)
			w.Header().Set("Location", "/"+credentials.Token.Reveal())
			w.WriteHeader(status)
			fmt.Fprintln(w, all)
			r.Header.Write(w)
			json.NewEncoder(w).Encode(ownBefore)
			io.WriteString(w, html.EscapeString(ownBefore)+url.QueryEscape(ownBefore))
		}
	}
	endpoints := map[string]http.HandlerFunc{
		"200": answering(200), "302": answering(302), "410": answering(410), "500": answering(500),
		"a malformed answer": raw(credentials.Token.Reveal() + " " + previous.Token.Reveal() + "\r\n\r\n"),
		"a malformed header": raw("HTTP/1.1 200 OK\r\n" + credentials.Token.Reveal() + "\r\n\r\n"),
		"a malformed status": raw("HTTP/1.1 " + credentials.Token.Reveal() + "\r\n\r\n"),
		"a malformed length": raw("HTTP/1.1 200 OK\r\nContent-Length: " + previous.Token.Reveal() + "\r\n\r\n"),
		"a malformed coding": raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + credentials.Secret.Reveal() + "\r\n\r\n"),
		"a truncated answer": raw("HTTP/1.1 500 Oops\r\nContent-Length: 5000\r\n\r\n" + all),
		"a malformed chunk":  raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + credentials.Token.Reveal() + "\r\n"),
		"the payload as a status line": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			raw(string(body)+"\r\n\r\n")(w, r)
		},
		"the payload in a header": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			raw("HTTP/1.1 200 OK\r\nContent-Length: "+string(body)+"\r\n\r\n")(w, r)
		},
		"the payload itself": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			io.Copy(w, r.Body)
		},
		"a redirect to a URL": raw("HTTP/1.1 302 Found\r\n" +
			"Location: http://[" + credentials.Token.Reveal() + "\r\nContent-Length: 0\r\n\r\n"),
	}
	for name, handler := range endpoints {
		for _, failing := range []bool{false, true} {
			for variant, change := range map[string]func(s *surroundings, d *delivery.Deliverer){
				"":                      func(*surroundings, *delivery.Deliverer) {},
				", broken sealed value": func(s *surroundings, _ *delivery.Deliverer) { s.config.Sealed += "AAAA" },
				", broken keyring":      func(s *surroundings, _ *delivery.Deliverer) { s.ring = ringJSON[:len(ringJSON)-2] },
				", panic":               func(_ *surroundings, d *delivery.Deliverer) { d.Poster = panicking{d.Poster} },
			} {
				t.Run(fmt.Sprintf("%s%s, the rest failing: %t", name, variant, failing), func(t *testing.T) {
					server := httptest.NewServer(handler)
					defer server.Close()
					s := &surroundings{failing: failing, ring: ringJSON, config: &webhook.Config{
						OrganizationID: "org_1", ID: configID, URL: server.URL + path, Active: true, FailureCount: 1,
						Sealed: seal(credentials), PreviousSealed: seal(previous), PreviousExpiresAt: webhook.At(time.Now().Add(time.Hour)),
					}}
					var out bytes.Buffer
					d := &delivery.Deliverer{
						Store: s, Health: s, DeliveryQueue: s, RetryQueue: s, Credentials: &keyring.Cache{Source: s, Now: time.Now},
						Poster: endpoint.NewClient(endpoint.ClientOptions{
							Guard: endpoint.NewGuard(true), AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second,
						}),
						Schedule:         delivery.Schedule{time.Second, time.Second, time.Second, time.Second},
						FailureThreshold: 1,
						Metrics:          &telemetry.Metrics{Out: &out, Namespace: "Docuhook", Now: time.Now},
						Log:              telemetry.NewLogger(&out, slog.LevelDebug),
						Now:              time.Now,
						MachineNow:       time.Now,
						Random:           func() float64 { return 0.5 },
					}
					change(s, d)
					if _, err := d.Handle(t.Context(), batch(t)); err != nil {
						t.Fatal(err)
					}
					outcomes, err := json.Marshal(s.outcomes)
					if err != nil {
						t.Fatal(err)
					}
					shown := out.String() + string(outcomes)
					if len(shown) < 500 || strings.Count(out.String(), "\n") < 3 {
						t.Fatalf("this is not what a batch logs: %s", shown)
					}
					for what, secret := range map[string]string{
						"token": credentials.Token.Reveal(), "secret": credentials.Secret.Reveal(), "key": random,
						"previous token": previous.Token.Reveal(), "previous secret": previous.Secret.Reveal(),
						"custom header": own, "previous custom header": ownBefore,
					} {
						// Not only whole: ten characters in a row would be too many.
						for i := 0; i+16 <= len(secret); i++ {
							if strings.Contains(shown, secret[i:i+16]) {
								t.Fatalf("the %s shows in %s", what, shown)
							}
						}
					}
					// Those who fail here quote the whole config; Docuhook itself never does.
					if !failing && variant != ", panic" && strings.Contains(shown, path) {
						t.Errorf("the URL shows in %s", shown)
					}
					lines := out.String()
					if !failing && variant != ", panic" && (strings.Contains(lines, "doc_planted") || strings.Contains(lines, "jsonapi")) {
						t.Errorf("the payload shows in %s", &out)
					}
				})
			}
		}
	}
}

// batch is a first attempt, a later one that is received again, and the last of a round.
func batch(t *testing.T) delivery.Batch {
	t.Helper()
	var b delivery.Batch
	for _, one := range []struct {
		attempt  int
		receives string
	}{{attempt: 1, receives: "1"}, {attempt: 4, receives: "3"}, {attempt: 5, receives: "5"}} {
		event := webhook.Event{
			Version: 1, ID: webhook.NewEventID(noon(), one.receives), DocumentID: "doc_planted", Status: webhook.Processed,
			OccurredAt: webhook.At(noon()),
		}
		m := webhook.NewFirst("org_1", configID, event, webhook.At(noon()), noon())
		m.Attempt = one.attempt
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		r := delivery.Record{MessageID: "m" + one.receives, ReceiptHandle: "receipt", Body: string(body)}
		r.Attributes.ApproximateReceiveCount = one.receives
		b.Records = append(b.Records, r)
	}
	return b
}
