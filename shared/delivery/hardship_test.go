package delivery

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

// TestEndpointThatDiesAtItsWorkGetsOneReplay drops the connection on every POST while ten
// connections are kept alive. net/http would replay the request on each of them.
func TestEndpointThatDiesAtItsWorkGetsOneReplay(t *testing.T) {
	const connections = 10
	var dying atomic.Bool
	var posts atomic.Int32
	var together sync.WaitGroup
	together.Add(connections)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if dying.Load() {
			posts.Add(1)
			panic(http.ErrAbortHandler)
		}
		together.Done()
		together.Wait() // so that each request has a connection of its own
	}))
	defer server.Close()
	client := NewClient(ClientOptions{Guard: NewGuard(true), AllowHTTP: true, Now: time.Now})
	request := Request{URL: server.URL, EventID: event(1).ID, Body: []byte("{}"), Attempt: 1, Current: current}
	var wait sync.WaitGroup
	for range connections {
		wait.Go(func() { client.Post(t.Context(), request) })
	}
	wait.Wait()
	dying.Store(true)
	if result := client.Post(t.Context(), request); result.Success() {
		t.Errorf("the attempt succeeded: %+v", result)
	}
	if n := posts.Load(); n > 3 {
		t.Errorf("one attempt made %d POSTs", n)
	}
}

func TestPanicAfterThePostRepeatsNothingInTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.results = []Result{failure(500), failure(500)}
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
				f.results = []Result{failure(500)}
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
				f.poster.post = func(ctx context.Context, r Request) Result { time.Sleep(AttemptTimeout); return post(ctx, r) }
				f.store.record = func(ctx context.Context, entries []Entry) []error {
					time.Sleep(writeTimeout - time.Millisecond)
					return write(ctx, entries)
				}
				ctx, cancel := context.WithTimeout(t.Context(), AttemptTimeout+margin)
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
		if took := time.Since(begin); took > AttemptTimeout+margin {
			t.Errorf("the batch took %s", took)
		}
	})
}
