package eventsource

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	ok       = `{"batchItemFailures":[]}`
	queueARN = "arn:aws:sqs:eu-central-1:000000000000:failures"
)

func failing(ids ...string) string {
	type item struct {
		ID string `json:"itemIdentifier"`
	}
	var items []item
	for _, id := range ids {
		items = append(items, item{id})
	}
	b, err := json.Marshal(map[string]any{"batchItemFailures": items})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// streamMappingOf is a mapping with everything on and no limits.
func streamMappingOf(change func(*StreamMapping)) StreamMapping {
	m := StreamMapping{
		Function: "F", FunctionARN: "arn:aws:lambda:eu-central-1:000000000000:function:F",
		StreamARN: "arn:aws:dynamodb:eu-central-1:000000000000:table/T/stream/1", ShardID: "shardId-1",
		BatchSize: 100, ParallelizationFactor: 1,
		ReportBatchItemFailures: true, MaximumRetryAttempts: -1, MaximumRecordAge: -1,
	}
	if change != nil {
		change(&m)
	}
	return m
}

// startStream starts a mapping and closes it at the end of the test.
func startStream(t *testing.T, m StreamMapping, s Stream, invoke fakeInvoker, d Destination) *Mapping {
	t.Helper()
	mapping, err := NewStream(m, s, Options{
		Invoker: invoke, Destination: d, NewID: func() string { return "request" },
		RetryDelay: time.Second, MaxRetryDelay: 8 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := mapping.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mapping.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return mapping
}

// script answers one invocation after the other, then always with success.
type script []func() (string, error)

func answers(response string) func() (string, error) {
	return func() (string, error) { return response, nil }
}

func fail(err error) func() (string, error) {
	return func() (string, error) { return "", err }
}

func TestStreamBatches(t *testing.T) {
	// Every invocation is the seconds since the start and the records.
	for _, tc := range []struct {
		name   string
		change func(*StreamMapping)
		script script
		want   []string
	}{
		{name: "success goes on", change: func(m *StreamMapping) { m.BatchSize = 2 }, want: []string{"0: 1 2", "0: 3 4"}},
		{
			name:   "everything from the lowest reported one on is tried again",
			script: script{answers(failing("4", "2"))},
			want:   []string{"0: 1 2 3 4", "1: 2 3 4"},
		},
		{name: "an unknown identifier fails the batch", script: script{answers(failing("9"))}, want: []string{"0: 1 2 3 4", "1: 1 2 3 4"}},
		{
			name:   "an empty identifier fails the batch",
			script: script{answers(failing("2", ""))},
			want:   []string{"0: 1 2 3 4", "1: 1 2 3 4"},
		},
		{name: "malformed JSON fails the batch", script: script{answers("{")}, want: []string{"0: 1 2 3 4", "1: 1 2 3 4"}},
		{name: "nothing is success", script: script{answers("")}, want: []string{"0: 1 2 3 4"}},
		{
			name: "reports are not read when they are " +
				"off",
			change: func(m *StreamMapping) { m.ReportBatchItemFailures = false },
			script: script{answers(failing("2"))},
			want:   []string{"0: 1 2 3 4"},
		},
		{name: "the delay doubles up to its limit", script: slices.Repeat(script{fail(errFunction{})}, 6), want: []string{
			"0: 1 2 3 4", "1: 1 2 3 4", "3: 1 2 3 4", "7: 1 2 3 4", "15: 1 2 3 4", "23: 1 2 3 4", "31: 1 2 3 4",
		}},
		{name: "progress starts the delay again", script: script{
			fail(errFunction{}), fail(errFunction{}), answers(failing("3")), fail(errFunction{}),
		}, want: []string{
			"0: 1 2 3 4", "1: 1 2 3 4", "3: 1 2 3 4", "4: 3 4", "6: 3 4",
		}},
		{name: "an error splits the batch at once", change: func(m *StreamMapping) { m.BisectBatchOnFunctionError = true }, script: script{
			fail(errFunction{}), fail(errFunction{}),
		}, want: []string{
			"0: 1 2 3 4", "0: 1 2", "0: 1", "0: 2", "0: 3 4",
		}},
		{
			name: "a report splits the batch where it " +
				"says",
			change: func(m *StreamMapping) { m.BisectBatchOnFunctionError = true },
			script: script{answers(failing("4"))},
			want: []string{
				"0: 1 2 3 4", "1: 4",
			},
		},
		{
			name:   "throttling does not split",
			change: func(m *StreamMapping) { m.BisectBatchOnFunctionError = true },
			script: script{fail(errThrottled)},
			want: []string{
				"0: 1 2 3 4", "1: 1 2 3 4",
			},
		},
		{name: "throttling does not use up retries", change: func(m *StreamMapping) { m.MaximumRetryAttempts = 0 }, script: script{
			fail(errThrottled), fail(errThrottled),
		}, want: []string{
			"0: 1 2 3 4", "1: 1 2 3 4", "3: 1 2 3 4",
		}},
		{
			name:   "after the last retry come the next records",
			change: func(m *StreamMapping) { m.MaximumRetryAttempts = 1; m.BatchSize = 3 },
			script: script{
				fail(errFunction{}), fail(errFunction{}),
			},
			want: []string{
				"0: 1 2 3", "1: 1 2 3", "1: 4",
			},
		},
		{name: "only the record that does not work is given " +
			"up", change: func(m *StreamMapping) { m.MaximumRetryAttempts = 1; m.BisectBatchOnFunctionError = true },
			script: script{fail(errFunction{}), answers(ok), fail(errFunction{}), fail(errFunction{}), fail(errFunction{})},
			want:   []string{"0: 1 2 3 4", "0: 1 2", "0: 3 4", "0: 3", "1: 3", "1: 4"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var calls journal[string]
				invoke := func(_ context.Context, ids []string) (string, error) {
					n := calls.add(fmt.Sprintf("%.0f: %s", time.Since(start).Seconds(), strings.Join(ids, " ")))
					if n <= len(tc.script) {
						return tc.script[n-1]()
					}
					return ok, nil
				}
				startStream(t, streamMappingOf(tc.change), newFakeStream(someRecords(4)...), invoke, nil)
				pass(time.Hour)
				if diff := cmp.Diff(tc.want, calls.all()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestStreamDiscards(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*StreamMapping)
		script script
		want   []string
	}{
		{
			"what has been retried often enough, without what worked", func(m *StreamMapping) { m.MaximumRetryAttempts = 2 },
			script{answers(failing("2")), fail(errFunction{}), fail(errFunction{})},
			[]string{`{"requestContext":{"requestId":"request","functionArn":"arn:aws:lambda:eu-central-1:000000000000:function:F",` +
				`"condition":"RetryAttemptsExhausted","approximateInvokeCount":3},` +
				`"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"version":"1.0",` +
				`"timestamp":"2000-01-01T00:00:03.000Z",` +
				`"DDBStreamBatchInfo":{"shardId":"shardId-1","startSequenceNumber":"2","endSequenceNumber":"4",` +
				`"approximateArrivalOfFirstRecord":"2000-01-01T00:00:00Z",` +
				`"approximateArrivalOfLastRecord":"2000-01-01T00:00:00Z","batchSize":3,` +
				`"streamArn":"arn:aws:dynamodb:eu-central-1:000000000000:table/T/stream/1"}}`},
		},
		{
			"what has been reported often enough, without an error of the function", func(m *StreamMapping) { m.MaximumRetryAttempts = 0 },
			script{answers(failing("4"))},
			[]string{`{"requestContext":{"requestId":"request","functionArn":"arn:aws:lambda:eu-central-1:000000000000:function:F",` +
				`"condition":"RetryAttemptsExhausted","approximateInvokeCount":1},` +
				`"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},"version":"1.0","timestamp":"2000-01-01T00:00:00.000Z",` +
				`"DDBStreamBatchInfo":{"shardId":"shardId-1","startSequenceNumber":"4","endSequenceNumber":"4",` +
				`"approximateArrivalOfFirstRecord":"2000-01-01T00:00:00Z",` +
				`"approximateArrivalOfLastRecord":"2000-01-01T00:00:00Z","batchSize":1,` +
				`"streamArn":"arn:aws:dynamodb:eu-central-1:000000000000:table/T/stream/1"}}`},
		},
		{
			"what has become too old and never reached the function", func(m *StreamMapping) { m.MaximumRecordAge = time.Minute },
			slices.Repeat(script{fail(errThrottled)}, 20),
			[]string{`{"requestContext":{"requestId":"request","functionArn":"arn:aws:lambda:eu-central-1:000000000000:function:F",` +
				`"condition":"RecordAgeExceeded","approximateInvokeCount":0},` +
				`"version":"1.0","timestamp":"2000-01-01T00:01:03.000Z",` +
				`"DDBStreamBatchInfo":{"shardId":"shardId-1","startSequenceNumber":"1","endSequenceNumber":"4",` +
				`"approximateArrivalOfFirstRecord":"2000-01-01T00:00:00Z",` +
				`"approximateArrivalOfLastRecord":"2000-01-01T00:00:00Z","batchSize":4,` +
				`"streamArn":"arn:aws:dynamodb:eu-central-1:000000000000:table/T/stream/1"}}`},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls journal[string]
				d := &fakeDestination{}
				m := streamMappingOf(tc.change)
				m.OnFailure = queueARN
				startStream(t, m, newFakeStream(someRecords(4)...), func(_ context.Context, ids []string) (string, error) {
					if n := calls.add(strings.Join(ids, " ")); n <= len(tc.script) {
						return tc.script[n-1]()
					}
					return ok, nil
				}, d)
				pass(time.Hour)
				if diff := cmp.Diff(tc.want, d.all()); diff != "" {
					t.Error(diff)
				}
				if d.arn != queueARN {
					t.Errorf("sent to %q", d.arn)
				}
			})
		})
	}
}

func TestStreamDropsOnlyWhatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls journal[string]
		now := time.Now()
		s := newFakeStream(Record{Created: now.Add(-61 * time.Second)}, Record{Created: now.Add(-60 * time.Second)}, Record{Created: now})
		startStream(t, streamMappingOf(
			func(m *StreamMapping) { m.MaximumRecordAge = time.Minute },
		), s, func(_ context.Context, ids []string) (string, error) {
			calls.add(strings.Join(ids, " "))
			return ok, nil
		}, nil)
		synctest.Wait()
		if diff := cmp.Diff([]string{"2 3"}, calls.all()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStreamFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls journal[string]
		s := newFakeStream(Record{PartitionKey: "a"}, Record{PartitionKey: "b"}, Record{PartitionKey: "a"})
		startStream(t, streamMappingOf(
			func(m *StreamMapping) { m.Filters = []string{`{"key":["a"]}`} },
		), s, func(_ context.Context, ids []string) (string, error) {
			calls.add(strings.Join(ids, " "))
			return ok, nil
		}, nil)
		synctest.Wait()
		s.write(Record{PartitionKey: "b"})
		synctest.Wait()
		if diff := cmp.Diff([]string{"1 3"}, calls.all()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStreamBatchFitsIntoAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls journal[string]
		var large []Record
		for id := range 3 {
			large = append(large, Record{JSON: fmt.Appendf(nil, `{"id":"%d","text":"%s"}`, id+1, strings.Repeat("x", maxPayload/2-100))})
		}
		startStream(t, streamMappingOf(nil), newFakeStream(large...), func(_ context.Context, ids []string) (string, error) {
			calls.add(strings.Join(ids, " "))
			return ok, nil
		}, nil)
		synctest.Wait()
		if diff := cmp.Diff([]string{"1 2", "3"}, calls.all()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStreamLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const factor, keys, each = 4, 20, 30
		var all []Record
		for i := range keys * each {
			all = append(all, Record{PartitionKey: fmt.Sprint("key ", i%keys)})
		}
		var mu sync.Mutex
		running, most := 0, 0
		seen := map[int][]int{} // by key
		mapping := streamMappingOf(func(m *StreamMapping) { m.ParallelizationFactor, m.BatchSize = factor, 10 })
		startStream(t, mapping, newFakeStream(all...), func(_ context.Context, ids []string) (string, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			defer mu.Unlock()
			running--
			for _, id := range ids {
				var n int
				fmt.Sscan(id, &n)
				seen[(n-1)%keys] = append(seen[(n-1)%keys], n)
			}
			return ok, nil
		}, nil)
		pass(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if most != factor {
			t.Errorf("%d batches at once, want %d", most, factor)
		}
		for key := range keys {
			if got := seen[key]; len(got) != each || !slices.IsSorted(got) {
				t.Errorf("key %d: %v", key, got)
			}
		}
	})
}

func TestStreamLaneThatIsStuckHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, free := "a", "b"
		for laneOf(stuck, 2) == laneOf(free, 2) {
			free += "b"
		}
		var calls journal[string]
		s := newFakeStream(Record{PartitionKey: stuck}, Record{PartitionKey: free})
		startStream(t, streamMappingOf(
			func(m *StreamMapping) { m.ParallelizationFactor = 2 },
		), s, func(_ context.Context, ids []string) (string, error) {
			if ids[0] == "1" {
				return "", errFunction{}
			}
			calls.add(strings.Join(ids, " "))
			return ok, nil
		}, nil)
		pass(time.Minute)
		s.write(Record{PartitionKey: stuck}, Record{PartitionKey: free})
		synctest.Wait()
		if diff := cmp.Diff([]string{"2", "4"}, calls.all()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStreamRefusesAFilterThatIsNotSupported(t *testing.T) {
	refused := streamMappingOf(func(m *StreamMapping) { m.Filters = []string{`{"key":[{"prefix":"a"}]}`} })
	_, err := NewStream(refused, newFakeStream(), Options{Invoker: fakeInvoker(nil)})
	if err == nil || !strings.Contains(err.Error(), "FilterCriteria.Filters[0]: key: the operator prefix is not supported") {
		t.Errorf("got %v", err)
	}
}
