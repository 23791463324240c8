package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// tenMessages are a batch for ten deliveries: events 0 to 9, messages m0 to m9.
func tenMessages() []Record {
	var records []Record
	for n := range 10 {
		m := message(t1)
		m.Event = event(n)
		records = append(records, record(fmt.Sprint("m", n), 1, m))
	}
	return records
}

func TestResultIsLoggedSoonWhileOneEndpointHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		var mu sync.Mutex
		answered, written := map[string]time.Time{}, map[string]time.Time{}
		f.poster.post = func(ctx context.Context, r endpoint.Request) endpoint.Result {
			which := name(r.EventID)
			var n int
			fmt.Sscanf(which, "event%d", &n)
			wait := time.Duration(n) * 30 * time.Millisecond
			if n == 9 {
				wait = endpoint.AttemptTimeout
			}
			result := endpoint.Result{StartedAt: time.Now(), Status: 200}
			time.Sleep(wait) // the bubble's clock
			mu.Lock()
			defer mu.Unlock()
			answered[which] = time.Now()
			return result
		}
		writes := 0
		f.store.record = func(_ context.Context, entries []Entry) []error {
			mu.Lock()
			defer mu.Unlock()
			writes++
			for _, e := range entries {
				written[name(e.Message.Event.ID)] = time.Now()
			}
			return nil
		}
		started := time.Now()
		f.handle(t.Context(), t, tenMessages()...)
		if len(written) != 10 {
			t.Errorf("%d results were logged, not 10", len(written))
		}
		for which, at := range written {
			if late := at.Sub(answered[which]); late > 50*time.Millisecond {
				t.Errorf("the result of %s was logged %v after its answer", which, late)
			}
		}
		if got := written["event9"].Sub(started); got != endpoint.AttemptTimeout {
			t.Errorf("the last result waited until %v: nobody else was left", got)
		}
		if writes > 6 {
			t.Errorf("%d writes: results that come in together should be written together", writes)
		}
	})
}

func TestResultsAreWrittenAtOnceWhenNobodyElseIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		var sizes []int
		f.store.record = func(_ context.Context, entries []Entry) []error {
			sizes = append(sizes, len(entries))
			return nil
		}
		started := time.Now()
		f.handle(t.Context(), t, tenMessages()...)
		if took := time.Since(started); took != 0 {
			t.Errorf("the batch lingered for %v", took)
		}
		total := 0
		for _, n := range sizes {
			total += n
		}
		if total != 10 {
			t.Errorf("wrote %v, want 10 in all", sizes)
		}
	})
}

func TestNothingIsAcknowledgedBeforeItIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		release := make(chan struct{})
		f.store.record = func(_ context.Context, entries []Entry) []error {
			<-release
			return f.log.Record(entries)
		}
		returned := make(chan Answer)
		go func() {
			answer, _ := f.Handle(t.Context(), Batch{tenMessages()})
			returned <- answer
		}()
		time.Sleep(30 * time.Second) // the bubble's clock
		select {
		case <-returned:
			t.Error("the batch was answered while its log entries were being written")
		default:
		}
		close(release)
		if answer := <-returned; len(answer.BatchItemFailures) != 0 || len(f.log.items) != 10 {
			t.Errorf("reported %v with %d deliveries logged", answer.BatchItemFailures, len(f.log.items))
		}
	})
}

func TestOneRefusedEntryConcernsItsMessageAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.store.record = func(_ context.Context, entries []Entry) []error {
			errs := make([]error, len(entries))
			for i, e := range entries {
				if name(e.Message.Event.ID) == "event4" {
					errs[i] = errors.New("validation error")
				}
			}
			return errs
		}
		if diff := cmp.Diff([]string{"m4"}, f.handle(t.Context(), t, tenMessages()...).Kept); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
	})
}

