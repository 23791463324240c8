package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/webhook"
)

// api is an SQS that does what its functions say; one that is not set must not be called.
type api struct {
	send       func(*sqs.SendMessageInput) error
	sendBatch  func(*sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error)
	visibility func(*sqs.ChangeMessageVisibilityBatchInput) ([]types.BatchResultErrorEntry, error)
}

func (a api) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	return &sqs.SendMessageOutput{}, a.send(in)
}

func (a api) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	failed, err := a.sendBatch(in)
	out := &sqs.SendMessageBatchOutput{Failed: failed}
	for _, entry := range in.Entries {
		if !refuses(failed, entry.Id) {
			out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: entry.Id})
		}
	}
	return out, err
}

// refuses reports whether an entry has failed.
func refuses(failed []types.BatchResultErrorEntry, id *string) bool {
	return slices.ContainsFunc(failed, func(f types.BatchResultErrorEntry) bool { return *f.Id == *id })
}

func (a api) ChangeMessageVisibilityBatch(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	failed, err := a.visibility(in)
	out := &sqs.ChangeMessageVisibilityBatchOutput{Failed: failed}
	for _, entry := range in.Entries {
		if !refuses(failed, entry.Id) {
			out.Successful = append(out.Successful, types.ChangeMessageVisibilityBatchResultEntry{Id: entry.Id})
		}
	}
	return out, err
}

// silent mentions the first entry of the first call alone, and one that was not in it.
type silent struct {
	API
	calls int
}

func (s *silent) SendMessageBatch(_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	out := &sqs.SendMessageBatchOutput{Failed: []types.BatchResultErrorEntry{{Id: aws.String("77")}, {}}}
	if s.calls++; s.calls == 1 {
		out.Successful = []types.SendMessageBatchResultEntry{{Id: in.Entries[0].Id}}
	}
	return out, nil
}

func start() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC) }

func newQueue(a api) *Queue {
	return &Queue{Client: a, URL: "https://sqs.example/queue", Now: start}
}

func configID(n int) string { return fmt.Sprintf("019ce1a0-0000-7000-8000-%012x", n) }

// message is number n to a config.
func message(config, n int) webhook.Message {
	return webhook.Message{
		OrganizationID: "org", ConfigID: configID(config), RequestedAt: webhook.At(start()), Trigger: webhook.StatusChange,
		Event: webhook.Event{
			Version: 1, ID: webhook.NewEventID(start(), fmt.Sprint(n)), DocumentID: fmt.Sprint("doc", n), Status: webhook.Processed, OccurredAt: webhook.At(start()),
		},
	}
}

// accepting is an SQS that remembers what it accepts; refuse says which entries it does not. It
// checks what SQS checks of a batch.
type accepting struct {
	t      *testing.T
	refuse func(webhook.Message) bool

	mu       sync.Mutex
	calls    int
	messages []webhook.Message
}

func (a *accepting) sendBatch(in *sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if n := len(in.Entries); n < 1 || n > 10 || *in.QueueUrl != "https://sqs.example/queue" {
		a.t.Errorf("a batch of %d to %s", n, *in.QueueUrl)
	}
	ids := map[string]bool{}
	var failed []types.BatchResultErrorEntry
	for _, entry := range in.Entries {
		if ids[*entry.Id] {
			a.t.Errorf("id %s is in the batch twice", *entry.Id)
		}
		ids[*entry.Id] = true
		m, err := webhook.ParseMessage(*entry.MessageBody)
		if err != nil {
			a.t.Errorf("the body is no message: %v", err)
		}
		if aws.ToString(entry.MessageGroupId) != m.ConfigID || entry.MessageDeduplicationId != nil {
			a.t.Errorf("group %s, deduplication %v", aws.ToString(entry.MessageGroupId), entry.MessageDeduplicationId)
		}
		if a.refuse != nil && a.refuse(m) {
			failed = append(failed, types.BatchResultErrorEntry{Id: entry.Id, Code: aws.String("InternalError"), Message: aws.String("try again")})
			continue
		}
		a.messages = append(a.messages, m)
	}
	return failed, nil
}

// to returns the documents that were sent to a config, in the order of their acceptance.
func (a *accepting) to(config int) []string {
	var documents []string
	for _, m := range a.messages {
		if m.ConfigID == configID(config) {
			documents = append(documents, m.Event.DocumentID)
		}
	}
	return documents
}

