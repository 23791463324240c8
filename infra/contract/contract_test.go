package contract

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

const someID = "01969f3c-7b00-7c3a-9d4e-5f60718293a4"

func load(t testing.TB) *Contract {
	t.Helper()
	c, err := loaded() // refuses examples that break their schemas
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTheExampleVerifies makes the webhook that the contract shows: a reader who tries out the
// example's token, secret and signatures must find that they belong together.
func TestTheExampleVerifies(t *testing.T) {
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	e := webhook.Event{
		Version: 1, ID: webhook.NewEventID(at, "example"), DocumentID: "doc_4711", Status: webhook.Processed,
		PreviousStatus: webhook.Processing, OccurredAt: webhook.At(at),
	}
	body, err := e.Render(someID)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest("POST", "https://hooks.example.com/docuhook", nil)
	if err != nil {
		t.Fatal(err)
	}
	credentials := signature.Credentials{Token: "whtok_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="}
	if err := signature.Sign(request.Header, e.ID, body, at, credentials, nil); err != nil {
		t.Fatal(err)
	}
	delivery, err := webhook.DeliveryID(someID, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{delivery, credentials.Token.Reveal(), credentials.Secret.Reveal()}
	for _, values := range request.Header {
		shown = append(shown, values...)
	}
	for _, value := range shown {
		if !strings.Contains(string(text), value) {
			t.Errorf("the contract does not show %s", value)
		}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", e.ID)
	request.Header.Set("X-Webhook-Attempt", "1")
	request.Header.Set("User-Agent", "Docuhook/dev")
	CheckWebhook(t, request, body)

	c := load(t)
	for name, change := range map[string]func(*http.Request) []byte{
		"another attempt":      func(r *http.Request) []byte { r.Header.Set("X-Webhook-Attempt", "6"); return body },
		"no signature":         func(r *http.Request) []byte { r.Header.Del("webhook-signature"); return body },
		"two tokens":           func(r *http.Request) []byte { r.Header.Add("X-Webhook-Token", credentials.Token.Reveal()); return body },
		"another method":       func(r *http.Request) []byte { r.Method = "PUT"; return body },
		"another content type": func(r *http.Request) []byte { r.Header.Set("Content-Type", "application/vnd.api+json"); return body },
		"no body":              func(r *http.Request) []byte { return nil },
		"more in the body": func(r *http.Request) []byte {
			return []byte(strings.Replace(string(body), `"data":`, `"more":1,"data":`, 1))
		},
		"an unknown status": func(r *http.Request) []byte { return []byte(strings.Replace(string(body), `"processed"`, `"done"`, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			changed := request.Clone(t.Context())
			if err := c.VerifyWebhook(changed, change(changed)); !errors.Is(err, ErrMismatch) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// exchange is a request and its response.
type exchange struct {
	method, target, contentType, body   string
	status                              int
	answerType, answer, cacheControl    string
	withoutKey, withoutVary, noLocation bool
}

const created = `{"data":{"type":"webhook_config","attributes":{"url":"https://a.example.com/","subscribed_statuses":["failed"]}}}`

func TestVerify(t *testing.T) {
	c := load(t)
	example, err := json.Marshal(c.document.Components.Examples["ConfigWithCredentials"].Value.Value)
	if err != nil {
		t.Fatal(err)
	}
	config := string(example)
	refused := func(code, source string) string {
		return `{"jsonapi":{"version":"1.1"},"errors":[{"id":"x","status":"422","code":"` + code + `","title":"t","detail":"d"` + source + `}]}`
	}
	valid := exchange{
		method: "POST", target: "/v1/webhooks/configs", contentType: "application/vnd.api+json", body: created,
		status: 201, answerType: "application/vnd.api+json", answer: config, cacheControl: "no-store",
	}
	for _, test := range []struct {
		name   string
		change func(*exchange)
		want   string // in the error; "" if the exchange follows the contract
	}{
		{"an exchange as it should be", func(*exchange) {}, ""},
		{"a request in plain JSON", func(e *exchange) { e.contentType = "application/json; charset=utf-8" }, ""},
		{"a forbidden request that is refused", func(e *exchange) {
			e.body, e.status, e.answer = strings.Replace(created, "https", "ftp", 1), 422, refused("scheme_not_allowed", `,"source":{"pointer":"/data/attributes/url"}`)
		}, ""},
		{"an allowed request that is refused for what no schema tells", func(e *exchange) { e.status, e.answer = 422, refused("address_not_allowed", "") }, ""},
		{"an allowed request that is refused", func(e *exchange) { e.status, e.answer = 422, refused("unknown_status", "") }, "allows this request"},
		{"a forbidden request that is accepted", func(e *exchange) { e.body = strings.Replace(created, "https", "ftp", 1) }, "forbids this request"},
		{"an unknown attribute that is accepted", func(e *exchange) { e.body = strings.Replace(created, `"url"`, `"colour":1,"url"`, 1) }, "forbids this request"},
		{"an id that is accepted", func(e *exchange) { e.body = strings.Replace(created, `"type"`, `"id":"1","type"`, 1) }, "'/data/id': false schema"},
		{"a missing body that is accepted", func(e *exchange) { e.body = "" }, "there is no body"},
		{"a body that is no JSON and accepted", func(e *exchange) { e.body += "x" }, "not one JSON value"},
		{"another media type that is accepted", func(e *exchange) { e.contentType = "text/plain" }, "media type"},
		{"an extension that is accepted", func(e *exchange) { e.contentType += `; ext="x"` }, "media type"},
		{"a query parameter that is accepted", func(e *exchange) { e.target += "?a=1" }, "unknown"},
		{"a request without an API key that is served", func(e *exchange) { e.withoutKey = true }, "no API key"},
		{"an undocumented status", func(e *exchange) { e.status = 418 }, "not documented"},
		{"another status' body", func(e *exchange) { e.status = 422 }, "missing property 'errors'"},
		{"an undocumented code", func(e *exchange) { e.status, e.answer = 422, refused("teapot", "") }, "must be one of"},
		{"a code of another status", func(e *exchange) { e.status, e.answer = 422, refused("not_found", "") }, "must be one of"},
		{"a source with two members", func(e *exchange) {
			e.status, e.answer = 422, refused("empty", `,"source":{"pointer":"/data","header":"Accept"}`)
		}, "'oneOf' failed"},
		{"a pointer that is none", func(e *exchange) { e.status, e.answer = 422, refused("empty", `,"source":{"pointer":"data"}`) }, "'oneOf' failed"},
		{"an undocumented media type", func(e *exchange) { e.answerType = "application/json" }, "media type"},
		{"an attribute that is missing", func(e *exchange) { e.answer = strings.Replace(config, `"is_active"`, `"isActive"`, 1) }, "is_active"},
		{"an attribute of another type", func(e *exchange) { e.answer = strings.Replace(config, `"is_active":true`, `"is_active":"true"`, 1) }, "got string, want boolean"},
		{"a time that is none", func(e *exchange) { e.answer = strings.Replace(config, `"created_at":"2026`, `"created_at":"26`, 1) }, "created_at"},
		{"a member too many", func(e *exchange) { e.answer = strings.Replace(config, `"data":`, `"meta":{},"data":`, 1) }, "meta"},
		{"an attribute too many", func(e *exchange) { e.answer = strings.Replace(config, `"is_active"`, `"sealed":"x","is_active"`, 1) }, "sealed"},
		{"an answer that is no JSON", func(e *exchange) { e.answer = "<html>" }, "invalid character"},
		{"no Location", func(e *exchange) { e.noLocation = true }, "Location"},
		{"no Vary", func(e *exchange) { e.withoutVary = true }, "Vary"},
		{"another Cache-Control", func(e *exchange) { e.cacheControl = "public" }, "Cache-Control"},
		{"the credentials where they must not be shown", func(e *exchange) {
			e.method, e.target, e.body, e.status = "GET", "/v1/webhooks/configs/"+someID, "", 200
		}, "'/data/attributes/secret': false schema"},
		{"a body with a 204", func(e *exchange) {
			e.method, e.target, e.body, e.status = "DELETE", "/v1/webhooks/configs/"+someID, "", 204
		}, "there is a body"},
		{"a page size that is accepted", func(e *exchange) {
			e.method, e.target, e.body, e.status = "GET", "/v1/webhooks/configs?page[size]=101", "", 200
			e.answer = `{"jsonapi":{"version":"1.1"},"links":{"self":"/v1/","first":"/v1/"},"data":[]}`
		}, "forbids this request"},
		{"a page size given twice that is accepted", func(e *exchange) {
			e.method, e.target, e.body, e.status = "GET", "/v1/webhooks/configs?page[size]=1&page[size]=1", "", 200
			e.answer = `{"jsonapi":{"version":"1.1"},"links":{"self":"/v1/","first":"/v1/"},"data":[]}`
		}, "2 times"},
		{"the gateway's own answer", func(e *exchange) {
			e.status, e.answerType, e.answer = 429, "application/json", `{"message":"Too Many Requests"}`
		}, ""},
		{"the gateway's answer for an unknown route", func(e *exchange) {
			e.target, e.status, e.answerType, e.answer = "/v1/webhooks", 404, "application/json", `{"message":"Not Found"}`
		}, ""},
		{"the gateway's answer for an unknown method", func(e *exchange) {
			e.method, e.status, e.answerType, e.answer = "PUT", 404, "application/json", `{"message":"Not Found"}`
		}, ""},
		{"our answer for an unknown route", func(e *exchange) { e.target, e.status, e.answer = "/v1/webhooks", 404, refused("not_found", "") }, "no such route"},
		{"an unknown route that is served", func(e *exchange) { e.target = "/v2/webhooks/configs" }, "no such route"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := valid
			test.change(&e)
			u, err := url.Parse("https://api.example.com" + e.target)
			if err != nil {
				t.Fatal(err)
			}
			request := &http.Request{Method: e.method, URL: u, Header: http.Header{"Content-Type": {e.contentType}, "X-Api-Key": {"k"}}}
			if e.withoutKey {
				request.Header.Del("X-Api-Key")
			}
			response := &http.Response{StatusCode: e.status, Header: http.Header{
				"Content-Type": {e.answerType}, "Cache-Control": {e.cacheControl}, "Vary": {"Accept"}, "Location": {"/v1/webhooks/configs/" + someID},
			}}
			if e.noLocation {
				response.Header.Del("Location")
			}
			if e.withoutVary {
				response.Header.Del("Vary")
			}
			err = c.Verify(request, []byte(e.body), response, []byte(e.answer))
			if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// TestLoadIsStrict breaks the contract in one place at a time.
func TestLoadIsStrict(t *testing.T) {
	converted, err := yamlToJSON("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(converted, &value); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(value) // sorts the members, so that the replacements below are exact
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, old, new, want string }{
		{"another version", `"openapi":"3.1.0"`, `"openapi":"3.0.3"`, "3.1"},
		{"an unknown keyword", `"maxItems":5,"minItems":1`, `"maxItems":5,"minItem":1`, "minItem"},
		{"an unknown field of an operation", `"operationId":"get-config","responses"`, `"operationId":"get-config","sumary":"x","responses"`, "sumary"},
		{"an operationId twice", `"operationId":"get-config","responses"`, `"operationId":"list-configs","responses"`, "same operation id"},
		{"a reference to nothing", `"#/components/schemas/ConfigCreation"`, `"#/components/schemas/Creation"`, "Creation"},
		{"a bad pattern", `"pattern":"^whtok_`, `"pattern":"^(whtok_`, "whtok_"},
		{"an example of a parameter that breaks its schema", `"example":50`, `"example":101`, "want 100"},
		{"an example of a body that breaks its schema", `"subscribed_statuses":["processed","failed"]`, `"subscribed_statuses":["done"]`, "invalid example"},
		{"an example of an answer that breaks its schema", `"meta":{"accepted":1}`, `"meta":{"accepted":-1}`, "want 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			broken := strings.Replace(string(text), test.old, test.new, 1)
			if broken == string(text) {
				t.Fatal("nothing was changed")
			}
			if _, err := parse([]byte(broken)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if _, err := parse(text); err != nil {
		t.Errorf("unbroken: %v", err)
	}
}

// TestEverythingIsUsedAndHasAnExample looks at what OpenAPI leaves to the author.
func TestEverythingIsUsedAndHasAnExample(t *testing.T) {
	c := load(t)
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(at string, s *openapi3.SchemaRef, examples ...any) {
		t.Helper()
		if len(examples) == 0 || examples[0] == nil {
			t.Errorf("%s has no example", at)
			return
		}
		for _, example := range examples {
			raw, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.compile(s); err != nil {
				t.Fatal(err)
			}
			if err := c.checkBody(&openapi3.MediaType{Schema: s}, raw); err != nil {
				t.Errorf("the example of %s: %v", at, err)
			}
		}
	}
	content := func(at string, content openapi3.Content) {
		for name, media := range content {
			if media.Example == nil && len(media.Examples) == 0 {
				t.Errorf("%s %s has no example", at, name)
			}
		}
	}
	for _, o := range append(slices.Clone(c.operations), c.webhooks...) {
		at := o.method + " " + o.path
		for _, p := range o.parameters {
			valid(at+" "+p.Value.Name, p.Value.Schema, p.Value.Example)
			if p.Value.Description == "" {
				t.Errorf("%s: %s has no description", at, p.Value.Name)
			}
		}
		if o.RequestBody != nil {
			content(at, o.RequestBody.Value.Content)
		}
		for status, r := range o.Responses.Map() {
			content(at+" "+status, r.Value.Content)
			for name, h := range r.Value.Headers {
				valid(at+" "+status+" "+name, h.Value.Schema, h.Value.Example)
			}
			for name, link := range r.Value.Links {
				if !slices.ContainsFunc(c.operations, func(o *operation) bool { return o.OperationID == link.Value.OperationID }) {
					t.Errorf("%s %s: the link %s names the operation %q, which is not there", at, status, name, link.Value.OperationID)
				}
			}
		}
	}
	for name, s := range c.document.Components.Schemas {
		if !strings.Contains(string(text), `"#/components/schemas/`+name+`"`) {
			t.Errorf("nothing uses the schema %s", name)
		}
		if len(s.Value.Examples) > 0 {
			valid(name, s, s.Value.Examples...)
		}
	}
}

func TestRoutes(t *testing.T) {
	want := []string{
		"DELETE /v1/webhooks/configs/{id}",
		"GET /v1/webhooks/configs",
		"GET /v1/webhooks/configs/{id}",
		"GET /v1/webhooks/deliveries",
		"GET /v1/webhooks/deliveries/{id}",
		"PATCH /v1/webhooks/configs/{id}",
		"POST /v1/webhooks/configs",
		"POST /v1/webhooks/configs/{id}/rotate-secret",
		"POST /v1/webhooks/configs/{id}/test",
		"POST /v1/webhooks/deliveries/{id}/resend",
		"POST /v1/webhooks/resend",
	}
	if diff := cmp.Diff(want, load(t).Routes()); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}
