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
		{"SET n = n + :one", `{"n":{"N":"6"}}`},
		{"SET n = n - :ten", `{"n":{"N":"-5"}}`},
		{"SET tenth = tenth + :dec", `{"tenth":{"N":"0.3"}}`},
		{"SET big = big + :one", `{"big":{"N":"9007199254740994"}}`},
		{"SET n = :five", `{}`},
		{"SET n = if_not_exists(n, :ten)", `{}`},
		{"SET fresh = if_not_exists(fresh, :ten)", `{"fresh":{"N":"10"}}`},
		{"SET fresh = if_not_exists(fresh, :ten) + :one", `{"fresh":{"N":"11"}}`},
		{"SET l = list_append(l, :list)", `{"l":{"L":[{"N":"1"},{"S":"two"},{"M":{"k":{"S":"v"}}},{"S":"new"}]}}`},
		{"SET l = list_append(:list, l)", `{"l":{"L":[{"S":"new"},{"N":"1"},{"S":"two"},{"M":{"k":{"S":"v"}}}]}}`},
		{"SET fresh = list_append(if_not_exists(fresh, :nolist), :list)", `{"fresh":{"L":[{"S":"new"}]}}`},
		{"SET fresh = list_append(:nolist, :nolist)", `{"fresh":{"L":[]}}`},
		{"SET m.x = :ten", `{"m":{"M":{"deep":{"M":{"l":{"L":[{"S":"p"},{"S":"q"}]}}},"size":{"S":"big"},"x":{"N":"10"}}}}`},
		{"SET m.deep.l[0] = :a, m.x = m.x + :one", `{"m":{"M":{"deep":{"M":{"l":{"L":[{"S":"a"},{"S":"q"}]}}},"size":{"S":"big"},` +
			`"x":{"N":"2"}}}}`},
		{"SET l[1] = :a", `{"l":{"L":[{"N":"1"},{"S":"a"},{"M":{"k":{"S":"v"}}}]}}`},
		{"SET l[2].k = :a", `{"l":{"L":[{"N":"1"},{"S":"two"},{"M":{"k":{"S":"a"}}}]}}`},
		{"SET l[77] = :a", `{"l":{"L":[{"N":"1"},{"S":"two"},{"M":{"k":{"S":"v"}}},{"S":"a"}]}}`},
		{"SET id = greeting, greeting = id", `{"greeting":{"S":"d1"},"id":{"S":"hello world"}}`},
		{"SET #status = :a, #size = #size + :one, #colon = :one", `{":x":{"N":"1"},"size":{"N":"8"},"status":{"S":"a"}}`},
		{"SET #dot = :a", `{"dotted.name":{"S":"a"}}`},
		{"REMOVE n, absent", `{"n":null}`},
		{"REMOVE l[0], l[2]", `{"l":{"L":[{"S":"two"}]}}`},
		{"REMOVE l[2], l[0]", `{"l":{"L":[{"S":"two"}]}}`},
		{"REMOVE l[9]", `{}`},
		{"REMOVE m.x, m.deep.l[1]", `{"m":{"M":{"deep":{"M":{"l":{"L":[{"S":"p"}]}}},"size":{"S":"big"}}}}`},
		{"REMOVE m.absent", `{}`},
		{"SET l[1] = :a REMOVE l[0]", `{"l":{"L":[{"S":"a"},{"M":{"k":{"S":"v"}}}]}}`},
		{"ADD n :one", `{"n":{"N":"6"}}`},
		{"ADD fresh :one", `{"fresh":{"N":"1"}}`},
		{"ADD m.x :one", `{"m":{"M":{"deep":{"M":{"l":{"L":[{"S":"p"},{"S":"q"}]}}},"size":{"S":"big"},"x":{"N":"2"}}}}`},
		{"ADD ss :ssc, ns :ns, bs :bs", `{"bs":{"BS":["AA==","AQ=="]},"ns":{"NS":["1","2","3"]},"ss":{"SS":["a","b","c"]}}`},
		{"DELETE ns :ns", `{"ns":{"NS":["1"]}}`},
		{"DELETE ss :ssab", `{"ss":null}`},
		{"DELETE absent :ssab", `{}`},
		{"set n = :one remove id add fresh :one delete ns :ns", `{"fresh":{"N":"1"},"id":null,"n":{"N":"1"},"ns":{"NS":["1"]}}`},
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
		noAttribute = "The provided expression refers to an attribute that does not exist in the item"
		badPath     = "The document path provided in the update expression is invalid for update"
		badType     = "An operand in the update expression has an incorrect data type"
		invalid     = "Invalid UpdateExpression: "
	)
	for _, c := range []struct{ expression, want string }{
		{"SET n = absent + :one", noAttribute},
		{"SET n = absent", noAttribute},
		{"SET greeting = greeting + :one", badType},
		{"SET n = list_append(n, :list)", badType},
		{"SET absent.x = :one", badPath},
		{"SET n.x = :one", badPath},
		{"SET m[0] = :one", badPath},
		{"SET l.x = :one", badPath},
		{"REMOVE absent.x", badPath},
		{"ADD greeting :one", badType},
		{"ADD ss :ns", badType},
		{"DELETE ss :ns", badType},
		{"SET", invalid + `Syntax error; token: <EOF>, near: "SET"`},
		{"n = :one", invalid + `Syntax error; token: "n", near: "n ="`},
		{"SET n = :one SET id = :a", invalid + `The "SET" section can only be used once in an update expression;`},
		{"SET n = :one,", invalid + `Syntax error; token: <EOF>, near: ","`},
		{"SET status = :one", invalid + "Attribute name is a reserved keyword; reserved keyword: status"},
		{"SET m.x = :one, m = :map", invalid + "Two document paths overlap with each other; " +
			"must remove or rewrite one of these paths; path one: [m, x], path two: [m]"},
		{"SET n = :one REMOVE n", invalid + "Two document paths overlap with each other; must remove or rewrite one of these paths; " +
			"path one: [n], path two: [n]"},
		{"SET m.x = :one, m[1] = :one", invalid + "Two document paths conflict with each other; " +
			"must remove or rewrite one of these paths; path one: [m, x], path two: [m, [1]]"},
		{"ADD n :s", invalid + "Incorrect operand type for operator or function; " +
			"operator: ADD, operand type: STRING, typeSet: ALLOWED_FOR_ADD_OPERAND"},
		{"DELETE n :one", invalid + "Incorrect operand type for operator or function; " +
			"operator: DELETE, operand type: NUMBER, typeSet: ALLOWED_FOR_DELETE_OPERAND"},
		{"ADD n n", invalid + `Syntax error; token: "n", near: "n n"`},
		{"SET n = n + :s", invalid + "Incorrect operand type for operator or function; operator or function: +, operand type: S"},
		{"SET n = size(l)", invalid + "The function is not allowed in an update expression; function: size"},
		{"SET n = nope(l)", invalid + "Invalid function name; function: nope"},
		{
			"SET n = if_not_exists(:one, :one)",
			invalid + "Operator or function requires a document path; operator or function: if_not_exists",
		},
		{"SET n = if_not_exists(n)", invalid + "Incorrect number of operands for operator or function; " +
			"operator or function: if_not_exists, number of operands: 1"},
		{"SET n = n + :one + :one", invalid + `Syntax error; token: "+", near: ":one + :one"`},
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
		{"m.x", `{"m":{"M":{"x":{"N":"1"}}}}`},
		{"m.x, m.deep.l[1], l[2].k, l[0]", `{"l":{"L":[{"N":"1"},{"M":{"k":{"S":"v"}}}]},` +
			`"m":{"M":{"deep":{"M":{"l":{"L":[{"S":"q"}]}}},"x":{"N":"1"}}}}`},
		{"l[9], n.x, m.absent, absent.x", `{}`},
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
		"m, m.x": invalid + "Two document paths overlap with each other; must remove or rewrite one of these paths; " +
			"path one: [m], path two: [m, x]",
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
		{":a = id", KeyCondition{Hash: a}},
		{"(id = :a)", KeyCondition{Hash: a}},
		{"id = :a AND n = :one", KeyCondition{a, "=", []*attribute.Value{one}}},
		{"n < :one and id = :a", KeyCondition{a, "<", []*attribute.Value{one}}},
		{"(id = :a) AND (n >= :one)", KeyCondition{a, ">=", []*attribute.Value{one}}},
		{":one >= n AND id = :a", KeyCondition{a, "<=", []*attribute.Value{one}}},
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
		{"id IN (:a)", "Invalid operator used in KeyConditionExpression: IN"},
		{"id = :a AND size(n) > :one", "Invalid operator used in KeyConditionExpression: size"},
		{"id = :a AND id = :z", "KeyConditionExpressions must only contain one condition per key"},
		{"id = :a AND n > :one AND n < :ten", "KeyConditionExpressions must only contain one condition per key"},
		{"id = :a AND n > :one AND greeting = :a", "Conditions can be of length 1 or 2 only"},
		{
			"id = n",
			"Invalid KeyConditionExpression: Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition",
		},
		{"m.x = :a", "Invalid KeyConditionExpression: KeyConditionExpressions cannot have conditions on nested attributes"},
		{"id = :a AND status = :s", "Invalid KeyConditionExpression: Attribute name is a reserved keyword; reserved keyword: status"},
	} {
		t.Run(c.expression, func(t *testing.T) {
			_, err := ParseKeyCondition(c.expression, "id", "n", somePlaceholders(t))
			refused(t, err, c.want)
		})
	}
}
