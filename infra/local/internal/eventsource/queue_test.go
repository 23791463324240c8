package eventsource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func queueMappingOf(change func(*QueueMapping)) QueueMapping {
	m := QueueMapping{Function: "F", BatchSize: 10, ReportBatchItemFailures: true, MaximumConcurrency: 100}
	if change != nil {
		change(&m)
	}
	return m
}

func startQueue(t *testing.T, m QueueMapping, q Queue, invoke fakeInvoker) *Mapping {
	t.Helper()
	mapping := NewQueue(m, q, Options{Invoker: invoke})
	if err := mapping.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mapping.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return mapping
}

func TestQueueSettles(t *testing.T) {
	type settled struct{ Done, Failed []string }
	all := []string{"handle a", "handle b", "handle c"}
	for _, tc := range []struct {
		name   string
		change func(*QueueMapping)
		answer func() (string, error)
		want   settled
	}{
		{"success deletes all", nil, answer(ok), settled{Done: all}},
		{"nothing deletes all", nil, answer(""), settled{Done: all}},
		{"null deletes all", nil, answer("null"), settled{Done: all}},
		{"what is reported stays", nil, answer(failing("c", "a")), settled{Done: []string{"handle b"}, Failed: []string{"handle a", "handle c"}}},
		{"all stay if all are reported", nil, answer(failing("a", "b", "c")), settled{Failed: all}},
		{"all stay if an identifier is unknown", nil, answer(failing("a", "z")), settled{Failed: all}},
		{"all stay if an identifier is empty", nil, answer(failing("")), settled{Failed: all}},
		{"all stay if an identifier is null", nil, answer(`{"batchItemFailures":[{"itemIdentifier":null}]}`), settled{Failed: all}},
		{"all stay if the answer is malformed", nil, answer("{"), settled{Failed: all}},
		{"all stay if the function fails", nil, fail(errFunction{}), settled{Failed: all}},
		{"all stay if the function is throttled", nil, fail(errThrottled), settled{Failed: all}},
		{"reports are not read when they are " +
			"off", func(m *QueueMapping) { m.ReportBatchItemFailures = false }, answer(failing("a")), settled{Done: all}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newFakeQueue(`"{\"n\":1}"`, `"{\"n\":2}"`, `"{\"n\":3}"`)
				startQueue(t, queueMappingOf(tc.change), q, func(context.Context, []string) (string, error) { return tc.answer() })
				synctest.Wait()
				q.mu.Lock()
				defer q.mu.Unlock()
				if diff := cmp.Diff(tc.want, settled{q.done, q.failed}); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestQueueConcurrency(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int
		want  string // invocations that have begun at once, after 200 ms, after 1 s, after a minute
	}{
		{"starts with five and grows by five a second while there is work", 100, "5 6 10 100"},
		{"never exceeds its limit", 3, "3 3 3 3"},
		{"without a limit of its own it has the account's", 0, "5 6 10 305"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls journal[string]
				release := make(chan struct{})
				q := newFakeQueue(slices.Repeat([]string{`1`}, 2000)...)
				startQueue(t, queueMappingOf(func(m *QueueMapping) { m.MaximumConcurrency = tc.limit; m.BatchSize = 1 }), q, func(
					_ context.Context, ids []string,
				) (string, error) {
					calls.add(ids[0])
					<-release
					return ok, nil
				})
				var got []string
				for _, d := range []time.Duration{0, 200 * time.Millisecond, 800 * time.Millisecond, 59 * time.Second} {
					pass(d)
					got = append(got, fmt.Sprint(len(calls.all())))
				}
				if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
					t.Error(diff)
				}
				close(release)
				pass(time.Hour)
				if n := len(calls.all()); n != 2000 {
					t.Errorf("%d invocations, want 2000", n)
				}
			})
		})
	}
}

func TestQueueReceiveIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls journal[string]
		q := newFakeQueue(`1`)
		q.err = errors.New("no queue")
		startQueue(t, queueMappingOf(nil), q, func(_ context.Context, ids []string) (string, error) {
			calls.add(ids[0])
			return ok, nil
		})
		pass(2 * time.Second)
		if diff := cmp.Diff([]string{"a"}, calls.all()); diff != "" {
			t.Error(diff)
		}
	})
}
