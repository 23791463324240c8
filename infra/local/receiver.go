package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// webhook is a request that has arrived at the receiver.
type webhook struct {
	header   http.Header
	body     []byte
	rejected error // why it is not to be trusted; nil: verified
}

// receiver is an organization's endpoint. It trusts nothing before it knows its credentials.
type receiver struct {
	arrived chan<- webhook

	mu            sync.Mutex
	token, secret string
}

func (r *receiver) setCredentials(token, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token, r.secret = token, secret
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 1<<20))
	if err != nil {
		http.Error(w, "reading the body failed", http.StatusBadRequest)
		return
	}
	hook := webhook{header: request.Header, body: body, rejected: r.verify(request.Header, body)}
	if hook.rejected != nil {
		w.WriteHeader(http.StatusUnauthorized)
	} else {
		w.WriteHeader(http.StatusNoContent)
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
