package eventsource

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
)

// invokerFunc is an invoker that sees the whole event.
type invokerFunc func(ctx context.Context, payload []byte) error

func (f invokerFunc) Invoke(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	return nil, f(ctx, payload)
}

// scheduled runs a schedule for so long on the machine's clock. It returns when the function was invoked, on the
// stack's clock and since its start.
func scheduled(t *testing.T, s Schedule, scale float64, runs time.Duration, answer func(n int) error) (times []time.Duration) {
	t.Helper()
	s.Clock = clock.New(scale, nil)
	var invoked journal[time.Duration]
	mapping := NewSchedule(s, Options{Invoker: invokerFunc(func(context.Context, []byte) error {
		return answer(invoked.add(s.Clock.Now().Sub(s.Clock.Start())))
	})})
	if err := mapping.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(runs)
	if err := mapping.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return invoked.all()
}

func eachMinute() Schedule {
	return Schedule{Function: "F", Every: time.Minute, Retries: 2, MaxAge: 6 * time.Hour}
}

func TestSchedule(t *testing.T) {
	const minute = time.Minute
	works := func(int) error { return nil }
	for name, test := range map[string]struct {
		change func(*Schedule)
		scale  float64
		runs   time.Duration
		answer func(n int) error
		want   []time.Duration
	}{
		"invokes the function each minute": {
			scale: 1, runs: 3*minute + time.Second, answer: works, want: []time.Duration{minute, 2 * minute, 3 * minute},
		},
		"does so on the stack's clock": {
			scale: 60, runs: 2500 * time.Millisecond, answer: works, want: []time.Duration{minute, 2 * minute},
		},
		"leaves out what finds the one before at work": {
			scale: 1, runs: 5 * minute, want: []time.Duration{minute, 4 * minute},
			answer: func(int) error { time.Sleep(2*minute + time.Second); return nil },
		},
		"repeats a failure after a minute and then after two": {
			change: func(s *Schedule) { s.Every = time.Hour }, scale: 1, runs: 119 * minute,
			answer: func(int) error { return errFunction{} }, want: []time.Duration{60 * minute, 61 * minute, 63 * minute},
		},
		"repeats no failure when told so": {
			change: func(s *Schedule) { s.Every, s.Retries = time.Hour, 0 }, scale: 1, runs: 119 * minute,
			answer: func(int) error { return errFunction{} }, want: []time.Duration{60 * minute},
		},
		"repeats what is throttled ever later, and it counts as no failure": {
			change: func(s *Schedule) { s.Every, s.Retries = time.Hour, 0 }, scale: 1, runs: 119 * minute,
			answer: func(n int) error {
				if n < 4 {
					return errThrottled
				}
				return nil
			},
			want: []time.Duration{60 * minute, 60*minute + time.Second, 60*minute + 3*time.Second, 60*minute + 7*time.Second},
		},
		"gives up what has become too old": {
			change: func(s *Schedule) { s.Every, s.MaxAge = time.Hour, minute }, scale: 1, runs: 119 * minute,
			answer: func(int) error { return errThrottled },
			want: []time.Duration{
				60 * minute, 60*minute + time.Second, 60*minute + 3*time.Second,
				60*minute + 7*time.Second, 60*minute + 15*time.Second, 60*minute + 31*time.Second,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := eachMinute()
				if test.change != nil {
					test.change(&s)
				}
				if diff := cmp.Diff(test.want, scheduled(t, s, test.scale, test.runs, test.answer)); diff != "" {
					t.Errorf("invocations (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestScheduledEventIsThatOfEventBridge(t *testing.T) {
	due := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := schedule{Schedule: Schedule{Account: "1", Region: "r", ARN: "arn"}, Options: Options{NewID: func() string { return "i" }}}
	want := `{"account":"1","detail":{},"detail-type":"Scheduled Event","id":"i","region":"r","resources":["arn"],` +
		`"source":"aws.events","time":"2026-01-02T03:04:05Z","version":"0"}`
	if diff := cmp.Diff(want, string(s.event(due))); diff != "" {
		t.Error(diff)
	}
}
