package soak

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

// scaleOfLedgers is how much faster than the machine's the clock runs.
const scaleOfLedgers = 60

// TestLedgers: many changes for several organizations, whose endpoints are healthy and hostile; meanwhile secrets are
// rotated, deliveries resent, configs paused, dead letters redriven.
func TestLedgers(t *testing.T) {
	scenario(t, true)
	ledgers(t, load, false)
}

// TestLedgersUnderFaults is TestLedgers while calls of the services fail in every way, functions are killed and
// frozen, the account throttles them, and messages come twice and late.
func TestLedgersUnderFaults(t *testing.T) {
	scenario(t, true)
	ledgers(t, load*3/10, true)
}

// hostile is what endpoints do, by a random number from 0 to 99 that is different for each request.
func hostile(random *source, answers func(n int) http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		if answer := answers(random.below(100)); answer != nil {
			answer(w, request)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// source is random numbers for several goroutines.
type source struct {
	mu     sync.Mutex
	random *rand.Rand
}

func newSource() *source { return &source{random: rand.New(rand.NewPCG(seed, seed))} }

func (s *source) below(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

// ledgers writes n changes and compares the ledgers.
func ledgers(t *testing.T, n int, faulty bool) {
	flags := []string{"-parameter", "RetryDelays=fast", "-parameter", "DeliverConcurrency=10"}
	if faulty {
		flags = append(flags, "-account-concurrency", "12")
	}
	w := newWorld(t, scaleOfLedgers, flags...)
	random := newSource()
	for i, organization := range organizations {
		for _, kind := range []string{"healthy", "flaky", "limited"} {
			w.register(organization, fmt.Sprint(kind, "_", i))
		}
		w.answer(fmt.Sprint("flaky_", i), hostile(random, func(n int) http.HandlerFunc {
			switch {
			case n < 5:
				return status(http.StatusInternalServerError, "")
			case n < 6:
				return after(1200 * time.Millisecond)
			}
			return nil
		}))
		w.answer(fmt.Sprint("limited_", i), hostile(random, func(n int) http.HandlerFunc {
			if n < 10 {
				return status(http.StatusTooManyRequests, "30")
			}
			return nil
		}))
	}
	w.register(organizations[0], "broken")
	w.answer("broken", hostile(random, func(n int) http.HandlerFunc { return status(http.StatusBadGateway, "") }))
	paused := w.register(organizations[1], "paused")
	always := slices.DeleteFunc(slices.Clone(w.configs), func(c *config) bool { return c == paused })
	for _, organization := range organizations {
		w.write(organization, fmt.Sprintf("doc_%06d", numbers.Add(1)), "processed")
	}

	began := time.Now()
	most := w.watch()
	stop := make(chan struct{})
	var beside sync.WaitGroup
	repeat := func(every time.Duration, f func()) {
		beside.Go(func() {
			ticks := time.NewTicker(every)
			defer ticks.Stop()
			for {
				select {
				case <-ticks.C:
					f()
				case <-stop:
					return
				}
			}
		})
	}
	done := &deeds{}
	repeat(time.Second, func() { done.count("rotations", w.rotate(always[random.below(len(always))])) })
	repeat(time.Second, func() { done.count("resends", w.resendOne(organizations[random.below(len(organizations))], random)) })
	repeat(5*time.Second, func() { done.count("pauses", w.pause(paused)) })
	repeat(5*time.Second, func() { done.count("redrives", w.tryRedrive()) })
	if faulty {
		var rules []fault
		for _, kind := range []string{"throttled", "internal", "reset-before", "reset-after"} {
			rules = append(rules, fault{Kind: kind, Probability: 0.05})
		}
		for _, operation := range []string{"BatchGetItem", "BatchExecuteStatement", "SendMessageBatch"} {
			rules = append(rules, fault{Operation: operation, Kind: "partial", Probability: 0.05})
		}
		w.faults(append(rules, fault{Kind: "hanging", Probability: 0.005})...)
		functions := []string{"DeliverFunction", "DispatchFunction", "SweepFunction"}
		repeat(700*time.Millisecond, func() {
			done.count("kills", w.signal(functions[random.below(len(functions))], syscall.SIGKILL, random))
		})
		repeat(3*time.Second, func() { done.count("freezes", w.freeze(random)) })
		repeat(2*time.Second, func() { done.count("messages doubled or late", w.meddle(random)) })
	}

	w.generate(n)
	written := time.Since(began)
	w.pass(25 * time.Minute) // longer than a round
	close(stop)
	beside.Wait()
	hits := w.hits()
	w.faults()
	w.activate(paused, true)
	eventually(t, 10*patience, "the end of all messages and rounds", func() bool { return w.waiting().all() == 0 && w.settled() })
	highest := most()
	t.Logf("written in %s, ended after %s", brief(written), brief(time.Since(began)))
	measured.row(t, true, "changes", "", "%d, %.0f a second", len(w.changes), float64(n)/written.Seconds())
	measured.row(t, true, "most messages in flight", "", "%d", highest.inFlight)
	for _, what := range slices.Sorted(slices.Values(done.names())) {
		measured.row(t, done.counts[what] > 0, what, "some", "%d", done.counts[what])
	}
	if faulty {
		for _, kind := range []string{"throttled", "internal", "hanging", "reset-before", "reset-after", "partial"} {
			measured.row(t, hits[kind] > 0, "calls that failed: "+kind, "some", "%d", hits[kind])
		}
	}
	w.compare(always, faulty)
}

// text is what an error says, "" if there is none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// deeds counts what was done meanwhile.
type deeds struct {
	mu     sync.Mutex
	counts map[string]int
}

func (d *deeds) count(what string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[string]int{}
	}
	d.counts[what] += n
}

func (d *deeds) names() (names []string) {
	for name := range d.counts {
		names = append(names, name)
	}
	return names
}

// generate writes n changes, 160 a second: documents of all organizations that are submitted and then processed.
func (w *world) generate(n int) {
	var wait sync.WaitGroup
	const writers = 8
	for i := range writers {
		wait.Go(func() {
			ticks := time.NewTicker(100 * time.Millisecond)
			defer ticks.Stop()
			for k := range n / writers / 2 {
				<-ticks.C
				organization := organizations[(i+k)%len(organizations)]
				id := fmt.Sprintf("doc_%06d", numbers.Add(1))
				w.write(organization, id, "submitted")
				w.write(organization, id, "processed")
			}
		})
	}
	wait.Wait()
}

// rotate rotates the secret of a config.
func (w *world) rotate(c *config) int {
	got := w.call(c.organization, http.MethodPost, "/configs/"+c.id+"/rotate-secret", "", "", nil)
	if got.status != http.StatusOK {
		return 0 // a fault
	}
	made := decode[struct{ Data struct{ Attributes shown } }](w.t, got)
	w.mu.Lock()
	defer w.mu.Unlock()
	c.credentials = slices.Insert(c.credentials, 0, made.Data.Attributes.credentials())
	return 1
}

// resendOne sends one of the last deliveries of an organization again.
func (w *world) resendOne(organization string, random *source) int {
	got := w.call(organization, http.MethodGet, "/deliveries?page[size]=20", "", "", nil)
	if got.status != http.StatusOK {
		return 0
	}
	list := decode[struct{ Data []delivery }](w.t, got).Data
	if len(list) == 0 {
		return 0
	}
	chosen := list[random.below(len(list))].ID
	configID, eventID, err := webhook.ParseDeliveryID(chosen)
	if err != nil {
		w.t.Errorf("delivery %s: %v", chosen, err)
		return 0
	}
	w.mu.Lock()
	w.resends[[2]string{configID, eventID}]++ // also if the answer is an error: it may have been sent
	w.mu.Unlock()
	got = w.call(organization, http.MethodPost, "/deliveries/"+chosen+"/resend", "", "", nil)
	if got.status != http.StatusAccepted {
		return 0
	}
	return 1
}

// activate makes a config active or inactive.
func (w *world) activate(c *config, active bool) bool {
	got := w.call(c.organization, http.MethodPatch, "/configs/"+c.id, "webhook_config", c.id, map[string]any{"is_active": active})
	return got.status == http.StatusOK
}

// pause makes a config inactive. Longer than a batch after that it must not be sent anything, until it is active again.
func (w *world) pause(c *config) int {
	if !w.activate(c, false) {
		return 0
	}
	paused := time.Now()
	const batch, watched = 15 * time.Second, 2 * time.Second
	<-time.After(batch + watched)
	for _, p := range w.ledger() {
		if p.endpoint == c.endpoint && p.at.After(paused.Add(batch)) {
			w.t.Errorf("a paused config was sent %s %s later", p.event, brief(p.at.Sub(paused)))
		}
	}
	w.activate(c, true)
	return 1
}

// tryRedrive redrives what is in the dead-letter queue, twice at most: what always fails would go round for ever.
func (w *world) tryRedrive() int {
	if w.redrives == 2 || w.depth(deadLetterQueue).visible == 0 {
		return 0
	}
	source := w.Queues[deadLetterQueue].ARN
	if _, err := w.sqs.StartMessageMoveTask(w.t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: &source}); err != nil {
		return 0 // another one is running
	}
	w.redrives++
	return 1
}

// signal sends a signal to one of the processes of a function.
func (w *world) signal(function string, signal syscall.Signal, random *source) int {
	var found struct {
		Processes map[string][]struct{ PID int }
	}
	w.get(w.API+"/_local/config", &found)
	processes := found.Processes[function]
	if len(processes) == 0 || syscall.Kill(processes[random.below(len(processes))].PID, signal) != nil {
		return 0
	}
	return 1
}

// freeze stops a process for two seconds, as Lambda does between invocations.
func (w *world) freeze(random *source) int {
	var found struct {
		Processes map[string][]struct{ PID int }
	}
	w.get(w.API+"/_local/config", &found)
	processes := found.Processes["DeliverFunction"]
	if len(processes) == 0 {
		return 0
	}
	pid := processes[random.below(len(processes))].PID
	if syscall.Kill(pid, syscall.SIGSTOP) != nil {
		return 0
	}
	<-time.After(2 * time.Second)
	syscall.Kill(pid, syscall.SIGCONT)
	return 1
}

// meddle takes messages out of the queues, so that they are late, and sends some of them a second time.
func (w *world) meddle(random *source) (n int) {
	for _, name := range []string{"DeliveryQueue", "RetryQueue", "DispatchRetryQueue"} {
		queue := w.Queues[name].URL
		got, err := w.sqs.ReceiveMessage(w.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &queue, MaxNumberOfMessages: 10, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"MessageGroupId"},
		})
		if err != nil {
			w.t.Errorf("taking messages out of %s: %v", name, err)
			return n
		}
		for _, m := range got.Messages {
			n++
			if random.below(2) == 0 {
				_, err := w.sqs.SendMessage(w.t.Context(), &sqs.SendMessageInput{
					QueueUrl: &queue, MessageBody: m.Body, MessageGroupId: aws.String(m.Attributes["MessageGroupId"]),
				})
				if err != nil {
					w.t.Errorf("sending a message to %s twice: %v", name, err)
				}
			}
		}
	}
	return n
}

