package dynamodb_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	local "github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/shared/wiring"
)

// The shapes of values in tests.
type (
	S    = types.AttributeValueMemberS
	N    = types.AttributeValueMemberN
	B    = types.AttributeValueMemberB
	L    = types.AttributeValueMemberL
	SS   = types.AttributeValueMemberSS
	item = map[string]types.AttributeValue
)

func s(text string) *S { return &S{Value: text} }
func n(text string) *N { return &N{Value: text} }

var ptr = aws.String

// values compares attribute values: the SDK's types have unexported fields.
var values = cmpopts.IgnoreUnexported(S{}, N{}, B{}, L{}, SS{}, types.AttributeValueMemberBOOL{})

// start is when the clock of every test starts.
var start = time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

const (
	ordersARN = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
	streamARN = ordersARN + "/stream/2026-01-01T00:00:00.000"
)

// fixture is a database with two tables behind a server, and clients of it:
//
//	orders  customer S, number N; stream; TTL expires; indexes
//	          by_state  state S, number N   INCLUDE note
//	          by_day    day S               KEYS_ONLY
//	          all       state S             ALL
//	notes   id S; no stream
type fixture struct {
	*dynamodb.Client
	db      *local.Database
	clock   *clock
	streams *dynamodbstreams.Client
	server  *httptest.Server
}

func newFixture(t testing.TB, policies awsjson.Policies) *fixture {
	t.Helper()
	f := &fixture{clock: &clock{now: start}}
	f.db = local.New(local.Options{Clock: f.clock.Now})
	create := func(schema local.Schema) {
		if err := f.db.CreateTable(schema); err != nil {
			t.Fatal(err)
		}
	}
	state, number := local.Key{Name: "state", Type: attribute.String}, local.Key{Name: "number", Type: attribute.Number}
	create(local.Schema{
		Name: "orders", HashKey: local.Key{Name: "customer", Type: attribute.String}, RangeKey: number,
		Indexes: []local.Index{
			{Name: "by_state", HashKey: state, RangeKey: number, Projection: local.ProjectInclude, NonKeyAttributes: []string{"note"}},
			{Name: "by_day", HashKey: local.Key{Name: "day", Type: attribute.String}, Projection: local.ProjectKeysOnly},
			{Name: "all", HashKey: state, Projection: local.ProjectAll},
		},
		Stream: true, StreamARN: streamARN, TTLAttribute: "expires",
	})
	create(local.Schema{Name: "notes", HashKey: local.Key{Name: "id", Type: attribute.String}})
	f.server = httptest.NewServer(&awsjson.Server{Policies: policies, Services: map[string]awsjson.Service{
		"DynamoDB_20120810": f.db.Service(), "DynamoDBStreams_20120810": f.db.Streams(),
	}})
	t.Cleanup(f.server.Close)
	static := credentials.NewStaticCredentialsProvider("key", "secret", "")
	f.Client = dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		BaseEndpoint: &f.server.URL,
		Credentials:  static,
		HTTPClient:   wiring.Transport{Transport: http.DefaultTransport.(*http.Transport)},

		RetryMaxAttempts: 1, // so that each test sees the first answer
	})
	f.streams = dynamodbstreams.New(
		dynamodbstreams.Options{Region: "us-east-1", BaseEndpoint: &f.server.URL, Credentials: static, RetryMaxAttempts: 1},
	)
	return f
}

// put stores items of orders or, if they have an id, of notes.
func (f *fixture) put(t testing.TB, items ...item) {
	t.Helper()
	for _, i := range items {
		table := "orders"
		if i["id"] != nil {
			table = "notes"
		}
		if _, err := f.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: &table, Item: i}); err != nil {
			t.Fatal(err)
		}
	}
}

