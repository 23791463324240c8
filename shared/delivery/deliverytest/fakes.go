package deliverytest

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Store is a delivery.Store whose calls a test may replace.
type Store struct {
	OnLoad   func(ctx context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error)
	OnRecord func(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded
	OnStart  func(ctx context.Context, outcome webhook.Outcome) webhook.Recorded
}

// Load implements delivery.Store.
func (s *Store) Load(ctx context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
	return s.OnLoad(ctx, keys)
}

// Record implements delivery.Store.
func (s *Store) Record(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
	return s.OnRecord(ctx, outcomes)
}

// Start implements delivery.Store.
func (s *Store) Start(ctx context.Context, outcome webhook.Outcome) webhook.Recorded {
	return s.OnStart(ctx, outcome)
}

// Failing returns the answer of a Store that could record nothing.
func Failing(outcomes []webhook.Outcome) []webhook.Recorded {
	recorded := make([]webhook.Recorded, len(outcomes))
	for i := range recorded {
		recorded[i].Err = ErrAway
	}
	return recorded
}

// WaitingList is a delivery.WaitingList whose calls a test may replace.
type WaitingList struct {
	OnDue   func(ctx context.Context, shard int, until time.Time, after *webhook.Wake, limit int) ([]webhook.Wake, error)
	OnPush  func(ctx context.Context, entry webhook.Wake, to webhook.Time) (*webhook.Delivery, error)
	OnCount func(ctx context.Context, shard int, until time.Time) (due, all int, err error)
}

// Due implements delivery.WaitingList.
func (w *WaitingList) Due(
	ctx context.Context, shard int, until time.Time, after *webhook.Wake, limit int,
) ([]webhook.Wake, error) {
	return w.OnDue(ctx, shard, until, after, limit)
}

// Push implements delivery.WaitingList.
func (w *WaitingList) Push(ctx context.Context, entry webhook.Wake, to webhook.Time) (*webhook.Delivery, error) {
	return w.OnPush(ctx, entry, to)
}

// Count implements delivery.WaitingList.
func (w *WaitingList) Count(ctx context.Context, shard int, until time.Time) (due, all int, err error) {
	return w.OnCount(ctx, shard, until)
}

// Poster makes no requests and remembers them.
type Poster struct {
	Now      func() time.Time
	OnPost   func(ctx context.Context, r endpoint.Request) endpoint.Result // nil for Success
	OnRested func()                                                        // nil for nothing

	mu    sync.Mutex
	posts []Post
}

// Post is an attempt that was made.
type Post struct {
	At      time.Time
	Request endpoint.Request
}

// Post implements delivery.Poster.
func (p *Poster) Post(ctx context.Context, r endpoint.Request) endpoint.Result {
	p.mu.Lock()
	p.posts = append(p.posts, Post{At: p.Now(), Request: r})
	p.mu.Unlock()
	if p.OnPost == nil {
		return Success()
	}
	return p.OnPost(ctx, r)
}

// Rested implements delivery.Poster.
func (p *Poster) Rested() {
	if p.OnRested != nil {
		p.OnRested()
	}
}

// Posts returns the attempts that were made, in their order.
func (p *Poster) Posts() []Post {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Post(nil), p.posts...)
}

// Success is the result of an attempt that was answered well and quickly.
func Success() endpoint.Result {
	return endpoint.Result{Status: 200, Duration: 20 * time.Millisecond}
}

// Failure is the result of an attempt that was answered with another status than 2xx, quickly.
func Failure(status int) endpoint.Result {
	return endpoint.Result{Status: status, Code: endpoint.CodeHTTPStatus, Error: "the endpoint answered", Duration: 20 * time.Millisecond}
}

// Answers returns an OnPost that gives results one after the other, and Success when they have run out.
func Answers(results ...endpoint.Result) func(context.Context, endpoint.Request) endpoint.Result {
	var mu sync.Mutex
	return func(context.Context, endpoint.Request) endpoint.Result {
		mu.Lock()
		defer mu.Unlock()
		if len(results) == 0 {
			return Success()
		}
		result := results[0]
		results = results[1:]
		return result
	}
}

// Always returns an OnPost that gives one result.
func Always(result endpoint.Result) func(context.Context, endpoint.Request) endpoint.Result {
	return func(context.Context, endpoint.Request) endpoint.Result { return result }
}

