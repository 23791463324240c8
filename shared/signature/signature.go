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
	keyLength    = 32 // bytes, of a secret that is minted
	minKeyLength = 24 // bytes, of any; Standard Webhooks sets both limits
	maxKeyLength = 64
)

// StandardHeaders returns the names of the headers of Standard Webhooks, in lower case.
func StandardHeaders() []string {
	return []string{
		standardwebhooks.HeaderWebhookID, standardwebhooks.HeaderWebhookTimestamp, standardwebhooks.HeaderWebhookSignature,
	}
}

var (
	// ErrSignature is returned for a request that was not signed with the given credentials.
	ErrSignature = errors.New("signature does not match")
	// ErrCredentials is returned for credentials that cannot sign. It does not quote them.
	ErrCredentials = errors.New("the token must begin with whtok_, the secret must be whsec_ and the base64 of 24 to 64 bytes")
)

// Secret is a string that does not show up in logs, errors or JSON by accident. Keep it out of
// unexported fields of structs that are printed as a whole and out of the keys of maps that become
// JSON: there, the standard library takes it for an ordinary string.
type Secret string

const redacted = "[redacted]"

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// Format implements fmt.Formatter, because verbs such as %d pass String by.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Reveal returns the secret itself: for the organization at creation and for signing.
func (s Secret) Reveal() string { return string(s) }

// Credentials are what a config and its receiver share.
type Credentials struct {
	Token   Secret            // "whtok_" and 32 bytes in base64url
	Secret  Secret            // "whsec_" and 32 bytes in base64
	Headers map[string]Secret // of the organization's own, by name, that every request to it has; nil for none
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

// Check errors with ErrCredentials if c cannot sign: an empty secret, say, would sign with an empty key.
func (c Credentials) Check() error {
	encoded, ok := strings.CutPrefix(c.Secret.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(key) < minKeyLength || len(key) > maxKeyLength || !strings.HasPrefix(c.Token.Reveal(), tokenPrefix) {
		return ErrCredentials
	}
	return nil
}

// Prefix returns the part of the secret that may be shown, to tell secrets apart.
func (c Credentials) Prefix() string {
	return c.Secret.Reveal()[:min(len(c.Secret), len(secretPrefix)+6)]
}

// Sign sets the headers that prove the origin of body, for an attempt at now. previous is nil
// outside of an overlap. It errors with ErrCredentials, and then has set nothing.
func Sign(header http.Header, eventID string, body []byte, now time.Time, current Credentials, previous *Credentials) error {
	own := current
	all := []Credentials{current}
	if previous != nil {
		own = *previous
		all = append(all, *previous)
	}
	var signatures []string
	for _, credentials := range all {
		webhook, err := credentials.webhook()
		if err != nil {
			return err
		}
		signed, err := webhook.Sign(eventID, now, body)
		if err != nil {
			return fmt.Errorf("signing: %w", err)
		}
		signatures = append(signatures, signed)
	}
	header.Set(TokenHeader, own.Token.Reveal())
	header.Set(SignatureHeader, Hex(own.Secret, body))
	header.Set(standardwebhooks.HeaderWebhookID, eventID)
	header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}

// webhook returns the Standard Webhooks library's form of the secret.
func (c Credentials) webhook() (*standardwebhooks.Webhook, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	webhook, err := standardwebhooks.NewWebhook(c.Secret.Reveal())
	if err != nil {
		return nil, ErrCredentials // err would quote the secret
	}
	return webhook, nil
}

// Hex returns the hex HMAC-SHA256 of body under the secret's characters as shown, prefix included.
func Hex(secret Secret, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Verify checks the token and both signatures of a request, as a receiver should. It errors with
// ErrSignature, with ErrCredentials or, for a timestamp more than five minutes away from the
// clock's, with an error of the Standard Webhooks library.
func Verify(header http.Header, body []byte, credentials Credentials) error {
	webhook, err := credentials.webhook()
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(header.Get(TokenHeader)), []byte(credentials.Token.Reveal())) {
		return fmt.Errorf("%s: %w", TokenHeader, ErrSignature)
	}
	if !hmac.Equal([]byte(header.Get(SignatureHeader)), []byte(Hex(credentials.Secret, body))) {
		return fmt.Errorf("%s: %w", SignatureHeader, ErrSignature)
	}
	if err := webhook.Verify(body, header); errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
		return fmt.Errorf("%s: %w", standardwebhooks.HeaderWebhookSignature, ErrSignature)
	} else if err != nil {
		return err
	}
	return nil
}
