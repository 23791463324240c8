package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: s} }
func number(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

// order is an item, or the key of one without more.
func order(customer string, n int, more ...item) item {
	result := item{"customer": text(customer), "number": number(fmt.Sprint(n))}
	for _, m := range more {
		maps.Copy(result, m)
	}
	return result
}

func put(ctx context.Context, s services, i item) error {
	_, err := s.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(orders), Item: i})
	return err
}

// show writes an item's strings and numbers in the order of their names.
func show(i item) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(i)) {
		switch v := i[name].(type) {
		case *types.AttributeValueMemberS:
			parts = append(parts, name+"="+v.Value)
		case *types.AttributeValueMemberN:
			parts = append(parts, name+"="+v.Value)
		default:
			parts = append(parts, fmt.Sprintf("%s is %T", name, v))
		}
	}
	return strings.Join(parts, " ")
}

func update(ctx context.Context, s services, key item, expression string, values item) (string, error) {
	out, err := s.dynamodb.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:                 aws.String(orders),
		Key:                       key,
		UpdateExpression:          &expression,
		ExpressionAttributeValues: values,
		ReturnValues:              types.ReturnValueUpdatedNew,
	})
	if err != nil {
		return "", err
	}
	return show(out.Attributes), nil
}

func batchRead(ctx context.Context, s services, keys ...item) error {
	_, err := s.dynamodb.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{orders: {Keys: keys}},
	})
	return err
}

func queryNumbers(ctx context.Context, s services, in *dynamodb.QueryInput) string {
	in.TableName = aws.String(orders)
	out, err := s.dynamodb.Query(ctx, in)
	if err != nil {
		return code(err)
	}
	var found []string
	for _, i := range out.Items {
		found = append(found, show(item{"number": i["number"]}))
	}
	return fmt.Sprintf("%s; scanned %d; more: %v", strings.Join(found, " "), out.ScannedCount, out.LastEvaluatedKey != nil)
}

