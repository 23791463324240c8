package delivery_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Names that every test here uses.
type (
	fixture = deliverytest.Fixture
	arrival = deliverytest.Arrival
	did     = deliverytest.Did
	visible = map[string]string
)

// rule is a message and what becomes of it.
type rule struct {
	name     string
	arrange  func(f *fixture)
	arrivals func(f *fixture) []arrival
	want     did
}

// one is a single message.
func one(message func(f *fixture) webhook.Message, change ...func(*arrival)) func(f *fixture) []arrival {
	return func(f *fixture) []arrival {
		a := arrival{ID: "a", Message: message(f)}
		for _, c := range change {
			c(&a)
		}
		return []arrival{a}
	}
}

func first(f *fixture) webhook.Message { return f.First(1) }

func attempt(n int) func(f *fixture) webhook.Message {
	return func(f *fixture) webhook.Message { return f.Attempt(n) }
}

func resend(n int) func(f *fixture) webhook.Message {
	return func(f *fixture) webhook.Message { return f.Resend(n) }
}

func id(id string) func(*arrival)             { return func(a *arrival) { a.ID = id } }
func receives(n int) func(*arrival)           { return func(a *arrival) { a.Receives = n } }
func sent(after time.Duration) func(*arrival) { return func(a *arrival) { a.Sent = after } }
func fast(a *arrival)                         { a.Fast = true }
func again(a *arrival)                        { a.Message.Again = true }
func dueIn(d time.Duration) func(*arrival) {
	return func(a *arrival) { a.Message.NotBefore = webhook.At(a.Message.NotBefore.Add(d)) }
}

func answering(results ...endpoint.Result) func(f *fixture) {
	return func(f *fixture) { f.Poster.OnPost = deliverytest.Answers(results...) }
}

// all arranges several things.
func all(arrange ...func(f *fixture)) func(f *fixture) {
	return func(f *fixture) {
		for _, one := range arrange {
			one(f)
		}
	}
}

func logged(attempts int) func(f *fixture) { return func(f *fixture) { f.Logged(attempts) } }

func succeeded(message func(f *fixture) webhook.Message) func(f *fixture) {
	return func(f *fixture) { f.Succeeded(message(f), "s") }
}

func config(change func(*webhook.Config)) func(f *fixture) {
	return func(f *fixture) { f.Log.ChangeConfig(deliverytest.ConfigID, change) }
}

func inactive(f *fixture) { config(func(c *webhook.Config) { c.Active = false })(f) }

func check(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				if r.arrange != nil {
					r.arrange(f)
				}
				if diff := cmp.Diff(r.want, f.Handle(t.Context(), t, r.arrivals(f)...)); diff != "" {
					t.Errorf("(-want +got):\n%s\n%s", diff, f.Lines)
				}
			})
		})
	}
}

func TestRule1Obsolete(t *testing.T) {
	check(t, []rule{
		{
			name:     "done when it is a duplicate of what has succeeded",
			arrange:  succeeded(first),
			arrivals: one(first),
			want:     did{Log: "delivered 0/1 over done for 1, 1 listed"},
		},
		{
			name:     "done when a later request has succeeded",
			arrange:  succeeded(resend(2)),
			arrivals: one(attempt(3)),
			want:     did{Log: "delivered r2/1 over done for 2, 1 listed"},
		},
		{
			name:     "done when it was redriven after a resend has succeeded",
			arrange:  all(logged(5), succeeded(resend(2))),
			arrivals: one(attempt(5), sent(time.Minute)),
			want:     did{Log: "delivered r2/1 over done for 2, 6 listed"},
		},
		{
			name:     "done even if its config is inactive: what succeeded is never canceled",
			arrange:  all(succeeded(first), inactive),
			arrivals: one(first),
			want:     did{Log: "delivered 0/1 over done for 1, 1 listed"},
		},
		{
			name:     "attempted when it is a newer request than what has succeeded",
			arrange:  succeeded(first),
			arrivals: one(resend(2)),
			want:     did{Posts: []string{"event1 #1"}, Log: "delivered r2/1 over done for 2, 2 listed"},
		},
		{
			name: "done before a live round of the same request goes on",
			arrange: func(f *fixture) {
				f.Succeeded(f.First(1), "s")
				f.LoggedBy(f.Resend(2), 1)
			},
			arrivals: one(first),
			want:     did{Log: "retrying r2/1 done for 1 due 0s wakes 15m0s, 2 listed"},
		},
	})
}

