// Package dispatch turns changes of documents into events and the messages that deliver them.
//
// It reads a batch of DynamoDB stream records, passes over those that can never work, writes down what happened
// and sends one message for each active config that subscribes to a document's new status. A record is done only
// after SQS has accepted all its messages; event ids are derived from the record, so that doing one again causes
// duplicates of the same deliveries and no new ones.
//
// One organization never holds up the others. Lambda reads a stream again from the lowest record that failed,
// so a record that only its organization holds up is not reported but goes to a queue of its own,
// DispatchRetryQueue, and waits there: see wait.go. A config that cannot be read is passed over alone.
package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// Configs reads the active configs of an organization.
type Configs interface {
	// Active returns those that make sense, and the ids of those that do not.
	Active(ctx context.Context, organizationID string) (configs []webhook.Config, broken []string, err error)
}

// Events is the record of events.
type Events interface {
	// Add writes events, or adds to the configs of those that are there. It returns nil if all were written,
	// else one error (or nil) for each.
	Add(ctx context.Context, records []webhook.EventRecord) []error
}

// Queue accepts messages. It returns nil if all were accepted, else one error (or nil) for each, which is
// webhook.ErrUnsendable if it would never accept the message.
type Queue interface {
	Send(ctx context.Context, messages []webhook.Message) []error
}

// WaitingQueue is the queue of the records that their organization holds up.
type WaitingQueue interface {
	// SendRecords is Queue.Send for records.
	SendRecords(ctx context.Context, records []webhook.HeldRecord) []error
	// SendRecordOnce sends a record that becomes visible after delay. It is not tried again: an answer that is
	// lost would make two of it.
	SendRecordOnce(ctx context.Context, record webhook.HeldRecord, delay time.Duration) error
	// ChangeVisibility makes received records visible again at their due times.
	ChangeVisibility(ctx context.Context, changes []webhook.Visibility) error
}

// Metrics counts.
type Metrics interface {
	Add(name string, n int)
	Flush()
}

// Names of the metrics.
const (
	metricMessages   = "MessagesDispatched"
	metricUnroutable = "UnroutableRecords" // passed over, since they can never work
	metricRetried    = "RecordsRetried"    // reported to the stream
	metricHeld       = "RecordsHeldUp"     // by their organization, each time that one was
	metricBroken     = "PassedOverConfigs" // passed over, each time that one was
	metricOccurred   = "UnreadableTimes"   // of documents, in whose place those of the records were taken
)

const (
	// maxReads is how many organizations are read at the same time.
	maxReads = 16
	// readTimeout is how long an organization's configs may take before it is held up. So much later a batch
	// ends at most because one of its organizations cannot be read.
	readTimeout = 2 * time.Second
	// linger is how long those that are read wait for others, to be written and sent with them.
	linger = 50 * time.Millisecond
	// writeTimeout is how long the record of events may take.
	writeTimeout = 5 * time.Second
	// sendTimeout is how long a queue may take. Together all of these leave the function time to answer.
	sendTimeout = 15 * time.Second
)

// Dispatcher handles batches of stream records. It is safe for concurrent use.
type Dispatcher struct {
	Configs            Configs
	Events             Events
	DeliveryQueue      Queue // of messages to endpoints that answer quickly
	RetryQueue         Queue // of all others
	DispatchRetryQueue WaitingQueue
	DocumentURL        webhook.DocumentURL
	Metrics            Metrics
	Log                *slog.Logger
	Now                func() time.Time

	mu    sync.Mutex
	holds map[string]time.Time // by organization; see hold
}

// Batch is the event of a DynamoDB stream or of DispatchRetryQueue. Records are decoded one by one, so that a
// broken one does not stop the others.
type Batch struct {
	Records []json.RawMessage `json:"Records"`
}

// Answer reports the records that must be read again, by sequence number, or stay in the queue, by message id.
// Lambda reads a stream again from the lowest one on.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
type Answer struct {
	BatchItemFailures []Failure `json:"batchItemFailures"`
}

// Failure names a record by its sequence number or a message by its id.
type Failure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// entry is a record of a batch that is worked on.
type entry struct {
	change
	*waiting // nil out of the stream
	configs  []webhook.Config
	obstacle error     // what its organization alone holds it up with
	refused  bool      // SQS has not accepted all that it causes
	keep     bool      // it is reported
	due      time.Time // when it is visible again if it is kept, zero for the queue's own visibility timeout
}

// identifier returns what Lambda knows the record by.
func (e *entry) identifier() string {
	if e.waiting != nil {
		return e.waiting.messageID
	}
	return e.sequenceNumber
}

