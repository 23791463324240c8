package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

func TestRun(t *testing.T) {
	third := func(m webhook.Message) error {
		if m.Event.DocumentID == "doc3" {
			return errors.New("refused")
		}
		return nil
	}
	for name, test := range map[string]struct {
		shard    shard
		messages []sqstypes.Message
		change   func(*replay, *pointerQueue)
		refuse   func(webhook.Message) error
		sent     string // documents, in order
		deleted  []string
		want     summary
		says     string
	}{
		"an empty queue is done": {},
		"the records of a pointer are sent and it is deleted": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			sent: "doc3 doc4 doc5", deleted: []string{"a"}, want: summary{done: 1}, says: "dispatched 3 messages of 3 records",
		},
		"records are read over many pages, empty ones too": {
			shard:    shard{pages: [][]types.Record{numbers(1, 2), nil, nil, numbers(3, 4), nil, numbers(5, 9)}, open: true},
			messages: []sqstypes.Message{pointerTo("a", 2, 6)},
			sent:     "doc2 doc3 doc4 doc5 doc6",
			deleted:  []string{"a"},
			want:     summary{done: 1},
		},
		"an end that is no record of its own is passed": {
			shard:    shard{pages: [][]types.Record{{changeNumber(1), changeNumber(2), changeNumber(8)}}, open: true},
			messages: []sqstypes.Message{pointerTo("a", 1, 5)}, sent: "doc1 doc2", deleted: []string{"a"}, want: summary{done: 1},
		},
		"more than one batch goes out in order": {
			shard: shard{pages: [][]types.Record{numbers(1, 250)}}, messages: []sqstypes.Message{pointerTo("a", 1, 250)},
			sent: documents(1, 250), deleted: []string{"a"}, want: summary{done: 1}, says: "dispatched 250 messages",
		},
		"more than ten pointers are all worked on": {
			shard: shard{pages: [][]types.Record{numbers(1, 12)}},
			messages: func() (all []sqstypes.Message) {
				for n := 1; n <= 12; n++ {
					all = append(all, pointerTo(fmt.Sprint("p", n), n, n))
				}
				return all
			}(),
			sent:    documents(1, 12),
			deleted: []string{"p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12"},
			want:    summary{done: 12},
		},
		"what the queue refuses keeps its pointer": {
			shard:    shard{pages: [][]types.Record{numbers(1, 9)}},
			messages: []sqstypes.Message{pointerTo("a", 1, 4), pointerTo("b", 5, 5)},
			refuse:   third,
			sent:     "doc1 doc2 doc4 doc5",
			deleted:  []string{"b"},
			want:     summary{done: 1, failed: 1},
			says:     "a: left in the queue",
		},
		"configs that cannot be read keep the pointer": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 1, 4)},
			change: func(r *replay, _ *pointerQueue) {
				r.configs = configsFunc(func(string) ([]webhook.Config, error) { return nil, errors.New("away") })
			},
			want: summary{failed: 1}, says: "4 records could not be dispatched",
		},
		"a dry run sends and deletes nothing": {
			shard:    shard{pages: [][]types.Record{numbers(1, 9)}},
			messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			change:   func(r *replay, _ *pointerQueue) { r.dryRun = true },
			want:     summary{done: 1},
			says:     "would dispatch 3 messages of 3 records",
		},
		"records that are gone keep their pointer": {
			shard:    shard{pages: [][]types.Record{numbers(1, 9)}, oldest: 8, open: true},
			messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want:     summary{expired: 1},
			says:     "dispatched 0 messages of 0 records still in the stream; older ones are no longer there and lost (-discard-expired",
		},
		"of records of which the first are gone the rest is sent": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}, oldest: 4, open: true}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			sent: "doc4 doc5", want: summary{expired: 1}, says: "dispatched 2 messages of 2 records still in the stream; older ones",
		},
		"a pointer to what is gone may be discarded": {
			shard:    shard{pages: [][]types.Record{numbers(1, 9)}, oldest: 4},
			messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			change:   func(r *replay, _ *pointerQueue) { r.discardExpired = true },
			sent:     "doc4 doc5",
			deleted:  []string{"a"},
			want:     summary{expired: 1},
		},
		"a dry run discards nothing": {
			shard:    shard{oldest: 4, pages: [][]types.Record{nil}},
			messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			change:   func(r *replay, _ *pointerQueue) { r.discardExpired, r.dryRun = true, true },
			want:     summary{expired: 1},
			says:     "left in the queue",
		},
		"a stream that is gone has lost everything": {
			shard:    shard{gone: true},
			messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want:     summary{expired: 1},
			says:     "no longer there",
		},
		"a shard that does not come to the end keeps the pointer, and what it gave is not sent": {
			shard: shard{pages: [][]types.Record{numbers(1, 4)}, open: true}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want: summary{failed: 1}, says: "run replay again",
		},
		"a closed shard that lacks the end keeps the pointer": {
			shard: shard{pages: [][]types.Record{numbers(1, 4)}}, messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want: summary{failed: 1}, says: "run replay again",
		},
		"a stream that cannot be read keeps the pointer": {
			shard:    shard{pages: [][]types.Record{numbers(1, 9)}, failing: errors.New("throttled")},
			messages: []sqstypes.Message{pointerTo("a", 3, 5)},
			want:     summary{failed: 1},
			says:     "throttled",
		},
		"what is no pointer is left alone": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}},
			messages: []sqstypes.Message{
				{MessageId: aws.String("x"), ReceiptHandle: aws.String("x"), Body: aws.String(`{"hello":"world"}`)},
				pointerTo("a", 3, 3),
			},
			sent: "doc3", deleted: []string{"a"}, want: summary{done: 1, failed: 1}, says: "x: left in the queue: not a pointer",
		},
		"a pointer that cannot be deleted is reported": {
			shard: shard{pages: [][]types.Record{numbers(1, 9)}}, messages: []sqstypes.Message{pointerTo("a", 3, 3)},
			change: func(_ *replay, q *pointerQueue) { q.failDelete = errors.New("away") },
			sent:   "doc3", want: summary{done: 1, failed: 1}, says: "harmless: away",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pointers := &pointerQueue{messages: test.messages, hidden: map[string]bool{}}
			var sent []string
			var written eventsTable
			var out bytes.Buffer
			r := &replay{
				pointers: pointers, reader: reader{&test.shard, func(context.Context, time.Duration) error { return nil }},
				configs: configsFunc(everyone), events: &written, now: now, deliveryQueue: unused(t),
				retryQueue: queueFunc(func(messages []webhook.Message) []error {
					errs := make([]error, len(messages))
					for i, m := range messages {
						if test.refuse != nil {
							errs[i] = test.refuse(m)
						}
						if errs[i] == nil {
							sent = append(sent, m.Event.DocumentID)
						}
					}
					return errs
				}),
				out: &out, log: slog.New(slog.DiscardHandler),
			}
			if test.change != nil {
				test.change(r, pointers)
			}
			got, err := r.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(summary{})); diff != "" {
				t.Error(diff)
			}
			if strings.Join(sent, " ") != test.sent {
				t.Errorf("sent %v, want %s", sent, test.sent)
			}
			for _, document := range sent {
				if !slices.Contains(written.documents, document) {
					t.Errorf("the event of %s is not written", document)
				}
			}
			if r.dryRun && written.documents != nil {
				t.Errorf("a dry run writes the events of %v", written.documents)
			}
			if diff := cmp.Diff(test.deleted, pointers.deleted); diff != "" {
				t.Errorf("deleted: %s", diff)
			}
			if !strings.Contains(out.String(), test.says) {
				t.Errorf("says %q, want %q", &out, test.says)
			}
			for _, m := range test.messages {
				left := !slices.Contains(pointers.deleted, *m.ReceiptHandle)
				if again := slices.Contains(pointers.visible, *m.ReceiptHandle); again != left {
					t.Errorf("%s: left in the queue %t, made visible again %t", *m.MessageId, left, again)
				}
			}
		})
	}
}

func TestRunIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	pointers := &pointerQueue{messages: []sqstypes.Message{pointerTo("a", 1, 1), pointerTo("b", 2, 2)}, hidden: map[string]bool{}}
	r := &replay{
		pointers:      pointers,
		reader:        reader{&shard{pages: [][]types.Record{numbers(1, 9)}}, sleep},
		configs:       configsFunc(fast),
		events:        &eventsTable{},
		now:           now,
		retryQueue:    unused(t),
		deliveryQueue: queueFunc(func([]webhook.Message) []error { cancel(); return nil }),
		out:           &bytes.Buffer{},
		log:           slog.New(slog.DiscardHandler),
	}
	got, err := r.run(ctx)
	if !errors.Is(err, context.Canceled) || got.done != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"a"}, pointers.deleted); diff != "" {
		t.Errorf("deleted: %s", diff)
	}
	if diff := cmp.Diff([]string{"b"}, pointers.visible); diff != "" {
		t.Errorf("the other pointer must be visible again: %s", diff)
	}
}

func TestMisuse(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		code      int
		says      string
	}{
		"an unknown flag":     {[]string{"-colour", "red"}, 2, "-colour"},
		"an argument":         {[]string{"all"}, 2, `unexpected argument "all"`},
		"a question for help": {[]string{"-h"}, 0, "-discard-expired"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			code := run(t.Context(), test.arguments, &out, &stderr)
			if code != test.code || !strings.Contains(stderr.String(), test.says) || out.Len() > 0 {
				t.Errorf("exit code %d, %q", code, &stderr)
			}
		})
	}
}