func TestPanicConcernsItsMessageAlone(t *testing.T) {
	cases := map[string]func(f *fixture){
		"in the poster": func(f *fixture) {
			f.poster.post = func(_ context.Context, r endpoint.Request) endpoint.Result {
				if name(r.EventID) == "event3" {
					panic("broken poster")
				}
				return endpoint.Result{Status: 200}
			}
		},
		"in the credentials": func(f *fixture) {
			calls, open := 0, f.credentials.open
			var mu sync.Mutex
			f.credentials.open = func(ctx context.Context, sealed string) (signature.Credentials, error) {
				mu.Lock()
				calls++
				first := calls == 1
				mu.Unlock()
				if first {
					panic("broken keyring")
				}
				return open(ctx, sealed)
			}
		},
		"in the health after a final failure": func(f *fixture) {
			f.poster.post = func(_ context.Context, r endpoint.Request) endpoint.Result {
				if name(r.EventID) == "event3" {
					return failure(410)
				}
				return endpoint.Result{Status: 200}
			}
			f.health.deactivate = func(*webhook.Config, string) error { panic("broken table") }
		},
	}
	for where, arrange := range cases {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				arrange(f)
				got := f.handle(t.Context(), t, tenMessages()...)
				if len(got.Kept) != 1 || got.Visible != nil {
					t.Errorf("kept %v, made visible %v; want one kept until the queue's own timeout", got.Kept, got.Visible)
				}
				if !strings.Contains(f.lines.String(), `"msg":"panic"`) {
					t.Error("the panic was not logged")
				}
			})
		})
	}
}

func TestWorkStopsBeforeDeadline(t *testing.T) {
	cases := []struct {
		name string
		left time.Duration
		open time.Duration // how long the keyring takes
		want did
	}{
		{
			name: "attempted with just enough time", left: endpoint.AttemptTimeout + margin,
			want: did{Posts: []string{"event1 #1"}, Delivered: "delivered m1/1 done for t1, 1 attempts"},
		},
		{
			name: "reported without an attempt when an attempt might not end", left: endpoint.AttemptTimeout + margin - 1,
			want: did{Kept: []string{"m1"}, Visible: map[string]string{"m1": "0s"}},
		},
		{
			name: "reported without an attempt when the keyring took too long",
			left: endpoint.AttemptTimeout + margin + time.Second, open: 2 * time.Second,
			want: did{Kept: []string{"m1"}, Visible: map[string]string{"m1": "0s"}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				f.credentials.open = func(context.Context, string) (signature.Credentials, error) {
					time.Sleep(c.open) // the bubble's clock
					return current, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), c.left)
				defer cancel()
				if diff := cmp.Diff(c.want, f.handle(ctx, t, record("m1", 1, message(t1)))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestBatchEndsInTimeWhatever: everything that can hang does, for as long as its context lets it,
// and a delivery has more messages than fit.
func TestBatchEndsInTimeWhatever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.store.load = func(ctx context.Context, keys []Key) (map[Key]Loaded, error) {
			time.Sleep(readTimeout - time.Second)
			return map[Key]Loaded{keys[0]: {Config: f.config}}, nil
		}
		f.credentials.open = func(context.Context, string) (signature.Credentials, error) {
			time.Sleep(readTimeout - time.Second)
			return current, nil
		}
		f.poster.post = func(context.Context, endpoint.Request) endpoint.Result {
			time.Sleep(endpoint.AttemptTimeout)
			return endpoint.Result{Code: endpoint.CodeTimeout, Duration: endpoint.AttemptTimeout}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the function's timeout
		defer cancel()
		var records []Record
		for n := range 10 {
			records = append(records, record(fmt.Sprint("m", n), 1, message(t1)))
		}
		if got := f.handle(ctx, t, records...); len(got.Kept) != 10 {
			t.Errorf("kept %v, want all ten", got.Kept)
		}
		if left := time.Until(deadline(ctx)); left < margin {
			t.Errorf("the batch ended %v before its deadline, want at least %v", left, margin)
		}
	})
}

func deadline(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}

func TestMessagesOfOneDeliveryGoOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		busy := map[string]bool{}
		var mu sync.Mutex
		f.poster.post = func(_ context.Context, r endpoint.Request) endpoint.Result {
			mu.Lock()
			if busy[r.EventID] {
				t.Errorf("two attempts of %s at the same time", name(r.EventID))
			}
			busy[r.EventID] = true
			mu.Unlock()
			time.Sleep(time.Second) // the bubble's clock
			mu.Lock()
			busy[r.EventID] = false
			mu.Unlock()
			return failure(500)
		}
		records := tenMessages()
		records[7] = record("m7", 1, message(t2)) // event 1 again
		started := time.Now()
		f.handle(t.Context(), t, records...)
		if took := time.Since(started); took < 2*time.Second || took > 2*time.Second+2*linger {
			t.Errorf("the batch took %v: all deliveries go at the same time, the two messages of one do not", took)
		}
	})
}

func TestFailedVisibilityChangeLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.results = []endpoint.Result{failure(500)}
		f.queue.change = func([]Visibility) error { return errors.New("queue is away") }
		want := did{Posts: []string{"event1 #1"}, Kept: []string{"m1"}, Delivered: "retrying m1/1, 1 attempts"}
		if diff := cmp.Diff(want, f.handle(t.Context(), t, record("m1", 1, message(t1)))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !strings.Contains(f.lines.String(), "visibility not changed") {
			t.Error("the failure was not logged")
		}
	})
}

func TestConfigIs(t *testing.T) {
	cases := []struct {
		name      string
		failures  int // that the config has had before
		attempts  int // that the delivery has had before
		result    endpoint.Result
		count     int
		since     time.Duration // how long it has been failing
		threshold int
		conflict  bool // somebody changes the config meanwhile
		want      []string
		metrics   int // configs deactivated
	}{
		{name: "left alone by a success without failures before it", result: success, threshold: 20},
		{name: "healthy again after a success", failures: 3, result: success, threshold: 20, want: []string{"reset"}},
		{name: "left alone by a failure that is retried", result: failure(500), threshold: 20},
		{name: "one final failure worse", attempts: 4, result: failure(500), count: 1, threshold: 20, want: []string{"count"}},
		{name: "left active below the threshold, however long it fails", attempts: 4, result: failure(500), count: 19, since: 48 * time.Hour, threshold: 20, want: []string{"count"}},
		{name: "left active at the threshold within a day", attempts: 4, result: failure(500), count: 500, since: 24*time.Hour - time.Millisecond, threshold: 20, want: []string{"count"}},
		{
			name: "deactivated at the threshold after a day", attempts: 4, result: failure(500), count: 20, since: 24 * time.Hour, threshold: 20,
			want: []string{"count", "deactivate endpoint_failing"}, metrics: 1,
		},
		{name: "not counted when the threshold is 0", attempts: 4, result: failure(500), count: 500, since: 48 * time.Hour},
		{name: "deactivated at once when the endpoint is gone", result: failure(410), threshold: 20, want: []string{"deactivate endpoint_gone"}, metrics: 1},
		{name: "deactivated when the endpoint is gone even if the threshold is 0", result: failure(410), want: []string{"deactivate endpoint_gone"}, metrics: 1},
		{name: "left active when its organization has changed it meanwhile", result: failure(410), conflict: true, want: []string{"deactivate endpoint_gone"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				f.config.FailureCount, f.FailureThreshold = c.failures, c.threshold
				if c.attempts > 0 {
					f.log.set(logged(webhook.Retrying, "m1", c.attempts, webhook.Time{}))
				}
				f.results = []endpoint.Result{c.result}
				f.health.count = func() (int, time.Time, error) {
					f.note(&f.did.Health, "count")
					return c.count, time.Now().Add(-c.since), nil
				}
				if c.conflict {
					f.health.deactivate = func(_ *webhook.Config, reason string) error {
						f.note(&f.did.Health, "deactivate "+reason)
						return nil // and the config stays active
					}
				}
				got := f.handle(t.Context(), t, record("m1", 1, message(t1)))
				if diff := cmp.Diff(c.want, got.Health); diff != "" {
					t.Errorf("health (-want +got):\n%s", diff)
				}
				if n := f.metrics.counts[metricDeactivated+" "+webhook.EndpointGone] + f.metrics.counts[metricDeactivated+" "+webhook.EndpointFailing]; n != c.metrics {
					t.Errorf("%d deactivations counted, want %d", n, c.metrics)
				}
			})
		})
	}
}

