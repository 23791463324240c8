package soak

import (
	"net/http"
	"testing"
	"time"
)

// TestLostAnswers: deliver can read nothing, and a part of the answers to what it sends is lost. Nothing
// can be attempted, so messages wait; they must not multiply.
func TestLostAnswers(t *testing.T) {
	scenario(t, true)
	const documents, minutes = 20, 36
	w := newWorld(t, 30)
	w.register("org_a", "endpoint")
	w.faults(
		fault{Function: "DeliverFunction", Operation: "BatchGetItem", Kind: "throttled", Probability: 1},
		fault{Function: "DeliverFunction", Operation: "SendMessage", Kind: "reset-after", Probability: 0.15},
	)
	most := w.watch()
	changed := w.change("org_a", documents)
	w.pass(minutes * time.Minute)
	messages := w.waiting().all()
	highest := most()
	measured.row(
		t, messages <= documents+2, "messages after 36 min", "as many as there were, 20",
		"%d, at most %d meanwhile", messages, highest.visible,
	)
	lost := w.hits().Kinds["reset-after"]
	measured.row(t, lost > 0, "answers of SQS that were lost", "some", "%d", lost)
	w.faults()
	w.delivers("endpoint", changed, 2*patience)
	eventually(t, 4*patience, "the end of all messages", func() bool { return w.waiting().all() == 0 })
	all, ofOne := w.most("endpoint")
	measured.row(t, ofOne <= 8, "POSTs of one event", "at most 8", "%d, of all 20 events %d", ofOne, all)
	w.audit(0)
}

// TestWaitingIsNotInFlight: the retries of one organization wait a quarter of an hour, and are more than a queue
// may have in flight.
func TestWaitingIsNotInFlight(t *testing.T) {
	scenario(t, false)
	w := newWorld(t, 1, "-in-flight-limit", "60")
	w.register("org_a", "failing")
	w.register("org_b", "neighbour")
	w.know("org_b", "neighbour", 1)
	w.answer("failing", status(http.StatusServiceUnavailable, "900"))
	most := w.watch()
	theirs := w.change("org_a", 200)
	eventually(t, 20*time.Second, "the first attempts", func() bool { return w.tried("failing", theirs) >= 60 })
	mine := w.change("org_b", 20)
	w.sent("neighbour", mine, 20*time.Second)
	got := w.tried("neighbour", mine)
	measured.row(t, got == len(mine), "deliveries of the other organization within 20 s", "all", "%d of %d", got, len(mine))
	w.sent("failing", theirs, 20*time.Second)
	got = w.tried("failing", theirs)
	measured.row(t, got == len(theirs), "first attempts of the one that fails", "all", "%d of %d", got, len(theirs))
	measured.row(t, true, "most in flight of 60", "", "%d", most().inFlight)
}

// TestOutage: DynamoDB refuses everything for three hours. Events whose delivery is new, is waiting, or happened meanwhile
// are all delivered afterwards; what ended in the dead-letter queue sends nothing when it is redriven.
func TestOutage(t *testing.T) {
	scenario(t, true)
	w := newWorld(t, 60, "-parameter", "RetryDelays=300,300,300,300")
	w.register("org_a", "endpoint")
	w.know("org_a", "endpoint", 5)
	w.answer("endpoint", status(http.StatusInternalServerError, ""))
	before := w.change("org_a", 20)
	w.sent("endpoint", before, patience)
	w.answer("endpoint", nil)
	underWay := w.waiting().all()
	w.faults(fault{Service: "dynamodb", Kind: "internal", Probability: 1})
	during := w.change("org_a", 20)
	w.pass(90 * time.Minute)
	during = append(during, w.change("org_a", 20)...)
	w.pass(90 * time.Minute)
	w.faults()
	all := append(before, during...)
	w.delivers("endpoint", all, 5*patience)
	got := w.accepted("endpoint", all)
	measured.row(t, got == len(all), "events delivered after 3 h without DynamoDB", "all", "%d of %d", got, len(all))
	eventually(t, 2*patience, "the end of all messages", func() bool { return w.waiting().all() == 0 })
	dead := w.depth(deadLetterQueue).all()
	measured.row(t, dead <= underWay, "messages in the dead-letter queue", "at most those of retries under way, "+itoa(underWay),
		"%d", dead)
	posts, _ := w.most("endpoint")
	if dead > 0 {
		w.redrive()
		eventually(t, 2*patience, "the end of what was redriven", func() bool { return w.waiting().all() == 0 })
	}
	again, ofOne := w.most("endpoint")
	measured.row(t, again == posts, "POSTs by redriving them", "0", "%d", again-posts)
	measured.row(t, ofOne <= 5, "POSTs of one event", "at most 5", "%d", ofOne)
	dropped := w.output.recursive()
	measured.row(t, dropped == 0, "batches dropped as recursive", "0", "%d", dropped)
	w.audit(0)
}

// TestReplay: SQS refuses what dispatch sends for longer than the six hours after which Lambda gives records of the stream up. What
// is left of them are pointers, from which the command replay dispatches them.
func TestReplay(t *testing.T) {
	scenario(t, true)
	w := newWorld(t, 600)
	w.register("org_a", "endpoint")
	w.know("org_a", "endpoint", 5)
	w.faults(fault{Function: "DispatchFunction", Service: "sqs", Kind: "internal", Probability: 1})
	changed := w.change("org_a", 40)
	w.pass(8 * time.Hour)
	w.faults()
	early := w.accepted("endpoint", changed)
	pointers := w.depth("DispatchFailureQueue").all()
	measured.row(t, pointers > 0 && early == 0, "pointers after 8 h without SQS", "some", "%d, %d delivered", pointers, early)
	if said, err := w.runReplay(); err != nil {
		t.Errorf("replay: %v: %s", err, said)
	}
	w.delivers("endpoint", changed, patience)
	got := w.accepted("endpoint", changed)
	measured.row(t, got == len(changed), "delivered after a replay", "all", "%d of %d", got, len(changed))
	eventually(t, patience, "the end of all messages", func() bool { return w.waiting().all() == 0 })
	posts, _ := w.most("endpoint")
	measured.row(t, posts == len(changed)+5, "POSTs by it", "40", "%d", posts-5)
	w.audit(0)
}
