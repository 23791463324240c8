package sqs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Receive waits until the queue has messages and returns up to limit of them, at least one. They are
// held: in flight, and not visible to anybody, until Settle names them. If ctx ends first, nothing is
// received and the error is ctx's. An unknown queue is ErrNoQueue. limit must be at least 1.
func (b *Broker) Receive(ctx context.Context, queueARN string, limit int) ([]Message, error) {
	q, err := b.queue(queueARN)
	if err != nil {
		return nil, err
	}
	in := intake{max: limit, visibility: duration(q.visibility), hold: true}
	var messages []Message
	_, err = q.receive(ctx, true, in, func(m *message) { messages = append(messages, q.record(m)) })
	return messages, err
}

// Settle ends the hold on received messages, named by their receipt handles. The done ones are
// deleted. The failed ones become visible at the time that ChangeMessageVisibility has set for them
// meanwhile, or else when the queue's visibility timeout, counted from the receive, is over: at once
// if that has passed. Handles of messages that are gone or no longer held are passed over.
func (b *Broker) Settle(queueARN string, done, failed []string) error {
	q, err := b.queue(queueARN)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.opts.Clock.Now()
	for _, handle := range done {
		if r, ok := q.parseHandle(handle); ok {
			q.erase(r, now)
		}
	}
	for _, handle := range failed {
		r, ok := q.parseHandle(handle)
		if !ok {
			continue
		}
		if m := q.find(r); m != nil && m.state == stateHeld {
			q.release(m, now)
		}
	}
	q.advance(now)
	q.signal()
	return nil
}

// Send puts a message into a queue, as an AWS service does that has it as a destination: with the
// queue's own delay. It returns the message's id. The body is held to the same limits as on the wire.
func (b *Broker) Send(queueARN, body string) (string, error) {
	q, err := b.queue(queueARN)
	if err != nil {
		return "", err
	}
	c, err := q.compose(sendRequest{MessageBody: &body})
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return q.send(c, nil), nil
}

// queue is the queue with this ARN.
func (b *Broker) queue(arn string) (*queue, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q := b.byARN[arn]; q != nil {
		return q, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoQueue, arn)
}

// send adds a message with this content, invisible for delay seconds; nil is the queue's own delay.
// The lock is held.
func (q *queue) send(c content, delay *int) (id string) {
	b := q.broker
	now := b.opts.Clock.Now()
	q.advance(now)
	seconds := q.delay
	if delay != nil {
		seconds = *delay
	}
	m := &message{content: c, id: uuid.NewString(), sent: now}
	q.add(m, now, duration(seconds))
	b.observe(EventSent, now, q, m)
	q.signal()
	return m.id
}

// overduePause is how long a message waits that is about the same as one that is held for too long.
const overduePause = 30 * time.Second

// hold keeps m from everybody until it is settled; its visibility timeout ends at until.
func (b *Broker) hold(m *message, until time.Time) {
	m.state, m.holdUntil = stateHeld, until
	if m.about = b.opts.About(m.body); m.about != "" {
		b.held[m.about] = append(b.held[m.about], m)
	}
}

// letGo ends a hold, if there is one.
func (b *Broker) letGo(m *message) {
	if m.about == "" {
		return
	}
	left := slices.DeleteFunc(b.held[m.about], func(other *message) bool { return other == m })
	if b.held[m.about] = left; len(left) == 0 {
		delete(b.held, m.about)
	}
	m.about = ""
}

// overdue says whether a message about the same as m has been held for longer than its visibility timeout.
func (b *Broker) overdue(m *message, now time.Time) bool {
	if len(b.held) == 0 {
		return false
	}
	return slices.ContainsFunc(b.held[b.opts.About(m.body)], func(other *message) bool { return !other.holdUntil.After(now) })
}
