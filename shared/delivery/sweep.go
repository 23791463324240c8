package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// WaitingList is the deliveries that wait for an attempt, in webhook.WakeShards shards.
type WaitingList interface {
	// Due returns up to limit entries of a shard whose WakeAt is not after until, the earliest first, and of
	// those only what comes after an entry (nil to begin with the first). It may be some time behind.
	Due(ctx context.Context, shard int, until time.Time, after *webhook.Wake, limit int) ([]webhook.Wake, error)
	// Push sets the WakeAt of an entry and returns its delivery, nil if the entry is not the one that counts
	// any more: somebody else has pushed it, or the attempt was made.
	Push(ctx context.Context, entry webhook.Wake, to webhook.Time) (*webhook.Delivery, error)
	// Count returns how many entries of a shard have a WakeAt that is not after until, and how many there are
	// in all. It reads a bounded number of them.
	Count(ctx context.Context, shard int, until time.Time) (due, all int, err error)
}

// Sender accepts messages. It returns nil if all were accepted, else one error (or nil) for each.
type Sender interface {
	Send(ctx context.Context, messages []webhook.Message) []error
}

// Names of the metrics of a sweep.
const (
	metricSwept     = "Swept"             // messages sent for attempts that were due
	metricOldest    = "OldestDue"         // how long the entry that has waited longest has been due
	metricWaiting   = "WaitingDeliveries" // an estimate, from one shard
	metricDueInHour = "DueWithinHour"     // the same for those that are due within an hour
)

const (
	// sweepAhead is how far ahead of its time an entry is taken: until the next sweep.
	sweepAhead = time.Minute
	// sweepPage is how many entries are read at once, and sweepPushes how many of them are pushed at once.
	sweepPage   = 100
	sweepPushes = 10
	// sweepMargin is how long before its deadline a sweep takes no further page. The next one goes on.
	sweepMargin = 10 * time.Second
)

// Sweeper sends a message for every attempt that is due. It first pushes on the time at which the entry is
// looked after again, and only then sends: what it loses in between comes at that time. So a run that is late,
// cut off, doubled or left out harms nothing.
type Sweeper struct {
	Waiting    WaitingList
	RetryQueue Sender // which tries nothing again: an answer that is lost would make two of each message
	Metrics    Metrics
	Log        *slog.Logger
	Now        func() time.Time
}

// swept is what a sweep of some shards did.
type swept struct {
	mu     sync.Mutex
	sent   int
	failed int
	oldest time.Duration
	errs   error
	barred map[string]bool // configs one of whose entries could not be pushed on
}

// Handle sweeps all shards at the same time. It errors if a shard could not be read to its end, so that the
// function's errors tell.
func (s *Sweeper) Handle(ctx context.Context) error {
	defer s.Metrics.Flush()
	now := s.Now()
	working := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		working, cancel = context.WithDeadline(ctx, deadline.Add(-sweepMargin))
		defer cancel()
	}
	var total swept
	var wait sync.WaitGroup
	for shard := range webhook.WakeShards {
		wait.Go(func() {
			if err := s.shard(ctx, working, shard, now, &total); err != nil {
				total.add(func() { total.errs = errors.Join(total.errs, err) })
			}
		})
	}
	wait.Wait()
	s.count(ctx, now)
	s.Metrics.Add(metricSwept, total.sent)
	s.Metrics.Observe(metricOldest, total.oldest)
	s.Log.InfoContext(ctx, "sweep", "sent", total.sent, "not_sent", total.failed, "oldest_ms", total.oldest.Milliseconds())
	return total.errs
}

// bar leaves the other entries of a config to the next sweep, so that the backlog of one whose partition is
// throttled does not use up the time of all. It reports whether nobody has barred it before.
func (t *swept) bar(configID string) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.barred == nil {
		t.barred = map[string]bool{}
	}
	first = !t.barred[configID]
	t.barred[configID] = true
	return first
}

func (t *swept) isBarred(configID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.barred[configID]
}

func (t *swept) add(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// shard sends what is due in one shard, a page at a time.
func (s *Sweeper) shard(ctx, working context.Context, shard int, now time.Time, total *swept) error {
	var after *webhook.Wake
	for working.Err() == nil {
		page, err := s.Waiting.Due(ctx, shard, now.Add(sweepAhead), after, sweepPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		after = &page[len(page)-1]
		due := s.push(ctx, page, total)
		unsent := 0
		for _, err := range s.RetryQueue.Send(ctx, due) {
			if err != nil {
				unsent++
				s.Log.ErrorContext(ctx, "attempt left to a later sweep", "error", err.Error())
			}
		}
		total.add(func() {
			total.sent += len(due) - unsent
			total.failed += unsent
			total.oldest = max(total.oldest, now.Sub(page[0].WakeAt.Time))
		})
		if len(page) < sweepPage {
			return nil
		}
	}
	return nil
}

// push pushes the entries of a page and returns the messages of those that are to be sent. What cannot be pushed
// is found again by the next sweep.
func (s *Sweeper) push(ctx context.Context, page []webhook.Wake, total *swept) []webhook.Message {
	messages := make([]*webhook.Message, len(page))
	limit := make(chan struct{}, sweepPushes)
	var wait sync.WaitGroup
	for i, entry := range page {
		limit <- struct{}{}
		wait.Go(func() {
			defer func() { <-limit }()
			if total.isBarred(entry.ConfigID) {
				return
			}
			var err error
			if messages[i], err = s.pushOne(ctx, entry); err != nil && total.bar(entry.ConfigID) {
				s.Log.ErrorContext(ctx, "waiting deliveries of a config left to the next sweep",
					"config_id", entry.ConfigID, "event_id", entry.EventID, "error", err.Error())
			}
		})
	}
	wait.Wait()
	var due []webhook.Message
	for _, m := range messages {
		if m != nil {
			due = append(due, *m)
		}
	}
	return due
}

// pushOne pushes one entry and returns the message that is to be sent for it, nil for none. A panic is an error.
func (s *Sweeper) pushOne(ctx context.Context, entry webhook.Wake) (message *webhook.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			message, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	now := s.Now()
	d, err := s.Waiting.Push(ctx, entry, webhook.NextWake(entry.NextAttemptAt, now))
	if err != nil || d == nil || !d.Waiting() {
		return nil, err
	}
	m := d.NextMessage(now)
	return &m, nil
}

// count estimates how many deliveries wait from one shard, a different one each minute: their number is a matter
// of chance, the same for all.
func (s *Sweeper) count(ctx context.Context, now time.Time) {
	shard := int(now.Unix()/60) % webhook.WakeShards
	due, all, err := s.Waiting.Count(ctx, shard, now.Add(time.Hour))
	if err != nil {
		s.Log.WarnContext(ctx, "waiting deliveries not counted", "error", err.Error())
		return
	}
	s.Metrics.Add(metricWaiting, all*webhook.WakeShards)
	s.Metrics.Add(metricDueInHour, due*webhook.WakeShards)
}
