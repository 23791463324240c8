package build

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/endpoint"
)

func TestDirectoriesOfDeadProcessesAreRemoved(t *testing.T) {
	parent := t.TempDir()
	// No process has this id: it is above what Linux and macOS give out.
	for _, name := range []string{
		"docuhook-local-99999999-1", "docuhook-local-" + strconv.Itoa(os.Getpid()) + "-1", "docuhook-local-mine", "other",
	} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	made, err := Directory(parent)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	want := []string{"docuhook-local-" + strconv.Itoa(os.Getpid()) + "-1", filepath.Base(made), "docuhook-local-mine", "other"}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}

// newModule is a module with a function whose main package is main; it returns the module's folder and the
// function as the template names it.
func newModule(t *testing.T, main string) (string, []template.Function) {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                      "module github.com/docuhook/docuhook\n\ngo 1.26\n",
		"shared/endpoint/endpoint.go": "package endpoint\n\nvar Version = \"unset\"\n",
		"sub/functions/f/main.go":     main,
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root, []template.Function{{Name: "F", Folder: "functions/f"}}
}

func TestFunctionsAreBuiltOnceAndStayWithTheirStack(t *testing.T) {
	root, functions := newModule(t, "package main\n\nfunc main() { println(1) }\n")
	within := filepath.Join(root, "sub")
	one := func() os.FileInfo {
		t.Helper()
		directory := t.TempDir()
		if err := Functions(t.Context(), functions, within, directory, false, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(directory, "f"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := one()
	if second := one(); !os.SameFile(first, second) {
		t.Error("what has not changed is built again")
	}
	if err := os.WriteFile(
		filepath.Join(within, "functions/f/main.go"), []byte("package main\n\nfunc main() { println(2) }\n"), 0o600,
	); err != nil {
		t.Fatal(err)
	}
	if third := one(); os.SameFile(first, third) {
		t.Error("what has changed is not built, or in the place of what a stack may be running")
	}
	if _, err := os.Stat(filepath.Join(root, ".build/functions/sub/f")); err != nil {
		t.Errorf("it is kept elsewhere: %v", err)
	}
}

func TestFunctionsAreOfTheVersionOfTheStack(t *testing.T) {
	root, functions := newModule(t, `package main

import "github.com/docuhook/docuhook/shared/endpoint"

func main() { print(endpoint.Version) }
`)
	directory := t.TempDir()
	if err := Functions(t.Context(), functions, filepath.Join(root, "sub"), directory, false, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(filepath.Join(directory, "f")).CombinedOutput()
	if err != nil || string(said) != endpoint.Version {
		t.Errorf("the function is of version %s (%v), the stack of %s", said, err, endpoint.Version)
	}
}

func TestWhatDoesNotCompileIsNotPlaced(t *testing.T) {
	root, functions := newModule(t, "package main\n\nfunc main() { undefined() }\n")
	directory := t.TempDir()
	var said bytes.Buffer
	err := Functions(t.Context(), functions, filepath.Join(root, "sub"), directory, false, io.Discard, &said)
	if err == nil || !strings.Contains(said.String(), "main.go:3:15: undefined: undefined") {
		t.Errorf("got %v and %s", err, &said)
	}
	if entries, err := os.ReadDir(directory); err != nil || len(entries) > 0 {
		t.Errorf("there is %v (%v)", entries, err)
	}
}

func TestOneCompilerAtATime(t *testing.T) {
	directory := t.TempDir()
	unlock, err := lock(t.Context(), directory)
	if err != nil {
		t.Fatal(err)
	}
	gaveUp, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(gaveUp, directory); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one got %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), directory)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestPlaceCopiesWhereItCannotLink(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a file that is surely on another file system")
	}
	directory := t.TempDir()
	if err := place("/proc/self/exe", filepath.Join(directory, "copy")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(directory, "copy"))
	if err != nil || info.Mode().Perm() != 0o755 || info.Size() == 0 {
		t.Errorf("the copy is %v (%v)", info, err)
	}
	if err := place(filepath.Join(directory, "none"), filepath.Join(directory, "other")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestWorkOfAKilledCompilerIsRemoved(t *testing.T) {
	kept := t.TempDir()
	for _, name := range []string{"go-build123/b001", "f"} {
		if err := os.MkdirAll(filepath.Join(kept, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeWork(kept); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(kept)
	if err != nil || len(entries) != 1 || entries[0].Name() != "f" {
		t.Errorf("left are %v (%v)", entries, err)
	}
}
