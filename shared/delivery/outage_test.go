package delivery_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// postsOf returns how many POSTs each event got.
func postsOf(f *fixture) map[string]int {
	posts := map[string]int{}
	for _, p := range f.Poster.Posts() {
		posts[p.Request.EventID]++
	}
	return posts
}

// TestAnOutageOfTheTablesMultipliesNothing: nothing can be read for a while, and the queue loses every seventh of
// its answers. All is delivered afterwards, and the number of messages stays what it was.
func TestAnOutageOfTheTablesMultipliesNothing(t *testing.T) {
	const events = 20
	for _, outage := range []time.Duration{36 * time.Minute, 3 * time.Hour, 3 * 24 * time.Hour} {
		t.Run(outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				f.Store.OnLoad = func(ctx context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
					if f.Now().Sub(f.Begin) < outage {
						return nil, deliverytest.ErrAway
					}
					return f.Log.Load(ctx, keys)
				}
				calls := 0
				f.RetryQueue.OnSend = func(webhook.Message) deliverytest.Fault {
					if calls++; calls%7 == 0 {
						return deliverytest.Lost
					}
					return deliverytest.None
				}
				for n := range events {
					f.DeliveryQueue.Put(fmt.Sprint("m", n), f.First(n))
				}
				f.Run(t.Context(), t, f.Begin.Add(outage-time.Second))
				if n := len(f.DeliveryQueue.IDs()) + len(f.RetryQueue.IDs()); n > 2*events {
					t.Errorf("%d messages of %d events during the outage", n, events)
				}
				f.Run(t.Context(), t, f.Begin.Add(outage+24*time.Hour))
				for n := range events {
					if d := f.Delivery(n); d == nil || d.Status != webhook.Delivered {
						t.Errorf("event %d: %s", n, f.Line(d))
					}
				}
				for event, n := range postsOf(f) {
					if n > 2 {
						t.Errorf("%d POSTs of %s", n, event)
					}
				}
			})
		})
	}
}

// TestALongWaitIsInNoQueue: an endpoint that wants to be left alone holds no message, so none of another's room.
func TestALongWaitIsInNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(endpoint.Result{Status: 503, Code: endpoint.CodeHTTPStatus, RetryAfter: 16 * time.Minute})
		for n := range 100 {
			f.DeliveryQueue.Put(fmt.Sprint("m", n), f.First(n))
		}
		f.Run(t.Context(), t, f.Begin.Add(time.Minute))
		if n := len(f.DeliveryQueue.IDs()) + len(f.RetryQueue.IDs()); n != 0 {
			t.Errorf("%d messages while 100 deliveries wait", n)
		}
		f.Poster.OnPost = nil
		f.Run(t.Context(), t, f.Begin.Add(time.Hour))
		for n := range 100 {
			if d := f.Delivery(n); d.Status != webhook.Delivered || d.DeliveredAt.Sub(f.Begin) > 18*time.Minute {
				t.Fatalf("event %d: %s at %s", n, f.Line(d), d.DeliveredAt)
			}
		}
	})
}

// TestThrottlingUsesNoAttemptUp: a message that was received four times in vain still makes its attempt, and the
// next one has all its receives.
func TestThrottlingUsesNoAttemptUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(500))
		f.RetryQueue.Put("m1", f.First(1))
		throttle := func(times int) {
			for range times {
				f.RetryQueue.Receive(1)
				f.Sleep(6 * time.Minute)
			}
		}
		for n := 1; n <= webhook.MaxAttempts; n++ {
			throttle(4)
			f.Run(t.Context(), t, f.Now().Add(time.Second))
			if got := len(f.Poster.Posts()); got != n {
				t.Fatalf("%d POSTs after %d messages that were throttled four times: %s", got, n, f.Line(f.Delivery(1)))
			}
			if d := f.Delivery(1); d.Waiting() {
				f.Sleep(max(0, d.NextAttemptAt.Sub(f.Now())-2*time.Minute))
				f.Sweep(t.Context(), t)
				f.Sleep(max(0, d.NextAttemptAt.Sub(f.Now())-time.Minute))
				f.Sweep(t.Context(), t)
				f.Sleep(max(0, d.NextAttemptAt.Sub(f.Now())))
			}
		}
		f.Run(t.Context(), t, f.Now().Add(time.Hour))
		if d := f.Delivery(1); d.Status != webhook.DeliveryFailed || len(f.DeadLetters.IDs()) != 1 {
			t.Errorf("%s, dead letters %v", f.Line(d), f.DeadLetters.IDs())
		}
	})
}

// TestAMessageThatIsThrottledAwayComesByTheSweep: its five receives are gone without an attempt.
func TestAMessageThatIsThrottledAwayComesByTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Logged(1)
		f.RetryQueue.Put("m2", f.Attempt(2))
		for range 6 {
			f.RetryQueue.Receive(1)
			f.Sleep(6 * time.Minute)
		}
		if letters := f.DeadLetters.IDs(); len(letters) != 1 {
			t.Fatalf("dead letters %v", letters)
		}
		f.Run(t.Context(), t, f.Now().Add(time.Hour))
		if d := f.Delivery(1); d.Status != webhook.Delivered || d.Attempt != 2 {
			t.Errorf("%s", f.Line(d))
		}
		// The one that died is obsolete when it comes back.
		f.DeadLetters.Redrive()
		f.Run(t.Context(), t, f.Now().Add(time.Hour))
		if n := len(f.Poster.Posts()); n != 1 {
			t.Errorf("%d POSTs", n)
		}
	})
}

