package lambda

import (
	"sync"
	"time"
)

// fakeClock stands still until it is told to advance.
type fakeClock struct {
	mu     sync.Mutex
	change *sync.Cond // a timer was added
	now    time.Time
	timers []*fakeTimer
}

type fakeTimer struct {
	after time.Duration
	due   time.Time
	f     func()
}

func newFakeClock() *fakeClock {
	c := &fakeClock{now: time.Now().Truncate(time.Millisecond)}
	c.change = sync.NewCond(&c.mu)
	return c
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &fakeTimer{d, c.now.Add(d), f}
	c.timers = append(c.timers, t)
	c.change.Broadcast()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.remove(t)
	}
}

func (c *fakeClock) remove(t *fakeTimer) bool {
	for i := range c.timers {
		if c.timers[i] == t {
			c.timers = append(c.timers[:i:i], c.timers[i+1:]...)
			return true
		}
	}
	return false
}

// advance waits until a timer of this duration is pending, then moves to when it is due.
func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for _, t := range c.timers {
			if t.after == d {
				c.now = t.due
				c.fire()
				return
			}
		}
		c.change.Wait()
	}
}

func (c *fakeClock) fire() {
	for _, t := range append([]*fakeTimer(nil), c.timers...) {
		if !t.due.After(c.now) && c.remove(t) {
			go t.f()
		}
	}
}