// Health keeps what results mean for the configs of a Log, and remembers in words what it was asked for.
type Health struct {
	Log     *Log
	OnCount func() (int, time.Time, error) // nil to count in the config
	Err     error                          // what every call errors with, without effect

	mu    sync.Mutex
	calls []string
}

// Calls returns what it was asked for.
func (h *Health) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.calls...)
}

func (h *Health) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, what)
}

// Deactivate implements delivery.Health.
func (h *Health) Deactivate(_ context.Context, c *webhook.Config, reason string, _ time.Time) (bool, error) {
	h.note("deactivate " + reason)
	if h.Err != nil {
		return false, h.Err
	}
	done := false
	h.Log.ChangeConfig(c.ID, func(there *webhook.Config) {
		if there.Active && there.Version == c.Version {
			there.Active, there.DeactivatedReason, there.Version = false, reason, c.Version+1
		}
		done = there.DeactivatedReason == reason && there.Version == c.Version+1
	})
	if done {
		c.Active = false
	}
	return done, nil
}

// CountFailure implements delivery.Health.
func (h *Health) CountFailure(_ context.Context, c *webhook.Config, now time.Time) (count int, since time.Time, err error) {
	h.note("count")
	if h.Err != nil || h.OnCount == nil && h.Log.Config(c.ID).ID == "" {
		return 0, now, h.Err
	}
	if h.OnCount != nil {
		return h.OnCount()
	}
	h.Log.ChangeConfig(c.ID, func(there *webhook.Config) {
		there.FailureCount++
		if there.FailingSince.IsZero() {
			there.FailingSince = webhook.At(now)
		}
		count, since = there.FailureCount, there.FailingSince.Time
	})
	return count, since, nil
}

// ResetFailures implements delivery.Health.
func (h *Health) ResetFailures(_ context.Context, c *webhook.Config) error {
	h.note("reset")
	h.Log.ChangeConfig(c.ID, func(there *webhook.Config) { there.FailureCount, there.FailingSince = 0, webhook.Time{} })
	return h.Err
}

// SetLane implements delivery.Health.
func (h *Health) SetLane(_ context.Context, c *webhook.Config, lane webhook.Lane) error {
	h.note(string(lane))
	if h.Err != nil {
		return h.Err
	}
	h.Log.ChangeConfig(c.ID, func(there *webhook.Config) {
		if there.URL == c.URL && lane == webhook.FastLane {
			there.FastUntil = c.FastUntil
		} else if there.URL == c.URL {
			there.SlowUntil = c.SlowUntil
		}
	})
	return nil
}

// Credentials opens what is sealed as Sealed and PreviousSealed, and nothing else.
type Credentials struct {
	Err error // what every call errors with: the keyring cannot be read
}

// What Credentials opens.
const (
	Sealed         = "sealed"
	PreviousSealed = "sealed before"
)

// Current are the credentials that Sealed opens to.
func Current() signature.Credentials {
	return signature.Credentials{
		Token:  "whtok_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		Secret: "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
	}
}

// Previous are the credentials that PreviousSealed opens to.
func Previous() signature.Credentials {
	return signature.Credentials{
		Token:  "whtok_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
		Secret: "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
	}
}

// Open implements delivery.Credentials.
func (c *Credentials) Open(_ context.Context, sealed, _, _ string) (signature.Credentials, error) {
	switch {
	case c.Err != nil:
		return signature.Credentials{}, c.Err
	case sealed == Sealed:
		return Current(), nil
	case sealed == PreviousSealed:
		return Previous(), nil
	}
	return signature.Credentials{}, keyring.ErrSealed
}

// Metrics remembers what was counted, by name and value.
type Metrics struct {
	mu     sync.Mutex
	counts map[string]int
}

// Add implements delivery.Metrics.
func (m *Metrics) Add(name string, n int) { m.AddBy("", "", name, n) }

// AddBy implements delivery.Metrics.
func (m *Metrics) AddBy(_, value, name string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = map[string]int{}
	}
	m.counts[strings.TrimSpace(name+" "+value)] += n
}

// Observe implements delivery.Metrics.
func (m *Metrics) Observe(name string, _ time.Duration) { m.Add(name, 1) }

// Flush implements delivery.Metrics.
func (m *Metrics) Flush() { m.Add("flushed", 1) }

// Count returns what was counted by a name, or a name and a value: "Deliveries failed".
func (m *Metrics) Count(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[name]
}
