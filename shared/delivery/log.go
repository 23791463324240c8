package delivery

import (
	"context"
	"fmt"
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
	Round         string
	Status        webhook.DeliveryStatus // what it would be if the delivery had not succeeded before
	Attempt       *webhook.Attempt       // nil if canceled
	At            webhook.Time
	NextAttemptAt webhook.Time      // if retrying
	Known         *webhook.Delivery // as it was when the message arrived, nil if it was not there
	FirstReceive  bool              // no earlier receive of the message can have left anything
}

// Apply returns d, which may be nil, as e leaves it. A delivery that has succeeded stays delivered.
func (e Entry) Apply(d *webhook.Delivery) webhook.Delivery {
	var after webhook.Delivery
	if d != nil {
		after = *d
	}
	after.OrganizationID, after.ConfigID = e.Message.OrganizationID, e.Message.ConfigID
	after.Event, after.Trigger = e.Message.Event, e.Message.Trigger
	if e.Message.RequestedAt.After(after.RequestedAt.Time) {
		after.RequestedAt = e.Message.RequestedAt
	}
	after.ExpiresAt = webhook.At(e.At.Add(webhook.Retention))
	if e.Attempt != nil {
		attempts := append(after.Attempts[:len(after.Attempts):len(after.Attempts)], *e.Attempt)
		after.Attempts = attempts[max(0, len(attempts)-webhook.MaxLoggedAttempts):]
		after.Round, after.RoundAttempts = e.Round, e.Attempt.Number
		after.RoundOver = e.Status == webhook.DeliveryFailed
	}
	if e.Status == webhook.Delivered {
		if e.Message.RequestedAt.After(after.DoneFor.Time) {
			after.DoneFor = e.Message.RequestedAt
		}
		if after.DeliveredAt.IsZero() {
			after.DeliveredAt = e.At
		}
	} else if !after.DoneFor.IsZero() {
		return after
	}
	after.Status, after.NextAttemptAt = e.Status, e.NextAttemptAt
	if e.Status == webhook.DeliveryFailed {
		after.FailedAt = e.At
	}
	return after
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
