package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// in is a message that a put-back has left.
func in(round string, m webhook.Message) webhook.Message {
	m.Round = round
	return m
}

// meeting is a delivery of which several messages are retried. Its attempts are named by round and number.
func meeting(status webhook.DeliveryStatus, attempts ...string) *webhook.Delivery {
	d := logged(status, "", 0, webhook.Time{})
	for _, a := range attempts {
		round, number, _ := strings.Cut(a, "/")
		d.Round, d.RoundOverBy = round, ""
		d.RoundAttempts, _ = strconv.Atoi(number)
		d.Attempts = append(d.Attempts, webhook.Attempt{Number: d.RoundAttempts, Round: round, StartedAt: t1, ErrorCode: endpoint.CodeTimeout})
	}
	if status == webhook.DeliveryFailed {
		d.RoundOverBy = d.Round
	}
	return d
}

// gone is a store that reads nothing at all.
func unreadable(context.Context, []Key) (map[Key]Loaded, error) {
	return nil, errors.New("table is away")
}

func TestMessageBecomes(t *testing.T) {
	type visible = map[string]string
	refused := []error{errors.New("table is away")}
	cases := []struct {
		name    string
		logged  *webhook.Delivery
		arrange func(f *fixture)
		records []Record
		want    did
	}{
		// Success.
		{
			name:    "delivered and acknowledged at the first attempt",
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered m1/1 done for t1, 1 attempts"},
		},
		{
			name:    "delivered at the second attempt, which continues the round",
			logged:  logged(webhook.Retrying, "m1", 1, webhook.Time{}),
			records: []Record{record("m1", 2, message(t1))},
			want:    did{Posts: []string{"event1 #2"}, Delivered: "delivered m1/2 done for t1, 2 attempts"},
		},

		// Failure.
		{
			name:    "retried after the schedule's first delay",
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m1"}, Visible: visible{"m1": "10s"}, Delivered: "retrying m1/1, 1 attempts"},
		},
		{
			name:    "retried after the fourth delay, following the fourth attempt",
			logged:  logged(webhook.Retrying, "m1", 3, webhook.Time{}),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m1", 4, message(t1))},
			want:    did{Posts: []string{"event1 #4"}, Kept: []string{"m1"}, Visible: visible{"m1": "15m0s"}, Delivered: "retrying m1/4, 4 attempts"},
		},
		{
			name: "retried when the endpoint wants it, if that is later than the schedule",
			arrange: func(f *fixture) {
				f.results = []endpoint.Result{{Status: 503, Code: endpoint.CodeHTTPStatus, RetryAfter: 2 * time.Minute}}
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m1"}, Visible: visible{"m1": "2m0s"}, Delivered: "retrying m1/1, 1 attempts"},
		},
		{
			name:    "failed for good at the fifth attempt, visible at once for SQS to move it",
			logged:  logged(webhook.Retrying, "m1", 4, webhook.Time{}),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m1", 5, message(t1))},
			want: did{
				Posts: []string{"event1 #5"}, Kept: []string{"m1"}, Visible: visible{"m1": "0s"}, Health: []string{"count"},
				Delivered: "failed m1/5 over, 5 attempts",
			},
		},
		{
			name:    "failed for good at the fifth receive, however few attempts there were",
			logged:  logged(webhook.Retrying, "m1", 1, webhook.Time{}),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m1", 5, message(t1))},
			want: did{
				Posts: []string{"event1 #2"}, Kept: []string{"m1"}, Visible: visible{"m1": "0s"}, Health: []string{"count"},
				Delivered: "failed m1/2 over, 2 attempts",
			},
		},
		{
			name:    "failed for good at the fifth attempt even at the second receive of a put-back",
			logged:  logged(webhook.Retrying, "m1", 4, webhook.Time{}),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m2", 2, in("m1", message(t1)))},
			want: did{
				Posts: []string{"event1 #5"}, Kept: []string{"m2"}, Visible: visible{"m2": "0s"}, Health: []string{"count"},
				Delivered: "failed m1/5 over, 5 attempts",
			},
		},
		{
			name:    "reported and not posted when its round is over",
			logged:  logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}),
			records: []Record{record("m1", 6, message(t1))},
			want:    did{Kept: []string{"m1"}, Visible: visible{"m1": "0s"}, Delivered: "failed m1/5 over, 5 attempts"},
		},
		{
			name:    "reported and not posted when its round was over before the fifth attempt",
			logged:  logged(webhook.DeliveryFailed, "m1", 2, webhook.Time{}),
			records: []Record{record("m1", 6, message(t1))},
			want:    did{Kept: []string{"m1"}, Visible: visible{"m1": "0s"}, Delivered: "failed m1/2 over, 2 attempts"},
		},
		{
			name:    "reported and not posted when its round is over, although the config is inactive by now",
			logged:  logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}),
			arrange: func(f *fixture) { f.config.Active = false },
			records: []Record{record("m1", 5, message(t1))},
			want:    did{Kept: []string{"m1"}, Visible: visible{"m1": "0s"}, Delivered: "failed m1/5 over, 5 attempts"},
		},
		{
			name:    "failed and acknowledged when the endpoint is gone, and its config is deactivated",
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(410)} },
			records: []Record{record("m1", 1, message(t1))},
			want: did{
				Posts: []string{"event1 #1"}, Health: []string{"deactivate endpoint_gone"},
				Delivered: "failed m1/1 over, 1 attempts",
			},
		},

		// Rounds.
		{
			name:    "the next attempt of its round when a duplicate had one in between",
			logged:  meeting(webhook.Retrying, "m1/1", "m2/1", "m1/2", "m2/2"),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m1", 3, message(t1))},
			want:    did{Posts: []string{"event1 #3"}, Kept: []string{"m1"}, Visible: visible{"m1": "5m0s"}, Delivered: "retrying m1/3, 5 attempts"},
		},
		{
			name:    "the next attempt of its round when a resend began in between",
			logged:  meeting(webhook.Retrying, "m1/1", "m1/2", "m1/3", "r1/1"),
			records: []Record{record("m1", 4, message(t1))},
			want:    did{Posts: []string{"event1 #4"}, Delivered: "delivered m1/4 done for t1, 5 attempts"},
		},
		{
			name:    "the first attempt of a resend among the last of a round that goes on",
			logged:  meeting(webhook.Retrying, "m1/1", "m1/2", "m1/3"),
			records: []Record{record("r1", 1, message(t2))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered r1/1 done for t2, 4 attempts"},
		},
		{
			name:    "the fifth attempt of its round when a duplicate had its own",
			logged:  meeting(webhook.DeliveryFailed, "m1/1", "m2/1", "m1/2", "m2/2", "m1/3", "m2/3", "m1/4", "m2/4", "m2/5"),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m1", 5, message(t1))},
			want: did{
				Posts: []string{"event1 #5"}, Kept: []string{"m1"}, Visible: visible{"m1": "0s"}, Health: []string{"count"},
				Delivered: "failed m1/5 over, 10 attempts",
			},
		},
		{
			name:    "the first attempt again when it is redriven as a put-back and a resend began since its fifth",
			logged:  meeting(webhook.Retrying, "m1/4", "m1/5", "r1/1"),
			records: []Record{record("m3", 1, in("m1", message(t1)))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered m1/1 done for t1, 4 attempts"},
		},
		{
			name:    "a new round when it is redriven",
			logged:  logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m2", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m2"}, Visible: visible{"m2": "10s"}, Delivered: "retrying m2/1, 6 attempts"},
		},
		{
			name:    "a new round when it is a resend",
			logged:  logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}),
			records: []Record{record("r1", 1, message(t2))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered r1/1 done for t2, 6 attempts"},
		},
		{
			name:    "the next attempt of its round when it was put back",
			logged:  logged(webhook.Retrying, "m1", 2, webhook.Time{}),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m2", 1, in("m1", message(t1)))},
			want:    did{Posts: []string{"event1 #3"}, Kept: []string{"m2"}, Visible: visible{"m2": "5m0s"}, Delivered: "retrying m1/3, 3 attempts"},
		},
		{
			name:    "reported when the put-back itself has ended the round",
			logged:  endedBy("m2", logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{})),
			records: []Record{record("m2", 3, in("m1", message(t1)))},
			want:    did{Kept: []string{"m2"}, Visible: visible{"m2": "0s"}, Delivered: "failed m1/5 over, 5 attempts"},
		},
		{
			name:    "a new round too when the first receive of the redriven put-back left nothing",
			logged:  endedBy("m2", logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{})),
			records: []Record{record("m3", 2, in("m1", message(t1)))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered m3/1 done for t1, 6 attempts"},
		},
		{
			name:    "a new round when a put-back that failed for good is redriven",
			logged:  logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("m3", 1, in("m1", message(t1)))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m3"}, Visible: visible{"m3": "10s"}, Delivered: "retrying m3/1, 6 attempts"},
		},
		{
			name:    "the second attempt of that round at its next receive",
			logged:  logged(webhook.Retrying, "m3", 1, webhook.Time{}),
			records: []Record{record("m3", 2, in("m1", message(t1)))},
			want:    did{Posts: []string{"event1 #2"}, Delivered: "delivered m3/2 done for t1, 2 attempts"},
		},

		// Obsolete.
		{
			name:    "obsolete when it is a duplicate of what has succeeded",
			logged:  logged(webhook.Delivered, "m1", 1, t1),
			records: []Record{record("m2", 1, message(t1))},
			want:    did{Delivered: "delivered m1/1 done for t1, 1 attempts"},
		},
		{
			name:    "obsolete when it is redriven after a resend has succeeded",
			logged:  logged(webhook.Delivered, "r1", 1, t2),
			records: []Record{record("m2", 1, message(t1))},
			want:    did{Delivered: "delivered r1/1 done for t2, 1 attempts"},
		},
		{
			name:    "obsolete even if the config is gone: a delivery that succeeded is never canceled",
			logged:  logged(webhook.Delivered, "m1", 1, t1),
			arrange: func(f *fixture) { f.config = nil },
			records: []Record{record("m2", 1, message(t1))},
			want:    did{Delivered: "delivered m1/1 done for t1, 1 attempts"},
		},
		{
			name:    "posted when it is a resend newer than what has succeeded",
			logged:  logged(webhook.Delivered, "m1", 1, t1),
			records: []Record{record("r1", 1, message(t2))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered r1/1 done for t2, 2 attempts"},
		},
		{
			name:    "retried when that resend fails, and the delivery stays delivered",
			logged:  logged(webhook.Delivered, "m1", 1, t1),
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(500)} },
			records: []Record{record("r1", 1, message(t2))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"r1"}, Visible: visible{"r1": "10s"}, Delivered: "delivered r1/1 done for t1, 2 attempts"},
		},

		// Canceled.
		{
			name:    "canceled when there is no config",
			arrange: func(f *fixture) { f.config = nil },
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Delivered: "canceled /0, 0 attempts"},
		},
		{
			name:    "canceled when the config is deleted",
			arrange: func(f *fixture) { f.config.DeletedAt = t2 },
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Delivered: "canceled /0, 0 attempts"},
		},
		{
			name:    "canceled when the config is inactive, with the attempts it had",
			logged:  logged(webhook.Retrying, "m1", 2, webhook.Time{}),
			arrange: func(f *fixture) { f.config.Active = false },
			records: []Record{record("m1", 3, message(t1))},
			want:    did{Delivered: "canceled m1/2, 2 attempts"},
		},
		{
			name: "kept when its cancelation cannot be logged",
			arrange: func(f *fixture) {
				f.config = nil
				f.store.record = func(context.Context, []Entry) []error { return refused }
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Kept: []string{"m1"}},
		},

		// Put back: the fault is ours.
		{
			name:    "put back in its round when nothing can be read",
			arrange: func(f *fixture) { f.store.load = unreadable },
			records: []Record{record("m1", 1, message(t1))},
			want:    did{PutBack: []string{"m1 in 1m0s"}},
		},
		{
			name:    "put back in the round that it carries",
			arrange: func(f *fixture) { f.store.load = unreadable },
			records: []Record{record("m2", 1, in("m1", message(t1)))},
			want:    did{PutBack: []string{"m1 in 1m0s"}},
		},
		{
			name: "put back when reading panics",
			arrange: func(f *fixture) {
				f.store.load = func(context.Context, []Key) (map[Key]Loaded, error) { panic("broken item") }
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{PutBack: []string{"m1 in 1m0s"}},
		},
		{
			name: "put back when reading hangs",
			arrange: func(f *fixture) {
				f.store.load = func(ctx context.Context, _ []Key) (map[Key]Loaded, error) { <-ctx.Done(); return nil, ctx.Err() }
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{PutBack: []string{"m1 in 1m0s"}},
		},
		{
			name: "kept as it is when nothing can be read and the copy cannot be sent",
			arrange: func(f *fixture) {
				f.store.load = unreadable
				f.queue.putBack = func(webhook.Message, time.Duration) error { return errors.New("queue is away") }
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Kept: []string{"m1"}},
		},
		{
			name: "kept as it is when sending the copy panics",
			arrange: func(f *fixture) {
				f.store.load = unreadable
				f.queue.putBack = func(webhook.Message, time.Duration) error { panic("broken client") }
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Kept: []string{"m1"}},
		},
		{
			name:    "put back when the keyring cannot be read",
			logged:  logged(webhook.Retrying, "m1", 1, webhook.Time{}),
			arrange: func(f *fixture) { f.credentials.open = opensWith(errors.New("secret is away")) },
			records: []Record{record("m1", 2, message(t1))},
			want:    did{PutBack: []string{"m1 in 1m0s"}, Delivered: "retrying m1/1, 1 attempts"},
		},
		{
			name: "put back when reading the keyring hangs",
			arrange: func(f *fixture) {
				f.credentials.open = func(ctx context.Context, _ string) (signature.Credentials, error) {
					<-ctx.Done()
					return signature.Credentials{}, ctx.Err()
				}
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{PutBack: []string{"m1 in 1m0s"}},
		},
		{
			name:    "put back for longer when the sealed value is broken, which needs a person",
			arrange: func(f *fixture) { f.credentials.open = opensWith(keyring.ErrSealed) },
			records: []Record{record("m1", 1, message(t1))},
			want:    did{PutBack: []string{"m1 in 15m0s"}},
		},
		{
			name: "put back for longer when the sealed value's key is not in the keyring",
			arrange: func(f *fixture) {
				f.credentials.open = opensWith(fmt.Errorf("%w: k2", keyring.ErrUnknownKey))
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{PutBack: []string{"m1 in 15m0s"}},
		},
		{
			name: "put back when only the previous credentials of an overlap do not open",
			arrange: func(f *fixture) {
				f.config.PreviousSealed, f.config.PreviousExpiresAt = "sealed previous", webhook.At(time.Now().Add(time.Hour))
				f.credentials.open = func(_ context.Context, sealed string) (signature.Credentials, error) {
					if sealed == "sealed previous" {
						return signature.Credentials{}, keyring.ErrSealed
					}
					return current, nil
				}
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{PutBack: []string{"m1 in 15m0s"}},
		},
		{
			name:   "put back in the new round when a redriven put-back meets a keyring that cannot be read",
			logged: logged(webhook.DeliveryFailed, "m1", 5, webhook.Time{}),
			arrange: func(f *fixture) {
				f.credentials.open = opensWith(errors.New("secret is away"))
			},
			records: []Record{record("m3", 1, in("m1", message(t1)))},
			want:    did{PutBack: []string{"m3 in 1m0s"}, Delivered: "failed m1/5 over, 5 attempts"},
		},

		// The log cannot be written.
		{
			name:    "kept until the queue's own timeout when its success cannot be logged",
			arrange: func(f *fixture) { f.store.record = func(context.Context, []Entry) []error { return refused } },
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m1"}},
		},
		{
			name: "retried as planned when its failure cannot be logged",
			arrange: func(f *fixture) {
				f.results = []endpoint.Result{failure(500)}
				f.store.record = func(context.Context, []Entry) []error { return refused }
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m1"}, Visible: visible{"m1": "10s"}},
		},
		{
			name:   "not counted and not visible at once when its final failure cannot be logged",
			logged: logged(webhook.Retrying, "m1", 4, webhook.Time{}),
			arrange: func(f *fixture) {
				f.results = []endpoint.Result{failure(500)}
				f.store.record = func(context.Context, []Entry) []error { return refused }
			},
			records: []Record{record("m2", 1, in("m1", message(t1)))},
			want:    did{Posts: []string{"event1 #5"}, Kept: []string{"m2"}, Delivered: "retrying m1/4, 4 attempts"},
		},
		{
			name: "kept when the end of a gone endpoint cannot be logged",
			arrange: func(f *fixture) {
				f.results = []endpoint.Result{failure(410)}
				f.store.record = func(context.Context, []Entry) []error { return refused }
			},
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m1"}},
		},
		{
			name:    "kept when writing the log panics",
			arrange: func(f *fixture) { f.store.record = func(context.Context, []Entry) []error { panic("broken client") } },
			records: []Record{record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m1"}},
		},
		{
			name:    "not posted twice in a batch, and neither acknowledged, when the success cannot be logged",
			arrange: func(f *fixture) { f.store.record = func(context.Context, []Entry) []error { return refused } },
			records: []Record{record("m1", 1, message(t1)), record("m2", 1, message(t1)), record("r1", 1, message(t2))},
			want:    did{Posts: []string{"event1 #1"}, Kept: []string{"m1", "m2", "r1"}},
		},

		// Several messages of one delivery in a batch.
		{
			name:    "posted once when a batch holds it twice",
			records: []Record{record("m1", 1, message(t1)), record("m2", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered m1/1 done for t1, 1 attempts"},
		},
		{
			name:    "posted twice when one of the two is a newer resend",
			records: []Record{record("m1", 1, message(t1)), record("r1", 1, message(t2))},
			want:    did{Posts: []string{"event1 #1", "event1 #1"}, Delivered: "delivered r1/1 done for t2, 2 attempts"},
		},
		{
			name:    "posted once when the newer resend comes first",
			records: []Record{record("r1", 1, message(t2)), record("m1", 1, message(t1))},
			want:    did{Posts: []string{"event1 #1"}, Delivered: "delivered r1/1 done for t2, 1 attempts"},
		},
		{
			name:    "canceled when a message before it in the batch has found the endpoint gone",
			arrange: func(f *fixture) { f.results = []endpoint.Result{failure(410)} },
			records: []Record{record("m1", 1, message(t1)), record("r1", 1, message(t2))},
			want: did{
				Posts: []string{"event1 #1"}, Health: []string{"deactivate endpoint_gone"},
				Delivered: "canceled m1/1 over, 1 attempts",
			},
		},

		// What cannot be understood.
		{
			name:    "kept with its visibility untouched when it is not JSON",
			records: []Record{{MessageID: "m1", ReceiptHandle: "receipt m1", Body: "hello"}},
			want:    did{Kept: []string{"m1"}},
		},
		{
			name: "kept with its visibility untouched when it is of a later version, and the others go on",
			records: []Record{
				{MessageID: "m0", ReceiptHandle: "receipt m0", Body: `{"v":2}`},
				record("m1", 1, message(t1)),
			},
			want: did{Posts: []string{"event1 #1"}, Kept: []string{"m0"}, Delivered: "delivered m1/1 done for t1, 1 attempts"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture()
				if c.logged != nil {
					f.log.set(c.logged)
				}
				if c.arrange != nil {
					c.arrange(f)
				}
				if diff := cmp.Diff(c.want, f.handle(t.Context(), t, c.records...)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

func opensWith(err error) func(context.Context, string) (signature.Credentials, error) {
	return func(context.Context, string) (signature.Credentials, error) { return signature.Credentials{}, err }
}

// TestOnlyUnreadablePartIsPutBack: a Load that fails in part concerns only the keys it misses.
func TestOnlyUnreadablePartIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.store.load = func(_ context.Context, keys []Key) (map[Key]Loaded, error) {
			if len(keys) != 2 {
				t.Errorf("Load got %d keys, not the 2 deliveries of 3 messages", len(keys))
			}
			return map[Key]Loaded{{organization, configID, event(1).ID}: {Config: f.config}}, errors.New("keys left unprocessed")
		}
		other := message(t1)
		other.Event = event(2)
		want := did{
			Posts: []string{"event1 #1"}, PutBack: []string{"m2 in 1m0s"},
			Delivered: "delivered m1/1 done for t1, 1 attempts",
		}
		got := f.handle(t.Context(), t, record("m1", 1, message(t1)), record("m2", 1, other), record("m3", 1, message(t1)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAnswerListsNothingAsEmptyArray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, batch := range []Batch{{}, {Records: []Record{record("m1", 1, message(t1))}}} {
			answer, err := newFixture().Handle(t.Context(), batch)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(answer)
			if want := `{"batchItemFailures":[]}`; err != nil || string(got) != want {
				t.Errorf("answer is %s (%v), want %s", got, err, want)
			}
		}
	})
}

func TestBatchIsReadAsSQSEventSourceWritesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, _ := json.Marshal(record("", 1, message(t1)).Body)
		var batch Batch
		err := json.Unmarshal([]byte(`{"Records":[{"messageId":"m1","receiptHandle":"receipt m1","body":`+string(body)+`,
			"attributes":{"ApproximateReceiveCount":"5","SentTimestamp":"1573251510774"},"eventSource":"aws:sqs"}]}`), &batch)
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture()
		f.results = []endpoint.Result{failure(500)}
		answer, _ := f.Handle(t.Context(), batch)
		if diff := cmp.Diff(Answer{[]Failure{{"m1"}}}, answer); diff != "" {
			t.Error(diff)
		}
		if got := f.log.get(Key{organization, configID, event(1).ID}).Status; got != webhook.DeliveryFailed {
			t.Errorf("status is %s: the receive count was not read", got)
		}
	})
}

// endedBy names another message than the round's own as the one that ended it.
func endedBy(id string, d *webhook.Delivery) *webhook.Delivery {
	d.RoundOverBy = id
	return d
}
