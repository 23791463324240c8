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

// recorder writes the outcomes of a batch in groups: when all deliveries still running wait for
// their outcome to be written, or linger after the first of them.
type recorder struct {
	store Store

	mu      sync.Mutex
	running int // deliveries that may still record
	waiting []pending
	timer   *time.Timer
}

type pending struct {
	outcome webhook.Outcome
	done    chan<- webhook.Recorded
}

// record returns when outcome is written, or could not be.
func (r *recorder) record(ctx context.Context, outcome webhook.Outcome) webhook.Recorded {
	done := make(chan webhook.Recorded, 1)
	r.mu.Lock()
	r.waiting = append(r.waiting, pending{outcome: outcome, done: done})
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

	outcomes := make([]webhook.Outcome, len(group))
	for i, p := range group {
		outcomes[i] = p.outcome
	}
	for i, recorded := range r.write(ctx, outcomes) {
		group[i].done <- recorded
	}
}

// write is Store.Record in bounded time. A panic becomes an error of every outcome, because the deliveries that wait
// for the outcomes of a group would else never hear of them.
func (r *recorder) write(ctx context.Context, outcomes []webhook.Outcome) (recorded []webhook.Recorded) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			recorded = make([]webhook.Recorded, len(outcomes))
			for i := range recorded {
				recorded[i].Err = fmt.Errorf("panic: %v", p)
			}
		}
	}()
	return r.store.Record(ctx, outcomes)
}
