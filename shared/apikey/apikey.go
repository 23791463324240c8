// Package apikey mints and hashes the keys with which organizations call the API.
//
// A key is shown once and stored only as its SHA-256: it has 160 random bits, so a slow hash would
// protect nothing more. Any string can be a key; the dk_ form is how they are minted.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// MaxLength is the length in bytes beyond which a key is refused unread.
const MaxLength = 256

// Key is what the table of keys holds.
type Key struct {
	Hash           string
	OrganizationID string
	Name           string
	CreatedAt      string // RFC 3339
	RevokedAt      string // RFC 3339, "" while the key is valid
}

// Mint returns a new key, dk_live_… or dk_test_….
func Mint(live bool) string {
	kind := "test"
	if live {
		kind = "live"
	}
	return fmt.Sprintf("dk_%s_%s", kind, strings.ToLower(rand.Text()+rand.Text()[:6]))
}

// Hash returns the lower-case hex SHA-256 of a key.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