func TestSend(t *testing.T) {
	for name, test := range map[string]struct{ configs, each, calls int }{
		"nothing is no call":               {0, 0, 0},
		"one message is one call":          {1, 1, 1},
		"ten messages are one call":        {5, 2, 1},
		"eleven to one config are two":     {1, 11, 2},
		"a hundred to one config are ten":  {1, 100, 10},
		"many to many go in their order":   {30, 20, 0},
		"one each to a hundred is all out": {100, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := &accepting{t: t}
			var messages []webhook.Message
			for n := range test.each {
				for config := range test.configs {
					messages = append(messages, message(config, n))
				}
			}
			if errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), messages); errs != nil {
				t.Fatal(errs)
			}
			if test.calls > 0 && a.calls != test.calls {
				t.Errorf("%d calls, want %d", a.calls, test.calls)
			}
			if len(a.messages) != len(messages) {
				t.Errorf("%d accepted, want %d", len(a.messages), len(messages))
			}
			var want []string
			for n := range test.each {
				want = append(want, fmt.Sprint("doc", n))
			}
			for config := range test.configs {
				if diff := cmp.Diff(want, a.to(config)); diff != "" {
					t.Errorf("config %d: %s", config, diff)
				}
			}
		})
	}
}

func TestSendRefused(t *testing.T) {
	t.Run("refused entries are tried again, and only those", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			a := &accepting{t: t, refuse: func(m webhook.Message) bool {
				if m.Event.DocumentID == "doc3" {
					tries++
					return tries < 3
				}
				return false
			}}
			var messages []webhook.Message
			for n := range 6 {
				messages = append(messages, message(1, n))
			}
			if errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), messages); errs != nil {
				t.Fatal(errs)
			}
			if diff := cmp.Diff([]string{"doc0", "doc1", "doc2", "doc4", "doc5", "doc3"}, a.to(1)); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("what is refused in the end is reported, and only that", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &accepting{t: t, refuse: func(m webhook.Message) bool {
				return m.Event.DocumentID == "doc3" || m.Event.DocumentID == "doc17"
			}}
			var messages []webhook.Message
			for n := range 30 {
				messages = append(messages, message(n%3, n))
			}
			errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), messages)
			for i, err := range errs {
				if refused := i == 3 || i == 17; refused != (err != nil) || refused && !errors.Is(err, ErrRefused) {
					t.Errorf("message %d: %v", i, err)
				}
			}
			if len(errs) != 30 || len(a.messages) != 28 {
				t.Errorf("%d errors, %d accepted", len(errs), len(a.messages))
			}
		})
	})
	t.Run("an entry is tried four times", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &accepting{t: t, refuse: func(webhook.Message) bool { return true }}
			errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), []webhook.Message{message(1, 1)})
			if len(errs) != 1 || a.calls != 4 || !strings.Contains(errs[0].Error(), "InternalError: try again") {
				t.Errorf("%v after %d calls", errs, a.calls)
			}
		})
	})
	t.Run("what the answer does not mention is not taken for accepted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &silent{}
			errs := (&Queue{Client: s, URL: "https://sqs.example/queue", Now: start}).Send(t.Context(), []webhook.Message{message(1, 1), message(1, 2)})
			if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], ErrRefused) || s.calls != 4 {
				t.Errorf("%v after %d calls", errs, s.calls)
			}
		})
	})
	t.Run("nothing is tried again when time is up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a := &accepting{t: t, refuse: func(webhook.Message) bool { return true }}
		errs := newQueue(api{sendBatch: a.sendBatch}).Send(ctx, []webhook.Message{message(1, 1)})
		if len(errs) != 1 || errs[0] == nil || a.calls != 1 {
			t.Errorf("%v after %d calls", errs, a.calls)
		}
	})
}

