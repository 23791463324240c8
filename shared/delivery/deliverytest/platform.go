package deliverytest

import (
	"slices"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
)

// Platform is what lasts while functions come and go: the clock, the log and the queues. It can be cloned, so that
// a test goes on from one moment in more than one way. It is not safe for concurrent use.
type Platform struct {
	Manual
	Log           *Log
	DeliveryQueue *Queue
	RetryQueue    *Queue
	DeadLetters   *Queue
}

// NewPlatform returns a Platform whose log and queues are empty.
func NewPlatform(at time.Time) *Platform {
	p := &Platform{Manual: Manual{T: at}, Log: &Log{}}
	p.DeadLetters = &Queue{Name: "dead", Now: p.Now}
	p.DeliveryQueue = &Queue{Name: "fast", Now: p.Now, DeadLetters: p.DeadLetters}
	p.RetryQueue = &Queue{Name: "slow", Now: p.Now, DeadLetters: p.DeadLetters}
	return p
}

// Clone returns a Platform at the same moment that holds the same.
func (p *Platform) Clone() *Platform {
	c := NewPlatform(p.T)
	c.Log = p.Log.Clone()
	for to, from := range map[*Queue]*Queue{c.DeliveryQueue: p.DeliveryQueue, c.RetryQueue: p.RetryQueue, c.DeadLetters: p.DeadLetters} {
		to.named = from.named
		for _, m := range from.messages {
			copied := *m
			switch m.source {
			case p.DeliveryQueue:
				copied.source = c.DeliveryQueue
			case p.RetryQueue:
				copied.source = c.RetryQueue
			}
			to.messages = append(to.messages, &copied)
		}
	}
	return c
}

// Held is a message in a queue.
type Held struct {
	ID        string
	Body      string
	SentAt    time.Time
	VisibleAt time.Time
	Receives  int
}

// Messages returns all messages, visible or not, in the order in which they came.
func (q *Queue) Messages() []Held {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := make([]Held, len(q.messages))
	for i, m := range q.messages {
		held[i] = Held{ID: m.id, Body: m.body, SentAt: m.sentAt, VisibleAt: m.visibleAt, Receives: m.receives}
	}
	return held
}

// Take receives some messages, whether they are visible or not: SQS may hand over one that is with somebody else
// already. What was received too often moves to the queue of dead letters instead.
func (q *Queue) Take(ids ...string) []delivery.Record {
	now := q.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	var records []delivery.Record
	q.messages = slices.DeleteFunc(q.messages, func(m *held) bool { return slices.Contains(ids, m.id) && !q.receive(m, now, &records) })
	return records
}
