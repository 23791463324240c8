package soak

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/webhook"
)

// tenants is how many organizations there are.
const tenants = 24

// trial is a comparison of ledgers.
type trial struct {
	changes int
	rate    int // of changes, a second at most
	faulty  bool
	scale   float64 // how much faster than the machine's the clock runs
	delays  string
	behind  time.Duration // for which first attempts that are behind are waited for under faults; what has died waits for a redrive
	after   time.Duration // for which faults go on after that, on the stack's clock
}

// roundTime is longer than a round of RetryDelays=fast.
const roundTime = 25 * time.Minute

// TestLedgers: many changes for many organizations, whose endpoints are healthy and hostile. Meanwhile configs are created,
// paused, moved and deleted, secrets rotated, deliveries resent in every way, dead letters redriven and changes replayed.
func TestLedgers(t *testing.T) {
	scenario(t, true)
	trial{changes: load, rate: 300, scale: 60, delays: "fast", behind: time.Minute, after: roundTime}.compare(t)
}

// TestLedgersUnderFaults is TestLedgers while everything fails that can.
func TestLedgersUnderFaults(t *testing.T) {
	scenario(t, false)
	r := trial{changes: load * 3 / 10, rate: 120, faulty: true, scale: 60, delays: "fast", behind: time.Minute, after: roundTime}
	if testing.Short() {
		r.changes, r.scale, r.delays, r.behind, r.after = 600, 180, "10,60,120,180", 10*time.Second, 10*time.Minute
	}
	r.compare(t)
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

// inhabit gives the world organizations with endpoints of all kinds, and returns their configs and those that may be paused.
func (d *deeds) inhabit() (all, paused []*config) {
	flaky := hostile(d.random, func(n int) http.HandlerFunc {
		switch {
		case n < 5:
			return status(http.StatusInternalServerError, "")
		case n < 6:
			return after(1200 * time.Millisecond)
		}
		return nil
	})
	limited := hostile(d.random, func(n int) http.HandlerFunc {
		if n < 10 {
			return status(http.StatusTooManyRequests, "30")
		}
		return nil
	})
	add := func(i int, kind string, answers http.HandlerFunc) *config {
		endpoint := fmt.Sprintf("%s_%02d", kind, i)
		d.answer(endpoint, answers)
		c := d.register(tenant(i), endpoint)
		all = append(all, c)
		return c
	}
	for i := range tenants {
		all = append(all, d.register(tenant(i), healthy(i)))
		if i%2 == 0 {
			add(i, "flaky", flaky)
		}
		if i%3 == 0 {
			add(i, "limited", limited)
		}
		if i%8 == 1 {
			paused = append(paused, add(i, "paused", nil))
		}
	}
	add(18, "broken", status(http.StatusBadGateway, ""))
	return all, paused
}

// tenant is the id of one of many organizations.
func tenant(i int) string {
	if i < len(organizations) {
		return organizations[i]
	}
	return fmt.Sprintf("org_%02d", i)
}

// compare writes the changes, and in the end compares the ledgers.
func (r trial) compare(t *testing.T) {
	flags := []string{
		"-template", parallel(t), "-parameter", "RetryDelays=" + r.delays, "-parameter", "LogLevel=DEBUG",
		"-parameter", "DeliverConcurrency=50", "-parameter", "RetryConcurrency=20",
	}
	for i := len(organizations); i < tenants; i++ {
		flags = append(flags, "-organization", tenant(i)+"=key_"+tenant(i))
	}
	if r.faulty { // fewer than the mappings, the sweep and the API may need
		flags = append(flags, "-account-concurrency", "64")
	}
	w := newWorld(t, r.scale, flags...)
	d := &deeds{world: w, random: newSource(), stop: make(chan struct{}), counts: map[string]int{}}
	all, paused := d.inhabit()
	for i := range tenants {
		w.write(tenant(i), fmt.Sprintf("doc_%06d", numbers.Add(1)), "processed")
	}

	began := time.Now()
	most := w.watch()
	d.repeat(time.Second, func() { d.rotate(one(d.random, all)) })
	d.repeat(time.Second, func() { d.resendOne(tenant(d.random.below(tenants))) })
	d.repeat(2*time.Second, d.resendDocument)
	d.repeat(5*time.Second, func() { d.resendMany(one(d.random, all)) })
	d.repeat(10*time.Second, d.replay)
	d.repeat(30*time.Second, func() {
		if d.redrives < 3 { // what always fails would go round for ever
			d.redriveAll()
		}
	})
	for _, c := range paused {
		d.pause(c)
	}
	for i := range 3 {
		d.churn(tenant(i), fmt.Sprint("churn_", i))
	}
	if r.faulty {
		w.faults(everyFault...)
	}

	d.generate(r.changes, r.rate)
	written := time.Since(began)
	for deadline := time.Now().Add(r.behind); d.behind() > 0 && time.Now().Before(deadline); {
		<-time.After(100 * time.Millisecond)
	}
	t.Logf("first attempts made after %s", brief(time.Since(began)))
	w.pass(r.after)
	d.end()
	hits := w.hits()
	w.faults()
	t.Logf("written in %s, faults ended after %s", brief(written), brief(time.Since(began)))
	eventually(t, patience, "a replay that leaves nothing", func() bool {
		_, err := w.runReplay()
		return err == nil
	})
	ended := func() bool { return w.waiting().all() == 0 && w.settled() }
	eventually(t, 10*patience, "the end of all messages and rounds", ended)
	t.Logf("ended after %s, with %d dead letters", brief(time.Since(began)), w.depth(deadLetterQueue).all())
	if d.redriveAll() {
		eventually(t, patience, "the end of the redrive", func() bool { return w.depth(deadLetterQueue).all() == 0 })
		eventually(t, 10*patience, "the end of what was redriven", ended)
	}
	highest := most()
	t.Logf("ended after %s", brief(time.Since(began)))
	measured.row(t, true, "changes", "", "%d, %.0f a second", len(w.changes), float64(r.changes)/written.Seconds())
	measured.row(t, true, "organizations, configs", "", "%d, %d", tenants, len(w.configs))
	measured.row(t, true, "most messages in flight", "", "%d", highest.inFlight)
	d.rows(t)
	dropped := w.output.recursive()
	measured.row(t, dropped == 0, "batches dropped as recursive", "0", "%d", dropped)
	if r.faulty {
		hits.rows(t)
	}
	l, err := w.everything()
	if err != nil {
		t.Fatal(err)
	}
	if l.together = time.Second; r.faulty {
		l.together = togetherUnderFaults
	}
	measured.row(t, true, "requests to endpoints", "", "%d", len(l.posts))
	found := l.compare()
	found.rows(t, never...)
	said := []string{isDelivered, isFailed, isCanceled, overtaken, startedOnly} // the last two also where the machine is too slow
	repeats := []string{again, crashed, unwritten, atOnce, twiceAtOnce, diedUntried, unverifiable}
	if r.faulty {
		said = append(said, repeats...)
	} else {
		found.rows(t, repeats...)
	}
	for _, what := range said {
		measured.row(t, true, what, "", "%d", found.count(what))
	}
	t.Logf("compared after %s", brief(time.Since(began)))
	if !testing.Short() { // what died untried is missed after an hour
		d.mend(t, l)
	}
}

// togetherUnderFaults is how long the result of an attempt may be on its way into the log (20 s), while another message
// that was judged before that is on its way to its POST: deliver reads the tables and the keyring for 10 s each, and logs
// a start for 4 s.
const togetherUnderFaults = 44 * time.Second

// count returns how much was found.
func (f findings) count(what string) int {
	if f[what] == nil {
		return 0
	}
	return f[what].n
}

// rows fails the scenario for whatever was found of these.
func (f findings) rows(t *testing.T, what ...string) {
	t.Helper()
	for _, w := range what {
		n, example := f.count(w), ""
		if n > 0 {
			example = ", such as " + f[w].example
		}
		measured.row(t, n == 0, w, "0", "%d%s", n, example)
		for i := 0; n > 0 && i < len(f[w].stories); i++ {
			t.Log(f[w].stories[i])
		}
	}
}

// rows prints what went on, each of which must have.
func (d *deeds) rows(t *testing.T) {
	t.Helper()
	for _, what := range []string{
		"rotations", "pauses", "configs created", "URLs changed", "configs deleted", "resends of a delivery", "resends of a document",
		"resends of a period, scope failed", "resends of a period, scope undelivered", "resends of a period, scope all", "resent by them",
		"redrives", "replays of 20 changes",
	} {
		measured.row(t, d.counts[what] > 0 || testing.Short(), what, "some", "%d", d.counts[what])
	}
}

// parallel returns a template with as many lanes of the stream of documents as in production, which allows no endpoints on
// this machine: with the single one of a sandbox nothing moves while a call hangs. Where one call in twenty hangs, every fifth record is
// held up, so that DispatchRetryQueue has ten times its concurrency.
func parallel(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const lanes, retries = "DispatchParallelization: 1\n", "DispatchRetryQueue: 2\n"
	if strings.Count(string(text), lanes) != 1 || strings.Count(string(text), retries) != 2 {
		t.Fatal("the template has other concurrencies")
	}
	changed := strings.NewReplacer(lanes, "DispatchParallelization: 10\n", retries, "DispatchRetryQueue: 20\n").Replace(string(text))
	// A folder that stays, since the compiler reuses only what it has built in the same one.
	folder, err := filepath.Abs(filepath.Join(root, ".build", "soak"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum", "functions", "shared", "infra"} {
		if err := os.Symlink(filepath.Join("..", "..", name), filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	file := filepath.Join(folder, "template.yaml")
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// behind returns how many documents are processed and have not been sent to their organization's healthy endpoint.
func (d *deeds) behind() int {
	d.mu.Lock()
	n := d.processed
	d.mu.Unlock()
	d.receivers.mu.Lock()
	defer d.receivers.mu.Unlock()
	for i := range tenants {
		n -= len(d.first[healthy(i)])
	}
	return n
}

// healthy is the endpoint of an organization that always answers well.
func healthy(i int) string { return fmt.Sprintf("healthy_%02d", i) }

// generate writes n changes, so many a second at most: documents of all organizations, of some far more than of others,
// that are submitted and then processed. It rests while deliveries are behind, so that faults strike while they are made.
func (d *deeds) generate(n, rate int) {
	const writers, crowd = 8, 1000
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			ticks := time.NewTicker(time.Second * 2 * writers / time.Duration(rate))
			defer ticks.Stop()
			for range n / writers / 2 {
				<-ticks.C
				for d.behind() > crowd {
					<-ticks.C
				}
				organization := tenant(min(d.random.below(tenants), d.random.below(tenants)))
				id := fmt.Sprintf("doc_%06d", numbers.Add(1))
				d.write(organization, id, "submitted")
				d.write(organization, id, "processed")
			}
		})
	}
	wait.Wait()
}

// settled reports whether no delivery waits.
func (w *world) settled() bool {
	log := &dynamo.Deliveries{Client: w.dynamo, Table: "DeliveriesTable"}
	for shard := range webhook.WakeShards {
		if _, all, err := log.Count(w.t.Context(), shard, w.now()); err != nil || all > 0 {
			return false
		}
	}
	return true
}

// everything is collect, with the dead letters, which this takes out of their queue, and with the configs that exist though
// the answer to their creation was lost.
func (w *world) everything() (*ledgers, error) {
	configs, err := scan[struct {
		OrganizationID string `dynamodbav:"organization_id"`
		ID             string `dynamodbav:"id"`
		URL            string `dynamodbav:"url"`
	}](w, "ConfigsTable")
	if err != nil {
		return nil, err
	}
	for _, c := range configs {
		if !slices.ContainsFunc(w.configs, func(known *config) bool { return known.id == c.ID }) {
			endpoint := strings.TrimPrefix(c.URL, w.receivers.url+"/")
			w.configs = append(w.configs, &config{organization: c.OrganizationID, id: c.ID, endpoint: endpoint, created: time.Now()})
		}
	}
	l, err := w.collect()
	if err != nil {
		return nil, err
	}
	l.dead, err = w.deadLetters()
	return l, err
}

// deadLetters reads the dead-letter queue. An answer may be lost on a busy machine: what it had is visible again after a while.
func (w *world) deadLetters() (dead []webhook.Message, err error) {
	queue, all := w.Queues[deadLetterQueue].URL, w.depth(deadLetterQueue).all()
	read := map[string]bool{}
	for deadline := time.Now().Add(2 * patience); len(read) < all; {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d dead letters were read", len(read), all)
		}
		got, err := w.sqs.ReceiveMessage(w.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &queue, MaxNumberOfMessages: 10, VisibilityTimeout: int32(w.queued(patience).Seconds()), WaitTimeSeconds: 1,
		})
		if err != nil {
			return nil, fmt.Errorf("reading dead letters: %w", err)
		}
		for _, m := range got.Messages {
			if read[aws.ToString(m.MessageId)] {
				continue
			}
			read[aws.ToString(m.MessageId)] = true
			message, err := webhook.ParseMessage(aws.ToString(m.Body), w.now().Add(time.Hour))
			if err != nil {
				return nil, fmt.Errorf("a dead letter: %w: %s", err, aws.ToString(m.Body))
			}
			dead = append(dead, message)
		}
	}
	return dead, nil
}
