package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

func TestHandleMessage(t *testing.T) {
	f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
	handle(t, f, changed(1))
	got, err := json.Marshal(f.sent)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"v":1,"organization_id":"org","config_id":"` + idOf(1) + `",` +
		`"event":{"v":1,"id":"` + eventOf(1).ID + `","document_id":"doc",` +
		`"status":"processed","previous_status":"processing","sequence":"0000000000000000000000000000000000000001",` +
		`"occurred_at":"2026-03-14T14:09:26.535Z"},"requested_at":"2026-03-14T15:09:26.000Z","trigger":"status_change","round":"0",` +
		`"attempt":1,"not_before":"2026-03-14T16:09:26.123Z"}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestHandleSaysWhereTheDocumentCanBeFetched(t *testing.T) {
	f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
	f.DocumentURL = "https://documents.example/{document_id}/content"
	handle(t, f, changed(1, `{"S":"doc"}`, `{"S":"doc 7/8"}`))
	const want = "https://documents.example/doc%207%2F8/content"
	if len(f.sent) != 1 || f.sent[0].Event.Related != want || len(f.events) != 1 || f.events[0].Event != f.sent[0].Event {
		t.Errorf("sent %+v, recorded %+v, want %s", f.sent, f.events, want)
	}
}

func TestHandleConfigs(t *testing.T) {
	processedOnly, pendingOnly := config(1, webhook.Processed), config(2, webhook.Pending)
	off, gone := everything(3), everything(4)
	off.Active = false
	gone.DeletedAt = webhook.At(fixedNow())
	f := newFixture(map[string][]webhook.Config{"org": {processedOnly, pendingOnly, off, gone, everything(5)}, "empty": nil}, nil)
	got := handle(t, f, changed(1), changeOf("empty", 2), changed(3), changeOf("empty", 4), changed(5))
	if got != accepted {
		t.Errorf("got %s", got)
	}
	var sent []string
	for _, m := range f.sent {
		sent = append(sent, m.ConfigID)
	}
	if diff := cmp.Diff([]string{idOf(1), idOf(5), idOf(1), idOf(5), idOf(1), idOf(5)}, sent); diff != "" {
		t.Errorf("every change goes to the subscribed active configs: %s", diff)
	}
	slices.Sort(f.reads)
	if diff := cmp.Diff([]string{"empty", "org"}, f.reads); diff != "" {
		t.Errorf("each organization's configs are read once: %s", diff)
	}
	if f.metrics.of["flushed"] != 1 {
		t.Errorf("metrics flushed %d times", f.metrics.of["flushed"])
	}
}

