package dynamodb

import (
	"strconv"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// tree is an ordered map from encoded keys.
type tree[V any] struct {
	btree.Map[string, V]
}

// between visits the values with low <= key < high ("" is no bound) in order, or from the highest,
// until visit returns false.
func (t *tree[V]) between(low, high string, forward bool, visit func(key string, value V) bool) {
	if forward {
		t.Ascend(low, func(key string, value V) bool {
			return (high == "" || key < high) && visit(key, value)
		})
		return
	}
	down := func(key string, value V) bool {
		if high != "" && key >= high {
			return true // only the bound itself
		}
		return key >= low && visit(key, value)
	}
	if high == "" {
		t.Reverse(down)
	} else {
		t.Descend(high, down)
	}
}

// table holds the rows of a table. Rows, and the items in them, are immutable.
type table struct {
	schema  Schema
	key     keySchema
	indexes []*index
	stream  *Stream // nil if there is none
	created time.Time

	mu   sync.RWMutex // guards rows and those of the indexes; streams are written under it, so that their order is that of the writes
	rows tree[*row]
	size int // of all items
}

// row is a stored item.
type row struct {
	key     string
	item    attribute.Item
	size    int
	entries []*entry // in the order of the table's indexes; nil where the item is not in one
}

// itemOf returns the item of a row, or nil of nil.
func (r *row) itemOf() attribute.Item {
	if r == nil {
		return nil
	}
	return r.item
}

// keyOf encodes the key of an item that was checked.
func (t *table) keyOf(item attribute.Item) string {
	return string(t.key.encode(make([]byte, 0, 96), item))
}

// newRow checks a normalised item and prepares it for storing. It needs no lock.
func (t *table) newRow(item attribute.Item, tooLarge string) (*row, error) {
	if err := t.key.checkItem(item); err != nil {
		return nil, err
	}
	r := &row{item: item, size: item.Size(), entries: make([]*entry, len(t.indexes))}
	if r.size > maxItemSize {
		return nil, validation("%s", tooLarge)
	}
	r.key = t.keyOf(item)
	for i, x := range t.indexes {
		if err := x.checkItem(item); err != nil {
			return nil, err
		}
		r.entries[i] = x.entryOf(item, r.size)
	}
	return r, nil
}

// apply replaces the row old, which may be nil, by the row r, which may be nil, with everything that
// follows: indexes, stream. It returns what that costs. The caller holds the lock.
func (t *table) apply(old, r *row, now time.Time, by identity) capacity {
	c := capacity{table: t}
	switch {
	case r != nil:
		t.rows.Set(r.key, r)
	case old != nil:
		t.rows.Delete(old.key)
	}
	c.write(max(old.sizeOf(), r.sizeOf(), 1))
	t.size += r.sizeOf() - old.sizeOf()
	for i, x := range t.indexes {
		c.writeIndex(x, x.replace(old.entryIn(i), r.entryIn(i)))
	}
	if t.stream != nil {
		t.stream.append(old.itemOf(), r.itemOf(), now, by)
	}
	return c
}

func (r *row) sizeOf() int {
	if r == nil {
		return 0
	}
	return r.size
}

func (r *row) entryIn(i int) *entry {
	if r == nil {
		return nil
	}
	return r.entries[i]
}

// replace changes the index from one entry to another and returns the write units it takes: none
// for what stays as it was, two for an entry that moves.
func (x *index) replace(old, e *entry) (units float64) {
	switch {
	case old == nil && e == nil:
		return 0
	case old == nil:
		x.rows.Set(e.key, e)
		return writeUnits(e.size)
	case e == nil:
		x.rows.Delete(old.key)
		return writeUnits(old.size)
	case old.key != e.key:
		x.rows.Delete(old.key)
		x.rows.Set(e.key, e)
		return writeUnits(old.size) + writeUnits(e.size)
	}
	x.rows.Set(e.key, e)
	if attribute.EqualItems(old.item, e.item) {
		return 0
	}
	return writeUnits(max(old.size, e.size))
}

// get returns the row with a key, or nil.
func (t *table) get(key string) *row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.at(key)
}

// at is get for whoever holds the lock.
func (t *table) at(key string) *row {
	r, _ := t.rows.Get(key)
	return r
}

// expireStep is how many rows expire looks at before it lets others have the table.
const expireStep = 1000

// expire deletes the items whose time is over, and returns how many they were.
func (t *table) expire(now time.Time) (n int) {
	for from, more := "", t.schema.TTLAttribute != ""; more; {
		var expired int
		expired, from, more = t.expireFrom(from, now)
		n += expired
	}
	return n
}

// expireFrom is expire for some rows from a key on, and returns the key to go on from, if there are more.
func (t *table) expireFrom(key string, now time.Time) (n int, next string, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var expired []*row
	seen := 0
	t.rows.Ascend(key, func(key string, r *row) bool {
		if seen++; seen > expireStep {
			next, more = key, true
			return false
		}
		if isExpired(r.item[t.schema.TTLAttribute], now) {
			expired = append(expired, r)
		}
		return true
	})
	for _, r := range expired {
		t.apply(r, nil, now, timeToLive)
	}
	return len(expired), next, more
}

// isExpired is true of a number of seconds in the past; what is five years back or more AWS takes for a mistake.
func isExpired(v *attribute.Value, now time.Time) bool {
	if v == nil || v.N == nil {
		return false
	}
	seconds, err := strconv.ParseFloat(*v.N, 64)
	if err != nil {
		return false
	}
	age := float64(now.Unix()) - seconds
	return age >= 0 && age < 5*365*24*3600
}
