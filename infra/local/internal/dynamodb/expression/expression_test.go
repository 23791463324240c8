package expression

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// item is what the expressions of the tests are about: types of all kinds, and names that are
// reserved words, functions, keywords or look like placeholders.
const item = `{
	"id":{"S":"d1"}, "n":{"N":"5"}, "big":{"N":"9007199254740993"}, "tenth":{"N":"0.1"}, "b":{"B":"AAEC"},
	"yes":{"BOOL":true}, "nil":{"NULL":true},
	"greeting":{"S":"hello world"},
	"m":{"M":{"x":{"N":"1"}}}, "l":{"L":[{"S":"two"}]},
	"ss":{"SS":["a","b"]}, "ns":{"NS":["1","2"]}, "bs":{"BS":["AA=="]},
	"status":{"S":"processed"}, "size":{"N":"7"}, "and":{"S":"or"}, ":x":{"S":"colon"},
	"begins_with":{"S":"fn"}, "dotted.name":{"S":"dot"}
}`

var names = map[string]string{
	"#status": "status", "#size": "size", "#and": "and", "#colon": ":x", "#fn": "begins_with", "#dot": "dotted.name",
}

const values = `{
	":one":{"N":"1"}, ":five":{"N":"5"}, ":fiveAgain":{"N":"5.0"}, ":seven":{"N":"7"}, ":ten":{"N":"10"},
	":big":{"N":"9007199254740992"}, ":dec":{"N":"0.2"},
	":s":{"S":"processed"}, ":hello":{"S":"hello"}, ":a":{"S":"a"}, ":z":{"S":"z"}, ":two":{"S":"two"},
	":colon":{"S":"colon"}, ":dot":{"S":"dot"},
	":b":{"B":"AAE="}, ":true":{"BOOL":true}, ":null":{"NULL":true}, ":list":{"L":[{"S":"new"}]},
	":ss":{"SS":["b","a"]}, ":ssc":{"SS":["c"]}, ":ssab":{"SS":["a","b"]}, ":ns":{"NS":["2","3"]},
	":bs":{"BS":["AQ=="]}, ":typeS":{"S":"S"}
}`

func parseItem(t testing.TB, text string) attribute.Item {
	t.Helper()
	var i attribute.Item
	if err := json.Unmarshal([]byte(text), &i); err != nil {
		t.Fatal(err)
	}
	if err := i.Normalize(); err != nil {
		t.Fatal(err)
	}
	return i
}