func TestHandleEvents(t *testing.T) {
	t.Run("every change is written down with the configs that it is meant for", func(t *testing.T) {
		f := newFixture(map[string][]webhook.Config{"org": {everything(1), config(2, webhook.Pending), everything(3)}}, nil)
		handle(t, f, changed(1), changeOf("nobody", 2))
		expires := webhook.At(fixedNow().Add(webhook.Retention))
		want := []webhook.EventRecord{
			{OrganizationID: "org", Event: eventOf(1), ConfigIDs: []string{idOf(1), idOf(3)}, ExpiresAt: expires},
			{OrganizationID: "nobody", Event: eventOf(2), ExpiresAt: expires},
		}
		slices.SortFunc(f.events, func(a, b webhook.EventRecord) int { return strings.Compare(b.OrganizationID, a.OrganizationID) })
		if diff := cmp.Diff(want, f.events); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("before it is sent", func(t *testing.T) {
		f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
		handle(t, f, changed(1), changed(2))
		if diff := cmp.Diff([]string{"event org", "event org", "message org", "message org"}, f.did); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("what is not written is not sent but waits, and the others do not", func(t *testing.T) {
		f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
		f.write = func(r webhook.EventRecord) error {
			if r.Event.ID == eventOf(2).ID {
				return errors.New("throttled")
			}
			return nil
		}
		if got := handle(t, f, changed(1), changed(2), changed(3)); got != accepted {
			t.Errorf("got %s", got)
		}
		if diff := cmp.Diff([]webhook.HeldRecord{{OrganizationID: "org", Body: string(changed(2))}}, f.waiting.records); diff != "" {
			t.Error(diff)
		}
		if len(f.sent) != 2 {
			t.Errorf("%d messages sent", len(f.sent))
		}
	})
}

// A change for many configs must not take the places of other organizations: only endpoints that have lately
// answered quickly are sent to through the fast lane.
func TestHandleLanes(t *testing.T) {
	proven, slow, stale := everything(1), everything(2), everything(3)
	proven.FastUntil = webhook.At(fixedNow().Add(time.Hour))
	slow.FastUntil, slow.SlowUntil = proven.FastUntil, webhook.At(fixedNow().Add(time.Minute))
	stale.FastUntil = webhook.At(fixedNow().Add(-time.Hour))
	many := []webhook.Config{proven, slow, stale}
	for n := range 60 { // new ones, none of which has answered yet
		many = append(many, everything(100+n))
	}
	f := newFixture(map[string][]webhook.Config{"org": many, "other": {proven}}, nil)
	if got := handle(t, f, changed(1), changeOf("other", 2)); got != accepted {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff([]string{idOf(1), idOf(1)}, f.fast); diff != "" {
		t.Errorf("through the fast lane go: %s", diff)
	}
	if len(f.sent) != 64 {
		t.Errorf("%d messages in all", len(f.sent))
	}
}

func TestHandleNothing(t *testing.T) {
	f := newFixture(nil, nil)
	f.DeliveryQueue = queueFunc(func([]webhook.Message) []error { t.Error("the queue is asked to send nothing"); return nil })
	f.RetryQueue = f.DeliveryQueue
	for name, records := range map[string][]json.RawMessage{
		"an empty batch":                nil,
		"changes of nobody's documents": {changed(1), changed(2)},
	} {
		if got := handle(t, f, records...); got != accepted {
			t.Errorf("%s: got %s, want an empty list, not null", name, got)
		}
	}
}

// What one config or organization has wrong delays no other: its other configs and the other organizations of the
// batch get all that is theirs.
func TestHandleOthersAreNotDelayed(t *testing.T) {
	all := []json.RawMessage{changed(1), changeOf("other", 2), changed(3), changeOf("other", 4)}
	for name, test := range map[string]struct {
		change func(*fixture)
		org    int    // messages to org
		passed int    // configs counted as passed over
		held   []int  // records that wait
		says   string // in the log
	}{
		"nothing is wrong": {change: func(*fixture) {}, org: 4},
		"an item that makes no sense": {
			change: func(f *fixture) { f.broken = map[string][]string{"org": {idOf(9)}} }, org: 4, passed: 1, says: idOf(9),
		},
		"an id that no message can name": {
			change: func(f *fixture) {
				bad := everything(3)
				bad.ID = "bad id"
				f.configs["org"] = append(f.configs["org"], bad)
			},
			org: 4, passed: 1, says: "bad id",
		},
		"a message that no queue accepts": {
			change: func(f *fixture) {
				f.refuse = func(m webhook.Message) error {
					if m.OrganizationID == "org" && m.ConfigID == idOf(2) {
						return fmt.Errorf("%w: InvalidMessageContents", webhook.ErrUnsendable)
					}
					return nil
				}
			},
			org: 4, passed: 2, says: "InvalidMessageContents",
		},
		"configs that cannot be read": {
			change: func(f *fixture) { f.away = map[string]bool{"org": true} }, held: []int{1, 3}, says: "throttled",
		},
		"a panic over its configs": {
			change: func(f *fixture) {
				f.delay = func(_ context.Context, id string) error {
					if id == "org" {
						panic("boom")
					}
					return nil
				}
			},
			held: []int{1, 3}, says: "boom",
		},
		"events that cannot be written": {
			change: func(f *fixture) {
				f.write = func(r webhook.EventRecord) error {
					if r.OrganizationID == "org" {
						return errors.New("too hot")
					}
					return nil
				}
			},
			held: []int{1, 3}, says: "too hot",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"org": {everything(1), everything(2)}, "other": {everything(5)}}, nil)
			test.change(f)
			if got := handle(t, f, all...); got != accepted {
				t.Errorf("got %s, but none of it is the others' business", got)
			}
			of := map[string]int{}
			for _, m := range f.sent {
				of[m.OrganizationID]++
			}
			if of["org"] != test.org || of["other"] != 2 {
				t.Errorf("%d messages to org, want %d; %d to the other organization, want 2", of["org"], test.org, of["other"])
			}
			if got := f.metrics.of[metricBroken]; got != test.passed {
				t.Errorf("%d configs counted as passed over, want %d", got, test.passed)
			}
			var want []webhook.HeldRecord
			for _, n := range test.held {
				want = append(want, webhook.HeldRecord{OrganizationID: "org", Body: string(changed(n))})
			}
			if diff := cmp.Diff(want, f.waiting.records); diff != "" || f.metrics.of[metricHeld] != len(want) {
				t.Errorf("%d counted as held up; %s", f.metrics.of[metricHeld], diff)
			}
			if !strings.Contains(f.log.String(), test.says) {
				t.Errorf("the log does not say %q: %s", test.says, &f.log)
			}
		})
	}
}

// A panic is not the end of the process, and what it may have left undone is kept.
func TestHandlePanicLosesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*fixture)
		waiting int // records in DispatchRetryQueue; without any, the stream brings them again
	}{
		"while events are written": {
			change:  func(f *fixture) { f.write = func(webhook.EventRecord) error { panic("boom") } },
			waiting: 2,
		},
		"while messages are sent": {
			change: func(f *fixture) { f.refuse = func(webhook.Message) error { panic("boom") } },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, nil)
			test.change(f)
			got := handle(t, f, changed(1), changed(2))
			if kept := got != accepted; len(f.waiting.records) != test.waiting || kept != (test.waiting == 0) {
				t.Errorf("answered %s, %d records wait; want %d", got, len(f.waiting.records), test.waiting)
			}
			if !strings.Contains(f.log.String(), "boom") {
				t.Errorf("the log does not tell of the panic: %s", &f.log)
			}
		})
	}
}

