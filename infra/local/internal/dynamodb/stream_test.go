package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	local "github.com/docuhook/docuhook/infra/local/internal/dynamodb"
)

func (f *fixture) iteratorInput(kind streamtypes.ShardIteratorType, sequence string) *dynamodbstreams.GetShardIteratorInput {
	in := &dynamodbstreams.GetShardIteratorInput{StreamArn: ptr(streamARN), ShardId: ptr(local.ShardID), ShardIteratorType: kind}
	if sequence != "" {
		in.SequenceNumber = &sequence
	}
	return in
}

// records reads once from where an iterator of this kind starts.
func (f *fixture) records(t *testing.T, kind streamtypes.ShardIteratorType, sequence string) []streamtypes.Record {
	t.Helper()
	iterator, err := f.streams.GetShardIterator(t.Context(), f.iteratorInput(kind, sequence))
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	return out.Records
}

// describe says what records are about: event, number, and whether there are images.
func describe(records []streamtypes.Record) []string {
	descriptions := []string{}
	for _, r := range records {
		descriptions = append(
			descriptions,
			fmt.Sprintf(
				"%s %s old=%t new=%t", r.EventName, r.Dynamodb.Keys["number"].(*streamtypes.AttributeValueMemberN).Value,
				r.Dynamodb.OldImage != nil, r.Dynamodb.NewImage != nil,
			),
		)
	}
	return descriptions
}

func TestStreamTellsWhatReallyChanged(t *testing.T) {
	f := newFixture(t, nil)
	same(t, "", f.db.Stream(streamARN).Latest())
	f.put(t, order("c", "1", item{"a": s("x")}), order("c", "1", item{"a": s("x")}), order("c", "1.0", item{"a": s("y")}))
	for range 2 {
		if _, err := f.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: ptr("orders"), Key: key("c", "1")}); err != nil {
			t.Fatal(err)
		}
	}
	update := &dynamodb.UpdateItemInput{
		TableName: ptr("orders"), Key: key("c", "2"), UpdateExpression: ptr("SET a = :x"),
		ExpressionAttributeValues: item{":x": s("x")},
	}
	for range 2 {
		if _, err := f.UpdateItem(t.Context(), update); err != nil {
			t.Fatal(err)
		}
	}
	records := f.records(t, "TRIM_HORIZON", "")
	same(
		t,
		[]string{"INSERT 1 old=false new=true", "MODIFY 1 old=true new=true", "REMOVE 1 old=true new=false", "INSERT 2 old=false new=true"},
		describe(records),
	)
	for i, r := range records {
		same(t, 21, len(*r.Dynamodb.SequenceNumber))
		if i > 0 && *r.Dynamodb.SequenceNumber <= *records[i-1].Dynamodb.SequenceNumber {
			t.Errorf("sequence number %s after %s", *r.Dynamodb.SequenceNumber, *records[i-1].Dynamodb.SequenceNumber)
		}
		same(t, start.Truncate(time.Second), r.Dynamodb.ApproximateCreationDateTime.UTC())
	}
	second := *records[1].Dynamodb.SequenceNumber
	same(t, describe(records[1:]), describe(f.records(t, "AT_SEQUENCE_NUMBER", second)))
}

func TestIteratorGoesOn(t *testing.T) {
	f := newFixture(t, nil)
	for i := range 5 {
		f.put(t, order("c", fmt.Sprint(i), nil))
	}
	first, err := f.streams.GetShardIterator(t.Context(), f.iteratorInput("TRIM_HORIZON", ""))
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	limit := int32(2)
	for iterator := first.ShardIterator; len(sizes) < 4; {
		out, err := f.streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator, Limit: &limit})
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(out.Records))
		iterator = out.NextShardIterator
	}
	same(t, []int{2, 2, 1, 0}, sizes)
}

func TestOldRecordsAreTrimmed(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", nil))
	first := f.db.Stream(streamARN).Latest()
	horizon, err := f.streams.GetShardIterator(t.Context(), f.iteratorInput("TRIM_HORIZON", ""))
	if err != nil {
		t.Fatal(err)
	}
	f.clock.advance(23 * time.Hour)
	f.put(t, order("c", "2", nil))
	_, err = f.streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: horizon.ShardIterator})
	if expired := new(streamtypes.ExpiredIteratorException); !errors.As(err, &expired) {
		t.Errorf("an iterator of 23 hours: %v", err)
	}
	same(t, 2, len(f.records(t, "TRIM_HORIZON", "")))
	f.clock.advance(2 * time.Hour)
	same(t, []string{"INSERT 2 old=false new=true"}, describe(f.records(t, "TRIM_HORIZON", "")))
	_, err = f.streams.GetShardIterator(t.Context(), f.iteratorInput("AT_SEQUENCE_NUMBER", first))
	if trimmed := new(streamtypes.TrimmedDataAccessException); !errors.As(err, &trimmed) {
		t.Errorf("an iterator at a trimmed record: %v", err)
	}
}

