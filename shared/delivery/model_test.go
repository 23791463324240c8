package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// This test runs every interleaving of two messages of one delivery, each in the hands of its own
// instance of the function, through the real Deliverer. Its log is memoryLog, which applies one entry
// after the other; that the table does so too is tested in package dynamo.

// kind is what a message may be to a delivery.
type kind struct {
	name        string
	id          string
	receives    int
	requestedAt webhook.Time
	round       string
	over        map[string]bool // states in which its round is over
	impossible  map[string]bool // states in which there is no such message
}

var kinds = []kind{
	{name: "first", id: "m1", receives: 1, requestedAt: t1, impossible: map[string]bool{"retrying": true, "failed": true}},
	{name: "duplicate", id: "m2", receives: 1, requestedAt: t1},
	{name: "retry", id: "m1", receives: 2, requestedAt: t1, over: map[string]bool{"failed": true}},
	{name: "redrive", id: "m3", receives: 1, requestedAt: t1, impossible: map[string]bool{"absent": true}},
	{name: "put-back", id: "m4", receives: 1, requestedAt: t1, round: "m1"},
	{name: "resend", id: "r1", receives: 1, requestedAt: t2},
	{name: "later resend", id: "r2", receives: 1, requestedAt: t3},
}

// states are what the log may hold before.
var states = map[string]*webhook.Delivery{
	"absent":    nil,
	"retrying":  logged(webhook.Retrying, "m1", 1, webhook.Time{}),
	"failed":    logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}),
	"delivered": logged(webhook.Delivered, "m1", 1, t1),
	"canceled":  logged(webhook.Canceled, "m1", 1, webhook.Time{}),
}

// orders returns every order of three steps of each of two actors.
func orders() [][]int {
	var all [][]int
	for bits := range 1 << 6 {
		var order []int
		for n := range 6 {
			order = append(order, bits>>n&1)
		}
		if sum := order[0] + order[1] + order[2] + order[3] + order[4] + order[5]; sum == 3 {
			all = append(all, order)
		}
	}
	return all
}

func TestEveryInterleavingOfTwoMessages(t *testing.T) {
	for state, before := range states {
		for i, a := range kinds {
			for _, b := range kinds[i:] {
				if a.impossible[state] || b.impossible[state] {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s and %s", state, a.name, b.name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						for outcome := range 4 {
							for n, order := range orders() {
								if testing.Short() && n%4 != 0 {
									continue
								}
								run := &interleaving{state: state, log: newFixture().log}
								if before != nil {
									run.log.set(before)
								}
								run.actors = [2]*actor{newActor(run, a, outcome&1 == 0), newActor(run, b, outcome&2 == 0)}
								run.run(t, order)
								if t.Failed() {
									t.Fatalf("in the order %v, first succeeds: %t, second succeeds: %t", order, outcome&1 == 0, outcome&2 == 0)
								}
							}
						}
					})
				})
			}
		}
	}
}

// actor is one instance of the function with one message. It stops before each of its steps until
// it is told to go on.
type actor struct {
	kind
	fixture  *fixture
	goOn     chan struct{}
	answered chan Answer

	loaded   *webhook.Delivery
	posted   int
	finished bool
	kept     bool
}

func newActor(run *interleaving, k kind, succeeds bool) *actor {
	a := &actor{kind: k, fixture: newFixture(), goOn: make(chan struct{}), answered: make(chan Answer, 1)}
	a.fixture.Log = slog.New(slog.DiscardHandler)
	a.fixture.store.load = func(_ context.Context, keys []Key) (map[Key]Loaded, error) {
		<-a.goOn
		a.loaded = run.log.get(keys[0])
		return map[Key]Loaded{keys[0]: {a.fixture.config, run.log.get(keys[0])}}, nil
	}
	a.fixture.poster.post = func(context.Context, endpoint.Request) endpoint.Result {
		<-a.goOn
		a.posted++
		if succeeds {
			return endpoint.Result{Status: 200}
		}
		return failure(500)
	}
	a.fixture.store.record = func(_ context.Context, entries []Entry) []error {
		<-a.goOn
		return run.log.Record(entries)
	}
	return a
}

// interleaving is one run of two actors on one log.
type interleaving struct {
	state  string
	log    *memoryLog
	actors [2]*actor
}

