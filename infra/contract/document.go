package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// operation is one method of one path, or a webhook.
type operation struct {
	method, path string
	parameters   []*parameter
	bodyRequired bool
	body         map[string]*schema // by media type; nil if the contract has no body
	responses    map[string]*response
}

type parameter struct {
	name, in string
	required bool
	schema   *schema
}

type response struct {
	headers []*parameter
	content map[string]*schema // by media type; empty without a body
}

// loader reads a contract. What it does not know, it refuses.
type loader struct {
	root       map[string]json.RawMessage
	components map[string]map[string]json.RawMessage
	schemas    map[string]*schema // by $ref; nil while one is being compiled
	examples   []sample
	operations map[string]*operation // by operationId
	targets    []string              // the operationIds that links name
}

// sample is an example of a value, to be checked when all schemas are known.
type sample struct {
	at     string
	schema *schema
	value  json.RawMessage
}

// parse reads a contract in YAML. It errors for anything that it does not understand and for
// examples that are missing or break their own schemas.
func parse(text []byte) (*Contract, error) {
	converted, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	return parseJSON(converted)
}

func parseJSON(text []byte) (*Contract, error) {
	l := &loader{schemas: map[string]*schema{}, operations: map[string]*operation{}}
	if err := json.Unmarshal(text, &l.root); err != nil {
		return nil, err
	}
	var version string
	if err := json.Unmarshal(l.root["openapi"], &version); err != nil || !strings.HasPrefix(version, "3.1.") {
		return nil, fmt.Errorf("version %q is not OpenAPI 3.1", version)
	}
	c := &Contract{}
	var err error
	if c.operations, err = l.paths("paths"); err != nil {
		return nil, err
	}
	if c.webhooks, err = l.paths("webhooks"); err != nil {
		return nil, err
	}
	return c, errors.Join(l.checkComponents(), l.checkLinks(), l.checkExamples())
}

// checkComponents refuses unknown kinds of components, and schemas that nothing uses.
func (l *loader) checkComponents() error {
	var components struct {
		SecuritySchemes, Parameters, Headers, Links, Responses, Examples json.RawMessage
		Schemas                                                          map[string]json.RawMessage
	}
	if err := strictly(l.root["components"], &components); err != nil {
		return fmt.Errorf("components: %w", err)
	}
	for name := range components.Schemas {
		if l.schemas["#/components/schemas/"+name] == nil {
			return fmt.Errorf("nothing uses the schema %s", name)
		}
	}
	return nil
}

func (l *loader) checkLinks() error {
	for _, id := range l.targets {
		if l.operations[id] == nil {
			return fmt.Errorf("a link names the operation %q, which is not there", id)
		}
	}
	return nil
}

func (l *loader) checkExamples() error {
	var problems []error
	for _, one := range l.examples {
		value, err := decode(one.value)
		if err == nil {
			err = one.schema.check(value, "")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: the example %s: %w", one.at, one.value, err))
		}
	}
	return errors.Join(problems...)
}

func (l *loader) paths(section string) ([]*operation, error) {
	var items map[string]map[string]json.RawMessage
	if err := json.Unmarshal(l.root[section], &items); err != nil {
		return nil, fmt.Errorf("%s: %w", section, err)
	}
	var operations []*operation
	for _, path := range slices.Sorted(maps.Keys(items)) {
		shared, err := l.parameters(items[path]["parameters"], path)
		if err != nil {
			return nil, err
		}
		for method, raw := range items[path] {
			if method == "parameters" {
				continue
			}
			if !slices.Contains([]string{"get", "post", "patch", "delete"}, method) {
				return nil, fmt.Errorf("%s: %q is no method", path, method)
			}
			o, err := l.operation(raw, strings.ToUpper(method), path)
			if err != nil {
				return nil, err
			}
			o.parameters = append(o.parameters, shared...)
			operations = append(operations, o)
		}
	}
	return operations, nil
}

