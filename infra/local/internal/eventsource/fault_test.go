package eventsource

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/fault"
)

// once lets the first thing to which one of these faults can happen have it.
func once(faults ...fault.Fault) func(can ...fault.Kind) fault.Fault {
	var mu sync.Mutex // a queue is read while batches are processed
	return func(can ...fault.Kind) fault.Fault {
		mu.Lock()
		defer mu.Unlock()
		for i, f := range faults {
			if slices.Contains(can, f.Kind) {
				faults = slices.Delete(faults, i, i+1)
				return f
			}
		}
		return fault.Fault{}
	}
}

func TestFaultsOfAStream(t *testing.T) {
	for name, test := range map[string]struct {
		struck fault.Fault
		keys   string // of the records, a letter each
		want   []string
	}{
		"none": {keys: "aabb", want: []string{"0s: 1 2", "0s: 3 4"}},
		"a batch comes twice before the next": {
			struck: fault.Fault{Kind: fault.Twice}, keys: "aabb", want: []string{"0s: 1 2", "0s: 1 2", "0s: 3 4"},
		},
		"a late batch holds up those after it": {
			struck: fault.Fault{Kind: fault.Late, Delay: time.Minute}, keys: "aabb", want: []string{"1m0s: 1 2", "1m0s: 3 4"},
		},
		"records come after those of other keys": {
			struck: fault.Fault{Kind: fault.OutOfOrder}, keys: "aabaa", want: []string{"0s: 3", "0s: 1 2", "0s: 4 5"},
		},
		"records of one key keep their order": {
			struck: fault.Fault{Kind: fault.OutOfOrder}, keys: "aaaa", want: []string{"0s: 1 2", "0s: 3 4"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var records []Record
				for _, key := range test.keys {
					records = append(records, Record{PartitionKey: string(key)})
				}
				var invoked journal[string]
				start := time.Now()
				mapping, err := NewStream(streamMappingOf(func(m *StreamMapping) { m.BatchSize = 2 }), newFakeStream(records...), Options{
					Strike: once(test.struck),
					Invoker: fakeInvoker(func(_ context.Context, ids []string) (string, error) {
						invoked.add(fmt.Sprintf("%s: %s", time.Since(start), strings.Join(ids, " ")))
						return ok, nil
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := mapping.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				pass(2 * time.Minute)
				if err := mapping.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(test.want, invoked.all()); diff != "" {
					t.Errorf("invocations (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestFaultsOfAQueue(t *testing.T) {
	for name, test := range map[string]struct {
		struck fault.Fault
		sent   int
		fails  int // the invocation that fails, from 1
		want   []string
		failed int
	}{
		"none": {sent: 2, want: []string{"0s: a b"}},
		"a batch comes once more": {
			struck: fault.Fault{Kind: fault.Twice, Delay: time.Minute}, sent: 2, want: []string{"0s: a b", "1m0s: a b"},
		},
		"the copy counts for nothing": {
			struck: fault.Fault{Kind: fault.Twice, Delay: time.Minute}, sent: 2, fails: 2, want: []string{"0s: a b", "1m0s: a b"},
		},
		"nor does it help": {
			struck: fault.Fault{Kind: fault.Twice, Delay: time.Minute}, sent: 1, fails: 1, want: []string{"0s: a", "1m0s: a"}, failed: 1,
		},
		"a batch comes late": {struck: fault.Fault{Kind: fault.Late, Delay: time.Minute}, sent: 1, want: []string{"1m0s: a"}},
		"the limit of messages in flight is reached": {
			struck: fault.Fault{Kind: fault.OverLimit, Delay: time.Minute}, sent: 2, want: []string{"1m0s: a b"},
		},
		"messages change places":  {struck: fault.Fault{Kind: fault.OutOfOrder}, sent: 3, want: []string{"0s: c b a"}},
		"but not with themselves": {struck: fault.Fault{Kind: fault.OutOfOrder}, sent: 1, want: []string{"0s: a"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newFakeQueue(slices.Repeat([]string{"{}"}, test.sent)...)
				var invoked journal[string]
				start := time.Now()
				mapping := NewQueue(queueMappingOf(nil), q, Options{
					Strike: once(test.struck),
					Invoker: fakeInvoker(func(_ context.Context, ids []string) (string, error) {
						if invoked.add(fmt.Sprintf("%s: %s", time.Since(start), strings.Join(ids, " "))) == test.fails {
							return "", errFunction{}
						}
						return ok, nil
					}),
				})
				if err := mapping.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				pass(2 * time.Minute)
				if err := mapping.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(test.want, invoked.all()); diff != "" {
					t.Errorf("invocations (-want +got):\n%s", diff)
				}
				if len(q.done) != test.sent-test.failed || len(q.failed) != test.failed {
					t.Errorf("done are %v and failed %v of %d, want %d failed", q.done, q.failed, test.sent, test.failed)
				}
			})
		})
	}
}

func TestFaultsOfASchedule(t *testing.T) {
	const minute = time.Minute
	for name, test := range map[string]struct {
		struck fault.Fault
		want   []time.Duration
	}{
		"none": {want: []time.Duration{minute, 2 * minute, 3 * minute}},
		"an event is late": {
			fault.Fault{Kind: fault.Late, Delay: 10 * time.Second}, []time.Duration{minute + 10*time.Second, 2 * minute, 3 * minute},
		},
		"or after the next": {
			fault.Fault{Kind: fault.Late, Delay: 80 * time.Second}, []time.Duration{2 * minute, 2*minute + 20*time.Second, 3 * minute},
		},
		"an event does not come": {fault.Fault{Kind: fault.Missed}, []time.Duration{2 * minute, 3 * minute}},
		"comes twice at once":    {fault.Fault{Kind: fault.Twice}, []time.Duration{minute, minute, 2 * minute, 3 * minute}},
		"comes once more, later on": {
			fault.Fault{Kind: fault.Twice, Delay: time.Second}, []time.Duration{minute, minute + time.Second, 2 * minute, 3 * minute},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := eachMinute()
				s.Clock = clock.New(1, nil)
				var invoked journal[time.Duration]
				mapping := NewSchedule(s, Options{
					Strike: once(test.struck),
					Invoker: invokerFunc(func(context.Context, []byte) error {
						invoked.add(s.Clock.Now().Sub(s.Clock.Start()))
						time.Sleep(5 * time.Second)
						return nil
					}),
				})
				if err := mapping.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3*minute + time.Second)
				if err := mapping.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, invoked.all()); diff != "" {
					t.Errorf("invocations (-want +got):\n%s", diff)
				}
			})
		})
	}
}
