package webhook

import (
	"slices"
	"time"
)

// Outcome is what one message did to its delivery.
type Outcome struct {
	Message       Message // its round and attempt are those that the outcome is of
	MessageID     string
	Status        DeliveryStatus // of the round, if nothing else has happened to it
	Tried         *Attempt       // nil if Canceled. With CodeUnknown it only starts, and its result will replace it
	DeadLetter    bool           // it was the fifth failure, after which SQS moves the message to the dead-letter queue
	At            Time
	NextAttemptAt Time      // if Retrying
	Known         *Delivery // as it was when its message was judged, nil if it was not there
}

// Queued reports whether the next attempt is due so soon that a queue can hold its message back until then.
func (o *Outcome) Queued() bool { return o.NextAttemptAt.Sub(o.At.Time) <= MaxDelay }

// Recorded is a delivery as the log has it once an outcome has been written, or why it could not be.
type Recorded struct {
	Delivery *Delivery
	Counts   bool  // the outcome was the next one of the live round, and did not only join the list of attempts
	Err      error // ErrConflict if the delivery was not as it was Known, and the outcome was to be written only then
}

// Loaded is what is known of a delivery when its message arrives.
type Loaded struct {
	Config   *Config   // nil if there is none
	Delivery *Delivery // nil before the first attempt
}

const (
	// MaxDelay is for how long a queue can hold a message back. What is due later waits in the log alone.
	//
	// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html
	MaxDelay = 15 * time.Minute
	// wakeAfter is how long after an attempt is due the sweep looks after it, if a message was sent for it.
	wakeAfter = 15 * time.Minute
)

// After returns d, which may be nil, as o leaves it, and whether o counts. These are the rules of the log, and
// there are no others: the last (round, attempt) only grows; an outcome of an earlier round, of a request that
// has succeeded already, or of an attempt that another message has logged, joins the list of attempts and
// changes nothing else; a success raises DoneFor whenever it comes, and sets Delivered unless a round that was
// asked for later is live. What changes nothing leaves Revision as it was.
func (d *Delivery) After(o Outcome) (after Delivery, counts bool) {
	m := &o.Message
	after.Event = m.Event
	if d != nil {
		after = *d // with its event, so that what is sent stays what was sent first
	}
	order, started := d.CompareRound(m), d.started(o)
	switch {
	case o.Status != Delivered && !after.DoneFor.Before(m.RequestedAt.Time):
	case order > 0:
		counts = true
	case order == 0 && started >= 0:
		counts = m.Attempt == after.Attempt && (!after.Over() || after.EndedBy == o.MessageID)
	case order == 0:
		counts = m.Attempt > after.Attempt && !after.Over()
	}
	if !counts && o.Tried == nil {
		return after, false
	}
	after.OrganizationID, after.ConfigID = m.OrganizationID, m.ConfigID
	after.ExpiresAt = At(o.At.Add(Retention))
	after.Revision++
	after.list(o.Tried, started)
	if counts {
		after.take(o, order)
	}
	if o.Status == Delivered {
		after.succeed(o)
	}
	return after, counts
}

// list adds an attempt to the last ones, or puts it into the place of its start.
func (d *Delivery) list(a *Attempt, started int) {
	if a == nil {
		return
	}
	attempts := slices.Clone(d.Attempts)
	if started >= 0 {
		attempts[started] = *a
	} else {
		attempts = append(attempts, *a)
	}
	d.Attempts = attempts[max(0, len(attempts)-MaxLoggedAttempts):]
}

// started returns the index of the attempt that o's message has logged as started and not yet as ended, -1 if
// there is none.
func (d *Delivery) started(o Outcome) int {
	if d == nil || o.Tried == nil {
		return -1
	}
	return slices.IndexFunc(d.Attempts, func(a Attempt) bool {
		return a.ErrorCode == CodeUnknown && a.MessageID == o.MessageID && a.Number == o.Tried.Number
	})
}

// take makes o what the round of its message has come to.
func (d *Delivery) take(o Outcome, order int) {
	m := &o.Message
	if order > 0 {
		d.RequestedAt, d.Round, d.Trigger, d.Attempt = m.RequestedAt, m.Round, m.Trigger, 0
	}
	if o.Tried != nil {
		d.Attempt = m.Attempt
	}
	d.Status, d.EndedAt, d.EndedBy, d.NextAttemptAt, d.WakeAt = o.Status, o.At, "", Time{}, Time{}
	switch o.Status {
	case Retrying:
		d.EndedAt, d.NextAttemptAt, d.WakeAt = Time{}, o.NextAttemptAt, o.firstWake()
	case DeliveryFailed:
		d.FailedAt = o.At
		if o.DeadLetter {
			d.EndedBy = o.MessageID
		}
	}
}

// succeed notes a success, and ends the last round if it asked for no more than what has succeeded.
func (d *Delivery) succeed(o Outcome) {
	if o.Message.RequestedAt.After(d.DoneFor.Time) {
		d.DoneFor = o.Message.RequestedAt
	}
	if d.DeliveredAt.IsZero() {
		d.DeliveredAt = o.At
	}
	if !d.Over() && d.RequestedAt.After(d.DoneFor.Time) {
		return
	}
	d.Status = Delivered
	if !d.Over() {
		d.EndedAt, d.NextAttemptAt, d.WakeAt = o.At, Time{}, Time{}
	}
}

// Holds reports whether d, which may be nil, has the attempt of o in its list: a write whose answer was lost
// may have succeeded.
func (d *Delivery) Holds(o Outcome) bool {
	return d != nil && o.Tried != nil && slices.ContainsFunc(d.Attempts, func(a Attempt) bool {
		return a.MessageID == o.MessageID && a.StartedAt.Equal(o.Tried.StartedAt.Time) && a.ErrorCode == o.Tried.ErrorCode
	})
}

// firstWake returns when the sweep looks after the next attempt: when it is due if no queue can hold its message
// back for so long, else later, in case the message was lost.
func (o *Outcome) firstWake() Time {
	if o.Queued() {
		return At(o.NextAttemptAt.Add(wakeAfter))
	}
	return o.NextAttemptAt
}

// NextWake returns when the sweep looks again at a delivery whose attempt was due at due and, at now, has not been
// made: 15 minutes after due, then 30, 60 and so on, from a day on daily, and at least 15 minutes after now.
func NextWake(due Time, now time.Time) Time {
	const day = 24 * time.Hour
	soonest, after := now.Add(wakeAfter), wakeAfter
	for after < day && due.Add(after).Before(soonest) {
		after *= 2
	}
	wake := due.Add(after)
	if left := soonest.Sub(wake); left > 0 {
		wake = wake.Add((left-1)/day*day + day)
	}
	if wake.Before(soonest) {
		wake = soonest // an item without a time that can be read lies further back than a Duration reaches
	}
	return At(wake)
}
