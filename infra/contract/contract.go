// Package contract checks requests and responses against infra/openapi.yaml, for tests.
//
// A test calls Check with everything that it sent and got. The contract and the API then agree or
// the test fails: a response must be one that the contract documents for the route, in status,
// headers and body; a request that the contract forbids must have been refused; and one that it
// allows may be refused as invalid only for the few reasons that JSON Schema cannot express.
// CheckWebhook does the same for what an endpoint receives.
//
// The document is read and held to OpenAPI 3.1 by kin-openapi. Its own check of an exchange would
// compile the schemas anew for each, in about 5 ms, and take more query parameters, media types and
// spellings of numbers than the API does; so the schemas are compiled once, with the validator of
// JSON Schema that kin-openapi uses itself.
package contract

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Contract is infra/openapi.yaml. It is safe for concurrent use.
type Contract struct {
	document             *openapi3.T
	operations, webhooks []*operation
	compiler             *jsonschema.Compiler
	schemas              map[*openapi3.SchemaRef]*jsonschema.Schema
}

// ErrMismatch is returned where the contract and the API disagree.
var ErrMismatch = errors.New("the contract and the API disagree")

// loaded is the contract; reading it takes longer than most tests that use it.
var loaded = sync.OnceValues(Load)

// Check fails the test if an exchange does not follow the contract. The bodies are those of the
// request and of the response; what the two arguments themselves hold of them is not read.
func Check(t testing.TB, request *http.Request, requestBody []byte, response *http.Response, responseBody []byte) {
	t.Helper()
	c, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(request, requestBody, response, responseBody); err != nil {
		t.Errorf("%s %s\n%.2000s\nwas answered %d\n%.2000s\n%v",
			request.Method, request.URL, requestBody, response.StatusCode, responseBody, err)
	}
}

// CheckWebhook fails the test if a request to an endpoint is not the webhook of the contract.
func CheckWebhook(t testing.TB, request *http.Request, body []byte) {
	t.Helper()
	c, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.VerifyWebhook(request, body); err != nil {
		t.Errorf("%s %s\n%v\n%.2000s\n%v", request.Method, request.URL, request.Header, body, err)
	}
}

// Routes returns the route keys of the contract, such as "GET /v1/webhooks/configs/{id}", sorted.
func (c *Contract) Routes() []string {
	var routes []string
	for _, o := range c.operations {
		routes = append(routes, o.method+" "+o.path)
	}
	slices.Sort(routes)
	return routes
}

// VerifyWebhook errors with ErrMismatch if a request to an endpoint is not the webhook of the contract.
func (c *Contract) VerifyWebhook(request *http.Request, body []byte) error {
	for _, o := range c.webhooks {
		if err := c.forbids(o, request, nil, body); o.method != request.Method || err != nil {
			return fmt.Errorf("%w: %s %w", ErrMismatch, request.Method, err)
		}
	}
	return nil
}

// Verify errors with ErrMismatch if an exchange does not follow the contract.
func (c *Contract) Verify(request *http.Request, requestBody []byte, response *http.Response, responseBody []byte) error {
	o, values := c.find(request.Method, request.URL)
	if o == nil {
		return unknownRoute(response, responseBody)
	}
	if err := c.allows(o, response, responseBody); err != nil {
		return fmt.Errorf("%w: the contract does not have this answer: %w", ErrMismatch, err)
	}
	forbidden := c.forbids(o, request, values, requestBody)
	switch {
	case request.Header.Get("X-Api-Key") == "" && response.StatusCode != http.StatusUnauthorized:
		return fmt.Errorf("%w: the request has no API key", ErrMismatch)
	case forbidden != nil && response.StatusCode < 400:
		return fmt.Errorf("%w: the contract forbids this request: %w", ErrMismatch, forbidden)
	case forbidden == nil:
		return refusal(response.StatusCode, responseBody)
	}
	return nil
}

// find returns the operation of a request as API Gateway does: the path is split before it is
// decoded, and fixed segments are preferred to parameters.
func (c *Contract) find(method string, u *url.URL) (*operation, map[string]string) {
	segments := strings.Split(u.EscapedPath(), "/")
	var found *operation
	var values map[string]string
	for _, o := range c.operations {
		parameters, ok := match(strings.Split(o.path, "/"), segments)
		if o.method == method && ok && (found == nil || len(parameters) < len(values)) {
			found, values = o, parameters
		}
	}
	return found, values
}

func match(pattern, segments []string) (map[string]string, bool) {
	if len(pattern) != len(segments) {
		return nil, false
	}
	parameters := map[string]string{}
	for i, segment := range segments {
		value, err := url.PathUnescape(segment)
		if err != nil {
			return nil, false
		}
		if name, ok := strings.CutPrefix(pattern[i], "{"); ok && value != "" {
			parameters[strings.TrimSuffix(name, "}")] = value
		} else if value != pattern[i] {
			return nil, false
		}
	}
	return parameters, true
}

// forbids returns why the contract forbids a request, nil if it does not. values are those in the path.
func (c *Contract) forbids(o *operation, request *http.Request, values map[string]string, body []byte) error {
	query, err := url.ParseQuery(request.URL.RawQuery)
	if err != nil {
		return err
	}
	for _, ref := range o.parameters {
		p := ref.Value
		var given []string
		switch p.In {
		case openapi3.ParameterInPath:
			given = []string{values[p.Name]}
		case openapi3.ParameterInQuery:
			given = query[p.Name]
			delete(query, p.Name)
		case openapi3.ParameterInHeader:
			given = request.Header.Values(p.Name)
		}
		if err := c.checkTexts(p.Name, p, given); err != nil {
			return err
		}
	}
	// OpenAPI leaves open what becomes of others; the API refuses them.
	for name := range query {
		return fmt.Errorf("the query parameter %q is unknown", name)
	}
	return c.forbidsBody(o, request, body)
}

