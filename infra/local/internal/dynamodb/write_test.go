package dynamodb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestPutReplacesTheWholeItem(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"a": s("old"), "b": n("1")}), order("c", "01.0", item{"a": s("new")}))
	same(t, order("c", "1", item{"a": s("new")}), f.order(t, "c", "1"))
}

func TestPutReturnsTheOldItem(t *testing.T) {
	f := newFixture(t, nil)
	in := &dynamodb.PutItemInput{TableName: ptr("orders"), Item: order("c", "1", item{"a": s("x")}), ReturnValues: types.ReturnValueAllOld}
	for _, want := range []item{nil, order("c", "1", item{"a": s("x")})} {
		out, err := f.PutItem(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		same(t, want, out.Attributes)
	}
}

func TestDelete(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"a": s("x")}))
	in := &dynamodb.DeleteItemInput{TableName: ptr("orders"), Key: key("c", "1"), ReturnValues: types.ReturnValueAllOld}
	for _, want := range []item{order("c", "1", item{"a": s("x")}), nil} {
		out, err := f.DeleteItem(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		same(t, want, out.Attributes)
		same(t, item(nil), f.order(t, "c", "1"))
	}
}

func TestPutIsRefused(t *testing.T) {
	const parameters = "One or more parameter values were invalid: "
	for _, c := range []struct {
		name    string
		in      dynamodb.PutItemInput
		message string
	}{
		{"no range key", dynamodb.PutItemInput{Item: item{"customer": s("c")}}, parameters + "Missing the key number in the item"},
		{"key of another type", dynamodb.PutItemInput{
			Item: item{"customer": n("1"), "number": n("1")},
		}, parameters + "Type mismatch for key customer expected: S actual: N"},
		{"empty key", dynamodb.PutItemInput{Item: key("", "1")}, "One or more parameter values are not valid. " +
			"The AttributeValue for a key attribute cannot contain an empty string value. Key: customer"},
		{"hash key of 2049 bytes", dynamodb.PutItemInput{
			Item: key(strings.Repeat("k", 2049), "1"),
		}, parameters + "Size of hashkey has exceeded the maximum size limit of2048 bytes"},
		{"index key of another type", dynamodb.PutItemInput{
			Item: order("c", "1", item{"state": n("1")}),
		}, parameters + "Type mismatch for Index Key state Expected: S Actual: N IndexName: by_state"},
		{"empty index key", dynamodb.PutItemInput{Item: order("c", "1", item{"day": s("")})}, "One or more parameter values are not " +
			"valid. A value specified for a secondary index key is not supported. " +
			"The AttributeValue for a key attribute cannot contain an empty string value. IndexName: by_day, IndexKey: day"},
		{"more than 400 KB", dynamodb.PutItemInput{
			Item: order("c", "1", item{"a": s(strings.Repeat("x", 400<<10))}),
		}, "Item size has exceeded the maximum allowed size"},
		{"not a number", dynamodb.PutItemInput{
			Item: order("c", "1", item{"a": n("one")}),
		}, "The parameter cannot be converted to a numeric value: one"},
		{"empty set", dynamodb.PutItemInput{
			Item: order("c", "1", item{"a": &SS{Value: []string{}}}),
		}, parameters + "An string set  may not be empty"},
		{"returns what it cannot", dynamodb.PutItemInput{
			Item: key("c", "1"), ReturnValues: types.ReturnValueAllNew,
		}, "ReturnValues can only be ALL_OLD or NONE"},
		{"unknown ReturnValues", dynamodb.PutItemInput{Item: key("c", "1"), ReturnValues: "SOME"}, "1 validation error detected: " +
			"Value 'SOME' at 'returnValues' failed to satisfy constraint: Member must satisfy enum value set: " +
			"[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"},
		{"unused value", dynamodb.PutItemInput{
			Item: key("c", "1"), ConditionExpression: ptr("attribute_not_exists(customer)"),
			ExpressionAttributeValues: item{":x": s("x")},
		}, "Value provided in ExpressionAttributeValues unused in expressions: keys: {:x}"},
		{"values without expression", dynamodb.PutItemInput{
			Item: key("c", "1"), ExpressionAttributeValues: item{":x": s("x")},
		}, "ExpressionAttributeValues can only be specified when using expressions"},
		{"reserved word", dynamodb.PutItemInput{
			Item: key("c", "1"), ConditionExpression: ptr("attribute_not_exists(status)"),
		}, "Invalid ConditionExpression: Attribute name is a reserved keyword; reserved keyword: status"},
		{"legacy parameter", dynamodb.PutItemInput{
			Item: key("c", "1"), Expected: map[string]types.ExpectedAttributeValue{"a": {}},
		}, "the local stack does not emulate the legacy parameter Expected; use an expression"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			c.in.TableName = ptr("orders")
			_, err := f.PutItem(t.Context(), &c.in)
			refused(t, err, "ValidationException", c.message)
			same(t, item(nil), f.order(t, "c", "1"))
		})
	}
}

