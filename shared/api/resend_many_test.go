package api_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

func periodOf(c *webhook.Config, more string) call {
	return resendOf(`"webhook_config_id":"` + c.ID + `","since":"2026-01-01T00:00:00Z"` + more)
}

func scopeOf(c *webhook.Config, scope string) call { return periodOf(c, `,"scope":"`+scope+`"`) }

func TestResendScopes(t *testing.T) {
	type scopes struct{ failed, undelivered, all string }
	logged := func(minutes int, change func(*webhook.Delivery)) func(*world, *webhook.Config) webhook.Delivery {
		return func(w *world, c *webhook.Config) webhook.Delivery { return w.delivery(c, minutes, change) }
	}
	recorded := func(minutes int, status webhook.Status, sent bool) func(*world, *webhook.Config) webhook.Delivery {
		return func(w *world, c *webhook.Config) webhook.Delivery {
			e := event(minutes, status)
			if w.record(ours, e); sent {
				w.record(ours, e, c.ID)
			}
			return webhook.Delivery{ConfigID: c.ID, Event: e, RequestedAt: e.OccurredAt}
		}
	}
	for _, test := range []struct {
		name  string
		build func(*world, *webhook.Config) webhook.Delivery
		want  scopes
	}{
		{"delivered", logged(90, nil), scopes{all: asNew}},
		{"failed", logged(90, failing), scopes{failed: asRepeat, undelivered: asRepeat, all: asNew}},
		{"failed in a later round", logged(90, func(d *webhook.Delivery) {
			failing(d)
			d.RequestedAt = webhook.At(start.Add(-time.Minute))
			d.Round = webhook.LaterRound(d.RequestedAt.Time, "before")
		}), scopes{failed: asRepeat, undelivered: asRepeat, all: asNew}},
		{"failed after it had been delivered", logged(90, func(d *webhook.Delivery) {
			delivered := d.DeliveredAt
			failing(d)
			d.DeliveredAt = delivered
		}), scopes{failed: asRepeat, all: asNew}},
		{"failed, of a status that the config wants no more", logged(90, func(d *webhook.Delivery) {
			failing(d)
			d.Event.Status = webhook.Submitted
		}), scopes{failed: asRepeat}},
		{"canceled", logged(90, canceled), scopes{failed: asRepeat, undelivered: asRepeat, all: asNew}},
		{"retrying in a minute", logged(90, retrying), scopes{all: asNew}},
		{"retrying, an hour late", logged(90, due(-time.Hour)), scopes{all: asNew}},
		{"overdue", logged(90, due(-time.Hour-time.Millisecond)), scopes{failed: asRepeat, undelivered: asRepeat, all: asNew}},
		{"sent just now", recorded(1, webhook.Processed, true), scopes{all: asNew}},
		{"sent an hour ago, and nothing logged", recorded(60, webhook.Processed, true), scopes{all: asNew}},
		{"sent longer ago, and nothing logged", recorded(61, webhook.Processed, true),
			scopes{failed: asFirst, undelivered: asFirst, all: asNew}},
		{"sent longer ago and nothing logged, of a status that the config wants no more", recorded(61, webhook.Submitted, true),
			scopes{failed: asFirst}},
		{"from before the config existed", recorded(600, webhook.Processed, false), scopes{undelivered: asFirst, all: asNew}},
		{"of just now, when the config was inactive", recorded(1, webhook.Processed, false), scopes{undelivered: asFirst, all: asNew}},
		{"of a status that the config does not want", recorded(600, webhook.Submitted, false), scopes{}},
		{"expired", func(w *world, c *webhook.Config) webhook.Delivery {
			d := recorded(600, webhook.Processed, true)(w, c)
			w.events[0].ExpiresAt = webhook.At(start.Add(-time.Second))
			return d
		}, scopes{}},
		{"sent to another config alone", func(w *world, _ *webhook.Config) webhook.Delivery {
			return w.delivery(w.config(ours, 2, nil), 90, failing)
		}, scopes{undelivered: asFirst, all: asNew}},
		{"another organization's", func(w *world, _ *webhook.Config) webhook.Delivery {
			return w.delivery(w.config(theirs, 1, nil), 90, failing)
		}, scopes{}},
	} {
		for scope, want := range map[string]string{
			"failed": test.want.failed, "undelivered": test.want.undelivered, "all": test.want.all,
		} {
			t.Run(scope+"/"+test.name, func(t *testing.T) {
				w := newWorld(t)
				c := w.config(ours, 1, nil)
				d := test.build(w, c)
				answer := w.must(202, scopeOf(c, scope))
				d.ConfigID = c.ID
				messages := []webhook.Message{}
				if want != notAtAll {
					messages = append(messages, resent(d, want))
				}
				if diff := gocmp.Diff(messages, w.messages(t)); diff != "" || answer.Meta.Accepted != len(messages) {
					t.Errorf("%d accepted, messages (-want +got):\n%s", answer.Meta.Accepted, diff)
				}
				if want == notAtAll {
					return
				}
				record := w.record(ours, d.Event)
				if !slices.Contains(record.ConfigIDs, c.ID) || !record.ExpiresAt.Equal(start.Add(webhook.Retention)) {
					t.Errorf("the event was sent to %v until %s", record.ConfigIDs, record.ExpiresAt)
				}
			})
		}
	}
}

