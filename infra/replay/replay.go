package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Pointers is the queue of pointers.
type Pointers interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, options ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessage(ctx context.Context, in *sqs.DeleteMessageInput, options ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput, options ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
}

const (
	// visibility is how long a pointer is ours: long enough that no run meets one twice.
	visibility = time.Hour
	// batchSize is the number of records that are dispatched together, as in the event source mapping.
	batchSize = 100
	// giveBackTime is for making pointers visible again after an interruption.
	giveBackTime = 10 * time.Second
)

// replay is one run over the queue of pointers.
type replay struct {
	pointers       Pointers
	queueURL       string
	reader         reader
	configs        dispatch.Configs
	queue          dispatch.Queue
	dryRun         bool
	discardExpired bool
	out            io.Writer // the report
	log            *slog.Logger

	kept []types.Message // to be made visible again
}

// summary is what a run has come to.
type summary struct{ done, expired, failed int }

// run works on pointers until the queue has none. It errors if it had to stop; what became of the
// pointers is in the summary either way.
func (r *replay) run(ctx context.Context) (summary, error) {
	var s summary
	defer r.giveBack(ctx)
	for {
		received, err := r.pointers.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &r.queueURL, MaxNumberOfMessages: 10, VisibilityTimeout: int32(visibility.Seconds()), WaitTimeSeconds: 2,
		})
		if err != nil {
			return s, fmt.Errorf("receiving pointers: %w", err)
		}
		if len(received.Messages) == 0 {
			return s, nil
		}
		// Whatever stops the run, none of them stays hidden.
		r.kept = append(r.kept, received.Messages...)
		for _, message := range received.Messages {
			if err := ctx.Err(); err != nil {
				return s, err
			}
			r.work(ctx, message, &s)
		}
	}
}

// work takes one pointer to its end.
func (r *replay) work(ctx context.Context, message types.Message, s *summary) {
	say := func(format string, args ...any) {
		fmt.Fprintf(r.out, "%s: %s\n", aws.ToString(message.MessageId), fmt.Sprintf(format, args...))
	}
	p, err := parsePointer(aws.ToString(message.Body))
	if err != nil {
		s.failed++
		say("left in the queue: %v", err)
		return
	}
	records, expired, err := r.reader.read(ctx, p)
	if err != nil {
		s.failed++
		say("left in the queue: %s: %v", p, err)
		return
	}
	sent, refused, err := r.dispatch(ctx, records)
	if err != nil {
		s.failed++
		say("left in the queue: %s: %v", p, err)
		return
	}
	if refused > 0 {
		s.failed++
		say("left in the queue: %s: %d records could not be dispatched", p, refused)
		return
	}
	verb := "dispatched"
	if r.dryRun {
		verb = "would dispatch"
	}
	text := fmt.Sprintf("%s: %s %d messages of %d records still in the stream", p, verb, sent, len(records))
	if expired {
		s.expired++
		if text += "; older ones are no longer there and lost"; !r.discardExpired {
			say("left in the queue: %s (-discard-expired deletes the pointer)", text)
			return
		}
	} else {
		s.done++
	}
	if r.dryRun {
		say("left in the queue: %s", text)
		return
	}
	if _, err := r.pointers.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &r.queueURL, ReceiptHandle: message.ReceiptHandle}); err != nil {
		s.failed++
		say("%s; the pointer could not be deleted, which is harmless: %v", text, err)
		return
	}
	r.forget(message)
	say("%s", text)
}

// dispatch hands records to the dispatcher, in their order. It returns how many messages the queue
// has accepted and how many records must be tried again; it stops at the first batch that has any.
func (r *replay) dispatch(ctx context.Context, records []json.RawMessage) (sent, refused int, err error) {
	counted := &counter{queue: r.queue, dryRun: r.dryRun}
	d := &dispatch.Dispatcher{Configs: r.configs, Queue: counted, Metrics: counted, Log: r.log}
	for len(records) > 0 && refused == 0 {
		n := min(batchSize, len(records))
		answer, err := d.Handle(ctx, dispatch.Batch{Records: records[:n]})
		if err != nil {
			return counted.sent, 0, err
		}
		records, refused = records[n:], len(answer.BatchItemFailures)
	}
	return counted.sent, refused, nil
}

// forget says that a pointer need not be made visible again.
func (r *replay) forget(message types.Message) {
	r.kept = slices.DeleteFunc(r.kept, func(one types.Message) bool {
		return aws.ToString(one.ReceiptHandle) == aws.ToString(message.ReceiptHandle)
	})
}

// giveBack makes the pointers that stay visible again, also after an interruption.
func (r *replay) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	var failed error
	for _, message := range r.kept {
		_, err := r.pointers.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &r.queueURL, ReceiptHandle: message.ReceiptHandle})
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		fmt.Fprintf(r.out, "some pointers stay hidden for up to %s: %v\n", visibility, failed)
	}
}

// counter counts what is sent; in a dry run it sends nothing.
type counter struct {
	queue  dispatch.Queue
	dryRun bool
	sent   int
}

// Send implements dispatch.Queue.
func (c *counter) Send(ctx context.Context, messages []webhook.Message) []error {
	var errs []error
	if !c.dryRun {
		errs = c.queue.Send(ctx, messages)
	}
	c.sent += len(messages)
	for _, err := range errs {
		if err != nil {
			c.sent--
		}
	}
	return errs
}

// Add implements dispatch.Metrics, which an operator's command has no use for.
func (c *counter) Add(string, int) {}

// Flush implements dispatch.Metrics.
func (c *counter) Flush() {}