// order returns the stored order, or nil.
func (f *fixture) order(t testing.TB, customer, number string) item {
	t.Helper()
	out, err := f.GetItem(context.Background(), &dynamodb.GetItemInput{TableName: ptr("orders"), Key: key(customer, number)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

func key(customer, number string) item { return item{"customer": s(customer), "number": n(number)} }

// order makes an order with further attributes.
func order(customer, number string, more item) item {
	i := key(customer, number)
	for name, v := range more {
		i[name] = v
	}
	return i
}

// refused checks an error's code and message.
func refused(t testing.TB, err error, code, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Fatalf("got %v; want %s", err, code)
	}
	if diff := cmp.Diff([]string{code, message}, []string{e.ErrorCode(), e.ErrorMessage()}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func same(t testing.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, values, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTablesAreDescribed(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"state": s("open")}))
	out, err := f.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: ptr(ordersARN)})
	if err != nil {
		t.Fatal(err)
	}
	d := out.Table
	same(t, "orders", *d.TableName)
	same(t, ordersARN, *d.TableArn)
	same(t, types.TableStatusActive, d.TableStatus)
	same(t, int64(1), *d.ItemCount)
	same(t, streamARN, *d.LatestStreamArn)
	same(t, start, d.CreationDateTime.UTC())
	indexes := map[string]types.ProjectionType{}
	for _, x := range d.GlobalSecondaryIndexes {
		indexes[*x.IndexName] = x.Projection.ProjectionType
	}
	same(t, map[string]types.ProjectionType{"by_state": "INCLUDE", "by_day": "KEYS_ONLY", "all": "ALL"}, indexes)

	list, err := f.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, []string{"notes", "orders"}, list.TableNames)
}

func TestTableIsNotCreatedTwice(t *testing.T) {
	schema := local.Schema{Name: "notes", HashKey: local.Key{Name: "id", Type: attribute.String}}
	err := newFixture(t, nil).db.CreateTable(schema)
	if err == nil {
		t.Fatal("created")
	}
	same(t, "creating table notes: it exists", err.Error())
}

