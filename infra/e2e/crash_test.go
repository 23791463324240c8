package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
)

// kill kills the processes of a function that are busy with an event, or those that are not, waits
// until the stack has noticed, and returns how many there were. The tests that call it have a stack alone: they would
// kill each other's.
func (s *system) kill(t *testing.T, function string, busy bool) int {
	t.Helper()
	var killed []int
	for _, process := range s.processes(t, function) {
		if process.Busy == busy {
			if err := syscall.Kill(process.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			killed = append(killed, process.PID)
		}
	}
	eventually(t, func() (bool, bool) {
		return true, !slices.ContainsFunc(s.processes(t, function), func(p process) bool { return slices.Contains(killed, p.PID) })
	}, func() string { return "the end of what was killed" })
	return len(killed)
}

func (s *system) processes(t *testing.T, function string) []process {
	t.Helper()
	var found localConfig
	if err := s.local.config(&found); err != nil {
		t.Fatal(err)
	}
	return found.Processes[function]
}

// hang makes the endpoint answer nothing until the sender gives up.
func (r *receiver) hang() {
	r.answer(func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() })
}

// TestKilledFunctionLosesNothing kills the deliver function in the middle of a POST.
func TestKilledFunctionLosesNothing(t *testing.T) {
	if under.local == nil {
		t.Skip("only the local stack lets a test kill its functions")
	}
	on := alone(t)
	c := newClientOn(t, on)
	endpoint := newReceiver(t)
	endpoint.hang()
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	first := endpoint.next(t)
	endpoint.status(http.StatusOK)
	if on.kill(t, "DeliverFunction", true) == 0 {
		t.Fatal("no deliver function was busy")
	}
	again := endpoint.verified(t, config.credentials)
	if !bytes.Equal(first.body, again.body) {
		t.Errorf("got %s, first %s", again.body, first.body)
	}
	c.delivery(config.id, "delivered")
}

// TestCrashShowsUnknownAndRepeatsAPostOnce kills the deliver function in the middle of POSTs. The first time nobody
// knows of the POST, so it is made again, and then the log says first that it begins: as unknown, until the result
// takes the place of that. If there is no result either, the next attempt follows, and nobody makes this one again.
func TestCrashShowsUnknownAndRepeatsAPostOnce(t *testing.T) {
	if under.local == nil {
		t.Skip("only the local stack lets a test kill its functions")
	}
	on := alone(t)
	c := newClientOn(t, on)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	// On a busy machine a sweep might send an attempt that is still on its way once more.
	sweepAgain := on.strike(t, fault{Service: "schedule", Kind: "missed"})
	crash := func() {
		t.Helper()
		if on.kill(t, "DeliverFunction", true) == 0 {
			t.Fatal("no deliver function was busy")
		}
	}
	posted := func(attempt string) {
		t.Helper()
		if got := endpoint.verified(t, config.credentials).header.Get("X-Webhook-Attempt"); got != attempt {
			t.Fatalf("attempt %s, want %s", got, attempt)
		}
	}
	logged := func(codes ...string) {
		t.Helper()
		var found []string
		delivery := c.delivery(config.id, "retrying")
		for _, attempt := range delivery.Attributes.Attempts {
			found = append(found, attempt.ErrorCode)
		}
		if !slices.Equal(found, codes) || delivery.Attributes.NextAttemptAt == nil {
			t.Errorf("the log has %v, want %v; the next attempt is at %v", found, codes, delivery.Attributes.NextAttemptAt)
		}
	}

	result := make(chan int)
	endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
		select {
		case code := <-result:
			w.WriteHeader(code)
		case <-r.Context().Done():
		}
	})
	c.put(newDocument(), "processed")
	posted("1")
	crash()
	posted("1")
	logged("unknown")
	result <- http.StatusServiceUnavailable
	posted("2")
	logged("http_status")
	crash()
	posted("2")
	logged("http_status", "unknown")
	endpoint.status(http.StatusOK) // the POST that is under way still waits
	crash()
	sweepAgain()
	posted("3")
	delivered := c.delivery(config.id, "delivered")
	attempts := delivered.Attributes.Attempts
	if len(attempts) != 3 || attempts[1].ErrorCode != "unknown" || attempts[2].ResponseStatus != 200 {
		t.Errorf("the log has %+v", attempts)
	}
	endpoint.none(t)
}

// TestHangingEndpointHoldsUpNobody delivers one event to ten configs, of which one hangs: the others
// are in the log at once, and a crash while it hangs does not repeat their POSTs.
func TestHangingEndpointHoldsUpNobody(t *testing.T) {
	if under.local == nil {
		t.Skip("only the local stack lets a test kill its functions")
	}
	on := alone(t)
	c := newClientOn(t, on)
	slow := newReceiver(t)
	slow.hang()
	slowConfig := c.register(slow.url, "processed")
	var others []*receiver
	var configs []registered
	for range 9 {
		other := newReceiver(t)
		others = append(others, other)
		configs = append(configs, c.register(other.url, "processed"))
	}
	c.put(newDocument(), "processed")
	slow.next(t)
	var last time.Time
	for i, other := range others {
		if got := other.verified(t, configs[i].credentials); got.at.After(last) {
			last = got.at
		}
	}
	for _, config := range configs {
		logged := c.delivery(config.id, "delivered")
		if len(logged.Attributes.Attempts) != 1 {
			t.Errorf("%d attempts are in the log", len(logged.Attributes.Attempts))
		}
	}
	t.Logf("all nine were seen in the log %s after the last of their POSTs", time.Since(last).Round(time.Millisecond))
	slow.status(http.StatusOK)
	var busy int
	eventually(t, func() (bool, bool) {
		busy = 0
		for _, process := range on.processes(t, "DeliverFunction") {
			if process.Busy {
				busy++
			}
		}
		return true, busy == 1
	}, func() string { return fmt.Sprintf("the one that waits for the hanging endpoint; %d are busy", busy) })
	on.kill(t, "DeliverFunction", true)
	slow.verified(t, slowConfig.credentials)
	c.delivery(slowConfig.id, "delivered")
	// The slow delivery was part of the batch that was cut off, so all messages of the batch have been received again.
	for _, other := range others {
		other.none(t)
	}
}
