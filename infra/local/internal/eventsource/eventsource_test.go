package eventsource

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// startKind starts a mapping of a kind with one record or message.
func startKind(t *testing.T, kind string, invoke fakeInvoker) (*Mapping, *fakeQueue) {
	t.Helper()
	q := newFakeQueue(`1`)
	if kind == "queue" {
		return startQueue(t, queueMappingOf(nil), q, invoke), q
	}
	return startStream(t, streamMappingOf(nil), newFakeStream(someRecords(1)...), invoke, nil), q
}

func TestCloseGivesUpWhenItsTimeIsOver(t *testing.T) {
	for _, kind := range []string{"stream", "queue"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var outcome journal[string]
				m, _ := startKind(t, kind, func(ctx context.Context, _ []string) (string, error) {
					outcome.add("begun")
					<-ctx.Done()
					outcome.add("given up")
					return "", ctx.Err()
				})
				synctest.Wait()
				ctx, cancel := context.WithCancel(context.Background())
				closed := make(chan error, 1)
				go func() { closed <- m.Close(ctx) }()
				synctest.Wait()
				if diff := cmp.Diff([]string{"begun"}, outcome.all()); diff != "" {
					t.Errorf("it did not wait: %s", diff)
				}
				cancel()
				if err := <-closed; !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				if diff := cmp.Diff([]string{"begun", "given up"}, outcome.all()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestCloseWaitsForWhatIsRunning(t *testing.T) {
	for _, kind := range []string{"stream", "queue"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var outcome journal[string]
				m, q := startKind(t, kind, func(ctx context.Context, _ []string) (string, error) {
					<-release
					outcome.add("finished")
					return ok, ctx.Err()
				})
				synctest.Wait()
				go func() {
					if err := m.Close(context.Background()); err != nil {
						t.Error(err)
					}
					outcome.add("closed")
				}()
				synctest.Wait()
				q.send(`2`) // the poller that is closed must not take this message
				close(release)
				synctest.Wait()
				if diff := cmp.Diff([]string{"finished", "closed"}, outcome.all()); diff != "" {
					t.Error(diff)
				}
				if kind == "queue" && len(q.done) != 1 {
					t.Errorf("deleted: %v", q.done)
				}
			})
		})
	}
}

func TestMappingStartsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := startQueue(t, queueMappingOf(nil), newFakeQueue(), nil)
		if err := m.Start(t.Context()); err == nil {
			t.Error("no error")
		}
	})
	m := NewQueue(queueMappingOf(nil), newFakeQueue(), Options{Invoker: fakeInvoker(nil)})
	if err := m.Close(t.Context()); err != nil {
		t.Errorf("closing what was never started: %v", err)
	}
}
