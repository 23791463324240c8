package gateway

import "time"

// bucket holds the tokens that are left of a Throttle.
type bucket struct {
	tokens float64
	filled time.Time // zero before the first request
}

// admit takes a token, if there is one.
func (g *Gateway) admit(now time.Time) bool {
	if g.throttle == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b, burst := &g.bucket, float64(g.throttle.Burst)
	if b.filled.IsZero() {
		*b = bucket{tokens: burst, filled: now}
	}
	if elapsed := now.Sub(b.filled); elapsed > 0 {
		b.tokens = min(burst, b.tokens+elapsed.Seconds()*g.throttle.RatePerSecond)
		b.filled = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
