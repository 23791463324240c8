// Package deliverytest is what surrounds a Deliverer and a Sweeper in tests: the log, both queues, the endpoint,
// the keyring and the clock, in memory.
//
// A Fixture is used in one of three ways. Handle makes one batch of arrivals that a test describes and says in
// words what it did. Run is Lambda: it receives what is visible and sweeps until nothing is left or a time has
// come. An Actor is one batch that stops before each of its calls, so that a test decides in which order the
// calls of several take place and which of them fail; Every tries all such decisions.
package deliverytest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/webhook"
)

// What the messages of a Fixture are to.
const (
	Organization = "org_1"
	ConfigID     = "01890a5d-ac96-774b-bcce-b302099a8057"
)

// Clock is the time of a Fixture.
type Clock interface {
	Now() time.Time
	Sleep(d time.Duration)
}

// Bubble is the clock of the synctest bubble that a test runs in.
type Bubble struct{}

// Now implements Clock.
func (Bubble) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (Bubble) Sleep(d time.Duration) { time.Sleep(d) }

// Manual is a clock that only Sleep moves. It is not safe for concurrent use.
type Manual struct{ T time.Time }

// Now implements Clock.
func (m *Manual) Now() time.Time { return m.T }

// Sleep implements Clock.
func (m *Manual) Sleep(d time.Duration) { m.T = m.T.Add(d) }

// Fixture is a Deliverer and a Sweeper with everything around them in memory: one organization with one fast
// config, whose endpoint accepts everything.
type Fixture struct {
	Clock
	Deliverer *delivery.Deliverer
	Sweeper   *delivery.Sweeper

	Log           *Log
	Store         *Store       // of the Deliverer; passes on to Log
	Waiting       *WaitingList // of the Sweeper; passes on to Log
	DeliveryQueue *Queue
	RetryQueue    *Queue
	DeadLetters   *Queue
	Poster        *Poster
	Health        *Health
	Credentials   *Credentials
	Metrics       *Metrics
	Lines         *bytes.Buffer // of the structured log
	Begin         time.Time

	swept time.Time // the minute of the last sweep
}

