package eventsource

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/fault"
)

// How Lambda repeats an asynchronous invocation: one that failed after a minute, then after two; one
// that was throttled after a second, then ever later.
const (
	failedPause          = time.Minute
	throttledPause       = time.Second
	longestThrottledWait = 5 * time.Minute
)

// Schedule invokes a function asynchronously, again and again, as a rule of EventBridge does. All its
// times are the stack's. What differs from AWS: invocations of one schedule never overlap, but for the copies of
// the fault that brings an event twice. An event is left out that finds the one before at work: with a timeout that is no
// longer than the period this happens on a fast clock only.
//
// Sources: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-run-lambda-schedule.html and
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
type Schedule struct {
	Function string
	Every    time.Duration // a minute or more
	ARN      string        // of the rule
	Account  string
	Region   string
	Retries  int           // of an event with which the function failed, 0 to 2
	MaxAge   time.Duration // of an event that is still to be tried, 60 s to 6 h
	Clock    *clock.Clock
}

// schedule is a running Schedule.
type schedule struct {
	Schedule
	Options
	working sync.Mutex // held while the function has an event
}

// NewSchedule makes a mapping that invokes a function as a schedule says.
func NewSchedule(definition Schedule, o Options) *Mapping {
	s := &schedule{Schedule: definition, Options: o.withDefaults()}
	s.Log = s.Log.With("function", definition.Function)
	return &Mapping{run: s.run}
}

func (s *schedule) run(poll, work context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for due := s.Clock.Now().Add(s.Every); s.sleepUntil(poll, due); due = due.Add(s.Every) {
		if late := s.Clock.Now().Sub(due); late >= s.Every {
			due = due.Add(late.Truncate(s.Every)) // the machine was too slow for those between
		}
		event := s.event(due)
		struck := s.Strike(fault.Twice, fault.Late, fault.Missed)
		if struck.Kind != fault.Missed {
			running.Go(func() {
				if struck.Kind != fault.Late || sleep(poll, struck.Delay) {
					s.bring(poll, work, due, event)
				}
			})
		}
		if struck.Kind == fault.Twice {
			running.Go(func() {
				if sleep(poll, struck.Delay) {
					_, _ = s.Invoker.Invoke(work, s.Function, event) // a copy, which nobody looks after
				}
			})
		}
	}
}

func (s *schedule) sleepUntil(ctx context.Context, at time.Time) bool {
	return sleep(ctx, s.Clock.Real(at.Sub(s.Clock.Now())))
}

// bring brings the event that is due to the function, or gives up in the end or when polling ends.
func (s *schedule) bring(poll, work context.Context, due time.Time, event []byte) {
	failures, throttled := 0, throttledPause
	for try := 0; ; try++ {
		if !s.working.TryLock() {
			if try == 0 {
				return
			}
			s.working.Lock()
		}
		_, err := s.Invoker.Invoke(work, s.Function, event)
		s.working.Unlock()
		if err == nil {
			return
		}
		var wait time.Duration
		if functionError(err) != "" {
			failures++
			wait = time.Duration(failures) * failedPause
		} else {
			wait, throttled = throttled, min(2*throttled, longestThrottledWait)
		}
		next := s.Clock.Now().Add(wait)
		s.Log.Warn("the scheduled event failed", "due", due, "error", err)
		if failures > s.Retries || next.Sub(due) > s.MaxAge {
			s.Log.Error("the scheduled event is discarded", "due", due)
			return
		}
		if !s.sleepUntil(poll, next) {
			return
		}
	}
}

// event is the payload.
func (s *schedule) event(due time.Time) []byte {
	payload, err := json.Marshal(map[string]any{
		"version":     "0",
		"id":          s.NewID(),
		"detail-type": "Scheduled Event",
		"source":      "aws.events",
		"account":     s.Account,
		"time":        due.UTC().Format(time.RFC3339),
		"region":      s.Region,
		"resources":   []string{s.ARN},
		"detail":      map[string]any{},
	})
	if err != nil {
		panic(err) // texts always encode
	}
	return payload
}
