package sqs

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
)

// A group is noisy that has this many messages in flight and more than one part in noisyShare of all,
// or more than one part in noisyShare of the time that consumers have lately spent.
const (
	noisyInFlight = 30
	noisyShare    = 10
)

// recent is how long ago, on the machine's clock, processing time counts 1/e of what it counts now. AWS does not say.
const recent = time.Minute

// idleGroups is how many groups without messages are remembered for their processing time before any is forgotten.
const idleGroups = 1000

// usage is how many messages are in flight, and the time that messages have been in flight lately, in seconds.
type usage struct {
	inFlight int
	seconds  float64
	at       time.Time // when seconds was so
}

// advance brings the time up to now; what was long ago fades, as fast as window says.
func (u *usage) advance(now time.Time, window time.Duration) {
	left := math.Exp(-now.Sub(u.at).Seconds() / window.Seconds())
	u.seconds = u.seconds*left + float64(u.inFlight)*window.Seconds()*(1-left)
	u.at = now
}

// group is a tenant of a queue: the messages that share a MessageGroupId. The group "" collects those
// without one.
type group struct {
	usage
	id      string
	members int      // messages in the queue, in whatever state
	first   *message // the visible ones, a linked list in the order they became visible
	last    *message
	large   bool // which heap of the line it is in
	index   int  // there; -1 when nothing of it is visible
}

// busy says whether the group is in flight enough to be noisy, given its share.
func (g *group) busy() bool { return g.id != "" && g.inFlight >= noisyInFlight }

// line holds the visible messages of a queue and decides who is served next. Its owner guards it.
type line struct {
	clock  *clock.Clock
	groups map[string]*group
	small  ranking[*group] // groups that cannot be noisy by messages in flight, by their oldest visible message
	large  ranking[*group] // groups that can, by messages in flight
	size   int             // visible messages
	all    usage           // of all groups
	forget int             // when there are so many groups, those are forgotten that have neither messages nor time
}

func newLine(c *clock.Clock) *line {
	place := func(g *group, index int) { g.index = index }
	return &line{
		clock:  c,
		groups: map[string]*group{},
		forget: idleGroups,
		small:  newRanking(func(a, b *group) bool { return a.first.turn < b.first.turn }, place),
		large: newRanking(func(a, b *group) bool {
			if a.inFlight != b.inFlight {
				return a.inFlight < b.inFlight
			}
			return a.first.turn < b.first.turn
		}, place),
	}
}

// update brings the processing time of u up to now.
func (l *line) update(u *usage) {
	u.advance(l.clock.Now(), time.Duration(float64(recent)*l.clock.Scale()))
}

// slow says whether g has more than its share of the processing time. Equal shares differ by roundings.
func (l *line) slow(g *group) bool {
	if g.id == "" {
		return false
	}
	l.update(&g.usage)
	l.update(&l.all)
	return g.seconds*noisyShare > l.all.seconds*(1+1e-9)
}

// join makes m, which is not visible yet, a member of its group.
func (l *line) join(m *message) {
	g := l.groups[m.groupID]
	if g == nil {
		if len(l.groups) >= l.forget {
			l.prune()
		}
		g = &group{id: m.groupID, index: -1}
		l.groups[m.groupID] = g
	}
	g.members++
	m.group = g
}

// leave ends the membership of m, which is not visible.
func (l *line) leave(m *message) {
	m.group.members--
	m.group = nil
}

// prune forgets the groups without messages whose processing time is long ago.
func (l *line) prune() {
	for id, g := range l.groups {
		if l.update(&g.usage); g.members == 0 && g.seconds < 0.001 {
			delete(l.groups, id)
		}
	}
	l.forget = 2*len(l.groups) + idleGroups
}

// append puts m at the end of its group's line; turn must exceed that of every message before it.
func (l *line) append(m *message, turn uint64) {
	g := m.group
	m.turn, m.before, m.after = turn, g.last, nil
	if g.last != nil {
		g.last.after = m
	} else {
		g.first = m
	}
	g.last = m
	l.size++
	l.rank(g)
}

// remove takes m out of the visible ones.
func (l *line) remove(m *message) {
	g := m.group
	if m.before != nil {
		m.before.after = m.after
	} else {
		g.first = m.after
	}
	if m.after != nil {
		m.after.before = m.before
	} else {
		g.last = m.before
	}
	m.before, m.after = nil, nil
	l.size--
	l.rank(g)
}

// flying changes by how many messages of g are in flight.
func (l *line) flying(g *group, change int) {
	l.update(&g.usage)
	l.update(&l.all)
	g.inFlight += change
	l.all.inFlight += change
	l.rank(g)
}

// rank puts g where it belongs after any change to it.
func (l *line) rank(g *group) {
	if g.index >= 0 && (g.first == nil || g.large != g.busy()) {
		// Out of the heap by index alone: what it was ordered by may be gone already.
		l.heapOf(g).remove(g.index)
	}
	switch {
	case g.first == nil:
	case g.index >= 0:
		l.heapOf(g).fix(g.index)
	default:
		g.large = g.busy()
		l.heapOf(g).push(g)
	}
}

func (l *line) heapOf(g *group) ranking[*group] {
	if g.large {
		return l.large
	}
	return l.small
}

// next is the message to serve, or nil. It stays in the line.
func (l *line) next() *message {
	var noisy []*group
	small, large := l.quiet(&l.small, &noisy), l.quiet(&l.large, &noisy)
	for _, g := range noisy {
		l.heapOf(g).push(g)
	}
	// If the least busy of the large groups is noisy, all of them are.
	if large != nil && large.inFlight*noisyShare > l.all.inFlight {
		noisy, large = append(noisy, large), nil
	}
	switch {
	case small != nil && (large == nil || small.first.turn < large.first.turn):
		return small.first
	case large != nil:
		return large.first
	case len(noisy) == 0:
		return nil
	}
	return slices.MinFunc(noisy, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.inFlight, b.inFlight), cmp.Compare(a.first.turn, b.first.turn))
	}).first
}

// quiet is the first group of a heap that is not slow, or nil. The slow ones before it go from the heap to the list:
// no more than nine, because shares add up to one.
func (l *line) quiet(h *ranking[*group], slow *[]*group) *group {
	for {
		g, ok := h.first()
		if !ok || !l.slow(g) {
			return g
		}
		h.remove(0)
		*slow = append(*slow, g)
	}
}
