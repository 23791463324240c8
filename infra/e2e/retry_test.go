package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// attemptLine is what the deliver function logs of an attempt that has failed.
type attemptLine struct {
	Attempt       int    `json:"attempt"`
	NextAttemptAt string `json:"next_attempt_at"`
}

// unmeasured is how far apart the end of an attempt and the planning of the next may seem: durations are whole
// milliseconds, and the clock is fast.
const unmeasured = 5 * time.Second

var attemptPattern = regexp.MustCompile(`\{"time":.*"msg":"attempt",.*\}`)

// delays returns how long after the end of the attempt before each retry of a config's delivery was planned, on
// the stack's clock: a duration is the machine's.
func delays(t *testing.T, configID string, logged resource) []time.Duration {
	t.Helper()
	var all []time.Duration
	for line := range strings.Lines(under.local.output.String()) {
		found := attemptPattern.FindString(line)
		if found == "" || !strings.Contains(found, configID) {
			continue
		}
		var l attemptLine
		if err := json.Unmarshal([]byte(found), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if l.NextAttemptAt == "" {
			continue // the last one
		}
		next, err := time.Parse(time.RFC3339, l.NextAttemptAt)
		if err != nil || l.Attempt != len(all)+1 {
			t.Fatalf("%v: %s", err, line)
		}
		before := logged.Attributes.Attempts[len(all)]
		ended := before.StartedAt.Add(time.Duration(before.DurationMS) * time.Millisecond * timeScale)
		all = append(all, next.Sub(ended))
	}
	return all
}

// planned checks the delays of retries against the schedule's, with its jitter, and those that the
// endpoint has asked for.
func planned(t *testing.T, configID string, logged resource, want []time.Duration, jitter float64) {
	t.Helper()
	got := delays(t, configID, logged)
	if len(got) != len(want) {
		t.Fatalf("%d retries were planned, want %d", len(got), len(want))
	}
	for n, delay := range want {
		least, most := time.Duration(float64(delay)*(1-jitter)), time.Duration(float64(delay)*(1+jitter))
		t.Logf("retry %d is planned %s after attempt %d", n+1, got[n].Round(time.Millisecond), n+1)
		if got[n] < least-unmeasured || got[n] > most+unmeasured {
			t.Errorf("retry %d is planned %s later, want %s to %s", n+1, got[n], least, most)
		}
	}
}

// TestEndpointSaysWhenToRetry: Retry-After puts a retry off, to a quarter of an hour at most, and
// never forward.
func TestEndpointSaysWhenToRetry(t *testing.T) {
	if under.local == nil {
		t.Skip("only the local stack's clock runs fast enough")
	}
	t.Parallel()
	c := newClient(t)
	answers := []struct {
		status     int
		retryAfter string
	}{{429, "120"}, {503, "86400"}, {429, "1"}, {503, "soon"}}
	endpoint := newReceiver(t)
	endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
		attempt, err := strconv.Atoi(r.Header.Get("X-Webhook-Attempt"))
		if err != nil || attempt > len(answers) {
			w.WriteHeader(http.StatusOK)
			return
		}
		w.Header().Set("Retry-After", answers[attempt-1].retryAfter)
		w.WriteHeader(answers[attempt-1].status)
	})
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	var at []time.Time
	for range len(answers) + 1 {
		at = append(at, endpoint.verified(t, config.credentials).at)
	}
	delivered := c.delivery(config.id, "delivered")
	got := delays(t, config.id, delivered)
	if len(got) != len(answers) {
		t.Fatalf("%d retries were planned", len(got))
	}
	// The third and the fourth are the schedule's.
	planned(t, config.id, delivered, []time.Duration{2 * time.Minute, 15 * time.Minute, 5 * time.Minute, 15 * time.Minute}, 0.2)
	for n, asked := range []time.Duration{2 * time.Minute, 15 * time.Minute} {
		if waited := at[n+1].Sub(at[n]); waited < asked/timeScale {
			t.Errorf("retry %d came after %s (%s scaled), want at least %s", n+1, waited, waited*timeScale, asked)
		}
		if got[n] > asked+unmeasured {
			t.Errorf("retry %d is planned %s later, although the endpoint asked for no more than %s", n+1, got[n], asked)
		}
	}
}
