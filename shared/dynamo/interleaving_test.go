package dynamo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// This is the test of package delivery that runs every interleaving of messages of one delivery,
// with the table in the place of its model. The POST in between writes nothing, so here
// the steps are two, reading and writing.

// request is one message to the delivery and how its attempt ends.
type request struct {
	name      string
	id        string
	receives  int
	requested int // seconds after the start
}

var requests = []request{
	{"duplicate", "m2", 1, 0}, {"retry", "m1", 2, 0}, {"redrive", "m3", 1, 0}, {"resend", "r1", 1, 60}, {"later resend", "r2", 1, 120},
}

// before is what has happened to the delivery before the messages.
var before = map[string][]step{
	"absent":    nil,
	"retrying":  {{round: "m1", number: 1, status: webhook.Retrying}},
	"failed":    {{round: "m0", number: 5, status: webhook.DeliveryFailed}},
	"delivered": {{round: "m1", number: 1, status: webhook.Delivered}},
	"canceled":  {{status: webhook.Canceled}},
}

func TestDeliverersNeverTakeTheLogBackwards(t *testing.T) {
	db := dynamotest.New(t)
	configs := configsOf(db)
	create(t, configs, 1)
	log := &dynamo.Log{Deliveries: deliveriesOf(db), Configs: configs}
	n := 100
	interleave := func(t *testing.T, state string, orders [][]int, messages ...request) {
		for outcomes := range 1 << len(messages) {
			for _, order := range orders {
				n++
				run := &run{log: log, event: event(n)}
				run.seed(t, before[state])
				for i, m := range messages {
					run.start(t, m, outcomes>>i&1 == 0)
				}
				run.run(t, order)
				if t.Failed() {
					t.Fatalf("%s, then %v in the order %v; those that fail: %b", state, messages, order, outcomes)
				}
			}
		}
	}
	t.Run("two messages", func(t *testing.T) {
		// Two readings next to each other may be swapped, so these are all that differ.
		orders := [][]int{{0, 1, 0, 1}, {0, 1, 1, 0}, {0, 0, 1, 1}, {1, 1, 0, 0}}
		if testing.Short() {
			orders = orders[:2] // those in which both have read before either writes
		}
		for state := range before {
			for i, a := range requests {
				for _, b := range requests[i:] {
					interleave(t, state, orders, a, b)
				}
			}
		}
	})
	// The first message is slow, its duplicate is not, and that one's result is resent meanwhile.
	t.Run("three messages", func(t *testing.T) {
		var orders [][]int
		permute(6, func(order []int) {
			if order[0] < order[1] && order[2] < order[3] && order[4] < order[5] { // steps of an actor are alike
				steps := make([]int, len(order))
				for step, at := range order {
					steps[at] = step / 2
				}
				orders = append(orders, steps)
			}
		})
		if testing.Short() {
			orders = orders[:10]
		}
		for _, state := range []string{"absent", "retrying"} {
			interleave(t, state, orders, requests[0], requests[1], requests[3])
		}
	})
}

// run is some deliverers with one message each for the same event.
type run struct {
	log    *dynamo.Log
	event  webhook.Event
	actors []*actor
}

// actor stops before it reads and before it writes.
type actor struct {
	request
	store    delivery.Store
	arrived  chan struct{} // at a step
	goOn     chan struct{}
	answered chan delivery.Answer

	loaded   *webhook.Delivery
	posted   bool
	finished bool
	kept     bool
}

func (a *actor) Load(ctx context.Context, keys []delivery.Key) (map[delivery.Key]delivery.Loaded, error) {
	a.arrived <- struct{}{}
	<-a.goOn
	loaded, err := a.store.Load(ctx, keys)
	a.loaded = loaded[keys[0]].Delivery
	return loaded, err
}

func (a *actor) Record(ctx context.Context, entries []delivery.Entry) []error {
	a.arrived <- struct{}{}
	<-a.goOn
	return a.store.Record(ctx, entries)
}

// poster answers every attempt alike.
type poster struct{ post func() endpoint.Result }

func (p poster) Post(context.Context, endpoint.Request) endpoint.Result { return p.post() }
func (poster) Rested()                                                  {}

type opened struct{}

func (opened) Open(context.Context, string, string, string) (signature.Credentials, error) {
	return signature.Credentials{}, nil
}

type nothing struct{}

