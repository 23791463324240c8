package soak

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/webhook"
)

// park writes deliveries of a config into the log that wait for their second attempt, as deliver would have an hour
// before they are due.
func (w *world) park(c *config, n int, due func(i int) time.Time) []document {
	w.t.Helper()
	log := &dynamo.Deliveries{Client: w.dynamo, Table: "DeliveriesTable"}
	parked := make([]document, n)
	const group = 25
	var wait sync.WaitGroup
	var failed atomic.Int64
	free := make(chan struct{}, 8)
	for first := 0; first < n; first += group {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			var outcomes []webhook.Outcome
			for i := first; i < min(first+group, n); i++ {
				parked[i] = document{
					organization: c.organization, id: fmt.Sprintf("doc_%s_%06d", c.endpoint, i), status: "processed", at: due(i),
				}
				outcomes = append(outcomes, failure(c, parked[i]))
			}
			for _, r := range log.Record(w.t.Context(), outcomes) {
				if r.Err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wait.Wait()
	if failed.Load() > 0 {
		w.t.Fatalf("%d of %d deliveries could not be written", failed.Load(), n)
	}
	return parked
}

// failure is the first attempt at the delivery of a document, of which the second is due at d.at.
func failure(c *config, d document) webhook.Outcome {
	at := webhook.At(d.at.Add(-time.Hour))
	return webhook.Outcome{
		Message: webhook.Message{
			OrganizationID: c.organization,
			ConfigID:       c.id,
			Event: webhook.Event{
				Version:    webhook.RenderVersion,
				ID:         webhook.NewEventID(at.Time, d.id),
				DocumentID: d.id,
				Status:     webhook.Processed,
				OccurredAt: at,
			},
			RequestedAt: at,
			Trigger:     webhook.StatusChange,
			Round:       webhook.FirstRound,
			Attempt:     1,
			NotBefore:   at,
		},
		MessageID:     d.id,
		Status:        webhook.Retrying,
		Tried:         &webhook.Attempt{Number: 1, MessageID: d.id, StartedAt: at, ResponseStatus: 500, ErrorCode: "http_status"},
		At:            at,
		NextAttemptAt: webhook.At(d.at),
	}
}

// now is the time of the stack's clock.
func (s *stack) now() time.Time {
	return s.Started.Add(s.queued(time.Since(s.Started)))
}

var sweepPattern = regexp.MustCompile(`"message":"sweep","sent":([0-9]+)`)

// sweeps returns how many messages each run of the sweep has sent.
func (s *stack) sweeps() []int {
	s.output.mu.Lock()
	defer s.output.mu.Unlock()
	var sent []int
	for _, match := range sweepPattern.FindAllSubmatch(s.output.text.Bytes(), -1) {
		n, _ := strconv.Atoi(string(match[1]))
		sent = append(sent, n)
	}
	return sent
}

// TestBacklog: 200,000 deliveries of one organization wait, over a day. They are no messages, and the other organization's
// deliveries are as quick as in alternating rounds on a second stack, where it is alone.
func TestBacklog(t *testing.T) {
	scenario(t, true)
	const waiting, rounds, documents = 200_000, 5, 300
	var worlds [2]*world
	for i := range worlds {
		worlds[i] = newWorld(t, 1)
		worlds[i].register("org_b", "neighbour")
		worlds[i].know("org_b", "neighbour", 50)
	}
	alone, beside := worlds[0], worlds[1]
	beside.answer("crowd", status(500, ""))
	began := time.Now()
	due := func(i int) time.Time { return began.Add(2*time.Minute + 22*time.Hour/waiting*time.Duration(i)) }
	beside.park(beside.register("org_a", "crowd"), waiting, due)
	t.Logf("written in %s", brief(time.Since(began)))
	most := beside.watch()
	var p99 [2][]time.Duration
	for range rounds {
		for i, w := range []*world{alone, beside} {
			changed := w.paced("org_b", documents)
			w.delivers("neighbour", changed, patience)
			p99[i] = append(p99[i], quantile(w.latencies("neighbour", changed), 0.99))
		}
	}
	ratio := median(p99[1]).Seconds() / median(p99[0]).Seconds()
	measured.row(
		t, ratio <= 1.2, "p99 of the other organization, median of 5", "at most 1.2 times that without",
		"%s, without %s, %.2f times", brief(median(p99[1])), brief(median(p99[0])), ratio,
	)
	inFlight := most().inFlight
	measured.row(t, inFlight < 1000, "messages in flight with 200,000 deliveries waiting", "under 1,000", "%d", inFlight)
}

// TestSweep: 10,000 deliveries are due at once, and one run of the sweep sends them all.
func TestSweep(t *testing.T) {
	scenario(t, true)
	const due = 10_000
	w := newWorld(t, 1)
	c := w.register("org_a", "endpoint")
	runs := len(w.sweeps())
	eventually(t, 2*patience, "a sweep", func() bool { return len(w.sweeps()) > runs })
	began := time.Now()
	parked := w.park(c, due, func(int) time.Time { return w.now() })
	t.Logf("written in %s", brief(time.Since(began)))
	eventually(t, 3*patience, "the sweep", func() bool { return sum(w.sweeps()) >= due })
	highest := 0
	for _, n := range w.sweeps() {
		highest = max(highest, n)
	}
	measured.row(t, highest == due, "sent by one run of the sweep, which has a minute", "10,000", "%d", highest)
	w.delivers("endpoint", parked, 5*patience)
	all, ofOne := w.most("endpoint")
	measured.row(t, all == due, "POSTs", "10,000", "%d, of one event %d", all, ofOne)
}

// TestSweepOff: the sweep fails for an hour in which deliveries come due, and then catches up.
func TestSweepOff(t *testing.T) {
	scenario(t, true)
	const due, minutes = 2000, 60
	w := newWorld(t, 30)
	c := w.register("org_a", "endpoint")
	w.faults(fault{Function: "SweepFunction", Operation: "Query", Kind: "internal", Probability: 1})
	began := w.now()
	parked := w.park(c, due, func(i int) time.Time { return began.Add(minutes * time.Minute * time.Duration(i) / due) })
	w.pass(minutes*time.Minute - w.now().Sub(began))
	missed := w.tried("endpoint", parked)
	measured.row(t, missed == 0, "attempts in an hour without the sweep", "0", "%d", missed)
	w.faults()
	back := w.now()
	w.delivers("endpoint", parked, w.machine(30*time.Minute))
	took := w.now().Sub(back)
	got := w.accepted("endpoint", parked)
	measured.row(t, got == due, "delivered within 30 min after it", "all 2,000", "%d, after %s", got, took.Round(time.Second))
	all, _ := w.most("endpoint")
	measured.row(t, all == due, "POSTs", "2,000", "%d", all)
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}
