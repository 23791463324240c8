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

// minAge is the least time between two reads while there is a keyring, so that neither values that no
// keyring opens nor a source that cannot be read cause a read each.
const minAge = 10 * time.Second

// maxOpened is how many opened values are remembered, those of a large batch and many more.
const maxOpened = 1000

// ErrUnread is returned for a sealed value that the keyring does not open, as long as it cannot be read again.
var ErrUnread = errors.New("the keyring could not be read again")

// Source reads the keyring's JSON.
type Source interface {
	Read(ctx context.Context) ([]byte, error)
}

// Cache is a keyring that is read once, again when it is five minutes old, and at once when a
// sealed value does not open, but not more often than every ten seconds. A keyring that
// cannot be read again is used on; if there is none yet, every call tries. What a keyring has opened is remembered
// until the next one is read. It is safe for concurrent use.
type Cache struct {
	Source Source
	Now    func() time.Time

	mu      sync.Mutex // guards the fields below and lets only one caller read the source
	ring    *Ring
	readAt  time.Time                       // when ring was read
	triedAt time.Time                       // when it was last tried
	opened  map[owned]signature.Credentials // by ring
}

// owned is a sealed value and the config that it must be of.
type owned struct{ sealed, organizationID, configID string }

// Seal encrypts credentials with the primary key. An error means that the keyring cannot be read.
func (c *Cache) Seal(ctx context.Context, credentials signature.Credentials, organizationID, configID string) (string, error) {
	ring, err := c.get(ctx, maxAge)
	if err != nil {
		return "", err
	}
	return ring.Seal(credentials, organizationID, configID)
}

// Open decrypts credentials. It errors with ErrUnknownKey or ErrSealed if a keyring that was just read does not open
// them, and otherwise because the keyring cannot be read. The headers of what it returns must not be changed.
func (c *Cache) Open(ctx context.Context, sealed, organizationID, configID string) (signature.Credentials, error) {
	ring, err := c.get(ctx, maxAge)
	if err != nil {
		return signature.Credentials{}, err
	}
	value := owned{sealed: sealed, organizationID: organizationID, configID: configID}
	if credentials, ok := c.recall(ring, value); ok {
		return credentials, nil
	}
	if credentials, err := ring.Open(sealed, organizationID, configID); err == nil {
		c.remember(ring, value, credentials)
		return credentials, nil
	}
	if ring, err = c.fresh(ctx); err != nil {
		return signature.Credentials{}, err
	}
	return ring.Open(sealed, organizationID, configID)
}

// fresh returns a keyring that was read less than minAge ago.
func (c *Cache) fresh(ctx context.Context) (*Ring, error) {
	ring, err := c.get(ctx, minAge)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Now().Sub(c.readAt) >= minAge {
		return nil, ErrUnread
	}
	return ring, nil
}

func (c *Cache) get(ctx context.Context, age time.Duration) (*Ring, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Now()
	if c.ring != nil && (now.Sub(c.readAt) < age || now.Sub(c.triedAt) < minAge) {
		return c.ring, nil
	}
	c.triedAt = now
	ring, err := c.read(ctx)
	if err != nil {
		if c.ring != nil {
			return c.ring, nil // better the old keyring than none
		}
		return nil, err
	}
	c.ring, c.readAt, c.opened = ring, now, nil
	return ring, nil
}

func (c *Cache) read(ctx context.Context) (*Ring, error) {
	data, err := c.Source.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the keyring: %w", err)
	}
	return Parse(data)
}

// recall returns what ring has opened before.
func (c *Cache) recall(ring *Ring, value owned) (signature.Credentials, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	credentials, ok := c.opened[value]
	return credentials, ok && ring == c.ring
}

func (c *Cache) remember(ring *Ring, value owned, credentials signature.Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ring != c.ring {
		return // somebody has read another one meanwhile
	}
	if c.opened == nil || len(c.opened) == maxOpened {
		c.opened = map[owned]signature.Credentials{}
	}
	c.opened[value] = credentials
}
