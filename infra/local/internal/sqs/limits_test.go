package sqs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
)

func TestRequestsOutsideTheLimitsAreRefusedWithAWSsCodes(t *testing.T) {
	var eleven []string
	for i := range 11 {
		eleven = append(eleven, fmt.Sprintf(`{"Id":"%d","MessageBody":"b","ReceiptHandle":"r"}`, i))
	}
	big := strings.Repeat("x", 1<<19+1)
	tests := map[string]struct {
		operation, body string
		code            string // "" if allowed
	}{
		"no body":         {"SendMessage", `{"QueueUrl":"orders"}`, "MissingParameter"},
		"an empty body":   {"SendMessage", `{"QueueUrl":"orders","MessageBody":""}`, "MissingParameter"},
		"a body of 1 MiB": {"SendMessage", `{"QueueUrl":"orders","MessageBody":"` + strings.Repeat("x", 1<<20) + `"}`, ""},
		"a body over 1 MiB": {
			"SendMessage", `{"QueueUrl":"orders","MessageBody":"` + strings.Repeat("x", 1<<20+1) + `"}`, "InvalidParameterValue",
		},
		"tab, newline, return":    {"SendMessage", `{"QueueUrl":"orders","MessageBody":"\t\n\r"}`, ""},
		"a control character":     {"SendMessage", `{"QueueUrl":"orders","MessageBody":"a\u0001"}`, "InvalidMessageContents"},
		"a noncharacter":          {"SendMessage", `{"QueueUrl":"orders","MessageBody":"\uFFFE"}`, "InvalidMessageContents"},
		"the longest delay":       {"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","DelaySeconds":900}`, ""},
		"a delay over 15 minutes": {"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","DelaySeconds":901}`, "InvalidParameterValue"},
		"a delay before now":      {"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","DelaySeconds":-1}`, "InvalidParameterValue"},
		"a group of 128 characters": {
			"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":"` + strings.Repeat("!", 128) + `"}`, "",
		},
		"a group of 129 characters": {
			"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":"` + strings.Repeat("!", 129) + `"}`,
			"InvalidParameterValue",
		},
		"a group with a space": {"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":"a b"}`, "InvalidParameterValue"},
		"an empty group":       {"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":""}`, "InvalidParameterValue"},
		"a deduplication id": {
			"SendMessage", `{"QueueUrl":"orders","MessageBody":"b","MessageDeduplicationId":"d"}`, "InvalidParameterValue",
		},
		"an unknown system attribute": {
			"SendMessage",
			`{"QueueUrl":"orders","MessageBody":"b","MessageSystemAttributes":{"X":{"DataType":"String","StringValue":"v"}}}`,
			"InvalidParameterValue",
		},
		"a body that is a number": {"SendMessage", `{"QueueUrl":"orders","MessageBody":1}`, "MalformedInput"},

		"no entries": {"SendMessageBatch", `{"QueueUrl":"orders","Entries":[]}`, "AWS.SimpleQueueService.EmptyBatchRequest"},
		"eleven entries": {
			"SendMessageBatch", `{"QueueUrl":"orders","Entries":[` + strings.Join(eleven, ",") + `]}`,
			"AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
		},
		"ten entries": {"SendMessageBatch", `{"QueueUrl":"orders","Entries":[` + strings.Join(eleven[:10], ",") + `]}`, ""},
		"an id twice": {
			"SendMessageBatch", `{"QueueUrl":"orders","Entries":[` + eleven[0] + "," + eleven[0] + `]}`,
			"AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
		},
		"an id with a space": {
			"SendMessageBatch", `{"QueueUrl":"orders","Entries":[{"Id":"a b","MessageBody":"b"}]}`,
			"AWS.SimpleQueueService.InvalidBatchEntryId",
		},
		"an entry without body": {"SendMessageBatch", `{"QueueUrl":"orders","Entries":[{"Id":"1"}]}`, "MissingParameter"},
		"entries over 1 MiB in all": {
			"SendMessageBatch",
			`{"QueueUrl":"orders","Entries":[{"Id":"1","MessageBody":"` + big + `"},{"Id":"2","MessageBody":"` + big + `"}]}`,
			"AWS.SimpleQueueService.BatchRequestTooLong",
		},
		"no entries to delete": {"DeleteMessageBatch", `{"QueueUrl":"orders"}`, "AWS.SimpleQueueService.EmptyBatchRequest"},
		"eleven entries to delete": {
			"DeleteMessageBatch", `{"QueueUrl":"orders","Entries":[` + strings.Join(eleven, ",") + `]}`,
			"AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
		},
		"no entries to change":          {"ChangeMessageVisibilityBatch", `{"QueueUrl":"orders"}`, "AWS.SimpleQueueService.EmptyBatchRequest"},
		"zero messages":                 {"ReceiveMessage", `{"QueueUrl":"orders","MaxNumberOfMessages":0}`, "InvalidParameterValue"},
		"eleven messages":               {"ReceiveMessage", `{"QueueUrl":"orders","MaxNumberOfMessages":11}`, "InvalidParameterValue"},
		"a wait over 20 seconds":        {"ReceiveMessage", `{"QueueUrl":"orders","WaitTimeSeconds":21}`, "InvalidParameterValue"},
		"a visibility over 12 hours":    {"ReceiveMessage", `{"QueueUrl":"orders","VisibilityTimeout":43201}`, "InvalidParameterValue"},
		"an unknown attribute":          {"ReceiveMessage", `{"QueueUrl":"orders","AttributeNames":["Colour"]}`, "InvalidAttributeName"},
		"no handle to delete":           {"DeleteMessage", `{"QueueUrl":"orders"}`, "MissingParameter"},
		"a handle that is none":         {"DeleteMessage", `{"QueueUrl":"orders","ReceiptHandle":"?"}`, "ReceiptHandleIsInvalid"},
		"a handle of another queue":     {"DeleteMessage", `{"QueueUrl":"orders","ReceiptHandle":"ZGVhZCBtIDE="}`, "ReceiptHandleIsInvalid"},
		"a handle of a deleted message": {"DeleteMessage", `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ=="}`, ""},
		"no handle to change":           {"ChangeMessageVisibility", `{"QueueUrl":"orders","VisibilityTimeout":1}`, "MissingParameter"},
		"no timeout to change to": {
			"ChangeMessageVisibility", `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ=="}`, "MissingParameter",
		},
		"a change over 12 hours": {
			"ChangeMessageVisibility", `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ==","VisibilityTimeout":43201}`,
			"InvalidParameterValue",
		},
		"a change of no handle": {
			"ChangeMessageVisibility", `{"QueueUrl":"orders","ReceiptHandle":"?","VisibilityTimeout":1}`, "ReceiptHandleIsInvalid",
		},
		"a change of a deleted message": {
			"ChangeMessageVisibility", `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ==","VisibilityTimeout":1}`,
			"AWS.SimpleQueueService.MessageNotInflight",
		},
		"an unknown queue attribute": {"GetQueueAttributes", `{"QueueUrl":"orders","AttributeNames":["Colour"]}`, "InvalidAttributeName"},
		"a queue attribute not set":  {"GetQueueAttributes", `{"QueueUrl":"orders","AttributeNames":["Policy"]}`, ""},
		"a queue name not given":     {"GetQueueUrl", `{}`, "MissingParameter"},
		"a queue of another account": {
			"GetQueueUrl", `{"QueueName":"orders","QueueOwnerAWSAccountId":"1"}`, "AWS.SimpleQueueService.NonExistentQueue",
		},
		"a move from nowhere":          {"StartMessageMoveTask", `{}`, "MissingParameter"},
		"a move from an unknown queue": {"StartMessageMoveTask", `{"SourceArn":"arn:absent"}`, "ResourceNotFoundException"},
		"a move from no DLQ":           {"StartMessageMoveTask", `{"SourceArn":"` + arnPrefix + `orders"}`, "InvalidParameterValue"},
		"a move to an unknown queue": {
			"StartMessageMoveTask", `{"SourceArn":"` + arnPrefix + `dead","DestinationArn":"arn:absent"}`, "ResourceNotFoundException",
		},
		"a move to the same queue": {
			"StartMessageMoveTask", `{"SourceArn":"` + arnPrefix + `dead","DestinationArn":"` + arnPrefix + `dead"}`,
			"InvalidParameterValue",
		},
		"a move of none per second": {
			"StartMessageMoveTask", `{"SourceArn":"` + arnPrefix + `dead","MaxNumberOfMessagesPerSecond":0}`, "InvalidParameterValue",
		},
		"a move of 501 per second": {
			"StartMessageMoveTask", `{"SourceArn":"` + arnPrefix + `dead","MaxNumberOfMessagesPerSecond":501}`, "InvalidParameterValue",
		},
		"eleven tasks listed": {
			"ListMessageMoveTasks", `{"SourceArn":"` + arnPrefix + `dead","MaxResults":11}`, "InvalidParameterValue",
		},
		"tasks of an unknown queue": {"ListMessageMoveTasks", `{"SourceArn":"arn:absent"}`, "ResourceNotFoundException"},
		"tasks of no queue":         {"ListMessageMoveTasks", `{}`, "MissingParameter"},
		"an unknown task cancelled": {"CancelMessageMoveTask", `{"TaskHandle":"absent"}`, "ResourceNotFoundException"},
		"no task cancelled":         {"CancelMessageMoveTask", `{}`, "MissingParameter"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newBroker(t, sqs.Options{}).Service().Serve(t.Context(), test.operation, []byte(test.body), allowAll)
			if test.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e, ok := errors.AsType[*awsjson.Error](err)
			if !ok || e.Query != test.code {
				t.Errorf("error %v, want %s", err, test.code)
			}
		})
	}
}

