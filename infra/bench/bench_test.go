// Package bench holds the benchmarks of the hot paths: the pure code that every delivery goes through. The commands
// beside it measure the whole system, what it reads and writes, and what it costs.
package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	organizationID = "org_bench"
	configID       = "0197a1de-0000-7000-8000-000000000001"
)

func at() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }

func newEvent(n int) webhook.Event {
	return webhook.Event{
		Version: webhook.RenderVersion, ID: webhook.NewEventID(at(), fmt.Sprint(n)), DocumentID: fmt.Sprintf("doc_%d", n),
		Status: webhook.Processed, PreviousStatus: webhook.Processing, Sequence: fmt.Sprintf("%040d", n), OccurredAt: webhook.At(at()),
	}
}

func newMessage(n int) webhook.Message {
	return webhook.NewFirst(organizationID, configID, newEvent(n), webhook.At(at()), at())
}

func mint(b *testing.B) signature.Credentials {
	b.Helper()
	credentials, err := signature.NewCredentials(nil)
	if err != nil {
		b.Fatal(err)
	}
	return credentials
}

// secret is a keyring as the functions read it.
type secret []byte

func (s secret) Read(context.Context) ([]byte, error) { return s, nil }

func newSecret(b *testing.B) secret {
	b.Helper()
	data, err := json.Marshal(map[string]string{"primary": "k1", "k1": keyring.NewKey()})
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func newRing(b *testing.B) *keyring.Ring {
	b.Helper()
	ring, err := keyring.Parse(newSecret(b))
	if err != nil {
		b.Fatal(err)
	}
	return ring
}

func BenchmarkSign(b *testing.B) {
	current, previous := mint(b), mint(b)
	event := newEvent(1)
	body, err := event.Render(configID)
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name     string
		previous *signature.Credentials
	}{{"one secret", nil}, {"overlap of a rotation", &previous}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := signature.Sign(http.Header{}, event.ID, body, at(), current, bench.previous); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	credentials := mint(b)
	event := newEvent(1)
	body, err := event.Render(configID)
	if err != nil {
		b.Fatal(err)
	}
	header := http.Header{}
	if err := signature.Sign(header, event.ID, body, time.Now(), credentials, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := signature.Verify(header, body, credentials); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	ring, credentials := newRing(b), mint(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Seal(credentials, organizationID, configID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	ring := newRing(b)
	sealed, err := ring.Seal(mint(b), organizationID, configID)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Open(sealed, organizationID, configID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	event := newEvent(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Render(configID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseMessage(b *testing.B) {
	body, err := json.Marshal(newMessage(1))
	if err != nil {
		b.Fatal(err)
	}
	text := string(body)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := webhook.ParseMessage(text, at()); err != nil {
			b.Fatal(err)
		}
	}
}

type fakeConfigs []webhook.Config

func (f fakeConfigs) Active(context.Context, string) ([]webhook.Config, []string, error) {
	return f, nil, nil
}

type fakeEvents struct{}

func (fakeEvents) Add(context.Context, []webhook.EventRecord) []error { return nil }

// fakeQueue accepts everything and counts what Send is given.
type fakeQueue struct{ sent int }

func (f *fakeQueue) Send(_ context.Context, messages []webhook.Message) []error {
	f.sent += len(messages)
	return nil
}

func (*fakeQueue) SendOnce(context.Context, webhook.Message, time.Duration) error { return nil }
func (*fakeQueue) SendRecords(context.Context, []webhook.HeldRecord) []error      { return nil }
func (*fakeQueue) SendRecordOnce(context.Context, webhook.HeldRecord, time.Duration) error {
	return nil
}
func (*fakeQueue) ChangeVisibility(context.Context, []webhook.Visibility) error { return nil }
func (*fakeQueue) Is(arn string) bool                                           { return arn == "fast" }

type fakeMetrics struct{}

func (fakeMetrics) Add(string, int)                   {}
func (fakeMetrics) AddBy(string, string, string, int) {}
func (fakeMetrics) Observe(string, time.Duration)     {}
func (fakeMetrics) Flush()                            {}

// BenchmarkDispatch dispatches a full batch of stream records to an organization with three configs.
func BenchmarkDispatch(b *testing.B) {
	const records, configs = 100, 3
	active := make([]webhook.Config, configs)
	for i := range active {
		active[i] = webhook.Config{
			OrganizationID: organizationID, ID: fmt.Sprintf("0197a1de-0000-7000-8000-%012d", i), Active: true,
			SubscribedStatuses: []webhook.Status{webhook.Processed},
		}
	}
	batch := dispatch.Batch{}
	for n := range records {
		record := fmt.Sprintf(`{"eventID":"%032d","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb",`+
			`"awsRegion":"us-east-1","dynamodb":{"ApproximateCreationDateTime":1769860800,"Keys":{"id":{"S":"doc_%d"}},`+
			`"NewImage":{"id":{"S":"doc_%d"},"organization_id":{"S":"org_bench"},"status":{"S":"processed"},`+
			`"updated_at":{"S":"2026-01-31T12:00:00.000Z"},"title":{"S":"Invoice 4711"},"pages":{"N":"12"}},`+
			`"OldImage":{"id":{"S":"doc_%d"},"organization_id":{"S":"org_bench"},"status":{"S":"processing"},`+
			`"updated_at":{"S":"2026-01-31T11:59:00.000Z"},"title":{"S":"Invoice 4711"},"pages":{"N":"12"}},`+
			`"SequenceNumber":"%021d","SizeBytes":420,"StreamViewType":"NEW_AND_OLD_IMAGES"}}`, n, n, n, n, n)
		batch.Records = append(batch.Records, json.RawMessage(record))
	}
	fast, slow := &fakeQueue{}, &fakeQueue{}
	active[0].FastUntil = webhook.At(at().Add(time.Hour))
	dispatcher := &dispatch.Dispatcher{
		Configs: fakeConfigs(active), Events: fakeEvents{}, DeliveryQueue: fast, RetryQueue: slow, DispatchRetryQueue: &fakeQueue{},
		Metrics: fakeMetrics{}, Log: slog.New(slog.DiscardHandler), Now: at,
	}
	batches := 0
	b.ReportAllocs()
	for b.Loop() {
		if answer, err := dispatcher.Handle(b.Context(), batch); err != nil || len(answer.BatchItemFailures) > 0 {
			b.Fatal(answer, err)
		}
		batches++
	}
	sent := fast.sent + slow.sent
	if sent != batches*records*configs {
		b.Fatalf("%d messages sent, want %d", sent, batches*records*configs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/message")
}

// fakeStore knows one config and accepts every outcome of a first attempt.
type fakeStore struct{ config webhook.Config }

func (f fakeStore) Load(_ context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
	loaded := map[webhook.Key]webhook.Loaded{}
	for _, key := range keys {
		loaded[key] = webhook.Loaded{Config: &f.config}
	}
	return loaded, nil
}

func (f fakeStore) Record(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
	var all []webhook.Recorded
	for _, o := range outcomes {
		all = append(all, f.Start(ctx, o))
	}
	return all
}

func (fakeStore) Start(_ context.Context, o webhook.Outcome) webhook.Recorded {
	after, counts := o.Known.After(o)
	return webhook.Recorded{Delivery: &after, Counts: counts}
}

type fakeHealth struct{}

func (fakeHealth) Deactivate(context.Context, *webhook.Config, string, time.Time) (bool, error) {
	return false, nil
}
func (fakeHealth) CountFailure(_ context.Context, _ *webhook.Config, now time.Time) (int, time.Time, error) {
	return 1, now, nil
}
func (fakeHealth) ResetFailures(context.Context, *webhook.Config) error         { return nil }
func (fakeHealth) SetLane(context.Context, *webhook.Config, webhook.Lane) error { return nil }

type fakePoster struct {
	post func(r endpoint.Request) endpoint.Result
}

func (f fakePoster) Post(_ context.Context, r endpoint.Request) endpoint.Result { return f.post(r) }
func (fakePoster) Rested()                                                      {}

// BenchmarkDeliver delivers a full batch of messages to one config: reading, opening, rendering and
// signing included, but neither AWS nor the endpoint.
func BenchmarkDeliver(b *testing.B) {
	const messages = 10
	credentials := &keyring.Cache{Source: newSecret(b), Now: at}
	data, err := credentials.Seal(b.Context(), mint(b), organizationID, configID)
	if err != nil {
		b.Fatal(err)
	}
	config := webhook.Config{
		OrganizationID: organizationID, ID: configID, URL: "https://hooks.example.com/", Active: true, Sealed: data,
		FastUntil: webhook.At(at().Add(30 * 24 * time.Hour)),
	}
	batch := delivery.Batch{}
	for n := range messages {
		body, err := json.Marshal(newMessage(n))
		if err != nil {
			b.Fatal(err)
		}
		record := delivery.Record{MessageID: fmt.Sprint(n), ReceiptHandle: fmt.Sprint(n), Body: string(body), QueueARN: "fast"}
		record.Attributes.ApproximateReceiveCount = "1"
		batch.Records = append(batch.Records, record)
	}
	schedule, err := delivery.ParseSchedule("10,60,300,900")
	if err != nil {
		b.Fatal(err)
	}
	deliverer := &delivery.Deliverer{
		Store: fakeStore{config: config}, Health: fakeHealth{}, DeliveryQueue: &fakeQueue{}, RetryQueue: &fakeQueue{},
		Credentials: credentials,
		Poster: fakePoster{func(r endpoint.Request) endpoint.Result {
			if err := signature.Sign(http.Header{}, r.EventID, r.Body, at(), r.Current, r.Previous); err != nil {
				return endpoint.Result{Code: err.Error()}
			}
			return endpoint.Result{StartedAt: at(), Duration: time.Millisecond, Status: http.StatusNoContent}
		}},
		Schedule: schedule, Metrics: fakeMetrics{}, Log: slog.New(slog.DiscardHandler), Now: at, MachineNow: time.Now,
		Random: func() float64 { return 0.5 },
	}
	b.ReportAllocs()
	for b.Loop() {
		if answer, err := deliverer.Handle(b.Context(), batch); err != nil || len(answer.BatchItemFailures) > 0 {
			b.Fatal(answer, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*messages), "ns/delivery")
}
