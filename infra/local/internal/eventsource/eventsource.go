// Package eventsource is Lambda's event source mappings: it reads streams and queues and invokes functions.
//
// A stream mapping spreads a shard's records over lanes by partition key, and every lane brings its batches through in
// order, retrying, bisecting and at last discarding what does not work. A queue mapping invokes as many batches at once
// as there is work, up to its maximum concurrency, and then deletes or gives back every message by what the function
// reported. A message that has gone through its function 16 times, in one chain of requests, is refused, as if the function
// were throttled: it uses its receives up and is a dead letter then. A schedule invokes its function at its times. Mappings
// judge a function's answer as Lambda documents it and, when closed, finish the batches that are running. Of filters, a
// stream mapping has those that compare with values and ask whether there is one; batching windows and filters of messages
// are left out.
//
// What differs from AWS: a stream has one shard; what a mapping has read of a stream stays in memory, and its position
// is lost with the process, as the stream is; a failing queue mapping is not slowed down.
//
// Sources: https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html,
// https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html,
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html and
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
package eventsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/docuhook/docuhook/infra/local/internal/fault"
)

// maxPayload is Lambda's limit for an event: a batch ends before it.
const maxPayload = 6 << 20

// pause is the wait after a source could not be read.
const pause = time.Second

// Invoker runs functions.
type Invoker interface {
	// Invoke returns the function's answer. An error with a method FunctionError() string (the value of the header
	// X-Amz-Function-Error) says that the function ran and failed; any other, that it was not reached: throttling.
	Invoke(ctx context.Context, function string, payload []byte) ([]byte, error)
}

// Options are what all mappings need. Only Invoker is required, and Destination by mappings that have one.
type Options struct {
	Invoker     Invoker
	Destination Destination
	Log         *slog.Logger     // discards by default
	Now         func() time.Time // tells the age of records
	NewID       func() string    // request ids in records of failures; UUIDs by default
	// Strike decides what goes wrong with a batch or an event, of these kinds; see the package fault. Nothing by default.
	Strike func(can ...fault.Kind) fault.Fault
	// RetryDelay is the wait before a stream's batch is first tried again; it doubles up to MaxRetryDelay. AWS does
	// not document its own; by default 250 ms and 10 s.
	RetryDelay, MaxRetryDelay time.Duration
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	if o.Strike == nil {
		o.Strike = func(...fault.Kind) fault.Fault { return fault.Fault{} }
	}
	if o.RetryDelay <= 0 {
		o.RetryDelay = 250 * time.Millisecond
	}
	if o.MaxRetryDelay <= 0 {
		o.MaxRetryDelay = 10 * time.Second
	}
	return o
}

// Mapping is an event source mapping. Its methods may be called from several goroutines at once.
type Mapping struct {
	// run works until poll ends and what had begun by then has ended too. It gives up when work ends.
	run func(poll, work context.Context)

	mu    sync.Mutex // guards what follows
	stop  context.CancelFunc
	abort context.CancelFunc
	done  chan struct{} // nil before Start
}

// Start begins to poll and returns at once. Polling ends with ctx or Close, whichever is
// first; invocations do not end with ctx. A mapping is started once.
func (m *Mapping) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done != nil {
		return errors.New("eventsource: the mapping was started before")
	}
	m.done = make(chan struct{})
	var poll, work context.Context
	poll, m.stop = context.WithCancel(ctx)
	work, m.abort = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(m.done)
		m.run(poll, work)
	}()
	return nil
}

// Close stops polling and waits for the batches that are running. When ctx ends first their invocations are given up,
// and the error is ctx's. A batch that waits to be tried again is not.
func (m *Mapping) Close(ctx context.Context) error {
	m.mu.Lock()
	stop, abort, done := m.stop, m.abort, m.done
	m.mu.Unlock()
	if done == nil {
		return nil
	}
	stop()
	defer abort()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		abort()
		<-done
		return fmt.Errorf("eventsource: closing before all batches had ended: %w", ctx.Err())
	}
}

// functionError returns what Lambda says of an invocation that failed in the function, or "" if the
// function was not reached.
func functionError(err error) string {
	var failed interface {
		error
		FunctionError() string
	}
	if errors.As(err, &failed) {
		return failed.FunctionError()
	}
	return ""
}

// encodeEvent puts records together.
func encodeEvent[R any](records []R, encoded func(R) []byte) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	for i, r := range records {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(encoded(r))
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// fit returns how many of the first records, at most limit and at least one, make an event that Lambda accepts.
func fit[R any](records []R, limit int, encoded func(R) []byte) int {
	size := len(`{"Records":[]}`)
	for i, r := range records {
		size += len(encoded(r)) + 1
		if i == limit || size > maxPayload && i > 0 {
			return i
		}
	}
	return len(records)
}

// sleep waits for d and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