func TestWhatIsNotSupportedIsRefusedByName(t *testing.T) {
	for name, test := range map[string]struct {
		service, operation, body string
		want                     string
	}{
		"a change of tables": {
			operation: "DeleteTable", body: `{}`, want: "DeleteTable is not supported by the local stack",
		},
		"reading in a transaction": {
			operation: "TransactGetItems", body: `{}`, want: "TransactGetItems is not supported by the local stack",
		},
		"a description of expiry": {
			operation: "DescribeTimeToLive", body: `{}`, want: "DescribeTimeToLive is not supported by the local stack",
		},
		"a transaction of PartiQL": {
			operation: "ExecuteTransaction", body: `{}`, want: "ExecuteTransaction is not supported by the local stack",
		},
		"a parallel scan": {
			operation: "Scan", body: `{"TableName":"notes","Segment":0,"TotalSegments":2}`,
			want: "Segment and TotalSegments are not supported by the local stack",
		},
		"a list by pages": {
			operation: "ListTables", body: `{"Limit":1}`, want: "ExclusiveStartTableName and Limit are not supported by the local stack",
		},
		"a list of streams": {
			service: "streams", operation: "ListStreams", body: `{}`, want: "ListStreams is not supported by the local stack",
		},
		"a description of a stream": {
			service: "streams", operation: "DescribeStream", body: `{}`, want: "DescribeStream is not supported by the local stack",
		},
		"reading a stream from now on": {
			service: "streams", operation: "GetShardIterator",
			body: `{"StreamArn":"` + streamARN + `","ShardId":"` + local.ShardID + `","ShardIteratorType":"LATEST"}`,
			want: `the ShardIteratorType "LATEST" is not supported by the local stack`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			service := f.db.Service()
			if test.service == "streams" {
				service = f.db.Streams()
			}
			_, err := service.Serve(t.Context(), test.operation, []byte(test.body), func(string, string) error { return nil })
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
}

// only allows one action on one resource.
type only struct{ action, arn string }

func (o only) Allow(_, action, arn string) error {
	if (only{action, arn}) != o {
		return awsjson.AccessDenied("arn:aws:iam::000000000000:user/test", action, arn)
	}
	return nil
}

func TestEveryOperationAsksForItsPermission(t *testing.T) {
	ctx := context.Background()
	notes, orders := ptr("notes"), ptr("orders")
	const notesARN = "arn:aws:dynamodb:us-east-1:000000000000:table/notes"
	a := item{"id": s("a")}
	for _, c := range []struct {
		action, arn string
		do          func(f *fixture) error
	}{
		{action: "PutItem", arn: notesARN, do: func(f *fixture) error {
			_, err := f.PutItem(ctx, &dynamodb.PutItemInput{TableName: notes, Item: a})
			return err
		}},
		{action: "GetItem", arn: notesARN, do: func(f *fixture) error {
			_, err := f.GetItem(ctx, &dynamodb.GetItemInput{TableName: notes, Key: a})
			return err
		}},
		{action: "UpdateItem", arn: notesARN, do: func(f *fixture) error {
			_, err := f.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: notes, Key: a})
			return err
		}},
		{action: "DeleteItem", arn: notesARN, do: func(f *fixture) error {
			_, err := f.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: notes, Key: a})
			return err
		}},
		{action: "Query", arn: notesARN, do: func(f *fixture) error {
			_, err := f.Query(ctx, &dynamodb.QueryInput{
				TableName:                 notes,
				KeyConditionExpression:    ptr("id = :a"),
				ExpressionAttributeValues: item{":a": s("a")},
			})
			return err
		}},
		{action: "Query", arn: ordersARN + "/index/by_day", do: func(f *fixture) error {
			_, err := f.Query(ctx, &dynamodb.QueryInput{
				TableName:                 orders,
				IndexName:                 ptr("by_day"),
				KeyConditionExpression:    ptr("#day = :a"),
				ExpressionAttributeNames:  map[string]string{"#day": "day"},
				ExpressionAttributeValues: item{":a": s("a")},
			})
			return err
		}},
		{action: "Scan", arn: notesARN, do: func(f *fixture) error {
			_, err := f.Scan(ctx, &dynamodb.ScanInput{TableName: notes})
			return err
		}},
		{action: "BatchGetItem", arn: notesARN, do: func(f *fixture) error {
			_, err := f.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{"notes": {Keys: []map[string]types.AttributeValue{a}}},
			})
			return err
		}},
		{action: "BatchWriteItem", arn: notesARN, do: func(f *fixture) error {
			_, err := f.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
				RequestItems: map[string][]types.WriteRequest{"notes": {{PutRequest: &types.PutRequest{Item: a}}}},
			})
			return err
		}},
		{action: "PartiQLInsert", arn: notesARN, do: func(f *fixture) error {
			_, err := f.ExecuteStatement(ctx, &dynamodb.ExecuteStatementInput{
				Statement:  ptr(insertNote),
				Parameters: []types.AttributeValue{s("a")},
			})
			return err
		}},
		{action: "PutItem", arn: notesARN, do: func(f *fixture) error {
			return f.transact(types.TransactWriteItem{Put: &types.Put{TableName: notes, Item: a}})
		}},
		{action: "UpdateItem", arn: notesARN, do: func(f *fixture) error {
			return f.transact(types.TransactWriteItem{Update: &types.Update{TableName: notes, Key: a, UpdateExpression: ptr("REMOVE x")}})
		}},
		{action: "DeleteItem", arn: notesARN, do: func(f *fixture) error {
			return f.transact(types.TransactWriteItem{Delete: &types.Delete{TableName: notes, Key: a}})
		}},
		{action: "ConditionCheckItem", arn: notesARN, do: func(f *fixture) error {
			return f.transact(
				types.TransactWriteItem{
					ConditionCheck: &types.ConditionCheck{TableName: notes, Key: a, ConditionExpression: ptr("attribute_not_exists(id)")},
				},
			)
		}},
		{action: "DescribeTable", arn: notesARN, do: func(f *fixture) error {
			_, err := f.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: notes})
			return err
		}},
		{action: "ListTables", arn: "*", do: func(f *fixture) error {
			_, err := f.ListTables(ctx, &dynamodb.ListTablesInput{})
			return err
		}},
		{action: "GetShardIterator", arn: streamARN, do: func(f *fixture) error {
			_, err := f.streams.GetShardIterator(ctx, f.iteratorInput("TRIM_HORIZON", ""))
			return err
		}},
	} {
		t.Run(c.action, func(t *testing.T) {
			if err := c.do(newFixture(t, only{"dynamodb:" + c.action, c.arn})); err != nil {
				t.Errorf("with permission: %v", err)
			}
			err := c.do(newFixture(t, only{"dynamodb:" + c.action, c.arn + "x"}))
			refused(
				t, err, "AccessDeniedException",
				"User: arn:aws:iam::000000000000:user/test is not authorized to perform: "+
					"dynamodb:"+c.action+" on resource: "+c.arn+" because no identity-based policy allows the action",
			)
		})
	}
}
