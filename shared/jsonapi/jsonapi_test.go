package jsonapi

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRequestReadsPointersAndAttributes(t *testing.T) {
	for _, test := range []struct {
		name, body, pointer string
		attributes          int
	}{
		{"with attributes", `{"data":{"type":"thing","id":"1","attributes":{"a":1,"@b":2}}}`, "/data/attributes", 2},
		{"without attributes", `{"data":{"type":"thing","id":"1"}}`, "/data", 0},
		{"with members that mean nothing", `{"data":{"type":"thing","id":"1","meta":null,"links":5,"x":[]},"included":1}`, "/data", 0},
		{"16 deep", `{"data":{"type":"thing","id":"1"},"x":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`, "/data", 0},
		{"with one name in several objects", `{"data":{"type":"thing","id":"1"},"type":{"type":[{"type":1},{"type":2}]}}`, "/data", 0},
		{"with surrogate pairs", `{"data":{"type":"thing","id":"1"},"x":"\uD83D\uDE00\\ud83d\ud83d\ude00"}`, "/data", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := ParseRequest([]byte(test.body), "thing", RequireID("1"))
			if err != nil {
				t.Fatal(err)
			}
			if r.Pointer != test.pointer || len(r.Attributes) != test.attributes {
				t.Errorf("pointer %q and %d attributes, want %q and %d", r.Pointer, len(r.Attributes), test.pointer, test.attributes)
			}
		})
	}
}

