package eventsource

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/fault"
)

// lane brings the records of some partition keys to the function, in order and one batch at a time.
type lane struct {
	*streamMapping
	wake chan struct{} // holds one token when there is something new

	mu      sync.Mutex // guards what follows
	waiting []Record   // as many as there are: a lane that is stuck must not hold up the others
}

func (l *lane) put(records []Record) {
	if len(records) == 0 {
		return
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, records...)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) run(poll, work context.Context) {
	for poll.Err() == nil {
		if batch, struck := l.cut(); len(batch) > 0 {
			if struck.Kind == fault.Late && !sleep(poll, struck.Delay) {
				return
			}
			if struck.Kind == fault.Twice { // as if Lambda had lost what the function answered
				l.invoke(work, batch)
			}
			l.process(poll, work, batch)
			continue
		}
		select {
		case <-l.wake:
		case <-poll.Done():
		}
	}
}

// cut removes the next batch from what waits, a full one or whatever there is, and says what goes wrong with it.
func (l *lane) cut() (batch []Record, struck fault.Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil, struck
	}
	first := l.waiting[0].PartitionKey
	ofFirst := func(r Record) bool { return r.PartitionKey == first }
	ofOthers := func(r Record) bool { return r.PartitionKey != first }
	can := []fault.Kind{fault.Twice, fault.Late}
	if slices.ContainsFunc(l.waiting, ofOthers) {
		can = append(can, fault.OutOfOrder)
	}
	limit := l.BatchSize
	if struck = l.Strike(can...); struck.Kind == fault.OutOfOrder {
		// The records of the first key come after a batch of others, as if they were on a slower shard.
		others := slices.DeleteFunc(slices.Clone(l.waiting), ofFirst)
		limit = min(limit, len(others))
		l.waiting = append(others, slices.DeleteFunc(l.waiting, ofOthers)...)
	}
	n := fit(l.waiting, limit, Record.encoded)
	batch = slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return batch, struck
}

// segment is a part of a batch that goes to the function as one event.
type segment struct {
	records []Record
	retries int // that count against MaximumRetryAttempts
	invoked int // times that the function had these records
	waits   int // failures in a row, for the delay
	last    verdict
}

// verdict is what became of a segment's event.
type verdict struct {
	reached  bool   // the function ran
	failed   bool   // as a whole
	failure  string // FunctionError's value, if it was the function that failed
	restFrom int    // not failed as a whole: the first record to be tried again; len(records) if none
}

// process brings a batch through: delivered or discarded, or given up because polling has ended.
func (l *lane) process(poll, work context.Context, batch []Record) {
	todo := []segment{{records: batch}} // the last one comes first
	for len(todo) > 0 {
		if poll.Err() != nil {
			return
		}
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s = l.dropOld(work, s); len(s.records) == 0 {
			continue
		}
		s.last = l.invoke(work, s.records)
		if s.last.reached {
			s.invoked++
		}
		switch v := s.last; {
		case !v.failed && v.restFrom == len(s.records):
			continue
		case !v.reached:
			// Throttled: limited by the records' age only.
		case v.failed && l.BisectBatchOnFunctionError && len(s.records) > 1:
			// Splitting is no retry: it comes at once and does not count.
			first, second := s, s
			half := len(s.records) / 2
			first.records, second.records = s.records[:half], s.records[half:]
			todo = append(todo, second, first)
			continue
		case !v.failed && v.restFrom > 0:
			s.records, s.waits = s.records[v.restFrom:], 0
			if !l.BisectBatchOnFunctionError { // with it, this is a split, which is no retry
				s.retries++
			}
		default:
			s.retries++
		}
		if l.MaximumRetryAttempts >= 0 && s.retries > l.MaximumRetryAttempts {
			l.discard(work, s, s.records, retriesExhausted)
			continue
		}
		if !sleep(poll, l.delay(s.waits)) {
			return
		}
		s.waits++
		todo = append(todo, s)
	}
}

// delay is how long to wait after failing so many times in a row before.
func (l *lane) delay(failures int) time.Duration {
	d := l.RetryDelay
	for range failures {
		if d *= 2; d >= l.MaxRetryDelay {
			return l.MaxRetryDelay
		}
	}
	return min(d, l.MaxRetryDelay)
}

// dropOld discards the records that have become too old. They are the first ones.
func (l *lane) dropOld(ctx context.Context, s segment) segment {
	if l.MaximumRecordAge < 0 {
		return s
	}
	now, n := l.Now(), 0
	for n < len(s.records) && now.Sub(s.records[n].Created) > l.MaximumRecordAge {
		n++
	}
	if n > 0 {
		l.discard(ctx, s, s.records[:n], ageExceeded)
	}
	s.records = s.records[n:]
	return s
}

// invoke delivers one event.
func (l *lane) invoke(ctx context.Context, records []Record) verdict {
	response, err := l.Invoker.Invoke(ctx, l.Function, encodeEvent(records, Record.encoded))
	if err != nil {
		failure := functionError(err)
		l.Log.Warn("the batch failed", "records", len(records), "first", records[0].SequenceNumber, "error", err)
		return verdict{reached: failure != "", failed: true, failure: failure}
	}
	if !l.ReportBatchItemFailures {
		return verdict{reached: true, restFrom: len(records)}
	}
	position := map[string]int{}
	for i, r := range records {
		position[r.SequenceNumber] = i
	}
	ids, err := reportedFailures(response, func(id string) bool { _, ok := position[id]; return ok })
	if err != nil {
		l.Log.Warn("the batch failed", "records", len(records), "first", records[0].SequenceNumber, "error", err)
		return verdict{reached: true, failed: true}
	}
	// The order within a shard is what counts: everything from the lowest reported one on is tried again.
	v := verdict{reached: true, restFrom: len(records)}
	for _, id := range ids {
		v.restFrom = min(v.restFrom, position[id])
	}
	if len(ids) > 0 {
		l.Log.Warn("records failed", "records", len(ids), "of", len(records), "first", records[v.restFrom].SequenceNumber)
	}
	return v
}
