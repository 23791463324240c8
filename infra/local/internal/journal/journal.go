// Package journal remembers what flows through the stack, for the page that shows it: a document's
// change, the messages that it causes, the attempts made with them, and what came of them.
//
// A Journal puts together what it is told from four sides: the stream of documents (Changed), the
// queues (Queued), the demo's endpoint (Arrived), and the API's answer about a delivery, or about an
// event without one, which it fetches itself while somebody watches. What belongs together is found by the ids that travel: that
// of the event and that of the config. It holds the last flows only and never blocks those who tell:
// when more happens than it can take, it counts what it has passed over.
package journal

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	keptFlows    = 100  // a page of flows; older ones are forgotten
	keptSteps    = 60   // of one message, and requests of one delivery
	keptBody     = 4096 // bytes of a request
	queuedEvents = 512  // that wait to be taken in
	takePause    = 25 * time.Millisecond
	takeRate     = 2000        // events a second, about
	askPause     = time.Second // between two questions whether an event without a message was recorded
	maxQuestions = 10
)

// Change is a change of a document, as its stream tells it.
type Change struct {
	EventID        string // of the webhook event that comes of it
	OrganizationID string
	DocumentID     string
	Status         string
	PreviousStatus string // "" for a new document
	At             time.Time
}

// Details are what the API tells about a delivery.
type Details struct {
	Status        string
	Trigger       string
	NextAttemptAt webhook.Time
	Attempts      []Attempt
}

// Attempt is one attempt as the API tells it.
type Attempt struct {
	Number          int          `json:"number"`
	StartedAt       webhook.Time `json:"started_at"`
	DurationMS      int64        `json:"duration_ms"`
	ResponseStatus  *int         `json:"response_status"`
	ErrorCode       *string      `json:"error_code"`
	Error           *string      `json:"error"`
	ResponseSnippet *string      `json:"response_snippet"`
}

// API is asked as the organization.
type API interface {
	// Delivery returns a delivery's details; nil, nil if there is no such delivery yet.
	Delivery(ctx context.Context, organizationID, deliveryID string) (*Details, error)
	// Recorded reports whether an event is in the record of events.
	Recorded(ctx context.Context, organizationID, eventID string) (bool, error)
}

// Options configure a Journal.
type Options struct {
	// DeadLetterQueues are the names of the queues that take dead letters.
	DeadLetterQueues []string
	// Functions are the names of the functions by access key.
	Functions map[string]string
	// Clock is the stack's; the machine's by default.
	Clock *clock.Clock
}

// Journal is what has flowed lately. Its methods may be called concurrently.
type Journal struct {
	options Options
	events  chan sqs.Event
	wake    chan struct{} // something is stale and somebody watches

	mu          sync.Mutex
	flows       map[string]*flow // by event id
	order       []*flow          // the oldest first
	messages    map[string]reference
	subscribers map[*Subscription]bool
	stale       []*delivery // to be fetched
	serial      int
	passedOver  int
}

// reference is where a message is kept.
type reference struct {
	flow     *flow
	delivery *delivery
	message  *Message
}

// New makes an empty Journal.
func New(options Options) *Journal {
	if options.Clock == nil {
		options.Clock = clock.New(1, nil)
	}
	return &Journal{
		options:     options,
		events:      make(chan sqs.Event, queuedEvents),
		wake:        make(chan struct{}, 1),
		flows:       map[string]*flow{},
		messages:    map[string]reference{},
		subscribers: map[*Subscription]bool{},
	}
}

// Queued tells of a message. It never blocks, and so may be called while a queue is locked.
func (j *Journal) Queued(e sqs.Event) {
	select {
	case j.events <- e:
	default:
		j.PassOver(1)
	}
}

// PassOver counts what has happened and will not be shown.
func (j *Journal) PassOver(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.passedOver += n
}

// PassedOver is how many steps could not be shown, because too much happened at once.
func (j *Journal) PassedOver() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.passedOver
}

