package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// two are a message and its duplicate.
func two(f *fixture) []arrival {
	return []arrival{{ID: "a", Message: f.First(1)}, {ID: "b", Message: f.First(1)}}
}

func TestMessagesOfOneDeliveryGoOneAfterTheOther(t *testing.T) {
	check(t, []rule{
		{
			name:     "a duplicate is obsolete once the first has succeeded",
			arrivals: two,
			want:     did{Posts: []string{"event1 #1"}, Log: "delivered 0/1 over done for 1, 1 listed"},
		},
		{
			name:     "a duplicate is done once the first has failed",
			arrange:  answering(deliverytest.Failure(500)),
			arrivals: two,
			want:     did{Posts: []string{"event1 #1"}, Sent: []string{"0/2 in 10s"}, Log: "retrying 0/1 due 10s wakes 15m10s, 1 listed"},
		},
		{
			name:    "a resend follows a failure with a round of its own",
			arrange: answering(deliverytest.Failure(500)),
			arrivals: func(f *fixture) []arrival {
				return []arrival{{ID: "a", Message: f.First(1)}, {ID: "b", Message: f.Resend(2)}}
			},
			want: did{
				Posts: []string{"event1 #1", "event1 #1"}, Sent: []string{"0/2 in 10s"},
				Log: "delivered r2/1 over done for 2, 2 listed",
			},
		},
		{
			name:     "a duplicate stays when the result of the first is not in the log",
			arrange:  all(answering(deliverytest.Failure(500)), unlogged),
			arrivals: two,
			want:     did{Posts: []string{"event1 #1"}, Kept: []string{"a", "b"}},
		},
		{
			name: "a duplicate stays when the first has panicked after its POST",
			arrange: func(f *fixture) {
				f.Poster.OnPost = deliverytest.Answers(deliverytest.Failure(500))
				f.Deliverer.Random = func() float64 { panic("after the POST") }
			},
			arrivals: two,
			want:     did{Posts: []string{"event1 #1"}, Kept: []string{"a", "b"}},
		},
	})
}

func TestWhatConcernsOneMessageHoldsUpNoOther(t *testing.T) {
	otherBy := func(a arrival) func(f *fixture) []arrival {
		return func(f *fixture) []arrival {
			if a.Body == "" {
				a.Message = f.First(2)
			}
			return []arrival{a, {ID: "a", Message: f.First(1)}}
		}
	}
	of2 := func(what func()) func(f *fixture) {
		return func(f *fixture) {
			f.Poster.OnPost = func(_ context.Context, r endpoint.Request) endpoint.Result {
				if r.EventID == f.Event(2).ID {
					what()
				}
				return deliverytest.Success()
			}
		}
	}
	far := func(f *fixture) []arrival {
		m := f.Resend(2)
		m.RequestedAt = webhook.At(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
		return []arrival{{ID: "b", Message: m}, {ID: "a", Message: f.First(1)}}
	}
	const delivered = "delivered 0/1 over done for 1, 1 listed"
	check(t, []rule{
		{
			name:     "a message that cannot be parsed is reported, so that it reaches the dead-letter queue unharmed",
			arrivals: otherBy(arrival{ID: "b", Body: "{}"}),
			want:     did{Posts: []string{"event1 #1"}, Kept: []string{"b"}, Log: delivered},
		},
		{
			name:     "so is a request of the far future, which would make every later resend obsolete",
			arrivals: far,
			want:     did{Posts: []string{"event1 #1"}, Kept: []string{"b"}, Log: delivered},
		},
		{
			name:     "a panic is of one message",
			arrange:  of2(func() { panic("broken") }),
			arrivals: otherBy(arrival{ID: "b"}),
			want:     did{Posts: []string{"event1 #1", "event2 #1"}, Kept: []string{"b"}, Log: delivered},
		},
		{
			name: "a panic of the log is of what it was to write",
			arrange: func(f *fixture) {
				f.Poster.OnPost = func(_ context.Context, r endpoint.Request) endpoint.Result {
					if r.EventID == f.Event(2).ID {
						time.Sleep(time.Second)
					}
					return deliverytest.Success()
				}
				f.Store.OnRecord = func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
					if outcomes[0].Message.Event.ID == f.Event(2).ID {
						panic("broken")
					}
					return f.Log.Record(ctx, outcomes)
				}
			},
			arrivals: otherBy(arrival{ID: "b"}),
			want:     did{Posts: []string{"event1 #1", "event2 #1"}, Kept: []string{"b"}, Log: delivered},
		},
	})
}

