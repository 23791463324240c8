package infra_test

import (
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/docuhook/docuhook/shared/endpoint"
)

// TestMakefileSetsTheVersion compares names: the linker says nothing about a variable that is not there, and
// every webhook would come from Docuhook/dev.
func TestMakefileSetsTheVersion(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^LDFLAGS += -X (\S+)=\$\(VERSION\)$`).FindSubmatch(makefile)
	if match == nil {
		t.Fatal("the Makefile sets no version")
	}
	if want := reflect.TypeFor[endpoint.Client]().PkgPath() + ".Version"; string(match[1]) != want || endpoint.Version != "dev" {
		t.Errorf("the Makefile sets %s, want %s, which is %q without it", match[1], want, endpoint.Version)
	}
}
