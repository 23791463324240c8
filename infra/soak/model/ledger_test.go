package model

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/webhook"
)

// horizon is how long after its beginning a run must have ended: three rounds of a day, and what faults add.
const horizon = 30 * 24 * time.Hour

// ledger is what the model knows besides the platform, and what it holds runs to.
type ledger struct {
	posts    []posted  // in the order of their first
	asked    []request // resends that were accepted
	accepted []string  // events that were answered 2xx
	bySweep  []string  // messages that a sweep sent
	redriven []string  // messages that a redrive moved
	excuses  int       // faults and duplicates so far, each of which may cost one repeated POST
	repeats  int
	inactive bool         // the config has been inactive or deleted
	endedAt  webhook.Time // when a fifth failure, or its start, last ended a round
	problems []string
}

// posted is an attempt and how often it was POSTed.
type posted struct {
	event, round string
	attempt, n   int
}

// request is a resend.
type request struct {
	event, round string
	at           webhook.Time
}

func (l ledger) clone() ledger {
	l.posts = slices.Clone(l.posts)
	l.problems = nil
	return l
}

func (l *ledger) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

// wrote holds the log to: it never goes backwards, and what is not over waits where the sweep sees it.
func (l *ledger) wrote(before, after *webhook.Delivery) {
	if after.Waiting() == after.Over() {
		l.problem("%s/%d is over: %t, waits: %t", after.Round, after.Attempt, after.Over(), after.Waiting())
	}
	if after.EndedBy != "" && (before == nil || before.EndedBy != after.EndedBy) {
		l.endedAt = after.EndedAt
	}
	if before == nil {
		return
	}
	switch order := before.CompareRound(&webhook.Message{RequestedAt: after.RequestedAt, Round: after.Round}); {
	case order < 0, order == 0 && after.Attempt < before.Attempt:
		l.problem("the log goes from %s/%d back to %s/%d", before.Round, before.Attempt, after.Round, after.Attempt)
	case after.DoneFor.Before(before.DoneFor.Time):
		l.problem("the log goes from done for %s back to %s", before.DoneFor, after.DoneFor)
	case order == 0 && before.Over() && after.Waiting():
		l.problem("round %s is over and goes on", before.Round)
	}
}

// attempted holds a POST to the rules. It is of the message id, whose result the wide line has told.
func (w *world) attempted(a *actor, id, round string, attempt int, success bool) {
	record := a.records[slices.IndexFunc(a.records, func(r delivery.Record) bool { return r.MessageID == id })]
	m := parse(record.Body, w.T)
	d, _ := w.Log.Get(context.Background(), deliverytest.Organization, deliverytest.ConfigID, m.Event.ID)
	name := fmt.Sprintf("POST %s/%d by %s", round, attempt, id)
	began := round != m.Round // with this message, that was redriven
	later := d != nil && cmp.Or(d.RequestedAt.Compare(m.RequestedAt.Time), strings.Compare(d.Round, round)) > 0
	switch {
	case !a.receives:
		w.problem("%s to an inactive config", name)
	case a.fast && !a.proven:
		w.problem("%s out of DeliveryQueue to a config that is not fast", name)
	case !a.doneFor.Before(m.RequestedAt.Time):
		w.problem("%s, which has succeeded", name)
	case !began && m.NotBefore.After(w.T.Add(-a.behind)):
		w.problem("%s before %s", name, m.NotBefore)
	case attempt > 1 && !later && (d == nil || d.Round != round || d.Attempt < attempt-1):
		w.problem("%s, and the attempt before it is not in the log", name)
	case (record.Attributes.ApproximateReceiveCount != "1" || m.Again) && !lists(d, id, attempt):
		w.problem("%s, which may have been made before, without its start in the log", name)
	}
	w.begun(name, round, record)
	key := posted{event: m.Event.ID, round: round, attempt: attempt}
	i := slices.IndexFunc(w.posts, func(p posted) bool { p.n = 0; return p == key })
	if i < 0 {
		i = len(w.posts)
		w.posts = append(w.posts, key)
	}
	if w.posts[i].n++; w.posts[i].n > 1 {
		w.count("a POST was repeated")
		if w.repeats++; w.repeats > w.excuses {
			w.problem("%s is repeat %d after %d faults and duplicates", name, w.repeats, w.excuses)
		}
	}
	if success && !slices.Contains(w.accepted, m.Event.ID) {
		w.accepted = append(slices.Clip(w.accepted), m.Event.ID)
	}
}

// lists reports whether d has an attempt of a message.
func lists(d *webhook.Delivery, id string, attempt int) bool {
	return d != nil && slices.ContainsFunc(d.Attempts, func(a webhook.Attempt) bool { return a.MessageID == id && a.Number == attempt })
}

