// Package keyring seals credentials with versioned keys.
//
// The keyring is one JSON object: the random strings of all keys by name, and the name of the
// primary one. A string becomes an AES-256 key through HKDF-SHA256. A sealed value names its key,
// so a new primary can be added while the old one stays to open what it sealed.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/docuhook/docuhook/shared/signature"
)

var (
	// ErrKeyring is returned for a keyring that cannot be used.
	ErrKeyring = errors.New("unusable keyring")
	// ErrUnknownKey is returned for a value sealed with a key that the keyring lacks.
	ErrUnknownKey = errors.New("sealed with an unknown key")
	// ErrSealed is returned for a value that was altered or sealed for something else.
	ErrSealed = errors.New("sealed value does not open")
)

const (
	minKeyLength = 32 // characters of a key's random string
	hkdfInfo     = "docuhook credentials v1"
)

// Ring holds the keys. It is safe for concurrent use and never changes.
type Ring struct {
	primary string
	keys    map[string]cipher.AEAD
}

// Parse reads a keyring such as {"primary":"k1","k1":"…"}. Every error is an ErrKeyring and quotes no key.
func Parse(data []byte) (*Ring, error) {
	var fields map[string]string
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("%w: not a JSON object of strings", ErrKeyring)
	}
	ring := &Ring{primary: fields["primary"], keys: map[string]cipher.AEAD{}}
	for name, random := range fields {
		if name == "primary" {
			continue
		}
		if name == "" || strings.Contains(name, ".") {
			return nil, fmt.Errorf("%w: a key's name must not be empty or contain a full stop", ErrKeyring)
		}
		if len(random) < minKeyLength {
			return nil, fmt.Errorf("%w: key %q has fewer than %d characters", ErrKeyring, name, minKeyLength)
		}
		key, err := hkdf.Key(sha256.New, []byte(random), nil, hkdfInfo, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: key %q", ErrKeyring, name)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("%w: key %q", ErrKeyring, name)
		}
		if ring.keys[name], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("%w: key %q", ErrKeyring, name)
		}
	}
	if ring.keys[ring.primary] == nil {
		return nil, fmt.Errorf("%w: it has no primary key", ErrKeyring)
	}
	return ring, nil
}

type credentialsJSON struct {
	Token   string            `json:"t"`
	Secret  string            `json:"s"`
	Headers map[string]string `json:"h,omitempty"`
}

// Seal encrypts credentials for one config of one organization with the primary key.
func (r *Ring) Seal(credentials signature.Credentials, organizationID, configID string) (string, error) {
	revealed := credentialsJSON{Token: credentials.Token.Reveal(), Secret: credentials.Secret.Reveal(), Headers: map[string]string{}}
	for name, value := range credentials.Headers {
		revealed.Headers[name] = value.Reveal()
	}
	plain, err := json.Marshal(revealed)
	if err != nil {
		return "", err
	}
	sealed := r.keys[r.primary].Seal(nil, nil, plain, additionalData(organizationID, configID))
	return r.primary + "." + base64.RawStdEncoding.EncodeToString(sealed), nil
}

// Open is the inverse of Seal. It errors with ErrUnknownKey or ErrSealed.
func (r *Ring) Open(sealed, organizationID, configID string) (signature.Credentials, error) {
	name, encoded, _ := strings.Cut(sealed, ".")
	key := r.keys[name]
	if key == nil {
		return signature.Credentials{}, fmt.Errorf("%w: %q", ErrUnknownKey, name)
	}
	data, err := base64.RawStdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return signature.Credentials{}, ErrSealed
	}
	plain, err := key.Open(nil, nil, data, additionalData(organizationID, configID))
	if err != nil {
		return signature.Credentials{}, ErrSealed
	}
	var c credentialsJSON
	if err := json.Unmarshal(plain, &c); err != nil {
		return signature.Credentials{}, ErrSealed
	}
	credentials := signature.Credentials{Token: signature.Secret(c.Token), Secret: signature.Secret(c.Secret)}
	if credentials.Check() != nil {
		return signature.Credentials{}, ErrSealed // an attempt with them would blame the endpoint
	}
	for name, value := range c.Headers {
		if credentials.Headers == nil {
			credentials.Headers = map[string]signature.Secret{}
		}
		credentials.Headers[name] = signature.Secret(value)
	}
	return credentials, nil
}

// additionalData ties a sealed value to its config, so that a copy in another item does not open.
func additionalData(organizationID, configID string) []byte {
	return []byte(organizationID + "\x00" + configID)
}

// NewKey returns a random string fit to be a key.
func NewKey() string { return rand.Text() + rand.Text() }
