package contract

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
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
		PreviousStatus: webhook.Processing, Sequence: "0000000000004421584500000000017450439091", OccurredAt: webhook.At(at),
	}
	body, err := e.Render(someID)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest("POST", "https://hooks.example.com/docuhook", nil)
	if err != nil {
		t.Fatal(err)
	}
	credentials := signature.Credentials{
		Token:  "whtok_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
	if err := signature.Sign(request.Header, e.ID, body, at, credentials, nil); err != nil {
		t.Fatal(err)
	}
	delivery, err := webhook.DeliveryID(someID, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{delivery, string(body), credentials.Token.Reveal(), credentials.Secret.Reveal()}
	for _, values := range request.Header {
		shown = append(shown, values...)
	}
	for _, value := range shown {
		if !strings.Contains(string(text), value) {
			t.Errorf("the contract does not show %s", value)
		}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", delivery)
	request.Header.Set("X-Webhook-Attempt", "1")
	request.Header.Set("Accept-Encoding", "identity")
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
		"more in its attributes": func(r *http.Request) []byte {
			return []byte(strings.Replace(string(body), `"document_id":`, `"more":1,"document_id":`, 1))
		},
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
		return `{"jsonapi":{"version":"1.1"},"errors":[{"id":"x","status":"422","code":"` + code + `",` +
			`"title":"t","detail":"d"` + source + `}]}`
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
		{name: "an exchange as it should be", change: func(*exchange) {}},
		{name: "a request in plain JSON", change: func(e *exchange) { e.contentType = "application/json; charset=utf-8" }},
		{name: "a forbidden request that is refused", change: func(e *exchange) {
			e.body, e.status = strings.Replace(created, "https", "ftp", 1), 422
			e.answer = refused("scheme_not_allowed", `,"source":{"pointer":"/data/attributes/url"}`)
		}},
		{
			name:   "an allowed request that is refused for what no schema tells",
			change: func(e *exchange) { e.status, e.answer = 422, refused("address_not_allowed", "") },
		},
		{
			name:   "an allowed request that is refused",
			change: func(e *exchange) { e.status, e.answer = 422, refused("unknown_status", "") },
			want:   "allows this request",
		},
		{
			name:   "a forbidden request that is accepted",
			change: func(e *exchange) { e.body = strings.Replace(created, "https", "ftp", 1) },
			want:   "forbids this request",
		},
		{
			name:   "an unknown attribute that is accepted",
			change: func(e *exchange) { e.body = strings.Replace(created, `"url"`, `"colour":1,"url"`, 1) },
			want:   "forbids this request",
		},
		{
			name:   "an id that is accepted",
			change: func(e *exchange) { e.body = strings.Replace(created, `"type"`, `"id":"1","type"`, 1) },
			want:   "invalid propertyName 'id'",
		},
		{name: "a missing body that is accepted", change: func(e *exchange) { e.body = "" }, want: "there is no body"},
		{name: "a body that is no JSON and accepted", change: func(e *exchange) { e.body += "x" }, want: "not one JSON value"},
		{name: "another media type that is accepted", change: func(e *exchange) { e.contentType = "text/plain" }, want: "media type"},
		{name: "an extension that is accepted", change: func(e *exchange) { e.contentType += `; ext="x"` }, want: "media type"},
		{name: "a query parameter that is accepted", change: func(e *exchange) { e.target += "?a=1" }, want: "unknown"},
		{name: "a request without an API key that is served", change: func(e *exchange) { e.withoutKey = true }, want: "no API key"},
		{name: "an undocumented status", change: func(e *exchange) { e.status = 418 }, want: "not documented"},
		{name: "another status' body", change: func(e *exchange) { e.status = 422 }, want: "missing property 'errors'"},
		{
			name:   "an undocumented code",
			change: func(e *exchange) { e.status, e.answer = 422, refused("teapot", "") },
			want:   "is not documented",
		},
		{
			name:   "a code of another status",
			change: func(e *exchange) { e.status, e.answer = 422, refused("not_found", "") },
			want:   "is not documented",
		},
		{name: "an error with another status", change: func(e *exchange) {
			e.status, e.answer = 422, strings.Replace(refused("empty", ""), `"422"`, `"409"`, 1)
		}, want: "the status 409"},
		{name: "a source with a member too many", change: func(e *exchange) {
			e.status, e.answer = 422, refused("empty", `,"source":{"pointer":"/data","line":"1"}`)
		}, want: "'/errors/0/source/line': false schema"},
		{
			name:   "a pointer that is none",
			change: func(e *exchange) { e.status, e.answer = 422, refused("empty", `,"source":{"pointer":"data"}`) },
			want:   "does not match pattern",
		},
		{name: "an undocumented media type", change: func(e *exchange) { e.answerType = "application/json" }, want: "media type"},
		{
			name:   "an attribute that is missing",
			change: func(e *exchange) { e.answer = strings.Replace(config, `"is_active"`, `"isActive"`, 1) },
			want:   "is_active",
		},
		{
			name:   "an attribute of another type",
			change: func(e *exchange) { e.answer = strings.Replace(config, `"is_active":true`, `"is_active":"true"`, 1) },
			want:   "got string, want boolean",
		},
		{
			name:   "a time that is none",
			change: func(e *exchange) { e.answer = strings.Replace(config, `"created_at":"2026`, `"created_at":"26`, 1) },
			want:   "created_at",
		},
		{
			name:   "a member too many",
			change: func(e *exchange) { e.answer = strings.Replace(config, `"data":`, `"meta":{},"data":`, 1) },
			want:   "meta",
		},
		{
			name:   "a member of a resource too many",
			change: func(e *exchange) { e.answer = strings.Replace(config, `"attributes"`, `"meta":{},"attributes"`, 1) },
			want:   "'/data/meta': false schema",
		},
		{
			name:   "an attribute too many",
			change: func(e *exchange) { e.answer = strings.Replace(config, `"is_active"`, `"sealed":"x","is_active"`, 1) },
			want:   "sealed",
		},
		{name: "an answer that is no JSON", change: func(e *exchange) { e.answer = "<html>" }, want: "invalid character"},
		{name: "no Location", change: func(e *exchange) { e.noLocation = true }, want: "Location"},
		{name: "no Vary", change: func(e *exchange) { e.withoutVary = true }, want: "Vary"},
		{name: "another Cache-Control", change: func(e *exchange) { e.cacheControl = "public" }, want: "Cache-Control"},
		{name: "the credentials where they must not be shown", change: func(e *exchange) {
			e.method, e.target, e.body, e.status = "GET", "/v1/webhooks/configs/"+someID, "", 200
		}, want: "'/data/attributes/secret': false schema"},
		{name: "a body with a 204", change: func(e *exchange) {
			e.method, e.target, e.body, e.status = "DELETE", "/v1/webhooks/configs/"+someID, "", 204
		}, want: "there is a body"},
		{name: "a page size that is accepted", change: func(e *exchange) {
			e.method, e.target, e.body, e.status = "GET", "/v1/webhooks/configs?page[size]=101", "", 200
			e.answer = `{"jsonapi":{"version":"1.1"},"links":{"self":"/v1/","first":"/v1/"},"data":[]}`
		}, want: "forbids this request"},
		{name: "a page size given twice that is accepted", change: func(e *exchange) {
			e.method, e.target, e.body, e.status = "GET", "/v1/webhooks/configs?page[size]=1&page[size]=1", "", 200
			e.answer = `{"jsonapi":{"version":"1.1"},"links":{"self":"/v1/","first":"/v1/"},"data":[]}`
		}, want: "2 times"},
		{name: "the gateway's own answer", change: func(e *exchange) {
			e.status, e.answerType, e.answer = 429, "application/json", `{"message":"Too Many Requests"}`
		}},
		{name: "the gateway's answer for an unknown route", change: func(e *exchange) {
			e.target, e.status, e.answerType, e.answer = "/v1/webhooks", 404, "application/json", `{"message":"Not Found"}`
		}},
		{name: "the gateway's answer for an unknown method", change: func(e *exchange) {
			e.method, e.status, e.answerType, e.answer = "PUT", 404, "application/json", `{"message":"Not Found"}`
		}},
		{
			name:   "our answer for an unknown route",
			change: func(e *exchange) { e.target, e.status, e.answer = "/v1/webhooks", 404, refused("not_found", "") },
			want:   "no such route",
		},
		{name: "an unknown route that is served", change: func(e *exchange) { e.target = "/v2/webhooks/configs" }, want: "no such route"},
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
				"Content-Type":  {e.answerType},
				"Cache-Control": {e.cacheControl},
				"Vary":          {"Accept"},
				"Location":      {"/v1/webhooks/configs/" + someID},
			}}
			if e.noLocation {
				response.Header.Del("Location")
			}
			if e.withoutVary {
				response.Header.Del("Vary")
			}
			err = c.Verify(request, []byte(e.body), response, []byte(e.answer))
			says := errors.Is(err, ErrMismatch) && strings.Contains(err.Error(), test.want)
			if test.want == "" && err != nil || test.want != "" && !says {
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
		{name: "another version", old: `"openapi":"3.1.0"`, new: `"openapi":"3.0.3"`, want: "3.1"},
		{name: "an unknown keyword", old: `"maxItems":5,"minItems":1`, new: `"maxItems":5,"minItem":1`, want: "minItem"},
		{
			name: "an unknown field of an operation",
			old:  `"operationId":"get-config","responses"`,
			new:  `"operationId":"get-config","sumary":"x","responses"`,
			want: "sumary",
		},
		{
			name: "an operationId twice",
			old:  `"operationId":"get-config","responses"`,
			new:  `"operationId":"list-configs","responses"`,
			want: "same operation id",
		},
		{
			name: "a reference to nothing",
			old:  `"#/components/schemas/ConfigCreation"`,
			new:  `"#/components/schemas/Creation"`,
			want: "Creation",
		},
		{name: "a bad pattern", old: `"pattern":"^whtok_`, new: `"pattern":"^(whtok_`, want: "whtok_"},
		{name: "an example of a parameter that breaks its schema", old: `"example":50`, new: `"example":101`, want: "want 100"},
		{
			name: "an example of a body that breaks its schema",
			old:  `"subscribed_statuses":["processed","failed"]`,
			new:  `"subscribed_statuses":["done"]`,
			want: "invalid example",
		},
		{
			name: "an example of an answer that breaks its schema",
			old:  `"meta":{"accepted":1}`,
			new:  `"meta":{"accepted":-1}`,
			want: "want 0",
		},
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
			if err := c.compile(s, false); err != nil {
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
			if media := r.Value.Content["application/vnd.api+json"]; media != nil && media.Example != nil {
				raw, err := json.Marshal(media.Example)
				if err != nil {
					t.Fatal(err)
				}
				number, err := strconv.Atoi(status)
				if err := errors.Join(err, checkErrors(r.Value, number, raw)); err != nil {
					t.Errorf("the example of %s %s: %v", at, status, err)
				}
			}
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
		"GET /v1/webhooks/events",
		"GET /v1/webhooks/events/{id}",
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
