package soak

import (
	"strconv"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestThrottledAccount: the account runs three invocations at once, and an endpoint takes a second. Throttled batches use
// receives up, not attempts.
func TestThrottledAccount(t *testing.T) {
	scenario(t, true)
	const documents, minutes = 1000, 30
	w := newWorld(t, 300, "-account-concurrency", "3", "-parameter", "DeliverConcurrency=100")
	w.register("org_a", "slow")
	w.answer("slow", after(time.Second))
	began := time.Now()
	changed := w.change("org_a", documents)
	w.pass(minutes * time.Minute)
	dead := w.depth(deadLetterQueue).all()
	measured.row(t, dead == 0, "messages in the dead-letter queue after 30 queue-minutes", "0", "%d", dead)
	refused := w.hits().Kinds["refused"]
	measured.row(t, refused > 0, "invocations for which the account had no place", "some", "%d", refused)
	w.delivers("slow", changed, 5*patience)
	got := w.accepted("slow", changed)
	measured.row(t, got == documents, "delivered", "all", "%d of %d, after %s",
		got, documents, w.queued(time.Since(began)).Round(time.Second))
	eventually(t, 2*patience, "the end of all messages", func() bool { return w.waiting().all() == 0 })
	dead = w.depth(deadLetterQueue).all()
	measured.row(t, dead == 0, "messages in the dead-letter queue in the end", "0", "%d", dead)
	w.audit(0)
}

// TestThrottledLog: most writes of the log are refused. An endpoint that always succeeds must not be asked again for
// that.
func TestThrottledLog(t *testing.T) {
	scenario(t, true)
	const documents = 500
	w := newWorld(t, 20, "-parameter", "DeliverConcurrency=20")
	w.register("org_a", "endpoint")
	w.know("org_a", "endpoint", 1)
	rules := []fault{{Function: "DeliverFunction", Operation: "BatchExecuteStatement", Kind: "partial", Probability: 1}}
	for _, operation := range []string{"PutItem", "UpdateItem", "TransactWriteItems"} {
		rules = append(rules, fault{
			Function: "DeliverFunction", Operation: operation, Contains: "DeliveriesTable", Kind: "throttled", Probability: 0.7,
		})
	}
	w.faults(rules...)
	began := time.Now()
	changed := w.change("org_a", documents)
	w.delivers("endpoint", changed, 4*patience)
	eventually(t, 4*patience, "the end of all messages", func() bool { return w.waiting().all() == 0 })
	t.Logf("ended after %s", brief(time.Since(began)))
	w.faults()
	all, ofOne := w.most("endpoint")
	measured.row(t, all <= documents*11/10+1, "POSTs of 500 events", "at most 550", "%d, of one event %d", all-1, ofOne)
	w.audit(documents / 10)
}
