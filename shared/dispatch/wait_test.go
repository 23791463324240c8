package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

// retryMessage is a record as DispatchRetryQueue hands it over.
func retryMessage(id string, receives int, body json.RawMessage) json.RawMessage {
	data, err := json.Marshal(map[string]any{
		"messageId": id, "receiptHandle": "receipt " + id, "body": string(body), "eventSource": "aws:sqs",
		"attributes":     map[string]string{"ApproximateReceiveCount": fmt.Sprint(receives), "SentTimestamp": "1773500967123"},
		"eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:docuhook-DispatchRetryQueue-1A2B3C4D5E6F",
	})
	if err != nil {
		panic(err)
	}
	return data
}

func TestWaitingRecordIsDispatched(t *testing.T) {
	configs := map[string][]webhook.Config{"org": {everything(1)}}
	fromStream, fromQueue := newFixture(configs, nil), newFixture(configs, nil)
	handle(t, fromStream, changed(1))
	if got := handle(t, fromQueue, retryMessage("m1", 1, changed(1))); got != accepted {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff(fromStream.sent, fromQueue.sent); diff != "" || len(fromQueue.sent) != 1 {
		t.Errorf("the messages differ: %s", diff)
	}
	if diff := cmp.Diff(fromStream.events, fromQueue.events); diff != "" {
		t.Errorf("the events differ: %s", diff)
	}
}

func TestWait(t *testing.T) {
	const kept = `{"batchItemFailures":[{"itemIdentifier":"m1"}]}`
	days := func(n int) func() time.Time { // after the record
		return func() time.Time { return time.Unix(1773500966, 0).Add(time.Duration(n) * 24 * time.Hour) }
	}
	copied := "org 15m0s " + string(changed(1))
	for name, test := range map[string]struct {
		receives int
		change   func(*fixture)
		want     string
		visible  []string
		copies   []string
	}{
		"after the first receive for half a minute":  {receives: 1, want: kept, visible: []string{"m1 receipt m1 30s"}},
		"after the second one for two minutes":       {receives: 2, want: kept, visible: []string{"m1 receipt m1 2m0s"}},
		"after the third one a copy takes its place": {receives: 3, want: accepted, copies: []string{copied}},
		"after later ones as long as the queue says": {receives: 4, want: kept},
		"a receive count of zero is the first":       {receives: 0, want: kept, visible: []string{"m1 receipt m1 30s"}},
		"a copy that cannot be sent leaves the message": {
			receives: 3, change: func(f *fixture) { f.waiting.err = errors.New("away") }, want: kept,
		},
		"a visibility that cannot be changed loses nothing": {
			receives: 1,
			change:   func(f *fixture) { f.waiting.err = errors.New("away") },
			want:     kept,
			visible:  []string{"m1 receipt m1 30s"},
		},
		"for four days":          {receives: 3, change: func(f *fixture) { f.Now = days(4) }, want: accepted, copies: []string{copied}},
		"for not more than that": {receives: 3, change: func(f *fixture) { f.Now = days(5) }, want: kept},
		"also while its event cannot be written": {
			receives: 1, want: kept, visible: []string{"m1 receipt m1 30s"},
			change: func(f *fixture) {
				f.away, f.write = nil, func(webhook.EventRecord) error { return errors.New("throttled") }
			},
		},
		"also while a queue is away": {
			receives: 3, want: accepted, copies: []string{copied},
			change: func(f *fixture) { f.away, f.refuse = nil, func(webhook.Message) error { return errors.New("away") } },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
			f.away = map[string]bool{"org": true}
			if test.change != nil {
				test.change(f)
			}
			if got := handle(t, f, retryMessage("m1", test.receives, changed(1))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if diff := cmp.Diff(test.visible, f.waiting.visible); diff != "" {
				t.Errorf("visible again: %s", diff)
			}
			if diff := cmp.Diff(test.copies, f.waiting.copies); diff != "" {
				t.Errorf("copies: %s", diff)
			}
			if len(f.waiting.records) > 0 {
				t.Error("a record that waits already is set aside again")
			}
		})
	}
}

func TestWaitAlone(t *testing.T) {
	f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
	f.away = map[string]bool{"away": true, "gone": true}
	got := handle(t, f,
		retryMessage("m1", 1, changeOf("away", 1)),
		retryMessage("m2", 1, changed(2)),
		retryMessage("m3", 2, changeOf("gone", 3)),
	)
	if got != `{"batchItemFailures":[{"itemIdentifier":"m1"},{"itemIdentifier":"m3"}]}` || len(f.sent) != 1 {
		t.Errorf("%d messages sent, got %s", len(f.sent), got)
	}
	if diff := cmp.Diff([]string{"m1 receipt m1 30s", "m3 receipt m3 2m0s"}, f.waiting.visible); diff != "" {
		t.Error(diff)
	}
	if f.metrics.of[metricRetried] != 0 || f.metrics.of[metricHeld] != 2 {
		t.Errorf("counted %v", f.metrics.of)
	}
}

func TestWaitingRecordThatCanNeverWork(t *testing.T) {
	f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
	removed := changed(2, "MODIFY", "REMOVE")
	got := handle(t, f, retryMessage("m1", 1, json.RawMessage(`hello`)), retryMessage("m2", 1, removed), retryMessage("m3", 1, changed(3)))
	if got != `{"batchItemFailures":[{"itemIdentifier":"m1"}]}` {
		t.Errorf("got %s; what nobody understands goes to the dead-letter queue, and what is no change is done", got)
	}
	if len(f.sent) != 1 || f.waiting.visible != nil || f.metrics.of[metricUnroutable] != 1 {
		t.Errorf("%d messages, visible %v, counted %v", len(f.sent), f.waiting.visible, f.metrics.of)
	}
}

// A document may have 400 KB, so that no message holds its record.
func TestLargeRecordWaitsWithoutItsText(t *testing.T) {
	text := `"text":{"S":"` + strings.Repeat("x", 400<<10) + `"},`
	large := changed(1,
		`"NewImage":{`, `"NewImage":{`+text, `"OldImage":{`, `"OldImage":{`+text,
		`"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"}`, `"updated_at":{"S":"2026-03-14T15:09:26.535+01:00"},"more":{"L":[]}`)
	f := newFixture(nil, nil)
	f.away = map[string]bool{"org": true}
	handle(t, f, large)
	if len(f.waiting.records) != 1 || len(f.waiting.records[0].Body) > 1024 {
		t.Fatalf("%d records wait", len(f.waiting.records))
	}
	back, err := parse(json.RawMessage(f.waiting.records[0].Body))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(eventOf(1), back.event); diff != "" || back.organizationID != "org" {
		t.Errorf("it comes back as another change: %s", diff)
	}
	t.Run("also that of a document that had no status", func(t *testing.T) {
		f := newFixture(nil, nil)
		f.away = map[string]bool{"org": true}
		handle(t, f, changed(1, `"NewImage":{`, `"NewImage":{`+text, `,"status":{"S":"processing"}`, ""))
		if _, err := parse(json.RawMessage(f.waiting.records[0].Body)); err != nil {
			t.Error(err)
		}
	})
}

// While one organization cannot be read, not every batch waits to find that out again.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(map[string][]webhook.Config{"org": {everything(1)}, "hanging": {everything(2)}}, nil)
		f.Now = time.Now
		hanging := true
		f.delay = func(ctx context.Context, id string) error {
			if id == "hanging" && hanging {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		begin := time.Now()
		expect := func(what string, took time.Duration, held, sent int) {
			t.Helper()
			if got := time.Since(begin); got != took || len(f.waiting.records) != held || len(f.sent) != sent {
				t.Errorf("%s: took %s, want %s; %d records held up, want %d; %d messages sent, want %d",
					what, got, took, len(f.waiting.records), held, len(f.sent), sent)
			}
			begin = time.Now()
		}
		both := []json.RawMessage{changeOf("hanging", 1), changed(2)}
		handle(t, f, both...)
		expect("the first batch finds it out", readTimeout, 1, 1)
		handle(t, f, both...)
		expect("the next one does not wait", 0, 2, 2)
		if got := handle(t, f, changeOf("hanging", 3)); got != accepted {
			t.Errorf("got %s", got)
		}
		expect("nor does one of that organization alone", 0, 3, 2)
		handle(t, f, retryMessage("m1", 1, changeOf("hanging", 1)))
		expect("what waits in the queue is tried", readTimeout, 3, 2)
		time.Sleep(holdFor)
		begin = time.Now()
		handle(t, f, both...)
		expect("after a while it is tried again", readTimeout, 4, 3)
		hanging = false
		handle(t, f, retryMessage("m1", 2, changeOf("hanging", 1)))
		expect("what waits in the queue is sent", 0, 4, 4)
		handle(t, f, both...)
		expect("and then everything is", 0, 4, 6)
	})
}

// After an outage of DynamoDB, in which nothing was set aside, the stream goes on at once.
func TestHoldIsNotForAnOutage(t *testing.T) {
	two := map[string][]webhook.Config{"org": {everything(1)}, "other": {everything(2)}}
	f := newFixture(two, nil)
	f.away = map[string]bool{"org": true, "other": true}
	if got := handle(t, f, changed(1), changeOf("other", 2)); got != failures(1, 2) {
		t.Errorf("got %s", got)
	}
	f.away = nil
	if got := handle(t, f, changed(1), changeOf("other", 2)); got != accepted || len(f.sent) != 2 {
		t.Errorf("got %s, %d messages sent", got, len(f.sent))
	}
}
