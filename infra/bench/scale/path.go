package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	pathMessages = 10  // in one batch of deliver, each to a config of its own
	pathRecords  = 100 // in a full batch of dispatch
	fastQueue    = "arn:aws:sqs:us-east-1:000000000000:DeliveryQueue"
	retryQueue   = "arn:aws:sqs:us-east-1:000000000000:RetryQueue"
)

// path is the way of deliveries through the functions that use DynamoDB: all is as deployed but queues, endpoints,
// credentials and the clock.
type path struct {
	dispatcher *dispatch.Dispatcher
	deliverer  *delivery.Deliverer
	sweeper    *delivery.Sweeper
	fast       *mailbox
	retry      *mailbox
	clock      time.Time
	status     int // that endpoints answer with
	documents  int // changed so far
}

func newPath(configs *dynamo.Configs, deliveries *dynamo.Deliveries, events *dynamo.Events) (*path, error) {
	schedule, err := delivery.ParseSchedule("day")
	if err != nil {
		return nil, err
	}
	p := &path{fast: &mailbox{arn: fastQueue}, retry: &mailbox{arn: retryQueue}, clock: now(), status: http.StatusNoContent}
	clock, log := func() time.Time { return p.clock }, slog.New(slog.DiscardHandler)
	p.dispatcher = &dispatch.Dispatcher{
		Configs:            configs,
		Events:             events,
		DeliveryQueue:      p.fast,
		RetryQueue:         p.retry,
		DispatchRetryQueue: &mailbox{},
		Metrics:            noMetrics{},
		Log:                log,
		Now:                clock,
	}
	p.deliverer = &delivery.Deliverer{
		Store:            &dynamo.Log{Deliveries: deliveries, Configs: configs},
		Health:           configs,
		DeliveryQueue:    p.fast,
		RetryQueue:       p.retry,
		Credentials:      noCredentials{},
		Poster:           p,
		Schedule:         schedule,
		FailureThreshold: 10,
		Metrics:          noMetrics{},
		Log:              log,
		Now:              clock,
		MachineNow:       clock,
		Random:           func() float64 { return 0.5 },
	}
	p.sweeper = &delivery.Sweeper{Waiting: deliveries, RetryQueue: p.retry, Metrics: noMetrics{}, Log: log, Now: clock}
	return p, nil
}

// pathOrganization returns the id of organization number n, which has one config.
func pathOrganization(n int) string { return fmt.Sprintf("org_path_%d", n) }

// createPathConfigs creates a config for each of the organizations.
func createPathConfigs(ctx context.Context, configs *dynamo.Configs) error {
	for n := range pathMessages {
		if err := createConfigs(ctx, configs, pathOrganization(n), 10*n, 10*n+1); err != nil {
			return err
		}
	}
	return nil
}

// dispatch handles one batch of so many changes of documents of an organization.
func (p *path) dispatch(ctx context.Context, organizationID string, records int) error {
	batch := dispatch.Batch{}
	for range records {
		p.documents++
		batch.Records = append(batch.Records, json.RawMessage(fmt.Sprintf(
			`{"eventID":"%032d","eventName":"MODIFY","dynamodb":{"ApproximateCreationDateTime":%d,`+
				`"Keys":{"id":{"S":"0197a1de-0000-7000-8000-%012[1]d"}},`+
				`"NewImage":{"organization_id":{"S":%[3]q},"status":{"S":"processed"}},`+
				`"OldImage":{"organization_id":{"S":%[3]q},"status":{"S":"processing"}},`+
				`"SequenceNumber":"%021[1]d"}}`, p.documents, p.clock.Unix(), organizationID)))
	}
	answer, err := p.dispatcher.Handle(ctx, batch)
	if err == nil && len(answer.BatchItemFailures) > 0 {
		err = fmt.Errorf("%d of %d records were not dispatched", len(answer.BatchItemFailures), records)
	}
	return err
}

// dispatchOneByOne handles one change of a document for each organization, in batches of their own.
func (p *path) dispatchOneByOne(ctx context.Context) error {
	for n := range pathMessages {
		if err := p.dispatch(ctx, pathOrganization(n), 1); err != nil {
			return err
		}
	}
	return nil
}

