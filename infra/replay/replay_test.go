package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/webhook"
)

// shard is a stream of one shard. Its iterators are positions within pages.
type shard struct {
	pages   [][]types.Record
	open    bool  // goes on with empty pages for ever
	oldest  int   // sequence number of the first record that is still there
	gone    bool  // the whole stream is
	failing error // of GetRecords
	reads   int
	kinds   []types.ShardIteratorType
}

func (s *shard) GetShardIterator(_ context.Context, in *dynamodbstreams.GetShardIteratorInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetShardIteratorOutput, error) {
	s.kinds = append(s.kinds, in.ShardIteratorType)
	if s.gone || *in.ShardId != "shard-1" || *in.StreamArn != "arn:stream" {
		return nil, &types.ResourceNotFoundException{}
	}
	if in.ShardIteratorType == types.ShardIteratorTypeAtSequenceNumber {
		if n, _ := strconv.Atoi(*in.SequenceNumber); n < s.oldest {
			return nil, &types.TrimmedDataAccessException{}
		}
	}
	return &dynamodbstreams.GetShardIteratorOutput{ShardIterator: aws.String("0")}, nil
}

func (s *shard) GetRecords(_ context.Context, in *dynamodbstreams.GetRecordsInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetRecordsOutput, error) {
	s.reads++
	if s.failing != nil {
		return nil, s.failing
	}
	out := &dynamodbstreams.GetRecordsOutput{}
	n, _ := strconv.Atoi(*in.ShardIterator)
	if n < len(s.pages) {
		for _, one := range s.pages[n] {
			if number, _ := strconv.Atoi(*one.Dynamodb.SequenceNumber); number >= s.oldest {
				out.Records = append(out.Records, one)
			}
		}
	}
	if n+1 < len(s.pages) || s.open {
		out.NextShardIterator = aws.String(strconv.Itoa(n + 1))
	}
	return out, nil
}

// pointerQueue is a queue of pointers.
type pointerQueue struct {
	messages   []sqstypes.Message
	hidden     map[string]bool
	deleted    []string
	visible    []string // made so again
	failDelete error
}

func (q *pointerQueue) ReceiveMessage(_ context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	out := &sqs.ReceiveMessageOutput{}
	for _, m := range q.messages {
		if id := *m.ReceiptHandle; !q.hidden[id] && len(out.Messages) < int(in.MaxNumberOfMessages) {
			q.hidden[id] = true
			out.Messages = append(out.Messages, m)
		}
	}
	return out, nil
}

func (q *pointerQueue) DeleteMessage(_ context.Context, in *sqs.DeleteMessageInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error) {
	if q.failDelete == nil {
		q.deleted = append(q.deleted, *in.ReceiptHandle)
	}
	return nil, q.failDelete
}

func (q *pointerQueue) ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error) {
	if in.VisibilityTimeout == 0 && ctx.Err() == nil {
		q.visible = append(q.visible, *in.ReceiptHandle)
	}
	return nil, nil
}

type configsFunc func(organizationID string) ([]webhook.Config, error)

func (f configsFunc) ListActive(_ context.Context, organizationID string) ([]webhook.Config, error) {
	return f(organizationID)
}

type queueFunc func([]webhook.Message) []error

func (f queueFunc) Send(_ context.Context, messages []webhook.Message) []error { return f(messages) }

const configID = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708192"

func everyone(organizationID string) ([]webhook.Config, error) {
	return []webhook.Config{{OrganizationID: organizationID, ID: configID, Active: true, SubscribedStatuses: webhook.Statuses()}}, nil
}

