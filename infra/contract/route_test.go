package contract

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func yamlToJSON(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(text)
}

// TestTemplateContractAndHandlersHaveTheSameRoutes: a route that API Gateway sends to a function
// that does not serve it would be a 500, one that the template lacks a 404.
func TestTemplateContractAndHandlersHaveTheSameRoutes(t *testing.T) {
	declared, served := templateRoutes(t), handlerRoutes(t)
	if diff := cmp.Diff(declared, served); diff != "" {
		t.Errorf("routes by function (-template +main.go):\n%s", diff)
	}
	var all []string
	for _, routes := range declared {
		all = append(all, routes...)
	}
	slices.Sort(all)
	if diff := cmp.Diff(load(t).Routes(), all); diff != "" {
		t.Errorf("routes (-contract +template):\n%s", diff)
	}
}

// templateRoutes returns the routes of the template's HTTP API by the functions' folders.
func templateRoutes(t *testing.T) map[string][]string {
	t.Helper()
	text, err := yamlToJSON("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Type       string
			Properties json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	routes := map[string][]string{}
	for name, resource := range template.Resources {
		if resource.Type != "AWS::Serverless::Function" {
			continue
		}
		var function struct {
			CodeUri string
			Events  map[string]struct {
				Type       string
				Properties json.RawMessage
			}
		}
		if err := json.Unmarshal(resource.Properties, &function); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		folder := strings.TrimPrefix(function.CodeUri, "functions/")
		for _, event := range function.Events {
			if event.Type != "HttpApi" {
				continue
			}
			var route struct{ Method, Path string }
			if err := json.Unmarshal(event.Properties, &route); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			routes[folder] = append(routes[folder], strings.ToUpper(route.Method)+" "+route.Path)
		}
		slices.Sort(routes[folder])
	}
	return routes
}

// served matches what a function's main says that it serves: a method of wiring.Environment.
var served = regexp.MustCompile(`\benv\.([A-Z]\w*)\(\)`)

// handlerRoutes returns the routes of the operations that each function's main.go serves.
func handlerRoutes(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../../functions/*/main.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d functions, %v", len(files), err)
	}
	routes := map[string][]string{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Base(filepath.Dir(file))
		for _, found := range served.FindAllSubmatch(source, -1) {
			method, ok := reflect.TypeFor[*wiring.Environment]().MethodByName(string(found[1]))
			if !ok {
				t.Fatalf("%s serves %s, which wiring does not have", file, found[1])
			}
			if operation, ok := reflect.Zero(method.Type.Out(0)).Interface().(api.Operation); ok {
				routes[folder] = append(routes[folder], operation.Route())
			}
		}
		slices.Sort(routes[folder])
	}
	return routes
}