func somePlaceholders(t testing.TB) *Placeholders {
	t.Helper()
	var v map[string]*attribute.Value
	if err := json.Unmarshal([]byte(values), &v); err != nil {
		t.Fatal(err)
	}
	p, err := NewPlaceholders(names, v, true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		expression string
		want       bool
	}{
		{"n = :five", true},
		{"n = :fiveAgain", true},
		{"n <> :five", false},
		{"n < :ten AND n > :one", true},
		{"n <= :five and n >= :five", true},
		{"big = :big", false},
		{"big > :big", true},
		{"n = :s", false},
		{"n < :s", false},
		{"absent = :one", false},
		{"absent <> :one", true},
		{"absent < :one", false},
		{"NOT absent < :one", true},
		{"n BETWEEN :one AND :ten", true},
		{"n BETWEEN :seven AND :ten", false},
		{"greeting BETWEEN :a AND :z", true},
		{"greeting BETWEEN :one AND :ten", false},
		{"attribute_exists(n)", true},
		{"attribute_exists(absent)", false},
		{"attribute_not_exists(absent) OR absent < :one", true},
		{"attribute_not_exists(n) OR n < :ten", true},
		{"attribute_not_exists(n) OR n < :one", false},
		{"begins_with(greeting, :hello)", true},
		{"begins_with(greeting, :z)", false},
		{"begins_with(b, :b)", true},
		{"begins_with(absent, :hello)", false},
		{"begins_with(n, :hello)", false},
		{"ss = :ss", true},
		{"l = :list", false},
		{"l <> :list", true},
		{"#status = :s", true},
		{"#size = :seven", true},
		{"#and <> :s", true},
		{"#colon = :colon", true},
		{"#fn = :s", false},
		{"#dot = :dot", true},
		{"yes = :true", true},
		{"nil = :null", true},
		{"NOT n = :five", false},
		{"NOT (n = :five AND yes = :true)", false},
		{"n = :one OR n = :five AND yes = :true", true},
		{"(n = :five OR n = :one) AND id = :a", false},
		{"n = :five OR id = :a AND id = :z", true},
		{"NOT n = :one AND n = :five", true},
	} {
		t.Run(c.expression, func(t *testing.T) {
			condition, err := ParseCondition(ConditionExpression, c.expression, somePlaceholders(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := condition.Match(parseItem(t, item)); got != c.want {
				t.Errorf("is %t; want %t", got, c.want)
			}
		})
	}
}

func TestNoItemMatchesOnlyItsAbsence(t *testing.T) {
	for expression, want := range map[string]bool{
		"attribute_not_exists(id)":              true,
		"attribute_exists(id)":                  false,
		"n = :one":                              false,
		"attribute_not_exists(id) OR n < :ten":  true,
		"attribute_not_exists(m) AND n <> :ten": true,
	} {
		condition, err := ParseCondition(ConditionExpression, expression, somePlaceholders(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := condition.Match(nil); got != want {
			t.Errorf("%s is %t of no item", expression, got)
		}
	}
}

func TestConditionIsRefused(t *testing.T) {
	const (
		invalid     = "Invalid ConditionExpression: "
		notEmulated = invalid + "the local stack does not emulate "
	)
	for _, c := range []struct{ name, expression, want string }{
		{name: "empty", expression: " ", want: invalid + "The expression can not be empty;"},
		{
			name:       "reserved word",
			expression: "status = :s",
			want:       invalid + "Attribute name is a reserved keyword; reserved keyword: status",
		},
		{
			name:       "reserved word in another case",
			expression: "Name = :s",
			want:       invalid + "Attribute name is a reserved keyword; reserved keyword: Name",
		},
		{
			name:       "ttl is reserved",
			expression: "attribute_exists(ttl)",
			want:       invalid + "Attribute name is a reserved keyword; reserved keyword: ttl",
		},
		{
			name:       "undefined name",
			expression: "#nope = :s",
			want: invalid + "An expression attribute name used in the document path is not defined; " +
				"attribute name: #nope",
		},
		{
			name:       "undefined value",
			expression: "n = :nope",
			want:       invalid + "An expression attribute value used in expression is not defined; attribute value: :nope",
		},
		{name: "left over", expression: "n = :one n", want: invalid + `Syntax error; token: "n", near: ":one n"`},
		{
			name:       "second condition without AND",
			expression: "n = :one id = :a",
			want:       invalid + `Syntax error; token: "id", near: ":one id ="`,
		},
		{name: "unfinished", expression: "n =", want: invalid + `Syntax error; token: <EOF>, near: "="`},
		{name: "open parenthesis", expression: "(n = :one", want: invalid + `Syntax error; token: <EOF>, near: ":one"`},
		{name: "literal number", expression: "n = 5", want: invalid + `Syntax error; token: "5", near: "= 5"`},
		{name: "string literal", expression: "n = 'x'", want: invalid + `Syntax error; token: "'", near: "= 'x"`},
		{name: "only a path", expression: "n", want: invalid + `Syntax error; token: <EOF>, near: "n"`},
		{name: "leading underscore", expression: "_n = :one", want: invalid + `Syntax error; token: "_", near: "_n"`},
		{name: "unknown function", expression: "exists(n)", want: invalid + "Invalid function name; function: exists"},
		{
			name:       "function in another case",
			expression: "Attribute_Exists(n)",
			want:       invalid + "Invalid function name; function: Attribute_Exists",
		},
		{
			name:       "update function",
			expression: "if_not_exists(n, :one)",
			want:       invalid + "The function is not allowed in a condition expression; function: if_not_exists",
		},
		{
			name:       "prefix is a number",
			expression: "begins_with(greeting, :one)",
			want: invalid + "Incorrect operand type for operator or function; " +
				"operator or function: begins_with, operand type: N",
		},
		{
			name:       "value where a path must be",
			expression: "attribute_exists(:one)",
			want: invalid + "Operator or function requires a document path; " +
				"operator or function: attribute_exists",
		},
		{
			name:       "bounds the wrong way round",
			expression: "n BETWEEN :ten AND :one",
			want: invalid + "The BETWEEN operator requires upper bound to be greater " +
				"than or equal to lower bound; lower bound operand: AttributeValue: {N:10}, upper bound operand: AttributeValue: {N:1}",
		},
		{
			name:       "bounds of two types",
			expression: "n BETWEEN :ten AND :s",
			want: invalid + "The BETWEEN operator requires same data type for lower and upper " +
				"bounds; lower bound operand: AttributeValue: {N:10}, upper bound operand: AttributeValue: {S:processed}",
		},
		{
			name:       "list is less than",
			expression: "l < :list",
			want:       invalid + "Incorrect operand type for operator or function; operator or function: <, operand type: L",
		},
		{name: "redundant parentheses", expression: "((n = :one))", want: invalid + "The expression has redundant parentheses;"},
		{
			name:       "one operand too few",
			expression: "begins_with(greeting)",
			want:       invalid + `Syntax error; token: ")", near: "greeting)"`,
		},
		{name: "member of a map", expression: "m.x = :one", want: notEmulated + "paths into maps and lists"},
		{name: "element of a list", expression: "attribute_exists(l[0])", want: notEmulated + "paths into maps and lists"},
		{name: "member of a map by placeholder", expression: "#status.#size = :one", want: notEmulated + "paths into maps and lists"},
		{name: "attribute_type", expression: "attribute_type(n, :typeS)", want: notEmulated + "the function attribute_type"},
		{name: "contains", expression: "n = :five AND contains(ss, :a)", want: notEmulated + "the function contains"},
		{name: "size", expression: "size(greeting) > :ten", want: notEmulated + "the function size"},
		{name: "size on the right", expression: "n > size(greeting)", want: notEmulated + "comparisons with anything but a value"},
		{name: "IN", expression: "n IN (:one, :five)", want: notEmulated + "the operator IN"},
		{name: "value on the left", expression: ":five = n", want: notEmulated + "conditions that begin with a value"},
		{name: "two attributes", expression: "n = #size", want: notEmulated + "comparisons with anything but a value"},
		{name: "attribute as a bound", expression: "n BETWEEN :one AND big", want: notEmulated + "comparisons with anything but a value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseCondition(ConditionExpression, c.expression, somePlaceholders(t))
			refused(t, err, c.want)
		})
	}
}

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want %s", want)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNeighbouringGroupsAreNotRedundant(t *testing.T) {
	for _, expression := range []string{
		"((n = :one) AND (n = :five))", "(n = :one) OR (n = :five)", "((n = :one) OR n = :ten)", "(n = :ten OR (n = :one))",
		"NOT (NOT (n = :one))",
	} {
		if _, err := ParseCondition(FilterExpression, expression, somePlaceholders(t)); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	one := func() map[string]*attribute.Value {
		return map[string]*attribute.Value{":one": attribute.NewNumber("1")}
	}
	for _, c := range []struct {
		name       string
		names      map[string]string
		values     map[string]*attribute.Value
		expression string
		want       string
	}{
		{
			name:       "unused name",
			names:      map[string]string{"#a": "a", "#b": "b"},
			values:     one(),
			expression: "#a = :one",
			want: "Value provided in ExpressionAttributeNames " +
				"unused in expressions: keys: {#b}",
		},
		{name: "unused value", values: map[string]*attribute.Value{
			":one": attribute.NewNumber("1"), ":two": attribute.NewNumber("2"),
		}, expression: "a = :one", want: "Value provided in ExpressionAttributeValues unused in expressions: keys: {:two}"},
		{
			name:       "empty names",
			names:      map[string]string{},
			values:     one(),
			expression: "a = :one",
			want:       "ExpressionAttributeNames must not be empty",
		},
		{
			name:       "empty values",
			values:     map[string]*attribute.Value{},
			expression: "attribute_exists(a)",
			want:       "ExpressionAttributeValues must not be empty",
		},
		{
			name:  "names without expression",
			names: map[string]string{"#a": "a"},
			want: "ExpressionAttributeNames can only be specified when " +
				"using expressions",
		},
		{name: "values without expression", values: one(), want: "ExpressionAttributeValues can only be specified when using expressions"},
		{
			name:       "name without mark",
			names:      map[string]string{"a": "a"},
			values:     one(),
			expression: "a = :one",
			want: `ExpressionAttributeNames contains invalid key: ` +
				`Syntax error; key: "a"`,
		},
		{name: "value without mark", values: map[string]*attribute.Value{
			"one": attribute.NewNumber("1"),
		}, expression: "a = :one", want: `ExpressionAttributeValues contains invalid key: Syntax error; key: "one"`},
		{
			name: "invalid value",
			values: map[string]*attribute.Value{
				":one": attribute.NewNumber("x"),
			},
			expression: "a = :one",
			want: "ExpressionAttributeValues contains invalid value: " +
				"The parameter cannot be converted to a numeric value: x for key :one",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := NewPlaceholders(c.names, c.values, c.expression != "")
			if err == nil {
				if _, err := ParseCondition(ConditionExpression, c.expression, p); err != nil {
					t.Fatal(err)
				}
				err = p.Unused()
			}
			refused(t, err, c.want)
		})
	}
}

func FuzzExpressionsNeverPanic(f *testing.F) {
	for _, seed := range []string{
		"n = :one", "a BETWEEN :a AND :z", "SET a = if_not_exists(l, :list) REMOVE m ADD n :one",
		"begins_with(a, :a)", "((", "a, #status", "#",
		":", "NOT NOT (a = :a)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		it := parseItem(t, item)
		before, err := json.Marshal(it)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := ParseCondition(ConditionExpression, text, somePlaceholders(t)); err == nil {
			c.Match(it)
			c.Match(nil)
		}
		if u, err := ParseUpdate(text, somePlaceholders(t)); err == nil {
			u.Apply(it)
			u.Apply(nil)
		}
		if p, err := ParseProjection(text, somePlaceholders(t)); err == nil {
			p.Apply(it)
		}
		ParseKeyCondition(text, "id", "n", somePlaceholders(t))
		after, err := json.Marshal(it)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(before), string(after)); diff != "" {
			t.Errorf("evaluating changed the item (-before +after):\n%s", diff)
		}
	})
}
