package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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

func (a api) SendMessageBatch(
	_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options),
) (*sqs.SendMessageBatchOutput, error) {
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

func (a api) ChangeMessageVisibilityBatch(
	_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options),
) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
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

func (s *silent) SendMessageBatch(
	_ context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options),
) (*sqs.SendMessageBatchOutput, error) {
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

// messageOf is number n to a config, due now.
func messageOf(config, n int) webhook.Message {
	event := webhook.Event{
		Version: 1, ID: webhook.NewEventID(start(), fmt.Sprint(n)), DocumentID: fmt.Sprint("doc", n), Status: webhook.Processed,
		Sequence: strings.Repeat("1", webhook.SequenceLength), OccurredAt: webhook.At(start()),
	}
	return webhook.NewFirst("org", configID(config), event, webhook.At(start()), start())
}

// groupOfOrg is the first half of the SHA-256 of "org", by sha256sum.
const groupOfOrg = "e87cb45c05ad389d58904ea398345c24"

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
		m, err := webhook.ParseMessage(*entry.MessageBody, start())
		if err != nil {
			a.t.Errorf("the body is no message: %v", err)
		}
		if aws.ToString(entry.MessageGroupId) != groupOfOrg || entry.MessageDeduplicationId != nil || entry.DelaySeconds != 0 {
			a.t.Errorf("group %s, deduplication %v", aws.ToString(entry.MessageGroupId), entry.MessageDeduplicationId)
		}
		if a.refuse != nil && a.refuse(m) {
			failed = append(failed, types.BatchResultErrorEntry{
				Id:      entry.Id,
				Code:    aws.String("InternalError"),
				Message: aws.String("try again"),
			})
			continue
		}
		a.messages = append(a.messages, m)
	}
	return failed, nil
}

// documents returns the documents whose messages were accepted, in the order of their acceptance.
func (a *accepting) documents() []string {
	var documents []string
	for _, m := range a.messages {
		documents = append(documents, m.Event.DocumentID)
	}
	return documents
}

func someMessages(n int) []webhook.Message {
	var all []webhook.Message
	for i := range n {
		all = append(all, messageOf(i%3, i))
	}
	return all
}