// Run takes in what it is told until ctx ends.
func (j *Journal) Run(ctx context.Context, api API) {
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { j.fetch(ctx, api) })
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case e := <-j.events:
			j.take(e)
		}
		// All that waits, and then a pause: that bounds the work, however much happens.
		waiting := len(j.events)
		for range waiting {
			j.take(<-j.events)
		}
		pause.Reset(max(takePause, time.Duration(waiting)*time.Second/takeRate))
	}
}

// Changed tells of a document's change.
func (j *Journal) Changed(c Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.flow(c.EventID, c.At)
	f.OrganizationID, f.DocumentID, f.Status, f.PreviousStatus = c.OrganizationID, c.DocumentID, c.Status, c.PreviousStatus
	f.Changed = true
	f.At = c.At
	j.touch(f)
}

// take takes in what happened to a message. One that is none of this system's is passed over: it is
// seen in the depth of its queue.
func (j *Journal) take(e sqs.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	known, ok := j.messages[e.MessageID]
	if !ok && e.FormerID != "" {
		if known, ok = j.messages[e.FormerID]; ok { // redriven: the same message under a new id
			delete(j.messages, e.FormerID)
			known.message.ID = e.MessageID
			j.messages[e.MessageID] = known
		}
	}
	if !ok {
		m, err := webhook.ParseMessage(e.Body, e.Time)
		if err != nil {
			return
		}
		known = j.begin(m, e)
	}
	j.step(known.message, e)
	switch e.Kind {
	case sqs.EventDeleted, sqs.EventReturned, sqs.EventMoved, sqs.EventExpired:
		j.outdate(known.delivery)
	}
	j.touch(known.flow)
}

// begin remembers a message that is new to the journal.
func (j *Journal) begin(m webhook.Message, e sqs.Event) reference {
	f := j.flow(m.Event.ID, e.Time)
	if !f.Changed {
		f.OrganizationID, f.DocumentID = m.OrganizationID, m.Event.DocumentID
		f.Status, f.PreviousStatus, f.Test = string(m.Event.Status), string(m.Event.PreviousStatus), m.Event.Test
	}
	d := f.delivery(m.ConfigID)
	d.Trigger = string(m.Trigger)
	message := &Message{
		ID: e.MessageID, Sender: j.options.Functions[e.AccessKey], Trigger: string(m.Trigger), Round: m.Round, Attempt: m.Attempt,
		NotBefore: m.NotBefore.Time, Again: m.Again,
	}
	d.Messages = append(d.Messages, message)
	known := reference{f, d, message}
	j.messages[e.MessageID] = known
	return known
}

// step moves a message on.
func (j *Journal) step(m *Message, e sqs.Event) {
	s := Step{Kind: string(e.Kind), At: e.Time, Queue: nameOf(e.QueueARN), Receives: e.ReceiveCount}
	if !e.VisibleAt.IsZero() && e.Kind != sqs.EventDeleted {
		s.VisibleAt = &e.VisibleAt
	}
	if e.FromARN != "" {
		s.From = nameOf(e.FromARN)
	}
	m.Steps = append(m.Steps, s)
	m.Steps = m.Steps[max(0, len(m.Steps)-keptSteps):]
	m.Queue, m.VisibleAt = s.Queue, nil
	switch e.Kind {
	case sqs.EventSent:
		m.State = StateQueued
		if e.VisibleAt.After(e.Time) {
			m.State, m.VisibleAt = StateWaiting, s.VisibleAt
		}
	case sqs.EventReceived:
		m.State = StateInFlight
	case sqs.EventReturned:
		m.State, m.VisibleAt = StateWaiting, s.VisibleAt
	case sqs.EventDeleted:
		m.State = StateDone
	case sqs.EventExpired:
		m.State = StateExpired
	case sqs.EventMoved:
		m.State = StateQueued
		if slices.Contains(j.options.DeadLetterQueues, s.Queue) {
			m.State = StateDead
		}
	}
}

// flow returns the flow of an event, which it begins where there is none.
func (j *Journal) flow(eventID string, at time.Time) *flow {
	if f := j.flows[eventID]; f != nil {
		return f
	}
	j.serial++
	f := &flow{clock: j.options.Clock, Flow: Flow{ID: eventID, Serial: j.serial, At: at}}
	j.flows[eventID] = f
	j.order = append(j.order, f)
	if len(j.order) > keptFlows {
		j.forget(j.order[0])
	}
	return f
}

