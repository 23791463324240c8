package build

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDirectoriesOfDeadProcessesAreRemoved(t *testing.T) {
	parent := t.TempDir()
	// No process has this id: it is above what Linux and macOS give out.
	for _, name := range []string{"docuhook-local-99999999-1", "docuhook-local-" + strconv.Itoa(os.Getpid()) + "-1", "docuhook-local-mine", "other"} {
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
