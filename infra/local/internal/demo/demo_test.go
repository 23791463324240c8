package demo

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPaletteColoursOnlyTerminals(t *testing.T) {
	got := []string{palette{terminal: true}.green("x"), palette{}.green("x"), newPalette(&bytes.Buffer{}).bold("x")}
	if diff := cmp.Diff([]string{"\x1b[32mx\x1b[0m", "x", "x"}, got); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}