func (run *interleaving) delivery() *webhook.Delivery {
	return run.log.get(Key{organization, configID, event(1).ID})
}

func (run *interleaving) run(t *testing.T, order []int) {
	for _, a := range run.actors {
		go func() {
			m := message(a.requestedAt)
			m.Round = a.round
			answer, _ := a.fixture.Handle(t.Context(), Batch{[]Record{record(a.id, a.receives, m)}})
			a.answered <- answer
		}()
	}
	synctest.Wait()
	last := run.delivery()
	for _, which := range order {
		a := run.actors[which]
		if a.finished {
			continue // it had fewer steps
		}
		a.goOn <- struct{}{}
		synctest.Wait()
		select {
		case answer := <-a.answered:
			a.finished, a.kept = true, len(answer.BatchItemFailures) > 0
		default:
		}
		now := run.delivery()
		run.checkStep(t, a, last, now)
		last = now
	}
	for i, a := range run.actors {
		if !a.finished {
			t.Errorf("%s is not at its end after three steps", a.name)
			close(a.goOn)
			<-a.answered
			continue
		}
		run.checkEnd(t, a, run.actors[1-i])
	}
	run.drain(t)
}

// checkStep checks what must hold after every step.
func (run *interleaving) checkStep(t *testing.T, a *actor, before, after *webhook.Delivery) {
	if before != nil && after == nil {
		t.Error("the delivery has vanished")
	}
	if before != nil && after.DoneFor.Before(before.DoneFor.Time) {
		t.Errorf("done_for went back from %s to %s", before.DoneFor, after.DoneFor)
	}
	if before != nil && before.Status == webhook.Delivered && after.Status != webhook.Delivered {
		t.Errorf("status went from delivered to %s", after.Status)
	}
	if after != nil && (after.Status == webhook.Delivered) != !after.DoneFor.IsZero() {
		t.Errorf("status %s with done_for %q", after.Status, after.DoneFor)
	}
	if a.finished && !a.kept && (after == nil || after.DoneFor.Before(a.requestedAt.Time)) {
		t.Errorf("%s was acknowledged, and the log does not say that its request has succeeded", a.name)
	}
}

// checkEnd checks what an actor has done, given what it had read and who else was there.
func (run *interleaving) checkEnd(t *testing.T, a, other *actor) {
	obsolete := a.loaded != nil && !a.loaded.DoneFor.IsZero() && !a.loaded.DoneFor.Before(a.requestedAt.Time)
	over := a.loaded != nil && a.loaded.Round == a.id && a.loaded.RoundOver()
	want := 1
	if obsolete || over {
		want = 0
	}
	if a.posted != want {
		t.Errorf("%s was posted %d times, want %d (obsolete: %t, over: %t)", a.name, a.posted, want, obsolete, over)
	}
	if a.requestedAt.After(t1.Time) && a.requestedAt.After(other.requestedAt.Time) && a.posted != 1 {
		t.Errorf("the %s is newer than all else and was swallowed", a.name)
	}
}

// drain delivers what was kept, one message after the other, to an endpoint that accepts everything
// now. In the end every request has succeeded, or its round was over and SQS will move its message.
func (run *interleaving) drain(t *testing.T) {
	for _, a := range run.actors {
		if !a.kept {
			continue
		}
		f := newFixture()
		f.log, f.Log = run.log, slog.New(slog.DiscardHandler)
		f.store.load = func(_ context.Context, keys []Key) (map[Key]Loaded, error) {
			return map[Key]Loaded{keys[0]: {f.config, run.log.get(keys[0])}}, nil
		}
		f.store.record = func(_ context.Context, entries []Entry) []error { return run.log.Record(entries) }
		m := message(a.requestedAt)
		m.Round = a.round
		before := run.delivery()
		got := f.handle(t.Context(), t, record(a.id, a.receives+1, m))
		after := run.delivery()
		run.checkStep(t, a, before, after)
		over := before.Round == a.id && before.RoundOver()
		if acked := len(got.Kept) == 0; acked != !over {
			t.Errorf("%s acknowledged at its next receive: %t, its round was over: %t", a.name, acked, over)
		}
		if !over && after.DoneFor.Before(a.requestedAt.Time) {
			t.Errorf("%s is done, but the log says done for %q", a.name, after.DoneFor)
		}
	}
}
