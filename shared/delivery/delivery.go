// Package delivery takes messages from the queue and makes one attempt for each: it decides whether
// the message still counts, signs and POSTs the event, judges the answer and schedules the retry.
//
// Two rules shape it. A message is acknowledged only after its result is in the log, and the log
// never goes backwards: done_for, the latest request that has succeeded, only grows, and whatever
// is at or before it is obsolete. So duplicates, retries, resends and redrives of a delivery may
// meet in any order. Errors are split by when they happen: before an attempt they are ours and the
// message is put back unspent; during it they are the endpoint's and use it up; after it they keep
// the message in the queue.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Key identifies a delivery.
type Key struct {
	OrganizationID string
	ConfigID       string
	EventID        string
}

// Loaded is what is known of a delivery when its message arrives.
type Loaded struct {
	Config   *webhook.Config   // nil if there is none
	Delivery *webhook.Delivery // nil before the first attempt
}

// Store reads configs and the delivery log and writes the latter.
type Store interface {
	// Load reads all keys, consistently. Keys it could not read are missing from the map.
	Load(ctx context.Context, keys []Key) (map[Key]Loaded, error)
	// Record writes entries of different deliveries. It returns nil or one error (or nil) for each.
	Record(ctx context.Context, entries []Entry) []error
}

// Health keeps what final results mean for a config.
type Health interface {
	// Deactivate deactivates config, if it is still at the version that was attempted, and then
	// says so in config.Active.
	Deactivate(ctx context.Context, config *webhook.Config, reason string, now time.Time) error
	// CountFailure counts one more final failure and returns the count and when it began.
	CountFailure(ctx context.Context, config *webhook.Config, now time.Time) (count int, since time.Time, err error)
	// ResetFailures forgets the failures, after a success.
	ResetFailures(ctx context.Context, config *webhook.Config) error
}

// Queue is where the messages come from.
type Queue interface {
	// ChangeVisibility makes messages visible again at their due times.
	ChangeVisibility(ctx context.Context, changes []Visibility) error
	// PutBack sends a copy of a message that becomes visible after delay.
	PutBack(ctx context.Context, message webhook.Message, delay time.Duration) error
}

// Visibility is when a received message may be received again.
type Visibility struct {
	MessageID     string
	ReceiptHandle string
	Due           time.Time
}

// Credentials opens sealed credentials.
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
	metricAttempts        = "Attempts"        // by Outcome: success or an error code
	metricDeliveries      = "Deliveries"      // by Status: delivered, failed, canceled
	metricObsolete        = "Obsolete"        // messages whose delivery had succeeded already
	metricPutBack         = "PutBack"         // messages put back because of ourselves
	metricUnreadable      = "Unreadable"      // messages that are none of ours
	metricLogFailures     = "LogFailures"     // results that could not be logged
	metricDeactivated     = "Deactivated"     // configs deactivated, by Reason
	metricEndpointLatency = "EndpointLatency" // of attempts
	metricLatency         = "StatusChangeToSuccess"
)

const (
	// putBackDelay is how long a message rests that could not be sent because of ourselves.
	putBackDelay = time.Minute
	// putBackDelayBroken is the same for credentials that do not open, which needs a person.
	putBackDelayBroken = 15 * time.Minute
	// margin is what a batch needs after its last attempt, to log, judge and answer.
	margin = 10 * time.Second
	// readTimeout is how long the tables or the keyring may take before the messages are put back:
	// should they hang, the batch still ends by itself and no attempt is lost.
	readTimeout = 10 * time.Second
	// writeTimeout is how long the log may take for an entry. With twice the next one it is less than
	// margin: should they hang, the batch still ends by itself, and answers for what is logged.
	writeTimeout = 4 * time.Second
	// callTimeout is how long a call to the queue, or to keep a config's health, may take.
	callTimeout = 2 * time.Second
	// restedAfter is how long after a batch kept-alive connections are no longer trusted: the
	// process may have been frozen meanwhile and the other side may have hung up unheard.
	restedAfter = 5 * time.Second
	// failingFor is how long an endpoint must have failed before its config is deactivated.
	failingFor = 24 * time.Hour
)

// Deliverer handles batches of messages. One batch at a time, as Lambda does.
type Deliverer struct {
	Store            Store
	Health           Health
	Queue            Queue
	Credentials      Credentials
	Poster           Poster
	Schedule         Schedule
	FailureThreshold int // final failures that deactivate a config, 0 for never
	Metrics          Metrics
	Log              *slog.Logger
	Now              func() time.Time
	MachineNow       func() time.Time // measures deadlines and rests; Now may be faster, in the local stack
	Random           func() float64   // in [0, 1), for jitter

	lastBatch time.Time
}

// Batch is the event of an SQS event source.
type Batch struct {
	Records []Record `json:"Records"`
}

