package soak

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/shared/webhook"
)

// deeds are what goes on while changes are written, and how often each was done.
type deeds struct {
	*world
	random *source
	stop   chan struct{}
	beside sync.WaitGroup

	counting sync.Mutex
	counts   map[string]int
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

// one returns one of several values.
func one[T any](s *source, of []T) T { return of[s.below(len(of))] }

// count notes that something was done.
func (d *deeds) count(what string, n int) {
	d.counting.Lock()
	defer d.counting.Unlock()
	d.counts[what] += n
}

// rest waits, and reports whether it goes on afterwards.
func (d *deeds) rest(long time.Duration) bool {
	select {
	case <-time.After(long):
		return true
	case <-d.stop:
		return false
	}
}

// repeat does something again and again until the end.
func (d *deeds) repeat(every time.Duration, f func()) {
	d.beside.Go(func() {
		for d.rest(every) {
			f()
		}
	})
}

// end waits until all that goes on has ended.
func (d *deeds) end() {
	close(d.stop)
	d.beside.Wait()
}

// insist makes a request until it succeeds, and returns the last answer and how often it asked, 0 if in vain. Under faults a
// request may have succeeded before it does so for the one who asks.
func (d *deeds) insist(c *config, method, path, kind, id string, attributes map[string]any) (got answer, asked int) {
	for try := range 100 {
		if got = d.call(c.organization, method, path, kind, id, attributes); got.status/100 == 2 {
			return got, try + 1
		}
		if method == http.MethodDelete && got.status == http.StatusNotFound { // it was deleted, and the answer lost
			return got, try + 1
		}
		<-time.After(300 * time.Millisecond) // the account may have no place for the function
	}
	d.t.Errorf("%s %s was answered %d at last: %s", method, path, got.status, got.body)
	return got, 0
}

// rotate rotates the secret of a config, with an overlap of minutes, an hour or a day.
func (d *deeds) rotate(c *config) {
	began := time.Now()
	path := fmt.Sprintf("/configs/%s/rotate-secret", c.id)
	overlap := one(d.random, []int{600, 3600, 86400})
	got, asked := d.insist(c, http.MethodPost, path, "webhook_config", c.id, map[string]any{"overlap_seconds": overlap})
	if asked == 0 {
		return
	}
	made := decode[struct{ Data struct{ Attributes shown } }](d.t, got).Data.Attributes
	d.mu.Lock()
	defer d.mu.Unlock()
	ends, err := time.Parse(time.RFC3339, made.OverlapEnds)
	if err != nil {
		d.t.Errorf("the end of an overlap: %v", err)
	}
	ends = d.machineTime(ends)
	if asked > 1 { // the answer to an earlier rotation may be lost, and its credentials with it
		c.doubtful = append(c.doubtful, span{from: began, to: ends})
	}
	if made.OverlapEnds == c.overlapEnds {
		ends = time.Now() // within an overlap the last ones are replaced, the previous ones stay
	}
	c.credentials[0].to, c.overlapEnds = ends, made.OverlapEnds
	c.credentials = slices.Insert(c.credentials, 0, issued{made.credentials(), span{from: began}})
	d.count("rotations", 1)
}

// activate makes a config active or inactive.
func (d *deeds) activate(c *config, active bool) {
	asked := time.Now()
	path := "/configs/" + c.id
	if _, asked := d.insist(c, http.MethodPatch, path, "webhook_config", c.id, map[string]any{"is_active": active}); asked == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if active {
		c.off[len(c.off)-1].to = asked
	} else {
		c.off = append(c.off, span{from: time.Now()})
	}
}

// pause makes a config inactive for a while, again and again.
func (d *deeds) pause(c *config) {
	d.beside.Go(func() {
		for d.rest(10 * time.Second) {
			d.activate(c, false)
			d.rest(batchTime + 5*time.Second)
			d.activate(c, true)
			d.count("pauses", 1)
		}
	})
}

// churn creates configs, gives each another URL after a while, and deletes it.
func (d *deeds) churn(organization, name string) {
	d.beside.Go(func() {
		for n := 0; d.rest(time.Second); n++ {
			c, _ := d.tryRegister(organization, fmt.Sprintf("%s_%d", name, n))
			if c == nil {
				continue // a fault; it may exist
			}
			d.count("configs created", 1)
			if d.rest(10 * time.Second) {
				d.move(c, fmt.Sprintf("%s_%d_moved", name, n))
			}
			if d.rest(10 * time.Second) {
				d.remove(c)
			}
		}
	})
}

// move gives a config another URL.
func (d *deeds) move(c *config, endpoint string) {
	d.mu.Lock()
	before := c.endpoint
	c.endpoint = endpoint
	c.former = append(c.former, former{endpoint: before})
	d.mu.Unlock()
	url := map[string]any{"url": d.receivers.url + "/" + endpoint}
	if _, asked := d.insist(c, http.MethodPatch, "/configs/"+c.id, "webhook_config", c.id, url); asked > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		c.former[len(c.former)-1].until = time.Now()
		d.count("URLs changed", 1)
	}
}

// remove deletes a config.
func (d *deeds) remove(c *config) {
	if _, asked := d.insist(c, http.MethodDelete, "/configs/"+c.id, "", "", nil); asked > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		c.off = append(c.off, span{from: time.Now()})
		d.count("configs deleted", 1)
	}
}