func TestHandleReadsAtTheSameTime(t *testing.T) {
	t.Run("organizations are read beside each other, but not too many", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(nil, nil)
			f.delay = func(context.Context, string) error { time.Sleep(100 * time.Millisecond); return nil }
			var records []json.RawMessage
			for n := range 4 * maxReads {
				records = append(records, changeOf(fmt.Sprint("org", n), n+1))
			}
			begin := time.Now()
			handle(t, f, records...)
			if took := time.Since(begin); took != 400*time.Millisecond || len(f.reads) != 4*maxReads {
				t.Errorf("%d organizations took %s", len(f.reads), took)
			}
		})
	})
	t.Run("who cannot be read in time waits, and the others are sent to at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"org": {everything(1)}, "hanging": {everything(2)}}, nil)
			f.delay = func(ctx context.Context, id string) error {
				if id == "hanging" {
					<-ctx.Done()
				}
				return ctx.Err()
			}
			begin := time.Now()
			var sentAfter time.Duration
			f.refuse = func(webhook.Message) error { sentAfter = time.Since(begin); return nil }
			if got := handle(t, f, changeOf("hanging", 1), changed(2)); got != accepted {
				t.Errorf("got %s", got)
			}
			if took := time.Since(begin); sentAfter > linger || took != readTimeout {
				t.Errorf("the other organization was sent to after %s, all done after %s", sentAfter, took)
			}
			want := []webhook.HeldRecord{{OrganizationID: "hanging", Body: string(changeOf("hanging", 1))}}
			if diff := cmp.Diff(want, f.waiting.records); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("those that are read at nearly the same time are written and sent together", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(map[string][]webhook.Config{"a": {everything(1)}, "b": {everything(1)}, "c": {everything(1)}}, nil)
			f.delay = func(_ context.Context, id string) error {
				time.Sleep(map[string]time.Duration{"a": 0, "b": 20 * time.Millisecond, "c": 500 * time.Millisecond}[id])
				return nil
			}
			handle(t, f, changeOf("c", 1), changeOf("b", 2), changeOf("a", 3))
			want := []string{"event a", "event b", "message a", "message b", "event c", "message c"}
			if diff := cmp.Diff(want, f.did); diff != "" {
				t.Error(diff)
			}
		})
	})
}

