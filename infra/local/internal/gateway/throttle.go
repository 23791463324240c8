package gateway

import "time"

// bucket holds the tokens that are left of a Throttle.
type bucket struct {
	tokens float64
	filled time.Time
}

// admit takes a token, if there is one. Nil is no limit.
func (g *Gateway) admit(throttle *Throttle, now time.Time) bool {
	if throttle == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.buckets[throttle]
	if b == nil {
		b = &bucket{tokens: float64(throttle.Burst), filled: now}
		g.buckets[throttle] = b
	}
	if elapsed := now.Sub(b.filled); elapsed > 0 {
		b.tokens = min(float64(throttle.Burst), b.tokens+elapsed.Seconds()*throttle.RatePerSecond)
		b.filled = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
