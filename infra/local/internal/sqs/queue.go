package sqs

import (
	"container/list"
	"context"
	"time"
)

// queue is one standard queue. The Broker's lock guards what changes.
type queue struct {
	broker  *Broker
	name    string
	arn     string
	created time.Time

	visibility int // the attributes, in seconds and bytes
	retention  int
	delay      int
	wait       int
	maxSize    int
	redrive    *Redrive
	limit      int // messages in flight

	messages map[string]*message // all, by id
	line     *line               // the visible ones
	hidden   ranking[*message]   // delayed and in flight, by the time they become visible; not the held
	expiring ranking[*message]   // all, by the end of retention
	inFlight int
	delayed  int
	purged   time.Time
	tasks    []*moveTask // from this queue, the latest first

	waiting list.List // of chan struct{}: receivers that found nothing
	alarm   time.Time // when timer fires; zero: it does not
	timer   *time.Timer
}

// add puts a message into the queue, invisible for delay.
func (q *queue) add(m *message, now time.Time, delay time.Duration) {
	q.messages[m.id] = m
	q.line.join(m)
	m.receivesHere, m.receipt = 0, 0
	m.hiddenIndex = -1
	m.expires = m.sent.Add(duration(q.retention))
	q.expiring.push(m)
	if delay > 0 {
		q.hide(m, now.Add(delay))
		return
	}
	q.show(m)
}

// hide makes a message that is in no place visible at a later time.
func (q *queue) hide(m *message, until time.Time) {
	m.state = stateDelayed
	m.visibleAt = until
	q.delayed++
	q.hidden.push(m)
}

// show makes a message that is in no place visible.
func (q *queue) show(m *message) {
	m.state = stateVisible
	q.line.append(m, q.broker.next())
}

// detach takes a message out of the place that its state puts it in.
func (q *queue) detach(m *message) {
	switch m.state {
	case stateVisible:
		q.line.remove(m)
	case stateDelayed:
		q.delayed--
	case stateInFlight, stateHeld:
		q.broker.letGo(m)
		q.inFlight--
		q.line.flying(m.group, -1)
	}
	if m.hiddenIndex >= 0 {
		q.hidden.remove(m.hiddenIndex)
	}
}

// drop takes a message out of the queue altogether.
func (q *queue) drop(m *message) {
	q.detach(m)
	q.expiring.remove(m.expiringIndex)
	q.line.leave(m)
	delete(q.messages, m.id)
}

// advance does what the passing of time does: messages expire, and hidden ones become visible.
func (q *queue) advance(now time.Time) {
	for {
		m, ok := q.expiring.first()
		if !ok || m.expires.After(now) {
			break
		}
		q.drop(m)
		q.broker.observe(EventExpired, now, q, m)
	}
	for {
		m, ok := q.hidden.first()
		if !ok || m.visibleAt.After(now) {
			break
		}
		q.detach(m)
		q.show(m)
	}
}

// intake is how a consumer wants to receive.
type intake struct {
	max        int
	visibility time.Duration
	hold       bool // the messages stay in flight until they are settled
}

// take receives what is there. Messages that have been received often enough go to the dead-letter
// queue instead. It stops at the limit of messages in flight.
func (q *queue) take(now time.Time, in intake) []*message {
	var taken []*message
	for len(taken) < in.max && !q.full() {
		m := q.line.next()
		if m == nil {
			break
		}
		if q.redrive != nil && m.receivesHere >= q.redrive.MaxReceiveCount {
			q.bury(m, now)
			continue
		}
		if q.broker.overdue(m, now) {
			q.detach(m)
			q.hide(m, now.Add(overduePause))
			continue
		}
		q.line.remove(m)
		q.inFlight++
		q.line.flying(m.group, 1)
		m.state = stateInFlight
		m.receives++
		m.receivesHere++
		m.receipt = q.broker.next()
		m.received = now
		if m.first.IsZero() {
			m.first = now
		}
		m.visibleAt = now.Add(in.visibility)
		if in.hold {
			q.broker.hold(m, now.Add(in.visibility))
		} else {
			q.hidden.push(m)
		}
		q.broker.observe(EventReceived, now, q, m)
		taken = append(taken, m)
	}
	return taken
}

func (q *queue) full() bool { return q.inFlight >= q.limit }

