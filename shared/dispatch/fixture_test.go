package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

type configsFunc func(ctx context.Context, organizationID string) ([]webhook.Config, []string, error)

func (f configsFunc) Active(ctx context.Context, organizationID string) ([]webhook.Config, []string, error) {
	return f(ctx, organizationID)
}

type eventsFunc func([]webhook.EventRecord) []error

func (f eventsFunc) Add(_ context.Context, records []webhook.EventRecord) []error { return f(records) }

type queueFunc func([]webhook.Message) []error

func (f queueFunc) Send(_ context.Context, messages []webhook.Message) []error { return f(messages) }

// waitingQueue is DispatchRetryQueue. It refuses everything if it has an error.
type waitingQueue struct {
	err     error
	records []webhook.HeldRecord
	copies  []string // delay and body
	visible []string // message id, receipt handle and due time
}

func (q *waitingQueue) SendRecords(_ context.Context, records []webhook.HeldRecord) []error {
	if q.err != nil {
		return slices.Repeat([]error{q.err}, len(records))
	}
	q.records = append(q.records, records...)
	return nil
}

func (q *waitingQueue) SendRecordOnce(_ context.Context, record webhook.HeldRecord, delay time.Duration) error {
	if q.err == nil {
		q.copies = append(q.copies, fmt.Sprintf("%s %s %s", record.OrganizationID, delay, record.Body))
	}
	return q.err
}

func (q *waitingQueue) ChangeVisibility(_ context.Context, changes []webhook.Visibility) error {
	for _, c := range changes {
		q.visible = append(q.visible, fmt.Sprintf("%s %s %s", c.MessageID, c.ReceiptHandle, c.Due.Sub(fixedNow())))
	}
	return q.err
}

type counts struct {
	mu sync.Mutex
	of map[string]int
}

func (c *counts) Add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[name] += n
}
func (c *counts) Flush() { c.Add("flushed", 1) }

// fixture is a dispatcher whose surroundings remember what they were asked for. What the functions answer is up to
// the test; those that are nil answer that all is well.
type fixture struct {
	Dispatcher
	configs map[string][]webhook.Config                // by organization
	broken  map[string][]string                        // ids, by organization
	away    map[string]bool                            // organizations whose configs cannot be read
	write   func(webhook.EventRecord) error            // of Events
	refuse  func(webhook.Message) error                // of DeliveryQueue and RetryQueue
	delay   func(ctx context.Context, id string) error // of reading an organization

	mu      sync.Mutex
	reads   []string // organizations
	did     []string // what was written and sent, in order
	events  []webhook.EventRecord
	sent    []webhook.Message // to either queue
	fast    []string          // configs whose messages went to DeliveryQueue
	waiting waitingQueue
	metrics *counts
	log     strings.Builder
}

// fixedNow is an hour after the records.
func fixedNow() time.Time { return time.Date(2026, 3, 14, 16, 9, 26, 123_000_000, time.UTC) }

func newFixture(configs map[string][]webhook.Config, refuse func(webhook.Message) error) *fixture {
	f := &fixture{configs: configs, refuse: refuse, metrics: &counts{of: map[string]int{}}}
	f.Dispatcher = Dispatcher{
		Configs: configsFunc(func(ctx context.Context, id string) ([]webhook.Config, []string, error) {
			f.mu.Lock()
			f.reads = append(f.reads, id)
			f.mu.Unlock()
			if f.delay != nil {
				if err := f.delay(ctx, id); err != nil {
					return nil, nil, err
				}
			}
			if f.away[id] {
				return nil, nil, errors.New("throttled")
			}
			return f.configs[id], f.broken[id], nil
		}),
		Events: eventsFunc(func(records []webhook.EventRecord) []error {
			f.mu.Lock()
			defer f.mu.Unlock()
			errs := make([]error, len(records))
			for i, r := range records {
				if f.write != nil {
					errs[i] = f.write(r)
				}
				if errs[i] == nil {
					f.events = append(f.events, r)
					f.did = append(f.did, "event "+r.OrganizationID)
				}
			}
			return errs
		}),
		DeliveryQueue:      f.queue(true),
		RetryQueue:         f.queue(false),
		DispatchRetryQueue: &f.waiting,
		Metrics:            f.metrics,
		Log:                slog.New(slog.NewJSONHandler(&f.log, nil)),
		Now:                fixedNow,
	}
	return f
}

func (f *fixture) queue(fast bool) Queue {
	return queueFunc(func(messages []webhook.Message) []error {
		f.mu.Lock()
		defer f.mu.Unlock()
		errs := make([]error, len(messages))
		for i, m := range messages {
			if f.refuse != nil {
				errs[i] = f.refuse(m)
			}
			f.sent = append(f.sent, m)
			f.did = append(f.did, "message "+m.OrganizationID)
			if fast {
				f.fast = append(f.fast, m.ConfigID)
			}
		}
		return errs
	})
}

// idOf is the id of the config with a number.
func idOf(n int) string { return fmt.Sprintf("019ce1a0-0000-7000-8000-%012x", n) }

func config(n int, statuses ...webhook.Status) webhook.Config {
	return webhook.Config{OrganizationID: "org", ID: idOf(n), Active: true, SubscribedStatuses: statuses}
}

// everything subscribes to all statuses.
func everything(n int) webhook.Config { return config(n, webhook.Statuses()...) }

// changed is a sound MODIFY from processing to processed, with edits: pairs of what is there and
// what is there instead.
func changed(sequence int, edits ...string) json.RawMessage {
	record := fmt.Sprintf(`{
		"eventID":"e%d","eventName":"MODIFY","eventVersion":"1.1",
		"eventSource":"aws:dynamodb","eventSourceARN":"arn:x","awsRegion":"eu-central-1",
		"dynamodb":{
			"ApproximateCreationDateTime":1773500966,
			"Keys":{"id":{"S":"doc"}},
			"NewImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processed"},`+
		`"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}},
			"OldImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processing"}},
			"SequenceNumber":"%d","SizeBytes":99,"StreamViewType":"NEW_AND_OLD_IMAGES"
		}
	}`, sequence, sequence)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(record, edits[i]) {
			panic("nothing to edit: " + edits[i])
		}
		record = strings.Replace(record, edits[i], edits[i+1], 1)
	}
	return json.RawMessage(record)
}

func handle(t *testing.T, f *fixture, records ...json.RawMessage) string {
	t.Helper()
	answer, err := f.Handle(t.Context(), Batch{Records: records})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const accepted = `{"batchItemFailures":[]}`

func failures(sequences ...int) string {
	var items []string
	for _, n := range sequences {
		items = append(items, fmt.Sprintf(`{"itemIdentifier":"%d"}`, n))
	}
	return `{"batchItemFailures":[` + strings.Join(items, ",") + `]}`
}

// eventOf returns the event of changed(sequence).
func eventOf(sequence int) webhook.Event {
	c, err := parse(changed(sequence))
	if err != nil {
		panic(err)
	}
	return c.event
}

// changeOf is changed for a document of another organization.
func changeOf(organization string, n int) json.RawMessage {
	return changed(n, `{"S":"org"},"status":{"S":"processed"}`, `{"S":"`+organization+`"},"status":{"S":"processed"}`)
}
