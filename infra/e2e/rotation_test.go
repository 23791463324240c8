package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/docuhook/docuhook/shared/signature"
)

func credentialsOf(d document) signature.Credentials {
	return signature.Credentials{Token: signature.Secret(d.Data.Attributes.Token), Secret: signature.Secret(d.Data.Attributes.Secret)}
}

func TestRotationWithOverlapAndWithout(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	old := c.register(endpoint.url, "processed")
	d := c.must(200, "POST", configPath(old.id, "rotate-secret"), nil)
	if d.Data.Attributes.PreviousSecretExpiresAt == nil || d.Data.Attributes.Secret == old.credentials.Secret.Reveal() {
		t.Fatalf("rotated to %+v", d.Data.Attributes)
	}
	c.put(newDocument(), "processed")
	got := endpoint.verified(t, old.credentials) // the previous ones still verify
	if n := len(strings.Fields(got.header.Get("webhook-signature"))); n != 2 {
		t.Errorf("%d signatures during the overlap, want 2", n)
	}
	d = c.must(200, "POST", configPath(old.id, "rotate-secret"), envelope("webhook_config", old.id, map[string]any{"overlap_seconds": 0}))
	now := credentialsOf(d)
	c.put(newDocument(), "processed")
	got = endpoint.verified(t, now)
	if n := len(strings.Fields(got.header.Get("webhook-signature"))); n != 1 {
		t.Errorf("%d signatures after an immediate switch, want 1", n)
	}
}

// TestRotationUnderLoadRejectsNothing rotates again and again while webhooks go out. A receiver
// that accepts the old secret or the new one accepts each of them.
func TestRotationUnderLoadRejectsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand deliveries")
	}
	t.Parallel()
	const deliveries, rotations = 1000, 5
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")

	issued := []signature.Credentials{config.credentials}
	events := map[string]bool{}
	for sent := 0; sent < deliveries; {
		for range deliveries / rotations {
			c.put(newDocument(), "processed")
			sent++
		}
		issued = append(issued, credentialsOf(c.must(200, "POST", configPath(config.id, "rotate-secret"), nil)))
	}
	for len(events) < deliveries {
		got := endpoint.next(t)
		events[got.header.Get("webhook-id")] = true
		accepted := false
		for _, credentials := range []signature.Credentials{issued[0], issued[len(issued)-1]} {
			accepted = accepted || signature.Verify(got.header, got.body, credentials) == nil
		}
		if !accepted {
			t.Fatalf("rejected: %v", got.header)
		}
		if !bytes.Contains(got.body, []byte(config.id)) {
			t.Fatalf("got %s", got.body)
		}
	}
}
