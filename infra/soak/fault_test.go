package soak

import (
	"maps"
	"net/http"
	"slices"
	"testing"
)

// TestEveryFault: one rule lets everything go wrong that can, in 5 % of all cases, until each kind has struck.
func TestEveryFault(t *testing.T) {
	scenario(t, false)
	w := newWorld(t, 300)
	w.register("org_a", "endpoint")
	w.register("org_a", "flaky")
	w.answer("flaky", hostile(newSource(), func(n int) http.HandlerFunc {
		if n < 30 {
			return status(http.StatusServiceUnavailable, "")
		}
		return nil
	}))
	w.faults(fault{Kind: "hanging", Probability: 0.005}, fault{Kind: "every", Probability: 0.05})
	var changed []document
	eventually(t, patience, "hits of every kind", func() bool {
		changed = append(changed, w.change("org_a", 20)...)
		return !slices.Contains(slices.Collect(maps.Values(w.hits())), 0)
	})
	hits := w.hits()
	w.faults()
	w.delivers("endpoint", changed, 4*patience)
	eventually(t, 4*patience, "the end of all messages", func() bool { return w.waiting().all() == 0 })
	for _, kind := range slices.Sorted(maps.Keys(hits)) {
		measured.row(t, hits[kind] > 0, "faults: "+kind, "some", "%d", hits[kind])
	}
}
