package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// meeting is two messages of one delivery that two batches receive at the same time.
type meeting struct {
	name   string
	before func(f *fixture)
	put    func(f *fixture) // both into RetryQueue
}

func meetings() []meeting {
	twice := func(message func(f *fixture) webhook.Message) func(f *fixture) {
		return func(f *fixture) {
			f.RetryQueue.Put("a", message(f))
			f.RetryQueue.Put("b", message(f))
		}
	}
	both := func(a, b func(f *fixture) webhook.Message) func(f *fixture) {
		return func(f *fixture) {
			f.RetryQueue.Put("a", a(f))
			f.RetryQueue.Put("b", b(f))
		}
	}
	copied := func(message func(f *fixture) webhook.Message) func(f *fixture) webhook.Message {
		return func(f *fixture) webhook.Message {
			m := message(f)
			m.Again = true
			return m
		}
	}
	return []meeting{
		{name: "a first attempt and its duplicate", put: twice(first)},
		{name: "a first attempt and its copy", put: both(first, copied(first))},
		{name: "two copies", put: twice(copied(first))},
		{name: "a first attempt and a resend", put: both(first, resend(2))},
		{name: "two resends", before: logged(2), put: both(resend(2), resend(3))},
		{name: "a fifth attempt and the sweep's copy", before: logged(4), put: both(attempt(5), copied(attempt(5)))},
		{name: "a fifth attempt and its duplicate", before: logged(4), put: twice(attempt(5))},
		{name: "a fifth attempt and a resend", before: logged(4), put: both(copied(attempt(5)), resend(2))},
		{name: "a redriven message and its duplicate", before: logged(5), put: twice(attempt(5))},
		{name: "a redriven message and a resend", before: logged(5), put: both(copied(attempt(5)), resend(2))},
		{name: "a resend and a duplicate of what succeeded", before: succeeded(first), put: both(copied(first), resend(2))},
	}
}

// ledger is what a run must hold to.
type ledger struct {
	rounds   []string
	problems []string
}

// wrote checks that the last attempt of a delivery never goes backwards.
func (l *ledger) wrote(before, after *webhook.Delivery) {
	if before != nil {
		m := webhook.Message{RequestedAt: after.RequestedAt, Round: after.Round}
		switch order := before.CompareRound(&m); {
		case order < 0, order == 0 && after.Attempt < before.Attempt:
			back := fmt.Sprintf("from %s/%d back to %s/%d", before.Round, before.Attempt, after.Round, after.Attempt)
			l.problems = append(l.problems, back)
		case after.DoneFor.Before(before.DoneFor.Time):
			l.problems = append(l.problems, fmt.Sprintf("done for %s and then %s", before.DoneFor, after.DoneFor))
		}
	}
	if !slices.Contains(l.rounds, after.Round) {
		l.rounds = append(l.rounds, after.Round)
	}
}

// settled checks where a delivery is when nothing moves any more.
func (l *ledger) settled(f *fixture) {
	problem := func(format string, args ...any) { l.problems = append(l.problems, fmt.Sprintf(format, args...)) }
	d := f.Delivery(1)
	letters := f.DeadLetters.IDs()
	switch {
	case d == nil:
		problem("nothing is in the log")
	case d.Waiting() || !d.Over():
		problem("it neither waits where the sweep sees it nor is it over: %s", f.Line(d))
	case d.Status == webhook.DeliveryFailed && !slices.Contains(letters, d.EndedBy):
		problem("%s, and its message is not among the dead letters %v", f.Line(d), letters)
	case !slices.Contains([]webhook.DeliveryStatus{webhook.Delivered, webhook.DeliveryFailed}, d.Status):
		problem("it ends as %s", f.Line(d))
	}
	if left := len(f.RetryQueue.IDs()) + len(f.DeliveryQueue.IDs()); left != 0 {
		problem("%d messages are left", left)
	}
}

// interleave makes one run of a meeting: the calls of the two batches in an order, and with at most so many faults, that
// choose decides; then everything that follows, without further faults. fails says of the n-th POST whether it fails.
func interleave(t *testing.T, m meeting, choose deliverytest.Choose, faults int, fails func(n int) bool) (f *fixture, l *ledger) {
	f = deliverytest.New(&deliverytest.Manual{T: time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)})
	l = &ledger{}
	if m.before != nil {
		m.before(f)
	}
	f.Log.Wrote = l.wrote
	f.Poster.OnPost = failing(f, fails)
	m.put(f)
	a := f.Act(t.Context(), f.RetryQueue, f.RetryQueue.Receive(1))
	b := f.Act(t.Context(), f.RetryQueue, f.RetryQueue.Receive(1))
	for a.Next != "" || b.Next != "" {
		next := a
		switch {
		case a.Next == "":
			next = b
		case b.Next == "" || !a.Next.Shared():
		case !b.Next.Shared() || choose(2) == 1:
			next = b
		}
		fault := deliverytest.None
		if kinds := next.Next.Faults(); faults > 0 {
			if n := choose(1 + len(kinds)); n > 0 {
				fault = kinds[n-1]
				faults--
			}
		}
		f.Sleep(time.Millisecond)
		next.Step(fault)
	}
	f.Run(t.Context(), t, f.Now().Add(30*24*time.Hour))
	l.settled(f)
	return f, l
}

func TestTwoMessagesOfOneDelivery(t *testing.T) {
	for _, m := range meetings() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			runs := 0
			for name, fails := range map[string]func(n int) bool{
				"all fail":           func(int) bool { return true },
				"the first succeeds": func(n int) bool { return n != 1 },
				"the first fails":    func(n int) bool { return n == 1 },
			} {
				runs += deliverytest.Every(func(choose deliverytest.Choose) {
					if t.Failed() {
						return
					}
					var made []int
					f, l := interleave(t, m, func(n int) int {
						made = append(made, choose(n))
						return made[len(made)-1]
					}, 1, fails)
					// One fault and one duplicate: each may repeat an attempt.
					if posts, most := len(f.Poster.Posts()), 5*len(l.rounds)+2; posts > most {
						l.problems = append(l.problems, fmt.Sprintf("%d POSTs in %d rounds", posts, len(l.rounds)))
					}
					if len(l.problems) > 0 {
						t.Errorf("%s, decisions %v: %v\n%s", name, made, l.problems, f.Lines)
					}
				})
			}
			t.Logf("%d runs", runs)
		})
	}
}

// failing answers the n-th POST, from 1, as fails says.
func failing(f *fixture, fails func(n int) bool) func(context.Context, endpoint.Request) endpoint.Result {
	return func(context.Context, endpoint.Request) endpoint.Result {
		if fails(len(f.Poster.Posts())) {
			return deliverytest.Failure(500)
		}
		return deliverytest.Success()
	}
}