func (nothing) ChangeVisibility(context.Context, []delivery.Visibility) error        { return nil }
func (nothing) PutBack(context.Context, webhook.Message, time.Duration) error        { return nil }
func (nothing) Deactivate(context.Context, *webhook.Config, string, time.Time) error { return nil }
func (nothing) ResetFailures(context.Context, *webhook.Config) error                 { return nil }
func (nothing) Add(string, int)                                                      {}
func (nothing) AddBy(string, string, string, int)                                    {}
func (nothing) Observe(string, time.Duration)                                        {}
func (nothing) Flush()                                                               {}
func (nothing) CountFailure(context.Context, *webhook.Config, time.Time) (int, time.Time, error) {
	return 0, time.Time{}, nil
}

func (r *run) message(requested int) webhook.Message {
	m := message(1)
	m.Event, m.RequestedAt = r.event, moment(requested)
	return m
}

func (r *run) seed(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		e := s.entry(nil)
		e.Message = r.message(s.requested)
		if errs := r.log.Record(t.Context(), []delivery.Entry{e}); errs != nil {
			t.Fatal(errs)
		}
	}
}

// delivery returns what the log holds, nil for nothing.
func (r *run) delivery(t *testing.T) *webhook.Delivery {
	t.Helper()
	d, err := r.log.Get(t.Context(), organization, configID(1), r.event.ID)
	if err != nil && err != webhook.ErrNotFound {
		t.Fatal(err)
	}
	return d
}

func (r *run) start(t *testing.T, m request, succeeds bool) {
	t.Helper()
	a := &actor{request: m, store: r.log, arrived: make(chan struct{}), goOn: make(chan struct{}), answered: make(chan delivery.Answer)}
	r.actors = append(r.actors, a)
	body, err := json.Marshal(r.message(m.requested))
	if err != nil {
		t.Fatal(err)
	}
	record := delivery.Record{MessageID: m.id, Body: string(body)}
	record.Attributes.ApproximateReceiveCount = strconv.Itoa(m.receives)
	d := &delivery.Deliverer{
		Store: a, Health: nothing{}, Queue: nothing{}, Credentials: opened{}, Metrics: nothing{},
		Poster: poster{func() endpoint.Result {
			a.posted = true
			if succeeds {
				return endpoint.Result{StartedAt: start(), Status: 200}
			}
			return endpoint.Result{StartedAt: start(), Status: 500, Code: endpoint.CodeHTTPStatus}
		}},
		Schedule: delivery.Schedule{time.Second, time.Second, time.Second, time.Second},
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)), Now: start, MachineNow: time.Now, Random: func() float64 { return 0 },
	}
	go func() {
		answer, _ := d.Handle(t.Context(), delivery.Batch{Records: []delivery.Record{record}})
		a.answered <- answer
	}()
	<-a.arrived
}

// run lets the actors take their steps in an order, and checks the log at the end of each actor.
func (r *run) run(t *testing.T, order []int) {
	t.Helper()
	last := r.delivery(t)
	for _, which := range order {
		a := r.actors[which]
		if a.finished {
			continue // there was nothing to write
		}
		a.goOn <- struct{}{}
		select {
		case <-a.arrived:
			continue // reading changes nothing
		case answer := <-a.answered:
			a.finished, a.kept = true, len(answer.BatchItemFailures) > 0
		}
		now := r.delivery(t)
		for _, problem := range r.problems(a, last, now) {
			t.Error(problem)
		}
		last = now
	}
}

func (r *run) problems(a *actor, last, now *webhook.Delivery) (problems []string) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if last != nil && now == nil {
		add("the delivery has vanished")
		return problems
	}
	if last != nil && now.DoneFor.Before(last.DoneFor.Time) {
		add("done_for went back from %s to %s", last.DoneFor, now.DoneFor)
	}
	if last != nil && last.Status == webhook.Delivered && now.Status != webhook.Delivered {
		add("status went from delivered to %s", now.Status)
	}
	requested := moment(a.requested)
	obsolete := a.loaded != nil && !a.loaded.DoneFor.IsZero() && !a.loaded.DoneFor.Before(requested.Time)
	if a.posted == obsolete {
		add("%s was posted: %t, although what it read was done for %q", a.name, a.posted, a.loaded.DoneFor)
	}
	if !a.kept && (now == nil || now.DoneFor.Before(requested.Time)) {
		add("%s was acknowledged, and the log does not say that its request has succeeded", a.name)
	}
	return problems
}
