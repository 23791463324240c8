package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/signature"
)

// maxAge is how long a keyring is used before it is read again.
const maxAge = 5 * time.Minute

// minAge keeps values sealed with a key that exists nowhere from causing a read each.
const minAge = 10 * time.Second

// Source reads the keyring's JSON.
type Source interface {
	Read(ctx context.Context) ([]byte, error)
}

// Cache is a keyring that is read once, again when it is five minutes old, and at once when a
// sealed value names a key that it lacks. A keyring that cannot be read again is used on. It is
// safe for concurrent use.
type Cache struct {
	Source Source
	Now    func() time.Time

	mu     sync.Mutex // guards the fields below and lets only one caller read the source
	ring   *Ring
	readAt time.Time
}

// Seal encrypts credentials with the primary key. An error means that the keyring cannot be read.
func (c *Cache) Seal(ctx context.Context, credentials signature.Credentials, organizationID, configID string) (string, error) {
	ring, err := c.get(ctx, maxAge)
	if err != nil {
		return "", err
	}
	return ring.Seal(credentials, organizationID, configID)
}

// Open decrypts credentials. It errors with ErrUnknownKey, ErrSealed or because the keyring cannot be read.
func (c *Cache) Open(ctx context.Context, sealed, organizationID, configID string) (signature.Credentials, error) {
	ring, err := c.get(ctx, maxAge)
	if err != nil {
		return signature.Credentials{}, err
	}
	credentials, err := ring.Open(sealed, organizationID, configID)
	if !errors.Is(err, ErrUnknownKey) {
		return credentials, err
	}
	if ring, err = c.get(ctx, minAge); err != nil {
		return signature.Credentials{}, err
	}
	return ring.Open(sealed, organizationID, configID)
}

func (c *Cache) get(ctx context.Context, age time.Duration) (*Ring, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ring != nil && c.Now().Sub(c.readAt) < age {
		return c.ring, nil
	}
	ring, err := c.read(ctx)
	if err != nil {
		if c.ring != nil {
			return c.ring, nil // better the old keyring than none; the next call tries again
		}
		return nil, err
	}
	c.ring, c.readAt = ring, c.Now()
	return ring, nil
}

func (c *Cache) read(ctx context.Context) (*Ring, error) {
	data, err := c.Source.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the keyring: %w", err)
	}
	return Parse(data)
}
