package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/webhook"
)

type queueOption = func(*sqs.Options)

// Pointers is the queue of pointers.
type Pointers interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...queueOption) (*sqs.ReceiveMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...queueOption) (*sqs.DeleteMessageOutput, error)
	ChangeMessageVisibility(
		context.Context, *sqs.ChangeMessageVisibilityInput, ...queueOption,
	) (*sqs.ChangeMessageVisibilityOutput, error)
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
	events         dispatch.Events
	deliveryQueue  dispatch.Queue
	retryQueue     dispatch.Queue
	now            func() time.Time
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
	deletion := &sqs.DeleteMessageInput{QueueUrl: &r.queueURL, ReceiptHandle: message.ReceiptHandle}
	if _, err := r.pointers.DeleteMessage(ctx, deletion); err != nil {
		s.failed++
		say("%s; the pointer could not be deleted, which is harmless: %v", text, err)
		return
	}
	r.forget(message)
	say("%s", text)
}

// dispatch hands records to the dispatcher, in their order. It returns how many messages the queues
// have accepted and how many records must be tried again; it stops at the first batch that has any.
func (r *replay) dispatch(ctx context.Context, records []json.RawMessage) (sent, refused int, err error) {
	counted := &counter{}
	d := &dispatch.Dispatcher{
		Configs:            r.configs,
		Events:             r.events,
		DeliveryQueue:      counted.of(r.deliveryQueue),
		RetryQueue:         counted.of(r.retryQueue),
		DispatchRetryQueue: keepPointer{},
		Metrics:            noMetrics{},
		Log:                r.log,
		Now:                r.now,
	}
	if r.dryRun {
		d.Events, d.DeliveryQueue, d.RetryQueue = dry{}, counted.of(dry{}), counted.of(dry{})
	}
	for len(records) > 0 && refused == 0 {
		n := min(batchSize, len(records))
		answer, err := d.Handle(ctx, dispatch.Batch{Records: records[:n]})
		if err != nil {
			return counted.total(), 0, err
		}
		records, refused = records[n:], len(answer.BatchItemFailures)
	}
	return counted.total(), refused, nil
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
		_, err := r.pointers.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
			QueueUrl:      &r.queueURL,
			ReceiptHandle: message.ReceiptHandle,
		})
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		fmt.Fprintf(r.out, "some pointers stay hidden for up to %s: %v\n", visibility, failed)
	}
}

// counter counts what queues accept.
type counter struct{ sent atomic.Int64 }

func (c *counter) total() int { return int(c.sent.Load()) }

// of returns a queue whose messages are counted.
func (c *counter) of(queue dispatch.Queue) dispatch.Queue {
	return countedQueue{Queue: queue, counter: c}
}

type countedQueue struct {
	dispatch.Queue
	counter *counter
}

// Send implements dispatch.Queue.
func (q countedQueue) Send(ctx context.Context, messages []webhook.Message) []error {
	errs := q.Queue.Send(ctx, messages)
	accepted := len(messages)
	for _, err := range errs {
		if err != nil {
			accepted--
		}
	}
	q.counter.sent.Add(int64(accepted))
	return errs
}

// dry accepts everything and keeps nothing.
type dry struct{}

// Send implements dispatch.Queue.
func (dry) Send(context.Context, []webhook.Message) []error { return nil }

// Add implements dispatch.Events.
func (dry) Add(context.Context, []webhook.EventRecord) []error { return nil }

// errHeldUp says why a record is not dispatched.
var errHeldUp = errors.New("held up by its organization")

// keepPointer stands in the place of DispatchRetryQueue: what an organization holds up stays where it is, and so
// does the pointer to it.
type keepPointer struct{}

// SendRecords implements dispatch.WaitingQueue.
func (keepPointer) SendRecords(_ context.Context, records []webhook.HeldRecord) []error {
	return slices.Repeat([]error{errHeldUp}, len(records))
}

// SendRecordOnce implements dispatch.WaitingQueue.
func (keepPointer) SendRecordOnce(context.Context, webhook.HeldRecord, time.Duration) error {
	return errHeldUp
}

// ChangeVisibility implements dispatch.WaitingQueue.
func (keepPointer) ChangeVisibility(context.Context, []webhook.Visibility) error { return nil }

// noMetrics implements dispatch.Metrics, which an operator's command has no use for.
type noMetrics struct{}

// Add implements dispatch.Metrics.
func (noMetrics) Add(string, int) {}

// Flush implements dispatch.Metrics.
func (noMetrics) Flush() {}
