package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// The behaviours.
const (
	succeed Behaviour = "succeed"
	fail    Behaviour = "fail" // with 500
	hang    Behaviour = "hang" // until the behaviour changes or the sender gives up
)

// Endpoint is an organization's endpoint. It trusts nothing before it knows its credentials.
type Endpoint struct {
	URL     string
	arrived chan<- arrival
	journal *journal.Journal

	mu            sync.Mutex
	token, secret string
	does          Behaviour
	changed       chan struct{} // closed when it does something else
}

func newEndpoint(url string, arrived chan<- arrival, told *journal.Journal) *Endpoint {
	return &Endpoint{URL: url, arrived: arrived, journal: told, does: succeed, changed: make(chan struct{})}
}

// Behaviour is what it does now.
func (e *Endpoint) Behaviour() Behaviour {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.does
}

// Behave changes what it does. Requests that hang are answered accordingly.
func (e *Endpoint) Behave(b Behaviour) error {
	if b != succeed && b != fail && b != hang {
		return fmt.Errorf("behaviour must be %s, %s or %s, got %q", succeed, fail, hang, b)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.does = b
	close(e.changed)
	e.changed = make(chan struct{})
	return nil
}

// decide returns the status to answer a sound request with, or 0 if the sender gives up before.
func (e *Endpoint) decide(ctx context.Context) int {
	for {
		e.mu.Lock()
		does, changed := e.does, e.changed
		e.mu.Unlock()
		switch does {
		case succeed:
			return http.StatusNoContent
		case fail:
			return http.StatusInternalServerError
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0
		}
	}
}

func (e *Endpoint) setCredentials(token, secret string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.token, e.secret = token, secret
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 1<<20))
	if err != nil {
		http.Error(w, "reading the body failed", http.StatusBadRequest)
		return
	}
	hook := arrival{header: request.Header, body: body, answered: http.StatusUnauthorized, rejected: e.verify(request.Header, body)}
	answered := e.journal.Arrived(arrived, request.Header, body, hook.rejected)
	if hook.rejected == nil {
		hook.answered = e.decide(request.Context())
	}
	answered(time.Now(), hook.answered)
	switch hook.answered {
	case 0:
		return
	case http.StatusInternalServerError:
		http.Error(w, "the demo's endpoint fails, as it was told to", hook.answered)
	default:
		w.WriteHeader(hook.answered)
	}
	select {
	case e.arrived <- hook:
	case <-request.Context().Done():
	}
}

// verify checks the token and both signatures, each as an organization would.
func (e *Endpoint) verify(header http.Header, body []byte) error {
	e.mu.Lock()
	token, secret := e.token, e.secret
	e.mu.Unlock()
	if token == "" || secret == "" {
		return errors.New("the endpoint has no credentials yet")
	}
	if subtle.ConstantTimeCompare([]byte(header.Get("X-Webhook-Token")), []byte(token)) != 1 {
		return errors.New("X-Webhook-Token is not the config's token")
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
