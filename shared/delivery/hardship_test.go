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
