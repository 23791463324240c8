package api_test

import (
	"log/slog"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"github.com/docuhook/docuhook/shared/api"
)

func TestHandlerTakesWhatTheGatewayNeverSends(t *testing.T) {
	served := func(change func(*events.APIGatewayV2HTTPRequest)) events.APIGatewayV2HTTPResponse {
		w := newWorld(t)
		event := events.APIGatewayV2HTTPRequest{
			RouteKey: "GET /v1/webhooks/configs", Headers: map[string]string{},
			RequestContext: events.APIGatewayV2HTTPRequestContext{
				RequestID: requestID,
				HTTP:      events.APIGatewayV2HTTPRequestContextHTTPDescription{Method: "GET"},
				Authorizer: &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
					Lambda: map[string]any{"organization_id": ours},
				},
			},
		}
		change(&event)
		answer, err := api.NewHandler(slog.New(slog.DiscardHandler), w.operations()...).Handle(t.Context(), event)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for _, test := range []struct {
		name   string
		status int
		change func(*events.APIGatewayV2HTTPRequest)
	}{
		{"a request as it should be is served", 200, func(*events.APIGatewayV2HTTPRequest) {}},
		{"a header is found however its name is written", 415, func(e *events.APIGatewayV2HTTPRequest) {
			e.RouteKey, e.RequestContext.HTTP.Method = "POST /v1/webhooks/configs", "POST"
			e.Headers, e.Body = map[string]string{"Content-Type": "text/plain"}, `{"data":{}}`
		}},
		{"and is not missed", 422, func(e *events.APIGatewayV2HTTPRequest) {
			e.RouteKey, e.RequestContext.HTTP.Method = "POST /v1/webhooks/configs", "POST"
			e.Headers = map[string]string{"Content-Type": "application/json"}
			e.Body = `{"data":{"type":"webhook_config","attributes":{}}}`
		}},
		{"an unknown route is our fault", 500, func(e *events.APIGatewayV2HTTPRequest) { e.RouteKey = "$default" }},
		{"no authorizer is our fault", 500, func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.Authorizer = nil }},
		{"no organization is our fault", 500, func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.Authorizer.Lambda = nil }},
		{"an organization that is no text is our fault", 500, func(e *events.APIGatewayV2HTTPRequest) {
			e.RequestContext.Authorizer.Lambda = map[string]any{"organization_id": 1}
		}},
		{"a body that is not base64 is refused", 400, func(e *events.APIGatewayV2HTTPRequest) { e.IsBase64Encoded, e.Body = true, "***" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := served(test.change); got.StatusCode != test.status {
				t.Errorf("status %d, want %d: %s", got.StatusCode, test.status, got.Body)
			}
		})
	}
}