func TestHealthThatCannotBeKeptChangesNothingForTheMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.config.FailureCount = 2
		f.health.reset = func() error { return errors.New("table is away") }
		want := did{Posts: []string{"event1 #1"}, Delivered: "delivered m1/1 done for t1, 1 attempts"}
		if diff := cmp.Diff(want, f.handle(t.Context(), t, record("m1", 1, message(t1)))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !strings.Contains(f.lines.String(), "config not updated") {
			t.Error("the failure was not logged")
		}
	})
}

// TestDeliveriesToOneConfigDoNotShareIt runs under the race detector: all ten get the same pointer
// from the store and each changes what it knows of the config.
func TestDeliveriesToOneConfigDoNotShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.config.FailureCount = 5
		got := f.handle(t.Context(), t, tenMessages()...)
		if len(got.Posts) != 10 || f.config.FailureCount != 5 {
			t.Errorf("%d attempts, %d failures left in the store's config", len(got.Posts), f.config.FailureCount)
		}
	})
}

func TestRequestIs(t *testing.T) {
	hour := webhook.At(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC))
	cases := []struct {
		name    string
		expires webhook.Time
		want    *signature.Credentials
	}{
		{name: "signed with the current credentials"},
		{name: "signed with both within an overlap", expires: hour, want: &previous},
		{name: "signed with the current credentials at the end of an overlap", expires: webhook.At(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))},
	}
	body, err := (&webhook.Event{}).Render("")
	if err == nil {
		t.Fatalf("an event without a version was rendered: %s", body)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				if !c.expires.IsZero() {
					f.config.PreviousSealed, f.config.PreviousExpiresAt = "sealed previous", c.expires
				}
				e := event(1)
				body, err := e.Render(configID)
				if err != nil {
					t.Fatal(err)
				}
				f.poster.post = func(_ context.Context, got endpoint.Request) endpoint.Result {
					want := endpoint.Request{URL: f.config.URL, EventID: e.ID, Body: body, Attempt: 1, Current: current, Previous: c.want}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					return endpoint.Result{Status: 200}
				}
				f.handle(t.Context(), t, record("m1", 1, message(t1)))
			})
		})
	}
}

func TestConnectionsAreDroppedAfterRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		rested := 0
		f.poster.rested = func() { rested++ }
		f.Handle(t.Context(), Batch{})
		f.Handle(t.Context(), Batch{})
		if rested != 1 {
			t.Errorf("connections dropped %d times by two batches in a row, want once, at the start", rested)
		}
		time.Sleep(restedAfter + 1) // the bubble's clock
		f.Handle(t.Context(), Batch{})
		if rested != 2 {
			t.Errorf("connections dropped %d times, want again after a rest", rested)
		}
	})
}

// TestRestIsMeasuredOnTheWallClock: the monotonic one may stand still while the process is frozen.
func TestRestIsMeasuredOnTheWallClock(t *testing.T) {
	f := newFixture()
	if _, err := f.Handle(t.Context(), Batch{}); err != nil { // outside of a bubble, time.Now reads both clocks
		t.Fatal(err)
	}
	if last := f.lastBatch.String(); strings.Contains(last, "m=") {
		t.Errorf("%s has a reading of the monotonic clock", last)
	}
}

func TestMetricsOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.results = []endpoint.Result{failure(500), {Code: endpoint.CodeTimeout}}
		records := append(tenMessages(), Record{MessageID: "m10", Body: "hello"})
		records = slices.Delete(records, 4, 10) // events 0 to 3 and one that cannot be read
		f.handle(t.Context(), t, records...)
		want := map[string]int{
			"Attempts success": 2, "Attempts http_status": 1, "Attempts timeout": 1, "EndpointLatency": 4, "StatusChangeToSuccess": 2,
			"Deliveries delivered": 2, "Unreadable": 1, "flushed": 1,
		}
		if diff := cmp.Diff(want, f.metrics.counts); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
