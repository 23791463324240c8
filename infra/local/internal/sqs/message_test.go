package sqs

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
)

// FuzzReceiptHandle checks that whatever a client sends as a handle names one receive or nothing.
func FuzzReceiptHandle(f *testing.F) {
	for _, raw := range []string{"q id 1", "q id", "other id 1", "q  1", "q id -1", "q id 18446744073709551616", ""} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(raw)))
	}
	f.Add("not base64")
	q := &queue{name: "q"}
	f.Fuzz(func(t *testing.T, handle string) {
		r, ok := q.parseHandle(handle)
		if !ok {
			return
		}
		m := &message{id: r.message, receipt: r.number}
		if again, ok := q.parseHandle(m.handle(q)); !ok || again != r {
			t.Errorf("%q is read as %v, and that as %v", handle, r, again)
		}
		if _, ok := (&queue{name: "other"}).parseHandle(handle); ok {
			t.Errorf("%q is a handle of two queues", handle)
		}
	})
}

func TestMessageInProcessIsALambdaRecord(t *testing.T) {
	now := time.UnixMilli(1767323045123)
	b := New(Options{Region: "eu-west-1", Account: "123456789012", Clock: clock.New(1, func() time.Time { return now })})
	if err := b.CreateQueue(Definition{Name: "q"}); err != nil {
		t.Fatal(err)
	}
	b.byName["q"].send(content{body: "hello", md5: md5Hex([]byte("hello")), groupID: "g", sender: "123456789012"}, nil)
	messages, err := b.Receive(t.Context(), "arn:aws:sqs:eu-west-1:123456789012:q", 1)
	if err != nil {
		t.Fatal(err)
	}
	m := messages[0]
	if m.ID == "" || strings.Count(m.ID, "-") != 4 || m.ReceiptHandle == "" {
		t.Errorf("id %q, receipt handle %q", m.ID, m.ReceiptHandle)
	}
	m.ID, m.ReceiptHandle = "ID", "HANDLE"
	encoded, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "messageId": "ID",
  "receiptHandle": "HANDLE",
  "body": "hello",
  "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
  "attributes": {
    "ApproximateFirstReceiveTimestamp": "1767323045123",
    "ApproximateReceiveCount": "1",
    "MessageGroupId": "g",
    "SenderId": "123456789012",
    "SentTimestamp": "1767323045123"
  },
  "messageAttributes": {},
  "eventSource": "aws:sqs",
  "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:q",
  "awsRegion": "eu-west-1"
}`
	if diff := cmp.Diff(want, string(encoded)); diff != "" {
		t.Error(diff)
	}
}
