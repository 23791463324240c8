package contract

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
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
			var api struct{ Method, Path string }
			if err := json.Unmarshal(event.Properties, &api); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			routes[folder] = append(routes[folder], strings.ToUpper(api.Method)+" "+api.Path)
		}
		slices.Sort(routes[folder])
	}
	return routes
}

// handlerRoutes returns the keys of the operations that each function's main.go serves.
func handlerRoutes(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../../functions/*/main.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d functions, %v", len(files), err)
	}
	routes := map[string][]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Base(filepath.Dir(file))
		ast.Inspect(parsed, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			if selector, ok := call.Fun.(*ast.SelectorExpr); !ok || selector.Sel.Name != "ServeAPI" || len(call.Args) != 1 {
				return true
			}
			operations, ok := call.Args[0].(*ast.CompositeLit)
			if !ok {
				t.Fatalf("%s: the operations are not written out", file)
			}
			for _, element := range operations.Elts {
				key, ok := element.(*ast.KeyValueExpr).Key.(*ast.BasicLit)
				if !ok {
					t.Fatalf("%s: a route is not written out", file)
				}
				route, err := strconv.Unquote(key.Value)
				if err != nil {
					t.Fatal(err)
				}
				routes[folder] = append(routes[folder], route)
			}
			return false
		})
		slices.Sort(routes[folder])
		if len(routes[folder]) == 0 {
			delete(routes, folder)
		}
	}
	return routes
}
