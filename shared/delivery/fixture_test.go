package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	organization = "org_1"
	configID     = "01890a5d-ac96-774b-bcce-b302099a8057"
)

var (
	current = signature.Credentials{
		Token:  "whtok_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		Secret: "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
	}
	previous = signature.Credentials{
		Token:  "whtok_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
)

// Three requests for the same event, each later than the one before. The clock of a test in a
// synctest bubble starts at midnight of 2000-01-01, UTC.
var (
	t1 = webhook.At(time.Date(1999, 12, 31, 20, 0, 0, 0, time.UTC))
	t2 = webhook.At(time.Date(1999, 12, 31, 22, 0, 0, 0, time.UTC))
	t3 = webhook.At(time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC))
)

func event(n int) webhook.Event {
	return webhook.Event{
		Version: 1, ID: webhook.NewEventID(t1.Time, fmt.Sprint("event", n)), DocumentID: "doc_1",
		Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: t1,
	}
}

func message(requestedAt webhook.Time) webhook.Message {
	return webhook.Message{
		OrganizationID: organization, ConfigID: configID, Event: event(1), RequestedAt: requestedAt, Trigger: webhook.StatusChange,
	}
}

// record is how SQS hands over a message.
func record(id string, receives int, m webhook.Message) Record {
	body, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	r := Record{MessageID: id, ReceiptHandle: "receipt " + id, Body: string(body)}
	r.Attributes.ApproximateReceiveCount = strconv.Itoa(receives)
	return r
}

// logged is a delivery as the log holds it.
func logged(status webhook.DeliveryStatus, round string, attempts int, done webhook.Time) *webhook.Delivery {
	d := &webhook.Delivery{
		OrganizationID: organization, ConfigID: configID, Event: event(1), Status: status, Trigger: webhook.StatusChange,
		Round: round, RoundAttempts: attempts, RequestedAt: t1, DoneFor: done, Revision: attempts,
	}
	if status == webhook.DeliveryFailed {
		d.RoundOverBy = round
	}
	for n := range attempts {
		d.Attempts = append(d.Attempts, webhook.Attempt{Number: n + 1, StartedAt: t1, ErrorCode: endpoint.CodeTimeout})
	}
	return d
}

type fakeStore struct {
	load   func(context.Context, []Key) (map[Key]Loaded, error)
	record func(context.Context, []Entry) []error
}

func (s *fakeStore) Load(ctx context.Context, keys []Key) (map[Key]Loaded, error) {
	return s.load(ctx, keys)
}
func (s *fakeStore) Record(ctx context.Context, entries []Entry) []error {
	return s.record(ctx, entries)
}

type fakeHealth struct {
	deactivate func(*webhook.Config, string) error
	count      func() (int, time.Time, error)
	reset      func() error
}

func (h *fakeHealth) Deactivate(_ context.Context, c *webhook.Config, reason string, _ time.Time) error {
	return h.deactivate(c, reason)
}
func (h *fakeHealth) CountFailure(context.Context, *webhook.Config, time.Time) (int, time.Time, error) {
	return h.count()
}
func (h *fakeHealth) ResetFailures(context.Context, *webhook.Config) error { return h.reset() }

type fakeQueue struct {
	change  func([]Visibility) error
	putBack func(webhook.Message, time.Duration) error
}

func (q *fakeQueue) ChangeVisibility(_ context.Context, changes []Visibility) error {
	return q.change(changes)
}
func (q *fakeQueue) PutBack(_ context.Context, m webhook.Message, delay time.Duration) error {
	return q.putBack(m, delay)
}

type fakePoster struct {
	post   func(context.Context, endpoint.Request) endpoint.Result
	rested func()
}

func (p *fakePoster) Post(ctx context.Context, r endpoint.Request) endpoint.Result {
	return p.post(ctx, r)
}
func (p *fakePoster) Rested() { p.rested() }

type fakeCredentials struct {
	open func(ctx context.Context, sealed string) (signature.Credentials, error)
}

func (c *fakeCredentials) Open(ctx context.Context, sealed, _, _ string) (signature.Credentials, error) {
	return c.open(ctx, sealed)
}

type fakeMetrics struct {
	mu     sync.Mutex
	counts map[string]int
}

func (m *fakeMetrics) Add(name string, n int) { m.AddBy("", "", name, n) }
func (m *fakeMetrics) AddBy(_, value, name string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[strings.TrimSpace(name+" "+value)] += n
}
func (m *fakeMetrics) Observe(name string, _ time.Duration) { m.Add(name, 1) }
func (m *fakeMetrics) Flush()                               { m.Add("flushed", 1) }

// fixture is a Deliverer with everything around it in memory, and what it did to that.
type fixture struct {
	*Deliverer
	store       *fakeStore
	health      *fakeHealth
	queue       *fakeQueue
	poster      *fakePoster
	credentials *fakeCredentials
	metrics     *fakeMetrics
	log         *memoryLog
	lines       *bytes.Buffer
	config      *webhook.Config // nil for none

	mu      sync.Mutex
	results []endpoint.Result // of the attempts to come; success when they have run out
	did     did
}

// did is what a batch has done, in words.
type did struct {
	Posts     []string          // event and attempt
	Kept      []string          // messages reported
	Visible   map[string]string // messages whose visibility was changed, and in how long
	PutBack   []string          // rounds, and in how long
	Health    []string
	Delivered string // the log of event 1
}

var success = endpoint.Result{Status: 200}