func TestResendPeriod(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	var all []string
	for minutes := range 5 {
		d := w.delivery(c, minutes, failing)
		all = append(all, d.ID())
	}
	golden(t, "resend-period", w.do(periodOf(c, `,"until":"2026-01-31T11:57:00Z"`)))
	for _, test := range []struct {
		name, since, until string
		want               []string
	}{
		{"without an end goes to now", "1970-01-01T00:00:00Z", "", all},
		{"holds its beginning", "2026-01-31T11:58:00Z", "", all[:3]},
		{"holds nothing before that", "2026-01-31T11:58:00.001Z", "", all[:2]},
		{"holds its end", "2026-01-31T11:57:00+00:00", "2026-01-31T12:58:00+01:00", all[2:4]},
		{"holds nothing after that", "2026-01-31T11:57:00Z", "2026-01-31T11:57:59.999Z", all[3:4]},
		{"may be a moment", "2026-01-31T11:57:00Z", "2026-01-31T11:57:00Z", all[3:4]},
		{"may be empty", "2026-01-31T11:57:01Z", "2026-01-31T11:57:59Z", []string{}},
		{"may end in the future", "2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z", all[:1]},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			attributes := `"webhook_config_id":"` + c.ID + `","since":"` + test.since + `"`
			if test.until != "" {
				attributes += `,"until":"` + test.until + `"`
			}
			if diff := gocmp.Diff(test.want, w.must(202, resendOf(attributes)).ids(t)); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResendPages(t *testing.T) {
	walk := func(w *world, request call) (accepted []int) {
		for request.target != "" {
			d := w.must(202, request)
			accepted = append(accepted, d.Meta.Accepted)
			request.target = d.Links.Next
		}
		return accepted
	}
	for _, test := range []struct {
		name  string
		build func(w *world, c *webhook.Config)
		want  []int // accepted by each call
	}{
		{"nothing takes one call", func(*world, *webhook.Config) {}, []int{0}},
		{"a hundred take one call", func(w *world, c *webhook.Config) {
			for minutes := range 100 {
				w.delivery(c, minutes, failing)
			}
		}, []int{100}},
		{"more take several", func(w *world, c *webhook.Config) {
			for minutes := range 250 {
				w.delivery(c, minutes, failing)
			}
		}, []int{100, 100, 50}},
		{"a hundred among others take one call", func(w *world, c *webhook.Config) {
			for minutes := range 200 {
				change := failing
				if minutes%2 > 0 {
					change = nil
				}
				w.delivery(c, minutes, change)
			}
		}, []int{100}},
		{"a call that reads a thousand events ends without finding any", func(w *world, c *webhook.Config) {
			for minutes := range 1000 {
				w.delivery(c, minutes, nil)
			}
			w.delivery(c, 1000, failing)
		}, []int{0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.config(ours, 1, nil)
			test.build(w, c)
			accepted := walk(w, periodOf(c, ""))
			if diff := gocmp.Diff(test.want, accepted); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
			seen := map[string]bool{}
			for _, m := range w.messages(t) {
				seen[m.Event.ID] = true
			}
			if len(seen) != len(w.sent) {
				t.Errorf("%d messages of %d events", len(w.sent), len(seen))
			}
		})
	}
	t.Run("a cursor goes with its order alone", func(t *testing.T) {
		w := newWorld(t)
		c := w.config(ours, 1, nil)
		for minutes := range 101 {
			w.delivery(c, minutes, failing)
		}
		next := w.must(202, periodOf(c, "")).Links.Next
		for _, other := range []call{
			scopeOf(c, "all"), periodOf(c, `,"until":"2026-01-31T00:00:00Z"`), periodOf(w.config(ours, 2, nil), ""),
			resendOf(`"webhook_config_id":"` + c.ID + `","since":"2026-01-01T00:00:01Z"`),
		} {
			other.target = next
			w.refused(t, refusal{call: other, status: 400, problems: one("invalid_cursor", "parameter page[after]")})
		}
	})
}

// TestResendSendsNothingUnrecorded: what is not among an event's configs would be listed nowhere, and never be
// found missing.
func TestResendSendsNothingUnrecorded(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	w.delivery(c, 1, failing)
	w.documents["doc"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed}
	w.addErr = func() []error { return []error{errors.New("away")} }
	for _, request := range []call{periodOf(c, ""), resendOf(`"document_id":"doc"`)} {
		if w.must(500, request); len(w.sent) > 0 {
			t.Errorf("sent %+v", w.sent)
		}
	}
	w.addErr, w.sendErr = nil, func() []error { return []error{errors.New("away")} }
	w.must(500, periodOf(c, ""))
}

// TestANewConfigReceivesEachOldEventOnce asks twice for what a config has not received, before and after some of
// the first messages were delivered.
func TestANewConfigReceivesEachOldEventOnce(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	for _, minutes := range []int{30, 60, 300, 1440} {
		w.record(ours, event(minutes, webhook.Processed))
	}
	if d := w.must(202, scopeOf(c, "undelivered")); d.Meta.Accepted != 4 {
		t.Fatalf("%d accepted", d.Meta.Accepted)
	}
	first := slices.Clone(w.sent)
	w.apply(webhook.Outcome{Message: first[3], Status: webhook.Delivered, At: webhook.At(start)})
	w.sent, w.queues = nil, nil
	w.must(202, scopeOf(c, "undelivered"))
	if diff := gocmp.Diff(first[2:3], w.sent); diff != "" {
		t.Errorf("what may have been lost is sent again, as the same attempt (-want +got):\n%s", diff)
	}
}

// apply logs an outcome of an attempt, or a cancellation.
func (w *world) apply(o webhook.Outcome) {
	if o.Status != webhook.Canceled {
		o.Tried = &webhook.Attempt{Number: o.Message.Attempt, MessageID: o.MessageID, StartedAt: o.At}
	}
	at := slices.IndexFunc(w.deliveries, func(d webhook.Delivery) bool { return d.Key() == o.Message.Key() })
	if at < 0 {
		after, _ := (*webhook.Delivery)(nil).After(o)
		w.deliveries = append(w.deliveries, after)
		return
	}
	w.deliveries[at], _ = w.deliveries[at].After(o)
}

// TestAnEndpointThatWasGone: five deliveries are being retried when a sixth is answered 410. That ends them all and
// deactivates the config, and three documents change before it is activated again.
func TestAnEndpointThatWasGone(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	now := webhook.At(start)
	var messages []webhook.Message
	for minutes := range 6 {
		e := event(60+minutes, webhook.Processed)
		w.record(ours, e, c.ID)
		messages = append(messages, webhook.NewFirst(ours, c.ID, e, e.OccurredAt, e.OccurredAt.Time))
	}
	for _, m := range messages[:5] {
		w.apply(webhook.Outcome{Message: m, Status: webhook.Retrying, At: m.NotBefore, NextAttemptAt: now})
	}
	w.apply(webhook.Outcome{Message: messages[5], Status: webhook.DeliveryFailed, At: now})
	for _, m := range messages[:5] {
		m.Attempt = 2
		w.apply(webhook.Outcome{Message: m, Status: webhook.Canceled, At: now})
	}
	w.configs[ours+"/"+c.ID].Active = false
	for minutes := range 3 {
		w.record(ours, event(minutes, webhook.Processed))
	}
	w.must(409, scopeOf(c, "failed"))
	w.must(200, change(c.ID, `"is_active":true`))
	if d := w.must(202, scopeOf(c, "failed")); d.Meta.Accepted != 6 {
		t.Errorf("%d accepted of 5 that were canceled and 1 that failed", d.Meta.Accepted)
	}
	for _, m := range w.sent {
		w.apply(webhook.Outcome{Message: m, Status: webhook.Delivered, At: now})
	}
	if d := w.must(202, scopeOf(c, "failed")); d.Meta.Accepted != 0 {
		t.Errorf("%d accepted after all were delivered", d.Meta.Accepted)
	}
	if d := w.must(202, scopeOf(c, "undelivered")); d.Meta.Accepted != 3 {
		t.Errorf("%d accepted of 3 that changed meanwhile", d.Meta.Accepted)
	}
}
