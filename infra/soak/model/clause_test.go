package model

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// clauses counts how often each clause of the rules was taken. Only add may be called by several goroutines at once.
type clauses struct {
	mu     sync.Mutex // guards add
	counts map[string]int
}

func (c *clauses) count(clause string) { c.counts[clause]++ }

// rules returns the clauses, in the order of the rules. Each must be taken.
func rules() []string {
	return []string{
		"1 obsolete: done",
		"2 superseded: done",
		"3 redriven: the first attempt of a new round",
		"4 made already: done",
		"4 ended the round: reported until it is a dead letter",
		"5 config inactive: canceled",
		"6 not due: invisible until then",
		"6 not fast: handed over",
		"7 out of DeliveryQueue: handed over",
		"7 not handed over: left to the visibility timeout",
		"7 first receive: again after 30 s",
		"7 second receive: again after 2 min",
		"7 third receive: replaced by a copy",
		"7 not copied: left to the visibility timeout",
		"7 later receive or attempt: left to the visibility timeout",
		"8 start logged",
		"8 start refused: judged again",
		"8 start impossible: rule 7",
		"8 attempt",
		"8 credentials do not open: failed",
		"8 too little time: another batch",
		"9 success",
		"9 gone",
		"9 gone from an older version: a failure",
		"10 failure: retrying",
		"10 the next attempt is sent",
		"10 the next attempt is not sent: left to the sweep",
		"10 due later than a queue holds a message: left to the sweep",
		"11 fifth failure: failed",
		"log: not written, the message stays",
		"log: the next one of the live round",
		"log: a later round begins",
		"log: the result takes the place of its start",
		"log: of an earlier round, joins the list",
		"log: of an attempt that another message has logged, joins the list",
		"log: a success of an earlier round raises done_for",
		"log: nothing new, not written",
		"log: holds it already",
		"sweep: pushed on",
		"sweep: another has pushed it or made the attempt",
		"sweep: sent ahead of its time",
		"sweep: sent after its time, again",
		"health: deactivated",
	}
}

// heard counts what a line of the log tells of, and holds an attempt to the rules.
func (w *world) heard(a *actor, l line) {
	text := func(name string) string { return l.attrs[name].String() }
	number := func(name string) int {
		if v := l.attrs[name]; v.Kind() == slog.KindInt64 {
			return int(v.Int64())
		}
		return 0
	}
	switch l.message {
	case "no attempt":
		w.count(map[string]string{
			"obsolete": "1 obsolete: done", "superseded": "2 superseded: done", "made": "4 made already: done",
			"ended": "4 ended the round: reported until it is a dead letter", "canceled": "5 config inactive: canceled",
			"early": "6 not due: invisible until then", "slow": "6 not fast: handed over",
		}[text("verdict")])
	case "not sent":
		w.unsent(a, number("receive_count"))
	case "not handed over":
		w.count("7 not handed over: left to the visibility timeout")
	case "not copied":
		w.count("7 not copied: left to the visibility timeout")
	case "next attempt left to the sweep":
		w.count("10 the next attempt is not sent: left to the sweep")
	case "result not logged":
		w.count("log: not written, the message stays")
	case "config deactivated":
		w.count("health: deactivated")
	case "panic":
		w.problem("panic: %s", text("panic"))
	case "attempt":
		w.countAttempt(text("round"), text("message_id"), text("outcome"), text("delivery_status"),
			number("response_status"), number("attempt"))
		if text("outcome") != webhook.CodeCredentials {
			w.attempted(a, text("message_id"), text("round"), number("attempt"), text("outcome") == "success")
		}
	}
}

func (w *world) unsent(a *actor, receives int) {
	if last := len(a.answers) - 1; a.next != nil && a.next.kind == start && a.answers[last].err != nil {
		w.count("8 start impossible: rule 7")
	}
	switch {
	case a.fast:
		w.count("7 out of DeliveryQueue: handed over")
	case receives == 1:
		w.count("7 first receive: again after 30 s")
	case receives == 2:
		w.count("7 second receive: again after 2 min")
	case receives > 3 || parse(a.records[0].Body, w.T).Attempt > 1:
		w.count("7 later receive or attempt: left to the visibility timeout")
	}
}

func (w *world) countAttempt(round, id, outcome, status string, response, attempt int) {
	w.count("8 attempt")
	if strings.HasSuffix(round, "-"+id) && !strings.HasPrefix(id, "resend") && attempt == 1 {
		w.count("3 redriven: the first attempt of a new round")
	}
	switch {
	case outcome == "success":
		w.count("9 success")
	case outcome == webhook.CodeCredentials:
		w.count("8 credentials do not open: failed")
	case response == 410 && status == string(webhook.DeliveryFailed) && attempt < webhook.MaxAttempts:
		w.count("9 gone")
	case response == 410:
		w.count("9 gone from an older version: a failure")
	}
	switch {
	case status == string(webhook.Retrying):
		w.count("10 failure: retrying")
	case status == string(webhook.DeliveryFailed) && attempt == webhook.MaxAttempts:
		w.count("11 fifth failure: failed")
	}
}

func (w *world) countStart(r webhook.Recorded) {
	if r.Err != nil {
		w.count("8 start refused: judged again")
	} else {
		w.count("8 start logged")
	}
}

// countRecord counts what became of an outcome in the log.
func (w *world) countRecord(o webhook.Outcome, before *webhook.Delivery, r webhook.Recorded) {
	order := before.CompareRound(&o.Message)
	listed := before != nil && o.Tried != nil && len(r.Delivery.Attempts) == len(before.Attempts)
	switch {
	case before.Holds(o):
		w.count("log: holds it already")
	case before != nil && r.Delivery.Revision == before.Revision:
		w.count("log: nothing new, not written")
	case r.Counts && before != nil && order > 0:
		w.count("log: a later round begins")
	case listed:
		w.count("log: the result takes the place of its start")
	case r.Counts:
		w.count("log: the next one of the live round")
	case order < 0:
		w.count("log: of an earlier round, joins the list")
	default:
		w.count("log: of an attempt that another message has logged, joins the list")
	}
	if order < 0 && o.Status == webhook.Delivered && before.DoneFor.Before(o.Message.RequestedAt.Time) {
		w.count("log: a success of an earlier round raises done_for")
	}
	if o.Status == webhook.Retrying && !o.Queued() {
		w.count("10 due later than a queue holds a message: left to the sweep")
	}
}

func (w *world) countSend(a *actor, c *call) {
	switch {
	case a.sweeps && c.message.Again:
		w.count("sweep: sent after its time, again")
	case a.sweeps:
		w.count("sweep: sent ahead of its time")
	case !a.fast && c.delay == webhook.MaxDelay && c.message.Again:
		w.count("7 third receive: replaced by a copy")
	case c.message.Attempt > 1 && c.message.NotBefore.Sub(w.T) > time.Second:
		w.count("10 the next attempt is sent")
	}
}

func (w *world) countPush(d *webhook.Delivery) {
	if d == nil {
		w.count("sweep: another has pushed it or made the attempt")
	} else {
		w.count("sweep: pushed on")
	}
}
