package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
)

// arrival is a request that has arrived at the receiver.
type arrival struct {
	header   http.Header
	body     []byte
	answered int   // HTTP status
	rejected error // why it is not to be trusted; nil: verified
}

// Behaviour is what the endpoint does with requests that it could accept.
type Behaviour string

// succeed is what it does at first.
const succeed Behaviour = "succeed"

// answer is what the endpoint does with one request.
type answer struct {
	status int         // HTTP status; 0: none until the behaviour changes or the sender gives up
	header http.Header // beside the status
	after  time.Duration
}

// answers are the behaviours.
var answers = map[Behaviour]answer{
	succeed:    {status: http.StatusNoContent},
	"fail":     {status: http.StatusInternalServerError},
	"gone":     {status: http.StatusGone},
	"limit":    {status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {"120"}}},
	"redirect": {status: http.StatusPermanentRedirect, header: http.Header{"Location": {"/elsewhere"}}},
	"slow":     {status: http.StatusNoContent, after: 3 * time.Second}, // which is too slow for DeliveryQueue
	"hang":     {},
}

// Endpoint is an organization's endpoint. It trusts nothing before it knows the credentials of a config.
type Endpoint struct {
	URL     string
	arrived chan<- arrival
	journal *journal.Journal

	mu      sync.Mutex
	secrets map[string]string // by token
	does    Behaviour
	changed chan struct{} // closed when it does something else
}

func newEndpoint(url string, arrived chan<- arrival, told *journal.Journal) *Endpoint {
	return &Endpoint{
		URL: url, arrived: arrived, journal: told, secrets: map[string]string{}, does: succeed, changed: make(chan struct{}),
	}
}

// Behaviour is what it does now.
func (e *Endpoint) Behaviour() Behaviour {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.does
}

// Behave changes what it does. Requests that it has not answered yet are answered accordingly.
func (e *Endpoint) Behave(b Behaviour) error {
	if _, ok := answers[b]; !ok {
		return fmt.Errorf("behaviour must be one of %v, got %q", slices.Sorted(maps.Keys(answers)), b)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.does = b
	close(e.changed)
	e.changed = make(chan struct{})
	return nil
}

// decide returns the answer to a sound request, or none if the sender gives up before.
func (e *Endpoint) decide(ctx context.Context) answer {
	for {
		e.mu.Lock()
		does, changed := answers[e.does], e.changed
		e.mu.Unlock()
		var due <-chan time.Time // never
		if does.status != 0 {
			due = time.After(does.after)
		}
		select {
		case <-due:
			return does
		case <-changed:
		case <-ctx.Done():
			return answer{}
		}
	}
}

// Learn lets it accept what is signed with a config's credentials, beside those that it knows already.
func (e *Endpoint) Learn(token, secret string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secrets[token] = secret
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 1<<20))
	if err != nil {
		http.Error(w, "reading the body failed", http.StatusBadRequest)
		return
	}
	hook := arrival{header: request.Header, body: body, rejected: e.verify(request.Header, body)}
	answered := e.journal.Arrived(arrived, request.Header, body, hook.rejected)
	does := answer{status: http.StatusUnauthorized}
	if hook.rejected == nil {
		does = e.decide(request.Context())
	}
	hook.answered = does.status
	answered(time.Now(), does.status)
	if does.status == 0 {
		return
	}
	maps.Copy(w.Header(), does.header)
	w.WriteHeader(does.status)
	if hook.rejected == nil && does.status >= 300 {
		io.WriteString(w, "the demo's endpoint answers so, as it was told to")
	}
	select {
	case e.arrived <- hook:
	case <-request.Context().Done():
	}
}

// verify checks the token and both signatures, each as an organization would.
func (e *Endpoint) verify(header http.Header, body []byte) error {
	e.mu.Lock()
	secret, ok := e.secrets[header.Get("X-Webhook-Token")]
	e.mu.Unlock()
	if !ok {
		return errors.New("X-Webhook-Token is the token of no config that the endpoint knows")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	signature, err := hex.DecodeString(header.Get("X-Webhook-Signature"))
	if err != nil || !hmac.Equal(signature, mac.Sum(nil)) {
		return errors.New("X-Webhook-Signature does not fit the body")
	}
	standard, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return fmt.Errorf("the secret is not one of Standard Webhooks: %w", err)
	}
	if err := standard.Verify(body, header); err != nil {
		return fmt.Errorf("webhook-signature: %w", err)
	}
	return nil
}
