package expression

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// changes applies an update and returns only the attributes that it changed; a removed one is null.
func changes(t *testing.T, expression string, before attribute.Item) string {
	t.Helper()
	u, err := ParseUpdate(expression, somePlaceholders(t))
	if err != nil {
		t.Fatal(err)
	}
	old, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	after, err := u.Apply(before)
	if err != nil {
		t.Fatal(err)
	}
	if still, _ := json.Marshal(before); string(still) != string(old) {
		t.Errorf("the update changed the old item (-before +after):\n%s", cmp.Diff(string(old), string(still)))
	}
	changed := attribute.Item{}
	for name, v := range after {
		if old := before[name]; old == nil || !attribute.Equal(old, v) {
			changed[name] = v
		}
	}
	for name := range before {
		if after[name] == nil {
			changed[name] = nil
		}
	}
	text, err := json.Marshal(changed)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestUpdate(t *testing.T) {
	for _, c := range []struct{ expression, want string }{
		{"SET fresh = :one", `{"fresh":{"N":"1"}}`},
		{"SET n = :five", `{}`},
		{"SET n = if_not_exists(n, :ten)", `{}`},
		{"SET fresh = if_not_exists(fresh, :ten)", `{"fresh":{"N":"10"}}`},
		{"SET fresh = if_not_exists(n, :ten), n = :one", `{"fresh":{"N":"5"},"n":{"N":"1"}}`},
		{"SET #status = :a, #size = if_not_exists(#size, :one), #colon = :one", `{":x":{"N":"1"},"status":{"S":"a"}}`},
		{"SET #dot = :a", `{"dotted.name":{"S":"a"}}`},
		{"REMOVE n, absent", `{"n":null}`},
		{"ADD n :one", `{"n":{"N":"6"}}`},
		{"ADD tenth :dec", `{"tenth":{"N":"0.3"}}`},
		{"ADD big :one", `{"big":{"N":"9007199254740994"}}`},
		{"ADD fresh :one", `{"fresh":{"N":"1"}}`},
		{"ADD ss :ssc, ns :ns, bs :bs", `{"bs":{"BS":["AA==","AQ=="]},"ns":{"NS":["1","2","3"]},"ss":{"SS":["a","b","c"]}}`},
		{"set n = :one remove id add fresh :one", `{"fresh":{"N":"1"},"id":null,"n":{"N":"1"}}`},
	} {
		t.Run(c.expression, func(t *testing.T) {
			if diff := cmp.Diff(c.want, changes(t, c.expression, parseItem(t, item))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUpdateOfNoItemMakesOne(t *testing.T) {
	if diff := cmp.Diff(`{"n":{"N":"1"},"ss":{"SS":["c"]}}`, changes(t, "SET n = :one ADD ss :ssc REMOVE id", nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUpdateFails(t *testing.T) {
	const (
		badType     = "An operand in the update expression has an incorrect data type"
		invalid     = "Invalid UpdateExpression: "
		notEmulated = invalid + "the local stack does not emulate "
	)
	for _, c := range []struct{ expression, want string }{
		{"ADD greeting :one", badType},
		{"ADD ss :ns", badType},
		{"SET", invalid + `Syntax error; token: <EOF>, near: "SET"`},
		{"n = :one", invalid + `Syntax error; token: "n", near: "n ="`},
		{"SET n = :one SET id = :a", invalid + `The "SET" section can only be used once in an update expression;`},
		{"SET n = :one,", invalid + `Syntax error; token: <EOF>, near: ","`},
		{"SET status = :one", invalid + "Attribute name is a reserved keyword; reserved keyword: status"},
		{"SET n = :one REMOVE n", invalid + "Two document paths overlap with each other; must remove or rewrite one of these paths; " +
			"path one: [n], path two: [n]"},
		{"ADD n :s", invalid + "Incorrect operand type for operator or function; " +
			"operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND"},
		{"ADD n n", invalid + `Syntax error; token: "n", near: "n n"`},
		{"DELETE ss :ssab", notEmulated + "the action DELETE"},
		{"SET m.x = :one", notEmulated + "paths into maps and lists"},
		{"REMOVE l[0]", notEmulated + "paths into maps and lists"},
		{"SET n = if_not_exists(m.x, :one)", notEmulated + "paths into maps and lists"},
		{"SET n = n + :one", notEmulated + "SET to anything but a value or if_not_exists"},
		{"SET n = (:one)", notEmulated + "SET to anything but a value or if_not_exists"},
		{"SET n = #size", notEmulated + "SET to anything but a value or if_not_exists"},
		{"SET n = :five - :one", notEmulated + "arithmetic; ADD counts"},
		{"SET n = if_not_exists(n, :ten) + :one", notEmulated + "arithmetic; ADD counts"},
		{"SET l = list_append(l, :list)", notEmulated + "the function list_append in an update"},
		{
			"SET n = if_not_exists(:one, :one)",
			invalid + "Operator or function requires a document path; operator or function: if_not_exists",
		},
		{"SET n = if_not_exists(n)", invalid + `Syntax error; token: ")", near: "n)"`},
	} {
		t.Run(c.expression, func(t *testing.T) {
			u, err := ParseUpdate(c.expression, somePlaceholders(t))
			if err == nil {
				_, err = u.Apply(parseItem(t, item))
			}
			refused(t, err, c.want)
		})
	}
}

func TestProjection(t *testing.T) {
	for _, c := range []struct{ expression, want string }{
		{"id, n, absent", `{"id":{"S":"d1"},"n":{"N":"5"}}`},
		{"#status,#dot", `{"dotted.name":{"S":"dot"},"status":{"S":"processed"}}`},
	} {
		t.Run(c.expression, func(t *testing.T) {
			p, err := ParseProjection(c.expression, somePlaceholders(t))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(p.Apply(parseItem(t, item)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestProjectionIsRefused(t *testing.T) {
	const invalid = "Invalid ProjectionExpression: "
	for expression, want := range map[string]string{
		"":     invalid + "The expression can not be empty;",
		"id,":  invalid + `Syntax error; token: <EOF>, near: ","`,
		"id n": invalid + `Syntax error; token: "n", near: "id n"`,
		"name": invalid + "Attribute name is a reserved keyword; reserved keyword: name",
		"m, n, m": invalid + "Two document paths overlap with each other; must remove or rewrite one of these paths; " +
			"path one: [m], path two: [m]",
		"m.x":     invalid + "the local stack does not emulate paths into maps and lists",
		":one":    invalid + `Syntax error; token: ":one", near: ":one"`,
		"id = :a": invalid + `Syntax error; token: "=", near: "id = :a"`,
	} {
		_, err := ParseProjection(expression, somePlaceholders(t))
		refused(t, err, want)
	}
}

func TestKeyCondition(t *testing.T) {
	one, ten, a := attribute.NewNumber("1"), attribute.NewNumber("10"), &attribute.Value{S: new("a")}
	for _, c := range []struct {
		expression string
		want       KeyCondition
	}{
		{"id = :a", KeyCondition{Hash: a}},
		{"(id = :a)", KeyCondition{Hash: a}},
		{"id = :a AND n = :one", KeyCondition{a, "=", []*attribute.Value{one}}},
		{"n < :one and id = :a", KeyCondition{a, "<", []*attribute.Value{one}}},
		{"(id = :a) AND (n >= :one)", KeyCondition{a, ">=", []*attribute.Value{one}}},
		{"id = :a AND n BETWEEN :one AND :ten", KeyCondition{a, "BETWEEN", []*attribute.Value{one, ten}}},
		{"id = :a AND begins_with(n, :a)", KeyCondition{a, "begins_with", []*attribute.Value{a}}},
	} {
		t.Run(c.expression, func(t *testing.T) {
			got, err := ParseKeyCondition(c.expression, "id", "n", somePlaceholders(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeyConditionIsRefused(t *testing.T) {
	for _, c := range []struct{ expression, want string }{
		{"n = :one", "Query condition missed key schema element: id"},
		{"id = :a AND greeting = :a", "Query condition missed key schema element: n"},
		{"id > :a", "Query key condition not supported"},
		{"begins_with(id, :a)", "Query key condition not supported"},
		{"id = :a OR n = :one", "Invalid operator used in KeyConditionExpression: OR"},
		{"NOT id = :a", "Invalid operator used in KeyConditionExpression: NOT"},
		{"id <> :a", "Invalid operator used in KeyConditionExpression: <>"},
		{"id = :a AND id = :z", "KeyConditionExpressions must only contain one condition per key"},
		{"id = :a AND n > :one AND n < :ten", "KeyConditionExpressions must only contain one condition per key"},
		{"id = :a AND n > :one AND greeting = :a", "Conditions can be of length 1 or 2 only"},
		{
			"id = n",
			"Invalid KeyConditionExpression: the local stack does not emulate comparisons with anything but a value",
		},
		{"id = :a AND status = :s", "Invalid KeyConditionExpression: Attribute name is a reserved keyword; reserved keyword: status"},
	} {
		t.Run(c.expression, func(t *testing.T) {
			_, err := ParseKeyCondition(c.expression, "id", "n", somePlaceholders(t))
			refused(t, err, c.want)
		})
	}
}