// dynamoDBBehaviours are of the table orders. Each case has customers of its own.
func dynamoDBBehaviours() []behaviour {
	return []behaviour{
		{name: "a put under a false condition fails and shows the item if asked", run: func(ctx context.Context, s services) string {
			if err := put(ctx, s, order("condition", 1, item{"note": text("old")})); err != nil {
				return err.Error()
			}
			_, err := s.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{
				TableName:                           aws.String(orders),
				Item:                                order("condition", 1),
				ConditionExpression:                 aws.String("attribute_not_exists(customer)"),
				ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
			})
			var failed *types.ConditionalCheckFailedException
			if !errors.As(err, &failed) {
				return code(err)
			}
			return says(err, "The conditional request failed") + "; " + show(failed.Item)
		}, want: "ConditionalCheckFailedException: The conditional request failed; customer=condition note=old number=1"},
		{name: "a counter counts from nothing", run: func(ctx context.Context, s services) string {
			first, err := update(ctx, s, order("counter", 1), "ADD hits :n", item{":n": number("1")})
			second, again := update(ctx, s, order("counter", 1), "ADD hits :n", item{":n": number("41")})
			return fmt.Sprint(first, " ", second, " ", code(err), " ", code(again))
		}, want: "hits=1 hits=42 ok ok"},
		{name: "an update may not touch the key", run: func(ctx context.Context, s services) string {
			_, err := update(ctx, s, order("key", 1), "SET customer = :c", item{":c": text("other")})
			return says(err, "This attribute is part of the key")
		}, want: "ValidationException: This attribute is part of the key"},
		{name: "a reserved word needs a placeholder", run: func(ctx context.Context, s services) string {
			_, err := update(ctx, s, order("reserved", 1), "SET status = :s", item{":s": text("x")})
			return says(err, "reserved keyword: status")
		}, want: "ValidationException: reserved keyword: status"},
		{name: "a value that no expression uses is refused", run: func(ctx context.Context, s services) string {
			_, err := update(ctx, s, order("unused", 1), "SET a = :a", item{":a": text("x"), ":b": text("y")})
			return says(err, "unused in expressions")
		}, want: "ValidationException: unused in expressions"},
		{name: "if_not_exists sets what is missing", run: func(ctx context.Context, s services) string {
			got, err := update(ctx, s, order("missing", 1), "SET a = if_not_exists(a, :ten)", item{":ten": number("10")})
			return got + " " + code(err)
		}, want: "a=10 ok"},
		{name: "two paths that overlap are refused", run: func(ctx context.Context, s services) string {
			_, err := update(ctx, s, order("overlap", 1), "SET a = :x, a = :x", item{":x": text("x")})
			return says(err, "Two document paths overlap")
		}, want: "ValidationException: Two document paths overlap"},
		{name: "numbers come back in one spelling", run: func(ctx context.Context, s services) string {
			if err := put(ctx, s, order("numbers", 1, item{"a": number("1.50"), "b": number("1e2"), "c": number("-0")})); err != nil {
				return code(err)
			}
			out, err := s.dynamodb.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(orders), Key: order("numbers", 1)})
			if err != nil {
				return code(err)
			}
			return show(out.Item)
		}, want: "a=1.5 b=100 c=0 customer=numbers number=1"},
		{name: "a number of 39 digits is refused", run: func(ctx context.Context, s services) string {
			return code(put(ctx, s, order("numbers", 2, item{"a": number(strings.Repeat("1", 39))})))
		}, want: "ValidationException"},
		{name: "an empty key is refused", run: func(ctx context.Context, s services) string {
			return code(put(ctx, s, order("", 1)))
		}, want: "ValidationException"},
		{name: "an empty index key is refused", run: func(ctx context.Context, s services) string {
			return code(put(ctx, s, order("empty", 1, item{"state": text("")})))
		}, want: "ValidationException"},
		{name: "an empty set is refused", run: func(ctx context.Context, s services) string {
			return code(put(ctx, s, order("set", 1, item{"a": &types.AttributeValueMemberSS{Value: []string{}}})))
		}, want: "ValidationException"},
		{name: "an item above 400 KB is refused", run: func(ctx context.Context, s services) string {
			return says(put(ctx, s, order("large", 1, item{
				"a": text(strings.Repeat("x", 400<<10)),
			})), "Item size has exceeded the maximum allowed size")
		}, want: "ValidationException: Item size has exceeded the maximum allowed size"},
		{name: "a table that is not there", run: func(ctx context.Context, s services) string {
			_, err := s.dynamodb.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("none"), Key: order("a", 1)})
			return code(err)
		}, want: "ResourceNotFoundException"},
		{name: "a key of the wrong type is refused", run: func(ctx context.Context, s services) string {
			_, err := s.dynamodb.GetItem(ctx, &dynamodb.GetItemInput{
				TableName: aws.String(orders),
				Key:       item{"customer": text("a"), "number": text("1")},
			})
			return code(err)
		}, want: "ValidationException"},
		{name: "a batch read with the same key twice is refused", run: func(ctx context.Context, s services) string {
			err := batchRead(ctx, s, order("batch", 1), order("batch", 1))
			return says(err, "Provided list of item keys contains duplicates")
		}, want: "ValidationException: Provided list of item keys contains duplicates"},
		{name: "a batch read of 101 keys is refused", run: func(ctx context.Context, s services) string {
			var keys []item
			for n := range 101 {
				keys = append(keys, order("batch", n))
			}
			return code(batchRead(ctx, s, keys...))
		}, want: "ValidationException"},
		{name: "a batch write with the same key twice is refused", run: func(ctx context.Context, s services) string {
			return says(batchWrite(ctx, s, 1, 1), "Provided list of item keys contains duplicates")
		}, want: "ValidationException: Provided list of item keys contains duplicates"},
		{name: "a batch write of 26 items is refused", run: func(ctx context.Context, s services) string {
			numbers := make([]int, 26)
			for n := range numbers {
				numbers[n] = n
			}
			return code(batchWrite(ctx, s, numbers...))
		}, want: "ValidationException"},
		{name: "a query goes by the range key, as a number, and pages", run: func(ctx context.Context, s services) string {
			for _, n := range []int{10, 9, 100} {
				if err := put(ctx, s, order("query", n)); err != nil {
					return code(err)
				}
			}
			in := &dynamodb.QueryInput{
				KeyConditionExpression:    aws.String("customer = :c"),
				ExpressionAttributeValues: item{":c": text("query")},
			}
			up := queryNumbers(ctx, s, in)
			in.ScanIndexForward, in.Limit = aws.Bool(false), aws.Int32(2)
			return up + " | " + queryNumbers(ctx, s, in)
		}, want: "number=9 number=10 number=100; scanned 3; more: false | number=100 number=10; scanned 2; more: true"},
		{name: "a limit counts before the filter", run: func(ctx context.Context, s services) string {
			for n := range 3 {
				if err := put(ctx, s, order("filter", n)); err != nil {
					return code(err)
				}
			}
			return queryNumbers(ctx, s, &dynamodb.QueryInput{
				KeyConditionExpression:    aws.String("customer = :c"),
				FilterExpression:          aws.String("attribute_exists(gone)"),
				Limit:                     aws.Int32(2),
				ExpressionAttributeValues: item{":c": text("filter")},
			})
		}, want: "; scanned 2; more: true"},
		{name: "a filter may not name the key", run: func(ctx context.Context, s services) string {
			return queryNumbers(ctx, s, &dynamodb.QueryInput{
				KeyConditionExpression:    aws.String("customer = :c"),
				FilterExpression:          aws.String("#n > :n"),
				ExpressionAttributeNames:  map[string]string{"#n": "number"},
				ExpressionAttributeValues: item{":c": text("filter"), ":n": number("0")},
			})
		}, want: "ValidationException"},
		{name: "a sparse index has the items with its key, and their keys only", run: func(ctx context.Context, s services) string {
			indexed := order("sparse", 1, item{"state": text("open"), "note": text("x")})
			if err := cmpErr(put(ctx, s, indexed), put(ctx, s, order("sparse", 2))); err != nil {
				return code(err)
			}
			out, err := s.dynamodb.Query(ctx, &dynamodb.QueryInput{
				TableName: aws.String(orders), IndexName: aws.String("by_state"), KeyConditionExpression: aws.String("#s = :s"),
				ExpressionAttributeNames: map[string]string{"#s": "state"}, ExpressionAttributeValues: item{":s": text("open")},
			})
			if err != nil || len(out.Items) != 1 {
				return fmt.Sprint(code(err), " ", out)
			}
			return show(out.Items[0])
		}, want: "customer=sparse number=1 state=open"},
		{
			name: "an index of times is read up to now, and an update that finds its time pushes it on",
			run: func(ctx context.Context, s services) string {
				for n := range 3 {
					if err := put(ctx, s, order("due", n+10, item{"state": text("due"), "note": text("x")})); err != nil {
						return code(err)
					}
				}
				due := &dynamodb.QueryInput{
					IndexName: aws.String("by_state"), KeyConditionExpression: aws.String("#s = :s AND #n <= :now"),
					ExpressionAttributeNames:  map[string]string{"#s": "state", "#n": "number"},
					ExpressionAttributeValues: item{":s": text("due"), ":now": number("11")},
				}
				push := func() string {
					out, err := s.dynamodb.UpdateItem(ctx, &dynamodb.UpdateItemInput{
						TableName: aws.String(orders), Key: order("due", 10), UpdateExpression: aws.String("SET #s = :later"),
						ConditionExpression: aws.String("#s = :s"), ExpressionAttributeNames: map[string]string{"#s": "state"},
						ExpressionAttributeValues: item{":s": text("due"), ":later": text("later")}, ReturnValues: types.ReturnValueAllNew,
					})
					if err != nil {
						return code(err)
					}
					return show(out.Attributes)
				}
				return queryNumbers(ctx, s, due) + " | " + push() + " | " + push() + " | " + queryNumbers(ctx, s, due)
			},
			want: "number=10 number=11; scanned 2; more: false | customer=due note=x number=10 state=later | " +
				"ConditionalCheckFailedException | number=11; scanned 1; more: false",
		},
		{name: "a global index cannot be read consistently", run: func(ctx context.Context, s services) string {
			return queryNumbers(ctx, s, &dynamodb.QueryInput{
				IndexName: aws.String("by_state"), ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("#s = :s"),
				ExpressionAttributeNames: map[string]string{"#s": "state"}, ExpressionAttributeValues: item{":s": text("open")},
			})
		}, want: "ValidationException"},
	}
}