func TestStreamRequestIsRefused(t *testing.T) {
	f := newFixture(t, nil)
	_, err := f.streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: ptr("nonsense")})
	refused(t, err, "ValidationException", "Invalid ShardIterator")
	in := f.iteratorInput("TRIM_HORIZON", "")
	in.StreamArn = ptr("arn:nope")
	_, err = f.streams.GetShardIterator(t.Context(), in)
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: Stream: arn:nope not found")
	in = f.iteratorInput("TRIM_HORIZON", "")
	in.ShardId = ptr("shardId-00000000000000000000-00000001")
	_, err = f.streams.GetShardIterator(t.Context(), in)
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: Shard does not exist")
}

func TestAllThatHasExpiredIsDeletedInSteps(t *testing.T) {
	f := newFixture(t, nil)
	const rows = 55
	for i := range rows { // three of five have expired, more than one step of them
		var batch []item
		for j := range 50 {
			expires := start.Unix() + 60
			if j%5 < 3 {
				expires = start.Unix() - 1
			}
			batch = append(batch, order("c", strconv.Itoa(i*50+j), item{"expires": n(strconv.FormatInt(expires, 10))}))
		}
		f.put(t, batch...)
	}
	same(t, rows*30, f.db.Expire(f.clock.Now()))
	same(t, 0, f.db.Expire(f.clock.Now()))
	same(t, item(nil), f.order(t, "c", "2745"))
	if f.order(t, "c", "2749") == nil {
		t.Error("an item whose time is not over was deleted")
	}
}

func TestRecordIsALambdaEvent(t *testing.T) {
	f := newFixture(t, nil)
	f.put(
		t, order("c", "1", item{"a": &B{Value: []byte{0, 1}}, "expires": n(strconv.FormatInt(start.Unix()-1, 10))}),
		order("c", "2", item{"expires": n(strconv.FormatInt(start.Unix()+60, 10))}),
	)
	same(t, 1, f.db.Expire(f.clock.Now()))
	same(t, item(nil), f.order(t, "c", "1"))
	stream := f.db.Stream(streamARN)
	records, err := stream.Read(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(records[2])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"eventID":"` + records[2].EventID() + `","eventName":"REMOVE","eventVersion":"1.1","eventSource":"aws:dynamodb",` +
		`"awsRegion":"us-east-1",` +
		`"dynamodb":{"ApproximateCreationDateTime":1767323045,"Keys":{"customer":{"S":"c"},"number":{"N":"1"}},` +
		`"OldImage":{"a":{"B":"AAE="},"customer":{"S":"c"},"expires":{"N":"1767323044"},"number":{"N":"1"}},` +
		`"SequenceNumber":"100000000000000000003","SizeBytes":50,"StreamViewType":"NEW_AND_OLD_IMAGES"},` +
		`"userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"eventSourceARN":"` + streamARN + `"}`
	same(t, want, string(text))

	var event events.DynamoDBEventRecord
	if err := json.Unmarshal(text, &event); err != nil {
		t.Fatal(err)
	}
	same(t, "dynamodb.amazonaws.com", event.UserIdentity.PrincipalID)
	same(t, start.Truncate(time.Second), event.Change.ApproximateCreationDateTime.UTC())

	wire := f.records(t, "TRIM_HORIZON", "")
	same(t, []string{"Service", "dynamodb.amazonaws.com"}, []string{*wire[2].UserIdentity.Type, *wire[2].UserIdentity.PrincipalId})
	same(t, records[0].EventID(), *wire[0].EventID)
	if wire[0].UserIdentity != nil {
		t.Error("a caller's change names an identity")
	}
}

func TestReadWaitsForTheNextRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := local.New(local.Options{})
		if err := db.CreateTable(
			local.Schema{Name: "t", HashKey: local.Key{Name: "id", Type: "S"}, Stream: true, StreamARN: "arn:stream"},
		); err != nil {
			t.Fatal(err)
		}
		allow := func(string, string) error { return nil }
		put := func(id string) {
			body := []byte(`{"TableName":"t","Item":{"id":{"S":"` + id + `"}}}`)
			if _, err := db.Service().Serve(t.Context(), "PutItem", body, allow); err != nil {
				t.Error(err)
			}
		}
		stream := db.Stream("arn:stream")
		put("before")
		got := make(chan []*local.Record)
		go func() {
			records, err := stream.Read(t.Context(), stream.Latest(), 10)
			if err != nil {
				t.Error(err)
			}
			got <- records
		}()
		synctest.Wait()
		select {
		case records := <-got:
			t.Fatalf("read %d records before there was one", len(records))
		default:
		}
		put("after")
		records := <-got
		same(t, 1, len(records))
		same(t, stream.Latest(), records[0].SequenceNumber())

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := stream.Read(ctx, stream.Latest(), 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("reading without end: %v", err)
		}
		if _, err := stream.Read(ctx, "12", 10); err == nil {
			t.Error("a sequence number of two digits is accepted")
		}
	})
}
