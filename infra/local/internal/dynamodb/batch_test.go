package dynamodb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestBatchGet(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"a": s("x"), "b": s("y")}), item{"id": s("n")})
	out, err := f.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
		"orders": {
			Keys: []map[string]types.AttributeValue{key("c", "1"), key("c", "2")}, ProjectionExpression: ptr("#a"),
			ExpressionAttributeNames: map[string]string{"#a": "a"},
		},
		"notes": {Keys: []map[string]types.AttributeValue{{"id": s("n")}}},
	}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	if err != nil {
		t.Fatal(err)
	}
	same(t, map[string][]map[string]types.AttributeValue{"orders": {{"a": s("x")}}, "notes": {{"id": s("n")}}}, out.Responses)
	if out.UnprocessedKeys == nil || len(out.UnprocessedKeys) > 0 {
		t.Errorf("unprocessed keys are %v; want an empty map", out.UnprocessedKeys)
	}
	units := map[string]float64{}
	for _, c := range out.ConsumedCapacity {
		units[*c.TableName] = *c.CapacityUnits
	}
	same(t, map[string]float64{"orders": 1, "notes": 0.5}, units)
}

func TestBatchGetHandsBackWhatIsTooMuch(t *testing.T) {
	f := newFixture(t, nil)
	request := types.KeysAndAttributes{ConsistentRead: new(bool)}
	for i := range 50 {
		i := item{"id": s(fmt.Sprintf("%02d", i)), "a": s(strings.Repeat("x", 399<<10))}
		f.put(t, i)
		request.Keys = append(request.Keys, item{"id": i["id"]})
	}
	seen := map[string]bool{}
	requests := map[string]types.KeysAndAttributes{"notes": request}
	rounds := 0
	for ; len(requests) > 0; rounds++ {
		out, err := f.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{RequestItems: requests})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range out.Responses["notes"] {
			seen[i["id"].(*S).Value] = true
		}
		requests = out.UnprocessedKeys
	}
	same(t, []int{50, 2}, []int{len(seen), rounds})
}

func TestBatchIsRefused(t *testing.T) {
	keys := func(count int) (keys []map[string]types.AttributeValue) {
		for i := range count {
			keys = append(keys, item{"id": s(fmt.Sprint(i))})
		}
		return keys
	}
	get := func(keys []map[string]types.AttributeValue) func(f *fixture) error {
		return func(f *fixture) error {
			_, err := f.BatchGetItem(
				context.Background(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"notes": {Keys: keys}}},
			)
			return err
		}
	}
	put := func(keys []map[string]types.AttributeValue) func(f *fixture) error {
		var requests []types.WriteRequest
		for i, k := range keys {
			if i%2 == 0 {
				requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: k}})
			} else {
				requests = append(requests, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: k}})
			}
		}
		return func(f *fixture) error {
			_, err := f.BatchWriteItem(
				context.Background(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"notes": requests}},
			)
			return err
		}
	}
	for _, c := range []struct {
		name    string
		do      func(f *fixture) error
		message string
	}{
		{name: "get of one key twice", do: get(append(keys(3), keys(1)...)), message: "Provided list of item keys contains duplicates"},
		{name: "get of 101 keys", do: get(keys(101)), message: "Too many items requested for the BatchGetItem call"},
		{
			name:    "get of a wrong key",
			do:      get([]map[string]types.AttributeValue{{"nope": s("x")}}),
			message: "The provided key element does not match the schema",
		},
		{
			name:    "put and delete of one item",
			do:      put(append(keys(1), keys(1)...)),
			message: "Provided list of item keys contains duplicates",
		},
		{name: "26 writes", do: put(keys(26)), message: "Too many items requested for the BatchWriteItem call"},
		{name: "write without a key", do: put(
			[]map[string]types.AttributeValue{{"a": s("x")}},
		), message: "One or more parameter values were invalid: Missing the key id in the item"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			refused(t, c.do(f), "ValidationException", c.message)
			out, err := f.Scan(t.Context(), &dynamodb.ScanInput{TableName: ptr("notes")})
			if err != nil {
				t.Fatal(err)
			}
			same(t, int32(0), out.Count)
		})
	}
	t.Run("batches of the greatest size are not", func(t *testing.T) {
		f := newFixture(t, nil)
		if err := errors.Join(get(keys(100))(f), put(keys(25))(f)); err != nil {
			t.Error(err)
		}
	})
}

func TestBatchWrite(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"a": s("x")}))
	out, err := f.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{
		"orders": {
			{DeleteRequest: &types.DeleteRequest{Key: key("c", "1")}},
			{PutRequest: &types.PutRequest{Item: order("c", "2", item{"state": s("open")})}},
		},
	}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	if err != nil {
		t.Fatal(err)
	}
	same(t, item(nil), f.order(t, "c", "1"))
	same(t, order("c", "2", item{"state": s("open")}), f.order(t, "c", "2"))
	same(t, 1+1+2.0, *out.ConsumedCapacity[0].CapacityUnits)
	same(t, 0, len(out.UnprocessedItems))
}

func (f *fixture) transact(items ...types.TransactWriteItem) error {
	_, err := f.TransactWriteItems(context.Background(), &dynamodb.TransactWriteItemsInput{TransactItems: items})
	return err
}