func TestHandleFailures(t *testing.T) {
	refused := errors.New("refused")
	refuseAll := func(webhook.Message) error { return refused }
	for name, test := range map[string]struct {
		away    []string // organizations
		refuse  func(webhook.Message) error
		waiting error // of DispatchRetryQueue
		records []json.RawMessage
		want    string
		sent    int // messages that the queues have accepted
		held    int // records that wait in DispatchRetryQueue
	}{
		"a single organization that cannot be read waits": {
			away: []string{"org"}, records: []json.RawMessage{changed(1), changed(2)}, want: accepted, held: 2,
		},
		"several organizations none of which can be read are reported": {
			away:    []string{"org", "other"},
			records: []json.RawMessage{changed(1), changeOf("other", 2), changed(3)},
			want:    failures(1, 2, 3),
		},
		"several organizations of which one can be read are not": {
			away: []string{"org", "other"}, records: []json.RawMessage{changed(1), changeOf("other", 2), changeOf("third", 3)},
			want: accepted, held: 2,
		},
		"who cannot be set aside is reported, and only that": {
			away: []string{"org"}, waiting: refused, records: []json.RawMessage{changed(1), changeOf("other", 2), changed(3)},
			want: failures(1, 3), sent: 2,
		},
		"a record that no queue accepts does not hold up its shard": {
			away: []string{"org"}, waiting: webhook.ErrUnsendable, records: []json.RawMessage{changed(1), changeOf("other", 2)},
			want: accepted, sent: 2,
		},
		"a refused message reports its record": {
			refuse: func(m webhook.Message) error {
				if m.Event.ID == eventOf(2).ID && m.ConfigID == idOf(2) {
					return refused
				}
				return nil
			},
			records: []json.RawMessage{changed(1), changed(2), changed(3)}, want: failures(2), sent: 5,
		},
		"refused messages report each record once, in order": {
			refuse: func(m webhook.Message) error {
				if m.Event.ID != eventOf(20).ID {
					return refused
				}
				return nil
			},
			records: []json.RawMessage{changed(10), changed(20), changed(30), changed(40)}, want: failures(10, 30, 40), sent: 2,
		},
		"a queue that is away reports every record": {
			refuse: refuseAll, records: []json.RawMessage{changed(1), changed(2)}, want: failures(1, 2),
		},
		"what was passed over and what is no change is not reported": {
			refuse: refuseAll, want: failures(1),
			records: []json.RawMessage{changed(1), changed(2, `{"S":"processed"}`, `{"S":"archived"}`), changed(3, "MODIFY", "REMOVE")},
		},
		"configs and queue may both fail": {
			away:    []string{"other"},
			refuse:  refuseAll,
			records: []json.RawMessage{changeOf("other", 1), changed(2)},
			want:    failures(2),
			held:    1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			two := []webhook.Config{everything(1), everything(2)}
			f := newFixture(map[string][]webhook.Config{"org": two, "other": two}, test.refuse)
			f.away = map[string]bool{}
			for _, organization := range test.away {
				f.away[organization] = true
			}
			f.waiting.err = test.waiting
			if got := handle(t, f, test.records...); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if f.metrics.of[metricMessages] != test.sent {
				t.Errorf("counted %d messages, want %d", f.metrics.of[metricMessages], test.sent)
			}
			if want := strings.Count(test.want, "itemIdentifier"); f.metrics.of[metricRetried] != want {
				t.Errorf("counted %d records to retry, want %d", f.metrics.of[metricRetried], want)
			}
			if len(f.waiting.records) != test.held {
				t.Errorf("%d records wait, want %d", len(f.waiting.records), test.held)
			}
		})
	}
	t.Run("an error of the queue is logged, but not at any length", func(t *testing.T) {
		long := errors.New(strings.Repeat("x", 1<<20))
		f := newFixture(map[string][]webhook.Config{"org": {everything(1)}}, func(webhook.Message) error { return long })
		handle(t, f, changed(1))
		if text := f.log.String(); !strings.Contains(text, "not accepted") || len(text) > 4096 {
			t.Errorf("the log has %d bytes", len(text))
		}
	})
	t.Run("times that are not believed are counted, and logged once", func(t *testing.T) {
		f := newFixture(nil, nil)
		const believed = "2026-03-14T15:09:26.535+01:00"
		handle(t, f, changed(1, believed, "soon"), changed(2, believed, "9999-12-31T23:59:59Z"), changed(3))
		if f.metrics.of[metricOccurred] != 2 || strings.Count(f.log.String(), "not believed") != 1 {
			t.Errorf("%d counted: %s", f.metrics.of[metricOccurred], &f.log)
		}
	})
}

func TestHandleMany(t *testing.T) {
	var configs []webhook.Config
	for n := range 100 {
		configs = append(configs, everything(n))
	}
	calls := 0
	f := newFixture(map[string][]webhook.Config{"org": configs}, func(webhook.Message) error { return nil })
	inner := f.RetryQueue
	f.RetryQueue = queueFunc(func(messages []webhook.Message) []error { calls++; return inner.Send(t.Context(), messages) })
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