func (c *Contract) forbidsBody(o *operation, request *http.Request, body []byte) error {
	if o.RequestBody == nil || len(body) == 0 {
		if o.RequestBody != nil && o.RequestBody.Value.Required {
			return errors.New("there is no body")
		}
		return nil
	}
	mediaType, parameters, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type: %w", err)
	}
	delete(parameters, "profile")
	media := o.RequestBody.Value.Content[mediaType]
	// Plain JSON is taken for the same, which the contract says in words: some generators make no client from two types.
	if charset := parameters["charset"]; mediaType == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		media = cmp.Or(media, o.RequestBody.Value.Content["application/vnd.api+json"])
		clear(parameters) // they mean nothing there
	}
	if media == nil || len(parameters) > 0 {
		return fmt.Errorf("the media type %s is not in the contract", request.Header.Get("Content-Type"))
	}
	return c.checkBody(media, body)
}

// checkTexts checks all that is given of a parameter or header: texts, whatever their type is.
func (c *Contract) checkTexts(name string, p *openapi3.Parameter, given []string) error {
	if len(given) > 1 || len(given) == 0 && p.Required {
		return fmt.Errorf("%s is there %d times", name, len(given))
	}
	for _, text := range given {
		var value any = text
		switch {
		case !utf8.ValidString(text):
			return fmt.Errorf("%s is not valid UTF-8", name)
		case p.Schema.Value.Type.Is(openapi3.TypeBoolean) && (text == "true" || text == "false"):
			value = text == "true"
		case p.Schema.Value.Type.Is(openapi3.TypeInteger):
			if n, err := strconv.Atoi(text); err == nil && strconv.Itoa(n) == text {
				value = json.Number(text)
			}
		}
		if err := c.schemas[p.Schema].Validate(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *Contract) checkBody(media *openapi3.MediaType, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("the body is not one JSON value: %w", err)
	}
	return c.schemas[media.Schema].Validate(value)
}

// allows returns why the contract does not have a response, nil if it has.
func (c *Contract) allows(o *operation, r *http.Response, body []byte) error {
	ref := o.Responses.Status(r.StatusCode)
	if ref == nil {
		return fmt.Errorf("the status %d is not documented", r.StatusCode)
	}
	documented := ref.Value
	for name, header := range documented.Headers {
		if err := c.checkTexts("the header "+name, &header.Value.Parameter, r.Header.Values(name)); err != nil {
			return err
		}
	}
	if len(documented.Content) == 0 {
		if len(body) > 0 {
			return errors.New("there is a body")
		}
		return nil
	}
	media := documented.Content[r.Header.Get("Content-Type")]
	if media == nil {
		return fmt.Errorf("the media type %q is not documented", r.Header.Get("Content-Type"))
	}
	if err := c.checkBody(media, body); err != nil {
		return err
	}
	return checkErrors(documented, r.StatusCode, body)
}

// checkErrors checks the errors of an answer, if it has some, against its status and the codes that the contract lists.
func checkErrors(documented *openapi3.Response, status int, body []byte) error {
	document, err := readErrors(body)
	if err != nil {
		return err
	}
	codes, _ := documented.Extensions["x-codes"].([]any)
	for _, one := range document {
		if !slices.Contains(codes, any(one.Code)) {
			return fmt.Errorf("the code %s is not documented", one.Code)
		}
		if one.Status != strconv.Itoa(status) && status != http.StatusBadRequest { // which also stands for several problems
			return fmt.Errorf("an error has the status %s", one.Status)
		}
	}
	return nil
}

// fault is what is looked at of a JSON:API error object.
type fault struct{ Status, Code string }

func readErrors(body []byte) ([]fault, error) {
	var document struct{ Errors []fault }
	err := json.Unmarshal(body, &document)
	return document.Errors, err
}

// unknownRoute checks what API Gateway answers for a route that does not exist.
func unknownRoute(response *http.Response, body []byte) error {
	var message map[string]*string
	if response.StatusCode != http.StatusNotFound || json.Unmarshal(body, &message) != nil ||
		len(message) != 1 || message["message"] == nil {
		return fmt.Errorf(`%w: there is no such route, so the answer must be 404 {"message":…}`, ErrMismatch)
	}
	return nil
}

// inexpressible reports whether the contract can only tell in words what an error is about.
func inexpressible(code string) bool {
	switch code {
	case "invalid_json", // members given twice, half surrogate pairs, deep nesting
		"unexpected_body",                           // OpenAPI cannot forbid one
		"unsupported_media_type",                    // of a body that is not expected
		"unknown_parameter",                         // page[after] of a resend by document
		"invalid_cursor",                            // made up, or of another list
		"address_not_allowed", "scheme_not_allowed", // depend on the deployment and on registries
		"invalid_url",                                          // the length of the whole host
		"reserved_name", "duplicate_name", "headers_too_large", // names whose case differs, and sums
		"read_only_attribute", // has another value than the config
		"out_of_range":        // until before since
		return true
	}
	return false
}

// refusal errors if a request that the contract allows was refused as invalid for another reason
// than those in inexpressible.
func refusal(status int, body []byte) error {
	if !slices.Contains([]int{http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity}, status) {
		return nil
	}
	document, err := readErrors(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	for _, one := range document {
		if !inexpressible(one.Code) {
			return fmt.Errorf("%w: the contract allows this request", ErrMismatch)
		}
	}
	return nil
}
