package e2e

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	patch := func(id string) any { return envelope("webhook_config", id, map[string]any{"is_active": false}) }
	resend := func(id string) any {
		return envelope("webhook_resend", "", map[string]any{"webhook_config_id": id, "failed_since": "2020-01-01T00:00:00Z"})
	}
	resendDocument := func(id string) any { return resendOf(map[string]any{"document_id": id}) }
	resendToConfig := func(id string) any {
		return resendOf(map[string]any{"document_id": "doc_nobody", "webhook_config_id": id})
	}
	for _, c := range []struct {
		name, method   string
		theirs, nobody string
		body           func(id string) any
		id, unknown    string
		status         int
	}{
		{"get-config", "GET", configPath(config.id), configPath(unknownConfig), nil, "", "", 404},
		{"update-config", "PATCH", configPath(config.id), configPath(unknownConfig), patch, config.id, unknownConfig, 404},
		{"delete-config", "DELETE", configPath(config.id), configPath(unknownConfig), nil, "", "", 404},
		{"rotate-secret", "POST", configPath(config.id, "rotate-secret"), configPath(unknownConfig, "rotate-secret"), nil, "", "", 404},
		{"test", "POST", configPath(config.id, "test"), configPath(unknownConfig, "test"), nil, "", "", 404},
		{"get-delivery", "GET", "/v1/webhooks/deliveries/" + delivery.ID, "/v1/webhooks/deliveries/" + unknownDelivery, nil, "", "", 404},
		{"resend", "POST", "/v1/webhooks/deliveries/" + delivery.ID + "/resend", "/v1/webhooks/deliveries/" + unknownDelivery + "/resend", nil, "", "", 404},
		{"resend of failed", "POST", "/v1/webhooks/resend", "/v1/webhooks/resend", resend, config.id, unknownConfig, 404},
		{"resend of a document", "POST", "/v1/webhooks/resend", "/v1/webhooks/resend", resendDocument, document, "doc_nobody", 404},
		{"resend of a document to a config", "POST", "/v1/webhooks/resend", "/v1/webhooks/resend", resendToConfig, config.id, unknownConfig, 404},
		{"deliveries of a document", "GET", "/v1/webhooks/deliveries?filter[document_id]=" + document, "/v1/webhooks/deliveries?filter[document_id]=doc_nobody", nil, "", "", 200},
		{"deliveries of a config", "GET", "/v1/webhooks/deliveries?filter[webhook_config_id]=" + config.id, "/v1/webhooks/deliveries?filter[webhook_config_id]=" + unknownConfig, nil, "", "", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := &client{t, foreign.organization, foreign.key}
			var body, unknownBody any
			if c.body != nil {
				body, unknownBody = c.body(c.id), c.body(c.unknown)
			}
			got, want := other.call(c.method, c.theirs, body), other.call(c.method, c.nobody, unknownBody)
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
			if got := (&client{t: t, key: c.key}).call("GET", c.path, nil); got.status != c.status {
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
