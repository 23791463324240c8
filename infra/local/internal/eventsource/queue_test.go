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

	"github.com/docuhook/docuhook/infra/local/internal/lineage"
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

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestThrottledBatchIsTriedAgainAsLongAsTheMappingIsPatient(t *testing.T) {
	for name, test := range map[string]struct {
		throttled int // the first so many invocations
		closes    bool
		want      []time.Duration // of invocations, since the first
		failed    []string
	}{
		"until the function has room": {throttled: 3, want: []time.Duration{0, ms(250), ms(750), ms(1750)}},
		"until its patience is over": {
			throttled: 99, want: []time.Duration{0, ms(250), ms(750), ms(1750)}, failed: []string{"handle a"},
		},
		"until the mapping is closed":    {throttled: 99, closes: true, want: []time.Duration{0}, failed: []string{"handle a"}},
		"not if the function has failed": {throttled: -1, want: []time.Duration{0}, failed: []string{"handle a"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newFakeQueue("{}")
				var invoked journal[time.Duration]
				start := time.Now()
				m := queueMappingOf(func(m *QueueMapping) { m.Patience = 3 * time.Second })
				mapping := startQueue(t, m, q, func(context.Context, []string) (string, error) {
					switch n := invoked.add(time.Since(start)); {
					case test.throttled < 0:
						return "", errFunction{}
					case n <= test.throttled:
						return "", errThrottled
					}
					return ok, nil
				})
				synctest.Wait()
				if test.closes {
					if err := mapping.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Minute)
				if diff := cmp.Diff(test.want, invoked.all()); diff != "" {
					t.Errorf("invocations (-want +got):\n%s", diff)
				}
				q.mu.Lock()
				defer q.mu.Unlock()
				if diff := cmp.Diff(test.failed, q.failed); diff != "" {
					t.Errorf("messages that stay (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRecursiveLoopEndsUnlessItIsAllowed(t *testing.T) {
	for name, test := range map[string]struct {
		allow        bool
		count        int
		done, failed []string
	}{
		"the sixteenth invocation of a chain is one":       {count: 15, done: []string{"handle a", "handle b"}},
		"the next is refused, and only for its message":    {count: 16, done: []string{"handle b"}, failed: []string{"handle a"}},
		"an allowed loop goes on":                          {count: 999, allow: true, done: []string{"handle a", "handle b"}},
		"a chain of other functions is none of this one's": {count: 0, done: []string{"handle a", "handle b"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newFakeQueue("1", "2")
				m := queueMappingOf(func(m *QueueMapping) { m.RecursiveLoop = test.allow })
				chain := lineage.Lineage{}
				for range test.count {
					chain = lineage.Parse(chain.Enter(m.Function))
				}
				chain.Merge(lineage.Parse(chain.Enter("Other")))
				q.visible[0].Trace = "Root=1;" + chain.Enter("Another")
				startQueue(t, m, q, func(ctx context.Context, ids []string) (string, error) {
					if got := lineage.FromContext(ctx).Count("Another"); got != len(ids)-1 {
						t.Errorf("the chain of %v has another function %d times", ids, got)
					}
					return ok, nil
				})
				synctest.Wait()
				q.mu.Lock()
				defer q.mu.Unlock()
				if diff := cmp.Diff([][]string{test.done, test.failed}, [][]string{q.done, q.failed}); diff != "" {
					t.Errorf("done and refused (-want +got):\n%s", diff)
				}
			})
		})
	}
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
		{name: "success deletes all", answer: answers(ok), want: settled{Done: all}},
		{name: "nothing deletes all", answer: answers(""), want: settled{Done: all}},
		{name: "null deletes all", answer: answers("null"), want: settled{Done: all}},
		{
			name:   "what is reported stays",
			answer: answers(failing("c", "a")),
			want:   settled{Done: []string{"handle b"}, Failed: []string{"handle a", "handle c"}},
		},
		{name: "all stay if all are reported", answer: answers(failing("a", "b", "c")), want: settled{Failed: all}},
		{name: "all stay if an identifier is unknown", answer: answers(failing("a", "z")), want: settled{Failed: all}},
		{name: "all stay if an identifier is empty", answer: answers(failing("")), want: settled{Failed: all}},
		{
			name:   "all stay if an identifier is null",
			answer: answers(`{"batchItemFailures":[{"itemIdentifier":null}]}`),
			want:   settled{Failed: all},
		},
		{name: "all stay if the answer is malformed", answer: answers("{"), want: settled{Failed: all}},
		{name: "all stay if the function fails", answer: fail(errFunction{}), want: settled{Failed: all}},
		{name: "all stay if the function is throttled", answer: fail(errThrottled), want: settled{Failed: all}},
		{
			name:   "reports are not read when they are off",
			change: func(m *QueueMapping) { m.ReportBatchItemFailures = false },
			answer: answers(failing("a")),
			want:   settled{Done: all},
		},
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
