package delivery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

func TestEntryLeaves(t *testing.T) {
	entry := func(status webhook.DeliveryStatus, requestedAt webhook.Time, round string, number int) Entry {
		e := Entry{Message: message(requestedAt), Round: round, Status: status, At: t3}
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
		{name: "delivered what stays delivered when it is canceled", before: logged(webhook.Delivered, "m1", 1, t1), entry: entry(webhook.Canceled, t2, "r1", 0), want: "delivered m1/1 done for t1, 1 attempts"},
		{name: "done for a later request", before: logged(webhook.Delivered, "m1", 1, t1), entry: entry(webhook.Delivered, t2, "r1", 1), want: "delivered r1/1 done for t2, 2 attempts"},
		{name: "done for the later of two requests", before: logged(webhook.Delivered, "r1", 1, t2), entry: entry(webhook.Delivered, t1, "m1", 1), want: "delivered m1/1 done for t2, 2 attempts"},
		{name: "no more than the last twenty attempts", before: logged(webhook.Retrying, "m1", 20, webhook.Time{}), entry: entry(webhook.Retrying, t1, "m2", 1), want: "retrying m2/1, 20 attempts"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			after := c.entry.Apply(c.before)
			if diff := cmp.Diff(c.want, describe(&after)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			retrying := after.Status == webhook.Retrying
			if after.NextAttemptAt.IsZero() == retrying {
				t.Errorf("%s with the next attempt at %q", after.Status, after.NextAttemptAt)
			}
			if c.entry.Status == webhook.Delivered && after.DeliveredAt != t3 {
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

// TestApplyLeavesWhatItWasGiven: what is known of a delivery is shared by the entries about it.
func TestApplyLeavesWhatItWasGiven(t *testing.T) {
	before := logged(webhook.Retrying, "m1", 2, webhook.Time{})
	before.Attempts = append(make([]webhook.Attempt, 0, 10), before.Attempts...) // with room for more
	want := *before
	want.Attempts = append([]webhook.Attempt(nil), before.Attempts...)
	first := Entry{Message: message(t1), Round: "m1", Status: webhook.Retrying, Attempt: &webhook.Attempt{Number: 3, ErrorCode: CodeTimeout}}.Apply(before)
	Entry{Message: message(t1), Round: "m2", Status: webhook.Retrying, Attempt: &webhook.Attempt{Number: 1, ErrorCode: CodeHTTPStatus}}.Apply(before)
	if diff := cmp.Diff(want, *before); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := first.Attempts[2]; got.Number != 3 || got.ErrorCode != CodeTimeout {
		t.Errorf("the first entry's attempt was overwritten by the second's: %+v", got)
	}
}