func (j *Journal) forget(f *flow) {
	j.order = j.order[1:]
	delete(j.flows, f.ID)
	for _, d := range f.deliveries {
		for _, m := range d.Messages {
			delete(j.messages, m.ID)
		}
	}
	for s := range j.subscribers {
		delete(s.changed, f)
	}
}

// touch makes a flow known to all who watch.
func (j *Journal) touch(f *flow) {
	for s := range j.subscribers {
		s.add(f)
	}
}

// outdate notes that a delivery's details are to be fetched, once somebody watches.
func (j *Journal) outdate(d *delivery) {
	if d.ID == "" || d.stale {
		return
	}
	d.stale = true
	j.stale = append(j.stale, d)
	j.stale = j.stale[max(0, len(j.stale)-keptFlows):]
	if len(j.subscribers) > 0 {
		j.poke()
	}
}

func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// fetch fetches what is stale, one delivery after the other, while somebody watches.
func (j *Journal) fetch(ctx context.Context, api API) {
	ask := time.NewTicker(askPause)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ask.C:
			j.ask(ctx, api)
		case <-j.wake:
		}
		for d := j.nextStale(); d != nil && ctx.Err() == nil; d = j.nextStale() {
			details, err := api.Delivery(ctx, d.flow.OrganizationID, d.ID)
			j.mu.Lock()
			if err != nil {
				d.Problem = err.Error()
			} else if details != nil {
				d.Problem, d.details = "", *details
			}
			j.touch(d.flow)
			j.mu.Unlock()
		}
	}
}

// ask asks about the changes without a message whether they were recorded, which tells that nobody wanted them,
// while somebody watches. What is not recorded after some questions is none that the system knows.
func (j *Journal) ask(ctx context.Context, api API) {
	j.mu.Lock()
	var open []*flow
	for _, f := range j.order {
		if f.Changed && !f.Recorded && len(f.deliveries) == 0 && f.questions < maxQuestions && len(j.subscribers) > 0 {
			f.questions++
			open = append(open, f)
		}
	}
	j.mu.Unlock()
	for _, f := range open {
		if recorded, err := api.Recorded(ctx, f.OrganizationID, f.ID); err == nil && recorded {
			j.mu.Lock()
			f.Recorded = true
			j.touch(f)
			j.mu.Unlock()
		}
	}
}

func (j *Journal) nextStale() *delivery {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.stale) == 0 || len(j.subscribers) == 0 {
		return nil
	}
	d := j.stale[len(j.stale)-1] // the latest is what people look at
	j.stale = j.stale[:len(j.stale)-1]
	d.stale = false
	return d
}

// Subscribe begins to watch. The first Next returns all flows. Close must be called.
func (j *Journal) Subscribe() *Subscription {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &Subscription{journal: j, changed: map[*flow]bool{}, wake: make(chan struct{}, 1)}
	j.subscribers[s] = true
	for _, f := range j.order {
		s.add(f)
	}
	j.poke()
	return s
}

// Subscription is somebody who watches. It is for one goroutine.
type Subscription struct {
	journal *Journal
	changed map[*flow]bool // guarded by the journal's lock
	wake    chan struct{}
}

func (s *Subscription) add(f *flow) {
	s.changed[f] = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Changed has a value when Take has something to return.
func (s *Subscription) Changed() <-chan struct{} { return s.wake }

// Take returns the flows that have changed since the last time, each as it is now, the oldest first.
// However slow somebody is, there is never more to take than the journal holds.
func (s *Subscription) Take() []Flow {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	flows := make([]Flow, 0, len(s.changed))
	for f := range s.changed {
		flows = append(flows, f.view())
	}
	clear(s.changed)
	slices.SortFunc(flows, func(a, b Flow) int { return cmp.Compare(a.Serial, b.Serial) })
	return flows
}

// Close ends the watching.
func (s *Subscription) Close() {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	delete(s.journal.subscribers, s)
}