func TestSend(t *testing.T) {
	for name, test := range map[string]struct{ messages, calls int }{
		"nothing is no call":             {messages: 0, calls: 0},
		"one message is one call":        {messages: 1, calls: 1},
		"ten messages are one call":      {messages: 10, calls: 1},
		"eleven messages are two calls":  {messages: 11, calls: 2},
		"a thousand are a hundred calls": {messages: 1000, calls: 100},
	} {
		t.Run(name, func(t *testing.T) {
			a := &accepting{t: t}
			all := someMessages(test.messages)
			if errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), all); errs != nil {
				t.Fatal(errs)
			}
			if a.calls != test.calls {
				t.Errorf("%d calls, want %d", a.calls, test.calls)
			}
			byDocument := cmpopts.SortSlices(func(a, b webhook.Message) bool { return a.Event.DocumentID < b.Event.DocumentID })
			if diff := cmp.Diff(all, a.messages, byDocument); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSendDelays(t *testing.T) {
	for name, test := range map[string]struct {
		notBefore time.Duration // from now
		delay     time.Duration // of SendOnce
		want      int32         // of Send
		wantOnce  int32
	}{
		"what is due now is visible at once":      {},
		"what was due before is too":              {notBefore: -time.Hour},
		"what is due later waits":                 {notBefore: 10 * time.Second, want: 10, wantOnce: 10},
		"a fraction of a second is a whole one":   {notBefore: time.Millisecond, want: 1, wantOnce: 1},
		"a quarter of an hour is the most":        {notBefore: time.Hour, want: 900, wantOnce: 900},
		"a delay counts":                          {notBefore: -time.Hour, delay: 15 * time.Minute, wantOnce: 900},
		"a delay counts if it is longer":          {notBefore: time.Minute, delay: 2 * time.Minute, want: 60, wantOnce: 120},
		"a delay does not count if it is not":     {notBefore: 2 * time.Minute, delay: time.Minute, want: 120, wantOnce: 120},
		"a delay is a quarter of an hour at most": {delay: time.Hour, wantOnce: 900},
	} {
		t.Run(name, func(t *testing.T) {
			m := messageOf(1, 1)
			m.NotBefore = webhook.At(start().Add(test.notBefore))
			check := func(body, group *string, delay, want int32) {
				if got, err := webhook.ParseMessage(*body, start()); err != nil || got != m || *group != groupOfOrg || delay != want {
					t.Errorf("sent %s (%v) of group %s after %d s, want %d s", *body, err, *group, delay, want)
				}
			}
			queue := newQueue(api{
				sendBatch: func(in *sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
					check(in.Entries[0].MessageBody, in.Entries[0].MessageGroupId, in.Entries[0].DelaySeconds, test.want)
					return nil, nil
				},
				send: func(in *sqs.SendMessageInput) error {
					check(in.MessageBody, in.MessageGroupId, in.DelaySeconds, test.wantOnce)
					return nil
				},
			})
			if errs := queue.Send(t.Context(), []webhook.Message{m}); errs != nil {
				t.Error(errs)
			}
			if err := queue.SendOnce(t.Context(), m, test.delay); err != nil {
				t.Error(err)
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
			if errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), someMessages(6)); errs != nil {
				t.Fatal(errs)
			}
			if diff := cmp.Diff([]string{"doc0", "doc1", "doc2", "doc4", "doc5", "doc3"}, a.documents()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("what is refused in the end is reported, and only that", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &accepting{t: t, refuse: func(m webhook.Message) bool {
				return m.Event.DocumentID == "doc3" || m.Event.DocumentID == "doc17"
			}}
			errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), someMessages(30))
			for i, err := range errs {
				refused := i == 3 || i == 17
				if refused != (err != nil) || refused && (!errors.Is(err, ErrRefused) || errors.Is(err, webhook.ErrUnsendable)) {
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
			errs := newQueue(api{sendBatch: a.sendBatch}).Send(t.Context(), []webhook.Message{messageOf(1, 1)})
			if len(errs) != 1 || a.calls != 4 || !strings.Contains(errs[0].Error(), "InternalError: try again") {
				t.Errorf("%v after %d calls", errs, a.calls)
			}
		})
	})
	t.Run("what SQS will never accept is told apart and not tried again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			queue := newQueue(api{sendBatch: func(in *sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
				var failed []types.BatchResultErrorEntry
				for i, code := range map[int]string{0: "InvalidMessageContents", 1: "InvalidParameterValue", 2: "InternalError"} {
					if calls == 0 || i == 0 {
						failed = append(failed, types.BatchResultErrorEntry{Id: in.Entries[i].Id, Code: &code, SenderFault: true})
					}
				}
				calls++
				return failed, nil
			}})
			errs := queue.Send(t.Context(), someMessages(4)) // of the second call, InvalidMessageContents is about the third message
			for i, err := range errs {
				if errors.Is(err, webhook.ErrUnsendable) != (i < 3) {
					t.Errorf("message %d: %v", i, err)
				}
			}
			if len(errs) != 4 || calls != 2 {
				t.Errorf("%d errors after %d calls", len(errs), calls)
			}
		})
	})
	t.Run("what the answer does not mention is not taken for accepted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &silent{}
			queue := &Queue{Client: s, URL: "https://sqs.example/queue", Now: start}
			errs := queue.Send(t.Context(), []webhook.Message{messageOf(1, 1), messageOf(1, 2)})
			if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], ErrRefused) || s.calls != 4 {
				t.Errorf("%v after %d calls", errs, s.calls)
			}
		})
	})
	t.Run("nothing is tried again when time is up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a := &accepting{t: t, refuse: func(webhook.Message) bool { return true }}
		errs := newQueue(api{sendBatch: a.sendBatch}).Send(ctx, []webhook.Message{messageOf(1, 1)})
		if len(errs) != 1 || errs[0] == nil || a.calls != 1 {
			t.Errorf("%v after %d calls", errs, a.calls)
		}
	})
}

func TestSendFails(t *testing.T) {
	away := errors.New("SQS is away")
	t.Run("a call that fails is not repeated and none begins after it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int32
			queue := newQueue(api{sendBatch: func(*sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
				calls.Add(1)
				time.Sleep(time.Second)
				return nil, away
			}})
			errs := queue.Send(t.Context(), someMessages(500))
			if len(errs) != 500 || calls.Load() != maxParallel {
				t.Fatalf("%d errors after %d calls", len(errs), calls.Load())
			}
			for i, err := range errs {
				if !errors.Is(err, away) {
					t.Errorf("message %d: %v", i, err)
				}
			}
		})
	})
	t.Run("what was accepted is not reported", func(t *testing.T) {
		a := &accepting{t: t}
		queue := newQueue(api{sendBatch: func(in *sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
			if *in.Entries[0].Id == "10" {
				return nil, away
			}
			return a.sendBatch(in)
		}})
		all := someMessages(30)
		errs := queue.Send(t.Context(), all)
		for i, m := range all {
			if (errs[i] == nil) != slices.Contains(a.documents(), m.Event.DocumentID) || errs[i] == nil && i/10 == 1 {
				t.Errorf("message %d: %v", i, errs[i])
			}
		}
	})
}