// New returns a Fixture.
func New(clock Clock) *Fixture {
	f := &Fixture{Clock: clock, Log: &Log{}, Credentials: &Credentials{}, Metrics: &Metrics{}, Lines: &bytes.Buffer{}, Begin: clock.Now()}
	f.Store = &Store{OnLoad: f.Log.Load, OnRecord: f.Log.Record, OnStart: f.Log.Start}
	f.Waiting = &WaitingList{OnDue: f.Log.Due, OnPush: f.Log.Push, OnCount: f.Log.Count}
	f.DeadLetters = &Queue{Name: "dead", Now: clock.Now}
	f.DeliveryQueue = &Queue{Name: "fast", Now: clock.Now, DeadLetters: f.DeadLetters}
	f.RetryQueue = &Queue{Name: "slow", Now: clock.Now, DeadLetters: f.DeadLetters}
	f.Poster = &Poster{Now: clock.Now}
	f.Health = &Health{Log: f.Log}
	log := slog.New(slog.NewJSONHandler(f.Lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.Deliverer = &delivery.Deliverer{
		Store:            f.Store,
		Health:           f.Health,
		DeliveryQueue:    f.DeliveryQueue,
		RetryQueue:       f.RetryQueue,
		Credentials:      f.Credentials,
		Poster:           f.Poster,
		Schedule:         delivery.Schedule{10 * time.Second, 5 * time.Minute, 90 * time.Minute, 22 * time.Hour},
		FailureThreshold: 20,
		Metrics:          f.Metrics,
		Log:              log,
		Now:              clock.Now,
		MachineNow:       clock.Now,
		Random:           func() float64 { return 0.5 }, // no jitter
	}
	f.Sweeper = &delivery.Sweeper{Waiting: f.Waiting, RetryQueue: f.RetryQueue, Metrics: f.Metrics, Log: log, Now: clock.Now}
	f.Log.SetConfig(Config(f.Begin))
	return f
}

// Config returns the config of a Fixture that begins at a time: active and fast.
func Config(begin time.Time) webhook.Config {
	return webhook.Config{
		OrganizationID:     Organization,
		ID:                 ConfigID,
		URL:                "https://endpoint.example/hook",
		SubscribedStatuses: []webhook.Status{webhook.Processed},
		Active:             true,
		Version:            3,
		Sealed:             Sealed,
		FastUntil:          webhook.At(begin.Add(30 * 24 * time.Hour)),
	}
}

// Requested returns the time of the n-th request for the same event, each an hour after the one before.
func (f *Fixture) Requested(n int) webhook.Time {
	return webhook.At(f.Begin.Add(-8 * time.Hour).Add(time.Duration(n) * time.Hour))
}

// Event returns the n-th event.
func (f *Fixture) Event(n int) webhook.Event {
	at := f.Requested(1)
	return webhook.Event{
		Version: 1, ID: webhook.NewEventID(at.Time, fmt.Sprint("event", n)), DocumentID: fmt.Sprint("doc_", n),
		Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: at,
	}
}

// First returns the message of the first attempt at the n-th event.
func (f *Fixture) First(n int) webhook.Message {
	m := webhook.NewFirst(Organization, ConfigID, f.Event(n), f.Requested(1), f.Begin)
	return m
}

// Attempt returns the message of an attempt of the first round of event 1.
func (f *Fixture) Attempt(n int) webhook.Message {
	m := f.First(1)
	m.Attempt = n
	return m
}

// Resend returns the message of the n-th request (from 2) for event 1, in a round called r and n.
func (f *Fixture) Resend(n int) webhook.Message {
	m := f.First(1)
	m.RequestedAt, m.Trigger, m.Round = f.Requested(n), webhook.Resend, webhook.LaterRound(f.Requested(n).Time, fmt.Sprint("r", n))
	return m
}

// Delivery returns what the log holds of an event, nil for nothing.
func (f *Fixture) Delivery(n int) *webhook.Delivery {
	d, _ := f.Log.Get(context.Background(), Organization, ConfigID, f.Event(n).ID)
	return d
}

// Logged puts the delivery of event 1 into the log as attempts of its first round leave it that all failed, the
// n-th by a message m and n. The fifth was at Begin less a minute.
func (f *Fixture) Logged(attempts int) *webhook.Delivery { return f.LoggedBy(f.First(1), attempts) }

// LoggedBy is Logged for the round of a message.
func (f *Fixture) LoggedBy(m webhook.Message, attempts int) *webhook.Delivery {
	d := f.Delivery(1)
	for n := range attempts {
		m.Attempt = n + 1
		at := webhook.At(f.Begin.Add(-time.Minute))
		o := webhook.Outcome{
			Message: m, MessageID: fmt.Sprint("m", m.Attempt), Status: webhook.Retrying, At: at, NextAttemptAt: webhook.At(f.Begin),
			Tried: &webhook.Attempt{
				Number: m.Attempt, MessageID: fmt.Sprint("m", m.Attempt), StartedAt: at, ResponseStatus: 500, ErrorCode: "http_status",
			},
		}
		if m.Attempt == webhook.MaxAttempts {
			o.Status, o.DeadLetter = webhook.DeliveryFailed, true
		}
		after, _ := d.After(o)
		d = &after
	}
	f.Log.Set(*d)
	return d
}

// Succeeded puts the delivery of event 1 into the log as a success of a message leaves it.
func (f *Fixture) Succeeded(m webhook.Message, id string) *webhook.Delivery {
	at := webhook.At(f.Begin.Add(-time.Minute))
	after, _ := f.Delivery(1).After(webhook.Outcome{
		Message: m, MessageID: id, Status: webhook.Delivered, At: at,
		Tried: &webhook.Attempt{Number: m.Attempt, MessageID: id, StartedAt: at, ResponseStatus: 200},
	})
	f.Log.Set(after)
	return &after
}

// Arrival is a message as a queue hands it over.
type Arrival struct {
	ID       string
	Message  webhook.Message
	Body     string        // in the place of Message, if not ""
	Receives int           // 0 is 1
	Sent     time.Duration // after Begin
	Fast     bool          // out of DeliveryQueue
}

// Record returns a as Lambda hands it over.
func (f *Fixture) Record(a Arrival) delivery.Record {
	queue := f.RetryQueue
	if a.Fast {
		queue = f.DeliveryQueue
	}
	if a.Body == "" {
		a.Body = Body(a.Message)
	}
	r := delivery.Record{MessageID: a.ID, ReceiptHandle: receipt(a.ID), Body: a.Body, QueueARN: queue.Name}
	r.Attributes.ApproximateReceiveCount = strconv.Itoa(max(a.Receives, 1))
	r.Attributes.SentTimestamp = strconv.FormatInt(f.Begin.Add(a.Sent).UnixMilli(), 10)
	return r
}

// Did is what a batch has done, in words.
type Did struct {
	Posts   []string          // event and attempt, sorted
	Kept    []string          // messages reported
	Visible map[string]string // messages whose visibility was changed, and in how long
	Sent    []string          // what RetryQueue was asked for: round, attempt and in how long
	Health  []string
	Log     string // the delivery of event 1; see Line
}

// Handle runs a batch and returns what it did.
func (f *Fixture) Handle(ctx context.Context, t testing.TB, arrivals ...Arrival) Did {
	t.Helper()
	var batch delivery.Batch
	for _, a := range arrivals {
		batch.Records = append(batch.Records, f.Record(a))
	}
	sent, posted, asked := len(f.RetryQueue.Sent()), len(f.Poster.Posts()), len(f.Health.Calls())
	answer, err := f.Deliverer.Handle(ctx, batch)
	if err != nil {
		t.Fatal("Handle errored:", err)
	}
	if answer.BatchItemFailures == nil {
		t.Error("the list of failures is null")
	}
	did := Did{Log: f.Line(f.Delivery(1)), Health: f.Health.Calls()[asked:]}
	for _, failure := range answer.BatchItemFailures {
		did.Kept = append(did.Kept, failure.ItemIdentifier)
	}
	for _, p := range f.Poster.Posts()[posted:] {
		did.Posts = append(did.Posts, fmt.Sprintf("%s #%d", f.name(p.Request.EventID), p.Request.Attempt))
	}
	slices.Sort(did.Posts)
	for _, s := range f.RetryQueue.Sent()[sent:] {
		did.Sent = append(did.Sent, s.String())
	}
	for _, q := range []*Queue{f.DeliveryQueue, f.RetryQueue} {
		q.mu.Lock()
		for id, in := range q.changes {
			if did.Visible == nil {
				did.Visible = map[string]string{}
			}
			did.Visible[id] = in.String()
		}
		q.changes = nil
		q.mu.Unlock()
	}
	if len(did.Health) == 0 {
		did.Health = nil
	}
	return did
}

func (f *Fixture) name(eventID string) string {
	for n := range 600 {
		if f.Event(n).ID == eventID {
			return fmt.Sprint("event", n)
		}
	}
	return eventID
}

// String says which attempt was asked for, and in how long.
func (s Sent) String() string {
	words := fmt.Sprintf("%s/%d in %s", roundName(s.Message.Round), s.Message.Attempt, s.Delay)
	if s.Message.Again {
		words += " again"
	}
	return words
}

// roundName returns the name of a round without its time.
func roundName(round string) string {
	if _, id, found := strings.Cut(round, "-"); found {
		return id
	}
	return round
}

// Line says what the log holds of a delivery, with times from Begin on.
func (f *Fixture) Line(d *webhook.Delivery) string {
	if d == nil {
		return ""
	}
	words := fmt.Sprintf("%s %s/%d", d.Status, roundName(d.Round), d.Attempt)
	if d.Over() {
		words += " over"
	}
	if d.EndedBy != "" {
		words += " by " + d.EndedBy
	}
	if !d.DoneFor.IsZero() {
		words += fmt.Sprint(" done for ", 1+int(d.DoneFor.Sub(f.Requested(1).Time)/time.Hour))
	}
	if d.Waiting() {
		words += fmt.Sprintf(" due %s wakes %s", d.NextAttemptAt.Sub(f.Begin), d.WakeAt.Sub(f.Begin))
	}
	return words + fmt.Sprintf(", %d listed", len(d.Attempts))
}

// Run is Lambda until a time: it receives what is visible, in batches of ten, and sweeps at each minute at which
// something is to be woken. It returns early when no message is left and nothing waits.
func (f *Fixture) Run(ctx context.Context, t testing.TB, until time.Time) {
	t.Helper()
	for range 1_000_000 {
		if f.work(ctx, t) {
			continue
		}
		next := until
		idle := true
		for _, at := range []time.Time{f.DeliveryQueue.NextVisible(), f.RetryQueue.NextVisible(), f.nextSweep()} {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
			idle = idle && at.IsZero()
		}
		if idle || !f.Now().Before(until) {
			return
		}
		f.Sleep(max(0, next.Sub(f.Now())))
		if at := f.nextSweep(); !at.IsZero() && !at.After(f.Now()) {
			f.Sweep(ctx, t)
		}
	}
	t.Fatal("Run does not end")
}

// work makes a batch of each queue that has something visible, and reports whether there was any.
func (f *Fixture) work(ctx context.Context, t testing.TB) (worked bool) {
	for _, q := range []*Queue{f.DeliveryQueue, f.RetryQueue} {
		records := q.Receive(10)
		if len(records) == 0 {
			continue
		}
		worked = true
		answer, err := f.Deliverer.Handle(ctx, delivery.Batch{Records: records})
		if err != nil {
			t.Fatal("Handle errored:", err)
		}
		q.Answered(records, answer)
	}
	return worked
}

// Sweep runs the Sweeper once.
func (f *Fixture) Sweep(ctx context.Context, t testing.TB) {
	t.Helper()
	f.swept = f.Now().Truncate(time.Minute)
	if err := f.Sweeper.Handle(ctx); err != nil {
		t.Log("sweep:", err)
	}
}

// nextSweep returns the first minute from now on at which a sweep finds something, the zero time if nothing waits.
func (f *Fixture) nextSweep() time.Time {
	wake := f.Log.NextWake()
	if wake.IsZero() {
		return wake
	}
	from := wake.Add(-time.Minute)
	if after := f.swept.Add(time.Minute); from.Before(after) {
		from = after
	}
	if from.Before(f.Now()) {
		from = f.Now()
	}
	return from.Add(time.Minute - time.Nanosecond).Truncate(time.Minute)
}
