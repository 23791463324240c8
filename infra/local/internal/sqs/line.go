package sqs

// A group is noisy that has this many messages in flight and more than one part in noisyShare of all.
const (
	noisyInFlight = 30
	noisyShare    = 10
)

// group is a tenant of a queue: the messages that share a MessageGroupId. The group "" collects those
// without one.
type group struct {
	id       string
	members  int // messages in the queue, in whatever state
	inFlight int
	first    *message // the visible ones, a linked list in the order they became visible
	last     *message
	large    bool // which heap of the line it is in
	index    int  // there; -1 when nothing of it is visible
}

// busy says whether the group is in flight enough to be noisy, given its share.
func (g *group) busy() bool { return g.id != "" && g.inFlight >= noisyInFlight }

// line holds the visible messages of a queue and decides who is served next. Its owner guards it.
type line struct {
	groups   map[string]*group
	small    ranking[*group] // groups that cannot be noisy, by their oldest visible message
	large    ranking[*group] // groups that can, by messages in flight
	size     int             // visible messages
	inFlight int             // of all groups
}

func newLine() *line {
	place := func(g *group, index int) { g.index = index }
	return &line{
		groups: map[string]*group{},
		small:  newRanking(func(a, b *group) bool { return a.first.turn < b.first.turn }, place),
		large: newRanking(func(a, b *group) bool {
			if a.inFlight != b.inFlight {
				return a.inFlight < b.inFlight
			}
			return a.first.turn < b.first.turn
		}, place),
	}
}

// join makes m, which is not visible yet, a member of its group.
func (l *line) join(m *message) {
	g := l.groups[m.groupID]
	if g == nil {
		g = &group{id: m.groupID, index: -1}
		l.groups[m.groupID] = g
	}
	g.members++
	m.group = g
}

// leave ends the membership of m, which is not visible.
func (l *line) leave(m *message) {
	m.group.members--
	if m.group.members == 0 {
		delete(l.groups, m.group.id)
	}
	m.group = nil
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
	g.inFlight += change
	l.inFlight += change
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
	small, hasSmall := l.small.first()
	large, hasLarge := l.large.first()
	switch {
	case !hasLarge && !hasSmall:
		return nil
	case !hasLarge:
		return small.first
	case !hasSmall:
		return large.first
	}
	// If the least busy of the large groups is noisy, all of them are.
	noisy := large.inFlight*noisyShare > l.inFlight
	if !noisy && large.first.turn < small.first.turn {
		return large.first
	}
	return small.first
}
