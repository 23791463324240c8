package sqs_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
)

// bury sends a message to queue and receives it until it is a dead letter; it returns the message's id.
func bury(t *testing.T, b *sqs.Broker, c *client.Client, queue, body string) string {
	t.Helper()
	id := mustSend(t, c, queue, body)
	for range 2 {
		messages := mustReceive(t, c, queue)
		if len(messages) != 1 || *messages[0].MessageId != id {
			t.Fatalf("received %v, want %s", messages, body)
		}
		_, err := c.ChangeMessageVisibility(t.Context(), &client.ChangeMessageVisibilityInput{
			QueueUrl: queueURL(queue), ReceiptHandle: messages[0].ReceiptHandle, VisibilityTimeout: 0,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if messages := mustReceive(t, c, queue); len(messages) != 0 {
		t.Fatalf("received %v, want it to be a dead letter", messages)
	}
	return id
}

func startMove(t *testing.T, c *client.Client, in client.StartMessageMoveTaskInput) *string {
	t.Helper()
	in.SourceArn = aws.String(arnPrefix + "dead")
	out, err := c.StartMessageMoveTask(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	return out.TaskHandle
}

// pass lets time go by on the clock of a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

// tasks are the latest move tasks from the dead-letter queue.
func tasks(t *testing.T, c *client.Client) []types.ListMessageMoveTasksResultEntry {
	t.Helper()
	out, err := c.ListMessageMoveTasks(t.Context(), &client.ListMessageMoveTasksInput{
		SourceArn: aws.String(arnPrefix + "dead"), MaxResults: aws.Int32(10),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Results
}

func TestRedriveReturnsMessagesToWhereTheyCameFromAsNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, sqs.Options{})
		c := newClient("http://sqs.test", direct{handler(b, nil)})
		first := bury(t, b, c, "orders", "from orders")
		second := bury(t, b, c, "also", "from also")
		pass(time.Hour)
		startMove(t, c, client.StartMessageMoveTaskInput{})
		pass(time.Second)

		for queue, old := range map[string]string{"orders": first, "also": second} {
			messages := mustReceive(t, c, queue)
			wantSame(t, bodies(messages), []string{"from " + queue})
			if *messages[0].MessageId == old {
				t.Error("a redriven message kept its id")
			}
			wantSame(t, messages[0].Attributes["ApproximateReceiveCount"], "1")
			if _, ok := messages[0].Attributes["DeadLetterQueueSourceArn"]; ok {
				t.Error("a redriven message still has a dead-letter source")
			}
			sent, err := strconv.ParseInt(messages[0].Attributes["SentTimestamp"], 10, 64)
			if err != nil || time.Since(time.UnixMilli(sent)) > time.Minute {
				t.Errorf("sent at %v, %v; want the time of the redrive", time.UnixMilli(sent), err)
			}
		}
		task := tasks(t, c)[0]
		wantSame(t, *task.Status, "COMPLETED")
		wantSame(t, task.ApproximateNumberOfMessagesMoved, int64(2))
		wantSame(t, *task.ApproximateNumberOfMessagesToMove, int64(2))
		wantSame(t, task.TaskHandle, (*string)(nil))
	})
}

func TestMoveTask(t *testing.T) {
	tests := map[string]struct {
		sent        bool // to the dead-letter queue itself, not moved there
		destination string
		status      string
		reason      string
		left        string // in the dead-letter queue
		arrived     []string
	}{
		"fails for a message that SQS did not move there": {
			sent:   true,
			status: "FAILED",
			reason: "CouldNotDetermineMessageSource",
			left:   "1",
		},
		"moves such a message to a queue that is named": {
			sent:        true,
			destination: "other",
			status:      "COMPLETED",
			left:        "0",
			arrived:     []string{"b"},
		},
		"moves a dead letter to a queue that is named": {destination: "other", status: "COMPLETED", left: "0", arrived: []string{"b"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroker(t, sqs.Options{})
				c := newClient("http://sqs.test", direct{handler(b, nil)})
				if test.sent {
					mustSend(t, c, "dead", "b")
				} else {
					bury(t, b, c, "orders", "b")
				}
				in := client.StartMessageMoveTaskInput{}
				if test.destination != "" {
					in.DestinationArn = aws.String(arnPrefix + test.destination)
				}
				startMove(t, c, in)
				pass(time.Second)
				task := tasks(t, c)[0]
				wantSame(t, *task.Status, test.status)
				wantSame(t, aws.ToString(task.FailureReason), test.reason)
				wantSame(t, attributes(t, c, "dead", "ApproximateNumberOfMessages")["ApproximateNumberOfMessages"], test.left)
				wantSame(t, bodies(mustReceive(t, c, "other")), test.arrived)
			})
		})
	}
}

