package journal

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Flow is one event and all that came of it, as the page shows it.
type Flow struct {
	ID             string     `json:"id"`     // of the event
	Serial         int        `json:"serial"` // orders the flows as they began
	At             time.Time  `json:"at"`
	Changed        bool       `json:"changed"`  // a document's change was seen; else it began with a message
	Recorded       bool       `json:"recorded"` // known to be in the record of events; asked only where there is no message
	Test           bool       `json:"test"`
	OrganizationID string     `json:"organization_id"`
	DocumentID     string     `json:"document_id"`
	Status         string     `json:"status"`
	PreviousStatus string     `json:"previous_status"`
	Deliveries     []Delivery `json:"deliveries"`
}

// Delivery is what is known of the way to one config.
type Delivery struct {
	ID            string     `json:"id"` // "" for a request that belongs to no delivery
	ConfigID      string     `json:"config_id"`
	Outcome       string     `json:"outcome"`
	Trigger       string     `json:"trigger"`
	Problem       string     `json:"problem"`         // why its details are not known
	NextAttemptAt *time.Time `json:"next_attempt_at"` // as the log has it; there may be a message for it or not
	Attempts      []Try      `json:"attempts"`
	Messages      []Message  `json:"messages"`
}

// Try is an attempt as the log has it, or a request as the demo's endpoint has seen it, or both.
type Try struct {
	*Attempt
	Request *Request `json:"request"`
}

// The states of a message.
const (
	StateQueued   = "queued"
	StateInFlight = "in_flight"
	StateWaiting  = "waiting" // delayed, or to become visible again
	StateDone     = "done"
	StateDead     = "dead" // in a dead-letter queue
	StateExpired  = "expired"
)

// Outcomes of a delivery beside the statuses that the API knows.
const (
	OutcomeQueued     = "queued"
	OutcomeAttempting = "attempting"
	OutcomeWaiting    = "waiting" // for its round's first attempt, which something other than the endpoint holds up
	OutcomeDead       = "dead_letter"
	OutcomeUnknown    = "unknown"
)

// Message is a message in a queue, with its steps. It stands for one attempt of one round.
type Message struct {
	ID        string     `json:"id"`
	Sender    string     `json:"sender"` // a function; "" for anybody else
	Trigger   string     `json:"trigger"`
	Round     string     `json:"round"`
	Attempt   int        `json:"attempt"`
	NotBefore time.Time  `json:"not_before"`
	Again     bool       `json:"again"` // another message may stand for the same attempt
	State     string     `json:"state"`
	Queue     string     `json:"queue"`
	VisibleAt *time.Time `json:"visible_at"` // while it waits
	Steps     []Step     `json:"steps"`
}

// Step is one thing that happened to a message.
type Step struct {
	Kind      string     `json:"kind"`
	At        time.Time  `json:"at"`
	Queue     string     `json:"queue"`
	From      string     `json:"from,omitzero"`
	Receives  int        `json:"receives"`
	VisibleAt *time.Time `json:"visible_at,omitzero"`
}

// flow is a Flow in the making. The Journal's lock guards it.
type flow struct {
	Flow
	deliveries []*delivery
	questions  int // that were asked about its record
	clock      *clock.Clock
}

type delivery struct {
	flow     *flow
	ID       string
	ConfigID string
	Trigger  string
	Problem  string
	Messages []*Message
	requests []*Request
	details  Details
	stale    bool
}

// delivery returns the flow's delivery to a config, which it begins where there is none.
func (f *flow) delivery(configID string) *delivery {
	for _, d := range f.deliveries {
		if d.ConfigID == configID {
			return d
		}
	}
	d := &delivery{flow: f, ConfigID: configID}
	d.ID, _ = webhook.DeliveryID(configID, f.ID) // "" where one of them is no id
	f.deliveries = append(f.deliveries, d)
	return d
}

// view returns a copy that nobody changes any more.
func (f *flow) view() Flow {
	v := f.Flow
	v.Deliveries = make([]Delivery, 0, len(f.deliveries))
	for _, d := range f.deliveries {
		v.Deliveries = append(v.Deliveries, d.view())
	}
	return v
}

func (d *delivery) view() Delivery {
	v := Delivery{
		ID: d.ID, ConfigID: d.ConfigID, Outcome: d.outcome(), Trigger: d.Trigger, Problem: d.Problem, Attempts: d.tries(),
		Messages: make([]Message, 0, len(d.Messages)),
	}
	if !d.details.NextAttemptAt.IsZero() {
		v.NextAttemptAt = &d.details.NextAttemptAt.Time
	}
	for _, m := range d.Messages {
		copied := *m
		copied.Steps = slices.Clone(m.Steps)
		v.Messages = append(v.Messages, copied)
	}
	return v
}

// outcome says in one word how far it is: what its messages do now comes before what the log said last.
func (d *delivery) outcome() string {
	var last Message
	if len(d.Messages) > 0 {
		last = *d.Messages[len(d.Messages)-1]
	}
	switch {
	case last.State == StateInFlight:
		return OutcomeAttempting
	case last.State == StateQueued:
		return OutcomeQueued
	case last.State == StateDead:
		return OutcomeDead
	case last.State == StateWaiting && last.Attempt > 1:
		return string(webhook.Retrying)
	case last.State == StateWaiting:
		return OutcomeWaiting
	}
	return cmp.Or(d.details.Status, OutcomeUnknown)
}

// clockSlack is how much earlier than its attempt a request may seem to arrive on the machine's clock: the log has milliseconds.
const clockSlack = 2 * time.Millisecond

// tries puts the requests that have arrived to the attempts that made them, by their times. A
// request without an attempt is one that is still under way, or whose log entry is still to be fetched.
func (d *delivery) tries() []Try {
	tries := make([]Try, 0, len(d.requests))
	at := func(t Try) time.Time {
		if t.Attempt != nil {
			return t.StartedAt.Time
		}
		return t.Request.ArrivedAt
	}
	taken := make([]bool, len(d.requests))
	scaled := func(machine time.Duration) time.Duration {
		return time.Duration(float64(machine) * d.flow.clock.Scale())
	}
	slack := scaled(clockSlack)
	for i := range d.details.Attempts {
		a := d.details.Attempts[i]
		t := Try{Attempt: &a}
		end := a.StartedAt.Add(scaled(time.Duration(a.DurationMS)*time.Millisecond) + slack)
		for n, r := range d.requests {
			if !taken[n] && !r.ArrivedAt.Before(a.StartedAt.Add(-slack)) && !r.ArrivedAt.After(end) {
				taken[n], t.Request = true, new(*r)
				break
			}
		}
		tries = append(tries, t)
	}
	for n, r := range d.requests {
		if !taken[n] {
			tries = append(tries, Try{Request: new(*r)})
		}
	}
	slices.SortStableFunc(tries, func(a, b Try) int { return cmp.Compare(at(a).UnixNano(), at(b).UnixNano()) })
	return tries
}

// nameOf is the last part of a queue's ARN.
func nameOf(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }
