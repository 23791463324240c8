package dynamodb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	local "github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// numbers returns what a query found, as the orders' customer and number.
func numbers(items []map[string]types.AttributeValue) []string {
	found := []string{}
	for _, i := range items {
		found = append(found, i["customer"].(*S).Value+i["number"].(*N).Value)
	}
	return found
}

func query(condition string, values item, change func(in *dynamodb.QueryInput)) *dynamodb.QueryInput {
	in := &dynamodb.QueryInput{TableName: ptr("orders"), KeyConditionExpression: &condition, ExpressionAttributeValues: values}
	if change != nil {
		change(in)
	}
	return in
}

func withOrders(t testing.TB) *fixture {
	f := newFixture(t, nil)
	for _, number := range []string{"10", "9", "-1", "0.5", "100", "2"} {
		f.put(t, order("c", number, nil))
	}
	f.put(t, order("b", "1", nil), order("c\x00", "1", nil), order("cc", "1", nil))
	return f
}

func TestQueryOfARange(t *testing.T) {
	f := withOrders(t)
	for _, c := range []struct {
		condition string
		want      []string
	}{
		{"customer = :c", []string{"c-1", "c0.5", "c2", "c9", "c10", "c100"}},
		{"customer = :c AND #number = :nine", []string{"c9"}},
		{"#number < :nine AND customer = :c", []string{"c-1", "c0.5", "c2"}},
		{"customer = :c AND #number <= :nine", []string{"c-1", "c0.5", "c2", "c9"}},
		{"customer = :c AND #number > :nine", []string{"c10", "c100"}},
		{"customer = :c AND (#number >= :nine)", []string{"c9", "c10", "c100"}},
		{"customer = :c AND #number BETWEEN :two AND :nine", []string{"c2", "c9"}},
	} {
		t.Run(c.condition, func(t *testing.T) {
			in := query(c.condition, item{":c": s("c")}, func(in *dynamodb.QueryInput) {
				if strings.Contains(c.condition, "#number") {
					in.ExpressionAttributeNames = map[string]string{"#number": "number"}
				}
				for _, v := range []struct{ name, number string }{{":nine", "9"}, {":two", "2"}} {
					if strings.Contains(c.condition, v.name) {
						in.ExpressionAttributeValues[v.name] = n(v.number)
					}
				}
			})
			out, err := f.Query(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			same(t, c.want, numbers(out.Items))
			same(t, int32(len(c.want)), out.Count)
			backward := false
			in.ScanIndexForward = &backward
			if out, err = f.Query(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			slices.Reverse(c.want)
			same(t, c.want, numbers(out.Items))
		})
	}
}

func TestQueryOfAnIndexWithPrefixAndPages(t *testing.T) {
	for _, forward := range []bool{true, false} {
		t.Run(fmt.Sprintf("forward %t", forward), func(t *testing.T) {
			f := newFixture(t, nil)
			var want []string
			for i := range 7 { // all with equal index keys
				f.put(t, order(fmt.Sprintf("c%d-", i), "1", item{"state": s("open"), "note": s("n"), "extra": s("o")}))
				want = append(want, fmt.Sprintf("c%d-1", i))
			}
			if !forward {
				slices.Reverse(want)
			}
			f.put(t, order("x", "1", item{"state": s("done")}), order("y", "1", nil))
			pages, err := 0, error(nil)
			var got []string
			in := query("#state = :s", item{":s": s("open")}, func(in *dynamodb.QueryInput) {
				limit := int32(3)
				in.IndexName, in.Limit, in.ScanIndexForward = ptr("by_state"), &limit, &forward
				in.ExpressionAttributeNames = map[string]string{"#state": "state"}
			})
			var out *dynamodb.QueryOutput
			for more := true; more; more = out.LastEvaluatedKey != nil {
				if out, err = f.Query(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				pages++
				got = append(got, numbers(out.Items)...)
				for _, i := range out.Items {
					same(t, order(i["customer"].(*S).Value, "1", item{"state": s("open"), "note": s("n")}), i)
				}
				if in.ExclusiveStartKey = out.LastEvaluatedKey; out.LastEvaluatedKey != nil {
					last := out.Items[len(out.Items)-1]
					same(t, item{"customer": last["customer"], "number": last["number"], "state": s("open")}, out.LastEvaluatedKey)
				}
			}
			same(t, want, got)
			same(t, 3, pages)
		})
	}
}

func TestIndexFollowsItsItems(t *testing.T) {
	f := newFixture(t, nil)
	in := query("#day = :d", item{":d": s("monday")}, func(in *dynamodb.QueryInput) {
		in.IndexName, in.ExpressionAttributeNames = ptr("by_day"), map[string]string{"#day": "day"}
	})
	for _, step := range []struct {
		name string
		item item
		want []map[string]types.AttributeValue
	}{
		{"without the key it is not in the index", order("c", "1", nil), nil},
		{"with it, it is, with keys only", order(
			"c", "1", item{"day": s("monday"), "a": s("x")},
		), []map[string]types.AttributeValue{order("c", "1", item{"day": s("monday")})}},
		{"it moves", order("c", "1", item{"day": s("tuesday")}), nil},
		{"it comes back", order("c", "1", item{"day": s("monday")}), []map[string]types.AttributeValue{
			order("c", "1", item{"day": s("monday")}),
		}},
		{"it leaves", order("c", "1", nil), nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			f.put(t, step.item)
			out, err := f.Query(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			same(t, step.want, out.Items)
		})
	}
}

func TestLimitCountsBeforeTheFilter(t *testing.T) {
	f := withOrders(t)
	limit := int32(3)
	out, err := f.Query(t.Context(), query("customer = :c", item{":c": s("c"), ":x": s("x")}, func(in *dynamodb.QueryInput) {
		in.Limit, in.FilterExpression = &limit, ptr("attribute_not_exists(a) AND a <> :x AND attribute_exists(b)")
	}))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []int32{0, 3}, []int32{out.Count, out.ScannedCount})
	same(t, key("c", "2"), out.LastEvaluatedKey)
}

func TestPageEndsAtOneMegabyte(t *testing.T) {
	f := newFixture(t, nil)
	for i := range 5 {
		f.put(t, order("c", fmt.Sprint(i), item{"a": s(strings.Repeat("x", 300<<10))}))
	}
	in := query("customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) {
		in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	})
	out, err := f.Query(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	same(t, []string{"c0", "c1", "c2", "c3"}, numbers(out.Items))
	same(t, 150.5, *out.ConsumedCapacity.CapacityUnits)
	in.ExclusiveStartKey = out.LastEvaluatedKey
	if out, err = f.Query(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	same(t, []string{"c4"}, numbers(out.Items))
	same(t, item(nil), out.LastEvaluatedKey)
}

func TestAConsistentReadOfALocalIndexTakesTwiceTheUnits(t *testing.T) {
	f := newFixture(t, nil)
	hash, sort := local.Key{Name: "author", Type: attribute.String}, local.Key{Name: "title", Type: attribute.String}
	err := f.db.CreateTable(local.Schema{
		Name: "books", HashKey: hash, RangeKey: local.Key{Name: "id", Type: attribute.String},
		Indexes: []local.Index{{Name: "by_title", Local: true, HashKey: hash, RangeKey: sort, Projection: local.ProjectAll}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for consistent, want := range map[bool]float64{false: 0.5, true: 1} {
		out, err := f.Query(t.Context(), query("author = :o", item{":o": s("o")}, func(in *dynamodb.QueryInput) {
			in.TableName, in.IndexName, in.ConsistentRead = ptr("books"), ptr("by_title"), &consistent
			in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
		}))
		if err != nil {
			t.Fatal(err)
		}
		same(t, want, *out.ConsumedCapacity.CapacityUnits)
	}
}

func TestQuerySelects(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"a": s("x"), "b": s("y")}))
	out, err := f.Query(
		t.Context(), query("customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) { in.Select = types.SelectCount }),
	)
	if err != nil {
		t.Fatal(err)
	}
	if out.Items != nil || out.Count != 1 {
		t.Errorf("COUNT returned %d items and count %d", len(out.Items), out.Count)
	}
	out, err = f.Query(
		t.Context(),
		query("customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) { in.ProjectionExpression = ptr("a, absent") }),
	)
	if err != nil {
		t.Fatal(err)
	}
	same(t, []map[string]types.AttributeValue{{"a": s("x")}}, out.Items)
}

func TestQueryIsRefused(t *testing.T) {
	yes, zero := true, int32(0)
	byState := func(in *dynamodb.QueryInput) {
		in.IndexName, in.ExpressionAttributeNames = ptr("by_state"), map[string]string{"#state": "state"}
	}
	for _, c := range []struct {
		name    string
		in      *dynamodb.QueryInput
		message string
	}{
		{name: "consistent, of an index", in: query("#state = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) {
			byState(in)
			in.ConsistentRead = &yes
		}), message: "Consistent reads are not supported on global secondary indexes"},
		{name: "index that is not there", in: query(
			"customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) { in.IndexName = ptr("nope") },
		), message: "The table does not have the specified index: nope"},
		{
			name: "no condition",
			in:   &dynamodb.QueryInput{TableName: ptr("orders")},
			message: "Either the KeyConditions or KeyConditionExpression " +
				"parameter must be specified in the request.",
		},
		{name: "key of another type", in: query(
			"customer = :c", item{":c": n("1")}, nil,
		), message: "One or more parameter values were invalid: Condition parameter type does not match schema type"},
		{name: "empty key", in: query("customer = :c", item{":c": s("")}, nil), message: "One or more parameter values are not valid. " +
			"The AttributeValue for a key attribute cannot contain an empty string value. Key: customer"},
		{
			name: "prefix of a number",
			in: query(
				"customer = :c AND begins_with(#n, :c)", item{":c": s("c")},
				func(in *dynamodb.QueryInput) { in.ExpressionAttributeNames = map[string]string{"#n": "number"} },
			),
			message: "Invalid KeyConditionExpression: Incorrect operand type for operator or function; " +
				"operator or function: begins_with, operand type: N",
		},
		{name: "key in the filter", in: query(
			"customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) { in.FilterExpression = ptr("customer = :c") },
		), message: "Filter Expression can only contain non-primary key attributes: Primary key attribute: customer"},
		{
			name: "limit 0",
			in: query(
				"customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) { in.Limit = &zero },
			),
			message: "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: " +
				"Member must have value greater than or equal to 1",
		},
		{name: "start key without range key", in: query(
			"customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) { in.ExclusiveStartKey = item{"customer": s("c")} },
		), message: "The provided starting key is invalid"},
		{name: "start key of another type", in: query(
			"customer = :c", item{":c": s("c")},
			func(in *dynamodb.QueryInput) { in.ExclusiveStartKey = item{"customer": s("c"), "number": s("1")} },
		), message: "The provided starting key is invalid: The provided key element does not match the schema"},
		{name: "start key of another partition", in: query(
			"customer = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) { in.ExclusiveStartKey = key("d", "1") },
		), message: "The provided starting key is outside query boundaries based on provided conditions"},
		{
			name: "start key outside the range",
			in: query("customer = :c AND #n > :five", item{":c": s("c"), ":five": n("5")}, func(in *dynamodb.QueryInput) {
				in.ExpressionAttributeNames = map[string]string{"#n": "number"}
				in.ExclusiveStartKey = key("c", "1")
			}),
			message: "The provided starting key does not match the range key predicate",
		},
		{name: "attribute that the index lacks", in: query("#state = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) {
			byState(in)
			in.ProjectionExpression = ptr("note, extra")
		}), message: "One or more parameter values were invalid: Global secondary index by_state does not project [extra]"},
		{name: "all attributes of an index without them", in: query("#state = :c", item{":c": s("c")}, func(in *dynamodb.QueryInput) {
			byState(in)
			in.Select = types.SelectAllAttributes
		}), message: "One or more parameter values were invalid: " +
			"Select type ALL_ATTRIBUTES is not supported for global secondary index by_state because its projection type is not ALL"},
		{name: "count with a projection", in: query(
			"customer = :c", item{":c": s("c")},
			func(in *dynamodb.QueryInput) { in.Select, in.ProjectionExpression = types.SelectCount, ptr("a") },
		), message: "Cannot specify the ProjectionExpression when choosing to get COUNT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newFixture(t, nil).Query(t.Context(), c.in)
			refused(t, err, "ValidationException", c.message)
		})
	}
}

func TestScanSeesEverythingOnce(t *testing.T) {
	f := withOrders(t)
	want := []string{"b1", "c-1", "c0.5", "c10", "c100", "c2", "c9", "c\x001", "cc1"}
	slices.Sort(want)
	limit := int32(2)
	scan := func(in dynamodb.ScanInput) (got []string) {
		in.TableName, in.Limit = ptr("orders"), &limit
		for {
			out, err := f.Scan(t.Context(), &in)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, numbers(out.Items)...)
			if in.ExclusiveStartKey = out.LastEvaluatedKey; out.LastEvaluatedKey == nil {
				return got
			}
		}
	}
	got := scan(dynamodb.ScanInput{})
	slices.Sort(got)
	same(t, want, got)
}

func TestScanFilters(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, item{"id": s("a"), "status": s("x")}, item{"id": s("b"), "status": s("y")}, item{"id": s("c")})
	out, err := f.Scan(
		t.Context(),
		&dynamodb.ScanInput{
			TableName: ptr("notes"), FilterExpression: ptr("#status = :y"),
			ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: item{":y": s("y")},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	same(t, []map[string]types.AttributeValue{{"id": s("b"), "status": s("y")}}, out.Items)
	same(t, int32(3), out.ScannedCount)
}
