package model

import (
	"flag"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

var depth = flag.Int("depth", 1, "how many budgets to explore, 1 to 4; from 3 on every clause must be taken often")

// often is how often each clause of the rules must have been taken.
const often = 100

var (
	answered     = deliverytest.Success()
	failed       = deliverytest.Failure(500)
	gone         = deliverytest.Failure(410)
	hung         = endpoint.Result{Code: "timeout", Duration: 15 * time.Second}
	notForAWhile = endpoint.Result{Status: 503, Code: endpoint.CodeHTTPStatus, RetryAfter: time.Hour, Duration: time.Second}
)

// setting is where an exploration begins.
type setting struct {
	name    string
	events  int
	logged  int // failed attempts at event 1 before
	answers []endpoint.Result
	left    budget
	outage  time.Duration
	depth   int // at which it is explored; 0 is 1
}

func settings() []setting {
	succeeds, fails, either := []endpoint.Result{answered}, []endpoint.Result{failed}, []endpoint.Result{answered, failed}
	return []setting{
		{name: "no fault", events: 1, answers: either},
		{name: "one fault in a whole round", events: 1, answers: either, left: budget{Faults: 1}},
		{name: "a duplicate of everything", events: 1, answers: either, left: budget{Duplicates: 1}},
		{name: "two faults from the fourth attempt on", events: 1, logged: 3, answers: either, left: budget{Faults: 2}, depth: 3},
		{name: "a fault and a duplicate", events: 1, logged: 4, answers: either, left: budget{Faults: 1, Duplicates: 1}, depth: 4},
		{name: "a fault and a redrive", events: 1, logged: 4, answers: fails, left: budget{Faults: 1, Redrives: 1}, depth: 3},
		{name: "a resend", events: 1, logged: 4, answers: either, left: budget{Resends: 1}, depth: 3},
		{
			name: "a fault and a resend before a success", events: 1, logged: 4, answers: succeeds,
			left: budget{Faults: 1, Resends: 1}, depth: 3,
		},
		{
			name: "a duplicate, a resend and a redrive before a success", events: 1, logged: 5, answers: succeeds,
			left: budget{Duplicates: 1, Resends: 1, Redrives: 1}, depth: 3,
		},
		{name: "two messages and a fault", events: 2, answers: succeeds, left: budget{Faults: 1}},
		{name: "a short outage", events: 1, answers: either, left: budget{Outages: 1}, outage: 10 * time.Minute, depth: 2},
		{name: "a long outage", events: 1, answers: succeeds, left: budget{Outages: 1}, outage: 5 * 24 * time.Hour, depth: 3},
		{
			name: "a fault and an outage before the fifth attempt", events: 1, logged: 4, answers: fails,
			left: budget{Faults: 1, Outages: 1}, outage: time.Hour, depth: 4,
		},
		{name: "two outages", events: 1, answers: succeeds, left: budget{Outages: 2}, outage: 20 * time.Minute, depth: 3},
		{
			name: "a change of the config and a duplicate", events: 1, answers: succeeds,
			left: budget{Changes: 1, Duplicates: 1}, depth: 3,
		},
		{
			name: "changes of the config", events: 1, answers: []endpoint.Result{failed, gone, hung}, logged: 3,
			left: budget{Changes: 1}, depth: 2,
		},
	}
}

// newWorld returns the world where a setting begins.
func newWorld(s setting, c *clauses) *world {
	begin := time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)
	f := deliverytest.New(&deliverytest.Manual{T: begin})
	w := &world{Platform: deliverytest.NewPlatform(begin), clauses: c, begin: begin, answers: s.answers, left: s.left, outage: s.outage}
	w.Log.SetConfig(deliverytest.Config(begin))
	for n := range s.events {
		event := f.Event(n + 1)
		w.events = append(w.events, event)
		if n == 0 && s.logged > 0 {
			w.Log.Set(*f.Logged(s.logged))
			if s.logged == webhook.MaxAttempts {
				w.RetryQueue.Put("m5", f.Attempt(s.logged)) // on its way to the dead letters
			}
		} else {
			w.DeliveryQueue.Put(fmt.Sprint("first-", n+1), w.first(event))
		}
	}
	return w
}

func TestModel(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are small and many
	total := &clauses{counts: map[string]int{}}
	t.Run("ways", func(t *testing.T) {
		t.Run("random ways", func(t *testing.T) { randomWays(t, total) }) // the longest begins
		everyWay(t, total)
	})
	total.report(t)
}

// everyWay makes all moves of all worlds within small budgets.
func everyWay(t *testing.T, total *clauses) {
	for _, s := range settings() {
		if s.depth > *depth {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			c := &clauses{counts: map[string]int{}}
			e := &exploration{seen: map[[16]byte]struct{}{}}
			e.explore(newWorld(s, c))
			if len(e.wrong) > 0 {
				t.Errorf("%s\nafter\n  %s", strings.Join(e.wrong, "\n"), strings.Join(e.path, "\n  "))
			}
			t.Logf("%d states, %d moves, %d ends", len(e.seen), e.moves, e.ends)
			total.add(c)
		})
	}
}

func (c *clauses) add(other *clauses) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for clause, n := range other.counts {
		c.counts[clause] += n
	}
}

// report prints how often each clause was taken.
func (c *clauses) report(t *testing.T) {
	t.Helper()
	rules := rules()
	for _, clause := range rules {
		t.Logf("%9d  %s", c.counts[clause], clause)
		if c.counts[clause] < often && *depth >= 3 {
			t.Errorf("%q was taken %d times", clause, c.counts[clause])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.counts)) {
		if !slices.Contains(rules, name) {
			t.Logf("%9d  (%s)", c.counts[name], name)
		}
	}
}

// randomWays makes random moves of worlds where everything happens, and then goes on without further faults.
func randomWays(t *testing.T, total *clauses) {
	t.Parallel()
	c := &clauses{counts: map[string]int{}}
	runs, moves := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		small := func(most int, name string) int { return rapid.IntRange(0, most).Draw(r, name) }
		w := newWorld(setting{
			events:  1 + small(1, "events"),
			logged:  small(5, "logged"),
			answers: rapid.Permutation([]endpoint.Result{failed, answered, hung, notForAWhile, failed, gone}).Draw(r, "answers"),
			left: budget{
				Faults: small(12, "faults"), Duplicates: small(4, "duplicates"), Resends: small(2, "resends"),
				Redrives: small(2, "redrives"), Changes: small(2, "changes"), Outages: small(2, "outages"),
			},
			outage: rapid.SampledFrom([]time.Duration{10 * time.Minute, 3 * time.Hour, 5 * 24 * time.Hour}).Draw(r, "outage"),
		}, c)
		var path []string
		quiet, length := false, small(500, "length")
		for len(w.problems) == 0 {
			all := w.moves()
			if len(all) == 0 {
				w.settled()
				break
			}
			if !quiet && len(path) > length {
				quiet, w.left, w.away = true, budget{}, [targets]bool{}
				continue
			}
			if w.T.Sub(w.begin) > horizon {
				w.problem("it does not end")
			}
			m := all[0]
			if rapid.IntRange(0, 3).Draw(r, "deviate") == 0 {
				m = all[rapid.IntRange(0, len(all)-1).Draw(r, "move")]
			}
			path = append(path, m.name)
			m.make(w)
			moves++
		}
		runs++
		if len(w.problems) > 0 {
			r.Fatalf("%s\nafter\n  %s", strings.Join(w.problems, "\n"), strings.Join(path, "\n  "))
		}
	})
	t.Logf("%d runs, %d moves", runs, moves)
	total.add(c)
}
