package jsonapi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// thing is the schema of a resource without attributes.
func thing(rule IDRule) Schema { return Schema{Type: "thing", ID: rule} }

func TestReadRequestFindsAttributes(t *testing.T) {
	for _, test := range []struct {
		name, body, pointer string
		attributes          int
	}{
		{"with attributes", `{"data":{"type":"thing","id":"1","attributes":{"a":1,"@b":2}}}`, "/data/attributes", 2},
		{"with a local id and no relationships", `{"data":{"type":"thing","id":"1","lid":"x","relationships":{}}}`, "/data", 0},
		{"without attributes", `{"data":{"type":"thing","id":"1"}}`, "/data", 0},
		{"with members that mean nothing", `{"data":{"type":"thing","id":"1","meta":null,"links":5,"x":[]},"included":1}`, "/data", 0},
		{"16 deep", `{"data":{"type":"thing","id":"1"},"x":` +
			strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`, "/data", 0},
		{"with one name in several objects", `{"data":{"type":"thing","id":"1"},"type":{"type":[{"type":1},{"type":2}]}}`, "/data", 0},
		{"with surrogate pairs", `{"data":{"type":"thing","id":"1"},"x":"\uD83D\uDE00\\ud83d\ud83d\ude00"}`, "/data", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			schema := thing(RequireID("1"))
			schema.Attributes = map[string]Attribute{"a": {Integer: func(int64) error { return nil }}}
			r := ReadRequest([]byte(test.body), schema)
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			if r.pointer != test.pointer || len(r.attributes) != test.attributes {
				t.Errorf("pointer %q and %d attributes, want %q and %d", r.pointer, len(r.attributes), test.pointer, test.attributes)
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
			err := ReadRequest([]byte(body), thing(test.rule)).Err()
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

// shown is an error object that has a pointer.
type shown struct {
	Status                int
	Code, Pointer, Detail string
}

func show(t *testing.T, err error) []shown {
	t.Helper()
	var all []shown
	problems, ok := err.(Errors)
	if !ok {
		t.Fatalf("not Errors: %v", err)
	}
	for _, e := range problems {
		all = append(all, shown{Status: e.Status, Code: e.Code, Pointer: *e.Source.Pointer, Detail: e.Detail})
	}
	return all
}

func TestReadRequestTellsAllProblems(t *testing.T) {
	at := func(name string) string { return "/data/attributes/" + name }
	none := func(string) error { return nil }
	body := `{"data":{"type":"other","id":1,"lid":2,"relationships":{"x":{}},"attributes":{
		"elements":["a","b"],"excluded":"x","fixed":8,"known":"x","missing~/":1,"made":1,"text":5}}}`
	r := ReadRequest([]byte(body), Schema{Type: "thing", ID: RequireID("1"), Attributes: map[string]Attribute{
		"elements": {Texts: func([]string) error {
			return errors.Join(&Invalid{At: "/0", Code: "odd", Detail: "is odd"}, &Invalid{At: "/1", Code: "even", Detail: "is even"})
		}},
		"excluded": {Text: none, NotWith: "known"},
		"fixed":    {ReadOnly: true, Value: json.RawMessage("7")},
		"known":    {Text: func(string) error { return Invalidf("wrong", "must be %s", "right") }},
		"made":     {ReadOnly: true},
		"required": {Text: none, Required: true},
		"spared":   {Text: none, Required: true, Unless: "known"},
		"text":     {Text: none},
	}})
	want := []shown{
		{409, CodeTypeConflict, "/data/type", `type must be "thing" here`},
		{422, CodeInvalidType, "/data/id", "id must be a string"},
		{422, CodeInvalidType, "/data/lid", "lid must be a string"},
		{422, CodeUnsupported, "/data/relationships", "relationships are not supported here"},
		{422, "odd", at("elements/0"), "elements/0 is odd"},
		{422, "even", at("elements/1"), "elements/1 is even"},
		{422, CodeNotAllowed, at("excluded"), "excluded does not go with known"},
		{422, CodeReadOnly, at("fixed"), "fixed cannot be changed; it may be left out, or be as it was read"},
		{422, "wrong", at("known"), "known must be right"},
		{422, CodeReadOnly, at("made"), "made cannot be set"},
		{422, CodeUnknownAttribute, at("missing~0~1"), "there is no such attribute"},
		{422, CodeInvalidType, at("text"), "text must be a string"},
		{422, CodeRequired, "/data/attributes", "required is required"},
	}
	if diff := cmp.Diff(want, show(t, r.Err())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestWhatIsMissingIsSaidWithItsAlternative(t *testing.T) {
	none := func(string) error { return nil }
	r := ReadRequest([]byte(`{"data":{"type":"thing"}}`), Schema{Type: "thing", Attributes: map[string]Attribute{
		"a": {Text: none},
		"b": {Text: none, Required: true, Unless: "a"},
		"c": {Text: none, Required: true, NotWith: "a"},
	}})
	want := []shown{
		{422, CodeRequired, "/data", "b is required without a"},
		{422, CodeRequired, "/data", "c is required without a"},
	}
	if diff := cmp.Diff(want, show(t, r.Err())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestReadOnlyAttributesMayBeRepeated(t *testing.T) {
	for value, repeated := range map[string]bool{
		`null`: true, `"null"`: false, `{"a":[1,2]}`: true, `{"a":[2,1]}`: false, `7`: true, `7.0`: true, `"7"`: false,
	} {
		has := map[byte]string{'n': "null", '"': "null", '{': `{ "a": [1, 2] }`, '7': "7"}[value[0]]
		r := ReadRequest([]byte(`{"data":{"type":"thing","attributes":{"fixed":`+value+`}}}`), Schema{
			Type: "thing", Attributes: map[string]Attribute{"fixed": {ReadOnly: true, Value: json.RawMessage(has)}},
		})
		if (r.Err() == nil) != repeated {
			t.Errorf("%s of an attribute that is %s: %v", value, has, r.Err())
		}
	}
}

func TestReadersMayFail(t *testing.T) {
	broken := errors.New("broken")
	fails := func(string) error { return errors.Join(Invalidf("wrong", "is wrong"), broken) }
	r := ReadRequest([]byte(`{"data":{"type":"other","attributes":{"a":""}}}`), Schema{
		Type: "thing", Attributes: map[string]Attribute{"a": {Text: fails}},
	})
	q := ParseQuery("a=&b=", Parameters{"a": fails})
	for name, err := range map[string]error{"a request": r.Err(), "a query": q.Err(), "both": Join(q.Err(), r.Err())} {
		var problems Errors
		if !errors.Is(err, broken) || errors.As(err, &problems) {
			t.Errorf("%s answers %v", name, err)
		}
	}
}

// FuzzMembers: what is accepted has no member twice in one object, and what is wrong is told with
// pointers to something that is there.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"type":"thing","id":"1","attributes":{"text":"a","texts":["a"],"bool":true,"integer":1,"@x":0}}}`,
		`{"data":{"type":"thing","type":"thing"}}`, `{"data":{"\u0074ype":"thing","type":"thing"}}`, `{"a":"\ud800"}`, "\ufeff{}",
		`[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]`, `{"data":1e999}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		schema := thing(AllowID("1"))
		schema.Attributes = map[string]Attribute{
			"text":    {Text: func(string) error { return nil }, Required: true},
			"texts":   {Texts: func([]string) error { return nil }, NotWith: "text"},
			"bool":    {Bool: func(bool) error { return nil }, Required: true, Unless: "text"},
			"integer": {Integer: func(int64) error { return nil }},
			"fixed":   {ReadOnly: true, Value: json.RawMessage("1")},
		}
		err := ReadRequest(body, schema).Err()
		problems, _ := err.(Errors)
		for _, problem := range problems {
			if problem.Source == nil {
				return // it is not JSON to the letter
			}
			if pointer := *problem.Source.Pointer; !points(body, pointer) {
				t.Fatalf("%q: the pointer %q points to nothing", body, pointer)
			}
		}
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is accepted and no JSON", body)
		}
		if twice(t, string(body)) {
			t.Fatalf("%q is accepted and repeats a member", body)
		}
	})
}

// twice reports whether an object has a member twice, in another way than validate does: what is
// decoded and encoded again has fewer members.
func twice(t *testing.T, body string) bool {
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
