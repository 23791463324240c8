package delivery

import (
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// received is a message as its queue handed it over.
type received struct {
	webhook.Message
	id       string
	receives int       // how often it has been received, this time included
	sentAt   time.Time // when it was sent to the queue, or moved there from the dead-letter queue
	fast     bool      // out of DeliveryQueue
	fate
}

// verdict is what the rules say about a message. Each names its rule.
type verdict int

const (
	obsolete   verdict = iota + 1 // 1: what it asks for has succeeded: done
	superseded                    // 2: a later round has begun: done
	made                          // 4: its attempt was made already: done
	ended                         // 4: it ended the round with the fifth failure: SQS shall move it to the dead-letter queue
	canceled                      // 5: the config receives nothing: the round ends
	early                         // 6: its attempt is not due
	slow                          // 6: the endpoint is not of the fast lane
	attempt                       // 8: make the attempt
)

// String names v as the log does.
func (v verdict) String() string {
	return [...]string{
		obsolete: "obsolete", superseded: "superseded", made: "made", ended: "ended",
		canceled: "canceled", early: "early", slow: "slow", attempt: "attempt",
	}[v]
}

// The rules of an attempt, in their order. A config or credentials that cannot be read lead to rule 7
// (batch.unsendable) before any of them; rules 9 to 11, about what came of the attempt, are in batch.finish.
//
// Rule 3 makes another message of m: the first attempt of a round that a redrive begins.
func (m *received) judge(config *webhook.Config, d *webhook.Delivery, now time.Time) verdict {
	order := d.CompareRound(&m.Message)
	if d != nil && !d.DoneFor.Before(m.RequestedAt.Time) {
		return obsolete
	}
	if order < 0 {
		return superseded
	}
	if order == 0 && m.redriven(d) {
		m.Message = m.Redriven(m.id, m.sentAt)
		order = 1
	}
	if order == 0 && (d.Attempt >= m.Attempt || d.Over()) {
		if d.EndedBy == m.id {
			return ended
		}
		return made
	}
	switch {
	case config == nil || !config.Receives():
		return canceled
	case now.Before(m.NotBefore.Time):
		return early
	case m.fast && !config.Fast(now):
		return slow
	}
	return attempt
}

// redriven reports whether m was moved back from the dead-letter queue after it had ended the round of d: it is
// of the attempt that did so, but not the message that SQS moved there, and newer. A copy of that message that
// is only late was sent before the round ended. One race is left: a copy of the fifth attempt that the sweep sends
// within milliseconds of the round's end is taken for a redrive, and begins a round.
func (m *received) redriven(d *webhook.Delivery) bool {
	return d.EndedBy != "" && d.Attempt == m.Attempt && d.EndedBy != m.id && m.sentAt.After(d.EndedAt.Time)
}
