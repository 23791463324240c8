package delivery_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestHealth(t *testing.T) {
	const day = 24 * time.Hour
	failing := func(count int, lasted time.Duration) func(f *fixture) {
		return func(f *fixture) {
			f.Health.OnCount = func() (int, time.Time, error) { return count, f.Now().Add(-lasted), nil }
		}
	}
	for _, test := range []struct {
		name      string
		attempt   int
		threshold int
		result    endpoint.Result
		arrange   func(f *fixture)
		want      []string
	}{
		{name: "nothing is written for a success of a healthy config", attempt: 1, threshold: 20, result: deliverytest.Success()},
		{
			name: "the first success after failures forgets them", attempt: 1, threshold: 20, result: deliverytest.Success(),
			arrange: config(func(c *webhook.Config) { c.FailureCount = 3 }), want: []string{"reset"},
		},
		{name: "nothing is written for a failure that is retried", attempt: 4, threshold: 20, result: deliverytest.Failure(500)},
		{name: "a fifth failure counts", attempt: 5, threshold: 20, result: deliverytest.Failure(500), want: []string{"count"}},
		{
			name: "the config is deactivated at the threshold after a day", attempt: 5, threshold: 20, result: deliverytest.Failure(500),
			arrange: failing(20, day), want: []string{"count", "deactivate endpoint_failing"},
		},
		{
			name: "it stays active below the threshold, however long it fails", attempt: 5, threshold: 20,
			result: deliverytest.Failure(500), arrange: failing(19, 30*day), want: []string{"count"},
		},
		{
			name: "it stays active at the threshold within a day", attempt: 5, threshold: 20, result: deliverytest.Failure(500),
			arrange: failing(20, day-1), want: []string{"count"},
		},
		{name: "nothing counts when the threshold is 0", attempt: 5, result: deliverytest.Failure(500), arrange: failing(20, day)},
		{
			name: "an endpoint that is gone is deactivated at once, whatever the threshold", attempt: 1, result: deliverytest.Failure(410),
			want: []string{"deactivate endpoint_gone"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				f.Deliverer.FailureThreshold = test.threshold
				if test.attempt > 1 {
					f.Logged(test.attempt - 1)
				}
				if test.arrange != nil {
					test.arrange(f)
				}
				f.Poster.OnPost = deliverytest.Always(test.result)
				got := f.Handle(t.Context(), t, arrival{ID: "a", Message: f.Attempt(test.attempt)})
				if diff := cmp.Diff(test.want, got.Health); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestAnEndpointThatFailsForADayIsDeactivated: three events, the threshold is three final failures.
func TestAnEndpointThatFailsForADayIsDeactivated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Deliverer.FailureThreshold = 3
		f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(500))
		f.DeliveryQueue.Put("m1", f.First(1))
		f.DeliveryQueue.Put("m2", f.First(2))
		f.Run(t.Context(), t, f.Begin.Add(3*24*time.Hour))
		if c := f.Log.Config(deliverytest.ConfigID); !c.Active || c.FailureCount != 2 {
			t.Errorf("after two final failures: active %t, %d failures", c.Active, c.FailureCount)
		}
		f.Sleep(24 * time.Hour)
		f.RetryQueue.Put("m3", f.First(3))
		f.Run(t.Context(), t, f.Now().Add(3*24*time.Hour))
		if c := f.Log.Config(deliverytest.ConfigID); c.Active || c.DeactivatedReason != webhook.EndpointFailing {
			t.Errorf("after the third: active %t, %q", c.Active, c.DeactivatedReason)
		}
		if n := f.Metrics.Count("ConfigsDeactivated"); n != 1 {
			t.Errorf("counted %d times", n)
		}
	})
}

func TestLane(t *testing.T) {
	answer := func(took time.Duration, status int) endpoint.Result {
		return endpoint.Result{Status: status, Code: endpoint.CodeHTTPStatus, Duration: took}
	}
	for _, test := range []struct {
		name   string
		change func(c *webhook.Config, now time.Time)
		result endpoint.Result
		want   []string
	}{
		{name: "nothing is written of a fast endpoint that is fast", result: answer(time.Millisecond, 500)},
		{
			name: "an answer within a second makes an endpoint fast, whatever its status", result: answer(time.Second-1, 500),
			change: func(c *webhook.Config, _ time.Time) { c.FastUntil = webhook.Time{} }, want: []string{"fast"},
		},
		{name: "an answer after a second makes it slow", result: answer(time.Second, 200), want: []string{"slow"}},
		{
			name:   "no answer makes it slow, however soon that is known",
			result: endpoint.Result{Code: endpoint.CodeTimeout, Duration: time.Millisecond}, want: []string{"slow"},
		},
		{
			name: "nothing is written again while most of its time is left", result: answer(time.Minute, 200),
			change: func(c *webhook.Config, now time.Time) { c.SlowUntil = webhook.At(now.Add(5 * time.Minute)) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				if test.change != nil {
					config(func(c *webhook.Config) { test.change(c, f.Now()) })(f)
				}
				f.Poster.OnPost = deliverytest.Always(test.result)
				if diff := cmp.Diff(test.want, f.Handle(t.Context(), t, one(first)(f)...).Health); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestTheLaneOfAConfigIsWrittenOncePerBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(endpoint.Result{Code: endpoint.CodeTimeout, Duration: 15 * time.Second})
		var arrivals []arrival
		for n := range 10 {
			arrivals = append(arrivals, arrival{ID: fmt.Sprint(n), Message: f.First(n + 1)})
		}
		if diff := cmp.Diff([]string{"slow"}, f.Handle(t.Context(), t, arrivals...).Health); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestAnEndpointThatBeginsToHang: of sixty first attempts at once, one batch asks it and the others are handed over.
func TestAnEndpointThatBeginsToHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = func(context.Context, endpoint.Request) endpoint.Result {
			time.Sleep(endpoint.AttemptTimeout)
			return endpoint.Result{Code: endpoint.CodeTimeout, Duration: endpoint.AttemptTimeout}
		}
		for n := range 60 {
			f.DeliveryQueue.Put(fmt.Sprint("m", n), f.First(n+1))
		}
		for range 6 {
			records := f.DeliveryQueue.Receive(10)
			answer, err := f.Deliverer.Handle(t.Context(), batchOf(records))
			if err != nil {
				t.Fatal(err)
			}
			f.DeliveryQueue.Answered(records, answer)
		}
		if took := f.Now().Sub(f.Begin); took > endpoint.AttemptTimeout+time.Second {
			t.Errorf("DeliveryQueue was busy for %s", took)
		}
		if posts, handed := len(f.Poster.Posts()), f.Metrics.Count("HandedOver"); posts != 10 || handed != 50 {
			t.Errorf("%d POSTs, %d handed over", posts, handed)
		}
	})
}
