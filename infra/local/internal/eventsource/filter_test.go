package eventsource

import (
	"encoding/json"
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

		{"prefix matches", `{"a":[{"prefix":"ab"}]}`, `{"a":"abc"}`, true},
		{"prefix does not match", `{"a":[{"prefix":"bc"}]}`, `{"a":"abc"}`, false},
		{"prefix does not match a number", `{"a":[{"prefix":"1"}]}`, `{"a":12}`, false},
		{"suffix matches", `{"a":[{"suffix":"bc"}]}`, `{"a":"abc"}`, true},
		{"suffix does not match", `{"a":[{"suffix":"ab"}]}`, `{"a":"abc"}`, false},
		{"equals-ignore-case matches", `{"a":[{"equals-ignore-case":"aBc"}]}`, `{"a":"AbC"}`, true},
		{"equals-ignore-case does not match", `{"a":[{"equals-ignore-case":"aBc"}]}`, `{"a":"AbCd"}`, false},

		{"anything-but matches another text", `{"a":[{"anything-but":"x"}]}`, `{"a":"y"}`, true},
		{"anything-but does not match its text", `{"a":[{"anything-but":"x"}]}`, `{"a":"x"}`, false},
		{"anything-but does not match one of its list", `{"a":[{"anything-but":["x","y"]}]}`, `{"a":"y"}`, false},
		{"anything-but does not match its number", `{"a":[{"anything-but":[1,2]}]}`, `{"a":2.0}`, false},
		{"anything-but needs a value", `{"a":[{"anything-but":"x"}]}`, `{}`, false},
		{"anything-but prefix matches", `{"a":[{"anything-but":{"prefix":"x"}}]}`, `{"a":"yx"}`, true},
		{"anything-but prefix does not match", `{"a":[{"anything-but":{"prefix":"x"}}]}`, `{"a":"xy"}`, false},
		{"anything-but suffixes do not match", `{"a":[{"anything-but":{"suffix":["x","y"]}}]}`, `{"a":"xy"}`, false},

		{"numeric equal matches", `{"a":[{"numeric":["=",10]}]}`, `{"a":1e1}`, true},
		{"numeric range holds its lower bound", `{"a":[{"numeric":[">=",1,"<",5]}]}`, `{"a":1}`, true},
		{"numeric range ends before its upper bound", `{"a":[{"numeric":[">=",1,"<",5]}]}`, `{"a":5}`, false},
		{"numeric range ends with its upper bound", `{"a":[{"numeric":[">",1,"<=",5]}]}`, `{"a":5}`, true},
		{"numeric range begins after its lower bound", `{"a":[{"numeric":[">",1,"<=",5]}]}`, `{"a":1}`, false},
		{"numeric does not match DynamoDB's numbers, which are texts", `{"a":{"N":[{"numeric":["=",1]}]}}`, `{"a":{"N":"1"}}`, false},

		{"$or needs one alternative", `{"$or":[{"a":["x"]},{"b":["y"]}]}`, `{"b":"y"}`, true},
		{"$or without one does not match", `{"$or":[{"a":["x"]},{"b":["y"]}]}`, `{"a":"y"}`, false},
		{"$or goes with its neighbours", `{"c":["z"],"$or":[{"a":["x"]},{"b":["y"]}]}`, `{"b":"y"}`, false},
		{"$or works below the top", `{"c":{"$or":[{"a":["x"]},{"b":["y"]}]}}`, `{"c":{"a":"x"}}`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseFilter([]string{tc.pattern})
			if err != nil {
				t.Fatal(err)
			}
			if got := f.admitsRecord([]byte(tc.event)); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestFilterOfMessages(t *testing.T) {
	for _, tc := range []struct {
		name     string
		patterns []string
		body     string
		want     bool
	}{
		{"no filter passes everything", nil, `text`, true},
		{"a JSON body is looked into", []string{`{"body":{"v":[1]}}`}, `{"v":1}`, true},
		{"a JSON body that differs is stopped", []string{`{"body":{"v":[1]}}`}, `{"v":2}`, false},
		{"a text is compared as one", []string{`{"body":["text"]}`}, `text`, true},
		{"a text that looks like a number is one", []string{`{"body":["12"]}`}, `12`, true},
		{"a text is not looked into", []string{`{"body":{"v":[1]}}`}, `text`, false},
		{"broken JSON is a text", []string{`{"body":{"v":[1]}}`}, `{"v":1}}`, false},
		{"a JSON body is no text", []string{`{"body":["{\"v\":1}"]}`}, `{"v":1}`, false},
		{"the second of two patterns is enough", []string{`{"body":{"v":[1]}}`, `{"body":{"v":[2]}}`}, `{"v":2}`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseFilter(tc.patterns)
			if err != nil {
				t.Fatal(err)
			}
			record, err := json.Marshal(map[string]string{"messageId": "m", "body": tc.body})
			if err != nil {
				t.Fatal(err)
			}
			if got := f.admitsMessage(record); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestFilterRefuses(t *testing.T) {
	for _, tc := range []struct{ name, pattern, want string }{
		{"what is not JSON", `{`, "FilterCriteria.Filters[0]: unexpected EOF"},
		{"what is not an object", `[]`, "FilterCriteria.Filters[0]: pattern: not an object"},
		{"two values", `{"a":["x"]}}`, "FilterCriteria.Filters[0]: more than one JSON value"},
		{"an empty object", `{"a":{}}`, "FilterCriteria.Filters[0]: a: an empty object"},
		{"an empty list", `{"a":[]}`, "FilterCriteria.Filters[0]: a: an empty list"},
		{"a value outside a list", `{"a":{"b":"x"}}`, "FilterCriteria.Filters[0]: a.b: neither an object nor a list"},
		{"a list in a list", `{"a":[["x"]]}`, "FilterCriteria.Filters[0]: a: a list in a list"},
		{"wildcard, which mappings do not have", `{"a":[{"wildcard":"*"}]}`, "FilterCriteria.Filters[0]: a: wildcard: not a supported operator"},
		{"an unknown operator", `{"a":[{"cidr":"10.0.0.0/8"}]}`, "FilterCriteria.Filters[0]: a: cidr: not a supported operator"},
		{"anything-but with an unknown operator", `{"a":[{"anything-but":{"wildcard":"*"}}]}`, "FilterCriteria.Filters[0]: a: anything-but: wildcard: not a supported operator"},
		{"anything-but null", `{"a":[{"anything-but":null}]}`, "FilterCriteria.Filters[0]: a: anything-but: neither texts nor numbers"},
		{"anything-but nothing", `{"a":[{"anything-but":[]}]}`, "FilterCriteria.Filters[0]: a: anything-but: an empty list"},
		{"anything-but with the prefix of a number", `{"a":[{"anything-but":{"prefix":1}}]}`, "FilterCriteria.Filters[0]: a: anything-but: prefix: not a text"},
		{"two operators", `{"a":[{"prefix":"x","suffix":"y"}]}`, "FilterCriteria.Filters[0]: a: 2 operators where one is expected"},
		{"exists with a text", `{"a":[{"exists":"yes"}]}`, "FilterCriteria.Filters[0]: a: exists: neither true nor false"},
		{"prefix of a number", `{"a":[{"prefix":1}]}`, "FilterCriteria.Filters[0]: a: prefix: not a text"},
		{"numeric with a text", `{"a":[{"numeric":["=","1"]}]}`, "FilterCriteria.Filters[0]: a: numeric: 1 is not a number"},
		{"numeric with an unknown comparison", `{"a":[{"numeric":["!=",1]}]}`, "FilterCriteria.Filters[0]: a: numeric: != is not a comparison"},
		{"numeric with the upper bound first", `{"a":[{"numeric":["<",1,">",0]}]}`, "FilterCriteria.Filters[0]: a: numeric: two comparisons must be a lower and then an upper bound"},
		{"numeric with half a comparison", `{"a":[{"numeric":["<"]}]}`, "FilterCriteria.Filters[0]: a: numeric: not a list of one or two comparisons"},
		{"$or of one", `{"$or":[{"a":["x"]}]}`, "FilterCriteria.Filters[0]: $or: not a list of two objects or more"},
		{"$or of texts", `{"$or":["x","y"]}`, "FilterCriteria.Filters[0]: $or: not an object"},
		{"a pattern that is too long", `{"a":["` + strings.Repeat("x", maxPattern) + `"]}`, "FilterCriteria.Filters[0]: longer than 4096 characters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := parseFilter([]string{tc.pattern}); err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	t.Run("more than ten", func(t *testing.T) {
		if _, err := parseFilter(make([]string, 11)); err == nil {
			t.Error("no error")
		}
	})
}

func FuzzFilter(f *testing.F) {
	f.Add(`{"a":[{"anything-but":{"prefix":"x"}}],"$or":[{"b":[1]},{"c":[null]}]}`, `{"a":"y","b":[1,{}]}`)
	f.Add(`{"a":[{"numeric":[">",1,"<=",5]}]}`, `{"a":3}`)
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
		if one.admitsRecord([]byte(event)) != two.admitsRecord([]byte(event)) {
			t.Error("the same pattern twice matches something else")
		}
	})
}
