package delivery_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/webhook"
)

func batchOf(records []delivery.Record) delivery.Batch { return delivery.Batch{Records: records} }

// waiting puts a delivery into the log that waits for its second attempt, due after Begin.
func waiting(f *fixture, event int, due time.Duration) {
	m := f.First(event)
	o := webhook.Outcome{
		Message: m, MessageID: "m1", Status: webhook.Retrying, At: webhook.At(f.Begin.Add(due - 20*time.Minute)),
		NextAttemptAt: webhook.At(f.Begin.Add(due)),
		Tried:         &webhook.Attempt{Number: 1, MessageID: "m1", StartedAt: webhook.At(f.Begin), ErrorCode: "http_status"},
	}
	after, _ := (*webhook.Delivery)(nil).After(o)
	f.Log.Set(after)
}

// sentBy returns what RetryQueue was asked for.
func sentBy(f *fixture) []string {
	var all []string
	for _, s := range f.RetryQueue.Sent() {
		all = append(all, s.String())
	}
	return all
}

func TestSweepSendsWhatIsDue(t *testing.T) {
	for _, test := range []struct {
		name string
		due  time.Duration // from now
		want []string
		wake string // afterwards, from now
	}{
		{
			name: "with the delay that is left when it is due until the next sweep",
			due:  40 * time.Second, want: []string{"0/2 in 40s"}, wake: "15m40s",
		},
		{name: "not when it is due later", due: time.Minute + time.Millisecond, wake: "1m0.001s"},
		{
			name: "at once and as one that may not be the first when it is late",
			due:  -time.Second, want: []string{"0/2 in 0s again"}, wake: "29m59s",
		},
		{
			name: "and looks after it less often the later it is",
			due:  -16 * time.Minute, want: []string{"0/2 in 0s again"}, wake: "44m0s",
		},
		{name: "daily in the end", due: -100 * time.Hour, want: []string{"0/2 in 0s again"}, wake: "4h0m0s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				waiting(f, 1, test.due)
				before := f.Delivery(1).Revision
				f.Sweep(t.Context(), t)
				if diff := cmp.Diff(test.want, sentBy(f)); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
				d := f.Delivery(1)
				if got := d.WakeAt.Sub(f.Begin).String(); got != test.wake {
					t.Errorf("looks again in %s, want %s", got, test.wake)
				}
				if d.Revision != before || !d.NextAttemptAt.Equal(f.Begin.Add(test.due)) {
					t.Errorf("revision %d after %d, due %s", d.Revision, before, d.NextAttemptAt)
				}
			})
		})
	}
}

func TestSweepTakesAllPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		const n = 250
		shard, put := -1, 0
		for event := 1; put < n; event++ { // all in one shard
			m := f.First(event)
			if s := webhook.WakeShard(m.ConfigID, m.Event.ID); shard == -1 || s == shard {
				shard, put = s, put+1
				waiting(f, event, -time.Duration(put)*time.Second)
			}
		}
		pages := 0
		f.Waiting.OnDue = func(ctx context.Context, s int, until time.Time, after *webhook.Wake, limit int) ([]webhook.Wake, error) {
			if s == shard {
				pages++
			}
			return f.Log.Due(ctx, s, until, after, limit)
		}
		f.Sweep(t.Context(), t)
		if got := f.Metrics.Count("Swept"); got != n || len(f.RetryQueue.Sent()) != n || pages != 3 {
			t.Errorf("%d swept, %d sent, %d pages", got, len(f.RetryQueue.Sent()), pages)
		}
	})
}

