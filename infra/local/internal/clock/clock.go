// Package clock is the time of the local stack: the machine's when the stack starts, and from then on
// so many times faster. What waits for a time of the stack asks Real how long that is on the machine.
package clock

import (
	"fmt"
	"time"
)

// Variable is the environment variable that tells the functions of a stack its clock; see Clock.String.
const Variable = "LOCAL_CLOCK"

// Clock may be used by several goroutines at once.
type Clock struct {
	machine func() time.Time
	start   time.Time
	scale   float64
	ahead   time.Duration
}

// New starts a clock that is scale times faster than the machine's, which is time.Now where machine is nil.
func New(scale float64, machine func() time.Time) *Clock {
	if machine == nil {
		machine = time.Now
	}
	return &Clock{machine: machine, start: machine(), scale: scale}
}

// Now is the time of the stack.
func (c *Clock) Now() time.Time { return c.At(c.machine()) }

// At is the time of the stack when the machine's clock shows t.
func (c *Clock) At(t time.Time) time.Time {
	// Without the monotonic reading: it is the machine's.
	return c.start.Round(0).Add(time.Duration(float64(t.Sub(c.start)) * c.scale)).Add(c.ahead)
}

// Real is how long d of the stack takes on the machine.
func (c *Clock) Real(d time.Duration) time.Duration { return time.Duration(float64(d) / c.scale) }

// Start is when the clock showed what the machine's did.
func (c *Clock) Start() time.Time { return c.start }

// Scale is how many times faster than the machine's the clock is.
func (c *Clock) Scale() float64 { return c.scale }

// Ahead is a clock that is so much ahead of this one.
func (c *Clock) Ahead(d time.Duration) *Clock {
	other := *c
	other.ahead += d
	return &other
}

// String is the clock as the functions are told it: its start in RFC 3339, its scale, and how far it is ahead of
// the stack's, such as 1m30s, between spaces.
func (c *Clock) String() string {
	return fmt.Sprintf("%s %g %s", c.start.UTC().Format(time.RFC3339Nano), c.scale, c.ahead)
}
