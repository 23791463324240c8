package sqs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxVisibility is how long a message may stay in flight after its receive, in seconds.
const maxVisibility = 43200

type receiveRequest struct {
	target
	MaxNumberOfMessages         *int
	VisibilityTimeout           *int
	WaitTimeSeconds             *int
	AttributeNames              []string // the older name of the next
	MessageSystemAttributeNames []string
}

type receiveResult struct {
	Messages []receivedMessage `json:",omitempty"`
}

type receivedMessage struct {
	MessageID     string `json:"MessageId"`
	ReceiptHandle string
	Body          string
	MD5OfBody     string
	Attributes    map[string]string `json:",omitempty"`
}

var systemAttributes = []string{
	"All", "SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp",
	"SequenceNumber", "MessageDeduplicationId", "MessageGroupId", "AWSTraceHeader", "DeadLetterQueueSourceArn",
}

func (s *service) receiveMessage(ctx context.Context, q *queue, in receiveRequest) (any, error) {
	names := slices.Concat(in.AttributeNames, in.MessageSystemAttributeNames)
	for _, name := range names {
		if !slices.Contains(systemAttributes, name) {
			return nil, fault("InvalidAttributeName", "InvalidAttributeName", "Unknown Attribute %s.", name)
		}
	}
	if err := cmp.Or(
		between("MaxNumberOfMessages", in.MaxNumberOfMessages, 1, 10),
		between("VisibilityTimeout", in.VisibilityTimeout, 0, maxVisibility),
		between("WaitTimeSeconds", in.WaitTimeSeconds, 0, 20),
	); err != nil {
		return nil, err
	}
	or := func(value *int, fallback int) int {
		if value == nil {
			return fallback
		}
		return *value
	}
	wait := or(in.WaitTimeSeconds, q.wait)
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(wait)*time.Second)
		defer cancel()
	}
	var messages []receivedMessage
	how := intake{max: or(in.MaxNumberOfMessages, 1), visibility: duration(or(in.VisibilityTimeout, q.visibility))}
	full, err := q.receive(ctx, wait > 0, how, func(m *message) {
		messages = append(messages, receivedMessage{
			MessageID:     m.id,
			ReceiptHandle: m.handle(q),
			Body:          m.body,
			MD5OfBody:     m.md5,
			Attributes:    chooseSystem(m.system(), names),
		})
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if full && len(messages) == 0 {
		return nil, fault("OverLimit", "OverLimit", "The queue has %d messages in flight, which is the limit: delete some first.", q.limit)
	}
	return receiveResult{messages}, nil
}

// chooseSystem keeps the system attributes that were asked for.
func chooseSystem(all map[string]string, names []string) map[string]string {
	if slices.Contains(names, "All") {
		return all
	}
	chosen := map[string]string{}
	for _, name := range names {
		if value, ok := all[name]; ok {
			chosen[name] = value
		}
	}
	return chosen
}

// received is what names a received message, alone or as an entry of a batch.
type received struct {
	target
	ID                string `json:"Id"`
	ReceiptHandle     string
	VisibilityTimeout *int
}

type receivedBatch struct {
	target
	Entries []received
}

func (in *receivedBatch) ids() []string {
	ids := make([]string, len(in.Entries))
	for i, entry := range in.Entries {
		ids[i] = entry.ID
	}
	return ids
}

// entryResult is the answer to a successful entry of a batch.
type entryResult struct {
	ID string `json:"Id"`
}

func (s *service) deleteMessage(q *queue, in received) (any, error) {
	return nil, s.erase(q, in)
}

func (s *service) deleteMessageBatch(q *queue, in receivedBatch) (any, error) {
	return each("DeleteMessageBatchRequestEntry", in.ids(), func(i int) (any, error) {
		return entryResult{in.Entries[i].ID}, s.erase(q, in.Entries[i])
	})
}

func (s *service) changeVisibility(q *queue, in received) (any, error) {
	return nil, s.postpone(q, in)
}

func (s *service) changeVisibilityBatch(q *queue, in receivedBatch) (any, error) {
	return each("ChangeMessageVisibilityBatchRequestEntry", in.ids(), func(i int) (any, error) {
		return entryResult{in.Entries[i].ID}, s.postpone(q, in.Entries[i])
	})
}

func (s *service) erase(q *queue, in received) error {
	if in.ReceiptHandle == "" {
		return missing("ReceiptHandle")
	}
	r, ok := q.parseHandle(in.ReceiptHandle)
	if !ok {
		return invalidHandle(in.ReceiptHandle)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q.erase(r, s.opts.Clock.Now())
	return nil
}

func (s *service) postpone(q *queue, in received) error {
	switch {
	case in.ReceiptHandle == "":
		return missing("ReceiptHandle")
	case in.VisibilityTimeout == nil:
		return missing("VisibilityTimeout")
	}
	if err := between("VisibilityTimeout", in.VisibilityTimeout, 0, maxVisibility); err != nil {
		return err
	}
	r, ok := q.parseHandle(in.ReceiptHandle)
	if !ok {
		return invalidHandle(in.ReceiptHandle)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Clock.Now()
	q.advance(now)
	m := q.find(r)
	if m == nil || m.state != stateInFlight && m.state != stateHeld {
		return notInFlight()
	}
	// An invocation runs at the real pace, so what a held message has spent with it is not scaled: else
	// a fast clock would forbid the retry delays that SQS allows.
	spent := now.Sub(m.received)
	if m.state == stateHeld {
		spent = s.opts.Clock.Real(spent)
	}
	if *in.VisibilityTimeout > 0 && spent+duration(*in.VisibilityTimeout) > duration(maxVisibility) {
		return invalidValue("VisibilityTimeout", *in.VisibilityTimeout,
			fmt.Sprintf("Total VisibilityTimeout for the message is beyond the limit [%d seconds].", maxVisibility))
	}
	q.postpone(m, now, duration(*in.VisibilityTimeout))
	return nil
}