// deliver handles what has been sent to a queue as one batch, which must be full.
func (p *path) deliver(ctx context.Context, from *mailbox) error {
	batch := delivery.Batch{}
	for n, m := range from.take() {
		p.clock = later(p.clock, m.NotBefore.Time)
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", m.Attempt, n)
		record := delivery.Record{MessageID: id, ReceiptHandle: id, Body: string(body), QueueARN: from.arn}
		record.Attributes.ApproximateReceiveCount = "1"
		batch.Records = append(batch.Records, record)
	}
	if len(batch.Records) != pathMessages {
		return fmt.Errorf("%d messages are in the queue, not %d", len(batch.Records), pathMessages)
	}
	answer, err := p.deliverer.Handle(ctx, batch)
	if err == nil && len(answer.BatchItemFailures) > 0 {
		err = fmt.Errorf("%d messages stay in the queue", len(answer.BatchItemFailures))
	}
	return err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Post implements delivery.Poster: all endpoints answer at once, with the status of the path.
func (p *path) Post(context.Context, endpoint.Request) endpoint.Result {
	result := endpoint.Result{StartedAt: p.clock, Duration: 187 * time.Millisecond, Status: p.status}
	if p.status != http.StatusNoContent {
		result.Code, result.Snippet = endpoint.CodeHTTPStatus, snippet
		result.Error = fmt.Sprintf("the endpoint answered %d", p.status)
	}
	return result
}

// Rested implements delivery.Poster.
func (*path) Rested() {}

// step is a batch of one function.
type step struct {
	name  string
	items int // deliveries or events
	run   func(ctx context.Context) error
	want  tally // for the whole batch; requests at most
}

// steps are, in this order, the way of deliveries that succeed at once and of others that do at their fifth attempt.
func (p *path) steps() []step {
	attempt := func(status int, from *mailbox) func(context.Context) error {
		return func(ctx context.Context) error {
			p.status = status
			return p.deliver(ctx, from)
		}
	}
	sweepAfter := func(wait time.Duration) func(context.Context) error {
		return func(ctx context.Context) error {
			p.clock = p.clock.Add(wait)
			return p.sweeper.Handle(ctx)
		}
	}
	const ok, unavailable = http.StatusNoContent, http.StatusServiceUnavailable
	// The configs of an organization are read once in a batch of dispatch. An event is its item and its entry by
	// document. A first failure is its item and its entries in the indexes of unsettled and of waiting deliveries.
	// Another one, and the push of a sweep, write the item and move the second entry, which is two units; a late
	// success writes the item and ends both. With three failures an item is longer than 1 KiB and counts double.
	return []step{
		{
			name:  "dispatch, a full batch of one organization",
			items: pathRecords,
			run: func(ctx context.Context) error {
				err := p.dispatch(ctx, pathOrganization(0), pathRecords)
				p.fast.take()
				return err
			},
			want: tally{requests: 5, reads: 1, writes: 2 * pathRecords},
		},
		{
			name:  "dispatch, one by one",
			items: pathMessages,
			run:   p.dispatchOneByOne,
			want:  tally{requests: 2 * pathMessages, reads: 1 * pathMessages, writes: 2 * pathMessages},
		},
		{
			name:  "deliver, all succeed",
			items: pathMessages,
			run:   attempt(ok, p.fast),
			want:  tally{requests: 2, reads: 2 * pathMessages, writes: 1 * pathMessages},
		},
		{
			name:  "sweep, nothing is due",
			items: 1,
			run:   sweepAfter(0),
			want:  tally{requests: webhook.WakeShards + 2, reads: 0.5*webhook.WakeShards + 1},
		},
		{
			name:  "dispatch, one by one",
			items: pathMessages,
			run:   p.dispatchOneByOne,
			want:  tally{requests: 2 * pathMessages, reads: 1 * pathMessages, writes: 2 * pathMessages},
		},
		{
			name:  "deliver, the first attempt fails",
			items: pathMessages,
			run:   attempt(unavailable, p.fast),
			want:  tally{requests: 2, reads: 2 * pathMessages, writes: 3 * pathMessages},
		},
		{
			name:  "deliver, the second fails",
			items: pathMessages,
			run:   attempt(unavailable, p.retry),
			want:  tally{requests: 1 + pathMessages, reads: 2 * pathMessages, writes: 3 * pathMessages},
		},
		{
			name:  "deliver, the third fails",
			items: pathMessages,
			run:   attempt(unavailable, p.retry),
			want:  tally{requests: 1 + pathMessages, reads: 2 * pathMessages, writes: 4 * pathMessages},
		},
		{
			name:  "sweep, the fourth is due",
			items: pathMessages,
			run:   sweepAfter(90 * time.Minute),
			want: tally{
				requests: webhook.WakeShards + 2 + pathMessages,
				reads:    0.5*webhook.WakeShards + 1,
				writes:   4 * pathMessages,
			},
		},
		{
			name:  "deliver, it fails",
			items: pathMessages,
			run:   attempt(unavailable, p.retry),
			want:  tally{requests: 1 + pathMessages, reads: 2 * pathMessages, writes: 4 * pathMessages},
		},
		{
			name:  "sweep, the fifth is due",
			items: pathMessages,
			run:   sweepAfter(22 * time.Hour),
			want: tally{
				requests: webhook.WakeShards + 2 + pathMessages,
				reads:    0.5*webhook.WakeShards + 1,
				writes:   4 * pathMessages,
			},
		},
		{
			name:  "deliver, it succeeds",
			items: pathMessages,
			run:   attempt(ok, p.retry),
			want:  tally{requests: 1 + pathMessages, reads: 2 * pathMessages, writes: 4 * pathMessages},
		},
	}
}

// measurePath prints what the functions ask of DynamoDB. The tables must hold no waiting deliveries yet.
func (b *bench) measurePath(ctx context.Context) error {
	if err := createPathConfigs(ctx, b.configs); err != nil {
		return err
	}
	p, err := newPath(b.configs, b.deliveries, b.events)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "items\trequests\tread units\twrite units\teach: reads\twrites\t  ")
	for _, s := range p.steps() {
		counted, used := metered(ctx)
		if err := s.run(counted); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		got := used.total()
		fmt.Fprintf(table, "%d\t%d\t%.1f\t%.1f\t%.2f\t%.2f\t  %s\n",
			s.items, got.requests, got.reads, got.writes, got.reads/float64(s.items), got.writes/float64(s.items), s.name)
		if problem := s.judge(got); problem != "" {
			b.problems = append(b.problems, problem)
		}
	}
	return table.Flush()
}