func TestMoveTaskKeepsItsRateUntilItIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, sqs.Options{Clock: clock.New(2, nil)})
		c := newClient("http://sqs.test", direct{handler(b, nil)})
		for range 50 {
			mustSend(t, c, "dead", "b")
		}
		handle := startMove(t, c, client.StartMessageMoveTaskInput{
			DestinationArn: aws.String(arnPrefix + "other"), MaxNumberOfMessagesPerSecond: aws.Int32(5),
		})
		_, err := c.StartMessageMoveTask(t.Context(), &client.StartMessageMoveTaskInput{SourceArn: aws.String(arnPrefix + "dead")})
		wantCode(t, err, "AWS.SimpleQueueService.UnsupportedOperation")

		pass(1050 * time.Millisecond) // 2.1 seconds of the queue's
		running := tasks(t, c)[0]
		wantSame(t, *running.Status, "RUNNING")
		wantSame(t, running.ApproximateNumberOfMessagesMoved, int64(11)) // the first at once
		wantSame(t, *running.TaskHandle, *handle)

		cancelled, err := c.CancelMessageMoveTask(t.Context(), &client.CancelMessageMoveTaskInput{TaskHandle: handle})
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, cancelled.ApproximateNumberOfMessagesMoved, int64(11))
		pass(time.Minute)
		wantSame(t, attributes(t, c, "other", "ApproximateNumberOfMessages")["ApproximateNumberOfMessages"], "11")
		wantSame(t, *tasks(t, c)[0].Status, "CANCELLED")
		_, err = c.CancelMessageMoveTask(t.Context(), &client.CancelMessageMoveTaskInput{TaskHandle: handle})
		wantCode(t, err, "AWS.SimpleQueueService.UnsupportedOperation")

		// The rest, in a task of its own; both are listed, the latest first.
		startMove(t, c, client.StartMessageMoveTaskInput{DestinationArn: aws.String(arnPrefix + "other")})
		pass(time.Minute)
		var statuses []string
		for _, task := range tasks(t, c) {
			statuses = append(statuses, *task.Status)
		}
		wantSame(t, statuses, []string{"COMPLETED", "CANCELLED"})
		wantSame(t, attributes(t, c, "other", "ApproximateNumberOfMessages")["ApproximateNumberOfMessages"], "50")
	})
}

func TestMoveTaskLeavesWhatArrivesAfterItsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, sqs.Options{})
		c := newClient("http://sqs.test", direct{handler(b, nil)})
		mustSend(t, c, "dead", "before")
		mustSend(t, c, "dead", "before")
		startMove(t, c, client.StartMessageMoveTaskInput{
			DestinationArn: aws.String(arnPrefix + "other"), MaxNumberOfMessagesPerSecond: aws.Int32(1),
		})
		mustSend(t, c, "dead", "after")
		pass(time.Minute)
		wantSame(t, bodies(mustReceive(t, c, "other")), []string{"before", "before"})
		wantSame(t, bodies(mustReceive(t, c, "dead")), []string{"after"})
	})
}