// bury moves a message to the dead-letter queue, as itself.
func (q *queue) bury(m *message, now time.Time) {
	dlq := q.broker.byARN[q.redrive.DeadLetterTargetARN]
	q.drop(m)
	m.origin = q.arn
	dlq.add(m, now, 0)
	q.broker.observeMove(now, dlq, m, q.arn, "")
	dlq.signal()
}

// find is the message that a receipt handle of this queue received, if it is still here and has not
// been received again.
func (q *queue) find(r receipt) *message {
	m := q.messages[r.message]
	if m == nil || m.receipt != r.number {
		return nil
	}
	return m
}

// erase deletes what the receipt received, wherever it is now. A message received again since stays:
// SQS promises nothing for an old handle.
func (q *queue) erase(r receipt, now time.Time) {
	if m := q.find(r); m != nil {
		q.drop(m)
		q.broker.observe(EventDeleted, now, q, m)
		q.signal()
	}
}

// postpone makes a received message visible after timeout, not counted from the receive but from now.
func (q *queue) postpone(m *message, now time.Time, timeout time.Duration) {
	m.visibleAt = now.Add(timeout)
	if m.state == stateInFlight {
		q.hidden.fix(m.hiddenIndex)
		q.broker.observe(EventReturned, now, q, m)
	}
	q.advance(now)
	q.signal()
}

// release ends the hold on a message: from now on its visibility timeout counts.
func (q *queue) release(m *message, now time.Time) {
	q.broker.letGo(m)
	m.state = stateInFlight
	q.hidden.push(m)
	q.broker.observe(EventReturned, now, q, m)
}

// clear deletes all messages, whatever their state.
func (q *queue) clear(now time.Time) {
	for _, m := range q.messages {
		q.drop(m)
		q.broker.observe(EventDeleted, now, q, m)
	}
}

// signal wakes as many waiting receivers as there are visible messages, and sees to it that the
// others wake when the next message becomes visible.
func (q *queue) signal() {
	for n := q.line.size; n > 0 && !q.full(); n-- {
		first := q.waiting.Front()
		if first == nil {
			return
		}
		close(q.waiting.Remove(first).(chan struct{}))
	}
	q.arm()
}

// arm sets the timer for the next message to become visible, if somebody waits for it.
func (q *queue) arm() {
	next, ok := q.hidden.first()
	if !ok || q.waiting.Len() == 0 {
		return
	}
	if !q.alarm.IsZero() && !q.alarm.After(next.visibleAt) {
		return
	}
	at := next.visibleAt
	if q.timer != nil {
		q.timer.Stop() // a timer that has fired nevertheless looks at the queue once more, which harms nothing
	}
	q.alarm = at
	// Not less than a millisecond, lest an injected clock that lags behind the timers makes this spin.
	clock := q.broker.opts.Clock
	q.timer = time.AfterFunc(max(clock.Real(at.Sub(clock.Now())), time.Millisecond), func() {
		b := q.broker
		b.mu.Lock()
		defer b.mu.Unlock()
		if q.alarm.Equal(at) { // otherwise an earlier alarm has been set since, which stays
			q.alarm = time.Time{}
		}
		q.advance(b.opts.Clock.Now())
		q.signal()
	})
}

// receive waits until there is something to take, or ctx ends, or at once if wait is false. The
// messages are read while the lock is held, by read.
func (q *queue) receive(ctx context.Context, wait bool, in intake, read func(*message)) (full bool, err error) {
	b := q.broker
	for {
		b.mu.Lock()
		if err := ctx.Err(); err != nil {
			q.signal() // in case this receiver was woken for a message that another can take
			b.mu.Unlock()
			return false, err
		}
		now := b.opts.Clock.Now()
		q.advance(now)
		taken := q.take(now, in)
		for _, m := range taken {
			read(m)
		}
		if full = q.full(); full && len(taken) == 0 {
			b.opts.Full(q.name)
		}
		if len(taken) > 0 || !wait {
			q.signal()
			b.mu.Unlock()
			return full, nil
		}
		woken := make(chan struct{})
		place := q.waiting.PushBack(woken)
		q.arm()
		b.mu.Unlock()

		select {
		case <-woken:
		case <-ctx.Done():
			b.mu.Lock()
			q.waiting.Remove(place) // without effect if it was woken just now
			b.mu.Unlock()
		}
	}
}