// number is record n's change of a document's status, as the stream has it.
func number(n int) types.Record {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	image := func(status webhook.Status) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"id": text(fmt.Sprint("doc", n)), "organization_id": text("org"), "status": text(string(status))}
	}
	return types.Record{
		EventID: aws.String(fmt.Sprint("event", n)), EventName: types.OperationTypeModify,
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: aws.Time(time.Unix(1773500966, 0)), SequenceNumber: aws.String(fmt.Sprint(n)),
			Keys: map[string]types.AttributeValue{"id": text(fmt.Sprint("doc", n))}, OldImage: image(webhook.Processing), NewImage: image(webhook.Processed),
		},
	}
}

func numbers(from, to int) []types.Record {
	var records []types.Record
	for n := from; n <= to; n++ {
		records = append(records, number(n))
	}
	return records
}

func pointerTo(id string, from, to int) sqstypes.Message {
	body := fmt.Sprintf(`{"requestContext":{"requestId":"r","functionArn":"arn:f","condition":"RecordAgeExceeded","approximateInvokeCount":9},
		"version":"1.0","timestamp":"2026-03-14T21:09:49.717Z","DDBStreamBatchInfo":{"shardId":"shard-1","startSequenceNumber":"%d","endSequenceNumber":"%d",
		"approximateArrivalOfFirstRecord":"2026-03-14T15:09:26Z","approximateArrivalOfLastRecord":"2026-03-14T15:09:27Z","batchSize":%d,"streamArn":"arn:stream"}}`, from, to, to-from+1)
	return sqstypes.Message{MessageId: aws.String(id), ReceiptHandle: aws.String(id), Body: aws.String(body)}
}

