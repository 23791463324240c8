package e2e

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

func resendOf(attributes map[string]any) any { return envelope("webhook_resend", "", attributes) }

func TestTestEventGoesOut(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "failed", "processed")
	d := c.must(202, "POST", configPath(config.id, "test"), nil)
	got := endpoint.verified(t, config.credentials)
	if !bytes.Contains(got.body, []byte(`"meta":{"test":true}`)) || !bytes.Contains(got.body, []byte(`"status":"failed"`)) {
		t.Errorf("got %s", got.body)
	}
	logged := c.delivery(config.id, "delivered")
	if logged.Attributes.Trigger != "test" || len(d.Data.many) != 1 || logged.ID != d.Data.many[0].ID {
		t.Errorf("logged %+v, announced %+v", logged, d.Data.many)
	}
}

func TestResendByDocumentRepeatsOrMakesTheEvent(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint, late := newReceiver(t), newReceiver(t)
	config := c.register(endpoint.url, "processed")
	id := newDocument()
	c.put(id, "processed")
	first := endpoint.verified(t, config.credentials)
	c.delivery(config.id, "delivered")
	other := c.register(late.url, "processed")

	d := c.must(202, "POST", "/v1/webhooks/resend", resendOf(map[string]any{"document_id": id}))
	if d.Meta.Accepted != 2 {
		t.Errorf("%d deliveries accepted, want 2", d.Meta.Accepted)
	}
	again, added := endpoint.verified(t, config.credentials), late.verified(t, other.credentials)
	if !bytes.Equal(first.body, again.body) {
		t.Errorf("resent %s, first %s", again.body, first.body)
	}
	if first.header.Get("webhook-id") != added.header.Get("webhook-id") {
		t.Error("another config got the same status as another event")
	}

	before := newDocument() // nothing is recorded of it, as of a document that is older than the stack
	silent := newClient(t)
	silent.put(before, "processed")
	silent.forget(before)
	sink := newReceiver(t)
	sole := silent.register(sink.url, "processed")
	silent.must(202, "POST", "/v1/webhooks/resend", resendOf(map[string]any{"document_id": before, "webhook_config_id": sole.id}))
	sink.verified(t, sole.credentials)
	silent.delivery(sole.id, "delivered")
	sink.none(t)
	c.must(404, "POST", "/v1/webhooks/resend", resendOf(map[string]any{"document_id": before}))
}

func TestAllFailuresOfAConfigAreResent(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	endpoint.status(http.StatusBadRequest)
	config := c.register(endpoint.url, "processed")
	since := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	const documents = 3
	for range documents {
		c.put(newDocument(), "processed")
	}
	for range 5 * documents {
		endpoint.verified(t, config.credentials)
	}
	failed := "/v1/webhooks/deliveries?page%5Bsize%5D=2&filter[status]=failed&filter%5Bwebhook_config_id%5D=" + config.id
	eventually(t, func() (int, bool) {
		n := len(c.listAll(failed))
		return n, n == documents
	}, func() string { return "all to be failed" })
	endpoint.status(http.StatusOK)
	d := c.must(202, "POST", "/v1/webhooks/resend", resendOf(map[string]any{"webhook_config_id": config.id, "since": since}))
	if d.Meta.Accepted != documents {
		t.Errorf("%d deliveries accepted, want %d", d.Meta.Accepted, documents)
	}
	for range documents {
		endpoint.verified(t, config.credentials)
	}
	eventually(t, func() (int, bool) {
		n := len(c.listAll(failed))
		return n, n == 0
	}, func() string { return "none to be failed" })
	endpoint.none(t)
	if n := len(c.listAll("/v1/webhooks/deliveries?filter[status]=delivered&page[size]=1")); n != documents {
		t.Errorf("%d delivered are listed, want %d", n, documents)
	}
}

