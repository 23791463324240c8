// Package functions_test replays the sample events of every function through what its main makes, with
// the variables, tables, queues and secrets of the template, and compares answers and effects with
// golden files.
package functions_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/samples"
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

var update = flag.Bool("update", false, "write the golden files anew")

// folders returns the functions, each with the files of its sample events.
func folders(t *testing.T) map[string][]string {
	t.Helper()
	mains, err := filepath.Glob("*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, main := range mains {
		folder := filepath.Dir(main)
		events, err := filepath.Glob(filepath.Join(folder, "events", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		found[folder] = events
	}
	return found
}

// minted matches ids of configs that a function makes from the clock of the machine.
var minted = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

func TestReplay(t *testing.T) {
	for folder, events := range folders(t) {
		for _, event := range events {
			name := strings.TrimSuffix(filepath.Base(event), ".json")
			t.Run(folder+"/"+name, func(t *testing.T) {
				input, err := os.ReadFile(event)
				if err != nil {
					t.Fatal(err)
				}
				w := newWorld(t)
				handler := w.handler(t, folder)
				answer, err := handler.Invoke(t.Context(), w.receive(t, input))
				if err != nil {
					t.Fatal(err)
				}
				got := render(t, answer, w.done(t))
				got = bytes.ReplaceAll(got, []byte(w.endpoints.Listener.Addr().String()), []byte("hooks.example"))
				if folder == "create-config" {
					got = minted.ReplaceAllFunc(got, func(id []byte) []byte {
						if strings.HasPrefix(string(id), samples.ActiveConfig[:8]) {
							return id
						}
						return []byte("<new id>")
					})
				}
				golden := filepath.Join("testdata", folder, name+".json")
				if *update {
					if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// render returns an answer, with a body of JSON unfolded, and effects as indented JSON.
func render(t *testing.T, answer []byte, done effects) []byte {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	var body string
	if json.Unmarshal(fields["body"], &body) == nil && json.Valid([]byte(body)) {
		fields["body"] = json.RawMessage(body)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(struct {
		Answer  map[string]json.RawMessage
		Effects effects
	}{
		Answer:  fields,
		Effects: done,
	}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestEventsCoverEveryRoute(t *testing.T) {
	for folder, events := range folders(t) {
		if len(events) == 0 {
			t.Errorf("%s has no sample events", folder)
		}
		covered := map[string]bool{}
		for _, event := range events {
			data, err := os.ReadFile(event)
			if err != nil {
				t.Fatal(err)
			}
			var fields struct{ RouteKey string }
			if err := json.Unmarshal(data, &fields); err != nil {
				t.Fatal(err)
			}
			covered[fields.RouteKey] = true
		}
		for _, name := range serves(t, folder) {
			method, ok := reflect.TypeFor[*wiring.Environment]().MethodByName(name)
			if !ok {
				t.Fatalf("%s serves %s, which wiring does not have", folder, name)
			}
			operation, ok := reflect.Zero(method.Type.Out(0)).Interface().(api.Operation)
			if ok && !covered[operation.Route()] {
				t.Errorf("%s: no sample event for %s", folder, operation.Route())
			}
		}
	}
}

func TestEveryGoldenFileHasItsEvent(t *testing.T) {
	all := folders(t)
	goldens, err := filepath.Glob("testdata/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, golden := range goldens {
		folder := filepath.Base(filepath.Dir(golden))
		if !slices.Contains(all[folder], filepath.Join(folder, "events", filepath.Base(golden))) {
			t.Errorf("%s is of no event", golden)
		}
	}
}