func TestSendFails(t *testing.T) {
	away := errors.New("SQS is away")
	t.Run("a call that fails is not repeated and nothing follows it", func(t *testing.T) {
		calls := 0
		queue := newQueue(api{sendBatch: func(*sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
			calls++
			return nil, away
		}})
		var messages []webhook.Message
		for n := range 35 {
			messages = append(messages, message(1, n))
		}
		errs := queue.Send(t.Context(), messages)
		if len(errs) != 35 || calls != 1 {
			t.Fatalf("%d errors after %d calls", len(errs), calls)
		}
		for i, err := range errs {
			if !errors.Is(err, away) {
				t.Errorf("message %d: %v", i, err)
			}
		}
	})
	t.Run("what was accepted before is not reported", func(t *testing.T) {
		calls := 0
		queue := newQueue(api{sendBatch: func(*sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
			if calls++; calls == 2 {
				return nil, away
			}
			return nil, nil
		}})
		var messages []webhook.Message
		for n := range 35 {
			messages = append(messages, message(1, n))
		}
		for i, err := range queue.Send(t.Context(), messages) {
			if (err != nil) != (i >= 10) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if calls != 2 {
			t.Errorf("%d calls", calls)
		}
	})
}

// SQS takes the characters of XML 1.0 and no others.
//
// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func TestSendHoldsOnlyCharactersThatSQSTakes(t *testing.T) {
	var sent string
	queue := newQueue(api{
		sendBatch: func(in *sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
			sent = *in.Entries[0].MessageBody
			return nil, nil
		},
		send: func(in *sqs.SendMessageInput) error { sent = *in.MessageBody; return nil },
	})
	m := message(1, 1)
	m.Event.DocumentID = "\x00\x01\x1f\x7f\uFFFD\uFFFE\uFFFF\U0001FFFE\U0010FFFF<&>\"\\\u2028"
	for name, send := range map[string]func() error{
		"Send":    func() error { return errors.Join(queue.Send(t.Context(), []webhook.Message{m})...) },
		"PutBack": func() error { return queue.PutBack(t.Context(), m, 0) },
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		for _, r := range sent {
			if r < 0x20 || r > 0xFFFD && r < 0x10000 {
				t.Errorf("%s: the body holds %U", name, r)
			}
		}
		if got, err := webhook.ParseMessage(sent); err != nil || got != m {
			t.Errorf("%s: it is read as %+v, %v", name, got, err)
		}
	}
}

// SQS once limited a call to 256 KiB and now to 1 MiB. Ids of nothing but control characters, six bytes
// each in JSON, make the largest messages that dispatch lets pass.
func TestTenOfTheLargestMessagesFitIntoOneCall(t *testing.T) {
	largest := func(n int) webhook.Message {
		m := message(1, n)
		m.OrganizationID = strings.Repeat("\x01", 2048-1-webhook.MaxDocumentIDLength)
		m.Event.DocumentID = strings.Repeat("\x01", webhook.MaxDocumentIDLength)
		m.Event.PreviousStatus, m.Round = webhook.Processing, configID(n)
		return m
	}
	var messages []webhook.Message
	for n := range 10 {
		messages = append(messages, largest(n))
	}
	size := 0
	queue := newQueue(api{sendBatch: func(in *sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
		for _, entry := range in.Entries {
			size += len(*entry.MessageBody)
		}
		return nil, nil
	}})
	if errs := queue.Send(t.Context(), messages); errs != nil || size < 100<<10 || size > 256<<10 {
		t.Errorf("%d bytes, %v", size, errs)
	}
}

