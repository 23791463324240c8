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
		{"the template's passes an insert", dispatch, `{"eventName":"INSERT","dynamodb":{"NewImage":{"status":{"S":"x"}}}}`, true},
		{"the template's stops a removal", dispatch, `{"eventName":"REMOVE","dynamodb":{"OldImage":{"status":{"S":"x"}}}}`, false},
		{"the template's stops what has no status", dispatch, `{"eventName":"INSERT","dynamodb":{"NewImage":{"id":{"S":"x"}}}}`, false},
		{"the template's stops a status that is no text", dispatch, `{"eventName":"INSERT","dynamodb":{"NewImage":{"status":{"N":"1"}}}}`, false},

		{"a listed text matches", `{"a":["x","y"]}`, `{"a":"y"}`, true},
		{"another text does not", `{"a":["x","y"]}`, `{"a":"z"}`, false},
		{"case matters", `{"a":["x"]}`, `{"a":"X"}`, false},
		{"a number is compared by value", `{"a":[1]}`, `{"a":1.0}`, true},
		{"a number is no text", `{"a":[1]}`, `{"a":"1"}`, false},
		{"a text is no number", `{"a":["1"]}`, `{"a":1}`, false},
		{"true matches true", `{"a":[true]}`, `{"a":true}`, true},
		{"true does not match false", `{"a":[true]}`, `{"a":false}`, false},
		{"null matches null", `{"a":[null]}`, `{"a":null}`, true},
		{"null does not match what is missing", `{"a":[null]}`, `{}`, false},
		{"null does not match an empty text", `{"a":[null]}`, `{"a":""}`, false},
		{"an empty text matches an empty text", `{"a":[""]}`, `{"a":""}`, true},
		{"one of a list's values matches", `{"a":["x"]}`, `{"a":["z","x"]}`, true},
		{"none of a list's values does not", `{"a":["x"]}`, `{"a":["z"]}`, false},
		{"every field must match", `{"a":["x"],"b":["y"]}`, `{"a":"x","b":"z"}`, false},
		{"fields that the pattern does not name do not matter", `{"a":["x"]}`, `{"a":"x","b":"z"}`, true},
		{"one object of a list matches", `{"a":{"b":["x"],"c":["y"]}}`, `{"a":[{"b":"x","c":"z"},{"b":"x","c":"y"}]}`, true},
		{"halves of two objects do not", `{"a":{"b":["x"],"c":["y"]}}`, `{"a":[{"b":"x"},{"c":"y"}]}`, false},

		{"exists matches null", `{"a":[{"exists":true}]}`, `{"a":null}`, true},
		{"exists does not match what is missing", `{"a":[{"exists":true}]}`, `{}`, false},
		{"exists is for leaves", `{"a":[{"exists":true}]}`, `{"a":{"b":1}}`, false},
		{"not exists matches what is missing", `{"a":[{"exists":false}]}`, `{"b":1}`, true},
		{"not exists matches below what is missing", `{"a":{"b":[{"exists":false}]}}`, `{}`, true},
		{"not exists matches below a text", `{"a":{"b":[{"exists":false}]}}`, `{"a":"x"}`, true},
		{"not exists does not match what is there", `{"a":[{"exists":false}]}`, `{"a":1}`, false},
		{"missing or a value", `{"a":[{"exists":false},"x"]}`, `{"a":"x"}`, true},
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
