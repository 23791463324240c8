package model

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// kind is what a function asks of the platform.
type kind string

const (
	load       kind = "load"
	open       kind = "open"
	start      kind = "start"
	post       kind = "post"
	record     kind = "record"
	send       kind = "send"
	change     kind = "change visibility"
	lane       kind = "set lane"
	count      kind = "count failure"
	reset      kind = "reset failures"
	deactivate kind = "deactivate"
	push       kind = "push"
)

// call is one question and what it is about.
type call struct {
	kind    kind
	keys    []webhook.Key
	outcome webhook.Outcome
	request endpoint.Request
	message webhook.Message
	delay   time.Duration
	fast    bool // to DeliveryQueue
	changes []webhook.Visibility
	config  webhook.Config
	lane    webhook.Lane
	reason  string
	entry   webhook.Wake
	wake    webhook.Time
}

// shared reports whether the order of c and the calls of other functions matters: it reads and writes the log. A batch
// loads what it needs when it receives its messages, so that another order is another order of receives.
func (c *call) shared() bool { return c.kind == start || c.kind == record || c.kind == push }

// answer is what the platform said to a call.
type answer struct {
	at       time.Time
	err      error
	config   *webhook.Config   // of load
	delivery *webhook.Delivery // of load and push
	recorded webhook.Recorded
	result   endpoint.Result
	done     bool
	failures int
	since    time.Time
}

// line is what a function logged: its message and attributes.
type line struct {
	message string
	attrs   map[string]slog.Value
}

// script is what a function has been answered so far. A probe goes on from there: it runs the function from its
// beginning, gives it these answers and stops it at its next call.
type script struct {
	begun   time.Time
	answers []answer
}

// probe answers a function from a script. After the last answer of it nothing has any effect.
type probe struct {
	script
	next *call
	told []line // since the last answer

	mu   sync.Mutex
	at   int
	dead bool
	now  time.Time
}

func newProbe(s script) *probe { return &probe{script: s, now: s.begun} }

// ask returns the answer to c, false if there is none yet.
func (p *probe) ask(c call) (answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dead:
		return answer{err: deliverytest.ErrAway}, false
	case p.at == len(p.answers):
		p.dead, p.next = true, &c
		return answer{err: deliverytest.ErrAway}, false
	}
	a := p.answers[p.at]
	p.at++
	p.now = a.at
	return a, true
}

// Now is the time of the last answer.
func (p *probe) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// Load implements delivery.Store.
func (p *probe) Load(_ context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
	a, _ := p.ask(call{kind: load, keys: keys})
	if a.err != nil {
		return nil, a.err
	}
	loaded := webhook.Loaded{}
	if a.config != nil {
		config := *a.config // which the function may change
		loaded.Config = &config
	}
	if a.delivery != nil {
		item := *a.delivery
		loaded.Delivery = &item
	}
	return map[webhook.Key]webhook.Loaded{keys[0]: loaded}, nil
}

// Record implements delivery.Store.
func (p *probe) Record(_ context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
	a, ok := p.ask(call{kind: record, outcome: outcomes[0]})
	if !ok || a.err != nil {
		return deliverytest.Failing(outcomes)
	}
	return []webhook.Recorded{copied(a.recorded)}
}

// Start implements delivery.Store.
func (p *probe) Start(_ context.Context, o webhook.Outcome) webhook.Recorded {
	a, ok := p.ask(call{kind: start, outcome: o})
	if !ok || a.err != nil {
		return webhook.Recorded{Err: deliverytest.ErrAway}
	}
	return copied(a.recorded)
}

func copied(r webhook.Recorded) webhook.Recorded {
	if r.Delivery != nil {
		item := *r.Delivery
		r.Delivery = &item
	}
	return r
}

// Open implements delivery.Credentials.
func (p *probe) Open(context.Context, string, string, string) (signature.Credentials, error) {
	a, _ := p.ask(call{kind: open})
	return deliverytest.Current(), a.err
}

// Post implements delivery.Poster.
func (p *probe) Post(_ context.Context, r endpoint.Request) endpoint.Result {
	a, ok := p.ask(call{kind: post, request: r})
	if !ok {
		return deliverytest.Failure(500)
	}
	return a.result
}

// Rested implements delivery.Poster.
func (p *probe) Rested() {}

// Deactivate implements delivery.Health.
func (p *probe) Deactivate(_ context.Context, c *webhook.Config, reason string, _ time.Time) (bool, error) {
	a, _ := p.ask(call{kind: deactivate, config: *c, reason: reason})
	c.Active = c.Active && !a.done
	return a.done, a.err
}

// CountFailure implements delivery.Health.
func (p *probe) CountFailure(_ context.Context, c *webhook.Config, _ time.Time) (int, time.Time, error) {
	a, _ := p.ask(call{kind: count, config: *c})
	return a.failures, a.since, a.err
}

