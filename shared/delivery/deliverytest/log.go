package deliverytest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// Log keeps configs and deliveries in memory as the tables do: an outcome is applied to what is there, whatever
// its writer has read. It is safe for concurrent use; the zero Log is empty.
type Log struct {
	// Wrote is told of every write of a delivery: what was there before, nil for nothing, and after.
	Wrote func(before, after *webhook.Delivery)

	mu         sync.Mutex
	configs    map[string]webhook.Config
	deliveries map[place]webhook.Delivery
}

// place is the key of a delivery's item, which belongs to whoever wrote it first.
type place struct{ configID, eventID string }

func (p place) compare(q place) int {
	return cmp.Or(strings.Compare(p.configID, q.configID), strings.Compare(p.eventID, q.eventID))
}

// Clone returns a Log that holds the same and tells nobody of its writes.
func (l *Log) Clone() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Log{configs: maps.Clone(l.configs), deliveries: maps.Clone(l.deliveries)}
}

// SetConfig puts a config.
func (l *Log) SetConfig(c webhook.Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.configs == nil {
		l.configs = map[string]webhook.Config{}
	}
	l.configs[c.ID] = c
}

// ChangeConfig changes a config in place. It does nothing if there is none.
func (l *Log) ChangeConfig(id string, change func(*webhook.Config)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.configs[id]; ok {
		change(&c)
		l.configs[id] = c
	}
}

// RemoveConfig removes a config, as its tombstone's time to live does.
func (l *Log) RemoveConfig(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.configs, id)
}

// Config returns a config, the zero one if there is none.
func (l *Log) Config(id string) webhook.Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.configs[id]
}

// Set puts a delivery.
func (l *Log) Set(d webhook.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(d)
}

// Remove removes a delivery, as its time to live does.
func (l *Log) Remove(configID, eventID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.deliveries, place{configID, eventID})
}

// Get returns a delivery of an organization. It errors with webhook.ErrNotFound.
func (l *Log) Get(_ context.Context, organizationID, configID, eventID string) (*webhook.Delivery, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.get(place{configID, eventID}); d != nil && d.OrganizationID == organizationID {
		return d, nil
	}
	return nil, webhook.ErrNotFound
}

// All returns all deliveries in the order of their keys.
func (l *Log) All() []webhook.Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []webhook.Delivery
	for _, key := range l.places() {
		all = append(all, l.deliveries[key])
	}
	return all
}

// NextWake returns the earliest WakeAt, the zero time if nothing waits.
func (l *Log) NextWake() time.Time {
	var first time.Time
	for _, d := range l.All() {
		if d.Waiting() && (first.IsZero() || d.WakeAt.Before(first)) {
			first = d.WakeAt.Time
		}
	}
	return first
}

func (l *Log) places() []place {
	var all []place
	for key := range l.deliveries {
		all = append(all, key)
	}
	slices.SortFunc(all, place.compare)
	return all
}

func (l *Log) get(key place) *webhook.Delivery {
	if d, ok := l.deliveries[key]; ok {
		return &d
	}
	return nil
}

func (l *Log) set(d webhook.Delivery) {
	if l.deliveries == nil {
		l.deliveries = map[place]webhook.Delivery{}
	}
	key := place{d.ConfigID, d.Event.ID}
	before := l.get(key)
	l.deliveries[key] = d
	if l.Wrote != nil {
		l.Wrote(before, &d)
	}
}

// Load implements delivery.Store.
func (l *Log) Load(_ context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	loaded := map[webhook.Key]webhook.Loaded{}
	for _, k := range keys {
		var one webhook.Loaded
		if c, ok := l.configs[k.ConfigID]; ok && c.OrganizationID == k.OrganizationID {
			one.Config = &c
		}
		if d := l.get(place{k.ConfigID, k.EventID}); d != nil && d.OrganizationID == k.OrganizationID {
			one.Delivery = d
		}
		loaded[k] = one
	}
	return loaded, nil
}