func TestEntriesOfABatchFailAlone(t *testing.T) {
	b := newBroker(t, sqs.Options{})
	if err := b.CreateQueue(sqs.Definition{Name: "small", MaximumMessageSize: new(1024)}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, b, nil)
	sent, err := c.SendMessageBatch(t.Context(), &client.SendMessageBatchInput{
		QueueUrl: queueURL("small"),
		Entries: []types.SendMessageBatchRequestEntry{
			{Id: aws.String("good"), MessageBody: aws.String("b")},
			{Id: aws.String("long"), MessageBody: aws.String(strings.Repeat("x", 1025))},
			{Id: aws.String("dirty"), MessageBody: aws.String("\x01")},
			{Id: aws.String("late"), MessageBody: aws.String("b"), DelaySeconds: 901},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	failures := func(failed []types.BatchResultErrorEntry) map[string]string {
		codes := map[string]string{}
		for _, f := range failed {
			if !f.SenderFault {
				t.Errorf("%s is not said to be the sender's fault", *f.Id)
			}
			codes[*f.Id] = *f.Code
		}
		return codes
	}
	wantSame(t, failures(sent.Failed), map[string]string{
		"long": "InvalidParameterValue", "dirty": "InvalidMessageContents", "late": "InvalidParameterValue",
	})
	if len(sent.Successful) != 1 || *sent.Successful[0].Id != "good" {
		t.Fatalf("successful: %v", sent.Successful)
	}

	m := mustReceive(t, c, "small")[0]
	changed, err := c.ChangeMessageVisibilityBatch(t.Context(), &client.ChangeMessageVisibilityBatchInput{
		QueueUrl: queueURL("small"),
		Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
			{Id: aws.String("good"), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 60},
			{Id: aws.String("long"), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 43201},
			{Id: aws.String("handle"), ReceiptHandle: aws.String("?")},
			{Id: aws.String("gone"), ReceiptHandle: aws.String("c21hbGwgbSAx")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, failures(changed.Failed), map[string]string{
		"long": "InvalidParameterValue", "handle": "ReceiptHandleIsInvalid", "gone": "AWS.SimpleQueueService.MessageNotInflight",
	})

	deleted, err := c.DeleteMessageBatch(t.Context(), &client.DeleteMessageBatchInput{
		QueueUrl: queueURL("small"),
		Entries: []types.DeleteMessageBatchRequestEntry{
			{Id: aws.String("good"), ReceiptHandle: m.ReceiptHandle},
			{Id: aws.String("handle"), ReceiptHandle: aws.String("?")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, failures(deleted.Failed), map[string]string{"handle": "ReceiptHandleIsInvalid"})
	want := []types.DeleteMessageBatchResultEntry{{Id: aws.String("good")}}
	if diff := cmp.Diff(want, deleted.Successful, cmpopts.IgnoreUnexported(types.DeleteMessageBatchResultEntry{})); diff != "" {
		t.Error(diff)
	}
	wantSame(
		t, attributes(t, c, "small", "ApproximateNumberOfMessagesNotVisible"),
		map[string]string{"ApproximateNumberOfMessagesNotVisible": "0"},
	)
}
