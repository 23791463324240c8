package soak

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// batchTime is how long after a config was deactivated, moved or deleted, or credentials ended, a batch that has read
// it before may still go on: deliver reads tables and keyring for 10 s each, and logs a start for 4 s.
const batchTime = 30 * time.Second

// ledgers are what generator, endpoints, tables, queues and logs say when nothing is under way any more.
type ledgers struct {
	changes  []document
	configs  []*config
	posts    []post
	events   []recorded
	items    []logged
	dead     []webhook.Message // in the dead-letter queue
	resends  map[[2]string]int // asked for, by config and event
	ordered  []order
	redrives int
	evidence
	// together is how long after the result of an attempt another message may still make the same one, because it was
	// judged before that result was in the log.
	together time.Duration
}

// recorded is an item of EventsTable.
type recorded struct {
	OrganizationID string   `dynamodbav:"organization_id"`
	EventID        string   `dynamodbav:"event_id"`
	DocumentKey    string   `dynamodbav:"document_key"`
	Status         string   `dynamodbav:"status"`
	Configs        []string `dynamodbav:"configs,stringset"`
}

// story is all that is known of one delivery.
type story struct {
	config   *config
	wanted   bool      // its event was meant for its config
	changed  time.Time // when the document was
	item     *logged
	posts    []post
	lines    []line // of attempts, in their order
	unlogged []time.Time
	unsent   map[string]bool // messages that could not be sent, by their ids
	cut      []end           // of messages in batches that failed
	said     []line          // all that deliver said
	dead     []webhook.Message
}

// end is that of a message's batch.
type end struct {
	message string
	at      time.Time
	why     string
}

// findings are what a comparison has found, by what it is.
type findings map[string]*finding

type finding struct {
	n       int
	example string
	stories []string // of the first ones
}

func (f findings) add(what string, n int, format string, values ...any) {
	if n <= 0 {
		return
	}
	if f[what] == nil {
		f[what] = &finding{example: fmt.Sprintf(format, values...)}
	}
	f[what].n += n
}

// tell is add for what must not be found and cannot be understood without the story of its delivery.
func (f findings) tell(what string, n int, s *story, format string, values ...any) {
	if f.add(what, n, format, values...); n > 0 && len(f[what].stories) < 10 {
		f[what].stories = append(f[what].stories, s.String())
	}
}

// What must never be found.
const (
	noEvent        = "changes without an event, or with two"
	noChange       = "events without a change"
	notMeant       = "active configs that an event was not meant for"
	meantForGone   = "deleted configs that an event was meant for"
	lost           = "lost: neither accepted, nor failed with a dead letter, nor canceled with its config, nor waiting"
	unsaid         = "accepted, and not delivered in the log"
	foreign        = "requests with another organization's change, or to a config that is none"
	unsigned       = "requests not signed with credentials that were valid then"
	differing      = "requests whose body or key is not that of the first"
	toInactive     = "requests to inactive, deleted or former endpoints after a batch"
	unknownPost    = "requests that the log does not know, unexplained"
	unseen         = "attempts in the log that no endpoint saw, unexplained"
	repeatedAnyhow = "attempts repeated within a round, unexplained"
	toomany        = "accepted more often than asked for, unexplained"
	unaskedRound   = "rounds that nobody asked for"
)

var never = []string{
	lost, noEvent, noChange, notMeant, meantForGone, unsaid, foreign, unsigned, differing, toInactive, unknownPost, unseen,
	repeatedAnyhow, toomany, unaskedRound,
}

// What is found, and explained: why an attempt was made or logged twice, and what became of deliveries.
const (
	again        = "accepted more often than asked for"
	crashed      = "attempts repeated or not logged, by a crash between POST and log"
	unwritten    = "attempts repeated, as the log could not be written"
	atOnce       = "attempts repeated by two messages at once"
	twiceAtOnce  = "attempts repeated by one message, brought twice at once"
	startedOnly  = "attempts logged as started and no more, by a crash, or as the answer to that was lost"
	isDelivered  = "deliveries accepted"
	isFailed     = "deliveries failed, with their dead letters"
	isCanceled   = "deliveries canceled with their config"
	diedUntried  = "deliveries without an attempt, with their dead letters"
	overtaken    = "deliveries whose config was deactivated before their message could be sent"
	unverifiable = "requests signed with credentials that an answer was lost with"
)

