package deliverytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Fault is what goes wrong with one call.
type Fault int

// The faults.
const (
	None    Fault = iota
	Refused       // the call has no effect and errors
	Lost          // the call has its effect and errors all the same: its answer was lost
)

// ErrAway is what calls with a fault error with.
var ErrAway = errors.New("away")

const (
	maxReceives       = 5
	visibilityTimeout = 6 * time.Minute
)

// Queue is an SQS queue in memory, whose messages are received five times at most. Its fields may be set before
// it is used; it is safe for concurrent use.
type Queue struct {
	Name        string // in the place of its ARN
	Now         func() time.Time
	DeadLetters *Queue                      // nil if this is the one for dead letters
	OnSend      func(webhook.Message) Fault // of each message, one at a time; nil for none
	OnChange    func() Fault                // of each ChangeVisibility, nil for none

	mu       sync.Mutex
	sent     []Sent
	changes  map[string]time.Duration
	messages []*held
	named    int
}

// Sent is a message that a queue was asked to take, and in how long it was to become visible.
type Sent struct {
	Message webhook.Message
	Delay   time.Duration
}

// held is a message in a queue.
type held struct {
	id        string
	body      string
	sentAt    time.Time
	visibleAt time.Time
	receives  int
	source    *Queue // of a dead letter
}

// Is implements delivery.Queue.
func (q *Queue) Is(arn string) bool { return arn == q.Name }

// SendOnce implements delivery.Queue.
func (q *Queue) SendOnce(_ context.Context, m webhook.Message, delay time.Duration) error {
	now := q.Now()
	delay = min(max(delay, m.NotBefore.Sub(now), 0), webhook.MaxDelay)
	q.mu.Lock()
	q.sent = append(q.sent, Sent{Message: m, Delay: delay})
	fault := None
	if q.OnSend != nil {
		fault = q.OnSend(m)
	}
	q.mu.Unlock()
	if fault != Refused {
		q.put(q.name(), Body(m), now.Add(delay))
	}
	if fault != None {
		return fmt.Errorf("sending: %w", ErrAway)
	}
	return nil
}

// Send implements delivery.Sender.
func (q *Queue) Send(ctx context.Context, messages []webhook.Message) []error {
	errs := make([]error, len(messages))
	for i, m := range messages {
		errs[i] = q.SendOnce(ctx, m, 0)
	}
	if errors.Join(errs...) == nil {
		return nil
	}
	return errs
}

// Put puts a message that is visible at once, under an id of the caller's.
func (q *Queue) Put(id string, m webhook.Message) { q.put(id, Body(m), q.Now()) }

func (q *Queue) name() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.named++
	return fmt.Sprintf("%s-%d", q.Name, q.named)
}

func (q *Queue) put(id, body string, visibleAt time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, &held{id: id, body: body, sentAt: q.Now(), visibleAt: visibleAt})
}

// Body returns the JSON of a message.
func Body(m webhook.Message) string {
	body, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(body)
}

// ChangeVisibility implements delivery.Queue.
func (q *Queue) ChangeVisibility(_ context.Context, changes []webhook.Visibility) error {
	fault := None
	if q.OnChange != nil {
		fault = q.OnChange()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.changes == nil {
		q.changes = map[string]time.Duration{}
	}
	for _, c := range changes {
		if c.ReceiptHandle != receipt(c.MessageID) {
			return fmt.Errorf("%q is not the receipt handle of %s", c.ReceiptHandle, c.MessageID)
		}
		q.changes[c.MessageID] = c.Due.Sub(q.Now())
		for _, m := range q.messages {
			if m.id == c.MessageID && fault != Refused {
				m.visibleAt = c.Due
			}
		}
	}
	if fault != None {
		return fmt.Errorf("changing the visibility: %w", ErrAway)
	}
	return nil
}

func receipt(id string) string { return "receipt of " + id }

// Receive returns up to limit messages that are visible, and moves those that were received too often to the
// queue of dead letters.
func (q *Queue) Receive(limit int) []delivery.Record {
	now := q.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	var records []delivery.Record
	q.messages = slices.DeleteFunc(q.messages, func(m *held) bool {
		return !m.visibleAt.After(now) && len(records) < limit && !q.receive(m, now, &records)
	})
	return records
}

// receive hands m over, unless it was received too often: then it is a dead letter and its queue has it no more.
func (q *Queue) receive(m *held, now time.Time, records *[]delivery.Record) (stays bool) {
	if q.DeadLetters != nil && m.receives >= maxReceives {
		q.DeadLetters.bury(q, m)
		return false
	}
	m.receives++
	m.visibleAt = now.Add(visibilityTimeout)
	*records = append(*records, m.record(q.Name))
	return true
}

func (m *held) record(queue string) delivery.Record {
	r := delivery.Record{MessageID: m.id, ReceiptHandle: receipt(m.id), Body: m.body, QueueARN: queue}
	r.Attributes.ApproximateReceiveCount = strconv.Itoa(m.receives)
	r.Attributes.SentTimestamp = strconv.FormatInt(m.sentAt.UnixMilli(), 10)
	return r
}

func (q *Queue) bury(source *Queue, m *held) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m.source = source
	q.messages = append(q.messages, m)
}

// Delete deletes messages, as Lambda does with those that are not reported.
func (q *Queue) Delete(ids ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = slices.DeleteFunc(q.messages, func(m *held) bool { return slices.Contains(ids, m.id) })
}

// Answered deletes those of some records that an answer does not report.
func (q *Queue) Answered(records []delivery.Record, answer delivery.Answer) {
	for _, r := range records {
		if !slices.Contains(answer.BatchItemFailures, delivery.Failure{ItemIdentifier: r.MessageID}) {
			q.Delete(r.MessageID)
		}
	}
}

// Redrive moves all messages back to where they came from, under new ids, as the console does with dead letters.
func (q *Queue) Redrive() {
	q.mu.Lock()
	moved := q.messages
	q.messages = nil
	q.mu.Unlock()
	for _, m := range moved {
		m.source.put(m.source.name(), m.body, q.Now())
	}
}

// IDs returns the ids of all messages, visible or not.
func (q *Queue) IDs() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ids []string
	for _, m := range q.messages {
		ids = append(ids, m.id)
	}
	return ids
}

// Sent returns what the queue was asked to take, whether it did or not.
func (q *Queue) Sent() []Sent {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.sent)
}

// NextVisible returns when the first message becomes visible, the zero time if there is none.
func (q *Queue) NextVisible() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	var first time.Time
	for _, m := range q.messages {
		if first.IsZero() || m.visibleAt.Before(first) {
			first = m.visibleAt
		}
	}
	return first
}

// Once returns an OnSend that gives a fault to the first message alone.
func Once(fault Fault) func(webhook.Message) Fault {
	var once sync.Once
	return func(webhook.Message) (given Fault) {
		once.Do(func() { given = fault })
		return given
	}
}