// Record is one received message.
type Record struct {
	MessageID     string `json:"messageId"`
	ReceiptHandle string `json:"receiptHandle"`
	Body          string `json:"body"`
	Attributes    struct {
		ApproximateReceiveCount string `json:"ApproximateReceiveCount"`
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

// job is one message of a batch on its way.
type job struct {
	Record
	message  webhook.Message
	key      Key
	round    string
	receives int

	report bool      // keep it in the queue
	due    time.Time // and make it visible then; zero for the queue's own visibility timeout
}

// Handle makes the attempts of one batch. It never errors: what must stay in the queue is in the answer.
func (d *Deliverer) Handle(ctx context.Context, batch Batch) (Answer, error) {
	defer d.Metrics.Flush()
	if wall(d.MachineNow()).Sub(d.lastBatch) > restedAfter {
		d.Poster.Rested()
	}
	jobs := make([]*job, len(batch.Records))
	groups := map[Key][]*job{}
	var order []Key
	for i, record := range batch.Records {
		j := d.read(ctx, record)
		jobs[i] = j
		if j.report {
			continue
		}
		if groups[j.key] == nil {
			order = append(order, j.key)
		}
		groups[j.key] = append(groups[j.key], j)
	}
	if len(order) > 0 {
		d.deliver(ctx, order, groups)
	}
	answer := d.answer(ctx, jobs)
	d.lastBatch = wall(d.MachineNow())
	return answer, nil
}

// wall returns t without the monotonic clock, which may stand still while the process is frozen.
func wall(t time.Time) time.Time { return t.Round(0) }

// read parses one message.
func (d *Deliverer) read(ctx context.Context, record Record) *job {
	j := &job{Record: record}
	message, err := webhook.ParseMessage(record.Body)
	if err != nil {
		d.Metrics.Add(metricUnreadable, 1)
		d.Log.ErrorContext(ctx, "unreadable message", "message_id", record.MessageID, "error", err.Error())
		j.report = true
		return j
	}
	j.message = message
	j.key = Key{message.OrganizationID, message.ConfigID, message.Event.ID}
	j.round = cmp.Or(message.Round, record.MessageID)
	j.receives, _ = strconv.Atoi(record.Attributes.ApproximateReceiveCount)
	return j
}

// deliver works on all deliveries at once and on the messages of one delivery one after the other.
func (d *Deliverer) deliver(ctx context.Context, keys []Key, groups map[Key][]*job) {
	loaded, err := d.load(ctx, keys)
	if err != nil {
		d.Log.ErrorContext(ctx, "configs and deliveries not readable", "error", err.Error(), "count", len(keys)-len(loaded))
	}
	r := &recorder{store: d.Store, running: len(keys)}
	var wait sync.WaitGroup
	for _, key := range keys {
		one, ok := loaded[key]
		k := &known{Loaded: one}
		if k.Config != nil {
			config := *k.Config // deliveries to one config share it, and run at the same time
			k.Config = &config
		}
		wait.Go(func() {
			defer r.leave(ctx)
			for _, j := range groups[key] {
				d.guarded(ctx, j, k, func() {
					if !ok {
						d.putBack(ctx, j, putBackDelay, "configs not readable")
						return
					}
					d.process(ctx, j, k, r)
				})
			}
		})
	}
	wait.Wait()
}

// load is Store.Load in bounded time, and a panic is an error of every key.
func (d *Deliverer) load(ctx context.Context, keys []Key) (loaded map[Key]Loaded, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			loaded, err = nil, fmt.Errorf("panic: %v", p)
		}
	}()
	return d.Store.Load(ctx, keys)
}

