// Package delivery takes messages from the queues and makes one attempt for each: it decides whether the
// message still counts, signs and POSTs the event, judges the answer and says when the next attempt is due.
//
// Two rules shape it. A message is acknowledged only after its result is in the log; and the log is the only
// place where a delivery waits, so that no message is needed to bring it on: Sweeper sends one for whatever is
// due. Errors are split by when they happen: before an attempt they are the service's own and use none up, during
// it they are the endpoint's, and after it they keep the message in its queue.
//
// The rules for a message, in their order; those of the log are in webhook.Delivery.After:
//
//	 1  what it asks for has succeeded: obsolete, done
//	 2  a later round has begun: superseded, done
//	 3  it was moved back from the dead-letter queue: it begins another round
//	 4  its attempt was made already: done, or to the dead-letter queue if it ended the round
//	 5  the config receives nothing: canceled
//	 6  it is early: it waits; its config is not of the fast lane: handed over to RetryQueue
//	 7  the service itself cannot send it: later, without using up the attempt
//	 8  otherwise the attempt is made; a message that may not be the first to make it logs the start before
//	 9  success: delivered; 410: failed, and the config is deactivated
//	10  a failure before the fifth: it waits in the log
//	11  the fifth failure: failed, and SQS moves the message to the dead-letter queue
//
// Rules 1 to 6 are received.judge in rules.go, 7 is batch.unsendable, 8 batch.attempt, 9 to 11 batch.finish.
package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Store reads configs and the delivery log and writes the latter.
type Store interface {
	// Load reads all keys, consistently. Keys it could not read are missing from the map.
	Load(ctx context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error)
	// Record writes outcomes of different deliveries, whatever has happened to those meanwhile.
	Record(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded
	// Start writes an outcome if its delivery still is as Known. Otherwise it errors with webhook.ErrConflict
	// and returns the delivery as it is.
	Start(ctx context.Context, outcome webhook.Outcome) webhook.Recorded
}

// Queue is one of the two queues that messages come from.
type Queue interface {
	// Is reports whether this is the queue with an ARN.
	Is(arn string) bool
	// SendOnce sends a message that becomes visible at its NotBefore, or after delay if that is later. It is
	// not tried again: an answer that is lost would make two of it.
	SendOnce(ctx context.Context, message webhook.Message, delay time.Duration) error
	// ChangeVisibility makes received messages visible again at their due times.
	ChangeVisibility(ctx context.Context, changes []webhook.Visibility) error
}

// Credentials opens sealed credentials. It errors with keyring.ErrSealed or keyring.ErrUnknownKey if that can
// never work.
type Credentials interface {
	Open(ctx context.Context, sealed, organizationID, configID string) (signature.Credentials, error)
}

// Poster makes one attempt.
type Poster interface {
	Post(ctx context.Context, request endpoint.Request) endpoint.Result
	// Rested is called when the process may have been frozen since the last batch.
	Rested()
}

// Metrics counts and measures.
type Metrics interface {
	Add(name string, n int)
	AddBy(dimension, value, name string, n int)
	Observe(name string, d time.Duration)
	Flush()
}

// Names of the metrics.
const (
	metricAttempts        = "Attempts"    // by Outcome: success or an error code
	metricDeliveries      = "Deliveries"  // by Status: delivered, failed, canceled
	metricObsolete        = "Obsolete"    // messages whose attempt need not be made any more
	metricHandedOver      = "HandedOver"  // messages that went from DeliveryQueue to RetryQueue without an attempt
	metricPutBack         = "PutBack"     // messages whose configs or credentials could not be read
	metricUnreadable      = "Unreadable"  // messages that are not in the format of this package
	metricLogFailures     = "LogFailures" // results that could not be logged
	metricDeactivated     = "ConfigsDeactivated"
	metricEndpointLatency = "EndpointLatency" // of attempts
	metricLatency         = "StatusChangeToSuccess"
)

// How long the calls around an attempt may take. Should all of them hang, the batch still ends by itself and
// answers for what is logged.
const (
	readTimeout  = 10 * time.Second // for the tables or the keyring, before the messages are left for later
	startTimeout = 4 * time.Second  // for the log of an attempt that starts
	logTimeout   = 20 * time.Second // for the log of a result, which is tried again meanwhile
	callTimeout  = 2 * time.Second  // for a call to a queue, or one that keeps a config's health or lane
	// margin is what a batch needs around its last attempt, to log its start and its result, judge and answer.
	margin = startTimeout + logTimeout + 4*callTimeout
	// restedAfter is how long after a batch kept-alive connections are no longer trusted: the process may
	// have been frozen meanwhile and the other side may have hung up unheard.
	restedAfter = 5 * time.Second
)

// Deliverer handles batches of messages. One batch at a time, as Lambda does.
type Deliverer struct {
	Store            Store
	Health           Health
	DeliveryQueue    Queue // of first attempts to endpoints that answer quickly
	RetryQueue       Queue // of all others
	Credentials      Credentials
	Poster           Poster
	Schedule         Schedule
	FailureThreshold int // final failures that deactivate a config, 0 for never
	Metrics          Metrics
	Log              *slog.Logger
	Now              func() time.Time
	MachineNow       func() time.Time // measures rests between batches; Now may be faster, in the local stack
	Random           func() float64   // in [0, 1), for jitter

	lastBatch time.Time
}

// Batch is the event of an SQS event source. All its records are from one queue.
type Batch struct {
	Records []Record `json:"Records"`
}

// Record is one received message.
type Record struct {
	MessageID     string `json:"messageId"`
	ReceiptHandle string `json:"receiptHandle"`
	Body          string `json:"body"`
	QueueARN      string `json:"eventSourceARN"`
	Attributes    struct {
		ApproximateReceiveCount string `json:"ApproximateReceiveCount"`
		SentTimestamp           string `json:"SentTimestamp"` // Unix milliseconds
	} `json:"attributes"`
}

// Answer reports the messages that must stay in the queue.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
type Answer struct {
	BatchItemFailures []Failure `json:"batchItemFailures"`
}

// Failure names a message by its id.
type Failure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// fate is what becomes of a message when its batch ends. The zero fate acknowledges it.
type fate struct {
	keep bool
	due  time.Time // when it is visible again if it is kept; zero for the queue's own visibility timeout
}

// kept is the fate of a message that comes back when the visibility timeout of its queue has passed.
var kept = fate{keep: true}

// keptUntil is the fate of a message that comes back at the time due.
func keptUntil(due time.Time) fate { return fate{keep: true, due: due} }

// batch is what the messages of one batch share.
type batch struct {
	*Deliverer
	recorder *recorder
	lanes    lanes
	starting context.Context // ends when it is too late to start an attempt
}

// parcel is the messages of one delivery and what is known of it, kept up to date through them.
type parcel struct {
	messages []*received
	readable bool
	webhook.Loaded
	unlogged bool // something has happened that is not in the log
}

// Handle makes the attempts of one batch. It never errors: what must stay in the queue is in the answer.
func (d *Deliverer) Handle(ctx context.Context, event Batch) (Answer, error) {
	defer d.Metrics.Flush()
	if wall(d.MachineNow()).Sub(d.lastBatch) > restedAfter {
		d.Poster.Rested()
	}
	messages := make([]*received, len(event.Records))
	parcels := map[webhook.Key]*parcel{}
	var keys []webhook.Key
	for i, record := range event.Records {
		m, err := d.receive(record)
		if messages[i] = m; err != nil {
			d.Metrics.Add(metricUnreadable, 1)
			d.Log.ErrorContext(ctx, "unreadable message", "message_id", m.id, "error", err.Error())
			m.fate = kept // a message that cannot be read reaches the dead-letter queue as it was sent
			continue
		}
		// A batch that is cut off after a POST leaves no other line that tells which of its messages was whose.
		d.Log.DebugContext(ctx, "received", "delivery_id", m.DeliveryID(), "message_id", m.id, "receive_count", m.receives)
		key := m.Key()
		if parcels[key] == nil {
			parcels[key] = &parcel{}
			keys = append(keys, key)
		}
		parcels[key].messages = append(parcels[key].messages, m)
	}
	if len(keys) > 0 {
		d.deliver(ctx, keys, parcels)
	}
	answer := d.answer(ctx, event.Records, messages)
	d.lastBatch = wall(d.MachineNow())
	return answer, nil
}

// wall returns t without the monotonic clock, which may stand still while the process is frozen.
func wall(t time.Time) time.Time { return t.Round(0) }

// receive reads one message. With an error, only its id is known.
func (d *Deliverer) receive(record Record) (*received, error) {
	m := &received{id: record.MessageID, fast: d.DeliveryQueue.Is(record.QueueARN)}
	var err error
	if m.Message, err = webhook.ParseMessage(record.Body, d.Now()); err != nil {
		return m, err
	}
	m.receives, _ = strconv.Atoi(record.Attributes.ApproximateReceiveCount)
	sent, _ := strconv.ParseInt(record.Attributes.SentTimestamp, 10, 64)
	m.sentAt = time.UnixMilli(sent)
	return m, nil
}

// deliver works on all deliveries at once and on the messages of one delivery one after the other.
func (d *Deliverer) deliver(ctx context.Context, keys []webhook.Key, parcels map[webhook.Key]*parcel) {
	loaded, err := d.load(ctx, keys)
	if err != nil {
		d.Log.ErrorContext(ctx, "configs and deliveries not readable", "error", err.Error(), "count", len(keys)-len(loaded))
	}
	b := &batch{Deliverer: d, recorder: &recorder{store: d.Store, running: len(keys)}}
	b.starting = ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		b.starting, cancel = context.WithDeadline(ctx, deadline.Add(-endpoint.AttemptTimeout-margin))
		defer cancel()
	}
	var wait sync.WaitGroup
	for i, key := range keys {
		p := parcels[key]
		p.Loaded, p.readable = loaded[key]
		work := func() {
			defer b.recorder.leave(ctx)
			for _, m := range p.messages {
				b.guarded(ctx, m, p)
			}
		}
		if i < len(keys)-1 {
			wait.Go(work)
		} else {
			work() // the last, and often the only one, needs no goroutine of its own
		}
	}
	wait.Wait()
}