// compare compares the ledgers.
func (l *ledgers) compare() findings {
	found := findings{}
	stories := l.stories()
	l.checkEvents(found)
	l.checkRequests(found)
	for key, s := range stories {
		s.checkEnd(found, key)
		s.checkLog(found, key, l.together)
		s.checkRounds(found, key, l)
	}
	return found
}

// name names a delivery to people.
func name(key [2]string) string { return key[1] + " for config " + key[0] }

// stories collects what is known of each delivery, by config and event.
func (l *ledgers) stories() map[[2]string]*story {
	configs, endpoints := map[string]*config{}, map[string]*config{}
	for _, c := range l.configs {
		configs[c.id] = c
		for _, endpoint := range c.endpoints() {
			endpoints[endpoint] = c
		}
	}
	stories := map[[2]string]*story{}
	of := func(configID, eventID string) *story {
		key := [2]string{configID, eventID}
		if stories[key] == nil {
			stories[key] = &story{config: configs[configID], unsent: map[string]bool{}}
		}
		return stories[key]
	}
	changed := map[string]time.Time{}
	for _, d := range l.changes {
		changed[d.organization+"#"+d.name()] = d.at
	}
	for _, e := range l.events {
		for _, c := range e.Configs {
			s := of(c, e.EventID)
			s.wanted, s.changed = true, changed[e.DocumentKey+" "+e.Status]
		}
	}
	for _, p := range l.posts {
		if c := endpoints[p.endpoint]; c != nil { // else checkRequests says so
			s := of(c.id, p.event)
			s.posts = append(s.posts, p)
		}
	}
	messages := map[string]*story{}
	for i := range l.items {
		item := &l.items[i]
		s := of(item.ConfigID, item.EventID)
		s.item = item
		for _, a := range item.Attempts {
			messages[a.MessageID] = s
		}
	}
	for _, text := range l.lines {
		configID, eventID, err := webhook.ParseDeliveryID(text.DeliveryID)
		if err != nil {
			continue
		}
		s := of(configID, eventID)
		s.said = append(s.said, text)
		switch text.Msg {
		case attempted:
			s.lines = append(s.lines, text)
		case unlogged:
			s.unlogged = append(s.unlogged, text.Time)
		case unsent:
			s.unsent[text.MessageID] = true
		}
		if text.MessageID != "" {
			messages[text.MessageID] = s
		}
	}
	for _, batch := range l.batches {
		for _, id := range batch.messages {
			if s := messages[id]; s != nil {
				s.cut = append(s.cut, end{message: id, at: batch.at, why: batch.why})
			}
		}
	}
	for _, m := range l.dead {
		s := of(m.ConfigID, m.Event.ID)
		s.dead = append(s.dead, m)
	}
	for _, s := range stories {
		slices.SortStableFunc(s.lines, func(a, b line) int { return a.Time.Compare(b.Time) })
	}
	return stories
}

// String says when c was inactive.
func (c *config) String() string {
	text := "config of " + c.endpoint
	for _, s := range c.off {
		text += fmt.Sprintf(", inactive from %s to %s", s.from.Format(time.TimeOnly), s.to.Format(time.TimeOnly))
	}
	return text
}

// endpoints returns all endpoints that c has led to.
func (c *config) endpoints() []string {
	all := []string{c.endpoint}
	for _, f := range c.former {
		all = append(all, f.endpoint)
	}
	return all
}

// checkEvents holds EventsTable to the changes.
func (l *ledgers) checkEvents(found findings) {
	events := map[string][]recorded{}
	for _, e := range l.events {
		key := e.DocumentKey + " " + e.Status
		events[key] = append(events[key], e)
	}
	configs := map[string][]*config{}
	for _, c := range l.configs {
		configs[c.organization] = append(configs[c.organization], c)
	}
	for _, d := range l.changes {
		key := d.organization + "#" + d.name()
		has := events[key]
		delete(events, key)
		if len(has) != 1 {
			found.add(noEvent, 1, "%s has %d", key, len(has))
			continue
		}
		if d.status != "processed" {
			continue
		}
		for _, c := range configs[d.organization] {
			meant := slices.Contains(has[0].Configs, c.id)
			if !meant && c.created.Before(d.at) && !slices.ContainsFunc(c.off, offAfter(d.at)) {
				found.add(notMeant, 1, "%s and config %s", key, c.id)
			}
			if meant && slices.ContainsFunc(c.off, func(s span) bool { return s.to.IsZero() && s.from.Before(d.at) }) {
				found.add(meantForGone, 1, "%s and config %s", key, c.id)
			}
		}
	}
	for key, has := range events {
		found.add(noChange, len(has), "%s", key)
	}
}