// transactionBehaviours are of transactions on the table orders.
func transactionBehaviours() []behaviour {
	return []behaviour{
		{name: "a transaction tells for each item why it failed", run: func(ctx context.Context, s services) string {
			_, err := s.dynamodb.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
				{Put: &types.Put{TableName: aws.String(orders), Item: order("transaction", 1)}},
				{
					ConditionCheck: &types.ConditionCheck{
						TableName:           aws.String(orders),
						Key:                 order("transaction", 2),
						ConditionExpression: aws.String("attribute_exists(customer)"),
					},
				},
			}})
			var canceled *types.TransactionCanceledException
			if !errors.As(err, &canceled) {
				return code(err)
			}
			var reasons []string
			for _, r := range canceled.CancellationReasons {
				reasons = append(reasons, aws.ToString(r.Code))
			}
			return strings.Join(reasons, " ")
		}, want: "None ConditionalCheckFailed"},
		{name: "a transaction on the same item twice is refused", run: func(ctx context.Context, s services) string {
			write := types.TransactWriteItem{Put: &types.Put{TableName: aws.String(orders), Item: order("transaction", 3)}}
			_, err := s.dynamodb.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
				write,
				write,
			}})
			return code(err)
		}, want: "ValidationException"},
	}
}

func batchWrite(ctx context.Context, s services, numbers ...int) error {
	var requests []types.WriteRequest
	for i, n := range numbers {
		different := order("batch", n, item{"note": text(fmt.Sprint(i))})
		requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: different}})
	}
	_, err := s.dynamodb.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{orders: requests}})
	return err
}