func TestRule2Superseded(t *testing.T) {
	check(t, []rule{
		{
			name:     "done when a later request's round is live",
			arrange:  all(logged(2), func(f *fixture) { f.LoggedBy(f.Resend(2), 1) }),
			arrivals: one(attempt(3)),
			want:     did{Log: "retrying r2/1 due 0s wakes 15m0s, 3 listed"},
		},
		{
			name: "done when a later round of the same request is live",
			arrange: func(f *fixture) {
				f.Logged(2)
				f.LoggedBy(webhook.NewRepeat(f.Delivery(1), f.Now()), 1)
			},
			arrivals: one(attempt(3)),
			want:     did{Log: "retrying repeat/1 due 0s wakes 15m0s, 3 listed"},
		},
		{
			name:     "done when it is redriven although a later round has failed for good",
			arrange:  all(logged(5), func(f *fixture) { f.LoggedBy(f.Resend(2), 5) }),
			arrivals: one(attempt(5), sent(time.Minute)),
			want:     did{Log: "failed r2/5 over by m5, 10 listed"},
		},
		{
			name:     "attempted when its round comes after the live one",
			arrange:  all(logged(2), answering(deliverytest.Failure(500))),
			arrivals: one(resend(2)),
			want: did{
				Posts: []string{"event1 #1"}, Sent: []string{"r2/2 in 10s"}, Log: "retrying r2/1 due 10s wakes 15m10s, 3 listed",
			},
		},
	})
}

func TestRule3Redriven(t *testing.T) {
	check(t, []rule{
		{
			name:     "the first attempt of a new round, named after the redriven message",
			arrange:  all(logged(5), answering(deliverytest.Failure(500))),
			arrivals: one(attempt(5), sent(0)),
			want: did{
				Posts: []string{"event1 #1"}, Sent: []string{"a/2 in 10s"}, Log: "retrying a/1 due 10s wakes 15m10s, 6 listed",
			},
		},
		{
			name:     "so too when an earlier receive of it left nothing, with the start logged first",
			arrange:  logged(5),
			arrivals: one(attempt(5), receives(2)),
			want:     did{Posts: []string{"event1 #1"}, Log: "delivered a/1 over done for 1, 6 listed"},
		},
		{
			name:     "done when it is a copy that was sent before the round ended",
			arrange:  logged(5),
			arrivals: one(attempt(5), sent(-time.Minute)),
			want:     did{Log: "failed 0/5 over by m5, 5 listed"},
		},
		{
			name:     "done when it is not of the attempt that ended the round",
			arrange:  logged(5),
			arrivals: one(attempt(4), sent(time.Minute)),
			want:     did{Log: "failed 0/5 over by m5, 5 listed"},
		},
		{
			name:     "done when its round did not end by a fifth failure",
			arrange:  all(logged(4), func(f *fixture) { cancel(f, f.Attempt(5)) }),
			arrivals: one(attempt(5), sent(time.Minute)),
			want:     did{Log: "canceled 0/4 over, 4 listed"},
		},
		{
			name:     "handed over as the first attempt of its new round when the endpoint is not fast",
			arrange:  all(logged(5), config(func(c *webhook.Config) { c.FastUntil = webhook.Time{} })),
			arrivals: one(attempt(5), fast),
			want:     did{Sent: []string{"a/1 in 0s"}, Log: "failed 0/5 over by m5, 5 listed"},
		},
		{
			name:     "handed over as it is when nothing can be read",
			arrange:  all(logged(5), unreadable),
			arrivals: one(attempt(5), fast),
			want:     did{Sent: []string{"0/5 in 0s"}, Log: "failed 0/5 over by m5, 5 listed"},
		},
	})
}

// cancel puts the end of a round into the log that its config has caused.
func cancel(f *fixture, m webhook.Message) {
	after, _ := f.Delivery(1).After(webhook.Outcome{Message: m, MessageID: "c", Status: webhook.Canceled, At: webhook.At(f.Begin)})
	f.Log.Set(after)
}