func TestRun(t *testing.T) {
	third := func(m webhook.Message) error {
		if m.Event.DocumentID == "doc3" {
			return errors.New("refused")
		}
		return nil
	}
	for name, test := range map[string]struct {
		shard    shard
		messages []sqstypes.Message
		change   func(*replay, *pointerQueue)
		refuse   func(webhook.Message) error
		sent     string // documents, in order
		deleted  []string
		want     summary
		says     string
	}{
		"an empty queue is done": {},
		"the records of a pointer are sent and it is deleted": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			sent: "doc3 doc4 doc5", deleted: []string{"a"}, want: summary{done: 1}, says: "dispatched 3 messages of 3 records",
		},
		"records are read over many pages, empty ones too": {
			shard:    shard{pages: [][]types.Record{numbers(1, 2), nil, nil, numbers(3, 4), nil, numbers(5, 9)}, open: true},
			messages: []sqstypes.Message{pointerTo("a", 2, 6)}, sent: "doc2 doc3 doc4 doc5 doc6", deleted: []string{"a"}, want: summary{done: 1},
		},
		"an end that is no record of its own is passed": {
			shard:    shard{pages: [][]types.Record{{number(1), number(2), number(8)}}, open: true},
			messages: []sqstypes.Message{pointerTo("a", 1, 5)}, sent: "doc1 doc2", deleted: []string{"a"}, want: summary{done: 1},
		},
		"more than one batch goes out in order": {
			shard: shard{pages: [][]types.Record{numbers(1, 250)}}, messages: []sqstypes.Message{pointerTo("a", 1, 250)},
			sent: documents(1, 250), deleted: []string{"a"}, want: summary{done: 1}, says: "dispatched 250 messages",
		},
		"more than ten pointers are all worked on": {
			shard: shard{pages: [][]types.Record{numbers(1, 12)}},
			messages: func() (all []sqstypes.Message) {
				for n := 1; n <= 12; n++ {
					all = append(all, pointerTo(fmt.Sprint("p", n), n, n))
				}
				return all
			}(),
			sent: documents(1, 12), deleted: []string{"p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12"}, want: summary{done: 12},
		},
		"what the queue refuses keeps its pointer": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 1, 4), pointerTo("b", 5, 5)}, refuse: third,
			sent: "doc1 doc2 doc4 doc5", deleted: []string{"b"}, want: summary{done: 1, failed: 1}, says: "a: left in the queue",
		},
		"configs that cannot be read keep the pointer": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 1, 4)},
			change: func(r *replay, _ *pointerQueue) {
				r.configs = configsFunc(func(string) ([]webhook.Config, error) { return nil, errors.New("away") })
			},
			want: summary{failed: 1}, says: "4 records could not be dispatched",
		},
		"a dry run sends and deletes nothing": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			change: func(r *replay, _ *pointerQueue) { r.dryRun = true }, want: summary{done: 1}, says: "would dispatch 3 messages of 3 records",
		},
		"records that are gone keep their pointer": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}, oldest: 8, open: true}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want: summary{expired: 1}, says: "dispatched 0 messages of 0 records still in the stream; older ones are no longer there and lost (-discard-expired",
		},
		"of records of which the first are gone the rest is sent": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}, oldest: 4, open: true}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			sent: "doc4 doc5", want: summary{expired: 1}, says: "dispatched 2 messages of 2 records still in the stream; older ones",
		},
		"a pointer to what is gone may be discarded": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}, oldest: 4}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			change: func(r *replay, _ *pointerQueue) { r.discardExpired = true }, sent: "doc4 doc5", deleted: []string{"a"}, want: summary{expired: 1},
		},
		"a dry run discards nothing": {
			shard: shard{oldest: 4, pages: [][]types.Record{nil}}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			change: func(r *replay, _ *pointerQueue) { r.discardExpired, r.dryRun = true, true }, want: summary{expired: 1}, says: "left in the queue",
		},
		"a stream that is gone has lost everything": {
			shard: shard{gone: true}, messages: []sqstypes.Message{pointerTo("a", 3, 5)}, want: summary{expired: 1}, says: "no longer there",
		},
		"a shard that does not come to the end keeps the pointer, and what it gave is not sent": {
			shard: shard{pages: [][]types.Record{numbers(1, 4)}, open: true}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want: summary{failed: 1}, says: "run replay again",
		},
		"a closed shard that lacks the end keeps the pointer": {
			shard: shard{pages: [][]types.Record{numbers(1, 4)}}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want: summary{failed: 1}, says: "run replay again",
		},
		"a stream that cannot be read keeps the pointer": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}, failing: errors.New("throttled")}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want: summary{failed: 1}, says: "throttled",
		},
		"what is no pointer is left alone": {
			shard:    shard{pages: [][]types.Record{numbers(1, 9)}},
			messages: []sqstypes.Message{{MessageId: aws.String("x"), ReceiptHandle: aws.String("x"), Body: aws.String(`{"hello":"world"}`)}, pointerTo("a", 3, 3)},
			sent:     "doc3", deleted: []string{"a"}, want: summary{done: 1, failed: 1}, says: "x: left in the queue: not a pointer",
		},
		"a pointer that cannot be deleted is reported": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 3, 3)},
			change: func(_ *replay, q *pointerQueue) { q.failDelete = errors.New("away") },
			sent:   "doc3", want: summary{done: 1, failed: 1}, says: "harmless: away",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pointers := &pointerQueue{messages: test.messages, hidden: map[string]bool{}}
			var sent []string
			var out bytes.Buffer
			r := &replay{
				pointers: pointers, reader: reader{&test.shard, func(context.Context, time.Duration) error { return nil }}, configs: configsFunc(everyone),
				queue: queueFunc(func(messages []webhook.Message) []error {
					errs := make([]error, len(messages))
					for i, m := range messages {
						if test.refuse != nil {
							errs[i] = test.refuse(m)
						}
						if errs[i] == nil {
							sent = append(sent, m.Event.DocumentID)
						}
					}
					return errs
				}),
				out: &out, log: slog.New(slog.DiscardHandler),
			}
			if test.change != nil {
				test.change(r, pointers)
			}
			got, err := r.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(summary{})); diff != "" {
				t.Error(diff)
			}
			if strings.Join(sent, " ") != test.sent {
				t.Errorf("sent %v, want %s", sent, test.sent)
			}
			if diff := cmp.Diff(test.deleted, pointers.deleted); diff != "" {
				t.Errorf("deleted: %s", diff)
			}
			if !strings.Contains(out.String(), test.says) {
				t.Errorf("says %q, want %q", &out, test.says)
			}
			for _, m := range test.messages {
				left := !slices.Contains(pointers.deleted, *m.ReceiptHandle)
				if again := slices.Contains(pointers.visible, *m.ReceiptHandle); again != left {
					t.Errorf("%s: left in the queue %t, made visible again %t", *m.MessageId, left, again)
				}
			}
		})
	}
}

