package deliverytest_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestMemory(t *testing.T) {
	deliverytest.TestLog(t, func(*testing.T) deliverytest.Subject {
		log := &deliverytest.Log{}
		var next atomic.Int64 // the fault of the next write
		return deliverytest.Subject{
			Store: &deliverytest.Store{OnLoad: log.Load, OnStart: log.Start,
				OnRecord: func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
					fault := deliverytest.Fault(next.Swap(int64(deliverytest.None)))
					if fault == deliverytest.Refused {
						return deliverytest.Failing(outcomes)
					}
					recorded := log.Record(ctx, outcomes)
					if fault == deliverytest.Lost {
						return deliverytest.Failing(outcomes)
					}
					return recorded
				},
			},
			Waiting: log,
			Get:     log.Get,
			Fault:   func(f deliverytest.Fault) { next.Store(int64(f)) },
		}
	})
}

func TestEveryMakesAllDecisionsOnce(t *testing.T) {
	seen := map[string]int{}
	runs := deliverytest.Every(func(choose deliverytest.Choose) {
		path := ""
		for range choose(3) {
			path += string(rune('a' + choose(2)))
		}
		seen[path]++
	})
	if runs != 7 || len(seen) != 7 {
		t.Errorf("%d runs: %v", runs, seen)
	}
}