func TestIDRules(t *testing.T) {
	for _, test := range []struct {
		name string
		rule IDRule
		id   string // as JSON; "" for none
		want string // the code of the error, "" for none
	}{
		{"creation has no id", RefuseID(), "", ""},
		{"creation refuses any id", RefuseID(), `"1"`, CodeClientID},
		{"creation refuses an empty id", RefuseID(), `""`, CodeClientID},
		{"an action needs no id", AllowID("1"), "", ""},
		{"an action takes its id", AllowID("1"), `"1"`, ""},
		{"an action refuses another id", AllowID("1"), `"2"`, CodeIDConflict},
		{"an action refuses null", AllowID("1"), `null`, CodeInvalidType},
		{"an update needs its id", RequireID("1"), "", CodeRequired},
		{"an update takes its id", RequireID("1"), `"\u0031"`, ""},
		{"an update refuses a number", RequireID("1"), `1`, CodeInvalidType},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := `{"data":{"type":"thing"}}`
			if test.id != "" {
				body = `{"data":{"type":"thing","id":` + test.id + `}}`
			}
			_, err := ParseRequest([]byte(body), "thing", test.rule)
			got := ""
			if problems, ok := err.(Errors); ok {
				got = problems[0].Code
			}
			if got != test.want {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestReadIntegers(t *testing.T) {
	for raw, want := range map[string]int64{
		"0": 0, "-0": 0, "7": 7, "-7": -7, "1.0": 1, "1e3": 1000, "1.5e1": 15, "-2.0E0": -2,
		"9223372036854775807": math.MaxInt64, "9223372036854775808": math.MaxInt64, "-1e19": math.MinInt64, "1e400": math.MaxInt64, "-1e400": math.MinInt64,
	} {
		got := int64(99)
		r := Request{Attributes: Object{"n": json.RawMessage(raw)}}
		if err := r.Read(map[string]Attribute{"n": {Integer: func(n int64) { got = n }}}); len(err) > 0 || got != want {
			t.Errorf("%s is read as %d (%v), want %d", raw, got, err, want)
		}
	}
	for _, raw := range []string{"0.5", "1e-1", `"1"`, "true", "null", "[]", "{}", "[1]"} {
		r := Request{Attributes: Object{"n": json.RawMessage(raw)}}
		if err := r.Read(map[string]Attribute{"n": {Integer: func(n int64) { t.Errorf("%s is read as %d", raw, n) }}}); len(err) != 1 || err[0].Code != CodeInvalidType {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestErrorsMarshal(t *testing.T) {
	for _, test := range []struct {
		name   string
		errors Errors
		want   string
	}{
		{"without a source", NewError(404, "not_found", "no %s", "thing"), `[{"id":"","status":"404","code":"not_found","title":"","detail":"no thing"}]`},
		{"with a pointer to the whole document", NewError(422, "x", "d").AtPointer(""), `[{"id":"","status":"422","code":"x","title":"","detail":"d","source":{"pointer":""}}]`},
		{"with a parameter", NewError(400, "x", "d").AtParameter("page[size]"), `[{"id":"","status":"400","code":"x","title":"","detail":"d","source":{"parameter":"page[size]"}}]`},
		{"with a header", NewError(406, "x", "d").AtHeader("Accept"), `[{"id":"","status":"406","code":"x","title":"","detail":"d","source":{"header":"Accept"}}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := json.Marshal(test.errors)
			if diff := cmp.Diff(test.want, string(got)); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestQueryTakesBracketsBothWays(t *testing.T) {
	for _, raw := range []string{"page[size]=7", "page%5Bsize%5D=7", "page%5bsize]=7", "&page[size]=7&"} {
		q := ParseQuery(raw, PageSize)
		if size := q.Size(); size != 7 || q.Err() != nil {
			t.Errorf("%s: size %d, %v", raw, size, q.Err())
		}
	}
}

func TestLinksKeepTheFilters(t *testing.T) {
	q := ParseQuery("page[size]=2&filter[a]=x%26y+z&page[after]=OLD", PageSize, PageAfter, "filter[a]")
	if err := q.Err(); err != nil {
		t.Fatal(err)
	}
	next := "/things?filter%5Ba%5D=x%26y+z&page%5Bafter%5D=NEW&page%5Bsize%5D=2"
	want := &Links{Self: "/things?filter%5Ba%5D=x%26y+z&page%5Bafter%5D=OLD&page%5Bsize%5D=2", First: "/things?filter%5Ba%5D=x%26y+z&page%5Bsize%5D=2", Next: &next}
	if diff := cmp.Diff(want, q.Links("/things", "NEW")); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	want.Next = nil
	if diff := cmp.Diff(want, q.Links("/things", "")); diff != "" {
		t.Errorf("links of the last page (-want +got):\n%s", diff)
	}
}

func TestScopeLeavesPagesOut(t *testing.T) {
	q := ParseQuery("page[size]=2&b=2&page[after]=x&a=1", PageSize, PageAfter, "a", "b")
	if err := q.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "1", "b", "2"}, q.Scope()); diff != "" {
		t.Errorf("scope (-want +got):\n%s", diff)
	}
}

func TestScopesCannotBeConfused(t *testing.T) {
	c := Cursor{"a", "b"}
	scopes := [][]string{nil, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {`a","b`}, {"a", "b", ""}}
	for i, scope := range scopes {
		for j, other := range scopes {
			q := ParseQuery(PageAfter+"="+c.Encode(scope...), PageAfter)
			got, err := q.Cursor(func(Cursor) bool { return true }, other...)
			if (err == nil) != (i == j) {
				t.Errorf("a cursor of the scope %q in the scope %q: %q, %v", scope, other, got, err)
			}
		}
	}
}

// FuzzMembers: what is accepted has no member twice in one object, and what is wrong with its
// attributes is told with pointers to something that is there.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"type":"thing","id":"1","attributes":{"text":"a","texts":["a"],"bool":true,"integer":1,"@x":0}}}`,
		`{"data":{"type":"thing","type":"thing"}}`, `{"data":{"\u0074ype":"thing","type":"thing"}}`, `{"a":"\ud800"}`, "\ufeff{}", `[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]`, `{"data":1e999}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body, "thing", AllowID("1"))
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is accepted and no JSON", body)
		}
		if repeats(t, string(body)) {
			t.Fatalf("%q is accepted and repeats a member", body)
		}
		nothing := map[string]Attribute{"text": {Text: func(string) {}}, "texts": {Texts: func([]string) {}}, "bool": {Bool: func(bool) {}}, "integer": {Integer: func(int64) {}}}
		for _, problem := range r.Read(nothing) {
			if pointer := *problem.Source.Pointer; !points(body, pointer) {
				t.Fatalf("%q: the pointer %q points to nothing", body, pointer)
			}
		}
	})
}

// repeats reports whether an object has a member twice, in another way than validate does: what is
// decoded and encoded again has fewer members.
func repeats(t *testing.T, body string) bool {
	t.Helper()
	var value any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return tokens(t, string(again)) != tokens(t, body)
}

func tokens(t *testing.T, text string) (n int) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	for {
		if _, err := decoder.Token(); err != nil {
			return n
		}
		n++
	}
}

// points reports whether a JSON Pointer of depth 3 or less points to something.
func points(body []byte, pointer string) bool {
	value := json.RawMessage(body)
	if pointer == "" {
		return true
	}
	for step := range strings.SplitSeq(pointer[1:], "/") {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil {
			return false
		}
		var ok bool
		if value, ok = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]; !ok {
			return false
		}
	}
	return true
}
