package soak

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestIsolation: one organization has 50,000 messages for an endpoint that hangs, one 100 configs whose endpoints all take 5 s,
// and one asks for resends as fast as it can, of which its budget lets few pass. What a fourth one's changes take beside them is
// compared, in alternating rounds, with what they take on a second stack that has nothing else to do. Both stacks share the
// machine, so that its load tells nothing.
func TestIsolation(t *testing.T) {
	scenario(t, true)
	const hanging, slow, rounds, documents = 50_000, 100, 5, 300
	var worlds [2]*world
	for i := range worlds {
		worlds[i] = newWorld(t, 1, "-parameter", "DeliverConcurrency=10", "-parameter", "RetryConcurrency=10")
		worlds[i].register("org_d", "measured")
		worlds[i].know("org_d", "measured", 50)
	}
	alone, beside := worlds[0], worlds[1]
	measure := func(w *world) time.Duration {
		changed := w.paced("org_d", documents)
		w.delivers("measured", changed, patience)
		return quantile(w.latencies("measured", changed), 0.99)
	}
	idle := measure(beside)

	beside.register("org_a", "hanging")
	beside.know("org_a", "hanging", 20)
	for n := range slow {
		endpoint := fmt.Sprint("slow_", n)
		beside.answer(endpoint, after(5*time.Second))
		beside.register("org_b", endpoint)
	}
	beside.register("org_c", "resent")
	beside.know("org_c", "resent", 100)
	beside.answer("hanging", hang)
	began := time.Now()
	beside.change("org_a", hanging)
	// Nobody could know the endpoint to hang before its first attempts have ended; from then on it is in the slow lane.
	eventually(t, 10*patience, "50,000 messages in the slow lane", func() bool {
		return beside.depth("RetryQueue").all() > hanging*9/10 && beside.depth("DeliveryQueue").all() < 1000
	})
	t.Logf("50,000 messages wait after %s", brief(time.Since(began)))

	stop := make(chan struct{})
	var others sync.WaitGroup
	var asked, accepted atomic.Int64
	repeat := func(every time.Duration, f func()) {
		others.Go(func() {
			for {
				select {
				case <-time.After(every):
					f()
				case <-stop:
					return
				}
			}
		})
	}
	repeat(5*time.Second, func() { beside.change("org_b", 1) })
	list := beside.deliveries("org_c")
	for i := range 4 {
		repeat(20*time.Millisecond, func() {
			chosen := list[(int(asked.Add(1))+i)%len(list)]
			got := beside.call("org_c", http.MethodPost, "/deliveries/"+chosen.ID+"/resend", "", "", nil)
			switch got.status {
			case http.StatusAccepted:
				accepted.Add(1)
			case http.StatusTooManyRequests:
			default:
				t.Errorf("a resend was answered %d: %s", got.status, got.body)
			}
		})
	}
	most := beside.watch()
	var p99 [2][]time.Duration
	began = time.Now()
	for range rounds {
		for i, w := range []*world{alone, beside} {
			p99[i] = append(p99[i], measure(w))
		}
	}
	took := time.Since(began)
	close(stop)
	others.Wait()
	left := beside.depth("RetryQueue").all()
	ratio := median(p99[1]).Seconds() / median(p99[0]).Seconds()
	measured.row(
		t, ratio <= 1.5, "p99 of the fourth organization, median of 5", "at most 1.5 times that alone",
		"%s, alone %s, %.2f times; before the others came %s", brief(median(p99[1])), brief(median(p99[0])), ratio, brief(idle),
	)
	measured.row(t, left > hanging*8/10, "messages that wait for the endpoint that hangs, in the end", "40,000", "%d", left)
	measured.row(
		t, asked.Load() > 1000 && accepted.Load() >= 60, "resends asked for meanwhile", "1,000, of which the budget lets 60 a minute pass",
		"%d in %s, %d accepted", asked.Load(), brief(took), accepted.Load(),
	)
	measured.row(t, true, "most messages in flight", "", "%d", most().inFlight)
}
