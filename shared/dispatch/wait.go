package dispatch

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	// copyDelay is how long the copy that takes the place of a record stays invisible.
	copyDelay = 15 * time.Minute
	// copiedFor is how long after its creation a record is copied. Afterwards it ends in the dead-letter queue.
	copiedFor = 4 * 24 * time.Hour
	// holdFor is how long the records of an organization go to DispatchRetryQueue at once after it held one up.
	holdFor = 10 * time.Second
	// callTimeout is for a call that is not repeated.
	callTimeout = 2 * time.Second
)

// rests returns how long a record stays invisible after each of its first receives that could not dispatch it.
// After one more such receive a copy takes its place, whose receives count from one again.
func rests() []time.Duration { return []time.Duration{30 * time.Second, 2 * time.Minute} }

// waiting is a message of DispatchRetryQueue, whose body is a stream record.
type waiting struct {
	messageID     string
	receiptHandle string
	receives      int // this time included
	body          string
}

// message is a message of DispatchRetryQueue as Lambda hands it over.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
type message struct {
	EventSource   string `json:"eventSource"`
	MessageID     string `json:"messageId"`
	ReceiptHandle string `json:"receiptHandle"`
	Body          string `json:"body"`
	Attributes    struct {
		ApproximateReceiveCount string `json:"ApproximateReceiveCount"`
	} `json:"attributes"`
}

func (m *message) receive() *waiting {
	w := &waiting{messageID: m.MessageID, receiptHandle: m.ReceiptHandle, body: m.Body}
	w.receives, _ = strconv.Atoi(m.Attributes.ApproximateReceiveCount)
	return w
}

// errOnHold is what holds up a record after another one of its organization was held up.
var errOnHold = errors.New("a record of the organization was held up just now")

// hold says that an organization holds up its records, so that not every batch waits to find that out again.
func (d *Dispatcher) hold(organizationID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Now()
	maps.DeleteFunc(d.holds, func(_ string, until time.Time) bool { return !now.Before(until) })
	if d.holds == nil {
		d.holds = map[string]time.Time{}
	}
	if _, held := d.holds[organizationID]; !held {
		d.holds[organizationID] = now.Add(holdFor)
	}
}

func (d *Dispatcher) onHold(organizationID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Now().Before(d.holds[organizationID])
}

// release says that an organization can be read again.
func (d *Dispatcher) release(organizationID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.holds, organizationID)
}

// judge decides what becomes of the entries that are not done, after so many organizations were tried.
func (d *Dispatcher) judge(ctx context.Context, entries []*entry, tried int) {
	var held []*entry // out of the stream
	through := 0
	for _, e := range entries {
		switch {
		case e.keep:
		case e.waiting != nil && (e.obstacle != nil || e.refused):
			d.wait(ctx, e)
		case e.obstacle != nil:
			held = append(held, e)
		default:
			e.keep = e.refused
			through++
		}
	}
	if len(held) == 0 {
		return
	}
	last := held[len(held)-1]
	d.Metrics.Add(metricHeld, len(held))
	d.Log.ErrorContext(ctx, "records held up",
		"count", len(held), "organization_id", cut(last.organizationID), "error", cut(last.obstacle.Error()))
	if tried > 1 && through == 0 {
		// It is not one of them but DynamoDB that is away: the stream is the better place to wait.
		for _, e := range held {
			e.keep = true
		}
		return
	}
	d.setAside(ctx, held)
}

// setAside sends records to DispatchRetryQueue. What that refuses is kept.
func (d *Dispatcher) setAside(ctx context.Context, held []*entry) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	records := make([]webhook.HeldRecord, len(held))
	for i, e := range held {
		records[i] = e.heldRecord()
		d.hold(e.organizationID)
	}
	var refused error
	for i, err := range d.DispatchRetryQueue.SendRecords(ctx, records) {
		switch {
		case errors.Is(err, webhook.ErrUnsendable):
			d.passOverRecord(ctx, held[i], err) // no later attempt could send it, and reporting it would block its shard
		case err != nil:
			held[i].keep, refused = true, err
		}
	}
	if refused != nil {
		d.Log.ErrorContext(ctx, "records not set aside", "error", cut(refused.Error()))
	}
}

// wait keeps a record in DispatchRetryQueue, or puts a copy in its place.
func (d *Dispatcher) wait(ctx context.Context, e *entry) {
	now := d.Now()
	if e.obstacle != nil {
		d.Metrics.Add(metricHeld, 1)
		d.Log.WarnContext(ctx, "record held up", "message_id", e.messageID, "receive_count", e.receives,
			"organization_id", cut(e.organizationID), "error", cut(e.obstacle.Error()))
	}
	e.keep = true
	switch inVain := max(e.receives, 1); {
	case inVain <= len(rests()):
		e.due = now.Add(rests()[inVain-1])
	case inVain == len(rests())+1 && now.Sub(e.created) <= copiedFor:
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := d.DispatchRetryQueue.SendRecordOnce(limited, e.heldRecord(), copyDelay); err != nil {
			d.Log.ErrorContext(ctx, "record not copied", "message_id", e.messageID, "error", cut(err.Error()))
			return
		}
		e.keep = false
	}
}

// answer lists the entries that are kept and sets when those of the queue are visible again.
func (d *Dispatcher) answer(ctx context.Context, entries []*entry) Answer {
	answer := Answer{BatchItemFailures: []Failure{}}
	var changes []webhook.Visibility
	retried := 0
	for _, e := range entries {
		if !e.keep {
			continue
		}
		answer.BatchItemFailures = append(answer.BatchItemFailures, Failure{ItemIdentifier: e.identifier()})
		switch {
		case e.waiting == nil:
			retried++
		case !e.due.IsZero():
			changes = append(changes, webhook.Visibility{MessageID: e.messageID, ReceiptHandle: e.receiptHandle, Due: e.due})
		}
	}
	if retried > 0 {
		d.Metrics.Add(metricRetried, retried)
	}
	if len(changes) > 0 {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := d.DispatchRetryQueue.ChangeVisibility(limited, changes); err != nil {
			// They come back after the queue's visibility timeout instead: later, but not lost.
			d.Log.ErrorContext(ctx, "visibility not changed", "error", err.Error())
		}
	}
	return answer
}
