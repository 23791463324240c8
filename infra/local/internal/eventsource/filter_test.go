package eventsource

import (
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	const dispatch = `{"eventName":["INSERT","MODIFY"],"dynamodb":{"NewImage":{"status":{"S":[{"exists":true}]}}}}`
	for _, tc := range []struct {
		name, pattern, event string
		want                 bool
	}{
		{
			name:    "the template's passes an insert",
			pattern: dispatch,
			event:   `{"eventName":"INSERT","dynamodb":{"NewImage":{"status":{"S":"x"}}}}`,
			want:    true,
		},
		{
			name:    "the template's stops a removal",
			pattern: dispatch,
			event:   `{"eventName":"REMOVE","dynamodb":{"OldImage":{"status":{"S":"x"}}}}`,
		},
		{
			name:    "the template's stops what has no status",
			pattern: dispatch,
			event:   `{"eventName":"INSERT","dynamodb":{"NewImage":{"id":{"S":"x"}}}}`,
		},
		{
			name:    "the template's stops a status that is no text",
			pattern: dispatch,
			event:   `{"eventName":"INSERT","dynamodb":{"NewImage":{"status":{"N":"1"}}}}`,
		},

		{name: "a listed text matches", pattern: `{"a":["x","y"]}`, event: `{"a":"y"}`, want: true},
		{name: "another text does not", pattern: `{"a":["x","y"]}`, event: `{"a":"z"}`},
		{name: "case matters", pattern: `{"a":["x"]}`, event: `{"a":"X"}`},
		{name: "a number is compared by value", pattern: `{"a":[1]}`, event: `{"a":1.0}`, want: true},
		{name: "a number is no text", pattern: `{"a":[1]}`, event: `{"a":"1"}`},
		{name: "a text is no number", pattern: `{"a":["1"]}`, event: `{"a":1}`},
		{name: "true matches true", pattern: `{"a":[true]}`, event: `{"a":true}`, want: true},
		{name: "true does not match false", pattern: `{"a":[true]}`, event: `{"a":false}`},
		{name: "null matches null", pattern: `{"a":[null]}`, event: `{"a":null}`, want: true},
		{name: "null does not match what is missing", pattern: `{"a":[null]}`, event: `{}`},
		{name: "null does not match an empty text", pattern: `{"a":[null]}`, event: `{"a":""}`},
		{name: "an empty text matches an empty text", pattern: `{"a":[""]}`, event: `{"a":""}`, want: true},
		{name: "one of a list's values matches", pattern: `{"a":["x"]}`, event: `{"a":["z","x"]}`, want: true},
		{name: "none of a list's values does not", pattern: `{"a":["x"]}`, event: `{"a":["z"]}`},
		{name: "every field must match", pattern: `{"a":["x"],"b":["y"]}`, event: `{"a":"x","b":"z"}`},
		{name: "fields that the pattern does not name do not matter", pattern: `{"a":["x"]}`, event: `{"a":"x","b":"z"}`, want: true},
		{
			name:    "one object of a list matches",
			pattern: `{"a":{"b":["x"],"c":["y"]}}`,
			event:   `{"a":[{"b":"x","c":"z"},{"b":"x","c":"y"}]}`,
			want:    true,
		},
		{name: "halves of two objects do not", pattern: `{"a":{"b":["x"],"c":["y"]}}`, event: `{"a":[{"b":"x"},{"c":"y"}]}`},

		{name: "exists matches null", pattern: `{"a":[{"exists":true}]}`, event: `{"a":null}`, want: true},
		{name: "exists does not match what is missing", pattern: `{"a":[{"exists":true}]}`, event: `{}`},
		{name: "exists is for leaves", pattern: `{"a":[{"exists":true}]}`, event: `{"a":{"b":1}}`},
		{name: "not exists matches what is missing", pattern: `{"a":[{"exists":false}]}`, event: `{"b":1}`, want: true},
		{name: "not exists matches below what is missing", pattern: `{"a":{"b":[{"exists":false}]}}`, event: `{}`, want: true},
		{name: "not exists matches below a text", pattern: `{"a":{"b":[{"exists":false}]}}`, event: `{"a":"x"}`, want: true},
		{name: "not exists does not match what is there", pattern: `{"a":[{"exists":false}]}`, event: `{"a":1}`},
		{name: "missing or a value", pattern: `{"a":[{"exists":false},"x"]}`, event: `{"a":"x"}`, want: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseFilter([]string{tc.pattern})
			if err != nil {
				t.Fatal(err)
			}
			if got := f.admits([]byte(tc.event)); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestFilterPassesWhatOnePatternMatches(t *testing.T) {
	for name, test := range map[string]struct {
		patterns []string
		record   string
		want     bool
	}{
		"everything without a pattern": {record: `{"v":1}`, want: true},
		"the second of two is enough":  {patterns: []string{`{"v":[1]}`, `{"v":[2]}`}, record: `{"v":2}`, want: true},
		"none of two is not":           {patterns: []string{`{"v":[1]}`, `{"v":[2]}`}, record: `{"v":3}`},
		"what is not JSON is not":      {patterns: []string{`{"v":[1]}`}, record: `{"v":1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := parseFilter(test.patterns)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.admits([]byte(test.record)); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestFilterRefuses(t *testing.T) {
	for _, tc := range []struct{ name, pattern, want string }{
		{"what is not JSON", `{`, "FilterCriteria.Filters[0]: unexpected end of JSON input"},
		{"what is not an object", `[]`, "FilterCriteria.Filters[0]: pattern: not an object"},
		{"two values", `{"a":["x"]}}`, "FilterCriteria.Filters[0]: invalid character '}' after top-level value"},
		{"an empty object", `{"a":{}}`, "FilterCriteria.Filters[0]: a: an empty object"},
		{"an empty list", `{"a":[]}`, "FilterCriteria.Filters[0]: a: an empty list"},
		{"a value outside a list", `{"a":{"b":"x"}}`, "FilterCriteria.Filters[0]: a.b: neither an object nor a list"},
		{"a list in a list", `{"a":[["x"]]}`, "FilterCriteria.Filters[0]: a: a list in a list"},
		{"exists and another operator", `{"a":[{"exists":"yes","prefix":"x"}]}`, "FilterCriteria.Filters[0]: a: " +
			"an object of 2 members, not of one operator"},
		{"an object without an operator", `{"a":[{}]}`, "FilterCriteria.Filters[0]: a: an object of 0 members, not of one operator"},
		{"exists with a text", `{"a":[{"exists":"yes"}]}`, "FilterCriteria.Filters[0]: a: exists: neither true nor false"},
		{"a pattern that is too long", `{"a":["` + strings.Repeat("x", maxPattern) + `"]}`, "FilterCriteria.Filters[0]: " +
			"longer than 4096 characters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := parseFilter([]string{tc.pattern}); err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	for _, operator := range []string{"prefix", "suffix", "equals-ignore-case", "anything-but", "numeric", "wildcard", "cidr"} {
		t.Run("the operator "+operator, func(t *testing.T) {
			_, err := parseFilter([]string{`{"a":[{"` + operator + `":"x"}]}`})
			if err == nil || !strings.Contains(err.Error(), "the operator "+operator+" is not supported by the local stack") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("$or", func(t *testing.T) {
		_, err := parseFilter([]string{`{"c":{"$or":[{"a":["x"]},{"b":["y"]}]}}`})
		if err == nil || !strings.Contains(err.Error(), "c.$or is not supported by the local stack") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("more than ten", func(t *testing.T) {
		if _, err := parseFilter(make([]string, 11)); err == nil {
			t.Error("no error")
		}
	})
}

func FuzzFilter(f *testing.F) {
	f.Add(`{"a":["y"],"b":[1],"c":[null,true]}`, `{"a":"y","b":[1,{}]}`)
	f.Add(`{"a":{"b":[{"exists":false}]}}`, `[[]]`)
	f.Fuzz(func(t *testing.T, pattern, event string) {
		one, err := parseFilter([]string{pattern})
		if err != nil {
			return
		}
		two, err := parseFilter([]string{pattern, pattern})
		if err != nil {
			t.Fatal(err)
		}
		if one.admits([]byte(event)) != two.admits([]byte(event)) {
			t.Error("the same pattern twice matches something else")
		}
	})
}
