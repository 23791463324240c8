package delivery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestPanicAfterThePostRepeatsNothingInTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.results = []endpoint.Result{failure(500), failure(500)}
		calls := 0
		f.Random = func() float64 {
			if calls++; calls == 1 {
				panic("after the POST")
			}
			return 0.5
		}
		did := f.handle(t.Context(), t, record("m1", 1, message(t1)), record("m2", 1, message(t1)))
		if len(did.Posts) != 1 {
			t.Errorf("POSTs: %v", did.Posts)
		}
	})
}

// hanging is a queue and a keeper of health that never answer.
type hanging struct{}

func hang(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (hanging) ChangeVisibility(ctx context.Context, _ []Visibility) error { return hang(ctx) }
func (hanging) PutBack(ctx context.Context, _ webhook.Message, _ time.Duration) error {
	return hang(ctx)
}
func (hanging) Deactivate(ctx context.Context, _ *webhook.Config, _ string, _ time.Time) error {
	return hang(ctx)
}
func (hanging) ResetFailures(ctx context.Context, _ *webhook.Config) error { return hang(ctx) }
func (hanging) CountFailure(ctx context.Context, _ *webhook.Config, _ time.Time) (int, time.Time, error) {
	return 0, time.Time{}, hang(ctx)
}

// TestHangingQueueAndHealthLeaveTimeToAnswer: the last attempt that may start takes all its time, the
// log nearly all of its own, and everything after that hangs.
func TestHangingQueueAndHealthLeaveTimeToAnswer(t *testing.T) {
	cases := map[string]struct {
		arrange func(f *fixture)
		want    did
	}{
		"after a success": {
			arrange: func(f *fixture) { f.config.FailureCount = 1 },
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered m1/1 done for t1, 1 attempts"},
		},
		"after a final failure": {
			arrange: func(f *fixture) {
				f.results = []endpoint.Result{failure(500)}
				f.log.set(logged(webhook.Retrying, "m1", 4, webhook.Time{}))
			},
			want: did{Posts: []string{"event1 #5"}, Kept: []string{"m1"}, Delivered: "failed m1/5 over, 5 attempts"},
		},
		"after a put-back": {
			arrange: func(f *fixture) { f.store.load = unreadable },
			want:    did{Kept: []string{"m1"}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				c.arrange(f)
				f.Queue, f.Health = hanging{}, hanging{}
				post, write := f.poster.post, f.store.record
				f.poster.post = func(ctx context.Context, r endpoint.Request) endpoint.Result {
					time.Sleep(endpoint.AttemptTimeout)
					return post(ctx, r)
				}
				f.store.record = func(ctx context.Context, entries []Entry) []error {
					time.Sleep(writeTimeout - time.Millisecond)
					return write(ctx, entries)
				}
				ctx, cancel := context.WithTimeout(t.Context(), endpoint.AttemptTimeout+margin)
				defer cancel()
				if diff := cmp.Diff(c.want, f.handle(ctx, t, record("m1", 1, message(t1)))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if left := time.Until(deadline(ctx)); left < time.Second {
					t.Errorf("the batch ended %v before its deadline", left)
				}
			})
		})
	}
}

func TestHangingLogLeavesTimeToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.store.record = func(ctx context.Context, entries []Entry) []error {
			<-ctx.Done()
			errs := make([]error, len(entries))
			for i := range errs {
				errs[i] = errors.New("hung")
			}
			return errs
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		f.handle(ctx, t, record("m1", 1, message(t1)))
		if took := time.Since(begin); took > endpoint.AttemptTimeout+margin {
			t.Errorf("the batch took %s", took)
		}
	})
}