func TestSendRecords(t *testing.T) {
	record := webhook.HeldRecord{OrganizationID: "org", Body: `{"eventID":"e1","note":"` + "\uFFFE" + `"}`}
	const body = `{"eventID":"e1","note":"\ufffe"}`
	t.Run("the body is the record", func(t *testing.T) {
		queue := newQueue(api{sendBatch: func(in *sqs.SendMessageBatchInput) ([]types.BatchResultErrorEntry, error) {
			for _, entry := range in.Entries {
				if *entry.MessageBody != body || *entry.MessageGroupId != groupOfOrg || entry.DelaySeconds != 0 {
					t.Errorf("sent %s of group %s after %d s", *entry.MessageBody, *entry.MessageGroupId, entry.DelaySeconds)
				}
			}
			return []types.BatchResultErrorEntry{{Id: in.Entries[1].Id, Code: aws.String("InvalidMessageContents")}}, nil
		}})
		errs := queue.SendRecords(t.Context(), []webhook.HeldRecord{record, record})
		if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], webhook.ErrUnsendable) {
			t.Errorf("got %v", errs)
		}
	})
	t.Run("a copy waits", func(t *testing.T) {
		queue := newQueue(api{send: func(in *sqs.SendMessageInput) error {
			if *in.MessageBody != body || *in.MessageGroupId != groupOfOrg || in.DelaySeconds != 900 {
				t.Errorf("sent %+v", in)
			}
			return nil
		}})
		if err := queue.SendRecordOnce(t.Context(), record, 15*time.Minute); err != nil {
			t.Error(err)
		}
	})
}

// What is sent once is one call of the real client, even if SQS fails in a way that the SDK would try again.
func TestSendOnceIsNotRepeated(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	queue := &Queue{URL: server.URL + "/1/queue", Now: start, Client: sqs.New(sqs.Options{
		Region: "eu-central-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})}
	for name, send := range map[string]func() error{
		"a message": func() error { return queue.SendOnce(t.Context(), messageOf(1, 1), 0) },
		"a record":  func() error { return queue.SendRecordOnce(t.Context(), webhook.HeldRecord{Body: "{}"}, 0) },
	} {
		if calls = 0; send() == nil || calls != 1 {
			t.Errorf("%s: %d calls", name, calls)
		}
	}
}

func TestIs(t *testing.T) {
	for name, test := range map[string]struct {
		url, arn string
		want     bool
	}{
		"the queue of the URL": {
			url: "https://sqs.eu-central-1.amazonaws.com/123456789012/docuhook-RetryQueue-1A2B", want: true,
			arn: "arn:aws:sqs:eu-central-1:123456789012:docuhook-RetryQueue-1A2B",
		},
		"another queue": {
			url: "https://sqs.eu-central-1.amazonaws.com/123456789012/docuhook-RetryQueue-1A2B",
			arn: "arn:aws:sqs:eu-central-1:123456789012:docuhook-DispatchRetryQueue-1A2B",
		},
		"a queue whose name ends the same": {url: "https://sqs.example/1/Queue", arn: "arn:aws:sqs:eu-central-1:1:DeliveryQueue"},
		"no queue":                         {url: "https://sqs.example/1/", arn: ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&Queue{URL: test.url}).Is(test.arn); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
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
	m := messageOf(1, 1)
	m.Event.DocumentID = "\x00\x01\x1f\x7f\uFFFD\uFFFE\uFFFF\U0001FFFE\U0010FFFF<&>\"\\\u2028"
	for name, send := range map[string]func() error{
		"Send":     func() error { return errors.Join(queue.Send(t.Context(), []webhook.Message{m})...) },
		"SendOnce": func() error { return queue.SendOnce(t.Context(), m, 0) },
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		for _, r := range sent {
			if r < 0x20 || r > 0xFFFD && r < 0x10000 {
				t.Errorf("%s: the body holds %U", name, r)
			}
		}
		if got, err := webhook.ParseMessage(sent, start()); err != nil || got != m {
			t.Errorf("%s: it is read as %+v, %v", name, got, err)
		}
	}
}

// SQS once limited a call to 256 KiB and now to 1 MiB. Ids of nothing but control characters, six bytes
// each in JSON, make the largest messages that dispatch lets pass.
func TestTenOfTheLargestMessagesFitIntoOneCall(t *testing.T) {
	largest := func(n int) webhook.Message {
		m := messageOf(1, n)
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
	in := func(d time.Duration) webhook.Visibility {
		return webhook.Visibility{MessageID: "m", ReceiptHandle: "r", Due: start().Add(d)}
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
				entry := got.Entries[0]
				if len(got.Entries) != 1 || entry.VisibilityTimeout != test.want || *entry.ReceiptHandle != "r" ||
					*got.QueueUrl != "https://sqs.example/queue" {
					t.Errorf("got %+v", got)
				}
				return nil, nil
			}})
			if err := queue.ChangeVisibility(t.Context(), []webhook.Visibility{in(test.due)}); err != nil {
				t.Error(err)
			}
		})
	}
	many := func(n int) []webhook.Visibility {
		var changes []webhook.Visibility
		for i := range n {
			changes = append(changes, webhook.Visibility{ReceiptHandle: fmt.Sprint("r", i), Due: start().Add(time.Minute)})
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
				fourth := func(e types.ChangeMessageVisibilityBatchRequestEntry) bool { return *e.ReceiptHandle == "r4" }
				if i := slices.IndexFunc(got.Entries, fourth); i >= 0 {
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

func TestSendOnceFails(t *testing.T) {
	away := errors.New("SQS is away")
	queue := newQueue(api{send: func(*sqs.SendMessageInput) error { return away }})
	if err := queue.SendOnce(t.Context(), messageOf(1, 1), time.Minute); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}