// TestALogThatCannotBeWrittenRepeatsFewPosts: the endpoint accepts all, and for an hour the log accepts nothing.
func TestALogThatCannotBeWrittenRepeatsFewPosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		away := func() bool { return f.Now().Sub(f.Begin) < time.Hour }
		f.Store.OnRecord = func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
			if away() {
				<-ctx.Done()
				return deliverytest.Failing(outcomes)
			}
			return f.Log.Record(ctx, outcomes)
		}
		f.Store.OnStart = func(ctx context.Context, o webhook.Outcome) webhook.Recorded {
			if away() {
				return webhook.Recorded{Err: deliverytest.ErrAway}
			}
			return f.Log.Start(ctx, o)
		}
		const events = 30
		for n := range events {
			f.DeliveryQueue.Put(fmt.Sprint("m", n), f.First(n))
		}
		f.Run(t.Context(), t, f.Begin.Add(24*time.Hour))
		for n := range events {
			if d := f.Delivery(n); d == nil || d.Status != webhook.Delivered {
				t.Errorf("event %d: %s", n, f.Line(d))
			}
		}
		if posts := len(f.Poster.Posts()); posts > 2*events {
			t.Errorf("%d POSTs of %d events", posts, events)
		}
	})
}

// TestALogThatFailsForAMomentRepeatsNoPost: a result is tried again for 20 s.
func TestALogThatFailsForAMomentRepeatsNoPost(t *testing.T) {
	for _, test := range []struct {
		name string
		away time.Duration
		want did
	}{
		{
			name: "acknowledged when the log comes back in time", away: 20*time.Second - time.Millisecond,
			want: did{Posts: []string{"event1 #1"}, Log: "delivered 0/1 over done for 1, 1 listed"},
		},
		{
			name: "kept when it does not", away: 20*time.Second + time.Millisecond,
			want: did{Posts: []string{"event1 #1"}, Kept: []string{"a"}},
		},
	} {
		check(t, []rule{{
			name: test.name,
			arrange: func(f *fixture) {
				f.Store.OnRecord = func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
					select {
					case <-ctx.Done():
						return deliverytest.Failing(outcomes)
					case <-time.After(test.away):
						return f.Log.Record(ctx, outcomes)
					}
				}
			},
			arrivals: one(first),
			want:     test.want,
		}})
	}
}

// TestACanceledDeliveryIsSentAgainOnceItsConfigIsActive: five retries were canceled when the endpoint was gone.
func TestACanceledDeliveryIsSentAgainOnceItsConfigIsActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(500))
		for n := range 5 {
			f.DeliveryQueue.Put(fmt.Sprint("m", n), f.First(n))
		}
		f.Run(t.Context(), t, f.Begin.Add(time.Second))
		f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(410))
		f.DeliveryQueue.Put("gone", f.First(5))
		f.Run(t.Context(), t, f.Begin.Add(time.Hour))
		f.Poster.OnPost = nil
		config(func(c *webhook.Config) { c.Active = true })(f)
		for n := range 6 {
			want := webhook.Canceled
			if n == 5 {
				want = webhook.DeliveryFailed
			}
			d := f.Delivery(n)
			if d.Status != want {
				t.Errorf("event %d: %s", n, f.Line(d))
			}
			f.RetryQueue.Put(fmt.Sprint("r", n), webhook.NewRepeat(d, f.Now()))
		}
		f.Run(t.Context(), t, f.Now().Add(time.Hour))
		for n := range 6 {
			if d := f.Delivery(n); d.Status != webhook.Delivered {
				t.Errorf("event %d: %s", n, f.Line(d))
			}
		}
	})
}

// TestResendsAskedForAtOnceAreOneRound: twenty of a delivery that goes on to fail are five POSTs, not a hundred.
func TestResendsAskedForAtOnceAreOneRound(t *testing.T) {
	for name, how := range map[string]func(*webhook.Delivery, time.Time) webhook.Message{
		"resends": webhook.NewResend, "repeats": webhook.NewRepeat,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				f.Logged(5)
				d := f.Delivery(1)
				f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(500))
				for n := range 20 {
					f.RetryQueue.Put(fmt.Sprint("r", n), how(d, f.Now()))
				}
				f.Run(t.Context(), t, f.Now().Add(48*time.Hour))
				posts := len(f.Poster.Posts())
				if after := f.Delivery(1); posts != webhook.MaxAttempts || after.Status != webhook.DeliveryFailed {
					t.Errorf("%d POSTs, %s", posts, f.Line(after))
				}
			})
		})
	}
}

// TestARequestOfTheFarFutureSwallowsNoResend: it is no message of ours, so what succeeds for it does not count.
func TestARequestOfTheFarFutureSwallowsNoResend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		far := f.Resend(2)
		far.RequestedAt = webhook.At(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
		f.RetryQueue.Put("far", far)
		f.Run(t.Context(), t, f.Begin.Add(time.Hour))
		f.RetryQueue.Put("r", f.Resend(2))
		f.Run(t.Context(), t, f.Now().Add(time.Hour))
		if posts, letters := len(f.Poster.Posts()), f.DeadLetters.IDs(); posts != 1 || len(letters) != 1 {
			t.Errorf("%d POSTs, dead letters %v", posts, letters)
		}
	})
}
