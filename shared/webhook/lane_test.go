package webhook

import (
	"testing"
	"time"
)

func TestAConfigIsFast(t *testing.T) {
	before, after := At(noon.Add(-time.Millisecond)), At(noon.Add(time.Millisecond))
	for _, test := range []struct {
		name       string
		fast, slow Time
		want       bool
	}{
		{name: "not when it is new"},
		{name: "while its time lasts", fast: after, want: true},
		{name: "not at its end", fast: noon},
		{name: "not while it is slow", fast: after, slow: after},
		{name: "again when it is slow no more", fast: after, slow: noon, want: true},
		{name: "not because it is slow no more", fast: before, slow: before},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{FastUntil: test.fast, SlowUntil: test.slow}
			if got := c.Fast(noon.Time); got != test.want {
				t.Errorf("%t", got)
			}
		})
	}
}

func TestAnAttemptJudgesTheLane(t *testing.T) {
	const day = 24 * time.Hour
	in := func(d time.Duration) Time { return At(noon.Add(d)) }
	for _, test := range []struct {
		name       string
		fast, slow Time // before
		took       time.Duration
		answered   bool
		want       Lane
		fastAfter  Time
		slowAfter  Time
	}{
		{name: "fast for 30 days within a second", took: time.Second - 1, answered: true, want: FastLane, fastAfter: in(30 * day)},
		{name: "slow for ten minutes from a second on", took: time.Second, answered: true, want: SlowLane, slowAfter: in(10 * time.Minute)},
		{name: "slow without an answer", took: time.Millisecond, want: SlowLane, slowAfter: in(10 * time.Minute)},
		{name: "no news while 15 days are left", fast: in(15 * day), answered: true, fastAfter: in(15 * day)},
		{
			name: "fast again when less is left", fast: in(15*day - time.Millisecond), answered: true, want: FastLane,
			fastAfter: in(30 * day),
		},
		{name: "no news while five minutes are left", slow: in(5 * time.Minute), slowAfter: in(5 * time.Minute)},
		{
			name: "slow again when less is left", slow: in(5*time.Minute - time.Millisecond), want: SlowLane,
			slowAfter: in(10 * time.Minute),
		},
		{
			name: "a slow attempt leaves the end of fast alone", fast: in(20 * day), took: time.Minute, answered: true, want: SlowLane,
			fastAfter: in(20 * day), slowAfter: in(10 * time.Minute),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{FastUntil: test.fast, SlowUntil: test.slow}
			got := c.Judge(noon.Time, test.took, test.answered)
			if got != test.want || c.FastUntil != test.fastAfter || c.SlowUntil != test.slowAfter {
				t.Errorf("%q, fast until %s, slow until %s", got, c.FastUntil, c.SlowUntil)
			}
		})
	}
}