// settled reports whether no delivery waits.
func (w *world) settled() bool {
	items, err := scan[logged](w, "DeliveriesTable")
	if err != nil {
		w.t.Fatal(err)
	}
	return !slices.ContainsFunc(items, func(i logged) bool { return i.Status == "retrying" })
}

// compare compares the ledgers when nothing is under way any more: what was wanted by the configs that were always active
// has been accepted, or the log says that it has not.
func (w *world) compare(always []*config, faulty bool) {
	w.t.Helper()
	posts := w.ledger()
	measured.row(w.t, true, "requests", "", "%d", len(posts))
	problem := w.genuine(posts)
	measured.row(w.t, problem == nil, "all requests", "signed, the same on every attempt, and their own",
		"%s", cmp.Or(text(problem), "are"))
	missing, err := w.unrecorded()
	if err != nil {
		w.t.Fatal(err)
	}
	measured.row(w.t, missing == 0, "changes without an event, and events without a change", "0", "%d", missing)
	items, err := scan[logged](w, "DeliveriesTable")
	if err != nil {
		w.t.Fatal(err)
	}
	ids := map[string]string{} // of configs, by endpoint
	for _, c := range w.configs {
		ids[c.endpoint] = c.id
	}
	type key struct{ config, change string }
	sent, accepted := map[key]int{}, map[key]int{}
	for _, p := range posts {
		k := key{config: ids[p.endpoint], change: p.change}
		sent[k]++
		if p.accepted {
			accepted[k]++
		}
	}
	log, asked, invented := map[key]logged{}, map[key]int{}, 0
	for _, i := range items {
		k := key{config: i.ConfigID, change: document{id: i.DocumentID, status: i.DocumentStatus}.name()}
		log[k], asked[k] = i, w.resends[[2]string{i.ConfigID, i.EventID}]
		answered := 0
		for _, a := range i.Attempts {
			if a.Response > 0 {
				answered++
			}
		}
		invented += max(0, answered-sent[k])
	}
	lost, failed, unsaid, more, attempts := 0, 0, 0, 0, 0
	for _, c := range always {
		for _, d := range w.changes {
			if d.organization != c.organization || d.status != "processed" {
				continue
			}
			k := key{config: c.id, change: d.name()}
			more += max(0, accepted[k]-1-asked[k])
			attempts += max(0, sent[k]-5*(1+asked[k]+w.redrives))
			switch {
			case accepted[k] > 0 && log[k].Status != "delivered" && asked[k] == 0:
				unsaid++
			case accepted[k] == 0 && log[k].Status == "failed":
				failed++
			case accepted[k] == 0:
				lost++
			}
		}
	}
	measured.row(w.t, lost == 0, "lost: neither accepted nor failed in the log", "0", "%d", lost)
	measured.row(w.t, unsaid == 0, "accepted, and not delivered in the log", "0", "%d", unsaid)
	measured.row(w.t, true, "failed in the log", "", "%d", failed)
	measured.row(w.t, invented == 0, "answers in the log that no endpoint gave", "0", "%d", invented)
	unlike := w.unlike(items, posts)
	if faulty {
		measured.row(w.t, true, "accepted more often than asked for", "", "%d", more)
		measured.row(w.t, true, "attempts above five a round", "", "%d", attempts)
		measured.row(w.t, true, "attempts that only one of endpoint and log knows", "", "%d", unlike)
		return
	}
	measured.row(w.t, more == 0, "accepted more often than asked for", "0", "%d", more)
	measured.row(w.t, attempts == 0, "attempts above five a round", "0", "%d", attempts)
	measured.row(w.t, unlike == 0, "attempts that only one of endpoint and log knows", "0", "%d", unlike)
}
