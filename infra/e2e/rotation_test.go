package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/docuhook/docuhook/shared/keyring"
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

func (s *system) secretsManager() *secretsmanager.Client {
	options := s.dynamo.Options()
	return secretsmanager.New(secretsmanager.Options{
		Region: options.Region, BaseEndpoint: options.BaseEndpoint, Credentials: options.Credentials,
	})
}

// readKeyring returns the keyring as the runbook's commands do: keys by name, and the name of the primary.
func (s *system) readKeyring(t *testing.T) map[string]string {
	t.Helper()
	get := &secretsmanager.GetSecretValueInput{SecretId: new(s.outputs["KeyringSecret"])}
	out, err := s.secretsManager().GetSecretValue(t.Context(), get)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]string
	if err := json.Unmarshal([]byte(*out.SecretString), &keys); err != nil || len(keys["k1"]) < window {
		t.Fatalf("the keyring has no key k1: %v", err)
	}
	return keys
}

// TestRotatedKeyringOpensOldAndNew adds a key to the keyring and makes it the primary, as the runbook says.
// What was sealed with the old key is delivered as before. Functions that have the old keyring for some
// minutes yet are tested in package keyring; here new ones start.
func TestRotatedKeyringOpensOldAndNew(t *testing.T) {
	if under.local == nil {
		t.Skip("it would change the keyring of a stack that is in use")
	}
	on := alone(t)
	c := newClientOn(t, on)
	endpoint, other := newReceiver(t), newReceiver(t)
	config, untouched := c.register(endpoint.url, "processed"), c.register(other.url, "processed")
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	other.verified(t, untouched.credentials)

	keys := on.readKeyring(t)
	name := fmt.Sprint("k", len(keys)) // beside the primary's name
	keys["primary"], keys[name] = name, keyring.NewKey()
	planted.add("the second key of the keyring", keys[name])
	text, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	put := &secretsmanager.PutSecretValueInput{SecretId: new(on.outputs["KeyringSecret"]), SecretString: new(string(text))}
	if _, err := on.secretsManager().PutSecretValue(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	on.kill(t, "RotateSecretFunction", false)
	on.kill(t, "DeliverFunction", false)
	atOnce := envelope("webhook_config", config.id, map[string]any{"overlap_seconds": 0})
	rotated := c.must(200, "POST", configPath(config.id, "rotate-secret"), atOnce)
	if sealed := c.sealed(config.id); !strings.HasPrefix(sealed, name+".") {
		t.Fatalf("sealed with %.3s, want %s", sealed, name)
	}
	c.put(newDocument(), "processed")
	endpoint.verified(t, credentialsOf(rotated))
	other.verified(t, untouched.credentials)
	if sealed := c.sealed(untouched.id); strings.HasPrefix(sealed, name+".") {
		t.Errorf("what nobody rotated is sealed with %s", name)
	}
}

// sealed returns the sealed credentials of a config.
func (c *client) sealed(id string) string {
	c.t.Helper()
	table := c.on.outputs["ConfigsTable"]
	out, err := c.on.dynamo.GetItem(c.t.Context(), &dynamodb.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{
		"organization_id": &types.AttributeValueMemberS{Value: c.organization}, "id": &types.AttributeValueMemberS{Value: id},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	sealed, _ := out.Item["sealed"].(*types.AttributeValueMemberS)
	return sealed.Value
}