// ResetFailures implements delivery.Health.
func (p *probe) ResetFailures(_ context.Context, c *webhook.Config) error {
	a, _ := p.ask(call{kind: reset, config: *c})
	return a.err
}

// SetLane implements delivery.Health.
func (p *probe) SetLane(_ context.Context, c *webhook.Config, l webhook.Lane) error {
	a, _ := p.ask(call{kind: lane, config: *c, lane: l})
	return a.err
}

// Due implements delivery.WaitingList: the world asks for one entry at a time.
func (p *probe) Push(_ context.Context, entry webhook.Wake, to webhook.Time) (*webhook.Delivery, error) {
	a, _ := p.ask(call{kind: push, entry: entry, wake: to})
	return a.delivery, a.err
}

// probedQueue is one of the two queues of a probe.
type probedQueue struct {
	*probe
	fast bool
}

// Is implements delivery.Queue.
func (q probedQueue) Is(arn string) bool { return arn == "fast" && q.fast || arn == "slow" && !q.fast }

// SendOnce implements delivery.Queue.
func (q probedQueue) SendOnce(_ context.Context, m webhook.Message, delay time.Duration) error {
	a, _ := q.ask(call{kind: send, message: m, delay: delay, fast: q.fast})
	return a.err
}

// Send implements delivery.Sender for one message.
func (q probedQueue) Send(ctx context.Context, messages []webhook.Message) []error {
	if len(messages) == 0 {
		return nil
	}
	return []error{q.SendOnce(ctx, messages[0], 0)}
}

// ChangeVisibility implements delivery.Queue.
func (q probedQueue) ChangeVisibility(_ context.Context, changes []webhook.Visibility) error {
	a, _ := q.ask(call{kind: change, changes: changes, fast: q.fast})
	return a.err
}

// silent is metrics that nobody reads.
type silent struct{}

func (silent) Add(string, int)                   {}
func (silent) AddBy(string, string, string, int) {}
func (silent) Observe(string, time.Duration)     {}
func (silent) Flush()                            {}

// Enabled implements slog.Handler: what was logged before the last answer is known already.
func (p *probe) Enabled(context.Context, slog.Level) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.dead && p.at == len(p.answers)
}

// Handle implements slog.Handler.
func (p *probe) Handle(_ context.Context, r slog.Record) error {
	l := line{message: r.Message, attrs: map[string]slog.Value{}}
	r.Attrs(func(a slog.Attr) bool {
		l.attrs[a.Key] = a.Value
		return true
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, l)
	return nil
}

// WithAttrs implements slog.Handler.
func (p *probe) WithAttrs([]slog.Attr) slog.Handler { return p }

// WithGroup implements slog.Handler.
func (p *probe) WithGroup(string) slog.Handler { return p }

// failureThreshold is how many final failures in a row deactivate a config in the model.
const failureThreshold = 2

// deliver goes on with a batch: to its next call, or to its answer if there is none.
func (p *probe) deliver(records []delivery.Record, rushed bool) delivery.Answer {
	d := &delivery.Deliverer{
		Store:            p,
		Health:           p,
		DeliveryQueue:    probedQueue{probe: p, fast: true},
		RetryQueue:       probedQueue{probe: p},
		Credentials:      p,
		Poster:           p,
		Schedule:         delivery.Schedule{10 * time.Second, 5 * time.Minute, 90 * time.Minute, 22 * time.Hour},
		FailureThreshold: failureThreshold,
		Metrics:          silent{},
		Log:              slog.New(p),
		Now:              p.Now,
		MachineNow:       p.Now,
		Random:           func() float64 { return 0.5 },
	}
	ctx := context.Background()
	if rushed { // so little time is left that no attempt may start
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
	}
	answer, _ := d.Handle(ctx, delivery.Batch{Records: records})
	return answer
}

// sweep goes on with the sweep of one entry.
func (p *probe) sweep(entry webhook.Wake) {
	w := &deliverytest.WaitingList{
		OnDue: func(_ context.Context, shard int, until time.Time, after *webhook.Wake, _ int) ([]webhook.Wake, error) {
			if after != nil || shard != webhook.WakeShard(entry.ConfigID, entry.EventID) || entry.WakeAt.After(until) {
				return nil, nil
			}
			return []webhook.Wake{entry}, nil
		},
		OnPush:  p.Push,
		OnCount: func(context.Context, int, time.Time) (int, int, error) { return 0, 0, nil },
	}
	s := &delivery.Sweeper{Waiting: w, RetryQueue: probedQueue{probe: p}, Metrics: silent{}, Log: slog.New(p), Now: p.Now}
	_ = s.Handle(context.Background()) // what it could not do is in its lines
}