func (l *loader) operation(raw json.RawMessage, method, path string) (*operation, error) {
	at := method + " " + path
	var written struct {
		OperationID, Summary, Description string
		Tags                              []string
		Security                          []map[string][]string
		Parameters                        json.RawMessage
		RequestBody                       *struct {
			Required bool
			Content  map[string]json.RawMessage
		}
		Responses map[string]json.RawMessage
	}
	if err := strictly(raw, &written); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if written.OperationID == "" || l.operations[written.OperationID] != nil {
		return nil, fmt.Errorf("%s: the operationId is missing or there twice", at)
	}
	o := &operation{method: method, path: path, responses: map[string]*response{}}
	l.operations[written.OperationID] = o
	var err error
	if o.parameters, err = l.parameters(written.Parameters, at); err != nil {
		return nil, err
	}
	if written.RequestBody != nil {
		o.bodyRequired = written.RequestBody.Required
		if o.body, err = l.content(written.RequestBody.Content, at+" request"); err != nil {
			return nil, err
		}
	}
	for status, raw := range written.Responses {
		if o.responses[status], err = l.response(raw, at+" "+status); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (l *loader) parameters(raw json.RawMessage, at string) ([]*parameter, error) {
	if raw == nil {
		return nil, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: parameters: %w", at, err)
	}
	var parameters []*parameter
	for _, one := range list {
		p, err := l.parameter(one, at)
		if err != nil {
			return nil, err
		}
		parameters = append(parameters, p)
	}
	return parameters, nil
}

// parameter reads a parameter, or a header, which has neither name nor place.
func (l *loader) parameter(raw json.RawMessage, at string) (*parameter, error) {
	raw, err := l.follow(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	var written struct {
		Name, In, Description string
		Required              bool
		Schema, Example       json.RawMessage
	}
	if err := strictly(raw, &written); err != nil {
		return nil, fmt.Errorf("%s: parameter: %w", at, err)
	}
	at += " " + written.Name
	if written.Example == nil || written.Description == "" {
		return nil, fmt.Errorf("%s: a parameter needs a description and an example", at)
	}
	s, err := l.schema(written.Schema, at)
	if err != nil {
		return nil, err
	}
	l.examples = append(l.examples, sample{at, s, written.Example})
	return &parameter{written.Name, written.In, written.Required, s}, nil
}

func (l *loader) response(raw json.RawMessage, at string) (*response, error) {
	raw, err := l.follow(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	var written struct {
		Description             string
		Headers, Content, Links map[string]json.RawMessage
	}
	if err := strictly(raw, &written); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	r := &response{}
	for name, raw := range written.Headers {
		header, err := l.parameter(raw, at)
		if err != nil {
			return nil, err
		}
		header.name = name
		r.headers = append(r.headers, header)
	}
	for name, raw := range written.Links {
		var link struct {
			OperationID string
			Parameters  map[string]string
			RequestBody json.RawMessage // with expressions in it
		}
		raw, err := l.follow(raw)
		if err == nil {
			err = strictly(raw, &link)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: link %s: %w", at, name, err)
		}
		l.targets = append(l.targets, link.OperationID)
	}
	r.content, err = l.content(written.Content, at)
	return r, err
}

func (l *loader) content(types map[string]json.RawMessage, at string) (map[string]*schema, error) {
	content := map[string]*schema{}
	for name, raw := range types {
		at := at + " " + name
		var written struct {
			Schema, Example json.RawMessage
			Examples        map[string]json.RawMessage
		}
		if err := strictly(raw, &written); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		s, err := l.schema(written.Schema, at)
		if err != nil {
			return nil, err
		}
		content[name] = s
		if written.Example != nil {
			l.examples = append(l.examples, sample{at, s, written.Example})
		} else if len(written.Examples) == 0 {
			return nil, fmt.Errorf("%s: there is no example", at)
		}
		for name, raw := range written.Examples {
			var example struct{ Value json.RawMessage }
			raw, err := l.follow(raw)
			if err == nil {
				err = strictly(raw, &example)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: example %s: %w", at, name, err)
			}
			l.examples = append(l.examples, sample{at + " " + name, s, example.Value})
		}
	}
	return content, nil
}

// follow returns what raw refers to, or raw itself.
func (l *loader) follow(raw json.RawMessage) (json.RawMessage, error) {
	var reference struct {
		Ref string `json:"$ref"`
	}
	if err := json.Unmarshal(raw, &reference); err != nil || reference.Ref == "" {
		return raw, err
	}
	return l.resolve(reference.Ref)
}

// resolve returns the component that a reference like #/components/schemas/Config names.
func (l *loader) resolve(ref string) (json.RawMessage, error) {
	section, name, ok := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
	if l.components == nil {
		if err := json.Unmarshal(l.root["components"], &l.components); err != nil {
			return nil, fmt.Errorf("components: %w", err)
		}
	}
	raw := l.components[section][name]
	if !ok || raw == nil {
		return nil, fmt.Errorf("%s is not there", ref)
	}
	return raw, nil
}

// strictly decodes an object and refuses members that the target does not have.
func strictly(raw json.RawMessage, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	return decoder.Decode(target)
}

// decode decodes exactly one JSON value, numbers as json.Number.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON value")
	}
	return value, nil
}