func TestSweepPushesBeforeItSends(t *testing.T) {
	for _, test := range []struct {
		name    string
		arrange func(f *fixture)
		again   time.Duration // when another sweep runs
		want    []string      // sent, by both
	}{
		{name: "so a second sweep at the same time sends nothing", again: 0, want: []string{"0/2 in 0s again"}},
		{
			name: "so what was not sent comes at the next time",
			arrange: func(f *fixture) {
				f.RetryQueue.OnSend = deliverytest.Once(deliverytest.Refused)
			},
			again: 30 * time.Minute, want: []string{"0/2 in 0s again", "0/2 in 0s again"},
		},
		{
			name: "so one that was cut off before it sent harms nothing",
			arrange: func(f *fixture) {
				calls := 0
				f.Waiting.OnPush = func(ctx context.Context, w webhook.Wake, to webhook.Time) (*webhook.Delivery, error) {
					d, err := f.Log.Push(ctx, w, to)
					if calls++; calls == 1 {
						return nil, deliverytest.ErrAway
					}
					return d, err
				}
			},
			again: 30 * time.Minute, want: []string{"0/2 in 0s again"},
		},
		{
			name: "so what cannot be pushed is not sent, and found again",
			arrange: func(f *fixture) {
				calls := 0
				f.Waiting.OnPush = func(ctx context.Context, w webhook.Wake, to webhook.Time) (*webhook.Delivery, error) {
					if calls++; calls == 1 {
						return nil, deliverytest.ErrAway
					}
					return f.Log.Push(ctx, w, to)
				}
			},
			again: time.Minute, want: []string{"0/2 in 0s again"},
		},
		{
			name: "so an entry of the index that is behind is not sent",
			arrange: func(f *fixture) {
				f.Waiting.OnDue = func(_ context.Context, s int, _ time.Time, after *webhook.Wake, _ int) ([]webhook.Wake, error) {
					m := f.First(1)
					if after != nil || s != webhook.WakeShard(m.ConfigID, m.Event.ID) {
						return nil, nil
					}
					stale := webhook.At(f.Begin.Add(-time.Hour))
					return []webhook.Wake{{ConfigID: m.ConfigID, EventID: m.Event.ID, WakeAt: stale, NextAttemptAt: stale}}, nil
				}
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				waiting(f, 1, -time.Second)
				if test.arrange != nil {
					test.arrange(f)
				}
				f.Sweep(t.Context(), t)
				f.Sleep(test.again)
				f.Sweep(t.Context(), t)
				if diff := cmp.Diff(test.want, sentBy(f)); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestSweepLeavesAThrottledConfigAlone has a config of which nothing can be pushed on, or whose items make the
// store panic: it costs a push or two for each shard, and not one for each of its deliveries.
func TestSweepLeavesAThrottledConfigAlone(t *testing.T) {
	const backlog = 2000
	for name, fail := range map[string]func() (*webhook.Delivery, error){
		"that is throttled":    func() (*webhook.Delivery, error) { return nil, deliverytest.ErrAway },
		"whose items panic us": func() (*webhook.Delivery, error) { panic("an odd item") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				for event := range backlog {
					waiting(f, event+1, -time.Hour)
				}
				const neighbour = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708199"
				other := f.Log.All()[0]
				other.ConfigID, other.WakeAt = neighbour, webhook.At(f.Begin.Add(-time.Second))
				f.Log.Set(other)
				var mu sync.Mutex
				pushes := 0
				f.Waiting.OnPush = func(ctx context.Context, w webhook.Wake, to webhook.Time) (*webhook.Delivery, error) {
					if w.ConfigID == neighbour {
						return f.Log.Push(ctx, w, to)
					}
					mu.Lock()
					pushes++
					mu.Unlock()
					return fail()
				}
				f.Sweep(t.Context(), t)
				if sent := f.RetryQueue.Sent(); len(sent) != 1 || sent[0].Message.ConfigID != neighbour {
					t.Errorf("%d messages were sent, want the neighbour's alone", len(sent))
				}
				if most := 10 * webhook.WakeShards; pushes > most {
					t.Errorf("%d of %d entries were tried, want at most %d", pushes, backlog, most)
				}
			})
		})
	}
}

func TestSweepErrorsAboutAShardAndSweepsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		for event := range 50 {
			waiting(f, event+1, -time.Second)
		}
		f.Waiting.OnDue = func(ctx context.Context, s int, until time.Time, after *webhook.Wake, limit int) ([]webhook.Wake, error) {
			if s == 3 {
				return nil, deliverytest.ErrAway
			}
			return f.Log.Due(ctx, s, until, after, limit)
		}
		if err := f.Sweeper.Handle(t.Context()); err == nil {
			t.Error("no error")
		}
		in3, _, _ := f.Log.Count(t.Context(), 3, f.Now())
		if sent := len(f.RetryQueue.Sent()); sent+in3 != 50 || in3 == 0 {
			t.Errorf("%d sent, %d left in the shard", sent, in3)
		}
	})
}

func TestSweepStopsBeforeItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		pages := 0
		f.Waiting.OnDue = func(_ context.Context, s int, _ time.Time, _ *webhook.Wake, limit int) ([]webhook.Wake, error) {
			if s != 0 {
				return nil, nil
			}
			pages++
			time.Sleep(20 * time.Second)
			return make([]webhook.Wake, limit), nil // without end; nothing of it is there to be pushed
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Sweeper.Handle(ctx); err != nil || pages != 3 {
			t.Errorf("%v after %d pages", err, pages)
		}
	})
}

func TestSweepMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		counted := map[int]bool{}
		f.Waiting.OnCount = func(_ context.Context, s int, until time.Time) (int, int, error) {
			counted[s] = true
			if !until.Equal(f.Now().Add(time.Hour)) {
				t.Errorf("counted until %s", until)
			}
			return 2, 5, nil
		}
		for range webhook.WakeShards {
			f.Sweep(t.Context(), t)
			f.Sleep(time.Minute)
		}
		if len(counted) != webhook.WakeShards {
			t.Errorf("counted only %v", counted)
		}
		if w, d := f.Metrics.Count("WaitingDeliveries"), f.Metrics.Count("DueWithinHour"); w != 16*16*5 || d != 16*16*2 {
			t.Errorf("%d waiting, %d due within an hour", w, d)
		}
		if n := f.Metrics.Count("OldestDue"); n != 16 {
			t.Errorf("the oldest was measured %d times", n)
		}
	})
}

// TestWhatIsLostComesByTheSweep: every message of a later attempt is lost on its way to the queue, but those that
// the sweep sends.
func TestWhatIsLostComesByTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(500))
		f.RetryQueue.OnSend = func(m webhook.Message) deliverytest.Fault {
			if f.Now().Truncate(time.Minute).Equal(f.Now()) && m.Again {
				return deliverytest.None
			}
			return deliverytest.Refused
		}
		f.Sleep(time.Second) // so that no attempt is made at a full minute
		f.DeliveryQueue.Put("m1", f.First(1))
		f.Run(t.Context(), t, f.Begin.Add(10*24*time.Hour))
		if got := f.Line(f.Delivery(1)); len(f.Poster.Posts()) != 5 || len(f.DeadLetters.IDs()) != 1 {
			t.Errorf("%s, %d POSTs, dead letters %v", got, len(f.Poster.Posts()), f.DeadLetters.IDs())
		}
	})
}

func TestTheDelaysOfARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(500))
		f.DeliveryQueue.Put("m1", f.First(1))
		f.Run(t.Context(), t, f.Begin.Add(3*24*time.Hour))
		var delays []string
		last := f.Begin
		for _, p := range f.Poster.Posts() {
			delays = append(delays, fmt.Sprintf("#%d after %s", p.Request.Attempt, p.At.Sub(last)))
			last = p.At
		}
		want := []string{"#1 after 0s", "#2 after 10s", "#3 after 5m0s", "#4 after 1h30m0s", "#5 after 22h0m0s"}
		if diff := cmp.Diff(want, delays); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if letters := f.DeadLetters.IDs(); len(letters) != 1 || letters[0] != f.Delivery(1).EndedBy {
			t.Errorf("dead letters %v, ended by %s", letters, f.Delivery(1).EndedBy)
		}
		// What comes back from there begins another round, whose success makes all of it obsolete.
		f.Poster.OnPost = nil
		f.Sleep(time.Minute)
		f.DeadLetters.Redrive()
		f.Run(t.Context(), t, f.Now().Add(24*time.Hour))
		if posts := f.Poster.Posts(); len(posts) != 6 || posts[5].Request.Attempt != 1 || f.Delivery(1).Status != webhook.Delivered {
			t.Errorf("%d POSTs, %s", len(posts), f.Line(f.Delivery(1)))
		}
	})
}