// Handle dispatches one batch. It never errors: what is not done is in the answer.
func (d *Dispatcher) Handle(ctx context.Context, batch Batch) (Answer, error) {
	defer d.Metrics.Flush()
	var entries []*entry
	var doubted error
	doubts := 0
	for _, raw := range batch.Records {
		e, err := d.read(ctx, raw)
		switch {
		case errors.Is(err, errNoChange):
			continue
		case err != nil:
			d.passOverRecord(ctx, e, err)
			if e.waiting == nil {
				continue
			}
			e.keep = true // so that SQS moves the message, unchanged, to the dead-letter queue
		case e.occurredErr != nil:
			doubts++
			doubted = fmt.Errorf("document %q: %w", cut(e.documentID), e.occurredErr)
		}
		entries = append(entries, e)
	}
	if doubts > 0 {
		d.Metrics.Add(metricOccurred, doubts)
		d.Log.WarnContext(ctx, "updated_at not believed", "count", doubts, "last", doubted.Error())
	}
	sent := d.dispatch(ctx, entries)
	answer := d.answer(ctx, entries)
	d.Metrics.Add(metricMessages, sent)
	d.Log.InfoContext(ctx, "batch",
		"records", len(batch.Records), "changes", len(entries), "messages", sent, "failures", len(answer.BatchItemFailures))
	return answer, nil
}

// passOverRecord counts a record that can never work.
func (d *Dispatcher) passOverRecord(ctx context.Context, e *entry, reason error) {
	d.Metrics.Add(metricUnroutable, 1)
	d.Log.ErrorContext(ctx, "record passed over", "reason", cut(reason.Error()), "event_id", e.eventID,
		"sequence_number", e.sequenceNumber, "document_id", cut(e.documentID))
}

// read reads one record, out of the stream or of a message. A panic is an error like any other.
func (d *Dispatcher) read(ctx context.Context, raw json.RawMessage) (e *entry, err error) {
	e = &entry{}
	defer func() {
		if p := recover(); p != nil {
			err = d.panicked(ctx, p)
		}
	}()
	var either struct { // a name that both had would be read into neither
		record
		message
	}
	err = json.Unmarshal(raw, &either)
	if err == nil && either.EventSource == "aws:sqs" {
		e.waiting = either.message.receive()
		e.change, err = parse(json.RawMessage(e.waiting.body))
	} else {
		e.change, err = either.record.change(raw, err)
	}
	e.event.Related = d.DocumentURL.Of(e.documentID)
	return e, err
}

// panicked logs a panic and returns it as an error.
func (d *Dispatcher) panicked(ctx context.Context, p any) error {
	d.Log.ErrorContext(ctx, "panic", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return fmt.Errorf("panic: %v", p)
}

// organization is the records of one organization in a batch.
type organization struct {
	id      string
	entries []*entry
	configs []webhook.Config
	err     error
}

// dispatch writes and sends all that the entries cause, and decides which of them are kept. It returns how many
// messages were accepted.
func (d *Dispatcher) dispatch(ctx context.Context, entries []*entry) int {
	byID := map[string]*organization{}
	var organizations []*organization
	for _, e := range entries {
		if e.keep {
			continue
		}
		if byID[e.organizationID] == nil {
			byID[e.organizationID] = &organization{id: e.organizationID}
			organizations = append(organizations, byID[e.organizationID])
		}
		byID[e.organizationID].entries = append(byID[e.organizationID].entries, e)
	}
	sent := d.organizations(ctx, organizations)
	tried := 0
	for _, o := range organizations {
		if !errors.Is(o.err, errOnHold) {
			tried++
		}
	}
	d.judge(ctx, entries, tried)
	return sent
}

// organizations reads the configs of all organizations and goes on with those that are read, without waiting
// for the others for longer than linger.
func (d *Dispatcher) organizations(ctx context.Context, all []*organization) int {
	if len(all) == 1 { // as often: nobody waits for anybody
		d.find(ctx, all[0])
		return d.group(ctx, all)
	}
	read := make(chan *organization, len(all))
	limit := make(chan struct{}, maxReads)
	for _, o := range all {
		go func() {
			limit <- struct{}{}
			defer func() { <-limit; read <- o }()
			d.find(ctx, o)
		}()
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for left := len(all); left > 0; {
		group := collect(read, left)
		left -= len(group)
		wait.Go(func() {
			n := d.group(ctx, group)
			mu.Lock()
			defer mu.Unlock()
			sent += n
		})
	}
	wait.Wait()
	return sent
}

// find reads the configs of an organization that is not on hold.
func (d *Dispatcher) find(ctx context.Context, o *organization) {
	if o.entries[0].waiting == nil && d.onHold(o.id) {
		o.err = errOnHold
	} else if o.configs, o.err = d.active(ctx, o.id); o.err == nil {
		d.release(o.id)
	}
}

// collect returns the next organization that is read and those that are so within linger, left at most.
func collect(read <-chan *organization, left int) []*organization {
	group := []*organization{<-read}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for len(group) < left {
		select {
		case o := <-read:
			group = append(group, o)
		case <-timer.C:
			return group
		}
	}
	return group
}

// active returns the configs of an organization that messages may go to. Those that make no sense are counted
// and passed over.
func (d *Dispatcher) active(ctx context.Context, organizationID string) (active []webhook.Config, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = d.panicked(ctx, p)
		}
	}()
	configs, broken, err := d.Configs.Active(ctx, organizationID)
	for _, c := range configs {
		switch {
		case !webhook.ValidConfigID(c.ID): // no message could name it
			broken = append(broken, c.ID)
		case c.Receives():
			active = append(active, c)
		}
	}
	for _, id := range broken {
		d.passOver(ctx, organizationID, id, "its item makes no sense")
	}
	return active, err
}

