package delivery_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/webhook"
)

// unreadable makes the tables unreadable.
func unreadable(f *fixture) {
	f.Store.OnLoad = func(context.Context, []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
		return nil, deliverytest.ErrAway
	}
}

// unlogged makes the log refuse results.
func unlogged(f *fixture) {
	f.Store.OnRecord = func(_ context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
		return deliverytest.Failing(outcomes)
	}
}

// unstartable makes the log refuse starts.
func unstartable(f *fixture) {
	f.Store.OnStart = func(context.Context, webhook.Outcome) webhook.Recorded {
		return webhook.Recorded{Err: deliverytest.ErrAway}
	}
}

func noKeyring(f *fixture) { f.Credentials.Err = errors.New("the keyring cannot be read") }

func TestRule7Unsendable(t *testing.T) {
	rested := func(in string) did { return did{Kept: []string{"a"}, Visible: visible{"a": in}} }
	left := did{Kept: []string{"a"}}
	copied := did{Sent: []string{"0/1 in 15m0s again"}}
	const fourDays = 4 * 24 * time.Hour
	check(t, []rule{
		{name: "handed over out of DeliveryQueue", arrange: unreadable, arrivals: one(first, fast), want: did{Sent: []string{"0/1 in 0s"}}},
		{name: "rests for 30 s after its first receive", arrange: unreadable, arrivals: one(first), want: rested("30s")},
		{name: "rests for 2 min after its second", arrange: unreadable, arrivals: one(first, receives(2)), want: rested("2m0s")},
		{name: "is replaced by a copy on its third", arrange: unreadable, arrivals: one(first, receives(3)), want: copied},
		{name: "is left to the visibility timeout on its fourth", arrange: unreadable, arrivals: one(first, receives(4)), want: left},
		{
			name: "a later attempt is left to the dead-letter queue, since the sweep brings it again", arrange: unreadable,
			arrivals: one(attempt(2), receives(3)), want: left,
		},
		{
			name: "a first attempt is still copied four days after it was first sent", arrange: unreadable,
			arrivals: one(first, receives(3), dueIn(-fourDays)), want: copied,
		},
		{
			name: "and no more after that", arrange: unreadable,
			arrivals: one(first, receives(3), dueIn(-fourDays-time.Millisecond)), want: left,
		},
		{
			name: "is left when its copy cannot be sent",
			arrange: all(unreadable, func(f *fixture) {
				f.RetryQueue.OnSend = func(webhook.Message) deliverytest.Fault { return deliverytest.Refused }
			}),
			arrivals: one(first, receives(3)),
			want:     did{Kept: []string{"a"}, Sent: []string{"0/1 in 15m0s again"}},
		},
		{name: "when the keyring cannot be read", arrange: noKeyring, arrivals: one(first), want: rested("30s")},
		{
			name: "when the keyring cannot be read again", arrange: func(f *fixture) { f.Credentials.Err = keyring.ErrUnread },
			arrivals: one(first), want: rested("30s"),
		},
		{name: "when the start cannot be logged", arrange: unstartable, arrivals: one(first, receives(2)), want: rested("2m0s")},
		{name: "when the start of a copy cannot be logged", arrange: unstartable, arrivals: one(first, again), want: rested("30s")},
		{
			name: "when reading panics",
			arrange: func(f *fixture) {
				f.Store.OnLoad = func(context.Context, []webhook.Key) (map[webhook.Key]webhook.Loaded, error) { panic("broken item") }
			},
			arrivals: one(first), want: rested("30s"),
		},
		{
			name: "when reading hangs",
			arrange: func(f *fixture) {
				f.Store.OnLoad = func(ctx context.Context, _ []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			},
			arrivals: one(first), want: rested("30s"),
		},
		{
			name:    "a message that finds out that it was redriven begins with its copy at attempt 1 of its new round",
			arrange: all(logged(5), noKeyring), arrivals: one(attempt(5), receives(3)),
			want: did{Sent: []string{"a/1 in 15m0s again"}, Log: "failed 0/5 over by m5, 5 listed"},
		},
	})
}

// TestOneUnreadableKeyHoldsUpNoOther: a broken item, or a key that DynamoDB left out.
func TestOneUnreadableKeyHoldsUpNoOther(t *testing.T) {
	check(t, []rule{{
		name: "the other is delivered",
		arrange: func(f *fixture) {
			f.Store.OnLoad = func(ctx context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
				loaded, _ := f.Log.Load(ctx, keys)
				delete(loaded, keys[0])
				return loaded, errors.New("broken item")
			}
		},
		arrivals: func(f *fixture) []arrival {
			return []arrival{{ID: "b", Message: f.First(2)}, {ID: "a", Message: f.First(1)}}
		},
		want: did{
			Posts: []string{"event1 #1"}, Kept: []string{"b"}, Visible: visible{"b": "30s"},
			Log: "delivered 0/1 over done for 1, 1 listed",
		},
	}})
}
