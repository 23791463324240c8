package jsonapi

import (
	"encoding/json"
	"math"
	"testing"
)

func TestReadIntegers(t *testing.T) {
	for raw, want := range map[string]int64{
		"0": 0, "-0": 0, "7": 7, "-7": -7, "1.0": 1, "1e3": 1000, "1.5e1": 15, "-2.0E0": -2,
		"9223372036854775807": math.MaxInt64, "9223372036854775808": math.MaxInt64, "-1e19": math.MinInt64,
		"1e400": math.MaxInt64, "-1e400": math.MinInt64,
	} {
		got := int64(99)
		attribute := Attribute{Integer: func(n int64) error {
			got = n
			return nil
		}}
		if err := attribute.read(json.RawMessage(raw)); err != nil || got != want {
			t.Errorf("%s is read as %d (%v), want %d", raw, got, err, want)
		}
	}
	for _, raw := range []string{"0.5", "1e-1", `"1"`, "true", "null", "[]", "{}", "[1]"} {
		err := Attribute{Integer: func(n int64) error {
			t.Errorf("%s is read as %d", raw, n)
			return nil
		}}.read(json.RawMessage(raw))
		if invalid, ok := err.(*Invalid); !ok || invalid.Code != CodeInvalidType {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
