package model

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/webhook"
)

// budget is how many of the moves that cost something a run may still make.
type budget struct {
	Faults     int // of single calls, messages that come late, sweeps that are left out
	Duplicates int // messages that are handed over or sent twice, sweeps that run twice
	Resends    int
	Redrives   int
	Changes    int // of the config
	Outages    int // after which all calls to something fail, until a move ends it
}

// skew is how far the clock of a function may be behind.
const skew = 20 * time.Second

// target is what an outage makes fail.
type target int

const (
	tables target = iota
	queues
	keys
	targets // their number
)

func (t target) String() string { return [...]string{"tables", "queues", "keyring"}[t] }

// of returns what c is answered by.
func (c *call) of() (t target, ok bool) {
	switch c.kind {
	case send, change:
		return queues, true
	case open:
		return keys, true
	case post:
		return 0, false
	}
	return tables, true
}

// actor is a function that is at work: a batch, or the sweep of one entry.
type actor struct {
	script
	next *call

	sweeps bool
	entry  webhook.Wake // that it sweeps

	records []delivery.Record // of a batch
	fast    bool              // they are out of DeliveryQueue
	rushed  bool              // too little time is left for an attempt
	behind  time.Duration     // how far its clock is

	receives bool         // the config was active when it was read
	proven   bool         // and in the fast lane
	doneFor  webhook.Time // as of what it last read of the log
}

// world is a state of the model.
type world struct {
	*deliverytest.Platform
	ledger
	*clauses

	begin   time.Time
	events  []webhook.Event
	answers []endpoint.Result // that an endpoint may give
	acting  []actor
	left    budget
	away    [targets]bool
	outage  time.Duration // how long one lasts at most
	backAt  time.Time     // when the last one has lasted so long
	swept   time.Time     // the minute of the last sweep
}

// clone returns a world that goes on by itself.
func (w *world) clone() *world {
	c := *w
	c.Platform = w.Platform.Clone()
	c.ledger = w.ledger.clone()
	c.acting = slices.Clone(w.acting)
	return &c
}

// move is something that can happen in a world.
type move struct {
	name string
	make func(w *world)
}

// fault is what goes wrong with a call, or with the function that makes it.
type fault string

const (
	none     fault = ""
	refused  fault = "refused"          // no effect
	lost     fault = "answer lost"      // effect, but an error
	repeated fault = "made twice"       // by the SDK, since the first answer was lost
	crashed  fault = "crashed after it" // the function
)

// faults returns what can go wrong with c.
func (c *call) faults() []fault {
	switch c.kind {
	case load:
		return []fault{refused, crashed}
	case start, record:
		return []fault{refused, lost, repeated, crashed}
	case post:
		return []fault{crashed}
	case send, push:
		return []fault{refused, lost, crashed}
	case change:
		return []fault{refused, lost, crashed}
	}
	return []fault{refused}
}

// moves returns all moves of w, none once it has settled. The first goes on without a fault.
func (w *world) moves() []move {
	if w.away != [targets]bool{} && !w.T.Before(w.backAt) {
		return []move{{name: "all back", make: func(w *world) { w.away = [targets]bool{} }}}
	}
	for i := range w.acting {
		if !w.acting[i].next.shared() {
			return w.steps(i)
		}
	}
	var all []move
	for i := range w.acting {
		all = append(all, w.steps(i)...)
	}
	all = append(all, w.receives()...)
	due := w.due()
	if len(due) > 0 {
		all = append(all, move{name: "sweep", make: func(w *world) { w.sweep(due) }})
	}
	if next := w.nextInstant(); len(w.acting) == 0 && !next.IsZero() {
		busy := len(all) > 0
		if !busy || w.left.Faults > 0 {
			all = append(all, move{name: "time passes", make: func(w *world) {
				if busy {
					w.left.Faults--
					w.excuses++
					w.count("fault: late")
				}
				w.T = next
				w.waited()
			}})
		}
	}
	return slices.Concat(all, w.extras())
}

// steps returns what can happen to the next call of an actor.
func (w *world) steps(i int) []move {
	a := &w.acting[i]
	var all []move
	step := func(f fault, result endpoint.Result, name string) {
		all = append(all, move{name: name, make: func(w *world) { w.step(i, f, result) }})
	}
	name := a.name() + " " + string(a.next.kind)
	if t, ok := a.next.of(); ok && w.away[t] {
		step(refused, endpoint.Result{}, name+", away")
		return all
	}
	if a.next.kind == post {
		for _, result := range w.answers {
			step(none, result, fmt.Sprintf("%s %d", name, result.Status))
		}
	} else {
		step(none, endpoint.Result{}, name)
	}
	if w.left.Faults == 0 {
		return all
	}
	for _, f := range a.next.faults() {
		results := []endpoint.Result{{}}
		if a.next.kind == post {
			results = w.answers
		}
		for _, result := range results {
			step(f, result, name+" "+string(f))
		}
	}
	return all
}

