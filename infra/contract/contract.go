// Package contract checks requests and responses against infra/openapi.yaml, for tests.
//
// A test calls Check with everything that it sent and got. The contract and the API then agree or
// the test fails: a response must be one that the contract documents for the route, in status,
// headers and body; a request that the contract forbids must have been refused; and one that it
// allows may be refused as invalid only for the few reasons that JSON Schema cannot express.
// CheckWebhook does the same for what an endpoint receives.
package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// Contract is infra/openapi.yaml. It is safe for concurrent use.
type Contract struct {
	operations, webhooks []*operation
}

// ErrMismatch is returned where the contract and the API disagree.
var ErrMismatch = errors.New("the contract and the API disagree")

// Load reads the contract. It errors if that is not an OpenAPI document to the letter or if one of
// its examples breaks its own schema.
func Load() (*Contract, error) {
	path, err := File("infra/openapi.yaml")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// File returns the path of a file of this module, wherever in it a test runs.
func File(name string) (string, error) {
	directory, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(directory, "go.mod")); err == nil {
			return filepath.Join(directory, name), nil
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return "", fmt.Errorf("%s: no go.mod above the working directory", name)
		}
		directory = parent
	}
}

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
		t.Errorf("%s %s\n%.2000s\nwas answered %d\n%.2000s\n%v", request.Method, request.URL, requestBody, response.StatusCode, responseBody, err)
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

// Forbids returns why the contract forbids a request, nil if it does not or if the route is not in it.
func (c *Contract) Forbids(request *http.Request, body []byte) error {
	o, values := c.find(request.Method, request.URL)
	if o == nil {
		return nil
	}
	return o.forbids(request, values, body)
}

// VerifyWebhook errors with ErrMismatch if a request to an endpoint is not the webhook of the contract.
func (c *Contract) VerifyWebhook(request *http.Request, body []byte) error {
	for _, o := range c.webhooks {
		if err := o.forbids(request, nil, body); o.method != request.Method || err != nil {
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
	if err := o.allows(response, responseBody); err != nil {
		return fmt.Errorf("%w: the contract does not have this answer: %w", ErrMismatch, err)
	}
	forbidden := o.forbids(request, values, requestBody)
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
func (o *operation) forbids(request *http.Request, values map[string]string, body []byte) error {
	query, err := url.ParseQuery(request.URL.RawQuery)
	if err != nil {
		return err
	}
	for _, p := range o.parameters {
		var given []string
		switch p.in {
		case "path":
			given = []string{values[p.name]}
		case "query":
			given = query[p.name]
			delete(query, p.name)
		case "header":
			given = request.Header.Values(p.name)
		}
		if len(given) > 1 || len(given) == 0 && p.required {
			return fmt.Errorf("the %s parameter %s is there %d times", p.in, p.name, len(given))
		}
		for _, text := range given {
			if err := p.check(text); err != nil {
				return err
			}
		}
	}
	// OpenAPI leaves open what becomes of others; the API refuses them.
	for name := range query {
		return fmt.Errorf("the query parameter %q is unknown", name)
	}
	return o.forbidsBody(request, body)
}

func (o *operation) forbidsBody(request *http.Request, body []byte) error {
	if o.body == nil || len(body) == 0 {
		if o.bodyRequired {
			return errors.New("there is no body")
		}
		return nil
	}
	mediaType, parameters, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type: %w", err)
	}
	s := o.body[mediaType]
	delete(parameters, "profile")
	if charset := parameters["charset"]; mediaType == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) {
		clear(parameters) // they mean nothing there
	}
	if s == nil || len(parameters) > 0 {
		return fmt.Errorf("the media type %s is not in the contract", request.Header.Get("Content-Type"))
	}
	value, err := decode(body)
	if err != nil {
		return err
	}
	return s.check(value, "")
}

// check checks a parameter or header, which are texts whatever their type is.
func (p *parameter) check(text string) error {
	var value any = text
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("%s is not valid UTF-8", p.name)
	case slices.Contains(p.schema.types, "boolean") && (text == "true" || text == "false"):
		value = text == "true"
	case slices.Contains(p.schema.types, "integer"):
		if n, err := strconv.Atoi(text); err == nil && strconv.Itoa(n) == text {
			value = json.Number(text)
		}
	}
	return p.schema.check(value, p.name)
}

// allows returns why the contract does not have a response, nil if it has.
func (o *operation) allows(r *http.Response, body []byte) error {
	documented := o.responses[strconv.Itoa(r.StatusCode)]
	if documented == nil {
		return fmt.Errorf("the status %d is not documented", r.StatusCode)
	}
	for _, header := range documented.headers {
		given := r.Header.Values(header.name)
		if len(given) > 1 || len(given) == 0 && header.required {
			return fmt.Errorf("the header %s is there %d times", header.name, len(given))
		}
		for _, text := range given {
			if err := header.check(text); err != nil {
				return err
			}
		}
	}
	if len(documented.content) == 0 {
		if len(body) > 0 {
			return errors.New("there is a body")
		}
		return nil
	}
	s := documented.content[r.Header.Get("Content-Type")]
	if s == nil {
		return fmt.Errorf("the media type %q is not documented", r.Header.Get("Content-Type"))
	}
	value, err := decode(body)
	if err != nil {
		return err
	}
	return s.check(value, "")
}

// unknownRoute checks what API Gateway answers for a route that does not exist.
func unknownRoute(response *http.Response, body []byte) error {
	var message map[string]*string
	if response.StatusCode != http.StatusNotFound || json.Unmarshal(body, &message) != nil || len(message) != 1 || message["message"] == nil {
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
		"too_many_configs",                          // depends on the organization
		"address_not_allowed", "scheme_not_allowed", // depend on the deployment and on registries
		"invalid_url",  // the length of the whole host
		"out_of_range": // failed_until before failed_since
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
	var document struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal(body, &document); err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	for _, one := range document.Errors {
		if !inexpressible(one.Code) {
			return fmt.Errorf("%w: the contract allows this request", ErrMismatch)
		}
	}
	return nil
}
