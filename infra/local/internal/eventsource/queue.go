package eventsource

import (
	"context"
	"errors"
	"fmt"
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
	// Receive waits until there are messages and returns up to max of them, at least one, or ctx's error. They are the
	// mapping's until they are settled, however long that takes.
	Receive(ctx context.Context, max int) ([]Message, error)
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
	BatchSize               int           // 1 to 10,000; above 10 only with a window
	MaximumBatchingWindow   time.Duration // 0 to 300 s
	ReportBatchItemFailures bool
	MaximumConcurrency      int      // 2 to 1,000; 0 means no limit of its own
	Filters                 []string // patterns of which a message must match one; none means every message
	Enabled                 bool
}

func (m QueueMapping) validate() error {
	switch {
	case m.Function == "":
		return errors.New("no function")
	case m.BatchSize < 1 || m.BatchSize > 10_000:
		return fmt.Errorf("BatchSize %d is not between 1 and 10000", m.BatchSize)
	case m.MaximumBatchingWindow < 0 || m.MaximumBatchingWindow > 300*time.Second:
		return fmt.Errorf("MaximumBatchingWindow %s is not between 0 and 300 s", m.MaximumBatchingWindow)
	case m.BatchSize > 10 && m.MaximumBatchingWindow < time.Second:
		return fmt.Errorf("BatchSize %d needs a MaximumBatchingWindow of at least 1 s", m.BatchSize)
	case m.MaximumConcurrency != 0 && (m.MaximumConcurrency < 2 || m.MaximumConcurrency > 1000):
		return fmt.Errorf("MaximumConcurrency %d is not between 2 and 1000", m.MaximumConcurrency)
	}
	return nil
}

// queueMapping is a running QueueMapping.
type queueMapping struct {
	QueueMapping
	Options
	queue  Queue
	filter filter
}

// NewQueue makes a mapping from a queue to a function.
func NewQueue(m QueueMapping, queue Queue, o Options) (*Mapping, error) {
	q := &queueMapping{QueueMapping: m, queue: queue}
	var err error
	if q.Options, err = o.withDefaults(); err == nil {
		if err = m.validate(); err == nil {
			q.filter, err = parseFilter(m.Filters)
		}
	}
	if err != nil {
		return nil, err
	}
	q.Log = q.Log.With("function", m.Function)
	return &Mapping{enabled: m.Enabled, run: q.run}, nil
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
		messages, err := q.receive(poll)
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

// receive waits for a message, then as long as the window says for a full batch.
func (q *queueMapping) receive(poll context.Context) ([]Message, error) {
	batch, err := q.queue.Receive(poll, q.BatchSize)
	if err != nil || q.MaximumBatchingWindow == 0 {
		return batch, err
	}
	window, cancel := context.WithTimeout(poll, q.MaximumBatchingWindow)
	defer cancel()
	for len(batch) < q.BatchSize && fit(batch, q.BatchSize, Message.encoded) == len(batch) {
		more, err := q.queue.Receive(window, q.BatchSize-len(batch))
		if err != nil {
			if window.Err() == nil {
				q.Log.Error("receiving messages", "error", err)
			}
			break // what has been received is delivered all the same
		}
		batch = append(batch, more...)
	}
	return batch, nil
}

// process brings received messages to the function and settles them.
func (q *queueMapping) process(ctx context.Context, messages []Message) {
	var passed []Message
	var skipped []string
	for _, m := range messages {
		if q.filter.admitsMessage(m.JSON) {
			passed = append(passed, m)
		} else {
			skipped = append(skipped, m.Handle)
		}
	}
	if len(skipped) > 0 {
		q.settle(skipped, nil)
	}
	for len(passed) > 0 {
		n := fit(passed, q.BatchSize, Message.encoded)
		q.settle(q.invoke(ctx, passed[:n]))
		passed = passed[n:]
	}
}

func (q *queueMapping) settle(done, failed []string) {
	if err := q.queue.Settle(done, failed); err != nil {
		q.Log.Error("settling messages", "error", err)
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