// begun holds a round to: something that somebody asked for has begun it.
//
// A sweep's copy of the fifth attempt that was sent just after the round's end cannot be told from a message that was
// redriven. That race is accepted.
func (w *world) begun(name, round string, r delivery.Record) {
	milliseconds, _ := strconv.ParseInt(r.Attributes.SentTimestamp, 10, 64)
	after := time.UnixMilli(milliseconds).Sub(w.endedAt.Time)
	asked := round == webhook.FirstRound || slices.ContainsFunc(w.asked, func(r request) bool { return r.round == round })
	_, by, _ := strings.Cut(round, "-")
	switch {
	case asked, slices.Contains(w.redriven, by):
	case by != r.MessageID && slices.Contains(w.bySweep, by): // the race again, whose first attempt crashed before its POST
	case by == r.MessageID && slices.Contains(w.bySweep, by) && after > 0 && after < time.Minute:
		w.count("race: a sweep's copy was taken for a redriven message")
	case !slices.ContainsFunc(w.posts, func(p posted) bool { return p.round == round }):
		w.problem("%s in a round that nobody asked for", name)
	}
}

// acknowledged holds a batch to: what it does not report is safe elsewhere.
func (w *world) acknowledged(a *actor, reported delivery.Answer) {
	for _, r := range a.records {
		if slices.Contains(reported.BatchItemFailures, delivery.Failure{ItemIdentifier: r.MessageID}) {
			continue
		}
		m := parse(r.Body, w.T)
		d, _ := w.Log.Get(context.Background(), deliverytest.Organization, deliverytest.ConfigID, m.Event.ID)
		if d != nil && (!d.DoneFor.Before(m.RequestedAt.Time) || d.CompareRound(m) < 0 ||
			d.CompareRound(m) == 0 && (d.Attempt+1 > m.Attempt || d.Over())) {
			continue
		}
		if !w.stands(m, r.MessageID) {
			w.problem("%s, %s/%d, is acknowledged and nothing stands for it", r.MessageID, m.Round, m.Attempt)
		}
	}
}

// stands reports whether another message stands for the attempt of m.
func (w *world) stands(m *webhook.Message, id string) bool {
	for _, q := range []*deliverytest.Queue{w.DeliveryQueue, w.RetryQueue, w.DeadLetters} {
		for _, other := range q.Messages() {
			o := parse(other.Body, w.T)
			if other.ID != id && o.Key() == m.Key() && o.Round == m.Round && o.Attempt == m.Attempt {
				return true
			}
		}
	}
	return false
}

// waited holds time to: it does not pass over what is due. Each fault may double the time to the next look.
func (w *world) waited() {
	if w.away != [targets]bool{} || w.excuses > 6 {
		return
	}
	for _, d := range w.Log.All() {
		if late := w.T.Sub(d.NextAttemptAt.Time); d.Waiting() && late > time.Hour<<w.excuses {
			w.problem("%s/%d has been due for %s", d.Round, d.Attempt, late)
		}
	}
}

// settled holds a run that has ended to: everything that was asked for has come to an end that can be seen.
func (w *world) settled() {
	for _, event := range w.events {
		d, _ := w.Log.Get(context.Background(), deliverytest.Organization, deliverytest.ConfigID, event.ID)
		if d == nil {
			if m := w.first(event); !w.stands(&m, "") || w.excuses < 4 {
				w.problem("nothing is in the log of %s after %d faults", event.ID, w.excuses)
			}
			w.count("end: died before its first attempt")
			continue
		}
		w.count("end: " + string(d.Status))
		switch {
		case !d.Over():
			w.problem("%s/%d is not over", d.Round, d.Attempt)
		case d.Status == webhook.Delivered && !slices.Contains(w.accepted, event.ID):
			w.problem("delivered, and nobody has accepted it")
		case d.Status == webhook.Canceled && !w.inactive:
			w.problem("canceled, and its config was always active")
		case d.Status != webhook.DeliveryFailed:
		case d.EndedBy == "" && !w.inactive:
			w.problem("failed, but neither by a fifth failure nor by an endpoint that is gone")
		case d.EndedBy != "" && (d.Attempt != webhook.MaxAttempts || !w.buried(d)):
			w.problem("%s/%d ended by %s, which is not among the dead letters %v", d.Round, d.Attempt, d.EndedBy, w.DeadLetters.IDs())
		}
		for _, r := range w.asked {
			w.answered(d, event.ID, r)
		}
	}
}

// buried reports whether the message that ended the round of d is a dead letter. If it was redriven and then could
// not be read until it was one again, it has another id.
func (w *world) buried(d *webhook.Delivery) bool {
	return slices.ContainsFunc(w.DeadLetters.Messages(), func(letter deliverytest.Held) bool {
		m := parse(letter.Body, w.T)
		return letter.ID == d.EndedBy || slices.Contains(w.redriven, letter.ID) && m.Key() == d.Key() && d.CompareRound(m) == 0
	})
}

// answered holds a resend to: it was POSTed, or something newer was, or it could not be.
func (w *world) answered(d *webhook.Delivery, eventID string, r request) {
	m := webhook.Message{RequestedAt: r.at, Round: r.round}
	made := slices.ContainsFunc(w.posts, func(p posted) bool { return p.event == eventID && p.round == r.round })
	if r.event != eventID || made || d.CompareRound(&m) < 0 || !d.DoneFor.Before(r.at.Time) {
		return
	}
	if d.CompareRound(&m) == 0 && d.Over() {
		return // canceled
	}
	if w.excuses < 4 || len(w.DeadLetters.IDs()) == 0 {
		w.problem("resend %s came to nothing", r.round)
	}
}