func TestItemOfExactly400KBIsStored(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, item{"id": s("a"), "b": s(strings.Repeat("x", 400<<10-len("id")-len("a")-len("b")))})
}

func TestKeyIsRefused(t *testing.T) {
	const mismatch = "The provided key element does not match the schema"
	for _, c := range []struct {
		name    string
		key     item
		message string
	}{
		{"no range key", item{"customer": s("c")}, mismatch},
		{"another attribute", order("c", "1", item{"a": s("x")}), mismatch},
		{"another type", item{"customer": s("c"), "number": s("1")}, mismatch},
		{"empty", key("", "1"), "One or more parameter values are not valid. " +
			"The AttributeValue for a key attribute cannot contain an empty string value. Key: customer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			_, err := f.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: ptr("orders"), Key: c.key})
			refused(t, err, "ValidationException", c.message)
			_, err = f.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: ptr("orders"), Key: c.key})
			refused(t, err, "ValidationException", c.message)
			_, err = f.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: ptr("orders"), Key: c.key})
			refused(t, err, "ValidationException", c.message)
		})
	}
}

func TestUnknownTableIsNotFound(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: ptr("nope"), Key: key("c", "1")})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: Table: nope not found")
}

func TestConditionDecides(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"status": s("open"), "done_for": n("1700000000000")}))
	newer := func(requestedAt string) error {
		_, err := f.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: ptr("orders"), Key: key("c", "1"),
			UpdateExpression:                    ptr("SET #status = :status"),
			ConditionExpression:                 ptr("attribute_not_exists(done_for) OR done_for < :requested"),
			ExpressionAttributeNames:            map[string]string{"#status": "status"},
			ExpressionAttributeValues:           item{":status": s("retrying"), ":requested": n(requestedAt)},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		})
		return err
	}
	err := newer("999999999999")
	refused(t, err, "ConditionalCheckFailedException", "The conditional request failed")
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		t.Fatal(err)
	}
	same(t, order("c", "1", item{"status": s("open"), "done_for": n("1700000000000")}), failed.Item)
	if err := newer("1700000000001"); err != nil {
		t.Fatal(err)
	}
	same(t, order("c", "1", item{"status": s("retrying"), "done_for": n("1700000000000")}), f.order(t, "c", "1"))
}

func TestPutIfAbsent(t *testing.T) {
	f := newFixture(t, nil)
	in := &dynamodb.PutItemInput{TableName: ptr("notes"), Item: item{"id": s("a")}, ConditionExpression: ptr("attribute_not_exists(id)")}
	if _, err := f.PutItem(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	_, err := f.PutItem(t.Context(), in)
	refused(t, err, "ConditionalCheckFailedException", "The conditional request failed")
}

func TestUpdateReturns(t *testing.T) {
	before := order("c", "1", item{"a": n("1"), "b": n("1"), "other": n("2")})
	after := order("c", "1", item{"a": n("2"), "b": n("9"), "other": n("2"), "new": s("v")})
	for _, c := range []struct {
		values types.ReturnValue
		want   item
	}{
		{types.ReturnValueNone, nil},
		{types.ReturnValueAllOld, before},
		{types.ReturnValueAllNew, after},
		{types.ReturnValueUpdatedOld, item{"a": n("1"), "b": n("1")}},
		{types.ReturnValueUpdatedNew, item{"a": n("2"), "b": n("9"), "new": s("v")}},
	} {
		t.Run(string(c.values), func(t *testing.T) {
			f := newFixture(t, nil)
			f.put(t, before)
			out, err := f.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
				TableName: ptr("orders"), Key: key("c", "1"), ReturnValues: c.values,
				UpdateExpression: ptr("SET b = :nine, #new = :v ADD a :one"), ExpressionAttributeNames: map[string]string{"#new": "new"},
				ExpressionAttributeValues: item{":nine": n("9"), ":v": s("v"), ":one": n("1")},
			})
			if err != nil {
				t.Fatal(err)
			}
			same(t, c.want, out.Attributes)
			same(t, after, f.order(t, "c", "1"))
		})
	}
}