// passOver counts a config that gets nothing because of itself.
func (d *Dispatcher) passOver(ctx context.Context, organizationID, configID, reason string) {
	d.Metrics.Add(metricBroken, 1)
	d.Log.ErrorContext(ctx, "config passed over",
		"organization_id", cut(organizationID), "config_id", cut(configID), "reason", cut(reason))
}

// group writes the events of some organizations and then sends their messages. It returns how many of those were
// accepted. A panic keeps them all, whatever was accepted.
func (d *Dispatcher) group(ctx context.Context, organizations []*organization) (sent int) {
	var entries []*entry
	defer func() {
		if p := recover(); p != nil {
			err := d.panicked(ctx, p)
			for _, o := range organizations { // also those that it did not come to
				for _, e := range o.entries {
					e.obstacle = err
				}
			}
		}
	}()
	for _, o := range organizations {
		for _, e := range o.entries {
			if e.obstacle = o.err; o.err != nil {
				continue
			}
			for _, c := range o.configs {
				if c.Subscribes(e.event.Status) {
					e.configs = append(e.configs, c)
				}
			}
			entries = append(entries, e)
		}
	}
	d.write(ctx, entries)
	return d.send(ctx, entries)
}

// write writes events down, with the configs that they are meant for, so that none is sent that nobody can look up.
func (d *Dispatcher) write(ctx context.Context, entries []*entry) {
	if len(entries) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	records := make([]webhook.EventRecord, len(entries))
	for i, e := range entries {
		records[i] = webhook.EventRecord{
			OrganizationID: e.organizationID, Event: e.event, ExpiresAt: webhook.At(d.Now().Add(webhook.Retention)),
		}
		for _, c := range e.configs {
			records[i].ConfigIDs = append(records[i].ConfigIDs, c.ID)
		}
	}
	for i, err := range d.Events.Add(ctx, records) {
		entries[i].obstacle = err
	}
}

// send sends the messages of entries, each to the lane of its config. It returns how many were accepted.
func (d *Dispatcher) send(ctx context.Context, entries []*entry) int {
	var fast, slow lane
	now := d.Now()
	for _, e := range entries {
		if e.obstacle != nil {
			continue
		}
		for _, c := range e.configs {
			to := &slow
			if c.Fast(now) {
				to = &fast
			}
			to.messages = append(to.messages, webhook.NewFirst(e.organizationID, c.ID, e.event, webhook.At(e.created), now))
			to.owners = append(to.owners, e)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	var wait sync.WaitGroup
	if len(slow.messages) > 0 {
		wait.Go(func() { slow.send(ctx, d, d.RetryQueue) })
	}
	fast.send(ctx, d, d.DeliveryQueue)
	wait.Wait()
	return fast.judge(ctx, d) + slow.judge(ctx, d)
}

// lane is the messages to one queue.
type lane struct {
	messages []webhook.Message
	owners   []*entry // of each message
	errs     []error
}

// send sends the messages. After a panic none counts as accepted.
func (l *lane) send(ctx context.Context, d *Dispatcher, queue Queue) {
	defer func() {
		if p := recover(); p != nil {
			l.errs = slices.Repeat([]error{d.panicked(ctx, p)}, len(l.messages))
		}
	}()
	if len(l.messages) > 0 {
		l.errs = queue.Send(ctx, l.messages)
	}
}

// judge marks the owners of messages that were not accepted and returns how many were.
func (l *lane) judge(ctx context.Context, d *Dispatcher) int {
	refused, unsendable := 0, 0
	var last error
	for i, err := range l.errs {
		switch {
		case errors.Is(err, webhook.ErrUnsendable):
			unsendable++
			d.passOver(ctx, l.messages[i].OrganizationID, l.messages[i].ConfigID, err.Error())
		case err != nil:
			refused++
			last = err
			l.owners[i].refused = true
		}
	}
	if refused > 0 {
		d.Log.ErrorContext(ctx, "messages not accepted by the queue", "count", refused, "error", cut(last.Error()))
	}
	return len(l.messages) - refused - unsendable
}
