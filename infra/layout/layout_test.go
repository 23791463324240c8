// Package layout keeps the rules of the layout: which folder holds what, and who may import whom.
package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	module = "github.com/docuhook/docuhook/"
	sdk    = "github.com/aws/aws-sdk-go-v2"
)

// kind is what a folder may import: its own kind, if it may at all, and those that follow.
type kind int

const (
	pure kind = iota
	adapter
	wiring
	function
	command // below infra
	forTests
)

// shared is what the folders below shared are.
func shared() map[string]kind {
	return map[string]kind{
		"webhook": pure, "signature": pure, "keyring": pure, "apikey": pure, "dispatch": pure, "endpoint": pure, "delivery": pure,
		"jsonapi": pure, "api": pure,
		"dynamo": adapter, "queue": adapter, "secrets": adapter, "telemetry": adapter,
		"wiring":                wiring,
		"delivery/deliverytest": forTests,
		"dynamo/dynamotest":     forTests,
	}
}

// allowed says for each kind which others its packages import, tests aside.
func allowed() map[kind][]kind {
	return map[kind][]kind{
		pure:     {pure},
		adapter:  {pure},
		wiring:   {pure, adapter},
		function: {pure, wiring},
		command:  {pure, adapter, command},
		forTests: {pure},
	}
}

// maxColumns is how wide a line may be, where a tab counts as tabWidth.
const (
	maxColumns = 140
	tabWidth   = 4
)

// file is a Go file of the module.
type file struct {
	name   string // from the root, with slashes
	test   bool
	lines  []string
	syntax *ast.File
}

// folder returns the package's path within the module.
func (f file) folder() string { return path.Dir(f.name) }

// imports returns the paths that f imports, those of the module without its name.
func (f file) imports() (inside, outside []string) {
	for _, spec := range f.syntax.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if rest, ok := strings.CutPrefix(imported, module); ok {
			inside = append(inside, rest)
		} else {
			outside = append(outside, imported)
		}
	}
	return inside, outside
}

// uses reports whether f mentions name of the package imported as base.
func (f file) uses(base string, names ...string) bool {
	found := false
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == base && slices.Contains(names, selector.Sel.Name) {
				found = true
			}
		}
		return true
	})
	return found
}

func root(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return folder
}