// streamBehaviours are of the stream of orders.
func streamBehaviours() []behaviour {
	return []behaviour{
		{name: "a stream tells what changed, with both images, and nothing else", run: func(ctx context.Context, s services) string {
			changes := []func() error{
				func() error { return put(ctx, s, order("stream", 1, item{"note": text("a")})) },
				func() error { return put(ctx, s, order("stream", 1, item{"note": text("a")})) }, // changes nothing
				func() error { return put(ctx, s, order("stream", 1, item{"note": text("b")})) },
				func() error {
					_, err := s.dynamodb.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String(orders), Key: order("stream", 1)})
					return err
				},
				func() error {
					_, err := s.dynamodb.DeleteItem(ctx, &dynamodb.DeleteItemInput{
						TableName: aws.String(orders),
						Key:       order("stream", 1),
					}) // deletes nothing
					return err
				},
			}
			for _, change := range changes {
				if err := change(); err != nil {
					return code(err)
				}
			}
			records, err := recordsOf(ctx, s, "stream")
			if err != nil {
				return code(err)
			}
			var story []string
			for _, r := range records {
				story = append(story, fmt.Sprintf("%s %s->%s", r.EventName, note(r.Dynamodb.OldImage), note(r.Dynamodb.NewImage)))
			}
			return strings.Join(story, ", ")
		}, want: "INSERT ->a, MODIFY a->b, REMOVE b->"},
		{name: "the sequence numbers of a key ascend and the ids differ", run: func(ctx context.Context, s services) string {
			for n := range 3 {
				if err := put(ctx, s, order("sequence", 1, item{"note": text(fmt.Sprint(n))})); err != nil {
					return code(err)
				}
			}
			records, err := recordsOf(ctx, s, "sequence")
			if err != nil {
				return code(err)
			}
			var numbers []string
			ids := map[string]bool{}
			for _, r := range records {
				numbers = append(numbers, fmt.Sprintf("%050s", aws.ToString(r.Dynamodb.SequenceNumber)))
				ids[aws.ToString(r.EventID)] = true
			}
			return fmt.Sprintf("%d records, sorted: %v, %d ids", len(records), slices.IsSorted(numbers), len(ids))
		}, want: "3 records, sorted: true, 3 ids"},
	}
}

func note(image map[string]streamtypes.AttributeValue) string {
	if v, ok := image["note"].(*streamtypes.AttributeValueMemberS); ok {
		return v.Value
	}
	return ""
}

// recordsOf reads the stream from its beginning and keeps the records of a customer.
func recordsOf(ctx context.Context, s services, customer string) ([]streamtypes.Record, error) {
	table, err := s.dynamodb.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(orders)})
	if err != nil {
		return nil, err
	}
	stream := table.Table.LatestStreamArn
	shards := []streamtypes.Shard{{ShardId: s.shard}}
	if s.shard == nil {
		stream, err := s.streams.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: stream})
		if err != nil {
			return nil, err
		}
		shards = stream.StreamDescription.Shards
	}
	var found []streamtypes.Record
	for _, shard := range shards {
		start, err := s.streams.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
			StreamArn:         stream,
			ShardId:           shard.ShardId,
			ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			return nil, err
		}
		for next := start.ShardIterator; next != nil; {
			out, err := s.streams.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next})
			if err != nil {
				return nil, err
			}
			if len(out.Records) == 0 {
				break
			}
			for _, r := range out.Records {
				if v, ok := r.Dynamodb.Keys["customer"].(*streamtypes.AttributeValueMemberS); ok && v.Value == customer {
					found = append(found, r)
				}
			}
			next = out.NextShardIterator
		}
	}
	return found, nil
}
