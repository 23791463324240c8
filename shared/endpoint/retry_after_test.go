package endpoint

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cases := map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"1":                              time.Second,
		" 120 ":                          2 * time.Minute,
		"0120":                           2 * time.Minute,
		"86400":                          24 * time.Hour,
		"2147483647":                     2147483647 * time.Second,
		"9223372036":                     9223372036 * time.Second,
		"9223372037":                     math.MaxInt64,
		"9999999999999999999999999":      math.MaxInt64,
		"-1":                             0,
		"+1":                             0,
		"1.5":                            0,
		"1e3":                            0,
		"soon":                           0,
		"120 seconds":                    0,
		"Sun, 01 Mar 2026 12:00:30 GMT":  30 * time.Second,
		"Sunday, 01-Mar-26 12:00:30 GMT": 30 * time.Second,
		"Sun Mar  1 12:00:30 2026":       30 * time.Second,
		"Sun, 01 Mar 2026 11:00:00 GMT":  0,
		"Fri, 31 Dec 9999 23:59:59 GMT":  math.MaxInt64,
		"2026-03-01T12:00:30Z":           0,
	}
	for value, want := range cases {
		if diff := cmp.Diff(want, retryAfter(http.Header{"Retry-After": {value}}, now)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", value, diff)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Sun, 01 Mar 2026 12:00:30 GMT")
	f.Add("99999999999999999999")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		after := retryAfter(http.Header{"Retry-After": {value}}, now)
		if after < 0 {
			t.Errorf("%q: %v", value, after)
		}
	})
}