// Record implements delivery.Store.
func (l *Log) Record(_ context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
	l.mu.Lock()
	defer l.mu.Unlock()
	var recorded []webhook.Recorded
	for _, o := range outcomes {
		there := l.get(placeOf(o))
		switch {
		case isForeign(there, o):
			recorded = append(recorded, foreign())
		case there.Holds(o): // the answer to an earlier call was lost
			_, counts := o.Known.After(o)
			recorded = append(recorded, webhook.Recorded{Delivery: there, Counts: counts})
		default:
			recorded = append(recorded, l.write(there, o))
		}
	}
	return recorded
}

// Start implements delivery.Store.
func (l *Log) Start(_ context.Context, o webhook.Outcome) webhook.Recorded {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := l.get(placeOf(o))
	switch {
	case isForeign(there, o):
		return foreign()
	case there.Holds(o):
		return webhook.Recorded{Delivery: there, Counts: true}
	case (there == nil) != (o.Known == nil), there != nil && there.Revision != o.Known.Revision:
		return webhook.Recorded{Delivery: there, Err: webhook.ErrConflict}
	}
	return l.write(there, o)
}

func (l *Log) write(there *webhook.Delivery, o webhook.Outcome) webhook.Recorded {
	after, counts := there.After(o)
	if there == nil || after.Revision != there.Revision {
		l.set(after)
	}
	return webhook.Recorded{Delivery: &after, Counts: counts}
}

func placeOf(o webhook.Outcome) place { return place{o.Message.ConfigID, o.Message.Event.ID} }

func isForeign(d *webhook.Delivery, o webhook.Outcome) bool {
	return d != nil && d.OrganizationID != o.Message.OrganizationID
}

func foreign() webhook.Recorded {
	return webhook.Recorded{Err: fmt.Errorf("%w: it is another organization's", webhook.ErrNotFound)}
}

// Due implements delivery.WaitingList.
func (l *Log) Due(_ context.Context, shard int, until time.Time, after *webhook.Wake, limit int) ([]webhook.Wake, error) {
	var page []webhook.Wake
	for _, w := range l.waiting(shard) {
		if !w.WakeAt.After(until) && (after == nil || compareWakes(w, *after) > 0) && len(page) < limit {
			page = append(page, w)
		}
	}
	return page, nil
}

// waiting returns the entries of a shard, the earliest first.
func (l *Log) waiting(shard int) []webhook.Wake {
	var all []webhook.Wake
	for _, d := range l.All() {
		if d.Waiting() && webhook.WakeShard(d.ConfigID, d.Event.ID) == shard {
			all = append(all, webhook.Wake{
				ConfigID: d.ConfigID, EventID: d.Event.ID, WakeAt: d.WakeAt, NextAttemptAt: d.NextAttemptAt,
			})
		}
	}
	slices.SortFunc(all, compareWakes)
	return all
}

func compareWakes(a, b webhook.Wake) int {
	return cmp.Or(a.WakeAt.Compare(b.WakeAt.Time), place{a.ConfigID, a.EventID}.compare(place{b.ConfigID, b.EventID}))
}

// Push implements delivery.WaitingList.
func (l *Log) Push(_ context.Context, entry webhook.Wake, to webhook.Time) (*webhook.Delivery, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.get(place{entry.ConfigID, entry.EventID})
	if d == nil || !d.Waiting() || !d.WakeAt.Equal(entry.WakeAt.Time) {
		return nil, nil
	}
	d.WakeAt = to
	l.set(*d)
	return d, nil
}

// Count implements delivery.WaitingList.
func (l *Log) Count(_ context.Context, shard int, until time.Time) (due, all int, err error) {
	for _, w := range l.waiting(shard) {
		all++
		if !w.WakeAt.After(until) {
			due++
		}
	}
	return due, all, nil
}