// documents returns the ids of the documents of records from to to.
func documents(from, to int) string {
	var ids []string
	for n := from; n <= to; n++ {
		ids = append(ids, fmt.Sprint("doc", n))
	}
	return strings.Join(ids, " ")
}

func TestRunIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	pointers := &pointerQueue{messages: []sqstypes.Message{pointerTo("a", 1, 1), pointerTo("b", 2, 2)}, hidden: map[string]bool{}}
	r := &replay{
		pointers: pointers, reader: reader{&shard{pages: [][]types.Record{numbers(1, 9)}}, sleep}, configs: configsFunc(everyone),
		queue: queueFunc(func([]webhook.Message) []error { cancel(); return nil }), out: &bytes.Buffer{}, log: slog.New(slog.DiscardHandler),
	}
	got, err := r.run(ctx)
	if !errors.Is(err, context.Canceled) || got.done != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"a"}, pointers.deleted); diff != "" {
		t.Errorf("deleted: %s", diff)
	}
	if diff := cmp.Diff([]string{"b"}, pointers.visible); diff != "" {
		t.Errorf("the other pointer must be visible again: %s", diff)
	}
}

// The dispatch function's sample events, taken for what the stream holds, must come out as the very
// messages that the function has sent for them.
func TestReplaySendsWhatDispatchWouldHaveSent(t *testing.T) {
	samples, err := filepath.Glob("../../functions/dispatch/events/*.json")
	if err != nil || len(samples) == 0 {
		t.Fatal(samples, err)
	}
	for _, sample := range samples {
		t.Run(filepath.Base(sample), func(t *testing.T) {
			data, err := os.ReadFile(sample)
			if err != nil {
				t.Fatal(err)
			}
			var batch dispatch.Batch
			if err := json.Unmarshal(data, &batch); err != nil {
				t.Fatal(err)
			}
			var again dispatch.Batch
			for _, raw := range batch.Records {
				converted, err := convert(fromLambda(t, raw), "arn:aws:dynamodb:eu-central-1:123456789012:table/docuhook-DocumentsTable-1A2B3C4D5E6F7/stream/2026-03-01T09:30:15.123")
				if err != nil {
					t.Fatal(err)
				}
				var want, got any
				if json.Unmarshal(raw, &want) != nil || json.Unmarshal(converted, &got) != nil {
					t.Fatalf("%s is not JSON", converted)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("the record is not as Lambda had it: %s", diff)
				}
				again.Records = append(again.Records, converted)
			}
			if diff := cmp.Diff(messages(t, batch), messages(t, again)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func messages(t *testing.T, batch dispatch.Batch) []webhook.Message {
	t.Helper()
	var sent []webhook.Message
	d := &dispatch.Dispatcher{
		Configs: configsFunc(everyone), Metrics: &counter{}, Log: slog.New(slog.DiscardHandler),
		Queue: queueFunc(func(messages []webhook.Message) []error { sent = append(sent, messages...); return nil }),
	}
	if _, err := d.Handle(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return sent
}

// fromLambda turns a record of Lambda's event into what the SDK makes of the same record, with a
// fraction of a second that the stream may have and the event has not.
func fromLambda(t *testing.T, raw json.RawMessage) types.Record {
	t.Helper()
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	values := func(from map[string]any) map[string]types.AttributeValue {
		if from == nil {
			return nil
		}
		to := map[string]types.AttributeValue{}
		for name, value := range from {
			for kind, content := range value.(map[string]any) {
				switch kind {
				case "S":
					to[name] = &types.AttributeValueMemberS{Value: content.(string)}
				case "N":
					to[name] = &types.AttributeValueMemberN{Value: content.(string)}
				default:
					t.Fatalf("no type %s in the sample events", kind)
				}
			}
		}
		return to
	}
	out := types.Record{
		EventID: &r.EventID, EventName: types.OperationType(r.EventName), EventVersion: &r.EventVersion, EventSource: &r.EventSource, AwsRegion: &r.AWSRegion,
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: aws.Time(time.Unix(r.DynamoDB.ApproximateCreationDateTime, 987_654_321)),
			Keys:                        values(r.DynamoDB.Keys), NewImage: values(r.DynamoDB.NewImage), OldImage: values(r.DynamoDB.OldImage),
			SequenceNumber: &r.DynamoDB.SequenceNumber, SizeBytes: &r.DynamoDB.SizeBytes, StreamViewType: types.StreamViewType(r.DynamoDB.StreamViewType),
		},
	}
	if r.UserIdentity != nil {
		out.UserIdentity = &types.Identity{Type: &r.UserIdentity.Type, PrincipalId: &r.UserIdentity.PrincipalID}
	}
	return out
}

func TestConvertAttributes(t *testing.T) {
	everything := &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
		"s": &types.AttributeValueMemberS{Value: "<&>é"}, "n": &types.AttributeValueMemberN{Value: "12345678901234567890.5"},
		"b": &types.AttributeValueMemberB{Value: []byte{0, 255}}, "t": &types.AttributeValueMemberBOOL{Value: true}, "z": &types.AttributeValueMemberNULL{Value: true},
		"ss": &types.AttributeValueMemberSS{Value: []string{"a"}}, "ns": &types.AttributeValueMemberNS{Value: []string{"1"}},
		"bs": &types.AttributeValueMemberBS{Value: [][]byte{{1}}}, "l": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberS{Value: "x"}}},
		"empty list": &types.AttributeValueMemberL{}, "empty map": &types.AttributeValueMemberM{},
	}}
	converted, err := attribute(everything)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(converted)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"M":{"b":{"B":"AP8="},"bs":{"BS":["AQ=="]},"empty list":{"L":[]},"empty map":{"M":{}},"l":{"L":[{"S":"x"}]},"n":{"N":"12345678901234567890.5"},` +
		`"ns":{"NS":["1"]},"s":{"S":"\u003c\u0026\u003eé"},"ss":{"SS":["a"]},"t":{"BOOL":true},"z":{"NULL":true}}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if _, err := attribute(&types.UnknownUnionMember{Tag: "X"}); err == nil {
		t.Error("a type that nobody knows is converted")
	}
}

func TestCompare(t *testing.T) {
	ordered := []string{"0", "1", "9", "10", "99", "100000000003126276362", "800000000003126276362", "4421584500000000017450439091", "4421584500000000017450439092"}
	for i, a := range ordered {
		for j, b := range ordered {
			got := compare(a, b)
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("compare(%s, %s) is %d", a, b, got)
			}
		}
	}
	if compare("007", "7") != 0 {
		t.Error("leading zeros count")
	}
}

func TestMisuse(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		code      int
		says      string
	}{
		"an unknown flag":     {[]string{"-colour", "red"}, 2, "-colour"},
		"an argument":         {[]string{"all"}, 2, `unexpected argument "all"`},
		"a question for help": {[]string{"-h"}, 0, "-discard-expired"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			if code := run(t.Context(), test.arguments, &out, &stderr); code != test.code || !strings.Contains(stderr.String(), test.says) || out.Len() > 0 {
				t.Errorf("exit code %d, %q", code, &stderr)
			}
		})
	}
}
