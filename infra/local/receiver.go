package main

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

// behaviour is what the receiver does with requests that it could accept.
type behaviour string

// The behaviours.
const (
	succeed behaviour = "succeed"
	fail    behaviour = "fail" // with 500
	hang    behaviour = "hang" // until the behaviour changes or the sender gives up
)

// receiver is an organization's endpoint. It trusts nothing before it knows its credentials.
type receiver struct {
	url     string
	arrived chan<- arrival
	journal *journal.Journal

	mu            sync.Mutex
	token, secret string
	does          behaviour
	changed       chan struct{} // closed when it does something else
}

func newReceiver(url string, arrived chan<- arrival, told *journal.Journal) *receiver {
	return &receiver{url: url, arrived: arrived, journal: told, does: succeed, changed: make(chan struct{})}
}

// behaviour is what it does now.
func (r *receiver) behaviour() behaviour {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.does
}

// behave changes what it does. Requests that hang are answered accordingly.
func (r *receiver) behave(b behaviour) error {
	if b != succeed && b != fail && b != hang {
		return fmt.Errorf("behaviour must be %s, %s or %s, got %q", succeed, fail, hang, b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.does = b
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// decide returns the status to answer a sound request with, or 0 if the sender gives up before.
func (r *receiver) decide(ctx context.Context) int {
	for {
		r.mu.Lock()
		does, changed := r.does, r.changed
		r.mu.Unlock()
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

func (r *receiver) setCredentials(token, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token, r.secret = token, secret
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 1<<20))
	if err != nil {
		http.Error(w, "reading the body failed", http.StatusBadRequest)
		return
	}
	hook := arrival{header: request.Header, body: body, answered: http.StatusUnauthorized, rejected: r.verify(request.Header, body)}
	answered := r.journal.Arrived(arrived, request.Header, body, hook.rejected)
	if hook.rejected == nil {
		hook.answered = r.decide(request.Context())
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
	case r.arrived <- hook:
	case <-request.Context().Done():
	}
}

// verify checks the token and both signatures, each as an organization would.
func (r *receiver) verify(header http.Header, body []byte) error {
	r.mu.Lock()
	token, secret := r.token, r.secret
	r.mu.Unlock()
	if token == "" || secret == "" {
		return errors.New("the receiver has no credentials yet")
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
