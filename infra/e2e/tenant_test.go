package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

func TestOrganizationsSeeOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	own, foreign := newClient(t), newClient(t)
	ownEndpoint, foreignEndpoint := newReceiver(t), newReceiver(t)
	config := own.register(ownEndpoint.url, "processed")
	foreignConfig := foreign.register(foreignEndpoint.url, "processed")

	document := newDocument()
	own.put(document, "processed")
	ownEndpoint.verified(t, config.credentials)
	delivery := own.delivery(config.id, "delivered")
	foreign.put(newDocument(), "processed")
	foreignEndpoint.verified(t, foreignConfig.credentials)
	foreign.delivery(foreignConfig.id, "delivered")
	ownEndpoint.none(t)
	foreignEndpoint.none(t)

	const unknownConfig = "01900000-0000-7000-8000-000000000000"
	unknownDelivery := "dlv_AZAAAAAAcACAAAAAAAAAAAGQAAAAAHAAgAAAAAAAAAA"
	event := own.events(document, 1)[0].ID
	unknownEvent := webhook.NewEventID(time.Now(), t.Name())
	patch := func(id string) any { return envelope("webhook_config", id, map[string]any{"is_active": false}) }
	resend := func(scope string) func(id string) any {
		return func(id string) any {
			return resendOf(map[string]any{"webhook_config_id": id, "since": "2020-01-01T00:00:00Z", "scope": scope})
		}
	}
	resendDocument := func(id string) any { return resendOf(map[string]any{"document_id": id}) }
	resendToConfig := func(id string) any {
		return resendOf(map[string]any{"document_id": "doc_nobody", "webhook_config_id": id})
	}
	type ids struct{ theirs, nobodys string }
	configs := ids{theirs: config.id, nobodys: unknownConfig}
	deliveries := ids{theirs: delivery.ID, nobodys: unknownDelivery}
	events := ids{theirs: event, nobodys: unknownEvent}
	documents := ids{theirs: document, nobodys: "doc_nobody"}
	// In a path, {} stands for the id.
	for _, c := range []struct {
		name   string
		ids    ids
		method string
		path   string
		body   func(id string) any
		status int
	}{
		{name: "get-config", ids: configs, method: "GET", path: "/configs/{}", status: 404},
		{name: "update-config", ids: configs, method: "PATCH", path: "/configs/{}", body: patch, status: 404},
		{name: "delete-config", ids: configs, method: "DELETE", path: "/configs/{}", status: 404},
		{name: "rotate-secret", ids: configs, method: "POST", path: "/configs/{}/rotate-secret", status: 404},
		{name: "test", ids: configs, method: "POST", path: "/configs/{}/test", status: 404},
		{name: "get-event", ids: events, method: "GET", path: "/events/{}", status: 404},
		{name: "get-delivery", ids: deliveries, method: "GET", path: "/deliveries/{}", status: 404},
		{name: "resend", ids: deliveries, method: "POST", path: "/deliveries/{}/resend", status: 404},
		{name: "resend of failed", ids: configs, method: "POST", path: "/resend", body: resend("failed"), status: 404},
		{name: "resend of undelivered", ids: configs, method: "POST", path: "/resend", body: resend("undelivered"), status: 404},
		{name: "resend of all", ids: configs, method: "POST", path: "/resend", body: resend("all"), status: 404},
		{name: "resend of a document", ids: documents, method: "POST", path: "/resend", body: resendDocument, status: 404},
		{name: "resend of a document to a config", ids: configs, method: "POST", path: "/resend", body: resendToConfig, status: 404},
		{name: "events of a document", ids: documents, method: "GET", path: "/events?filter[document_id]={}", status: 200},
		{name: "deliveries of a document", ids: documents, method: "GET", path: "/deliveries?filter[document_id]={}", status: 200},
		{name: "deliveries of a config", ids: configs, method: "GET", path: "/deliveries?filter[webhook_config_id]={}", status: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := &client{t: t, on: under, organization: foreign.organization, key: foreign.key}
			call := func(id string) answer {
				var body any
				if c.body != nil {
					body = c.body(id)
				}
				return other.call(c.method, "/v1/webhooks"+strings.ReplaceAll(c.path, "{}", id), body)
			}
			got, want := call(c.ids.theirs), call(c.ids.nobodys)
			if got.status != c.status || want.status != c.status {
				t.Errorf("status %d for theirs, %d for nobody's, want %d: %s", got.status, want.status, c.status, got.body)
			}
			if diff := cmp.Diff(shape(t, want.body), shape(t, got.body)); diff != "" {
				t.Error(diff)
			}
		})
	}
	own.must(200, "GET", configPath(config.id), nil)
}

func TestConfigIsGoneAfterDeletion(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	delivered := c.delivery(config.id, "delivered")
	c.must(204, "DELETE", configPath(config.id), nil)
	c.must(404, "GET", configPath(config.id), nil)
	c.must(404, "DELETE", configPath(config.id), nil)
	c.must(200, "GET", "/v1/webhooks/deliveries/"+delivered.ID, nil) // what was delivered stays listed
	c.delivery(config.id, "delivered")
	c.must(409, "POST", "/v1/webhooks/deliveries/"+delivered.ID+"/resend", nil)
}

func TestGatewayRefuses(t *testing.T) {
	t.Parallel()
	known := newClient(t)
	for _, c := range []struct {
		name, key, path string
		status          int
	}{
		{"without a key", "", "/v1/webhooks/configs", 401},
		{"an unknown key", "dk_test_nobody", "/v1/webhooks/configs", 403},
		{"an unknown route", known.key, "/v1/nothing", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (&client{t: t, on: under, key: c.key}).call("GET", c.path, nil); got.status != c.status {
				t.Errorf("status %d, want %d: %s", got.status, c.status, got.body)
			}
		})
	}
}

// shape returns a document without what differs from request to request: its errors' ids and its links.
func shape(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	delete(d, "links")
	problems, _ := d["errors"].([]any)
	for _, problem := range problems {
		delete(problem.(map[string]any), "id")
	}
	return d
}