func (a *actor) name() string {
	if a.sweeps {
		return "sweep"
	}
	name := "batch of"
	for _, r := range a.records {
		name += " " + r.MessageID
	}
	return name
}

// receives returns the batches that can begin.
func (w *world) receives() []move {
	batches := 0
	for i := range w.acting {
		if !w.acting[i].sweeps {
			batches++
		}
	}
	if batches == 2 {
		return nil
	}
	var all []move
	for _, q := range []*deliverytest.Queue{w.DeliveryQueue, w.RetryQueue} {
		var visible []deliverytest.Held
		for _, m := range q.Messages() {
			if m.VisibleAt.After(w.T) {
				if m.Receives > 0 && w.left.Duplicates > 0 && w.held(m.ID) {
					all = append(all, w.receive(q, "a duplicate of ", m.ID))
				}
				continue
			}
			all = append(all, w.receive(q, "", m.ID))
			if w.left.Faults > 0 {
				all = append(all, w.receive(q, "throttled ", m.ID), w.receive(q, "rushed ", m.ID), w.receive(q, "behind with ", m.ID))
			}
			for _, other := range visible {
				if parse(other.Body, w.T).Key() == parse(m.Body, w.T).Key() {
					all = append(all, w.receive(q, "", other.ID, m.ID))
				}
			}
			visible = append(visible, m)
		}
	}
	return all
}

// held reports whether a batch is at work on a message.
func (w *world) held(id string) bool {
	return slices.ContainsFunc(w.acting, func(a actor) bool {
		return slices.ContainsFunc(a.records, func(r delivery.Record) bool { return r.MessageID == id })
	})
}

// receive begins a batch.
func (w *world) receive(q *deliverytest.Queue, how string, ids ...string) move {
	name := q.Name
	return move{name: fmt.Sprint("receive ", how, ids), make: func(w *world) {
		w.T = w.T.Add(time.Millisecond) // SQS takes that long, so what is sent to it is later than what was before
		q := w.queue(name == w.DeliveryQueue.Name)
		records := q.Take(ids...)
		switch how {
		case "a duplicate of ":
			w.left.Duplicates--
			w.excuses++
			w.count("duplicate: handed over twice")
		case "throttled ":
			w.left.Faults--
			w.count("fault: throttled away")
			return
		case "rushed ":
			w.left.Faults--
			w.count("fault: no time left")
		case "behind with ":
			w.left.Faults--
			w.excuses++
			w.count("fault: clock behind")
		}
		if len(records) == 0 {
			w.count("moved to the dead-letter queue")
			return
		}
		a := actor{records: records, fast: q == w.DeliveryQueue, rushed: how == "rushed "}
		if how == "behind with " {
			a.behind = skew
		}
		a.begun = w.T.Add(-a.behind)
		w.acting = append(w.acting, a)
		w.resume(len(w.acting)-1, false)
	}}
}

func (w *world) queue(fast bool) *deliverytest.Queue {
	if fast {
		return w.DeliveryQueue
	}
	return w.RetryQueue
}

// due returns what a sweep that begins now finds, nothing if there was one in this minute.
func (w *world) due() []webhook.Wake {
	if w.away[tables] || w.T.Before(w.swept.Add(time.Minute)) {
		return nil
	}
	return w.entries(w.T)
}

func (w *world) entries(now time.Time) []webhook.Wake {
	var found []webhook.Wake
	for _, event := range w.events {
		shard := webhook.WakeShard(deliverytest.ConfigID, event.ID)
		page, _ := w.Log.Due(context.Background(), shard, now.Add(time.Minute), nil, 100)
		for _, entry := range page {
			if entry.EventID == event.ID {
				found = append(found, entry)
			}
		}
	}
	return found
}

func (w *world) sweep(entries []webhook.Wake) {
	w.swept = w.T.Truncate(time.Minute)
	for _, entry := range entries {
		w.acting = append(w.acting, actor{sweeps: true, entry: entry, script: script{begun: w.T}})
		w.resume(len(w.acting)-1, false)
	}
}

