package eventsource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing/synctest"
	"time"
)

// errFunction is a function's own failure.
type errFunction struct{}

func (errFunction) Error() string         { return "Unhandled: no luck" }
func (errFunction) FunctionError() string { return "Unhandled" }

var errThrottled = errors.New("throttled")

type fakeInvoker func(ctx context.Context, ids []string) (string, error)

// Invoke gives the function the records' ids.
func (f fakeInvoker) Invoke(ctx context.Context, function string, payload []byte) ([]byte, error) {
	var event struct{ Records []struct{ ID string } }
	if err := json.Unmarshal(payload, &event); err != nil {
		return nil, fmt.Errorf("not an event: %w", err)
	}
	var ids []string
	for _, r := range event.Records {
		ids = append(ids, r.ID)
	}
	response, err := f(ctx, ids)
	return []byte(response), err
}

// journal notes what happens.
type journal[T any] struct {
	mu      sync.Mutex
	entries []T
}

func (j *journal[T]) add(entry T) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, entry)
	return len(j.entries)
}

func (j *journal[T]) all() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]T(nil), j.entries...)
}

// fakeStream holds records numbered from 1.
type fakeStream struct {
	mu      sync.Mutex
	records []Record
	more    chan struct{}
}

func newFakeStream(records ...Record) *fakeStream {
	s := &fakeStream{more: make(chan struct{})}
	s.write(records...)
	return s
}

func (s *fakeStream) write(records ...Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		r.SequenceNumber = fmt.Sprint(len(s.records) + 1)
		if r.JSON == nil {
			r.JSON = fmt.Appendf(nil, `{"id":%q,"key":%q}`, r.SequenceNumber, r.PartitionKey)
		}
		if r.Created.IsZero() {
			r.Created = time.Now()
		}
		s.records = append(s.records, r)
	}
	close(s.more)
	s.more = make(chan struct{})
}

func (s *fakeStream) Read(ctx context.Context, after string, limit int) ([]Record, error) {
	var n int
	fmt.Sscan(after, &n)
	for {
		s.mu.Lock()
		rest, more := s.records[n:], s.more
		s.mu.Unlock()
		if len(rest) > 0 {
			return rest[:min(limit, len(rest))], nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pass lets time pass in a bubble and everything happen that is due then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// someRecords are n records of one partition key.
func someRecords(n int) []Record {
	return make([]Record, n)
}

type fakeDestination struct {
	journal[string]
	arn string
}

func (d *fakeDestination) Send(_ context.Context, arn string, body []byte) error {
	d.arn = arn
	d.add(string(body))
	return nil
}

// fakeQueue holds messages and how they were settled.
type fakeQueue struct {
	mu           sync.Mutex
	visible      []Message
	more         chan struct{}
	done, failed []string
	err          error // of the next Receive
}

func newFakeQueue(bodies ...string) *fakeQueue {
	q := &fakeQueue{more: make(chan struct{})}
	q.send(bodies...)
	return q
}

// send adds messages with these JSON values as bodies; their ids are a, b, c … and then numbers.
func (q *fakeQueue) send(bodies ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, body := range bodies {
		id := fmt.Sprint(len(q.visible))
		if n := len(q.visible); n < 26 {
			id = string(rune('a' + n))
		}
		q.visible = append(q.visible, Message{ID: id, Handle: "handle " + id, JSON: fmt.Appendf(nil, `{"id":%q,"body":%s}`, id, body)})
	}
	close(q.more)
	q.more = make(chan struct{})
}

func (q *fakeQueue) Receive(ctx context.Context, most int) ([]Message, error) {
	for {
		q.mu.Lock()
		if err := q.err; err != nil {
			q.err = nil
			q.mu.Unlock()
			return nil, err
		}
		n := min(most, len(q.visible))
		messages, more := q.visible[:n:n], q.more
		q.visible = q.visible[n:]
		q.mu.Unlock()
		if n > 0 {
			return messages, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (q *fakeQueue) Settle(done, failed []string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = append(q.done, done...)
	q.failed = append(q.failed, failed...)
	return nil
}