func TestListsMergeConfigsAndFilterByDocument(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	var configs []registered
	for range 3 {
		configs = append(configs, c.register(endpoint.url, "processed"))
	}
	var documents []string
	for range 4 {
		id := newDocument()
		documents = append(documents, id)
		c.put(id, "processed")
	}
	for range len(configs) * len(documents) {
		endpoint.next(t)
	}
	all := "/v1/webhooks/deliveries?page[size]=5"
	var listed []resource
	eventually(t, func() (int, bool) {
		listed = c.listAll(all)
		return 0, len(listed) == len(configs)*len(documents)
	}, func() string { return "all deliveries to be listed" })
	seen := map[string]bool{}
	for i, d := range listed {
		if seen[d.ID] {
			t.Errorf("%s is listed twice", d.ID)
		}
		seen[d.ID] = true
		if i > 0 && d.Attributes.CreatedAt.After(listed[i-1].Attributes.CreatedAt) {
			t.Error("not from new to old")
		}
	}
	ofOne := c.listAll("/v1/webhooks/deliveries?page[size]=2&filter[document_id]=" + documents[1])
	if len(ofOne) != len(configs) {
		t.Errorf("%d deliveries of one document, want %d", len(ofOne), len(configs))
	}
	active := c.listAll(configPath() + "?filter[is_active]=true&page[size]=2")
	if len(active) != len(configs) {
		t.Errorf("%d active configs, want %d", len(active), len(configs))
	}
	hourAgo := url.QueryEscape(time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	for _, window := range []struct {
		name, query string
		want        int
	}{
		{"since an hour ago", "filter[created_after]=" + hourAgo, len(listed)},
		{"until an hour ago", "filter[created_before]=" + hourAgo, 0},
	} {
		if n := len(c.listAll("/v1/webhooks/deliveries?" + window.query)); n != window.want {
			t.Errorf("%s: %d deliveries, want %d", window.name, n, window.want)
		}
	}
}

// listAll follows links.next to the end.
func (c *client) listAll(path string) []resource {
	c.t.Helper()
	var all []resource
	for range 100 {
		d := c.must(200, "GET", path, nil)
		all = append(all, d.Data.many...)
		if d.Links.Next == nil {
			return all
		}
		path = *d.Links.Next
	}
	c.t.Fatal("a list of 100 pages")
	return nil
}

// TestCredentialsThatDoNotOpenEndAsFailed breaks the sealed credentials of a config: nothing is sent, the log says
// why, and what has failed is sent again once the secret was rotated.
func TestCredentialsThatDoNotOpenEndAsFailed(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	key := map[string]types.AttributeValue{
		"organization_id": &types.AttributeValueMemberS{Value: c.organization}, "id": &types.AttributeValueMemberS{Value: config.id},
	}
	table := under.outputs["ConfigsTable"]
	_, err := under.dynamo.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: &table, Key: key, UpdateExpression: aws.String("SET sealed = :s"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":s": &types.AttributeValueMemberS{Value: "k9.AAAA"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.put(newDocument(), "processed")
	failed := c.delivery(config.id, "failed")
	if n := len(failed.Attributes.Attempts); n != webhook.MaxAttempts {
		t.Errorf("%d attempts", n)
	}
	for _, attempt := range failed.Attributes.Attempts {
		if attempt.ErrorCode != webhook.CodeCredentials || attempt.ResponseStatus != 0 {
			t.Errorf("attempt %+v", attempt)
		}
	}
	endpoint.none(t)
	rotated := credentialsOf(c.must(200, "POST", configPath(config.id, "rotate-secret"),
		envelope("webhook_config", config.id, map[string]any{"overlap_seconds": 0})))
	again := resendOf(map[string]any{"webhook_config_id": config.id, "since": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)})
	if d := c.must(202, "POST", "/v1/webhooks/resend", again); d.Meta.Accepted != 1 {
		t.Errorf("%d deliveries accepted", d.Meta.Accepted)
	}
	endpoint.verified(t, rotated)
	c.delivery(config.id, "delivered")
	endpoint.none(t)
}

// TestTestEventsHaveABudget sends more of them than two minutes allow where the template's default holds.
func TestTestEventsHaveABudget(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	config := c.register(newReceiver(t).url, "failed")
	for range 61 {
		got := c.call("POST", configPath(config.id, "test"), nil)
		if got.status == http.StatusTooManyRequests {
			if seconds, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 60 {
				t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
			c.must(200, "GET", configPath(config.id), nil)
			return
		}
	}
	t.Error("61 test events were accepted")
}
