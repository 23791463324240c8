package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

type configsFunc func(organizationID string) ([]webhook.Config, error)

func (f configsFunc) ListActive(_ context.Context, organizationID string) ([]webhook.Config, error) {
	return f(organizationID)
}

type queueFunc func(messages []webhook.Message) []error

func (f queueFunc) Send(_ context.Context, messages []webhook.Message) []error { return f(messages) }

type counts map[string]int

func (c counts) Add(name string, n int) { c[name] += n }
func (c counts) Flush()                 { c["flushed"]++ }

// fixture is a dispatcher whose surroundings remember what they were asked for.
type fixture struct {
	Dispatcher
	reads   []string // organizations, in order
	sent    []webhook.Message
	metrics counts
	log     strings.Builder
}

// newFixture returns a dispatcher for configs by organization and a queue that answers with refuse,
// or accepts everything if that is nil.
func newFixture(configs map[string][]webhook.Config, refuse func(webhook.Message) error) *fixture {
	f := &fixture{metrics: counts{}}
	f.Dispatcher = Dispatcher{
		Configs: configsFunc(func(organizationID string) ([]webhook.Config, error) {
			f.reads = append(f.reads, organizationID)
			if organizationID == "unreadable" {
				return nil, errors.New("DynamoDB is away")
			}
			return configs[organizationID], nil
		}),
		Queue: queueFunc(func(messages []webhook.Message) []error {
			f.sent = append(f.sent, messages...)
			errs := make([]error, len(messages))
			for i, m := range messages {
				if refuse != nil {
					errs[i] = refuse(m)
				}
			}
			if errors.Join(errs...) == nil {
				return nil
			}
			return errs
		}),
		Metrics: f.metrics,
		Log:     slog.New(slog.NewJSONHandler(&f.log, nil)),
	}
	return f
}

func config(id string, statuses ...webhook.Status) webhook.Config {
	return webhook.Config{OrganizationID: "org", ID: id, Active: true, SubscribedStatuses: statuses}
}

// everything subscribes to all statuses.
func everything(id string) webhook.Config { return config(id, webhook.Statuses()...) }

