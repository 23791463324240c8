package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// attemptLine is what the deliver function logs of an attempt.
type attemptLine struct {
	Round          string `json:"round"`
	Attempt        int    `json:"attempt"`
	SinceRequestMS int64  `json:"since_request_ms"` // when the next one was planned, counted from the event
	NextAttemptAt  string `json:"next_attempt_at"`
}

var attemptPattern = regexp.MustCompile(`\{"timestamp":.*"message":"attempt",.*\}`)

// delays returns how long after each failure of a delivery's first round the next attempt was planned, by the number
// of the attempt that failed, on the stack's clock.
func (c *client) delays(logged resource) map[int]time.Duration {
	c.t.Helper()
	all := map[int]time.Duration{}
	for line := range strings.Lines(c.on.local.output.String()) {
		found := attemptPattern.FindString(line)
		if found == "" || !strings.Contains(found, logged.ID) {
			continue
		}
		var l attemptLine
		if err := json.Unmarshal([]byte(found), &l); err != nil {
			c.t.Fatalf("%v: %s", err, line)
		}
		if l.NextAttemptAt == "" || l.Round != webhook.FirstRound {
			continue
		}
		next, err := time.Parse(time.RFC3339, l.NextAttemptAt)
		if err != nil {
			c.t.Fatalf("%v: %s", err, line)
		}
		planned := logged.Attributes.CreatedAt.Add(time.Duration(l.SinceRequestMS) * time.Millisecond)
		all[l.Attempt] = next.Sub(planned)
	}
	return all
}

// span is how long a delay may be.
type span struct{ least, most time.Duration }

// around is a delay of the schedule, with its jitter.
func around(delay time.Duration) span { return span{least: delay * 8 / 10, most: delay * 12 / 10} }

// exactly is a delay that an endpoint has asked for.
func exactly(delay time.Duration) span { return span{least: delay, most: delay} }

// planned checks how long after each failure the next attempt was planned, and that it was not made earlier.
func (c *client) planned(logged resource, want ...span) {
	c.t.Helper()
	const rounding = 2 * time.Millisecond // both times are whole milliseconds
	got := c.delays(logged)
	if len(got) != len(want) || len(logged.Attributes.Attempts) != len(want)+1 {
		c.t.Fatalf("after failures %v was planned and %d attempts are logged, want %d", got, len(logged.Attributes.Attempts), len(want)+1)
	}
	for i, delay := range want {
		number := i + 1
		c.t.Logf("attempt %d is planned %s after attempt %d", number+1, got[number].Round(time.Millisecond), number)
		if got[number] < delay.least-rounding || got[number] > delay.most+rounding {
			c.t.Errorf("attempt %d is planned %s later, want %s to %s", number+1, got[number], delay.least, delay.most)
		}
		this, next := logged.Attributes.Attempts[i], logged.Attributes.Attempts[i+1]
		if waited := next.StartedAt.Sub(this.StartedAt); waited < got[number]-rounding {
			c.t.Errorf("attempt %d was made %s later, and was planned after %s", number+1, waited, got[number])
		}
	}
}

// TestEndpointSaysWhenToRetry: Retry-After puts a retry off, by up to a day, and never brings it forward. A retry
// that is due so late waits in the log alone: no queue could hold it back.
func TestEndpointSaysWhenToRetry(t *testing.T) {
	t.Parallel()
	c := newClientOn(t, daysOf(t))
	answers := []struct {
		status     int
		retryAfter string
	}{{429, "120"}, {503, "86400"}, {429, "1"}}
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
	for range len(answers) + 1 {
		endpoint.verified(t, config.credentials)
	}
	// The last one is the schedule's.
	c.planned(c.delivery(config.id, "delivered"), exactly(2*time.Minute), exactly(24*time.Hour), around(90*time.Minute))
	endpoint.none(t)
}

// TestFiveAttemptsInADayThenTheDeadLetterQueue takes a delivery through its first round with the delays of every
// stack, and another one whose only message dies before its first attempt. Then both are redriven: the first, which
// was resent meanwhile, ends silently, and the other one is delivered. No other test uses this stack's dead-letter queue.
func TestFiveAttemptsInADayThenTheDeadLetterQueue(t *testing.T) {
	on := daysOf(t)
	t.Parallel()
	c, other := newClientOn(t, on), newClientOn(t, on)
	failing, fine := newReceiver(t), newReceiver(t)
	failing.status(http.StatusInternalServerError)
	config, unread := c.register(failing.url, "processed"), other.register(fine.url, "processed")

	// An endpoint that has answered quickly gets first attempts through DeliveryQueue.
	other.put(newDocument(), "processed")
	fine.verified(t, unread.credentials)
	other.delivery(unread.id, "delivered")
	end := on.strike(t,
		fault{Function: "DeliverFunction", Service: "dynamodb", Operation: "BatchGetItem", Contains: other.organization, Kind: "internal"},
		fault{Function: "DeliverFunction", Service: "sqs", Operation: "SendMessage", Contains: other.organization, Kind: "internal"})
	other.put(newDocument(), "processed")
	on.waitForDeadLetters(t, 1)

	c.put(newDocument(), "processed")
	for number := range webhook.MaxAttempts {
		got := failing.verified(t, config.credentials)
		if want := strconv.Itoa(number + 1); got.header.Get("X-Webhook-Attempt") != want {
			t.Errorf("attempt %s, want %s", got.header.Get("X-Webhook-Attempt"), want)
		}
	}
	failed := c.delivery(config.id, "failed")
	c.planned(failed, around(10*time.Second), around(5*time.Minute), around(90*time.Minute), around(22*time.Hour))
	on.waitForDeadLetters(t, 2)

	failing.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Webhook-Attempt") == "1" { // so that the resend is under way while the older message comes back
			w.Header().Set("Retry-After", "43200")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	c.must(202, "POST", "/v1/webhooks/deliveries/"+failed.ID+"/resend", nil)
	failing.verified(t, config.credentials)
	c.delivery(config.id, "retrying")
	end()
	on.redrive(t)
	fine.verified(t, unread.credentials)
	if got := failing.verified(t, config.credentials); got.header.Get("X-Webhook-Attempt") != "2" {
		t.Errorf("attempt %s, want the second one of the resend", got.header.Get("X-Webhook-Attempt"))
	}
	c.delivery(config.id, "delivered")
	other.settled(unread.id, 2)
	failing.none(t)
	fine.none(t)
	on.waitForDeadLetters(t, 0)
}