func TestAnEmptyBatchIsAnswered(t *testing.T) {
	f := deliverytest.New(&deliverytest.Manual{T: time.Now()})
	if got := f.Handle(t.Context(), t); !cmp.Equal(got, did{}) {
		t.Errorf("%+v", got)
	}
}

// groups makes the test see when which events are logged together.
func groups(f *fixture, seen *[]string) {
	f.Store.OnRecord = func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
		*seen = append(*seen, fmt.Sprintf("%d at %s", len(outcomes), f.Now().Sub(f.Begin)))
		return f.Log.Record(ctx, outcomes)
	}
}

func TestResultsAreLoggedInGroups(t *testing.T) {
	for _, test := range []struct {
		name string
		took []time.Duration // by the attempts at events 1, 2, …
		want []string
	}{
		{name: "all at once when all have come", took: make([]time.Duration, 10), want: []string{"10 at 0s"}},
		{
			name: "without waiting for the one that hangs", took: []time.Duration{0, 0, 15 * time.Second},
			want: []string{"2 at 50ms", "1 at 15s"},
		},
		{
			name: "those that come within the time that the first one waits",
			took: []time.Duration{0, 49 * time.Millisecond, 51 * time.Millisecond},
			want: []string{"2 at 50ms", "1 at 51ms"},
		},
		{name: "at once when the last that ran has come", took: []time.Duration{0, 20 * time.Millisecond}, want: []string{"2 at 20ms"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				var seen []string
				groups(f, &seen)
				took := map[string]time.Duration{}
				var arrivals []arrival
				for i, d := range test.took {
					m := f.First(i + 1)
					took[m.Event.ID] = d
					arrivals = append(arrivals, arrival{ID: fmt.Sprint(i), Message: m})
				}
				f.Poster.OnPost = func(_ context.Context, r endpoint.Request) endpoint.Result {
					time.Sleep(took[r.EventID])
					return deliverytest.Success()
				}
				if got := f.Handle(t.Context(), t, arrivals...); len(got.Kept) != 0 {
					t.Errorf("kept %v", got.Kept)
				}
				if diff := cmp.Diff(test.want, seen); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestTheBatchEndsBeforeItsDeadline(t *testing.T) {
	const minute = time.Minute // the function's timeout
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Logged(4)
		config(func(c *webhook.Config) { c.FailureCount = 1 })(f)
		f.Deliverer.RetryQueue = hangingQueue{}
		f.Deliverer.Health = hangingHealth{}
		f.Deliverer.Credentials = credentialsAfter{Credentials: f.Credentials, d: 10*time.Second - time.Millisecond}
		f.Store.OnLoad = func(ctx context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
			time.Sleep(2 * time.Second)
			return f.Log.Load(ctx, keys)
		}
		f.Store.OnStart = func(ctx context.Context, o webhook.Outcome) webhook.Recorded {
			time.Sleep(4*time.Second - time.Millisecond)
			return f.Log.Start(ctx, o)
		}
		f.Poster.OnPost = func(context.Context, endpoint.Request) endpoint.Result {
			time.Sleep(endpoint.AttemptTimeout)
			return deliverytest.Failure(410)
		}
		f.Store.OnRecord = func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
			_ = hang(ctx)
			return f.Log.Record(ctx, outcomes)
		}
		ctx, cancel := context.WithTimeout(t.Context(), minute)
		defer cancel()
		got := f.Handle(ctx, t, one(attempt(5), receives(2))(f)...)
		if len(got.Posts) != 1 || len(got.Kept) != 1 {
			t.Errorf("%+v", got)
		}
		if left := f.Begin.Add(minute).Sub(f.Now()); left < time.Second {
			t.Errorf("everything hung, and the batch ended %v before its deadline", left)
		}
	})
}

func TestNoAttemptStartsThatCouldNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		want := did{Kept: []string{"a"}, Visible: visible{"a": "0s"}}
		if diff := cmp.Diff(want, f.Handle(ctx, t, one(first)(f)...)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAQueueThatDoesNotAnswerLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.RetryQueue.OnChange = func() deliverytest.Fault { return deliverytest.Refused }
		got := f.Handle(t.Context(), t, one(first, dueIn(time.Minute))(f)...)
		if diff := cmp.Diff([]string{"a"}, got.Kept); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestConnectionsAreNotTrustedAfterAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		rested := 0
		f.Poster.OnRested = func() { rested++ }
		for _, pause := range []time.Duration{0, time.Second, 5 * time.Second, 5*time.Second + 1} {
			time.Sleep(pause)
			f.Handle(t.Context(), t, one(first)(f)...)
		}
		if rested != 2 {
			t.Errorf("rested %d times, want at the first batch and after the last pause", rested)
		}
	})
}

func TestOneWideLineForEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(deliverytest.Failure(500))
		f.Handle(t.Context(), t, one(first, receives(2))(f)...)
		received, lines, _ := strings.Cut(f.Lines.String(), "\n")
		if !strings.Contains(received, `"msg":"received","delivery_id":"dlv_`) || !strings.Contains(received, `"message_id":"a"`) {
			t.Errorf("before any POST it says %s", received)
		}
		for _, want := range []string{
			`"msg":"attempt"`, `"organization_id":"org_1"`, `"message_id":"a"`, `"attempt":1`, `"receive_count":2`,
			`"outcome":"http_status"`, `"delivery_status":"retrying"`, `"response_status":500`,
			`"next_attempt_at":"2000-01-01T00:00:10.000Z"`, `"msg":"batch","messages":1,"kept":0`,
		} {
			if n := strings.Count(lines, want); n != 1 {
				t.Errorf("%s is there %d times in %s", want, n, lines)
			}
		}
		for name, want := range map[string]int{"Attempts http_status": 1, "EndpointLatency": 1, "flushed": 1, "Deliveries retrying": 0} {
			if got := f.Metrics.Count(name); got != want {
				t.Errorf("%s was counted %d times, want %d", name, got, want)
			}
		}
	})
}

// hangingQueue and hangingHealth never answer.
type (
	hangingQueue  struct{}
	hangingHealth struct{}
)

func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return errors.New("hung")
}

func (hangingQueue) Is(arn string) bool { return arn == "slow" }
func (hangingQueue) SendOnce(ctx context.Context, _ webhook.Message, _ time.Duration) error {
	return untilDone(ctx)
}
func (hangingQueue) ChangeVisibility(ctx context.Context, _ []webhook.Visibility) error {
	return untilDone(ctx)
}
func (hangingHealth) Deactivate(ctx context.Context, _ *webhook.Config, _ string, _ time.Time) (bool, error) {
	return false, untilDone(ctx)
}
func (hangingHealth) ResetFailures(ctx context.Context, _ *webhook.Config) error {
	return untilDone(ctx)
}
func (hangingHealth) SetLane(ctx context.Context, _ *webhook.Config, _ webhook.Lane) error {
	return untilDone(ctx)
}
func (hangingHealth) CountFailure(ctx context.Context, _ *webhook.Config, _ time.Time) (int, time.Time, error) {
	return 0, time.Time{}, untilDone(ctx)
}

// credentialsAfter opens credentials after a while.
type credentialsAfter struct {
	delivery.Credentials
	d time.Duration
}

func (c credentialsAfter) Open(ctx context.Context, sealed, organizationID, configID string) (signature.Credentials, error) {
	time.Sleep(c.d)
	return c.Credentials.Open(ctx, sealed, organizationID, configID)
}