// changed is a sound MODIFY from processing to processed, with edits: pairs of what is there and
// what is there instead.
func changed(sequence int, edits ...string) json.RawMessage {
	record := fmt.Sprintf(`{"eventID":"e%d","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-central-1",
		"dynamodb":{"ApproximateCreationDateTime":1773500966,"Keys":{"id":{"S":"doc"}},
		"NewImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processed"},"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}},
		"OldImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processing"}},
		"SequenceNumber":"%d","SizeBytes":99,"StreamViewType":"NEW_AND_OLD_IMAGES"},"eventSourceARN":"arn:x"}`, sequence, sequence)
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
	answer, err := f.Handle(t.Context(), Batch{records})
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

const oldStatus = `"OldImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processing"}},`

func TestHandleRecord(t *testing.T) {
	const (
		newImage = `"NewImage":{"id":{"S":"doc"},"organization_id":{"S":"org"},"status":{"S":"processed"},"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}},`
		sentOne  = "processed from processing at 2026-03-14T14:09:26.535Z"
		sentNew  = "processed from  at 2026-03-14T14:09:26.535Z"
		created  = "2026-03-14T15:09:26.000Z" // of the record
	)
	long := strings.Repeat("x", 257)
	for name, test := range map[string]struct {
		record json.RawMessage
		want   string // the event, "" for none
		reason string // of being passed over, "" if it is not
	}{
		"a change of the status is sent":                {changed(1), sentOne, ""},
		"a new document is sent":                        {changed(1, "MODIFY", "INSERT", oldStatus, ""), sentNew, ""},
		"a new document without status is no":           {changed(1, "MODIFY", "INSERT", oldStatus, "", `"status":{"S":"processed"},`, ""), "", ""},
		"a document that gets its first status is sent": {changed(1, `,"status":{"S":"processing"}`, ""), sentNew, ""},
		"a removed document is no change":               {changed(1, "MODIFY", "REMOVE", newImage, ""), "", ""},
		"a document that time to live removed is no change": {
			changed(1, "MODIFY", "REMOVE", newImage, "", `"eventSourceARN"`, `"userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"eventSourceARN"`), "", "",
		},
		"the same status is no change":                {changed(1, `{"S":"processing"}`, `{"S":"processed"}`), "", ""},
		"a removed status is unknown":                 {changed(1, `"status":{"S":"processed"},`, ""), "", "unknown status"},
		"an unknown status is passed over":            {changed(1, `{"S":"processed"}`, `{"S":"archived"}`), "", `unknown status \"archived\"`},
		"a status in capitals is unknown":             {changed(1, `{"S":"processed"}`, `{"S":"PROCESSED"}`), "", "unknown status"},
		"a status that is a number is unknown":        {changed(1, `{"S":"processed"}`, `{"N":"3"}`), "", "unknown status"},
		"an unknown previous status is left out":      {changed(1, `{"S":"processing"}`, `{"S":"archived"}`), sentNew, ""},
		"a previous status of another type is none":   {changed(1, `{"S":"processing"}`, `{"N":"3"}`), sentNew, ""},
		"no old image is passed over":                 {changed(1, oldStatus, ""), "", "NEW_AND_OLD_IMAGES"},
		"no organization is passed over":              {changed(1, `"organization_id":{"S":"org"},"status":{"S":"processed"}`, `"status":{"S":"processed"}`), "", "no organization_id"},
		"an organization that is a number is none":    {changed(1, `{"S":"org"},"status":{"S":"processed"}`, `{"N":"7"},"status":{"S":"processed"}`), "", "no organization_id"},
		"an organization that is a null is none":      {changed(1, `{"S":"org"},"status":{"S":"processed"}`, `{"NULL":true},"status":{"S":"processed"}`), "", "no organization_id"},
		"an organization that no key can hold":        {changed(1, `{"S":"org"},"status":{"S":"processed"}`, `{"S":"`+strings.Repeat("o", 1792)+`"},"status":{"S":"processed"}`), "", "organization_id of 1792 bytes"},
		"a document id of 257 bytes is passed over":   {changed(1, `{"S":"doc"}`, `{"S":"`+long+`"}`), "", "document id of 257 bytes"},
		"a document id of 256 bytes is sent":          {changed(1, `{"S":"doc"}`, `{"S":"`+long[1:]+`"}`), sentOne, ""},
		"a document id that is a number is none":      {changed(1, `"Keys":{"id":{"S":"doc"}}`, `"Keys":{"id":{"N":"1"}}`), "", "no string attribute id"},
		"a table with another key is passed over":     {changed(1, `"Keys":{"id"`, `"Keys":{"pk"`), "", "no string attribute id"},
		"no event id is passed over":                  {changed(1, `"e1"`, `""`), "", "no event id"},
		"no sequence number is passed over":           {changed(1, `"SequenceNumber":"1"`, `"SequenceNumber":""`), "", "no event id, sequence number"},
		"no creation time is passed over":             {changed(1, `"ApproximateCreationDateTime":1773500966,`, ""), "", "creation time"},
		"a creation time in milliseconds is no":       {changed(1, "1773500966", "1773500966000"), "", "creation time"},
		"a negative creation time is none":            {changed(1, "1773500966", "-1"), "", "creation time"},
		"without updated_at the record's time counts": {changed(1, `,"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}`, ""), "processed from processing at " + created, ""},
		"a fraction of the record's time is dropped":  {changed(1, `,"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}`, "", "1773500966", "1.773500966987E9"), "processed from processing at " + created, ""},
		"an updated_at of another form is none":       {changed(1, "2026-03-14T15:09:26.535+01:00", "14 March 2026"), "processed from processing at " + created, ""},
		"an updated_at that is a number is none":      {changed(1, `{"S":"2026-03-14T15:09:26.535+01:00"}`, `{"N":"1773500966"}`), "processed from processing at " + created, ""},
		"an updated_at from long ago counts":          {changed(1, "2026-03-14T15:09:26.535+01:00", "1999-12-31T23:59:59.9999Z"), "processed from processing at 1999-12-31T23:59:59.999Z", ""},
		"an updated_at that UTC cannot write is none": {changed(1, "2026-03-14T15:09:26.535+01:00", "9999-12-31T23:59:59-10:00"), "processed from processing at " + created, ""},
		"an updated_at that is the zero time is none": {changed(1, "2026-03-14T15:09:26.535+01:00", "0001-01-01T00:00:00Z"), "processed from processing at " + created, ""},
		"an event that this stream never has":         {changed(1, `"MODIFY"`, `"UPSERT"`), "", ""},
		"an image that is no object is passed over":   {changed(1, `"Keys":{"id":{"S":"doc"}}`, `"Keys":"none"`), "", "not a stream record"},
		"an attribute that is no object is none":      {changed(1, `{"S":"org"},"status":{"S":"processed"}`, `"org","status":{"S":"processed"}`), "", "no organization_id"},
		"a record that is no object is passed over":   {json.RawMessage(`"record"`), "", "not a stream record"},
		"a null record is no change":                  {json.RawMessage(`null`), "", ""},
		"a record that is no JSON is passed over":     {json.RawMessage(`{"eventID":`), "", "not a stream record"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"org": {everything("c1")}}, nil)
			// Whatever comes of it, the records around it are sent.
			if got := handle(t, f, changed(7), test.record, changed(8)); got != accepted {
				t.Errorf("got %s; what cannot work must not hold up its shard", got)
			}
			var events []string
			for _, m := range f.sent {
				if e := m.Event; e.ID != eventOf(7).ID && e.ID != eventOf(8).ID {
					events = append(events, fmt.Sprintf("%s from %s at %s", e.Status, e.PreviousStatus, e.OccurredAt))
				}
			}
			if got := strings.Join(events, "\n"); got != test.want {
				t.Errorf("sent %q, want %q", got, test.want)
			}
			if want := 2 + len(events); len(f.sent) != want || f.metrics[metricMessages] != want {
				t.Errorf("%d messages, counted %d, want %d", len(f.sent), f.metrics[metricMessages], want)
			}
			if passed := f.metrics[metricUnroutable]; (passed == 1) != (test.reason != "") || passed > 1 {
				t.Errorf("%d records counted as passed over", passed)
			}
			if test.reason != "" && !strings.Contains(f.log.String(), test.reason) {
				t.Errorf("the log does not say %q: %s", test.reason, &f.log)
			}
			if len(f.log.String()) > 4096 {
				t.Error("the log quotes too much")
			}
		})
	}
}

