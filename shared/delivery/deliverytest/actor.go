package deliverytest

import (
	"context"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Call is a call that a batch makes.
type Call string

// The calls that an Actor stops before.
const (
	Load   Call = "load"
	Start  Call = "start"
	Attend Call = "post"
	Record Call = "record"
	Send   Call = "send"
	Change Call = "change"
)

// Shared reports whether the order of c and the calls of others matters: they read or write the log.
func (c Call) Shared() bool { return c == Load || c == Start || c == Record }

// Crash is the fault of a call after whose effect the whole batch is gone, and with it its answer.
const Crash Fault = 100

// Faults returns what can go wrong with c, but for None.
func (c Call) Faults() []Fault {
	switch c {
	case Load, Change:
		return []Fault{Refused, Crash}
	case Attend:
		return []Fault{Crash}
	}
	return []Fault{Refused, Lost, Crash}
}

// Actor is a batch that stops before each of its calls.
type Actor struct {
	Next Call // what it stops before, "" once it has ended

	arrived chan Call
	goOn    chan Fault
	crashed bool
}

// Act begins a batch of some records out of one queue and stops it before its first call.
func (f *Fixture) Act(ctx context.Context, q *Queue, records []delivery.Record) *Actor {
	a := &Actor{arrived: make(chan Call), goOn: make(chan Fault)}
	d := *f.Deliverer
	d.Store = &Store{
		OnLoad: func(ctx context.Context, keys []webhook.Key) (loaded map[webhook.Key]webhook.Loaded, err error) {
			err = a.call(Load, func() error { loaded, err = f.Store.Load(ctx, keys); return err })
			if err != nil {
				loaded = nil
			}
			return loaded, err
		},
		OnRecord: func(ctx context.Context, outcomes []webhook.Outcome) (recorded []webhook.Recorded) {
			if err := a.call(Record, func() error { recorded = f.Store.Record(ctx, outcomes); return nil }); err != nil {
				return Failing(outcomes)
			}
			return recorded
		},
		OnStart: func(ctx context.Context, o webhook.Outcome) (recorded webhook.Recorded) {
			if err := a.call(Start, func() error { recorded = f.Store.Start(ctx, o); return nil }); err != nil {
				return webhook.Recorded{Err: err}
			}
			return recorded
		},
	}
	d.Poster = &Poster{Now: f.Now, OnPost: func(ctx context.Context, r endpoint.Request) (result endpoint.Result) {
		if a.call(Attend, func() error { result = f.Poster.Post(ctx, r); return nil }) != nil {
			return Failure(500)
		}
		return result
	}}
	d.DeliveryQueue, d.RetryQueue = &stopping{Queue: f.DeliveryQueue, actor: a}, &stopping{Queue: f.RetryQueue, actor: a}
	go func() {
		answer, err := d.Handle(ctx, delivery.Batch{Records: records})
		if err == nil && !a.crashed {
			q.Answered(records, answer)
		}
		close(a.arrived)
	}()
	a.Next = <-a.arrived
	return a
}

// Step lets the next call take place, with a fault or none.
func (a *Actor) Step(fault Fault) {
	a.goOn <- fault
	a.Next = <-a.arrived
}

// call stops before a call and makes it as the test wants.
func (a *Actor) call(name Call, effect func() error) error {
	if a.crashed {
		return ErrAway
	}
	a.arrived <- name
	fault := <-a.goOn
	var err error
	if fault != Refused {
		err = effect()
	}
	if fault != None {
		a.crashed = fault == Crash
		return ErrAway
	}
	return err
}

// stopping is a queue whose calls an Actor stops before.
type stopping struct {
	*Queue
	actor *Actor
}

func (s *stopping) SendOnce(ctx context.Context, m webhook.Message, delay time.Duration) error {
	return s.actor.call(Send, func() error { return s.Queue.SendOnce(ctx, m, delay) })
}

func (s *stopping) ChangeVisibility(ctx context.Context, changes []webhook.Visibility) error {
	return s.actor.call(Change, func() error { return s.Queue.ChangeVisibility(ctx, changes) })
}

// Choose makes one of n decisions, from 0. Every is one way to make them; a generator of random numbers is another.
type Choose func(n int) int

// Every calls run until it has made every combination of the decisions that it asks for, and returns how many
// there were. A run asks for the same decision after the same decisions before.
func Every(run func(Choose)) (runs int) {
	type decision struct{ made, of int }
	var path []decision
	for {
		depth := 0
		run(func(n int) int {
			if depth == len(path) {
				path = append(path, decision{of: n})
			}
			depth++
			return path[depth-1].made
		})
		runs++
		path = path[:depth]
		for len(path) > 0 && path[len(path)-1].made == path[len(path)-1].of-1 {
			path = path[:len(path)-1]
		}
		if len(path) == 0 {
			return runs
		}
		path[len(path)-1].made++
	}
}
