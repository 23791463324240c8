package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

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

func (s *shard) GetShardIterator(
	_ context.Context, in *dynamodbstreams.GetShardIteratorInput, _ ...streamOption,
) (*dynamodbstreams.GetShardIteratorOutput, error) {
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

func (s *shard) GetRecords(
	_ context.Context, in *dynamodbstreams.GetRecordsInput, _ ...streamOption,
) (*dynamodbstreams.GetRecordsOutput, error) {
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

func (q *pointerQueue) ReceiveMessage(
	_ context.Context, in *sqs.ReceiveMessageInput, _ ...queueOption,
) (*sqs.ReceiveMessageOutput, error) {
	out := &sqs.ReceiveMessageOutput{}
	for _, m := range q.messages {
		if id := *m.ReceiptHandle; !q.hidden[id] && len(out.Messages) < int(in.MaxNumberOfMessages) {
			q.hidden[id] = true
			out.Messages = append(out.Messages, m)
		}
	}
	return out, nil
}

func (q *pointerQueue) DeleteMessage(
	_ context.Context, in *sqs.DeleteMessageInput, _ ...queueOption,
) (*sqs.DeleteMessageOutput, error) {
	if q.failDelete == nil {
		q.deleted = append(q.deleted, *in.ReceiptHandle)
	}
	return nil, q.failDelete
}

func (q *pointerQueue) ChangeMessageVisibility(
	ctx context.Context, in *sqs.ChangeMessageVisibilityInput, _ ...queueOption,
) (*sqs.ChangeMessageVisibilityOutput, error) {
	if in.VisibilityTimeout == 0 && ctx.Err() == nil {
		q.visible = append(q.visible, *in.ReceiptHandle)
	}
	return nil, nil
}

type configsFunc func(organizationID string) ([]webhook.Config, error)

func (f configsFunc) Active(_ context.Context, organizationID string) ([]webhook.Config, []string, error) {
	configs, err := f(organizationID)
	return configs, nil, err
}

// eventsTable notes the documents whose events are written.
type eventsTable struct {
	documents []string
}

func (e *eventsTable) Add(_ context.Context, records []webhook.EventRecord) []error {
	for _, r := range records {
		e.documents = append(e.documents, r.Event.DocumentID)
	}
	return nil
}

func now() time.Time { return time.Date(2026, 3, 14, 21, 30, 0, 0, time.UTC) }

type queueFunc func([]webhook.Message) []error

func (f queueFunc) Send(_ context.Context, messages []webhook.Message) []error { return f(messages) }

const configID = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708192"

func everyone(organizationID string) ([]webhook.Config, error) {
	return []webhook.Config{{OrganizationID: organizationID, ID: configID, Active: true, SubscribedStatuses: webhook.Statuses()}}, nil
}

// fast is everyone with an endpoint that answers quickly.
func fast(organizationID string) ([]webhook.Config, error) {
	configs, err := everyone(organizationID)
	configs[0].FastUntil = webhook.At(now().Add(time.Hour))
	return configs, err
}

// unused is a queue that nothing may be sent to.
func unused(t *testing.T) dispatch.Queue {
	return queueFunc(func([]webhook.Message) []error { t.Error("a message in the wrong lane"); return nil })
}

// changeNumber is record n's change of a document's status, as the stream has it.
func changeNumber(n int) types.Record {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	image := func(status webhook.Status) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{
			"id":              text(fmt.Sprint("doc", n)),
			"organization_id": text("org"),
			"status":          text(string(status)),
		}
	}
	return types.Record{
		EventID: aws.String(fmt.Sprint("event", n)), EventName: types.OperationTypeModify,
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: aws.Time(time.Unix(1773500966, 0)),
			SequenceNumber:              aws.String(fmt.Sprint(n)),
			Keys:                        map[string]types.AttributeValue{"id": text(fmt.Sprint("doc", n))},
			OldImage:                    image(webhook.Processing),
			NewImage:                    image(webhook.Processed),
		},
	}
}

func numbers(from, to int) []types.Record {
	var records []types.Record
	for n := from; n <= to; n++ {
		records = append(records, changeNumber(n))
	}
	return records
}

func pointerTo(id string, from, to int) sqstypes.Message {
	body := fmt.Sprintf(`{
		"requestContext":{"requestId":"r","functionArn":"arn:f","condition":"RecordAgeExceeded","approximateInvokeCount":9},
		"version":"1.0",
		"timestamp":"2026-03-14T21:09:49.717Z",
		"DDBStreamBatchInfo":{
			"shardId":"shard-1",
			"startSequenceNumber":"%d",
			"endSequenceNumber":"%d",
			"approximateArrivalOfFirstRecord":"2026-03-14T15:09:26Z",
			"approximateArrivalOfLastRecord":"2026-03-14T15:09:27Z",
			"batchSize":%d,
			"streamArn":"arn:stream"
		}
	}`, from, to, to-from+1)
	return sqstypes.Message{MessageId: aws.String(id), ReceiptHandle: aws.String(id), Body: aws.String(body)}
}

// documents returns the ids of the documents of records from to to.
func documents(from, to int) string {
	var ids []string
	for n := from; n <= to; n++ {
		ids = append(ids, fmt.Sprint("doc", n))
	}
	return strings.Join(ids, " ")
}
