package model

import (
	"context"
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/webhook"
)

// digest tells worlds apart that may go on differently.
func (w *world) digest() [16]byte {
	b := make(form, 0, 4096)
	b.time(w.T)
	b.time(w.swept, w.backAt)
	c := w.config()
	b.text(c.URL, c.Sealed, c.DeactivatedReason)
	b.number(int(c.Version), c.FailureCount)
	b.truth(c.Receives(), w.inactive)
	b.time(c.FastUntil.Time, c.SlowUntil.Time, c.FailingSince.Time)
	for _, event := range w.events {
		d, _ := w.Log.Get(context.Background(), deliverytest.Organization, deliverytest.ConfigID, event.ID)
		b.delivery(d)
	}
	for _, q := range []*deliverytest.Queue{w.DeliveryQueue, w.RetryQueue, w.DeadLetters} {
		b.text(q.Name)
		for _, m := range q.Messages() {
			b.text(m.ID, m.Body)
			b.time(m.SentAt, m.VisibleAt)
			b.number(m.Receives)
		}
	}
	for i := range w.acting {
		b.actor(&w.acting[i])
	}
	l := w.left
	b.number(l.Faults, l.Duplicates, l.Resends, l.Redrives, l.Changes, l.Outages, w.excuses, w.repeats)
	b.truth(w.away[:]...)
	for _, p := range w.posts {
		b.text(p.event, p.round)
		b.number(p.attempt, p.n)
	}
	for _, r := range w.asked {
		b.text(r.round)
	}
	b.time(w.endedAt.Time)
	b.text(w.accepted...)
	b.text(w.bySweep...)
	b.text(w.redriven...)
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// form is bytes that are the same only for what is the same.
type form []byte

func (b *form) text(all ...string) {
	for _, s := range all {
		*b = append(strconv.AppendInt(*b, int64(len(s)), 10), ':')
		*b = append(*b, s...)
	}
	*b = append(*b, ';')
}

func (b *form) number(all ...int) {
	for _, n := range all {
		*b = append(strconv.AppendInt(*b, int64(n), 10), ',')
	}
}

func (b *form) time(all ...time.Time) {
	for _, t := range all {
		*b = append(strconv.AppendInt(*b, t.UnixMilli(), 36), ',')
	}
}

func (b *form) truth(all ...bool) {
	for _, t := range all {
		*b = append(strconv.AppendBool(*b, t), ',')
	}
}

func (b *form) delivery(d *webhook.Delivery) {
	if d == nil {
		b.text("nothing")
		return
	}
	b.text(string(d.Status), string(d.Trigger), d.Round, d.EndedBy)
	b.number(d.Attempt, d.Revision)
	b.time(d.RequestedAt.Time, d.EndedAt.Time, d.DoneFor.Time, d.NextAttemptAt.Time, d.WakeAt.Time)
	for _, a := range d.Attempts {
		b.text(a.MessageID, a.ErrorCode)
		b.number(a.Number)
		b.time(a.StartedAt.Time)
	}
}

func (b *form) actor(a *actor) {
	b.text("actor", a.entry.EventID, string(a.next.kind))
	b.time(a.begun, a.entry.WakeAt.Time, a.entry.NextAttemptAt.Time, a.doneFor.Time)
	b.number(int(a.behind))
	b.truth(a.fast, a.rushed, a.receives, a.proven)
	for _, r := range a.records {
		b.text(r.MessageID, r.Body, r.Attributes.ApproximateReceiveCount, r.Attributes.SentTimestamp)
	}
	for _, given := range a.answers {
		b.time(given.at)
		b.truth(given.err != nil, given.done, given.recorded.Counts, given.recorded.Err != nil)
		b.number(given.result.Status, given.failures)
		if c := given.config; c != nil {
			b.text(c.URL, c.Sealed)
			b.number(int(c.Version), c.FailureCount)
			b.truth(c.Receives())
			b.time(c.FastUntil.Time, c.SlowUntil.Time)
		}
		b.delivery(given.delivery)
		b.delivery(given.recorded.Delivery)
	}
}

// exploration is all ways that a world can go.
type exploration struct {
	seen  map[[16]byte]struct{}
	moves int
	ends  int
	path  []string // to where it is
	wrong []string // what was found, and the path to it
}

// explore makes all moves of w and of all that it leads to, each world once. It stops at the first problem.
func (e *exploration) explore(w *world) {
	moves := w.moves()
	if len(moves) == 0 {
		e.ends++
		w.settled()
	} else if w.T.Sub(w.begin) > horizon {
		w.problem("it does not end")
	}
	e.wrong = w.problems
	for _, m := range moves {
		if len(e.wrong) > 0 {
			return
		}
		next := w.clone()
		e.path = append(e.path, m.name)
		m.make(next)
		e.moves++
		if e.wrong = next.problems; len(e.wrong) > 0 {
			return
		}
		if sum := next.digest(); !e.known(sum) {
			e.explore(next)
		}
		if len(e.wrong) > 0 {
			return
		}
		e.path = e.path[:len(e.path)-1]
	}
}

func (e *exploration) known(sum [16]byte) bool {
	_, known := e.seen[sum]
	e.seen[sum] = struct{}{}
	return known
}