// load is Store.Load in bounded time, and a panic is an error of every key.
func (d *Deliverer) load(ctx context.Context, keys []webhook.Key) (loaded map[webhook.Key]webhook.Loaded, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			loaded, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return d.Store.Load(ctx, keys)
}

// guarded decides the fate of one message, and keeps a panic to the message that caused it.
func (b *batch) guarded(ctx context.Context, m *received, p *parcel) {
	defer func() {
		if r := recover(); r != nil {
			m.fate, p.unlogged = kept, true
			b.Log.ErrorContext(ctx, "panic", "message_id", m.id, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	m.fate = b.process(ctx, m, p)
}

// answer sets the visibility of the messages that are kept and lists them.
func (d *Deliverer) answer(ctx context.Context, records []Record, messages []*received) Answer {
	answer := Answer{BatchItemFailures: []Failure{}}
	var changes []webhook.Visibility
	for i, m := range messages {
		if !m.keep {
			continue
		}
		answer.BatchItemFailures = append(answer.BatchItemFailures, Failure{ItemIdentifier: m.id})
		if !m.due.IsZero() {
			changes = append(changes, webhook.Visibility{MessageID: m.id, ReceiptHandle: records[i].ReceiptHandle, Due: m.due})
		}
	}
	if len(changes) > 0 {
		queue := d.RetryQueue
		if messages[0].fast {
			queue = d.DeliveryQueue
		}
		timed, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := queue.ChangeVisibility(timed, changes); err != nil {
			// The messages come back after the queue's visibility timeout instead: later, but not lost.
			d.Log.ErrorContext(ctx, "visibility not changed", "error", err.Error())
		}
	}
	d.Log.InfoContext(ctx, "batch", "messages", len(messages), "kept", len(answer.BatchItemFailures))
	return answer
}