func TestUpdateMakesAnItem(t *testing.T) {
	f := newFixture(t, nil)
	out, err := f.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: ptr("orders"), Key: key("c", "1"), UpdateExpression: ptr("ADD used :one"), ConditionExpression: ptr(
			"attribute_not_exists(used) OR used < :ten",
		),
		ExpressionAttributeValues: item{":one": n("1"), ":ten": n("10")}, ReturnValues: types.ReturnValueAllNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, order("c", "1", item{"used": n("1")}), out.Attributes)
	onlyKey := &dynamodb.UpdateItemInput{TableName: ptr("notes"), Key: item{"id": s("only a key")}}
	if _, err := f.UpdateItem(t.Context(), onlyKey); err != nil {
		t.Fatal(err)
	}
}

func TestUpdateIsRefused(t *testing.T) {
	for _, c := range []struct{ name, expression, message string }{
		{"key attribute", "SET customer = :x", "One or more parameter values were invalid: Cannot update attribute customer. " +
			"This attribute is part of the key"},
		{"attribute of another type", "ADD a :x", "An operand in the update expression has an incorrect data type"},
		{"grows beyond 400 KB", "SET a = :x, b = :x, c = :x", "Item size to update has exceeded the maximum allowed size"},
		{"empty index key", "SET #day = :empty", "One or more parameter values are not valid. " +
			"A value specified for a secondary index key is not supported. " +
			"The AttributeValue for a key attribute cannot contain an empty string value. IndexName: by_day, IndexKey: day"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.put(t, order("c", "1", item{"a": s("x")}))
			in := &dynamodb.UpdateItemInput{
				TableName: ptr("orders"), Key: key("c", "1"), UpdateExpression: &c.expression,
				ExpressionAttributeValues: item{":x": s(strings.Repeat("x", 150<<10))},
			}
			switch {
			case strings.Contains(c.expression, ":empty"):
				in.ExpressionAttributeValues = item{":empty": s("")}
				in.ExpressionAttributeNames = map[string]string{"#day": "day"}
			case strings.Contains(c.expression, "ADD"):
				in.ExpressionAttributeValues = item{":x": n("1")}
			}
			_, err := f.UpdateItem(t.Context(), in)
			refused(t, err, "ValidationException", c.message)
			same(t, order("c", "1", item{"a": s("x")}), f.order(t, "c", "1"))
		})
	}
}

func TestConsumedCapacityOfWrites(t *testing.T) {
	kilobyte := func(count int) *S { return s(strings.Repeat("x", count<<10)) }
	f := newFixture(t, nil)
	write := func(i item) (float64, map[string]float64) {
		t.Helper()
		out, err := f.PutItem(
			t.Context(),
			&dynamodb.PutItemInput{TableName: ptr("orders"), Item: i, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes},
		)
		if err != nil {
			t.Fatal(err)
		}
		indexes := map[string]float64{}
		for name, c := range out.ConsumedCapacity.GlobalSecondaryIndexes {
			indexes[name] = *c.CapacityUnits
		}
		return *out.ConsumedCapacity.CapacityUnits, indexes
	}
	for _, step := range []struct {
		name    string
		item    item
		units   float64
		indexes map[string]float64
	}{
		{"small, in no index", key("c", "1"), 1, nil},
		{"3 KB and a bit", order("c", "1", item{"a": kilobyte(3)}), 4, nil},
		{"small over large counts the large", key("c", "1"), 4, nil},
		{"enters two indexes, of which one holds 3 KB", order(
			"c", "1", item{"a": kilobyte(3), "state": s("open")},
		), 4 + 1 + 4, map[string]float64{"by_state": 1, "all": 4}},
		{"changes what one index does not hold", order(
			"c", "1", item{"a": kilobyte(2), "state": s("open")},
		), 4 + 4, map[string]float64{"all": 4}},
		{"changes the index key: out and in", order(
			"c", "1", item{"a": kilobyte(2), "state": s("done")},
		), 3 + 2 + 6, map[string]float64{"by_state": 2, "all": 6}},
		{"leaves the indexes", key("c", "1"), 3 + 1 + 3, map[string]float64{"by_state": 1, "all": 3}},
	} {
		units, indexes := write(step.item)
		if units != step.units {
			t.Errorf("%s: %v units; want %v", step.name, units, step.units)
		}
		same(t, step.indexes, indexes)
	}
}

func TestConsumedCapacityOfReads(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"a": s(strings.Repeat("x", 5<<10))}))
	for _, c := range []struct {
		number     string
		consistent bool
		want       float64
	}{{"1", true, 2}, {"1", false, 1}, {"2", true, 1}, {"2", false, 0.5}} {
		out, err := f.GetItem(
			t.Context(),
			&dynamodb.GetItemInput{
				TableName: ptr("orders"), Key: key("c", c.number), ConsistentRead: &c.consistent,
				ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		same(t, c.want, *out.ConsumedCapacity.CapacityUnits)
	}
}
