package stack

import (
	"strings"
	"testing"
)

func TestFunctionsClutterNoTerminal(t *testing.T) {
	lines := map[string]bool{ // and whether they are shown without -details
		`[F] {"level":"INFO","message":"sweep","sent":0,"not_sent":0,"oldest_ms":0}`: false,
		`[F] {"level":"INFO","message":"sweep","sent":1,"not_sent":0,"oldest_ms":7}`: true,
		`[F] {"level":"WARN","message":"sweep","sent":0,"not_sent":1,"oldest_ms":7}`: true,
		`[F] {"level":"INFO","message":"batch","messages":1}`:                        false,
		`[F] {"_aws":{"CloudWatchMetrics":[]}}`:                                      false,
		`[F] {"level":"INFO","message":"config deactivated"}`:                        true,
	}
	for line, shown := range lines {
		for _, details := range []bool{false, true} {
			var out strings.Builder
			n, err := functionLog{w: &out, details: details}.Write([]byte(line))
			if n != len(line) || err != nil || (out.String() == line) != (shown || details) {
				t.Errorf("with details %t: of %s is shown %q, %d, %v", details, line, out.String(), n, err)
			}
		}
	}
}
