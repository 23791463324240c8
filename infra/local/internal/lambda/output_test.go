package lambda

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOutputLines(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   string
		want []string
	}{
		{"every line is one", "a\nb\n", []string{"a", "b"}},
		{"an empty line stays", "a\n\nb\n", []string{"a", "", "b"}},
		{"a last line needs no newline", "a\nb", []string{"a", "b"}},
		{"a line longer than the buffer stays whole", strings.Repeat("x", 100_000) + "\n", []string{strings.Repeat("x", 100_000)}},
		{"a line over 256 KiB is split", strings.Repeat("x", maxLine+1) + "\n", []string{strings.Repeat("x", maxLine), "x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log strings.Builder
			o := output{w: &log}
			o.copy("F", strings.NewReader(tc.in), new(instance).keep)
			if diff := cmp.Diff("[F] "+strings.Join(tc.want, "\n[F] ")+"\n", log.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
