package eventsource

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/lineage"
)

// How concurrency grows, as AWS documents it: five batches at once at first, and 300 more a minute while there is
// more work than that.
const (
	firstConcurrency = 5
	growthInterval   = time.Minute / 300
	accountLimit     = 1000
)

// Queue is a queue as its mapping sees it.
type Queue interface {
	// Receive waits until there are messages and returns up to limit of them, at least one, or ctx's error. They are
	// the mapping's until they are settled, however long that takes.
	Receive(ctx context.Context, limit int) ([]Message, error)
	// Settle gives received messages back, named by their handles: the done ones are deleted, the failed ones become
	// visible when their visibility timeout is over.
	Settle(done, failed []string) error
}

// Message is a received message.
type Message struct {
	ID     string // its itemIdentifier
	Handle string
	Trace  string // the tracing header that it was sent with
	JSON   []byte // its record in a Lambda event
}

func (m Message) encoded() []byte { return m.JSON }

// QueueMapping defines an event source mapping on a queue.
type QueueMapping struct {
	Function                string
	BatchSize               int // 1 to 10
	ReportBatchItemFailures bool
	MaximumConcurrency      int // 2 to 1,000; 0 means no limit of its own
	// Patience is how long a batch that finds the function throttled is tried again. Lambda does so until
	// the visibility timeout that is left is below the function's timeout.
	Patience      time.Duration
	RecursiveLoop bool // the function may be invoked in a chain without end
}

// queueMapping is a running QueueMapping.
type queueMapping struct {
	QueueMapping
	Options
	queue   Queue
	running sync.WaitGroup
}

// NewQueue makes a mapping from a queue to a function.
func NewQueue(m QueueMapping, queue Queue, o Options) *Mapping {
	q := &queueMapping{QueueMapping: m, Options: o.withDefaults(), queue: queue}
	q.Log = q.Log.With("function", m.Function)
	return &Mapping{run: q.run}
}

func (q *queueMapping) run(poll, work context.Context) {
	highest := q.MaximumConcurrency
	if highest == 0 {
		highest = accountLimit
	}
	defer q.running.Wait()
	ended := make(chan struct{}, highest)
	limit, busy := min(firstConcurrency, highest), 0
	var grow <-chan time.Time // set while all that may run do
	for {
		for busy >= limit {
			if grow == nil && limit < highest {
				grow = time.After(growthInterval)
			}
			select {
			case <-ended:
				busy--
			case <-grow:
				limit, grow = limit+1, nil
			case <-poll.Done():
				return
			}
		}
		if struck := q.Strike(fault.OverLimit); struck.Kind != "" {
			sleep(poll, struck.Delay)
		}
		messages, err := q.queue.Receive(poll, q.BatchSize)
		if err != nil {
			if poll.Err() != nil {
				return
			}
			q.Log.Error("receiving messages", "error", err)
			sleep(poll, pause)
			continue
		}
		for more := true; more; {
			select {
			case <-ended:
				busy--
			default:
				more = false
			}
		}
		if busy == 0 {
			limit, grow = min(firstConcurrency, highest), nil
		}
		busy++
		q.running.Go(func() {
			q.process(poll, work, messages)
			ended <- struct{}{}
		})
	}
}

// process brings received messages to the function and settles them.
func (q *queueMapping) process(poll, work context.Context, messages []Message) {
	var passed []Message
	var refused []string
	for _, m := range messages {
		if !q.RecursiveLoop && lineage.Parse(m.Trace).Count(q.Function) >= lineage.Limit {
			refused = append(refused, m.Handle)
		} else {
			passed = append(passed, m)
		}
	}
	if len(refused) > 0 {
		q.Log.Error("the function is part of a recursive loop, and its RecursiveLoop is not Allow",
			"metric", "RecursiveInvocationsDropped", "messages", len(refused))
		q.settle(nil, refused)
	}
	can := []fault.Kind{fault.Twice, fault.Late}
	if len(passed) > 1 {
		can = append(can, fault.OutOfOrder)
	}
	for len(passed) > 0 {
		struck := q.Strike(can...)
		n := fit(passed, q.BatchSize, Message.encoded)
		batch := passed[:n]
		switch struck.Kind {
		case fault.Late:
			sleep(poll, struck.Delay)
		case fault.OutOfOrder:
			slices.Reverse(batch)
		case fault.Twice: // what becomes of the copies counts for nothing
			q.running.Go(func() {
				if sleep(poll, struck.Delay) {
					q.invoke(poll, work, batch)
				}
			})
		}
		q.settle(q.invoke(poll, work, batch))
		passed = passed[n:]
	}
}

func (q *queueMapping) settle(done, failed []string) {
	if err := q.queue.Settle(done, failed); err != nil {
		q.Log.Error("settling messages", "error", err)
	}
}

// invoke delivers one batch and returns the handles of what is done and what has failed.
func (q *queueMapping) invoke(poll, work context.Context, batch []Message) (done, failed []string) {
	handles := map[string]string{}
	all, names := make([]string, len(batch)), make([]string, len(batch))
	chain := lineage.Lineage{}
	for i, m := range batch {
		chain.Merge(lineage.Parse(m.Trace))
		handles[m.ID] = m.Handle
		all[i], names[i] = m.Handle, m.ID
	}
	fail := func(err error) ([]string, []string) {
		q.Log.Warn("the batch failed", "messages", len(batch), "ids", strings.Join(names, ","), "error", err)
		return nil, all
	}
	response, err := q.reach(poll, lineage.NewContext(work, chain), encodeEvent(batch, Message.encoded))
	if err != nil {
		return fail(err)
	}
	if !q.ReportBatchItemFailures {
		return all, nil
	}
	ids, err := reportedFailures(response, func(id string) bool { _, ok := handles[id]; return ok })
	if err != nil {
		return fail(err)
	}
	bad := map[string]bool{}
	for _, id := range ids {
		bad[id] = true
	}
	for _, m := range batch {
		if bad[m.ID] {
			failed = append(failed, m.Handle)
		} else {
			done = append(done, m.Handle)
		}
	}
	return done, failed
}

// reach invokes the function, and while it is throttled again and again, ever later, until patience or polling ends.
func (q *queueMapping) reach(poll, work context.Context, payload []byte) ([]byte, error) {
	begun := time.Now()
	for wait := q.RetryDelay; ; wait = min(2*wait, q.MaxRetryDelay) {
		response, err := q.Invoker.Invoke(work, q.Function, payload)
		if err == nil || functionError(err) != "" || time.Since(begun)+wait > q.Patience || !sleep(poll, wait) {
			return response, err
		}
	}
}
