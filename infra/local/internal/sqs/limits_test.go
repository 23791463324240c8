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
		"no body":         {operation: "SendMessage", body: `{"QueueUrl":"orders"}`, code: "MissingParameter"},
		"an empty body":   {operation: "SendMessage", body: `{"QueueUrl":"orders","MessageBody":""}`, code: "MissingParameter"},
		"a body of 1 MiB": {operation: "SendMessage", body: `{"QueueUrl":"orders","MessageBody":"` + strings.Repeat("x", 1<<20) + `"}`},
		"a body over 1 MiB": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"` + strings.Repeat("x", 1<<20+1) + `"}`,
			code:      "InvalidParameterValue",
		},
		"tab, newline, return": {operation: "SendMessage", body: `{"QueueUrl":"orders","MessageBody":"\t\n\r"}`},
		"a control character": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"a\u0001"}`,
			code:      "InvalidMessageContents",
		},
		"a noncharacter": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"\uFFFE"}`,
			code:      "InvalidMessageContents",
		},
		"the longest delay": {operation: "SendMessage", body: `{"QueueUrl":"orders","MessageBody":"b","DelaySeconds":900}`},
		"a delay over 15 minutes": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"b","DelaySeconds":901}`,
			code:      "InvalidParameterValue",
		},
		"a delay before now": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"b","DelaySeconds":-1}`,
			code:      "InvalidParameterValue",
		},
		"a group of 128 characters": {
			operation: "SendMessage", body: `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":"` + strings.Repeat("!", 128) + `"}`,
		},
		"a group of 129 characters": {
			operation: "SendMessage", body: `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":"` + strings.Repeat("!", 129) + `"}`,
			code: "InvalidParameterValue",
		},
		"a group with a space": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":"a b"}`,
			code:      "InvalidParameterValue",
		},
		"an empty group": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"b","MessageGroupId":""}`,
			code:      "InvalidParameterValue",
		},
		"a deduplication id": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"b","MessageDeduplicationId":"d"}`,
			code:      "InvalidParameterValue",
		},
		"an unknown system attribute": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"b","MessageSystemAttributes":{"X":{"DataType":"String","StringValue":"v"}}}`,
			code:      "InvalidParameterValue",
		},
		"a body that is a number": {operation: "SendMessage", body: `{"QueueUrl":"orders","MessageBody":1}`, code: "MalformedInput"},

		"no entries": {
			operation: "SendMessageBatch",
			body:      `{"QueueUrl":"orders","Entries":[]}`,
			code:      "AWS.SimpleQueueService.EmptyBatchRequest",
		},
		"eleven entries": {
			operation: "SendMessageBatch", body: `{"QueueUrl":"orders","Entries":[` + strings.Join(eleven, ",") + `]}`,
			code: "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
		},
		"ten entries": {operation: "SendMessageBatch", body: `{"QueueUrl":"orders","Entries":[` + strings.Join(eleven[:10], ",") + `]}`},
		"an id twice": {
			operation: "SendMessageBatch", body: `{"QueueUrl":"orders","Entries":[` + eleven[0] + "," + eleven[0] + `]}`,
			code: "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
		},
		"an id with a space": {
			operation: "SendMessageBatch", body: `{"QueueUrl":"orders","Entries":[{"Id":"a b","MessageBody":"b"}]}`,
			code: "AWS.SimpleQueueService.InvalidBatchEntryId",
		},
		"an entry without body": {
			operation: "SendMessageBatch",
			body:      `{"QueueUrl":"orders","Entries":[{"Id":"1"}]}`,
			code:      "MissingParameter",
		},
		"entries over 1 MiB in all": {
			operation: "SendMessageBatch",
			body:      `{"QueueUrl":"orders","Entries":[{"Id":"1","MessageBody":"` + big + `"},{"Id":"2","MessageBody":"` + big + `"}]}`,
			code:      "AWS.SimpleQueueService.BatchRequestTooLong",
		},
		"no entries to delete": {
			operation: "DeleteMessageBatch",
			body:      `{"QueueUrl":"orders"}`,
			code:      "AWS.SimpleQueueService.EmptyBatchRequest",
		},
		"eleven entries to delete": {
			operation: "DeleteMessageBatch", body: `{"QueueUrl":"orders","Entries":[` + strings.Join(eleven, ",") + `]}`,
			code: "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
		},
		"no entries to change": {
			operation: "ChangeMessageVisibilityBatch",
			body:      `{"QueueUrl":"orders"}`,
			code:      "AWS.SimpleQueueService.EmptyBatchRequest",
		},
		"zero messages": {
			operation: "ReceiveMessage",
			body:      `{"QueueUrl":"orders","MaxNumberOfMessages":0}`,
			code:      "InvalidParameterValue",
		},
		"eleven messages": {
			operation: "ReceiveMessage",
			body:      `{"QueueUrl":"orders","MaxNumberOfMessages":11}`,
			code:      "InvalidParameterValue",
		},
		"a wait over 20 seconds": {
			operation: "ReceiveMessage",
			body:      `{"QueueUrl":"orders","WaitTimeSeconds":21}`,
			code:      "InvalidParameterValue",
		},
		"a visibility over 12 hours": {
			operation: "ReceiveMessage",
			body:      `{"QueueUrl":"orders","VisibilityTimeout":43201}`,
			code:      "InvalidParameterValue",
		},
		"an unknown attribute": {
			operation: "ReceiveMessage",
			body:      `{"QueueUrl":"orders","AttributeNames":["Colour"]}`,
			code:      "InvalidAttributeName",
		},
		"no handle to delete": {operation: "DeleteMessage", body: `{"QueueUrl":"orders"}`, code: "MissingParameter"},
		"a handle that is none": {
			operation: "DeleteMessage",
			body:      `{"QueueUrl":"orders","ReceiptHandle":"?"}`,
			code:      "ReceiptHandleIsInvalid",
		},
		"a handle of another queue": {
			operation: "DeleteMessage",
			body:      `{"QueueUrl":"orders","ReceiptHandle":"ZGVhZCBtIDE="}`,
			code:      "ReceiptHandleIsInvalid",
		},
		"a handle of a deleted message": {operation: "DeleteMessage", body: `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ=="}`},
		"no handle to change": {
			operation: "ChangeMessageVisibility",
			body:      `{"QueueUrl":"orders","VisibilityTimeout":1}`,
			code:      "MissingParameter",
		},
		"no timeout to change to": {
			operation: "ChangeMessageVisibility",
			body:      `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ=="}`,
			code:      "MissingParameter",
		},
		"a change over 12 hours": {
			operation: "ChangeMessageVisibility",
			body:      `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ==","VisibilityTimeout":43201}`,
			code:      "InvalidParameterValue",
		},
		"a change of no handle": {
			operation: "ChangeMessageVisibility",
			body:      `{"QueueUrl":"orders","ReceiptHandle":"?","VisibilityTimeout":1}`,
			code:      "ReceiptHandleIsInvalid",
		},
		"a change of a deleted message": {
			operation: "ChangeMessageVisibility", body: `{"QueueUrl":"orders","ReceiptHandle":"b3JkZXJzIG0gMQ==","VisibilityTimeout":1}`,
			code: "AWS.SimpleQueueService.MessageNotInflight",
		},
		"an unknown queue attribute": {
			operation: "GetQueueAttributes",
			body:      `{"QueueUrl":"orders","AttributeNames":["Colour"]}`,
			code:      "InvalidAttributeName",
		},
		"a queue attribute not set": {operation: "GetQueueAttributes", body: `{"QueueUrl":"orders","AttributeNames":["Policy"]}`},
		"a queue name not given":    {operation: "GetQueueUrl", body: `{}`, code: "MissingParameter"},
		"a queue of another account": {
			operation: "GetQueueUrl",
			body:      `{"QueueName":"orders","QueueOwnerAWSAccountId":"1"}`,
			code:      "AWS.SimpleQueueService.NonExistentQueue",
		},
		"a move from nowhere": {operation: "StartMessageMoveTask", body: `{}`, code: "MissingParameter"},
		"a move from an unknown queue": {
			operation: "StartMessageMoveTask",
			body:      `{"SourceArn":"arn:absent"}`,
			code:      "ResourceNotFoundException",
		},
		"a move from no DLQ": {
			operation: "StartMessageMoveTask",
			body:      `{"SourceArn":"` + arnPrefix + `orders"}`,
			code:      "InvalidParameterValue",
		},
		"a move to an unknown queue": {
			operation: "StartMessageMoveTask",
			body:      `{"SourceArn":"` + arnPrefix + `dead","DestinationArn":"arn:absent"}`,
			code:      "ResourceNotFoundException",
		},
		"a move to the same queue": {
			operation: "StartMessageMoveTask", body: `{"SourceArn":"` + arnPrefix + `dead","DestinationArn":"` + arnPrefix + `dead"}`,
			code: "InvalidParameterValue",
		},
		"a move of none per second": {
			operation: "StartMessageMoveTask",
			body:      `{"SourceArn":"` + arnPrefix + `dead","MaxNumberOfMessagesPerSecond":0}`,
			code:      "InvalidParameterValue",
		},
		"a move of 501 per second": {
			operation: "StartMessageMoveTask",
			body:      `{"SourceArn":"` + arnPrefix + `dead","MaxNumberOfMessagesPerSecond":501}`,
			code:      "InvalidParameterValue",
		},
		"eleven tasks listed": {
			operation: "ListMessageMoveTasks", body: `{"SourceArn":"` + arnPrefix + `dead","MaxResults":11}`, code: "InvalidParameterValue",
		},
		"tasks of an unknown queue": {
			operation: "ListMessageMoveTasks",
			body:      `{"SourceArn":"arn:absent"}`,
			code:      "ResourceNotFoundException",
		},
		"tasks of no queue": {operation: "ListMessageMoveTasks", body: `{}`, code: "MissingParameter"},
		"an unknown task cancelled": {
			operation: "CancelMessageMoveTask",
			body:      `{"TaskHandle":"absent"}`,
			code:      "ResourceNotFoundException",
		},
		"no task cancelled": {operation: "CancelMessageMoveTask", body: `{}`, code: "MissingParameter"},
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