// eventOf returns the event of changed(sequence).
func eventOf(sequence int) webhook.Event {
	c, err := parse(changed(sequence))
	if err != nil {
		panic(err)
	}
	return c.event
}

func TestEventIDs(t *testing.T) {
	t.Run("they are the same for ever", func(t *testing.T) {
		// Receivers recognize duplicates by them, and replay must meet what dispatch has sent.
		golden := map[string]json.RawMessage{
			"evt_01KKPEA93GHDEC9QVYXHYK59W1": changed(1),
			"evt_01KKPEA93GNG7GKG7RQXF7MJR6": changed(2),
		}
		for want, record := range golden {
			for range 2 {
				c, err := parse(record)
				if err != nil || c.event.ID != want {
					t.Errorf("got %s (%v), want %s", c.event.ID, err, want)
				}
			}
		}
	})
	t.Run("the precision of the stream's time does not matter", func(t *testing.T) {
		for _, written := range []string{"1773500966.0", "1.773500966E9", "1773500966.999"} {
			if c, err := parse(changed(1, "1773500966", written)); err != nil || c.event.ID != eventOf(1).ID {
				t.Errorf("%s: got %s, %v", written, c.event.ID, err)
			}
		}
	})
	t.Run("they sort by the records' times", func(t *testing.T) {
		earlier, err := parse(changed(9, "1773500966", "1773500965"))
		if err != nil || earlier.event.ID >= eventOf(1).ID {
			t.Errorf("%s is not before %s", earlier.event.ID, eventOf(1).ID)
		}
	})
	t.Run("nothing but the record's id and time decides them", func(t *testing.T) {
		c, err := parse(changed(1, `{"S":"processed"}`, `{"S":"failed"}`, `"SequenceNumber":"1"`, `"SequenceNumber":"5"`))
		if err != nil || c.event.ID != eventOf(1).ID {
			t.Errorf("got %s, %v", c.event.ID, err)
		}
	})
}

