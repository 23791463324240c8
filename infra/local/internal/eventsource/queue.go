package eventsource

import (
	"context"
	"sync"
	"time"
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
	JSON   []byte // its record in a Lambda event
}

func (m Message) encoded() []byte { return m.JSON }

// QueueMapping defines an event source mapping on a queue.
type QueueMapping struct {
	Function                string
	BatchSize               int // 1 to 10
	ReportBatchItemFailures bool
	MaximumConcurrency      int // 2 to 1,000; 0 means no limit of its own
}

// queueMapping is a running QueueMapping.
type queueMapping struct {
	QueueMapping
	Options
	queue Queue
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
	var running sync.WaitGroup
	defer running.Wait()
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
		running.Go(func() {
			q.process(work, messages)
			ended <- struct{}{}
		})
	}
}

// process brings received messages to the function and settles them.
func (q *queueMapping) process(ctx context.Context, messages []Message) {
	for len(messages) > 0 {
		n := fit(messages, q.BatchSize, Message.encoded)
		if err := q.queue.Settle(q.invoke(ctx, messages[:n])); err != nil {
			q.Log.Error("settling messages", "error", err)
		}
		messages = messages[n:]
	}
}

// invoke delivers one batch and returns the handles of what is done and what has failed.
func (q *queueMapping) invoke(ctx context.Context, batch []Message) (done, failed []string) {
	handles := map[string]string{}
	all := make([]string, len(batch))
	for i, m := range batch {
		handles[m.ID] = m.Handle
		all[i] = m.Handle
	}
	response, err := q.Invoker.Invoke(ctx, q.Function, event(batch, Message.encoded))
	if err != nil {
		q.Log.Warn("the batch failed", "messages", len(batch), "error", err)
		return nil, all
	}
	if !q.ReportBatchItemFailures {
		return all, nil
	}
	ids, err := reportedFailures(response, func(id string) bool { _, ok := handles[id]; return ok })
	if err != nil {
		q.Log.Warn("the batch failed", "messages", len(batch), "error", err)
		return nil, all
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