func failure(status int) endpoint.Result {
	return endpoint.Result{Status: status, Code: endpoint.CodeHTTPStatus, Error: fmt.Sprint("the endpoint answered ", status)}
}

// newFixture returns a fixture whose endpoint accepts everything. Call it within a synctest bubble.
func newFixture() *fixture {
	f := &fixture{
		log: &memoryLog{items: map[Key]webhook.Delivery{}}, lines: &bytes.Buffer{}, metrics: &fakeMetrics{counts: map[string]int{}},
		config: &webhook.Config{OrganizationID: organization, ID: configID, URL: "https://endpoint.example/hook", Active: true, Version: 3, Sealed: "sealed current"},
		did:    did{Visible: map[string]string{}},
	}
	f.store = &fakeStore{
		load: func(_ context.Context, keys []Key) (map[Key]Loaded, error) {
			loaded := map[Key]Loaded{}
			for _, k := range keys {
				loaded[k] = Loaded{f.config, f.log.get(k)}
			}
			return loaded, nil
		},
		record: func(_ context.Context, entries []Entry) []error { return f.log.Record(entries) },
	}
	f.health = &fakeHealth{
		deactivate: func(c *webhook.Config, reason string) error {
			f.note(&f.did.Health, "deactivate "+reason)
			c.Active = false
			return nil
		},
		count: func() (int, time.Time, error) {
			f.note(&f.did.Health, "count")
			return 1, time.Now(), nil
		},
		reset: func() error { f.note(&f.did.Health, "reset"); return nil },
	}
	f.queue = &fakeQueue{
		change: func(changes []Visibility) error {
			for _, c := range changes {
				if c.ReceiptHandle != "receipt "+c.MessageID {
					return fmt.Errorf("%q is not the receipt handle of %s", c.ReceiptHandle, c.MessageID)
				}
				f.did.Visible[c.MessageID] = time.Until(c.Due).String()
			}
			return nil
		},
		putBack: func(m webhook.Message, delay time.Duration) error {
			f.note(&f.did.PutBack, fmt.Sprintf("%s in %v", m.Round, delay))
			return nil
		},
	}
	f.poster = &fakePoster{
		post: func(_ context.Context, r endpoint.Request) endpoint.Result {
			f.note(&f.did.Posts, fmt.Sprintf("%s #%d", name(r.EventID), r.Attempt))
			return f.next()
		},
		rested: func() {},
	}
	f.credentials = &fakeCredentials{open: func(_ context.Context, sealed string) (signature.Credentials, error) {
		return map[string]signature.Credentials{"sealed current": current, "sealed previous": previous}[sealed], nil
	}}
	f.Deliverer = &Deliverer{
		Store: f.store, Health: f.health, Queue: f.queue, Credentials: f.credentials, Poster: f.poster,
		Schedule:         Schedule{10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute},
		FailureThreshold: 20, Metrics: f.metrics, Log: slog.New(slog.NewJSONHandler(f.lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: time.Now, MachineNow: time.Now, Random: func() float64 { return 0.5 }, // no jitter
	}
	return f
}

// name returns the name of a test event.
func name(eventID string) string {
	for n := range 20 {
		if event(n).ID == eventID {
			return fmt.Sprint("event", n)
		}
	}
	return eventID
}

func (f *fixture) note(list *[]string, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*list = append(*list, what)
}

func (f *fixture) next() endpoint.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	result := success
	if len(f.results) > 0 {
		result, f.results = f.results[0], f.results[1:]
	}
	result.StartedAt = time.Now()
	return result
}

// handle runs a batch and returns what it did.
func (f *fixture) handle(ctx context.Context, t *testing.T, records ...Record) did {
	t.Helper()
	answer, err := f.Handle(ctx, Batch{Records: records})
	if err != nil {
		t.Fatal("Handle errored:", err)
	}
	for _, failure := range answer.BatchItemFailures {
		f.did.Kept = append(f.did.Kept, failure.ItemIdentifier)
	}
	slices.Sort(f.did.Posts)
	f.did.Delivered = describe(f.log.get(Key{organization, configID, event(1).ID}))
	if len(f.did.Visible) == 0 {
		f.did.Visible = nil
	}
	return f.did
}

// describe says what the log holds of a delivery.
func describe(d *webhook.Delivery) string {
	if d == nil {
		return ""
	}
	words := fmt.Sprintf("%s %s/%d", d.Status, d.Round, d.RoundAttempts)
	if d.RoundOver() {
		words += " over"
	}
	if !d.DoneFor.IsZero() {
		words += map[webhook.Time]string{t1: " done for t1", t2: " done for t2", t3: " done for t3"}[d.DoneFor]
	}
	return fmt.Sprintf("%s, %d attempts", words, len(d.Attempts))
}

// memoryLog keeps deliveries as the table does: an entry is applied to what is there, whatever its
// writer has read.
type memoryLog struct {
	mu    sync.Mutex
	items map[Key]webhook.Delivery
}

func (l *memoryLog) get(k Key) *webhook.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.items[k]
	if !ok {
		return nil
	}
	d.Attempts = slices.Clone(d.Attempts)
	return &d
}

func (l *memoryLog) set(d *webhook.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items[Key{d.OrganizationID, d.ConfigID, d.Event.ID}] = *d
}

func (l *memoryLog) Record(entries []Entry) []error {
	for _, e := range entries {
		key := Key{e.Message.OrganizationID, e.Message.ConfigID, e.Message.Event.ID}
		after := e.Apply(l.get(key))
		l.set(&after)
	}
	return nil
}
