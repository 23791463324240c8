package clock_test

import (
	"testing"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
)

func TestTheClockIsTheMachinesAtItsStartAndThenFaster(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	machine := start
	c := clock.New(600, func() time.Time { return machine })
	if got := c.Now(); !got.Equal(start) {
		t.Errorf("at the start it is %s, want %s", got, start)
	}
	machine = machine.Add(3 * time.Second)
	if got, want := c.Now(), start.Add(30*time.Minute); !got.Equal(want) {
		t.Errorf("3 s later it is %s, want %s", got, want)
	}
	if got := c.At(start.Add(time.Second)); !got.Equal(start.Add(10 * time.Minute)) {
		t.Errorf("a second after the start it was %s", got)
	}
	if got := c.Real(10 * time.Minute); got != time.Second {
		t.Errorf("10 minutes of the stack take %s, want 1 s", got)
	}
	if got, want := c.Ahead(-time.Minute).Now(), start.Add(29*time.Minute); !got.Equal(want) {
		t.Errorf("a clock that is a minute behind shows %s, want %s", got, want)
	}
	if got, want := c.Ahead(time.Minute).String(), "2026-01-02T03:04:05.000006Z 600 1m0s"; got != want {
		t.Errorf("functions are told %q, want %q", got, want)
	}
}

func TestTheMachinesClockIsTheDefault(t *testing.T) {
	before := time.Now()
	if got := clock.New(1, nil).Now(); got.Before(before.Round(0)) || got.After(time.Now().Round(0)) {
		t.Errorf("it is %s, want between %s and now", got, before)
	}
}
