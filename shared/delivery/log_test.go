package delivery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestEntryLeaves(t *testing.T) {
	entry := func(status webhook.DeliveryStatus, requestedAt webhook.Time, round string, number int) Entry {
		e := Entry{Message: message(requestedAt), MessageID: round, Round: round, Status: status, At: t3}
		if number > 0 {
			e.Attempt = &webhook.Attempt{Number: number, StartedAt: t3}
		}
		if status == webhook.Retrying {
			e.NextAttemptAt = webhook.At(t3.Add(time.Minute))
		}
		return e
	}
	cases := []struct {
		name   string
		before *webhook.Delivery
		entry  Entry
		want   string
	}{
		{name: "delivered what was not there", entry: entry(webhook.Delivered, t1, "m1", 1), want: "delivered m1/1 done for t1, 1 attempts"},
		{name: "retrying what was not there", entry: entry(webhook.Retrying, t1, "m1", 1), want: "retrying m1/1, 1 attempts"},
		{name: "canceled what was not there", entry: entry(webhook.Canceled, t1, "m1", 0), want: "canceled /0, 0 attempts"},
		{name: "failed what was retrying", before: logged(webhook.Retrying, "m1", 4, webhook.Time{}), entry: entry(webhook.DeliveryFailed, t1, "m1", 5), want: "failed m1/5 over, 5 attempts"},
		{name: "canceled what was retrying, in its round", before: logged(webhook.Retrying, "m1", 4, webhook.Time{}), entry: entry(webhook.Canceled, t1, "m2", 0), want: "canceled m1/4, 4 attempts"},
		{name: "delivered what stays delivered when a resend fails", before: logged(webhook.Delivered, "m1", 1, t1), entry: entry(webhook.DeliveryFailed, t2, "r1", 5), want: "delivered r1/5 over done for t1, 2 attempts"},
		{name: "delivered what stays delivered when an older request fails", before: logged(webhook.Delivered, "r1", 1, t2), entry: entry(webhook.Retrying, t1, "m1", 2), want: "delivered r1/1 done for t2, 2 attempts"},
		{name: "done for a later request", before: logged(webhook.Delivered, "m1", 1, t1), entry: entry(webhook.Delivered, t2, "r1", 1), want: "delivered r1/1 done for t2, 2 attempts"},
		{name: "done for the later of two requests", before: logged(webhook.Delivered, "r1", 1, t2), entry: entry(webhook.Delivered, t1, "m1", 1), want: "delivered r1/1 done for t2, 2 attempts"},
		{name: "failed what a copy of its last message still retries", before: logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}), entry: entry(webhook.Retrying, t1, "m1", 4), want: "failed m1/5 over, 6 attempts"},
		{name: "as far as it was in a round of which a copy is slower", before: logged(webhook.Retrying, "m1", 3, webhook.Time{}), entry: entry(webhook.Retrying, t1, "m1", 2), want: "retrying m1/3, 4 attempts"},
		{name: "delivered what had failed for good", before: logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}), entry: entry(webhook.Delivered, t1, "m1", 4), want: "delivered m1/5 over done for t1, 6 attempts"},
		{name: "no more than the last twenty attempts", before: logged(webhook.Retrying, "m1", 20, webhook.Time{}), entry: entry(webhook.Retrying, t1, "m2", 1), want: "retrying m2/1, 20 attempts"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			after := c.entry.Apply(c.before)
			if diff := cmp.Diff(c.want, describe(&after)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c.before != nil && after.Revision != c.before.Revision+1 {
				t.Errorf("revision %d after %d", after.Revision, c.before.Revision)
			}
			retrying := after.Status == webhook.Retrying
			if after.NextAttemptAt.IsZero() == retrying {
				t.Errorf("%s with the next attempt at %q", after.Status, after.NextAttemptAt)
			}
			if c.entry.Status == webhook.Delivered && c.before == nil && after.DeliveredAt != t3 {
				t.Errorf("delivered at %q", after.DeliveredAt)
			}
			if !after.ExpiresAt.Equal(t3.Add(webhook.Retention)) {
				t.Errorf("expires at %s", after.ExpiresAt)
			}
			if requested := c.entry.Message.RequestedAt; after.RequestedAt.Before(requested.Time) || c.before != nil && after.RequestedAt.Before(c.before.RequestedAt.Time) {
				t.Errorf("requested at %s", after.RequestedAt)
			}
		})
	}
}

func TestACanceledResendLeavesWhatWasDelivered(t *testing.T) {
	before := logged(webhook.Delivered, "m1", 1, t1)
	after := Entry{Message: message(t2), MessageID: "r1", Round: "r1", Status: webhook.Canceled, At: t3}.Apply(before)
	if diff := cmp.Diff(*before, after); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEntryIsIn(t *testing.T) {
	attempt := webhook.Attempt{Number: 2, Round: "m1", StartedAt: t2, Duration: 1200 * time.Microsecond, ErrorCode: endpoint.CodeTimeout}
	e := Entry{Attempt: &attempt}
	with := func(change func(*webhook.Attempt)) *webhook.Delivery {
		listed := attempt
		listed.Duration = time.Millisecond // as it is read back
		change(&listed)
		return &webhook.Delivery{Attempts: []webhook.Attempt{{Number: 1, StartedAt: t1}, listed}}
	}
	for _, c := range []struct {
		name  string
		entry Entry
		there *webhook.Delivery
		want  bool
	}{
		{"what lists its attempt", e, with(func(*webhook.Attempt) {}), true},
		{"not what lists another round's", e, with(func(a *webhook.Attempt) { a.Round = "m2" }), false},
		{"not what lists another's number", e, with(func(a *webhook.Attempt) { a.Number = 3 }), false},
		{"not what lists another's time", e, with(func(a *webhook.Attempt) { a.StartedAt = t3 }), false},
		{"not what lists another's outcome", e, with(func(a *webhook.Attempt) { a.ErrorCode = "" }), false},
		{"not what lists another's duration", e, with(func(a *webhook.Attempt) { a.Duration = 2 * time.Millisecond }), false},
		{"not what is done for an older request", Entry{Attempt: &attempt, Status: webhook.Delivered, Message: message(t2)}, with(func(*webhook.Attempt) {}), false},
		{"nothing, as a cancellation", Entry{Status: webhook.Canceled}, with(func(*webhook.Attempt) {}), false},
		{"not what is not there", e, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.entry.In(c.there); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// TestApplyLeavesWhatItWasGiven: what is known of a delivery is shared by the entries about it.
func TestApplyLeavesWhatItWasGiven(t *testing.T) {
	before := logged(webhook.Retrying, "m1", 2, webhook.Time{})
	before.Attempts = append(make([]webhook.Attempt, 0, 10), before.Attempts...) // with room for more
	want := *before
	want.Attempts = append([]webhook.Attempt(nil), before.Attempts...)
	first := Entry{
		Message: message(t1), Round: "m1", Status: webhook.Retrying,
		Attempt: &webhook.Attempt{Number: 3, ErrorCode: endpoint.CodeTimeout},
	}.Apply(before)
	Entry{
		Message: message(t1), Round: "m2", Status: webhook.Retrying,
		Attempt: &webhook.Attempt{Number: 1, ErrorCode: endpoint.CodeHTTPStatus},
	}.Apply(before)
	if diff := cmp.Diff(want, *before); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := first.Attempts[2]; got.Number != 3 || got.ErrorCode != endpoint.CodeTimeout {
		t.Errorf("the first entry's attempt was overwritten by the second's: %+v", got)
	}
}