// nextInstant returns when something happens by itself, the zero time for never.
func (w *world) nextInstant() (next time.Time) {
	earlier := func(t time.Time) {
		if t.After(w.T) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, q := range []*deliverytest.Queue{w.DeliveryQueue, w.RetryQueue} {
		for _, m := range q.Messages() {
			earlier(m.VisibleAt)
		}
	}
	if wake := w.Log.NextWake(); !wake.IsZero() && !w.away[tables] {
		from := wake.Add(-time.Minute)
		if again := w.swept.Add(time.Minute); from.Before(again) {
			from = again
		}
		if !from.After(w.T) {
			from = w.T.Add(1) // one may begin now, and the next is a minute later
		}
		earlier(from.Add(time.Minute - 1).Truncate(time.Minute))
	}
	return next
}

// step lets the next call of an actor take place.
func (w *world) step(i int, f fault, result endpoint.Result) {
	a := &w.acting[i]
	c := a.next
	if a.sweeps && c.kind == send {
		w.T = w.T.Add(time.Millisecond) // what ends a round between a push and its send was before it
	}
	if t, ok := c.of(); f != none && (!ok || !w.away[t]) {
		w.left.Faults--
		w.count("fault: " + string(c.kind) + " " + string(f))
	} else if f != none {
		w.count("fault: " + t.String() + " away")
	}
	if f != none {
		w.excuses++
	}
	now := w.T.Add(-a.behind)
	given := answer{at: now}
	if f != refused {
		w.effect(a, c, result, &given)
	}
	if f == repeated {
		given = answer{at: now}
		w.effect(a, c, result, &given)
	}
	if f == refused || f == lost {
		given = answer{at: now, err: deliverytest.ErrAway}
	}
	a.answers = append(slices.Clip(a.answers), given)
	w.resume(i, f == crashed)
}

// effect does what c asks for and fills in the answer.
func (w *world) effect(a *actor, c *call, result endpoint.Result, given *answer) {
	ctx := context.Background()
	w.Log.Wrote = w.wrote
	health := deliverytest.Health{Log: w.Log}
	config := c.config
	switch c.kind {
	case load:
		loaded, _ := w.Log.Load(ctx, c.keys)
		given.config, given.delivery = loaded[c.keys[0]].Config, loaded[c.keys[0]].Delivery
		a.receives, a.proven = given.config.Receives(), given.config.Fast(w.T)
		a.read(given.delivery)
	case start:
		given.recorded = w.Log.Start(ctx, c.outcome)
		a.read(given.recorded.Delivery)
		w.countStart(given.recorded)
	case record:
		before, _ := w.Log.Get(ctx, deliverytest.Organization, deliverytest.ConfigID, c.outcome.Message.Event.ID)
		given.recorded = w.Log.Record(ctx, []webhook.Outcome{c.outcome})[0]
		a.read(given.recorded.Delivery)
		w.countRecord(c.outcome, before, given.recorded)
		if c.outcome.Status == webhook.Delivered && given.recorded.Delivery.DoneFor.Before(c.outcome.Message.RequestedAt.Time) {
			w.problem("a success for %s, and the log forgets it", c.outcome.Message.RequestedAt)
		}
	case open:
		if sealed := a.answers[0].config.Sealed; sealed != deliverytest.Sealed {
			given.err = keyring.ErrSealed
		}
	case post:
		given.result = result
	case send:
		w.countSend(a, c)
		q := w.queue(c.fast)
		given.err = q.SendOnce(ctx, c.message, c.delay)
		if sent := q.Messages(); a.sweeps {
			w.bySweep = append(slices.Clip(w.bySweep), sent[len(sent)-1].ID)
		}
	case change:
		given.err = w.queue(c.fast).ChangeVisibility(ctx, c.changes)
	case lane:
		given.err = health.SetLane(ctx, &config, c.lane)
		w.count("lane: " + string(c.lane))
	case count:
		given.failures, given.since, given.err = health.CountFailure(ctx, &config, w.T)
	case reset:
		given.err = health.ResetFailures(ctx, &config)
	case deactivate:
		given.done, given.err = health.Deactivate(ctx, &config, c.reason, w.T)
		w.inactive = w.inactive || given.done
	case push:
		given.delivery, given.err = w.Log.Push(ctx, c.entry, c.wake)
		w.countPush(given.delivery)
	}
}

// read keeps what is known to have succeeded.
func (a *actor) read(d *webhook.Delivery) {
	if d != nil {
		a.doneFor = d.DoneFor
	}
}

// resume runs an actor to its next call. One that has crashed is gone; so is one that has ended, with its answer.
func (w *world) resume(i int, crashed bool) {
	a := &w.acting[i]
	p := newProbe(a.script)
	var reported delivery.Answer
	if a.sweeps {
		p.sweep(a.entry)
	} else {
		reported = p.deliver(a.records, a.rushed)
	}
	for _, l := range p.told {
		w.heard(a, l)
	}
	if last := a.next; a.rushed && last != nil && last.kind == open && p.next != nil && p.next.kind == change && len(p.told) == 0 {
		w.count("8 too little time: another batch")
	}
	if a.next = p.next; a.next != nil && !crashed {
		return
	}
	if !crashed && !a.sweeps {
		w.acknowledged(a, reported)
		w.queue(a.fast).Answered(a.records, reported)
	}
	w.acting = slices.Delete(slices.Clone(w.acting), i, i+1)
}

// extras returns what people and other parts of the system can do.
func (w *world) extras() []move {
	var all []move
	extra := func(cost *int, name string, do func(w *world)) {
		if *cost > 0 {
			all = append(all, move{name: name, make: func(w *world) {
				w.T = w.T.Add(time.Millisecond)
				do(w)
				w.count("extra: " + name)
			}})
		}
	}
	for n, event := range w.events {
		extra(&w.left.Duplicates, "dispatch sends again", func(w *world) {
			w.left.Duplicates--
			w.excuses++
			w.queue(w.config().Fast(w.T)).Put(fmt.Sprintf("twin-%d-%d", n, w.left.Duplicates), w.first(event))
		})
		if d, _ := w.Log.Get(context.Background(), deliverytest.Organization, deliverytest.ConfigID, event.ID); d != nil {
			extra(&w.left.Resends, "resend", func(w *world) { w.resend(d, webhook.NewResend) })
			extra(&w.left.Resends, "resend what has not succeeded", func(w *world) { w.resend(d, webhook.NewRepeat) })
		}
	}
	if len(w.DeadLetters.Messages()) > 0 {
		extra(&w.left.Redrives, "redrive", (*world).redrive)
	}
	for name, change := range map[string]func(*webhook.Config){
		"deactivate":   func(c *webhook.Config) { c.Active = false },
		"activate":     func(c *webhook.Config) { c.Active = true },
		"delete":       func(c *webhook.Config) { c.DeletedAt = webhook.At(w.T) },
		"another URL":  func(c *webhook.Config) { c.URL, c.FastUntil = c.URL+"/2", webhook.Time{} },
		"seal badly":   func(c *webhook.Config) { c.Sealed = "by nobody" },
		"make it slow": func(c *webhook.Config) { c.SlowUntil = webhook.At(w.T.Add(10 * time.Minute)) },
	} {
		if before, after := w.config(), w.config(); w.left.Changes > 0 {
			change(after)
			if before.Deleted() || name == "activate" && before.Active == after.Active || name == "deactivate" && !before.Active {
				continue
			}
			extra(&w.left.Changes, name, func(w *world) {
				w.left.Changes--
				w.Log.ChangeConfig(deliverytest.ConfigID, func(c *webhook.Config) { change(c); c.Version++ })
				w.inactive = w.inactive || !w.config().Receives()
			})
		}
	}
	for t := range targets {
		if w.away[t] {
			all = append(all, move{name: t.String() + " back", make: func(w *world) { w.away[t] = false }})
		} else {
			extra(&w.left.Outages, t.String()+" away", func(w *world) {
				w.left.Outages--
				w.away[t], w.backAt = true, w.T.Add(w.outage)
			})
		}
	}
	slices.SortStableFunc(all, func(a, b move) int { return strings.Compare(a.name, b.name) })
	return all
}

func (w *world) config() *webhook.Config {
	c := w.Log.Config(deliverytest.ConfigID)
	return &c
}

func (w *world) first(event webhook.Event) webhook.Message {
	return webhook.NewFirst(deliverytest.Organization, deliverytest.ConfigID, event, event.OccurredAt, w.T)
}

func (w *world) resend(d *webhook.Delivery, how func(*webhook.Delivery, time.Time) webhook.Message) {
	w.left.Resends--
	m := how(d, w.T)
	w.asked = append(slices.Clip(w.asked), request{event: m.Event.ID, round: m.Round, at: m.RequestedAt})
	w.queue(w.config().Fast(w.T)).Put(fmt.Sprint("resend-", w.left.Resends), m)
}

func (w *world) redrive() {
	w.left.Redrives--
	before := append(w.DeliveryQueue.IDs(), w.RetryQueue.IDs()...)
	w.DeadLetters.Redrive()
	for _, id := range append(w.DeliveryQueue.IDs(), w.RetryQueue.IDs()...) {
		if !slices.Contains(before, id) {
			w.redriven = append(slices.Clip(w.redriven), id)
		}
	}
}

// parse returns the message with a body.
func parse(body string, now time.Time) *webhook.Message {
	m, err := webhook.ParseMessage(body, now)
	if err != nil {
		panic(err)
	}
	return &m
}