// judge returns what is wrong with what a step took. Fewer units than they should be are a meter that counts nothing.
func (s step) judge(got tally) string {
	if got.requests > s.want.requests || got.reads != s.want.reads || got.writes != s.want.writes {
		return fmt.Sprintf("%s: %d requests, %.1f read and %.1f write units, not %d, %.1f and %.1f",
			s.name, got.requests, got.reads, got.writes, s.want.requests, s.want.reads, s.want.writes)
	}
	return ""
}

// mailbox is a queue that keeps what it is sent. It is safe for concurrent use.
type mailbox struct {
	arn string

	mu       sync.Mutex
	messages []webhook.Message
}

// take empties the mailbox.
func (m *mailbox) take() []webhook.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.messages
	m.messages = nil
	return taken
}

// Send implements the queues of dispatch and sweep.
func (m *mailbox) Send(_ context.Context, messages []webhook.Message) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages = append(m.messages, messages...)
	return nil
}

// SendOnce implements delivery.Queue.
func (m *mailbox) SendOnce(ctx context.Context, message webhook.Message, _ time.Duration) error {
	m.Send(ctx, []webhook.Message{message})
	return nil
}

// Is implements delivery.Queue.
func (m *mailbox) Is(arn string) bool { return arn == m.arn }

// ChangeVisibility implements delivery.Queue and dispatch.WaitingQueue. What is kept is reported in the answer too.
func (*mailbox) ChangeVisibility(context.Context, []webhook.Visibility) error { return nil }

// SendRecords implements dispatch.WaitingQueue.
func (*mailbox) SendRecords(_ context.Context, records []webhook.HeldRecord) []error {
	errs := make([]error, len(records))
	for i, r := range records {
		errs[i] = fmt.Errorf("a record of %s was held up", r.OrganizationID) // so that the answer reports it
	}
	return errs
}

// SendRecordOnce implements dispatch.WaitingQueue.
func (*mailbox) SendRecordOnce(_ context.Context, r webhook.HeldRecord, _ time.Duration) error {
	return fmt.Errorf("a record of %s was held up", r.OrganizationID)
}

type noMetrics struct{}

func (noMetrics) Add(string, int)                   {}
func (noMetrics) AddBy(string, string, string, int) {}
func (noMetrics) Observe(string, time.Duration)     {}
func (noMetrics) Flush()                            {}

type noCredentials struct{}

func (noCredentials) Open(context.Context, string, string, string) (signature.Credentials, error) {
	return signature.Credentials{}, nil
}