func TestHandleMessage(t *testing.T) {
	f := newFixture(map[string][]webhook.Config{"org": {everything("c1")}}, nil)
	handle(t, f, changed(1))
	got, err := json.Marshal(f.sent)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"v":1,"organization_id":"org","config_id":"c1","event":{"v":1,"id":"` + eventOf(1).ID + `","document_id":"doc",` +
		`"status":"processed","previous_status":"processing","occurred_at":"2026-03-14T14:09:26.535Z"},` +
		`"requested_at":"2026-03-14T15:09:26.000Z","trigger":"status_change"}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestHandleConfigs(t *testing.T) {
	processedOnly, pendingOnly := config("c1", webhook.Processed), config("c2", webhook.Pending)
	off, gone := everything("c3"), everything("c4")
	off.Active = false
	gone.DeletedAt = webhook.At(eventOf(1).OccurredAt.Time)
	f := newFixture(map[string][]webhook.Config{"org": {processedOnly, pendingOnly, off, gone, everything("c5")}, "empty": nil}, nil)
	inEmpty := func(n int) json.RawMessage {
		return changed(n, `{"S":"org"},"status":{"S":"processed"}`, `{"S":"empty"},"status":{"S":"processed"}`)
	}
	got := handle(t, f, changed(1), inEmpty(2), changed(3), inEmpty(4), changed(5))
	if got != accepted {
		t.Errorf("got %s", got)
	}
	var sent []string
	for _, m := range f.sent {
		sent = append(sent, m.ConfigID)
	}
	if diff := cmp.Diff([]string{"c1", "c5", "c1", "c5", "c1", "c5"}, sent); diff != "" {
		t.Errorf("every change goes to the subscribed active configs: %s", diff)
	}
	if diff := cmp.Diff([]string{"org", "empty"}, f.reads); diff != "" {
		t.Errorf("each organization's configs are read once: %s", diff)
	}
	if f.metrics["flushed"] != 1 {
		t.Errorf("metrics flushed %d times", f.metrics["flushed"])
	}
}

func TestHandleNothing(t *testing.T) {
	f := newFixture(nil, nil)
	f.Queue = queueFunc(func([]webhook.Message) []error { t.Error("the queue is asked to send nothing"); return nil })
	for name, records := range map[string][]json.RawMessage{
		"an empty batch":                nil,
		"changes of nobody's documents": {changed(1), changed(2)},
	} {
		if got := handle(t, f, records...); got != accepted {
			t.Errorf("%s: got %s, want an empty list, not null", name, got)
		}
	}
}