func files(t *testing.T) []file {
	t.Helper()
	var all []file
	top := root(t)
	for _, tree := range []string{"functions", "shared", "infra"} {
		err := filepath.WalkDir(filepath.Join(top, tree), func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules") {
				return filepath.SkipDir
			}
			if entry.IsDir() || filepath.Ext(name) != ".go" {
				return nil
			}
			source, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			syntax, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(top, name)
			all = append(all, file{
				name:   filepath.ToSlash(relative),
				test:   strings.HasSuffix(name, "_test.go"),
				lines:  strings.Split(string(source), "\n"),
				syntax: syntax,
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d files found", len(all))
	}
	return all
}

// kindOf returns the kind of a folder of the module.
func kindOf(folder string) (kind, bool) {
	tree, rest, _ := strings.Cut(folder, "/")
	switch tree {
	case "functions":
		return function, rest != ""
	case "infra":
		return command, true
	}
	found, ok := shared()[rest]
	return found, ok
}

func TestLayout(t *testing.T) {
	all := files(t)
	for name, check := range map[string]func(*testing.T, []file){
		"imports go from functions to pure packages": imports,
		"the environment is read in one place":       environment,
		"pure packages have no hidden clock":         clock,
		"a function only wires":                      functions,
		"tests have no build tags":                   tags,
		"files have fewer than 600 lines":            lengths,
		"lines have 140 columns at most":             columns,
	} {
		t.Run(name, func(t *testing.T) { check(t, all) })
	}
}

func imports(t *testing.T, all []file) {
	for _, f := range all {
		from, ok := kindOf(f.folder())
		if !ok && !f.test {
			t.Errorf("%s: the layout has no place for this package", f.name)
			continue
		}
		inside, outside := f.imports()
		for _, imported := range inside {
			to, ok := kindOf(imported)
			switch {
			case !ok:
				t.Errorf("%s imports %s, for which the layout has no place", f.name, imported)
			case imported == "infra/local/localtest" && f.test: // it runs the command
			case f.folder() == "infra/local/localtest" && to == forTests: // which is for tests too
			case imported == "infra/local/tables" && (from == forTests || f.folder() == "infra/bench/scale"):
				// Measurements and tests use its DynamoDB.
			case strings.HasPrefix(imported, "infra/local") && !strings.HasPrefix(f.name, "infra/local/"):
				t.Errorf("%s imports %s: nothing imports the local stack", f.name, imported)
			case strings.HasPrefix(imported, "infra/") && !strings.HasPrefix(f.name, "infra/") && !f.test:
				t.Errorf("%s imports the command %s", f.name, imported)
			case f.test:
			case !slices.Contains(allowed()[from], to):
				t.Errorf("%s imports %s: the direction is functions, wiring, adapters, pure", f.name, imported)
			}
		}
		for _, imported := range outside {
			aws := imported == sdk || strings.HasPrefix(imported, sdk+"/")
			if aws && !f.test && (from == pure || from == function) {
				t.Errorf("%s imports %s", f.name, imported)
			}
		}
	}
}

func environment(t *testing.T, all []file) {
	for _, f := range all {
		if f.test || strings.HasPrefix(f.name, "infra/") || f.folder() == "shared/wiring" {
			continue
		}
		if f.uses("os", "Getenv", "LookupEnv", "Environ", "ExpandEnv") {
			t.Errorf("%s reads the environment; that is for wiring", f.name)
		}
	}
}

func clock(t *testing.T, all []file) {
	for _, f := range all {
		if from, _ := kindOf(f.folder()); f.test || from != pure {
			continue
		}
		if f.uses("time", "Now", "Since", "Until", "Sleep") {
			t.Errorf("%s reads the clock of the machine", f.name)
		}
	}
}

func functions(t *testing.T, all []file) {
	for _, f := range all {
		if from, _ := kindOf(f.folder()); f.test || from != function {
			continue
		}
		if parts := strings.Split(f.name, "/"); len(parts) != 3 || parts[2] != "main.go" {
			t.Errorf("%s: a function is one file, main.go", f.name)
		}
		inside, outside := f.imports()
		for _, imported := range slices.Concat(inside, outside) {
			if !slices.Contains([]string{"github.com/aws/aws-lambda-go/lambda", "shared/wiring"}, imported) {
				t.Errorf("%s imports %s; it should only wire", f.name, imported)
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	known := []string{
		"functions", "shared", "infra", "template.yaml", "samconfig.toml", "go.mod", "go.sum", "Makefile", "README.md",
		"LICENSE",
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") && !slices.Contains(known, entry.Name()) {
			t.Errorf("%s does not belong at the top", entry.Name())
		}
	}
}

func tags(t *testing.T, all []file) {
	for _, f := range all {
		for _, group := range f.syntax.Comments {
			for _, comment := range group.List {
				if f.test && strings.HasPrefix(comment.Text, "//go:build") && !strings.HasSuffix(f.name, "_linux_test.go") {
					t.Errorf("%s has a build tag, so that it is forgotten", f.name)
				}
			}
		}
	}
}

func lengths(t *testing.T, all []file) {
	for _, f := range all {
		if len(f.lines) > 600 {
			t.Errorf("%s has %d lines, 600 or more", f.name, len(f.lines)-1)
		}
	}
}

func columns(t *testing.T, all []file) {
	tab := strings.Repeat(" ", tabWidth)
	for _, f := range all {
		for i, line := range f.lines {
			if n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", tab)); n > maxColumns {
				t.Errorf("%s:%d has %d columns, more than %d", f.name, i+1, n, maxColumns)
			}
		}
	}
}
