package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// operation is one method of one path, or a webhook.
type operation struct {
	*openapi3.Operation
	method, path string
	parameters   openapi3.Parameters // also those of the path
}

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
	converted, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c, err := parse(converted)
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

// Where the compiler of the schemas finds the whole document: as it is, for what others send, and sealed, for what
// Docuhook sends. There the contract is open, since attributes may come later, but must name all that there are.
const (
	location       = "contract:///openapi.json"
	sealedLocation = "contract:///sealed.json"
)

// parse reads a contract in JSON and compiles every schema that an exchange is checked against.
func parse(text []byte) (*Contract, error) {
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if !document.IsOpenAPI31OrLater() {
		return nil, fmt.Errorf("version %s is older than 3.1", document.OpenAPI)
	}
	err = document.Validate(context.Background(),
		openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation())
	if err != nil {
		return nil, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := &Contract{document: document, compiler: jsonschema.NewCompiler(), schemas: map[*openapi3.SchemaRef]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(location, value); err != nil {
		return nil, err
	}
	sealed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	components, _ := sealed.(map[string]any)["components"].(map[string]any)
	schemas, _ := components["schemas"].(map[string]any)
	for _, schema := range schemas {
		seal(schema, true)
	}
	if err := c.compiler.AddResource(sealedLocation, sealed); err != nil {
		return nil, err
	}
	if c.operations, err = c.read(document.Paths.Map(), false); err != nil {
		return nil, err
	}
	c.webhooks, err = c.read(document.Webhooks, true)
	return c, err
}

// seal lets no object of a schema have members that are not declared. part says that the schema is itself a part of
// others, which declare more, so that the seal is theirs.
func seal(schema any, part bool) {
	switch node := schema.(type) {
	case []any:
		for _, one := range node {
			seal(one, part)
		}
	case map[string]any:
		for keyword, inner := range node {
			seal(inner, keyword == "allOf")
		}
		if !part && (node["$ref"] != nil || node["properties"] != nil || node["allOf"] != nil) {
			node["unevaluatedProperties"] = false
		}
	}
}

// read returns the operations of paths and compiles their schemas. ours says that the requests are Docuhook's.
func (c *Contract) read(paths map[string]*openapi3.PathItem, ours bool) ([]*operation, error) {
	var operations []*operation
	for path, item := range paths {
		for method, o := range item.Operations() {
			one := &operation{o, method, path, append(o.Parameters[:len(o.Parameters):len(o.Parameters)], item.Parameters...)}
			operations = append(operations, one)
			requests, responses := one.schemas()
			for _, s := range requests {
				if err := c.compile(s, ours); err != nil {
					return nil, fmt.Errorf("%s %s: %w", method, path, err)
				}
			}
			for _, s := range responses {
				if err := c.compile(s, !ours); err != nil {
					return nil, fmt.Errorf("%s %s: %w", method, path, err)
				}
			}
		}
	}
	return operations, nil
}

// schemas returns those of everything that a request and its responses have.
func (o *operation) schemas() (requests, responses []*openapi3.SchemaRef) {
	for _, p := range o.parameters {
		requests = append(requests, p.Value.Schema)
	}
	if o.RequestBody != nil {
		requests = append(requests, bodies(o.RequestBody.Value.Content)...)
	}
	for _, r := range o.Responses.Map() {
		responses = append(responses, bodies(r.Value.Content)...)
		for _, h := range r.Value.Headers {
			responses = append(responses, h.Value.Schema)
		}
	}
	return requests, responses
}

func bodies(content openapi3.Content) []*openapi3.SchemaRef {
	var schemas []*openapi3.SchemaRef
	for _, media := range content {
		schemas = append(schemas, media.Schema)
	}
	return schemas
}

// compile compiles a schema as a document of its own, which refers to the components of the contract. ours says that
// it is of what Docuhook sends.
func (c *Contract) compile(s *openapi3.SchemaRef, ours bool) error {
	if c.schemas[s] != nil {
		return nil
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	components := location
	if ours {
		components = sealedLocation
	}
	text = bytes.ReplaceAll(text, []byte(`"$ref":"#/`), []byte(`"$ref":"`+components+`#/`))
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if ours {
		seal(value, false)
	}
	at := fmt.Sprintf("contract:///%d.json", len(c.schemas))
	if err := c.compiler.AddResource(at, value); err != nil {
		return err
	}
	c.schemas[s], err = c.compiler.Compile(at)
	return err
}
