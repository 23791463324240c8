package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// linger is how long a result waits for others to be written with it. It is short, so that a crash
// while one endpoint hangs does not repeat the POSTs to the others.
const linger = 50 * time.Millisecond

// Entry is what one message did to a delivery.
type Entry struct {
	Message       webhook.Message
	MessageID     string
	Round         string
	Status        webhook.DeliveryStatus // what it would be if the delivery had not succeeded before
	Attempt       *webhook.Attempt       // nil if canceled
	At            webhook.Time
	NextAttemptAt webhook.Time      // if retrying
	Known         *webhook.Delivery // as it was when the message arrived, nil if it was not there
}

// Apply returns d, which may be nil, as e leaves it. It holds the rules of the log: done_for only
// grows, what has been delivered stays delivered, a round that has failed for good stays over, and a
// result that an equal or newer request has overtaken adds its attempt and nothing else.
func (e Entry) Apply(d *webhook.Delivery) webhook.Delivery {
	var after webhook.Delivery
	if d != nil {
		after = *d
	}
	delivered := !after.DoneFor.IsZero()
	if delivered && e.Attempt == nil {
		return after // a resend was canceled
	}
	after.OrganizationID, after.ConfigID, after.Event = e.Message.OrganizationID, e.Message.ConfigID, e.Message.Event
	after.ExpiresAt = webhook.At(e.At.Add(webhook.Retention))
	after.Revision++
	if e.Attempt != nil {
		attempts := append(after.Attempts[:len(after.Attempts):len(after.Attempts)], *e.Attempt)
		after.Attempts = attempts[max(0, len(attempts)-webhook.MaxLoggedAttempts):]
	}
	if delivered && !after.DoneFor.Before(e.Message.RequestedAt.Time) {
		return after
	}
	after.Trigger = e.Message.Trigger
	if e.Message.RequestedAt.After(after.RequestedAt.Time) {
		after.RequestedAt = e.Message.RequestedAt
	}
	if e.Attempt != nil {
		if after.Round != e.Round {
			after.Round, after.RoundAttempts, after.RoundOverBy = e.Round, 0, ""
		}
		after.RoundAttempts = max(after.RoundAttempts, e.Attempt.Number)
		switch {
		case e.Status == webhook.DeliveryFailed:
			after.RoundOverBy = e.MessageID
		case e.Status == webhook.Retrying && after.RoundOver():
			return after // a copy of the message was faster and has ended the round
		}
	}
	switch {
	case e.Status == webhook.Delivered:
		after.DoneFor = e.Message.RequestedAt
		if after.DeliveredAt.IsZero() {
			after.DeliveredAt = e.At
		}
	case delivered:
		return after
	case e.Status == webhook.DeliveryFailed:
		after.FailedAt = e.At
	}
	after.Status, after.NextAttemptAt = e.Status, e.NextAttemptAt
	return after
}

// In reports whether d, which may be nil, holds e already: a write whose answer was lost may have
// succeeded. An attempt is told by its round and its time, to the millisecond, and a success must show in
// done_for too.
func (e Entry) In(d *webhook.Delivery) bool {
	if d == nil || e.Attempt == nil || e.Status == webhook.Delivered && d.DoneFor.Before(e.Message.RequestedAt.Time) {
		return false
	}
	return slices.ContainsFunc(d.Attempts, func(a webhook.Attempt) bool {
		return a.Round == e.Attempt.Round && a.Number == e.Attempt.Number && a.StartedAt.Equal(e.Attempt.StartedAt.Time) && a.ErrorCode == e.Attempt.ErrorCode &&
			a.Duration.Milliseconds() == e.Attempt.Duration.Milliseconds()
	})
}

// recorder writes the entries of a batch in groups: when all deliveries still running wait for
// their entry to be written, or linger after the first of them.
type recorder struct {
	store Store

	mu      sync.Mutex
	running int // deliveries that may still record
	waiting []pending
	timer   *time.Timer
}

type pending struct {
	entry Entry
	done  chan<- error
}

// record returns when entry is written, or could not be.
func (r *recorder) record(ctx context.Context, entry Entry) error {
	done := make(chan error, 1)
	r.mu.Lock()
	r.waiting = append(r.waiting, pending{entry, done})
	if len(r.waiting) == 1 {
		r.timer = time.AfterFunc(linger, func() { r.flush(ctx, true) })
	}
	r.mu.Unlock()
	r.flush(ctx, false)
	return <-done
}

// leave says that one delivery has nothing more to record.
func (r *recorder) leave(ctx context.Context) {
	r.mu.Lock()
	r.running--
	r.mu.Unlock()
	r.flush(ctx, false)
}

// flush writes what waits, if all that run are waiting or it is due.
func (r *recorder) flush(ctx context.Context, due bool) {
	r.mu.Lock()
	if len(r.waiting) == 0 || !due && len(r.waiting) < r.running {
		r.mu.Unlock()
		return
	}
	group := r.waiting
	r.waiting = nil
	r.timer.Stop()
	r.mu.Unlock()

	entries := make([]Entry, len(group))
	for i, p := range group {
		entries[i] = p.entry
	}
	errs := r.write(ctx, entries)
	for i, p := range group {
		if errs == nil {
			p.done <- nil
		} else {
			p.done <- errs[i]
		}
	}
}

// write is Store.Record, but a panic is an error of every entry: nobody may wait for ever.
func (r *recorder) write(ctx context.Context, entries []Entry) (errs []error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			errs = make([]error, len(entries))
			for i := range errs {
				errs[i] = fmt.Errorf("panic: %v", p)
			}
		}
	}()
	return r.store.Record(ctx, entries)
}