// offAfter tells the spans that a change may have been dispatched in, which may take until a redrive. Dispatch finds the configs that
// are active then.
func offAfter(changed time.Time) func(span) bool {
	return func(s span) bool { return s.to.IsZero() || s.to.After(changed) }
}

// checkRequests holds each request to what its config was then.
func (l *ledgers) checkRequests(found findings) {
	configs, owners := map[string]*config{}, map[string]string{}
	for _, c := range l.configs {
		for _, endpoint := range c.endpoints() {
			configs[endpoint] = c
		}
	}
	for _, d := range l.changes {
		owners[d.name()] = d.organization
	}
	keys, bodies := map[[2]string]string{}, map[[2]string][]byte{}
	for _, p := range l.posts {
		c := configs[p.endpoint]
		if c == nil || owners[p.change] != c.organization {
			found.add(foreign, 1, "%s got a change of %q", p.endpoint, owners[p.change])
			continue
		}
		key := [2]string{c.id, p.event}
		id := p.header.Get("Idempotency-Key")
		if keys[key] == "" {
			keys[key] = id
		}
		if bodies[key] == nil {
			bodies[key] = p.body
		}
		if id != keys[key] || !bytes.Equal(p.body, bodies[key]) {
			found.add(differing, 1, "%s: %s, %s", name(key), id, p.body)
		}
		err := verify(p, c)
		told := !slices.ContainsFunc(c.doubtful, func(s span) bool { return s.covers(p.at, batchTime) })
		switch {
		case len(c.credentials) == 0, err != nil && !told:
			found.add(unverifiable, 1, "%s", name(key))
		case err != nil:
			found.add(unsigned, 1, "%s at %s: %v", name(key), p.at, err)
		}
		after := func(t time.Time) bool { return !t.IsZero() && p.at.After(t.Add(batchTime)) }
		for _, s := range c.off {
			if after(s.from) && (s.to.IsZero() || p.at.Before(s.to)) {
				found.add(toInactive, 1, "%s %s after the end", name(key), p.at.Sub(s.from))
			}
		}
		for _, f := range c.former {
			if f.endpoint == p.endpoint && after(f.until) {
				found.add(toInactive, 1, "%s at %s %s after the move", name(key), f.endpoint, p.at.Sub(f.until))
			}
		}
	}
}

// checkEnd holds a delivery to its end: nothing is lost.
func (s *story) checkEnd(found findings, key [2]string) {
	accepted := slices.ContainsFunc(s.posts, func(p post) bool { return p.accepted })
	status := ""
	if s.item != nil {
		status = s.item.Status
	}
	switch {
	case accepted:
		found.add(isDelivered, 1, "%s", name(key))
		if status == "" || status == "retrying" || status == "canceled" && (s.config == nil || len(s.config.off) == 0) {
			found.add(unsaid, 1, "%s is %q", name(key), status)
		}
	case status == "failed" && len(s.dead) > 0:
		found.add(isFailed, 1, "%s", name(key))
	case status == "canceled" && s.config != nil && len(s.config.off) > 0:
		found.add(isCanceled, 1, "%s", name(key))
	case status == "" && len(s.dead) > 0:
		found.add(diedUntried, 1, "%s", name(key))
	case status == "" && s.config != nil && slices.ContainsFunc(s.config.off, offAfter(s.changed)):
		found.add(overtaken, 1, "%s", name(key))
	case s.wanted || s.item != nil:
		found.add(
			lost, 1, "%s is %q in the log, with %d dead letters and %d requests; %s",
			name(key), status, len(s.dead), len(s.posts), s.config,
		)
	}
}

// checkLog holds the log of a delivery to what its endpoint saw, and the other way round.
func (s *story) checkLog(found findings, key [2]string, together time.Duration) {
	sent := s.sent()
	if unknown := len(s.posts) - len(sent); unknown > 0 {
		explained := min(unknown, len(s.cut))
		found.add(crashed, explained, "%s", name(key))
		found.tell(
			unknownPost, unknown-explained, s, "%s: %d requests, %d in the log, %d crashes",
			name(key), len(s.posts), len(sent), len(s.cut),
		)
	}
	found.tell(unseen, len(sent)-len(s.posts), s, "%s: %d requests, %d in the log", name(key), len(s.posts), len(sent))
	repeats := 0
	for i, l := range sent {
		before := slices.DeleteFunc(slices.Clone(sent[:i]), func(b line) bool { return b.Round != l.Round || b.Attempt != l.Attempt })
		if len(before) == 0 {
			continue
		}
		repeats++
		found.tell(s.why(l, before, together), 1, s, "%s, attempt %d of round %s by %s", name(key), l.Attempt, l.Round, l.MessageID)
	}
	accepted, rounds := 0, map[string]bool{}
	for _, p := range s.posts {
		if p.accepted {
			accepted++
		}
	}
	for _, l := range sent {
		rounds[l.Round] = true
	}
	more := accepted - max(1, len(rounds))
	found.add(again, more, "%s", name(key))
	found.tell(toomany, more-repeats-len(s.cut), s, "%s: accepted %d times in %d rounds", name(key), accepted, len(rounds))
	if s.item != nil && len(s.item.Attempts) < maxLogged {
		s.checkItem(found, key)
	}
}