func TestRule4Made(t *testing.T) {
	check(t, []rule{
		{
			name:     "done when another message has made its attempt",
			arrange:  logged(1),
			arrivals: one(first),
			want:     did{Log: "retrying 0/1 due 0s wakes 15m0s, 1 listed"},
		},
		{
			name:     "done when it has made its attempt itself and died before its answer",
			arrange:  logged(2),
			arrivals: one(attempt(2), id("m2"), receives(2)),
			want:     did{Log: "retrying 0/2 due 0s wakes 15m0s, 2 listed"},
		},
		{
			name:     "done when its round is over before its attempt",
			arrange:  all(logged(2), func(f *fixture) { cancel(f, f.Attempt(3)) }),
			arrivals: one(attempt(3)),
			want:     did{Log: "canceled 0/2 over, 2 listed"},
		},
		{
			name:     "reported and visible at once when it has ended the round itself, until SQS moves it",
			arrange:  logged(5),
			arrivals: one(attempt(5), id("m5"), receives(3)),
			want:     did{Kept: []string{"m5"}, Visible: visible{"m5": "0s"}, Log: "failed 0/5 over by m5, 5 listed"},
		},
		{
			name:     "reported so too when its config is inactive meanwhile",
			arrange:  all(logged(5), inactive),
			arrivals: one(attempt(5), id("m5"), receives(2)),
			want:     did{Kept: []string{"m5"}, Visible: visible{"m5": "0s"}, Log: "failed 0/5 over by m5, 5 listed"},
		},
	})
}

func TestRule5Canceled(t *testing.T) {
	check(t, []rule{
		{
			name:     "canceled when there is no config",
			arrange:  func(f *fixture) { f.Log.RemoveConfig(deliverytest.ConfigID) },
			arrivals: one(first),
			want:     did{Log: "canceled 0/0 over, 0 listed"},
		},
		{
			name:     "canceled when the config is deleted",
			arrange:  config(func(c *webhook.Config) { c.DeletedAt = webhook.At(time.Now()) }),
			arrivals: one(first, fast),
			want:     did{Log: "canceled 0/0 over, 0 listed"},
		},
		{
			name:     "canceled when the config is inactive: it wakes no more, and keeps its attempts",
			arrange:  all(logged(2), inactive),
			arrivals: one(attempt(3)),
			want:     did{Log: "canceled 0/2 over, 2 listed"},
		},
		{
			name:     "canceled even before it is due",
			arrange:  all(logged(2), inactive),
			arrivals: one(attempt(3), dueIn(time.Hour)),
			want:     did{Log: "canceled 0/2 over, 2 listed"},
		},
		{
			name:     "kept when that cannot be logged",
			arrange:  all(inactive, unlogged),
			arrivals: one(first),
			want:     did{Kept: []string{"a"}},
		},
	})
}

func TestRule6EarlyOrSlow(t *testing.T) {
	check(t, []rule{
		{
			name:     "invisible until it is due",
			arrivals: one(first, dueIn(3*time.Minute)),
			want:     did{Kept: []string{"a"}, Visible: visible{"a": "3m0s"}},
		},
		{
			name:     "invisible for a quarter of an hour at most",
			arrivals: one(first, dueIn(5*time.Hour)),
			want:     did{Kept: []string{"a"}, Visible: visible{"a": "15m0s"}},
		},
		{
			name:     "handed over when the endpoint has never been fast",
			arrange:  config(func(c *webhook.Config) { c.FastUntil = webhook.Time{} }),
			arrivals: one(first, fast),
			want:     did{Sent: []string{"0/1 in 0s"}},
		},
		{
			name:     "handed over when the endpoint was slow lately",
			arrange:  config(func(c *webhook.Config) { c.SlowUntil = webhook.At(time.Now().Add(time.Second)) }),
			arrivals: one(first, fast),
			want:     did{Sent: []string{"0/1 in 0s"}},
		},
		{
			name:     "handed over as one that may not be the first when it was received before",
			arrange:  config(func(c *webhook.Config) { c.FastUntil = webhook.Time{} }),
			arrivals: one(first, fast, receives(2)),
			want:     did{Sent: []string{"0/1 in 0s again"}},
		},
		{
			name: "attempted out of RetryQueue however slow the endpoint is",
			arrange: config(func(c *webhook.Config) {
				c.FastUntil, c.SlowUntil = webhook.Time{}, webhook.At(time.Now().Add(time.Hour))
			}),
			arrivals: one(first),
			want: did{
				Posts: []string{"event1 #1"}, Health: []string{"fast"}, Log: "delivered 0/1 over done for 1, 1 listed",
			},
		},
		{
			name: "kept when it cannot be handed over",
			arrange: all(config(func(c *webhook.Config) { c.FastUntil = webhook.Time{} }), func(f *fixture) {
				f.RetryQueue.OnSend = func(webhook.Message) deliverytest.Fault { return deliverytest.Refused }
			}),
			arrivals: one(first, fast),
			want:     did{Kept: []string{"a"}, Sent: []string{"0/1 in 0s"}},
		},
	})
}
