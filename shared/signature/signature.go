// Package signature makes and checks the credentials of a config and the headers that prove a
// webhook's origin.
//
// Every request carries two schemes: Docuhook's own, a token and a hex HMAC-SHA256 of the body, and
// Standard Webhooks 1.0, which also covers the event id and the time of the attempt. While a
// rotation overlaps, the first carries the previous credentials and the second both signatures, so
// that a receiver that accepts either secret accepts every request.
//
// Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
package signature

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Header names.
const (
	TokenHeader     = "X-Webhook-Token"
	SignatureHeader = "X-Webhook-Signature"
)

const (
	tokenPrefix  = "whtok_"
	secretPrefix = "whsec_"
	keyLength    = 32 // bytes
)

// ErrSignature is returned for a request that was not signed with the given credentials.
var ErrSignature = errors.New("signature does not match")

// Secret is a string that never shows up in logs, errors or JSON by accident.
type Secret string

const redacted = "[redacted]"

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Reveal returns the secret itself: for the organization at creation and for signing.
func (s Secret) Reveal() string { return string(s) }

// Credentials are what a config and its receiver share.
type Credentials struct {
	Token  Secret // "whtok_" and 32 bytes in base64url
	Secret Secret // "whsec_" and 32 bytes in base64
}

// NewCredentials mints credentials from random bytes; random is crypto/rand.Reader but in tests.
func NewCredentials(random io.Reader) (Credentials, error) {
	if random == nil {
		random = rand.Reader
	}
	bytes := make([]byte, 2*keyLength)
	if _, err := io.ReadFull(random, bytes); err != nil {
		return Credentials{}, fmt.Errorf("reading random bytes: %w", err)
	}
	return Credentials{
		Token:  Secret(tokenPrefix + base64.RawURLEncoding.EncodeToString(bytes[:keyLength])),
		Secret: Secret(secretPrefix + base64.StdEncoding.EncodeToString(bytes[keyLength:])),
	}, nil
}

// Prefix returns the part of the secret that may be shown, to tell secrets apart.
func (c Credentials) Prefix() string {
	return c.Secret.Reveal()[:min(len(c.Secret), len(secretPrefix)+6)]
}

// Sign sets the headers that prove the origin of body, for an attempt at now. previous is nil
// outside of an overlap.
func Sign(header http.Header, eventID string, body []byte, now time.Time, current Credentials, previous *Credentials) error {
	own := current
	if previous != nil {
		own = *previous
	}
	header.Set(TokenHeader, own.Token.Reveal())
	header.Set(SignatureHeader, Hex(own.Secret, body))

	signatures := make([]string, 0, 2)
	for _, credentials := range []*Credentials{&current, previous} {
		if credentials == nil {
			continue
		}
		webhook, err := standardwebhooks.NewWebhook(credentials.Secret.Reveal())
		if err != nil {
			return errors.New("the secret is not whsec_ and base64") // err would quote it
		}
		signed, err := webhook.Sign(eventID, now, body)
		if err != nil {
			return fmt.Errorf("signing: %w", err)
		}
		signatures = append(signatures, signed)
	}
	header.Set(standardwebhooks.HeaderWebhookID, eventID)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}

// Hex returns the hex HMAC-SHA256 of body under the secret's characters as shown, prefix included.
func Hex(secret Secret, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify checks the token and both signatures of a request, as a receiver should. It errors with
// ErrSignature or, for a timestamp more than five minutes away, an error of the Standard Webhooks library.
func Verify(header http.Header, body []byte, credentials Credentials) error {
	if !hmac.Equal([]byte(header.Get(TokenHeader)), []byte(credentials.Token.Reveal())) {
		return fmt.Errorf("%s: %w", TokenHeader, ErrSignature)
	}
	if !hmac.Equal([]byte(header.Get(SignatureHeader)), []byte(Hex(credentials.Secret, body))) {
		return fmt.Errorf("%s: %w", SignatureHeader, ErrSignature)
	}
	webhook, err := standardwebhooks.NewWebhook(credentials.Secret.Reveal())
	if err != nil {
		return errors.New("the secret is not whsec_ and base64")
	}
	return webhook.Verify(body, header)
}