// sent returns the attempts that were POSTs.
func (s *story) sent() []line {
	return slices.DeleteFunc(slices.Clone(s.lines), func(l line) bool { return l.Outcome == webhook.CodeCredentials })
}

// why explains that an attempt was made again.
func (s *story) why(l line, before []line, together time.Duration) string {
	for _, b := range before {
		since := b.Time.Truncate(time.Millisecond) // as the stack's log has times
		if slices.ContainsFunc(s.cut, func(e end) bool { return e.message == b.MessageID && !e.at.Before(since) }) {
			return crashed
		}
	}
	for _, b := range before {
		if slices.ContainsFunc(s.unlogged, func(t time.Time) bool { return !t.Before(b.Time) }) {
			return unwritten
		}
	}
	last := slices.MaxFunc(before, func(a, b line) int { return a.Time.Compare(b.Time) })
	switch {
	case l.began().After(last.Time.Add(together)):
		return repeatedAnyhow
	case slices.ContainsFunc(before, func(b line) bool { return b.MessageID == l.MessageID }):
		return twiceAtOnce
	}
	return atOnce
}

// checkItem compares the attempts in DeliveriesTable with those that deliver has said it made.
func (s *story) checkItem(found findings, key [2]string) {
	type made struct {
		message string
		number  int
	}
	open := map[made]int{}
	for _, l := range s.lines {
		open[made{message: l.MessageID, number: l.Attempt}]++
	}
	cut := func(message string) bool {
		return slices.ContainsFunc(s.cut, func(e end) bool { return e.message == message })
	}
	for _, a := range s.item.Attempts {
		k := made{message: a.MessageID, number: a.Number}
		switch {
		case open[k] > 0:
			open[k]--
		case a.Code == webhook.CodeUnknown && (cut(a.MessageID) || s.unsent[a.MessageID] || len(s.unlogged) > 0):
			found.add(startedOnly, 1, "%s", name(key))
		default:
			found.tell(unseen, 1, s, "%s: attempt %d of message %s, %q", name(key), a.Number, a.MessageID, a.Code)
		}
	}
	for k, n := range open {
		switch {
		case n == 0:
		case cut(k.message):
			found.add(crashed, n, "%s", name(key))
		case len(s.unlogged) > 0:
			found.add(unwritten, n, "%s", name(key))
		default:
			found.tell(unknownPost, n, s, "%s: attempt %d of message %s is not in its item", name(key), k.number, k.message)
		}
	}
}

// toAll is the key of resends of an event to all configs, also to those that nobody here knows of.
func toAll(eventID string) [2]string { return [2]string{"", eventID} }

// checkRounds holds the rounds of a delivery to those that were asked for.
func (s *story) checkRounds(found findings, key [2]string, l *ledgers) {
	rounds := map[string]bool{}
	fifth := false
	for _, text := range s.lines {
		rounds[text.Round] = true
		fifth = fifth || text.Attempt == webhook.MaxAttempts
	}
	if s.item != nil && s.item.Round != "" {
		rounds[s.item.Round] = true
		fifth = fifth || slices.ContainsFunc(s.item.Attempts, func(a loggedAttempt) bool { return a.Number == webhook.MaxAttempts })
	}
	delete(rounds, webhook.FirstRound)
	asked := l.resends[key] + l.resends[toAll(key[1])]
	at, _ := webhook.EventTime(key[1]) // what is none was not sent by anybody here
	for _, o := range l.ordered {
		if o.config == key[0] && o.covers(at, time.Second) {
			asked++
		}
	}
	if fifth {
		asked += l.redrives
	}
	found.add(unaskedRound, len(rounds)-asked, "%s: %v", name(key), slices.Sorted(maps.Keys(rounds)))
}
