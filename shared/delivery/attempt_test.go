package delivery_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// started makes the test see what the log holds at each POST.
func started(f *fixture, lines *[]string, results ...endpoint.Result) {
	answer := deliverytest.Answers(results...)
	f.Poster.OnPost = func(ctx context.Context, r endpoint.Request) endpoint.Result {
		*lines = append(*lines, f.Line(f.Delivery(1)))
		return answer(ctx, r)
	}
}

func TestRule8LogsTheStartWhereAnotherMayHavePosted(t *testing.T) {
	for _, test := range []struct {
		name    string
		arrange func(f *fixture)
		arrival func(f *fixture) []arrival
		during  string // the log at the POST
		after   string
	}{
		{
			name: "not on a first receive", arrival: one(first), during: "",
			after: "retrying 0/1 due 10s wakes 15m10s, 1 listed",
		},
		{
			name: "on a second receive, as the failure that it would be", arrival: one(first, receives(2)),
			during: "retrying 0/1 due 10s wakes 15m10s, 1 listed",
			after:  "retrying 0/1 due 10s wakes 15m10s, 1 listed",
		},
		{
			name: "for a copy and for what the sweep sends late", arrange: logged(3), arrival: one(attempt(4), again),
			during: "retrying 0/4 due 22h0m0s wakes 22h0m0s, 4 listed",
			after:  "retrying 0/4 due 22h0m0s wakes 22h0m0s, 4 listed",
		},
		{
			name: "as the end of the round at the fifth attempt", arrange: logged(4), arrival: one(attempt(5), receives(4)),
			during: "failed 0/5 over by a, 5 listed",
			after:  "failed 0/5 over by a, 5 listed",
		},
		{
			name: "as the first of a redriven message's round", arrange: logged(5), arrival: one(attempt(5), receives(2)),
			during: "retrying a/1 due 10s wakes 15m10s, 6 listed",
			after:  "retrying a/1 due 10s wakes 15m10s, 6 listed",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				if test.arrange != nil {
					test.arrange(f)
				}
				var during []string
				started(f, &during, deliverytest.Failure(500))
				f.Handle(t.Context(), t, test.arrival(f)...)
				if diff := cmp.Diff([]string{test.during}, during); diff != "" {
					t.Errorf("at the POST (-want +got):\n%s", diff)
				}
				d := f.Delivery(1)
				if got := f.Line(d); got != test.after {
					t.Errorf("afterwards %s, want %s", got, test.after)
				}
				if last := d.Attempts[len(d.Attempts)-1]; last.ErrorCode != endpoint.CodeHTTPStatus {
					t.Errorf("the result has not replaced the start: %+v", last)
				}
			})
		})
	}
}

func TestEveryAttemptSendsWhatTheFirstOneSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		var bodies []string
		answer := deliverytest.Answers(deliverytest.Failure(500), deliverytest.Success())
		f.Poster.OnPost = func(ctx context.Context, r endpoint.Request) endpoint.Result {
			bodies = append(bodies, string(r.Body))
			return answer(ctx, r)
		}
		m := f.First(1)
		m.Event.Related = "https://documents.example/doc"
		f.Handle(t.Context(), t, arrival{ID: "a", Message: m})
		m = f.Resend(2) // of an event that was recorded after the parameter had changed
		m.Event.Related = "https://elsewhere.example/doc"
		f.Handle(t.Context(), t, arrival{ID: "b", Message: m})
		if len(bodies) != 2 || bodies[0] != bodies[1] || !strings.Contains(bodies[0], `"related":"https://documents.example/doc"`) {
			t.Errorf("sent %q", bodies)
		}
	})
}

// What an endpoint said is for its organization, which reads the log of deliveries, and not for the function's log.
func TestWhereARedirectLeadsIsInTheLogOfDeliveriesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		f.Poster.OnPost = deliverytest.Always(endpoint.Result{
			Status: 302, Code: endpoint.CodeRedirect, Error: "redirects are not followed; this one leads to https://a.example/mustermann",
		})
		f.Handle(t.Context(), t, arrival{ID: "a", Message: f.First(1)})
		if got := f.Delivery(1).Attempts[0].Error; !strings.Contains(got, "mustermann") {
			t.Errorf("the log of deliveries has %q", got)
		}
		if lines := f.Lines.String(); strings.Contains(lines, "mustermann") || !strings.Contains(lines, endpoint.CodeRedirect) {
			t.Errorf("logged %s", lines)
		}
	})
}