func TestHandleFailures(t *testing.T) {
	to := func(organization string, n int) json.RawMessage {
		return changed(n, `{"S":"org"},"status":{"S":"processed"}`, `{"S":"`+organization+`"},"status":{"S":"processed"}`)
	}
	refused := errors.New("refused")
	for name, test := range map[string]struct {
		refuse  func(webhook.Message) error
		records []json.RawMessage
		want    string
		sent    int // messages that the queue has accepted
	}{
		"unreadable configs report the records of their organization": {
			nil, []json.RawMessage{changed(1), to("unreadable", 2), changed(3), to("unreadable", 4)}, failures(2, 4), 4,
		},
		"a refused message reports its record": {
			func(m webhook.Message) error {
				if m.Event.ID == eventOf(2).ID && m.ConfigID == "c2" {
					return refused
				}
				return nil
			}, []json.RawMessage{changed(1), changed(2), changed(3)}, failures(2), 5,
		},
		"refused messages report each record once, in order": {
			func(m webhook.Message) error {
				if m.Event.ID != eventOf(20).ID {
					return refused
				}
				return nil
			}, []json.RawMessage{changed(10), changed(20), changed(30), changed(40)}, failures(10, 30, 40), 2,
		},
		"a queue that is away reports every record": {
			func(webhook.Message) error { return refused }, []json.RawMessage{changed(1), changed(2)}, failures(1, 2), 0,
		},
		"what was passed over and what is no change is not reported": {
			func(webhook.Message) error { return refused },
			[]json.RawMessage{changed(1), changed(2, `{"S":"processed"}`, `{"S":"archived"}`), changed(3, "MODIFY", "REMOVE")}, failures(1), 0,
		},
		"configs and queue may both fail": {
			func(webhook.Message) error { return refused }, []json.RawMessage{to("unreadable", 1), changed(2)}, failures(1, 2), 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"org": {everything("c1"), everything("c2")}}, test.refuse)
			if got := handle(t, f, test.records...); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if f.metrics[metricMessages] != test.sent {
				t.Errorf("counted %d messages, want %d", f.metrics[metricMessages], test.sent)
			}
			if want := strings.Count(test.want, "itemIdentifier"); f.metrics[metricRetried] != want {
				t.Errorf("counted %d records to retry, want %d", f.metrics[metricRetried], want)
			}
		})
	}
	t.Run("configs that cannot be read are not read again for each record", func(t *testing.T) {
		f := newFixture(nil, nil)
		handle(t, f, to("unreadable", 1), to("unreadable", 2))
		if diff := cmp.Diff([]string{"unreadable"}, f.reads); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("an error of the queue is logged, but not at any length", func(t *testing.T) {
		f := newFixture(map[string][]webhook.Config{"org": {everything("c1")}}, func(webhook.Message) error { return errors.New(strings.Repeat("x", 1<<20)) })
		handle(t, f, changed(1))
		if text := f.log.String(); !strings.Contains(text, "not accepted") || len(text) > 4096 {
			t.Errorf("the log has %d bytes", len(text))
		}
	})
	t.Run("a panic on one record is passed over", func(t *testing.T) {
		f := newFixture(nil, nil)
		if _, err := f.guarded(t.Context(), func() (change, error) { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") {
			t.Errorf("got %v", err)
		}
		if !strings.Contains(f.log.String(), "dispatch_test.go") {
			t.Error("the log does not say where")
		}
	})
}

func TestHandleOrder(t *testing.T) {
	f := newFixture(map[string][]webhook.Config{"org": {everything("c1"), everything("c2")}}, nil)
	step := func(n int, from, to webhook.Status) json.RawMessage {
		return changed(n, `{"S":"processing"}`, `{"S":"`+string(from)+`"}`, `{"S":"processed"}`, `{"S":"`+string(to)+`"}`)
	}
	handle(t, f, step(1, "", webhook.Pending), step(2, webhook.Pending, webhook.Submitted), step(3, webhook.Submitted, webhook.Processing))
	for _, id := range []string{"c1", "c2"} {
		var got []webhook.Status
		for _, m := range f.sent {
			if m.ConfigID == id {
				got = append(got, m.Event.Status)
			}
		}
		if !slices.Equal(got, webhook.Statuses()[:3]) {
			t.Errorf("%s: the changes of one document are sent as %v", id, got)
		}
	}
}

func TestHandleMany(t *testing.T) {
	var configs []webhook.Config
	for n := range 100 {
		configs = append(configs, everything(fmt.Sprint("c", n)))
	}
	calls := 0
	f := newFixture(map[string][]webhook.Config{"org": configs}, nil)
	inner := f.Queue
	f.Queue = queueFunc(func(messages []webhook.Message) []error { calls++; return inner.Send(t.Context(), messages) })
	var records []json.RawMessage
	for n := range 100 {
		records = append(records, changed(n+1))
	}
	if got := handle(t, f, records...); got != accepted {
		t.Errorf("got %s", got)
	}
	if len(f.sent) != 10_000 || calls != 1 || len(f.reads) != 1 {
		t.Errorf("%d messages in %d calls after %d reads", len(f.sent), calls, len(f.reads))
	}
}

// Whatever a record holds: it is sent, not a change, or refused; never both, and what is sent can
// be read again by the other side of the queue.
func FuzzParse(f *testing.F) {
	f.Add([]byte(changed(1)))
	f.Add([]byte(changed(1, "MODIFY", "INSERT", oldStatus, "")))
	f.Add([]byte(changed(1, "1773500966", "1e300")))
	f.Add([]byte(changed(1, "2026-03-14T15:09:26.535+01:00", "0000-01-01T00:00:00+10:00")))
	f.Add([]byte(`{"dynamodb":null}`))
	f.Add([]byte(`{"eventName":"INSERT","dynamodb":{"NewImage":{"status":{"S":"pending"}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			if c.event != (webhook.Event{}) {
				t.Errorf("refused with %v, and still an event: %+v", err, c.event)
			}
			return
		}
		body, err := json.Marshal(c.message("019ce1a0-0000-7000-8000-000000000001"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := webhook.ParseMessage(string(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if diff := cmp.Diff(c.message("019ce1a0-0000-7000-8000-000000000001"), again); diff != "" {
			t.Error(diff)
		}
		if c.sequenceNumber == "" {
			t.Error("a change that could not be reported")
		}
	})
}