func putNote(i item, condition *string) types.TransactWriteItem {
	return types.TransactWriteItem{
		Put: &types.Put{
			TableName: ptr("notes"), Item: i, ConditionExpression: condition,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		},
	}
}

func TestTransactionDoesAllOrNothing(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, item{"id": s("there"), "a": s("x")}, order("c", "1", item{"used": n("1")}), order("c", "2", item{"a": s("x")}))
	count := types.TransactWriteItem{Update: &types.Update{
		TableName:                 ptr("orders"),
		Key:                       key("c", "1"),
		UpdateExpression:          ptr("ADD used :one"),
		ExpressionAttributeValues: item{":one": n("1")},
	}}
	err := f.transact(putNote(item{"id": s("new")}, nil), count, putNote(item{"id": s("there")}, ptr("attribute_not_exists(id)")),
		types.TransactWriteItem{Update: &types.Update{
			TableName: ptr("orders"), Key: key("c", "2"),
			UpdateExpression: ptr("ADD a :one"), ExpressionAttributeValues: item{":one": n("1")},
		}})
	refused(
		t, err, "TransactionCanceledException",
		"Transaction cancelled, please refer cancellation reasons for specific reasons "+
			"[None, None, ConditionalCheckFailed, ValidationError]",
	)
	var canceled *types.TransactionCanceledException
	if !errors.As(err, &canceled) {
		t.Fatal(err)
	}
	same(t, item{"id": s("there"), "a": s("x")}, canceled.CancellationReasons[2].Item)
	same(t, "The conditional request failed", *canceled.CancellationReasons[2].Message)
	same(t, "An operand in the update expression has an incorrect data type", *canceled.CancellationReasons[3].Message)
	same(t, order("c", "1", item{"used": n("1")}), f.order(t, "c", "1"))

	if err := f.transact(putNote(item{"id": s("new")}, nil), count); err != nil {
		t.Fatal(err)
	}
	same(t, order("c", "1", item{"used": n("2")}), f.order(t, "c", "1"))
}

func TestTransactionIsRefused(t *testing.T) {
	var many []types.TransactWriteItem
	for i := range 101 {
		many = append(many, putNote(item{"id": s(fmt.Sprint(i))}, nil))
	}
	for _, c := range []struct {
		name    string
		items   []types.TransactWriteItem
		message string
	}{
		{"two actions on one item", []types.TransactWriteItem{
			putNote(item{"id": s("a")}, nil), {Delete: &types.Delete{TableName: ptr("notes"), Key: item{"id": s("a")}}},
		}, "Transaction request cannot include multiple operations on one item"},
		{"101 actions", many, "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: " +
			"Member must have length less than or equal to 100 and greater than or equal to 1; it has length 101"},
		{"nothing to do", []types.TransactWriteItem{{}}, "TransactItems can only contain one of Check, Put, Update or Delete"},
		{"wrong key", []types.TransactWriteItem{
			{Delete: &types.Delete{TableName: ptr("notes"), Key: item{"nope": s("a")}}},
		}, "The provided key element does not match the schema"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, newFixture(t, nil).transact(c.items...), "ValidationException", c.message)
		})
	}
}

func TestTransactionIsDoneOncePerToken(t *testing.T) {
	f := newFixture(t, nil)
	add := func(amount string) error {
		_, err := f.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{
			ClientRequestToken: ptr("token"), TransactItems: []types.TransactWriteItem{{
				Update: &types.Update{
					TableName: ptr("orders"), Key: key("c", "1"), UpdateExpression: ptr("ADD used :n"),
					ExpressionAttributeValues: item{":n": n(amount)},
				},
			}}})
		return err
	}
	if err := errors.Join(add("1"), add("1")); err != nil {
		t.Fatal(err)
	}
	same(t, order("c", "1", item{"used": n("1")}), f.order(t, "c", "1"))
	refused(
		t, add("2"), "IdempotentParameterMismatchException",
		"The request uses the same client token as a previous, but non-identical request.",
	)
	f.clock.advance(10 * time.Minute)
	if err := add("2"); err != nil {
		t.Fatal(err)
	}
	same(t, order("c", "1", item{"used": n("3")}), f.order(t, "c", "1"))
}

func TestCounterUnderParallelTransactions(t *testing.T) {
	f := newFixture(t, nil)
	const workers, each, limit = 8, 10, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	done, full := 0, 0
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				err := f.transact(putNote(item{"id": s(fmt.Sprint(w, i))}, nil), types.TransactWriteItem{Update: &types.Update{
					TableName: ptr("orders"), Key: key("counter", "0"), UpdateExpression: ptr("ADD used :one"),
					ConditionExpression:       ptr("attribute_not_exists(used) OR used < :limit"),
					ExpressionAttributeValues: item{":one": n("1"), ":limit": n(fmt.Sprint(limit))},
				}})
				var canceled *types.TransactionCanceledException
				mu.Lock()
				switch {
				case err == nil:
					done++
				case errors.As(err, &canceled):
					full++
				default:
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	same(t, []int{limit, workers*each - limit}, []int{done, full})
	same(t, order("counter", "0", item{"used": n(fmt.Sprint(limit))}), f.order(t, "counter", "0"))
}