func TestRule8JudgesAgainWhenTheStartIsRefused(t *testing.T) {
	for _, test := range []struct {
		name      string
		meanwhile func(f *fixture)
		want      did
	}{
		{
			name:      "done when another message has succeeded meanwhile",
			meanwhile: func(f *fixture) { f.Succeeded(f.First(1), "b") },
			want:      did{Log: "delivered 0/1 over done for 1, 1 listed"},
		},
		{
			name:      "done when another message has made the attempt meanwhile",
			meanwhile: func(f *fixture) { f.Logged(1) },
			want:      did{Log: "retrying 0/1 due 0s wakes 15m0s, 1 listed"},
		},
		{
			name:      "done when a resend has begun meanwhile",
			meanwhile: func(f *fixture) { f.LoggedBy(f.Resend(2), 1) },
			want:      did{Log: "retrying r2/1 due 0s wakes 15m0s, 1 listed"},
		},
		{
			name: "attempted when an item of an earlier round has come meanwhile",
			meanwhile: func(f *fixture) {
				m := f.First(1)
				m.RequestedAt = f.Requested(0)
				f.LoggedBy(m, 1)
			},
			want: did{Posts: []string{"event1 #1"}, Log: "delivered 0/1 over done for 1, 2 listed"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				starts := 0
				f.Store.OnStart = func(ctx context.Context, o webhook.Outcome) webhook.Recorded {
					if starts++; starts == 1 {
						test.meanwhile(f)
					}
					return f.Log.Start(ctx, o)
				}
				if diff := cmp.Diff(test.want, f.Handle(t.Context(), t, one(first, receives(2))(f)...)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRule8ACrashRepeatsAPostAtMostTwice(t *testing.T) {
	for attempt := 1; attempt <= webhook.MaxAttempts; attempt++ {
		f := deliverytest.New(&deliverytest.Manual{T: time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)})
		if attempt > 1 {
			f.Logged(attempt - 1)
		}
		f.RetryQueue.Put("a", f.Attempt(attempt))
		for range 3 {
			batch := f.Act(t.Context(), f.RetryQueue, f.RetryQueue.Receive(1))
			for batch.Next != "" && batch.Next != deliverytest.Attend {
				batch.Step(deliverytest.None)
			}
			if batch.Next != "" {
				batch.Step(deliverytest.Crash)
			}
			f.Sleep(6 * time.Minute) // the visibility timeout
		}
		if n := len(f.Poster.Posts()); n != 2 {
			t.Errorf("attempt %d: %d POSTs in three receives that crash after it, want 2", attempt, n)
		}
		if d := f.Delivery(1); d.Attempts[len(d.Attempts)-1].ErrorCode != webhook.CodeUnknown {
			t.Errorf("attempt %d: the log does not say that its end is unknown: %+v", attempt, d.Attempts)
		}
	}
}

func TestRule9To11Results(t *testing.T) {
	failed := deliverytest.Failure(500)
	check(t, []rule{
		{
			name:     "delivered and done after a success",
			arrivals: one(first, fast),
			want:     did{Posts: []string{"event1 #1"}, Log: "delivered 0/1 over done for 1, 1 listed"},
		},
		{
			name:     "delivered at the last attempt",
			arrange:  logged(4),
			arrivals: one(attempt(5)),
			want:     did{Posts: []string{"event1 #5"}, Log: "delivered 0/5 over done for 1, 5 listed"},
		},
		{
			name:     "retried by a message that waits in the queue when it is due soon",
			arrange:  answering(failed),
			arrivals: one(first, fast),
			want:     did{Posts: []string{"event1 #1"}, Sent: []string{"0/2 in 10s"}, Log: "retrying 0/1 due 10s wakes 15m10s, 1 listed"},
		},
		{
			name: "retried by a message that is the only one, also when the log took longer than it was to wait",
			arrange: all(answering(failed), func(f *fixture) {
				f.Store.OnRecord = func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
					f.Sleep(12 * time.Second)
					return f.Log.Record(ctx, outcomes)
				}
			}),
			arrivals: one(first),
			want:     did{Posts: []string{"event1 #1"}, Sent: []string{"0/2 in 0s"}, Log: "retrying 0/1 due 10s wakes 15m10s, 1 listed"},
		},
		{
			name:     "retried by the sweep alone when it is due later",
			arrange:  all(logged(2), answering(failed)),
			arrivals: one(attempt(3)),
			want:     did{Posts: []string{"event1 #3"}, Log: "retrying 0/3 due 1h30m0s wakes 1h30m0s, 3 listed"},
		},
		{
			name: "done even when that message cannot be sent",
			arrange: all(answering(failed), func(f *fixture) {
				f.RetryQueue.OnSend = func(webhook.Message) deliverytest.Fault { return deliverytest.Refused }
			}),
			arrivals: one(first),
			want:     did{Posts: []string{"event1 #1"}, Sent: []string{"0/2 in 10s"}, Log: "retrying 0/1 due 10s wakes 15m10s, 1 listed"},
		},
		{
			name:     "retried when the endpoint wants it",
			arrange:  answering(endpoint.Result{Status: 503, Code: endpoint.CodeHTTPStatus, RetryAfter: 15 * time.Minute}),
			arrivals: one(first),
			want: did{
				Posts: []string{"event1 #1"}, Sent: []string{"0/2 in 15m0s"}, Log: "retrying 0/1 due 15m0s wakes 30m0s, 1 listed",
			},
		},
		{
			name:     "a day later, in no queue, when the endpoint wants more than that",
			arrange:  answering(endpoint.Result{Status: 429, Code: endpoint.CodeHTTPStatus, RetryAfter: 48 * time.Hour}),
			arrivals: one(first),
			want:     did{Posts: []string{"event1 #1"}, Log: "retrying 0/1 due 24h0m0s wakes 24h0m0s, 1 listed"},
		},
		{
			name:     "failed at the fifth attempt, and visible at once so that SQS moves it",
			arrange:  all(logged(4), answering(failed)),
			arrivals: one(attempt(5)),
			want: did{
				Posts: []string{"event1 #5"}, Kept: []string{"a"}, Visible: visible{"a": "0s"}, Health: []string{"count"},
				Log: "failed 0/5 over by a, 5 listed",
			},
		},
		{
			name:     "failed at once and done when the endpoint is gone, and its config is deactivated",
			arrange:  answering(deliverytest.Failure(410)),
			arrivals: one(first),
			want: did{
				Posts: []string{"event1 #1"}, Health: []string{"deactivate endpoint_gone"}, Log: "failed 0/1 over, 1 listed",
			},
		},
		{
			name:     "so too at the fifth attempt, without a dead letter",
			arrange:  all(logged(4), answering(deliverytest.Failure(410))),
			arrivals: one(attempt(5)),
			want: did{
				Posts: []string{"event1 #5"}, Health: []string{"deactivate endpoint_gone"}, Log: "failed 0/5 over, 5 listed",
			},
		},
		{
			name: "retried when the config was changed before the endpoint said that it is gone",
			arrange: func(f *fixture) {
				f.Poster.OnPost = func(context.Context, endpoint.Request) endpoint.Result {
					config(func(c *webhook.Config) { c.Version++ })(f)
					return deliverytest.Failure(410)
				}
			},
			arrivals: one(first),
			want: did{
				Posts: []string{"event1 #1"}, Sent: []string{"0/2 in 10s"}, Health: []string{"deactivate endpoint_gone"},
				Log: "retrying 0/1 due 10s wakes 15m10s, 1 listed",
			},
		},
		{
			name:     "retried when the config of an endpoint that is gone cannot be deactivated",
			arrange:  all(answering(deliverytest.Failure(410)), func(f *fixture) { f.Health.Err = deliverytest.ErrAway }),
			arrivals: one(first),
			want: did{
				Posts: []string{"event1 #1"}, Sent: []string{"0/2 in 10s"}, Health: []string{"deactivate endpoint_gone"},
				Log: "retrying 0/1 due 10s wakes 15m10s, 1 listed",
			},
		},
		{
			name:     "an attempt that fails without a POST when the credentials do not open",
			arrange:  config(func(c *webhook.Config) { c.Sealed = "broken" }),
			arrivals: one(first),
			want:     did{Sent: []string{"0/2 in 10s"}, Log: "retrying 0/1 due 10s wakes 15m10s, 1 listed"},
		},
	})
}

// TestALateResultEndsNothing: what another message has written while the endpoint was asked.
func TestALateResultEndsNothing(t *testing.T) {
	fifth := deliverytest.Failure(500)
	for _, test := range []struct {
		name      string
		before    int // attempts in the log
		arrival   func(f *fixture) []arrival
		meanwhile func(f *fixture)
		result    endpoint.Result
		want      did
	}{
		{
			name: "a failure of an attempt that another message has logged sends no next one", arrival: one(first),
			meanwhile: func(f *fixture) { f.Logged(1) }, result: deliverytest.Failure(500),
			want: did{Posts: []string{"event1 #1"}, Log: "retrying 0/1 due 0s wakes 15m0s, 2 listed"},
		},
		{
			name: "a fifth failure that another message has logged is no dead letter", before: 4, arrival: one(attempt(5)),
			meanwhile: func(f *fixture) { f.LoggedBy(f.Attempt(5), 5) }, result: fifth,
			want: did{Posts: []string{"event1 #5"}, Log: "failed 0/5 over by m5, 10 listed"},
		},
		{
			name: "a fifth failure of a round that a resend has overtaken is no dead letter", before: 4, arrival: one(attempt(5)),
			meanwhile: func(f *fixture) { f.LoggedBy(f.Resend(2), 1) }, result: fifth,
			want: did{Posts: []string{"event1 #5"}, Log: "retrying r2/1 due 0s wakes 15m0s, 6 listed"},
		},
		{
			name: "a success of a round that a resend has overtaken leaves that live", arrival: one(first),
			meanwhile: func(f *fixture) { f.LoggedBy(f.Resend(2), 1) }, result: deliverytest.Success(),
			want: did{Posts: []string{"event1 #1"}, Log: "retrying r2/1 done for 1 due 0s wakes 15m0s, 2 listed"},
		},
		{
			name: "a success of an attempt whose duplicate has failed ends the round", arrival: one(first),
			meanwhile: func(f *fixture) { f.Logged(1) }, result: deliverytest.Success(),
			want: did{Posts: []string{"event1 #1"}, Log: "delivered 0/1 over done for 1, 2 listed"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				if test.before > 0 {
					f.Logged(test.before)
				}
				f.Poster.OnPost = func(context.Context, endpoint.Request) endpoint.Result {
					test.meanwhile(f)
					return test.result
				}
				if diff := cmp.Diff(test.want, f.Handle(t.Context(), t, test.arrival(f)...)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestALostAnswerOfTheLogSendsNoMessageOfAnotherRound: the result was written, a resend has succeeded since, and
// only then does the log answer.
func TestALostAnswerOfTheLogSendsNoMessageOfAnotherRound(t *testing.T) {
	check(t, []rule{{
		name: "the message is done",
		arrange: func(f *fixture) {
			f.Poster.OnPost = deliverytest.Answers(deliverytest.Failure(500))
			f.Store.OnRecord = func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
				f.Log.Record(ctx, outcomes)
				f.Succeeded(f.Resend(2), "b")
				return f.Log.Record(ctx, outcomes)
			}
		},
		arrivals: one(first),
		want:     did{Posts: []string{"event1 #1"}, Log: "delivered r2/1 over done for 2, 2 listed"},
	}})
}

func TestTheRequestIsSignedWithWhatIsValid(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *webhook.Config)
		both   bool
	}{
		{name: "with the current credentials", change: func(*webhook.Config) {}},
		{name: "with both during an overlap", both: true, change: func(c *webhook.Config) {
			c.PreviousSealed, c.PreviousExpiresAt = deliverytest.PreviousSealed, webhook.At(time.Now().Add(time.Second))
		}},
		{name: "with the current ones alone after it", change: func(c *webhook.Config) {
			c.PreviousSealed, c.PreviousExpiresAt = deliverytest.PreviousSealed, webhook.At(time.Now())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := deliverytest.New(deliverytest.Bubble{})
				config(test.change)(f)
				f.Handle(t.Context(), t, one(first)(f)...)
				event := f.Event(1)
				body, err := event.Render(deliverytest.ConfigID)
				if err != nil {
					t.Fatal(err)
				}
				key, err := webhook.DeliveryID(deliverytest.ConfigID, event.ID)
				if err != nil {
					t.Fatal(err)
				}
				want := endpoint.Request{
					URL:     "https://endpoint.example/hook",
					EventID: event.ID,
					Key:     key,
					Body:    body,
					Attempt: 1,
					Current: deliverytest.Current(),
				}
				if previous := deliverytest.Previous(); test.both {
					want.Previous = &previous
				}
				if diff := cmp.Diff(want, f.Poster.Posts()[0].Request); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestCredentialsThatDoNotOpenEnd: no message circles, and the API shows why.
func TestCredentialsThatDoNotOpenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		config(func(c *webhook.Config) { c.Sealed = "broken" })(f)
		f.DeliveryQueue.Put("m1", f.First(1))
		f.Run(t.Context(), t, f.Begin.Add(3*24*time.Hour))
		d := f.Delivery(1)
		if d.Status != webhook.DeliveryFailed || len(d.Attempts) != webhook.MaxAttempts || len(f.DeadLetters.IDs()) != 1 {
			t.Errorf("%s, dead letters %v", f.Line(d), f.DeadLetters.IDs())
		}
		for _, a := range d.Attempts {
			if a.ErrorCode != webhook.CodeCredentials || a.Error == "" {
				t.Errorf("an attempt says %+v", a)
			}
		}
		if len(f.Poster.Posts()) != 0 || len(f.Health.Calls()) != 0 {
			t.Errorf("%d POSTs; the endpoint is judged: %v", len(f.Poster.Posts()), f.Health.Calls())
		}
	})
}

// A queue may bring a message twice at once; the log tells what two processes then make of it by when they began.
func TestTheLogKeepsTheMicrosecondOfAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := deliverytest.New(deliverytest.Bubble{})
		const after = 1234567 * time.Nanosecond
		f.Sleep(after)
		f.Handle(t.Context(), t, one(first)(f)...)
		if began := f.Delivery(1).Attempts[0].StartedAt.Sub(f.Begin); began != after.Truncate(time.Microsecond) {
			t.Errorf("it says %s after the start", began)
		}
	})
}