func TestChangeVisibility(t *testing.T) {
	in := func(d time.Duration) delivery.Visibility {
		return delivery.Visibility{MessageID: "m", ReceiptHandle: "r", Due: start().Add(d)}
	}
	for name, test := range map[string]struct {
		due  time.Duration
		want int32
	}{
		"what is due now is visible at once":              {0, 0},
		"what was due before is visible at once":          {-time.Hour, 0},
		"a fraction of a second is a whole one":           {time.Millisecond, 1},
		"whole seconds are what they are":                 {10 * time.Second, 10},
		"more than whole seconds is rounded up":           {10*time.Second + 1, 11},
		"a quarter of an hour":                            {15 * time.Minute, 900},
		"twelve hours count from the receive, so it less": {12 * time.Hour, 43080},
		"no more than that":                               {1000 * time.Hour, 43080},
	} {
		t.Run(name, func(t *testing.T) {
			queue := newQueue(api{visibility: func(got *sqs.ChangeMessageVisibilityBatchInput) ([]types.BatchResultErrorEntry, error) {
				if entry := got.Entries[0]; len(got.Entries) != 1 || entry.VisibilityTimeout != test.want || *entry.ReceiptHandle != "r" || *got.QueueUrl != "https://sqs.example/queue" {
					t.Errorf("got %+v", got)
				}
				return nil, nil
			}})
			if err := queue.ChangeVisibility(t.Context(), []delivery.Visibility{in(test.due)}); err != nil {
				t.Error(err)
			}
		})
	}
	many := func(n int) []delivery.Visibility {
		var changes []delivery.Visibility
		for i := range n {
			changes = append(changes, delivery.Visibility{ReceiptHandle: fmt.Sprint("r", i), Due: start().Add(time.Minute)})
		}
		return changes
	}
	t.Run("more than ten are more than one call", func(t *testing.T) {
		var handles []string
		calls := 0
		queue := newQueue(api{visibility: func(got *sqs.ChangeMessageVisibilityBatchInput) ([]types.BatchResultErrorEntry, error) {
			calls++
			for _, entry := range got.Entries {
				handles = append(handles, *entry.ReceiptHandle)
			}
			return nil, nil
		}})
		if err := queue.ChangeVisibility(t.Context(), many(25)); err != nil || calls != 3 || len(handles) != 25 {
			t.Errorf("%v, %d handles in %d calls", err, len(handles), calls)
		}
	})
	t.Run("what fails is tried again and then reported, and the rest is done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var sizes []int
			queue := newQueue(api{visibility: func(got *sqs.ChangeMessageVisibilityBatchInput) ([]types.BatchResultErrorEntry, error) {
				sizes = append(sizes, len(got.Entries))
				if i := slices.IndexFunc(got.Entries, func(e types.ChangeMessageVisibilityBatchRequestEntry) bool { return *e.ReceiptHandle == "r4" }); i >= 0 {
					return []types.BatchResultErrorEntry{{Id: got.Entries[i].Id, Code: aws.String("ReceiptHandleIsInvalid")}}, nil
				}
				return nil, nil
			}})
			err := queue.ChangeVisibility(t.Context(), many(15))
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "ReceiptHandleIsInvalid") {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff([]int{10, 1, 1, 1, 5}, sizes); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("a call that fails is reported and the next is made", func(t *testing.T) {
		away, calls := errors.New("SQS is away"), 0
		queue := newQueue(api{visibility: func(*sqs.ChangeMessageVisibilityBatchInput) ([]types.BatchResultErrorEntry, error) {
			if calls++; calls == 1 {
				return nil, away
			}
			return nil, nil
		}})
		if err := queue.ChangeVisibility(t.Context(), many(15)); !errors.Is(err, away) || calls != 2 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
	t.Run("nothing is no call", func(t *testing.T) {
		if err := newQueue(api{}).ChangeVisibility(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestPutBack(t *testing.T) {
	for name, test := range map[string]struct {
		delay time.Duration
		want  int32
	}{
		"a minute":                         {time.Minute, 60},
		"a fraction of a second is one":    {time.Millisecond, 1},
		"no delay":                         {0, 0},
		"a delay in the past is none":      {-time.Minute, 0},
		"the most that SQS takes":          {15 * time.Minute, 900},
		"more than that is the most of it": {time.Hour, 900},
	} {
		t.Run(name, func(t *testing.T) {
			m := message(1, 1)
			m.Round = "the first message's id"
			queue := newQueue(api{send: func(in *sqs.SendMessageInput) error {
				if got, err := webhook.ParseMessage(*in.MessageBody); err != nil || got != m {
					t.Errorf("sent %s", *in.MessageBody)
				}
				if in.DelaySeconds != test.want || *in.MessageGroupId != m.ConfigID || *in.QueueUrl != "https://sqs.example/queue" {
					t.Errorf("got %+v", in)
				}
				return nil
			}})
			if err := queue.PutBack(t.Context(), m, test.delay); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("an error is told", func(t *testing.T) {
		away := errors.New("SQS is away")
		queue := newQueue(api{send: func(*sqs.SendMessageInput) error { return away }})
		if err := queue.PutBack(t.Context(), message(1, 1), time.Minute); !errors.Is(err, away) {
			t.Errorf("got %v", err)
		}
	})
}