// guarded keeps a panic to the message that caused it.
func (d *Deliverer) guarded(ctx context.Context, j *job, k *known, f func()) {
	defer func() {
		if p := recover(); p != nil {
			j.report, j.due, k.unlogged = true, time.Time{}, true
			d.Log.ErrorContext(ctx, "panic", "message_id", j.MessageID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	f()
}

// process takes one message to its end in this batch and brings k up to date.
func (d *Deliverer) process(ctx context.Context, j *job, k *known, r *recorder) {
	j.round = k.round(j)
	switch {
	case k.unlogged:
		j.report = true // only the log can say what is left to do
		return
	case k.obsolete(j):
		d.Metrics.Add(metricObsolete, 1)
		d.Log.DebugContext(ctx, "obsolete", "delivery_id", j.deliveryID(), "message_id", j.MessageID)
		return
	case k.over(j):
		j.report, j.due = true, d.Now() // SQS moves it to the dead-letter queue when it is received too often
		return
	case k.Config == nil || !k.Config.Receives():
		d.cancel(ctx, j, k, r)
		return
	case d.late(ctx):
		j.report, j.due = true, d.Now()
		return
	}
	current, previous, err := d.open(ctx, k.Config)
	if d.late(ctx) { // by now
		j.report, j.due = true, d.Now()
		return
	}
	if err != nil {
		delay := putBackDelay
		if errors.Is(err, keyring.ErrSealed) || errors.Is(err, keyring.ErrUnknownKey) {
			delay = putBackDelayBroken
		}
		d.putBack(ctx, j, delay, err.Error())
		return
	}
	body, err := j.message.Event.Render(j.message.ConfigID)
	if err != nil {
		d.putBack(ctx, j, putBackDelayBroken, err.Error())
		return
	}
	d.attempt(ctx, j, k, r, endpoint.Request{
		URL:     k.Config.URL,
		EventID: j.message.Event.ID,
		Body:    body,
		Attempt: k.nextAttempt(j),
		Current: current, Previous: previous,
	})
}

// attempt makes the POST and deals with its result.
func (d *Deliverer) attempt(ctx context.Context, j *job, k *known, r *recorder, request endpoint.Request) {
	started := d.Now()
	result := d.Poster.Post(ctx, request)
	now := d.Now()
	entry := Entry{
		Message: j.message, MessageID: j.MessageID, Round: j.round, At: webhook.At(now), Known: k.Delivery,
		Attempt: &webhook.Attempt{
			Number: request.Attempt, Round: short(j.round), StartedAt: webhook.At(started), Duration: result.Duration,
			ResponseStatus: result.Status, ErrorCode: result.Code, Error: result.Error, ResponseSnippet: result.Snippet,
		},
	}
	switch {
	case result.Success():
		entry.Status = webhook.Delivered
	case result.Gone():
		entry.Status = webhook.DeliveryFailed
	case request.Attempt >= webhook.MaxAttempts || j.receives >= webhook.MaxAttempts:
		entry.Status = webhook.DeliveryFailed
		j.report, j.due = true, now
	default:
		entry.Status = webhook.Retrying
		due := now.Add(d.Schedule.Delay(request.Attempt, result.RetryAfter, d.Random()))
		entry.NextAttemptAt = webhook.At(due)
		j.report, j.due = true, due
	}
	d.note(ctx, j, entry, result)
	if d.record(ctx, j, k, r, entry) {
		d.judge(ctx, j, k.Config, entry, result)
	}
}

// cancel ends a delivery whose config no longer receives.
func (d *Deliverer) cancel(ctx context.Context, j *job, k *known, r *recorder) {
	d.Log.InfoContext(ctx, "canceled", "organization_id", j.key.OrganizationID, "delivery_id", j.deliveryID())
	d.record(ctx, j, k, r, Entry{
		Message: j.message, MessageID: j.MessageID, Round: j.round, At: webhook.At(d.Now()), Known: k.Delivery, Status: webhook.Canceled,
	})
}

// record logs an entry and reports whether it is safe. If it is not, the message stays in the queue
// and so do the others of its delivery, so that none of them repeats the POST in this batch.
func (d *Deliverer) record(ctx context.Context, j *job, k *known, r *recorder, entry Entry) bool {
	if err := r.record(ctx, entry); err != nil {
		j.report, k.unlogged = true, true
		if entry.Status != webhook.Retrying {
			j.due = time.Time{} // it is not known to be over: leave the log time to recover before the next attempt
		}
		d.Metrics.Add(metricLogFailures, 1)
		d.Log.ErrorContext(ctx, "result not logged", "delivery_id", j.deliveryID(), "status", string(entry.Status), "error", err.Error())
		return false
	}
	after := entry.Apply(k.Delivery)
	k.Delivery = &after
	if entry.Status != webhook.Retrying {
		d.Metrics.AddBy("Status", string(entry.Status), metricDeliveries, 1)
	}
	return true
}

// judge keeps the health of the config. The message does not depend on it: an endpoint that is
// gone or failing will say so again.
func (d *Deliverer) judge(ctx context.Context, j *job, config *webhook.Config, entry Entry, result endpoint.Result) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	switch {
	case entry.Status == webhook.Delivered && config.FailureCount > 0:
		err = d.Health.ResetFailures(ctx, config)
		config.FailureCount = 0
	case result.Gone():
		err = d.deactivate(ctx, config, webhook.EndpointGone)
	case entry.Status == webhook.DeliveryFailed && d.FailureThreshold > 0:
		var count int
		var since time.Time
		count, since, err = d.Health.CountFailure(ctx, config, entry.At.Time)
		config.FailureCount = max(config.FailureCount, count)
		if err == nil && count >= d.FailureThreshold && entry.At.Sub(since) >= failingFor {
			err = d.deactivate(ctx, config, webhook.EndpointFailing)
		}
	}
	if err != nil {
		d.Log.ErrorContext(ctx, "config not updated", "organization_id", j.key.OrganizationID, "config_id", j.key.ConfigID, "error", err.Error())
	}
}

func (d *Deliverer) deactivate(ctx context.Context, config *webhook.Config, reason string) error {
	if err := d.Health.Deactivate(ctx, config, reason, d.Now()); err != nil {
		return err
	}
	if config.Active {
		return nil // the organization has changed it meanwhile: another endpoint, or another chance
	}
	d.Metrics.AddBy("Reason", reason, metricDeactivated, 1)
	d.Log.WarnContext(ctx, "config deactivated", "organization_id", config.OrganizationID, "config_id", config.ID, "reason", reason)
	return nil
}

// note writes the one wide line of an attempt and its metrics.
func (d *Deliverer) note(ctx context.Context, j *job, entry Entry, result endpoint.Result) {
	outcome, level := "success", slog.LevelDebug
	if !result.Success() {
		outcome, level = result.Code, slog.LevelInfo
	}
	d.Metrics.AddBy("Outcome", outcome, metricAttempts, 1)
	d.Metrics.Observe(metricEndpointLatency, result.Duration)
	if result.Success() && j.message.Trigger == webhook.StatusChange {
		d.Metrics.Observe(metricLatency, max(0, entry.At.Sub(j.message.RequestedAt.Time)))
	}
	text := result.Error
	if result.Code == endpoint.CodeProtocolError {
		text = "" // it quotes the answer, which may be the payload that came back; the delivery's log has it
	}
	d.Log.Log(ctx, level, "attempt",
		"organization_id", j.key.OrganizationID, "config_id", j.key.ConfigID, "delivery_id", j.deliveryID(),
		"event_id", j.key.EventID, "message_id", j.MessageID, "trigger", string(j.message.Trigger),
		"attempt", entry.Attempt.Number, "receive_count", j.receives, "outcome", outcome, "delivery_status", string(entry.Status),
		"response_status", result.Status, "error", text,
		"duration_ms", result.Duration.Milliseconds(), "since_request_ms", entry.At.Sub(j.message.RequestedAt.Time).Milliseconds(),
		"next_attempt_at", entry.NextAttemptAt.String())
}

// putBack keeps a message that could not be sent because of ourselves, without using an attempt.
func (d *Deliverer) putBack(ctx context.Context, j *job, delay time.Duration, reason string) {
	d.Metrics.Add(metricPutBack, 1)
	copied := j.message
	copied.Round = j.round
	err := func() error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return d.Queue.PutBack(ctx, copied, delay)
	}()
	if err != nil {
		j.report = true // neither did the copy get out: let the original come back by itself
		d.Log.ErrorContext(ctx, "not put back", "delivery_id", j.deliveryID(), "message_id", j.MessageID, "reason", reason, "error", err.Error())
		return
	}
	d.Log.WarnContext(ctx, "put back", "delivery_id", j.deliveryID(), "message_id", j.MessageID, "reason", reason)
}

func (d *Deliverer) open(ctx context.Context, config *webhook.Config) (signature.Credentials, *signature.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	current, err := d.Credentials.Open(ctx, config.Sealed, config.OrganizationID, config.ID)
	if err != nil || !config.Overlapping(d.Now()) {
		return current, nil, err
	}
	previous, err := d.Credentials.Open(ctx, config.PreviousSealed, config.OrganizationID, config.ID)
	return current, &previous, err
}

// late reports whether an attempt that started now might not end before the batch must.
func (d *Deliverer) late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && deadline.Sub(d.MachineNow()) < endpoint.AttemptTimeout+margin
}

// answer sets the visibility of the messages to retry and lists what must stay in the queue.
func (d *Deliverer) answer(ctx context.Context, jobs []*job) Answer {
	answer := Answer{BatchItemFailures: []Failure{}}
	var changes []Visibility
	for _, j := range jobs {
		if !j.report {
			continue
		}
		answer.BatchItemFailures = append(answer.BatchItemFailures, Failure{j.MessageID})
		if !j.due.IsZero() {
			changes = append(changes, Visibility{j.MessageID, j.ReceiptHandle, j.due})
		}
	}
	if len(changes) > 0 {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if err := d.Queue.ChangeVisibility(ctx, changes); err != nil {
			// They come back after the queue's visibility timeout instead: later, but not lost.
			d.Log.ErrorContext(ctx, "visibility not changed", "error", err.Error())
		}
	}
	d.Log.InfoContext(ctx, "batch", "messages", len(jobs), "kept", len(answer.BatchItemFailures))
	return answer
}

func (j *job) deliveryID() string {
	id, _ := webhook.DeliveryID(j.key.ConfigID, j.key.EventID)
	return id
}