// resendOne sends one of the last deliveries of an organization again.
func (d *deeds) resendOne(organization string) {
	got := d.call(organization, http.MethodGet, "/deliveries?page[size]=20", "", "", nil)
	if got.status != http.StatusOK {
		return
	}
	list := decode[struct{ Data []delivery }](d.t, got).Data
	if len(list) == 0 {
		return
	}
	chosen := one(d.random, list).ID
	configID, eventID, err := webhook.ParseDeliveryID(chosen)
	if err != nil {
		d.t.Errorf("delivery %s: %v", chosen, err)
		return
	}
	d.mu.Lock()
	d.resends[[2]string{configID, eventID}]++
	d.mu.Unlock()
	if d.call(organization, http.MethodPost, "/deliveries/"+chosen+"/resend", "", "", nil).status == http.StatusAccepted {
		d.count("resends of a delivery", 1)
	}
}

// resendDocument sends a document's status, which somebody has accepted, to all configs of its organization.
func (d *deeds) resendDocument() {
	sent, ok := d.older(batchTime)
	if !ok {
		return
	}
	var id, status string
	fmt.Sscan(sent.change, &id, &status)
	c := d.owner(sent.endpoint)
	if c == nil {
		return
	}
	d.mu.Lock()
	d.resends[toAll(sent.event)]++
	d.mu.Unlock()
	got := d.call(c.organization, http.MethodPost, "/resend", "webhook_resend", "", map[string]any{"document_id": id})
	if got.status == http.StatusAccepted {
		d.count("resends of a document", 1)
	}
}

// order is a resend of a config's events of a period, on the stack's clock.
type order struct {
	config string
	span
}

// resendMany sends the events of a config again, those of the last minutes of the stack's clock and of the scope whose turn it
// is: the one of which fewest resends were accepted.
func (d *deeds) resendMany(c *config) {
	type selection struct {
		scope string
		since time.Duration
	}
	d.counting.Lock()
	before := maps.Clone(d.counts)
	d.counting.Unlock()
	asked := slices.MinFunc([]selection{{"all", 30 * time.Minute}, {"failed", time.Hour}, {"undelivered", 20 * time.Minute}},
		func(a, b selection) int {
			return cmp.Compare(before["resends of a period, scope "+a.scope], before["resends of a period, scope "+b.scope])
		})
	o := order{config: c.id, span: span{from: d.now().Add(-asked.since), to: d.now().Add(time.Hour)}}
	d.mu.Lock()
	d.ordered = append(d.ordered, o)
	d.mu.Unlock()
	got := d.call(c.organization, http.MethodPost, "/resend", "webhook_resend", "", map[string]any{
		"webhook_config_id": c.id, "since": o.from.UTC().Format(time.RFC3339), "scope": asked.scope,
	})
	if got.status == http.StatusAccepted {
		accepted := decode[struct{ Meta struct{ Accepted int } }](d.t, got).Meta.Accepted
		d.count("resends of a period, scope "+asked.scope, 1)
		d.count("resent by them", accepted)
	}
}

// redriveAll redrives what is in the dead-letter queue, as the console does, and reports whether it has begun to.
func (d *deeds) redriveAll() bool {
	if d.depth(deadLetterQueue).visible == 0 {
		return false
	}
	source := d.Queues[deadLetterQueue].ARN
	if _, err := d.sqs.StartMessageMoveTask(d.t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: &source}); err != nil {
		return false // another one is running
	}
	d.mu.Lock()
	d.redrives++
	d.mu.Unlock()
	d.count("redrives", 1)
	return true
}

// owner returns the config that leads, or has led, to an endpoint, nil if it is not known.
func (d *deeds) owner(endpoint string) *config {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.configs {
		if slices.Contains(c.endpoints(), endpoint) {
			return c
		}
	}
	return nil
}

// older returns a request that was accepted some time ago.
func (d *deeds) older(age time.Duration) (post, bool) {
	d.receivers.mu.Lock()
	defer d.receivers.mu.Unlock()
	for range 100 {
		if len(d.posts) == 0 {
			break
		}
		if p := one(d.random, d.posts); p.accepted && p.sequence != "" && time.Since(p.at) > age {
			return *p, true
		}
	}
	return post{}, false
}

// replay lets the command replay dispatch 20 changes again, as an operator does with what could not be dispatched in six hours.
func (d *deeds) replay() {
	sent, ok := d.older(batchTime)
	if !ok {
		return
	}
	first, ok := new(big.Int).SetString(sent.sequence, 10)
	if !ok {
		d.t.Errorf("the sequence %q is no number", sent.sequence)
		return
	}
	const records = 20
	pointer := fmt.Sprintf(`{"requestContext":{"condition":"RecordAgeExceeded"},"DDBStreamBatchInfo":{`+
		`"shardId":"shardId-00000000000000000000-00000000","startSequenceNumber":"%d","endSequenceNumber":"%d",`+
		`"approximateArrivalOfFirstRecord":"%s","batchSize":%d,"streamArn":%q}}`,
		first, new(big.Int).Add(first, big.NewInt(records-1)), sent.at.UTC().Format(time.RFC3339), records,
		d.Tables["DocumentsTable"].Stream)
	_, err := d.sqs.SendMessage(d.t.Context(), &sqs.SendMessageInput{
		QueueUrl: aws.String(d.Queues["DispatchFailureQueue"].URL), MessageBody: &pointer,
	})
	if err != nil {
		d.t.Errorf("sending a pointer: %v", err)
		return
	}
	if _, err := d.runReplay(); err == nil { // else the pointer stays, for the next one
		d.count("replays of 20 changes", 1)
	}
}

// runReplay runs the command replay, which errors if it leaves something.
func (w *world) runReplay() (said string, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	text, err := exec.CommandContext(ctx, replayer, "-endpoint", w.Endpoint).CombinedOutput()
	return string(text), err
}
