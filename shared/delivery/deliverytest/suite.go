package deliverytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Subject is a log that the suite is run against, empty.
type Subject struct {
	Store   delivery.Store
	Waiting delivery.WaitingList
	Get     func(ctx context.Context, organizationID, configID, eventID string) (*webhook.Delivery, error)
	// Fault makes the next write of a delivery fail so. The log may try it again by itself.
	Fault func(Fault)
}

// trial is one test of the suite.
type trial struct {
	*testing.T
	Subject
	*Fixture // for its messages alone
}

// TestLog is what every log must do. It calls create for each test.
func TestLog(t *testing.T, create func(t *testing.T) Subject) {
	for name, test := range map[string]func(trial){
		"new items are written in a group":                     newItems,
		"what is there already is not written twice":           duplicates,
		"an outcome is applied to what is there":               applied,
		"an outcome that changes nothing is not written":       nothingNew,
		"a result whose answer was lost is written once":       lostAnswers,
		"results of the same millisecond are not taken for it": sameMillisecond,
		"a result is tried again":                              triedAgain,
		"an item of another organization is left alone":        foreignItem,
		"a start is written if the delivery is as known":       started,
		"a start is refused if it is not, and says what is":    refusedStart,
		"all of a delivery is read back":                       readBack,
		"what is due comes in pages, the earliest first":       duePages,
		"what does not wait is not due":                        notDue,
		"an entry is pushed on once, and its revision stays":   pushed,
		"an entry that has gone on is not pushed":              notPushed,
		"what waits is counted":                                countedEntries,
		"the last outcome of many at once is of the last one":  concurrent,
		"a delivery that was removed is written as a new one":  removed,
		"a canceled round ends without an attempt of its own":  canceledRound,
		"attempts beyond the last twenty are dropped from it":  longLists,
		"keys that are named twice are read like any other":    namedTwice,
		"deliveries of one event to two configs are two items": twoConfigs,
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)
			test(trial{T: t, Subject: create(t), Fixture: New(&Manual{T: begin})})
		})
	}
}

// outcome is what a message did to its delivery at a time after Begin.
func (tr trial) outcome(
	m webhook.Message, id string, status webhook.DeliveryStatus, at time.Duration, known *webhook.Delivery,
) webhook.Outcome {
	o := webhook.Outcome{Message: m, MessageID: id, Status: status, At: webhook.At(tr.Begin.Add(at)), Known: known}
	if status == webhook.Canceled {
		return o
	}
	o.Tried = &webhook.Attempt{
		Number: m.Attempt, MessageID: id, StartedAt: webhook.At(tr.Begin.Add(at - time.Second)), Duration: 123 * time.Millisecond,
		ResponseStatus: 200,
	}
	if status != webhook.Delivered {
		o.Tried.ResponseStatus, o.Tried.ErrorCode, o.Tried.Error, o.Tried.ResponseSnippet = 500, "http_status", "it answered 500", "oops"
	}
	if status == webhook.Retrying {
		o.NextAttemptAt = webhook.At(tr.Begin.Add(at + 10*time.Second))
	}
	o.DeadLetter = status == webhook.DeliveryFailed
	return o
}

// record writes one outcome and returns what is there then.
func (tr trial) record(o webhook.Outcome) webhook.Recorded {
	tr.Helper()
	recorded := tr.Subject.Store.Record(tr.Context(), []webhook.Outcome{o})
	if len(recorded) != 1 || recorded[0].Err != nil {
		tr.Fatalf("recording: %+v", recorded)
	}
	tr.same(recorded[0].Delivery, o.Message)
	return recorded[0]
}

func (tr trial) there(m webhook.Message) *webhook.Delivery {
	tr.Helper()
	d, err := tr.Get(tr.Context(), m.OrganizationID, m.ConfigID, m.Event.ID)
	if err != nil && !errors.Is(err, webhook.ErrNotFound) {
		tr.Fatal(err)
	}
	return d
}

// same checks that what is there is what the log has answered.
func (tr trial) same(want *webhook.Delivery, m webhook.Message) {
	tr.Helper()
	got := tr.there(m)
	if got == nil || want == nil {
		tr.Fatalf("there is %v, answered was %v", got, want)
	}
	// Expiry is kept to the second.
	expires := *want
	expires.ExpiresAt = webhook.At(want.ExpiresAt.Truncate(time.Second))
	read := *got
	read.ExpiresAt = webhook.At(got.ExpiresAt.Truncate(time.Second))
	if diff := cmp.Diff(expires, read); diff != "" {
		tr.Errorf("(-answered +there):\n%s", diff)
	}
}

func (tr trial) line(m webhook.Message, want string) {
	tr.Helper()
	if got := tr.Line(tr.there(m)); got != want {
		tr.Errorf("there is %q, want %q", got, want)
	}
}

func keyOf(m webhook.Message) webhook.Key { return m.Key() }

func newItems(tr trial) {
	var outcomes []webhook.Outcome
	for n := range 10 {
		outcomes = append(outcomes, tr.outcome(tr.First(n), "m", webhook.Delivered, 0, nil))
	}
	recorded := tr.Subject.Store.Record(tr.Context(), outcomes)
	for n, r := range recorded {
		if r.Err != nil || !r.Counts {
			tr.Fatalf("event %d: %+v", n, r)
		}
		tr.same(r.Delivery, tr.First(n))
	}
	tr.line(tr.First(3), "delivered 0/1 over done for 1, 1 listed")
}

func duplicates(tr trial) {
	tr.record(tr.outcome(tr.First(2), "a", webhook.Retrying, 0, nil))
	var outcomes []webhook.Outcome
	for n := range 5 {
		outcomes = append(outcomes, tr.outcome(tr.First(n), "b", webhook.Retrying, time.Second, nil))
	}
	for n, r := range tr.Subject.Store.Record(tr.Context(), outcomes) {
		if r.Err != nil || r.Counts != (n != 2) {
			tr.Errorf("event %d: %+v", n, r)
			continue
		}
		tr.same(r.Delivery, tr.First(n))
	}
	tr.line(tr.First(2), "retrying 0/1 due 10s wakes 15m10s, 2 listed")
	tr.line(tr.First(3), "retrying 0/1 due 11s wakes 15m11s, 1 listed")
}

func applied(tr trial) {
	first := tr.record(tr.outcome(tr.First(1), "a", webhook.Retrying, 0, nil)).Delivery
	tr.record(tr.outcome(tr.Attempt(2), "b", webhook.Retrying, time.Second, first))
	if r := tr.record(tr.outcome(tr.Attempt(2), "c", webhook.Retrying, 2*time.Second, first)); r.Counts || r.Delivery.Attempt != 2 {
		tr.Errorf("a duplicate that has not seen the attempt: %+v", r)
	}
	if r := tr.record(tr.outcome(tr.Resend(2), "r", webhook.Delivered, 3*time.Second, first)); !r.Counts {
		tr.Errorf("a resend that has not seen the attempt: %+v", r)
	}
	if r := tr.record(tr.outcome(tr.Attempt(3), "d", webhook.DeliveryFailed, 4*time.Second, first)); r.Counts {
		tr.Errorf("a failure that has not seen the success: %+v", r)
	}
	tr.line(tr.First(1), "delivered r2/1 over done for 2, 5 listed")
}

func nothingNew(tr trial) {
	before := tr.record(tr.outcome(tr.First(1), "a", webhook.Delivered, 0, nil)).Delivery
	r := tr.record(tr.outcome(tr.First(1), "b", webhook.Canceled, time.Second, nil))
	if r.Counts || r.Delivery.Revision != before.Revision {
		tr.Errorf("%+v", r)
	}
}

func lostAnswers(tr trial) {
	for n, known := range []*webhook.Delivery{nil, tr.record(tr.outcome(tr.First(1), "a", webhook.Retrying, 0, nil)).Delivery} {
		m := tr.First(n)
		m.Attempt = n + 1
		o := tr.outcome(m, "b", webhook.Retrying, time.Minute, known)
		tr.Fault(Lost)
		recorded := tr.Subject.Store.Record(tr.Context(), []webhook.Outcome{o})[0]
		if recorded.Err != nil { // its caller tries it again
			recorded = tr.record(o)
		}
		if !recorded.Counts || recorded.Delivery.Attempt != n+1 || len(recorded.Delivery.Attempts) != n+1 {
			tr.Errorf("%d attempts before: %+v", n, recorded)
		}
	}
}

// sameMillisecond: a queue brings a message twice at once, so that two processes make its attempt with the same result.
func sameMillisecond(tr trial) {
	for n := range 3 {
		o := tr.outcome(tr.First(1), "a", webhook.Delivered, 0, nil)
		o.Tried.StartedAt = webhook.Precise(tr.Begin.Add(time.Duration(n) * time.Microsecond))
		tr.record(o)
	}
	tr.line(tr.First(1), "delivered 0/1 over done for 1, 3 listed")
}

func triedAgain(tr trial) {
	for n, known := range []*webhook.Delivery{nil, tr.record(tr.outcome(tr.First(1), "a", webhook.Retrying, 0, nil)).Delivery} {
		m := tr.First(n)
		m.Attempt = n + 1
		o := tr.outcome(m, "b", webhook.Retrying, time.Minute, known)
		tr.Fault(Refused)
		recorded := tr.Subject.Store.Record(tr.Context(), []webhook.Outcome{o})[0]
		if recorded.Err != nil {
			recorded = tr.record(o)
		}
		if !recorded.Counts || recorded.Delivery.Attempt != n+1 || len(recorded.Delivery.Attempts) != n+1 {
			tr.Errorf("%d attempts before: %+v", n, recorded)
		}
	}
}

func foreignItem(tr trial) {
	own := tr.record(tr.outcome(tr.First(1), "a", webhook.Retrying, 0, nil)).Delivery
	m := tr.First(1)
	m.OrganizationID = "org_2"
	for _, write := range []func(webhook.Outcome) webhook.Recorded{
		func(o webhook.Outcome) webhook.Recorded {
			return tr.Subject.Store.Record(tr.Context(), []webhook.Outcome{o})[0]
		},
		func(o webhook.Outcome) webhook.Recorded { return tr.Subject.Store.Start(tr.Context(), o) },
	} {
		if r := write(tr.outcome(m, "b", webhook.Delivered, 0, nil)); !errors.Is(r.Err, webhook.ErrNotFound) || r.Delivery != nil {
			tr.Errorf("%+v", r)
		}
	}
	loaded, err := tr.Subject.Store.Load(tr.Context(), []webhook.Key{m.Key()})
	if one, ok := loaded[m.Key()]; err != nil || !ok || one.Delivery != nil {
		tr.Errorf("it reads %+v, %v", loaded, err)
	}
	tr.same(own, tr.First(1))
}

func started(tr trial) {
	o := tr.outcome(tr.First(1), "a", webhook.Retrying, 0, nil)
	o.Tried.ErrorCode = webhook.CodeUnknown
	r := tr.Subject.Store.Start(tr.Context(), o)
	if r.Err != nil || !r.Counts {
		tr.Fatalf("%+v", r)
	}
	tr.same(r.Delivery, tr.First(1))
	again := tr.Subject.Store.Start(tr.Context(), o) // its answer was lost
	if again.Err != nil || again.Delivery.Revision != r.Delivery.Revision {
		tr.Errorf("again: %+v", again)
	}
	result := tr.record(tr.outcome(tr.First(1), "a", webhook.Delivered, time.Minute, r.Delivery))
	if !result.Counts || len(result.Delivery.Attempts) != 1 {
		tr.Errorf("its result: %+v", result)
	}
}

func refusedStart(tr trial) {
	o := tr.outcome(tr.First(1), "a", webhook.Retrying, 0, nil)
	o.Tried.ErrorCode = webhook.CodeUnknown
	before := tr.record(tr.outcome(tr.First(1), "b", webhook.Retrying, 0, nil)).Delivery
	r := tr.Subject.Store.Start(tr.Context(), o)
	if !errors.Is(r.Err, webhook.ErrConflict) {
		tr.Fatalf("where another has come first: %+v", r)
	}
	tr.same(r.Delivery, tr.First(1))
	tr.record(tr.outcome(tr.Attempt(2), "c", webhook.Retrying, time.Second, before))
	o = tr.outcome(tr.Attempt(2), "d", webhook.Retrying, time.Second, before)
	if r = tr.Subject.Store.Start(tr.Context(), o); !errors.Is(r.Err, webhook.ErrConflict) || r.Delivery.Attempt != 2 {
		tr.Errorf("where another has gone on: %+v", r)
	}
	missing := *before
	missing.Event = tr.Event(7)
	m := tr.Attempt(2)
	m.Event = missing.Event
	r = tr.Subject.Store.Start(tr.Context(), tr.outcome(m, "e", webhook.Retrying, 0, &missing))
	if !errors.Is(r.Err, webhook.ErrConflict) || r.Delivery != nil {
		tr.Errorf("where it was removed: %+v", r)
	}
}

func readBack(tr trial) {
	m := tr.Resend(2)
	m.Event.Sequence, _ = webhook.NewSequence("123")
	first := tr.record(tr.outcome(m, "a", webhook.Retrying, 0, nil)).Delivery
	loaded, err := tr.Subject.Store.Load(tr.Context(), []webhook.Key{m.Key(), keyOf(tr.First(5))})
	if err != nil || len(loaded) != 2 || loaded[keyOf(tr.First(5))].Delivery != nil {
		tr.Fatalf("%+v, %v", loaded, err)
	}
	tr.same(loaded[m.Key()].Delivery, m)
	m.Attempt = 5
	tr.record(tr.outcome(m, "b", webhook.DeliveryFailed, time.Minute, first))
	tr.record(tr.outcome(tr.First(1), "c", webhook.Delivered, 2*time.Minute, nil))
	tr.line(m, "delivered r2/5 over by b done for 1, 3 listed")
}

// wait puts n deliveries of one shard into the log that are due a second after each other, and returns the shard.
func (tr trial) wait(n int) (shard int, messages []webhook.Message) {
	tr.Helper()
	shard = -1
	for event := 0; len(messages) < n; event++ {
		m := tr.First(event)
		if s := webhook.WakeShard(m.ConfigID, m.Event.ID); shard != -1 && s != shard {
			continue
		} else {
			shard = s
		}
		o := tr.outcome(m, "a", webhook.Retrying, 0, nil)
		o.NextAttemptAt = webhook.At(tr.Begin.Add(time.Duration(20+len(messages)) * time.Minute)) // no queue holds it
		tr.record(o)
		messages = append(messages, m)
	}
	return shard, messages
}

func duePages(tr trial) {
	shard, messages := tr.wait(5)
	until := tr.Begin.Add(23 * time.Minute) // what is due at that time comes too
	var got, want []string
	for _, m := range messages[:4] {
		want = append(want, m.Event.ID)
	}
	var after *webhook.Wake
	for range 10 {
		page, err := tr.Subject.Waiting.Due(tr.Context(), shard, until, after, 2)
		if err != nil {
			tr.Fatal(err)
		}
		for _, w := range page {
			d := tr.there(messages[slices.IndexFunc(messages, func(m webhook.Message) bool { return m.Event.ID == w.EventID })])
			if w.ConfigID != ConfigID || !w.WakeAt.Equal(d.WakeAt.Time) || !w.NextAttemptAt.Equal(d.NextAttemptAt.Time) {
				tr.Errorf("entry %+v of %s", w, tr.Line(d))
			}
			got = append(got, w.EventID)
		}
		if len(page) == 0 {
			break
		}
		after = &page[len(page)-1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tr.Errorf("(-want +got):\n%s", diff)
	}
}

func notDue(tr trial) {
	shard, messages := tr.wait(3)
	tr.record(tr.outcome(messages[0], "b", webhook.Delivered, time.Second, nil))
	m := messages[1]
	m.Attempt = 2
	tr.record(tr.outcome(m, "b", webhook.Canceled, time.Second, nil))
	page, err := tr.Subject.Waiting.Due(tr.Context(), shard, tr.Begin.Add(time.Hour), nil, 10)
	if err != nil || len(page) != 1 || page[0].EventID != messages[2].Event.ID {
		tr.Errorf("%+v, %v", page, err)
	}
}

func pushed(tr trial) {
	shard, messages := tr.wait(1)
	page, err := tr.Subject.Waiting.Due(tr.Context(), shard, tr.Begin.Add(time.Hour), nil, 10)
	if err != nil || len(page) != 1 {
		tr.Fatalf("%+v, %v", page, err)
	}
	to := webhook.At(tr.Begin.Add(2 * time.Hour))
	before := tr.there(messages[0])
	d, err := tr.Subject.Waiting.Push(tr.Context(), page[0], to)
	if err != nil {
		tr.Fatal(err)
	}
	tr.same(d, messages[0])
	before.WakeAt = to
	tr.same(before, messages[0])
	if d, err := tr.Subject.Waiting.Push(tr.Context(), page[0], to); d != nil || err != nil {
		tr.Errorf("a second time: %+v, %v", d, err)
	}
	if page, err := tr.Subject.Waiting.Due(tr.Context(), shard, tr.Begin.Add(time.Hour), nil, 10); err != nil || len(page) != 0 {
		tr.Errorf("it is still due: %+v, %v", page, err)
	}
	// A result that was judged before is not refused: the revision is what it was.
	m := messages[0]
	m.Attempt = 2
	if r := tr.record(tr.outcome(m, "b", webhook.Delivered, time.Minute, before)); !r.Counts || r.Delivery.Waiting() {
		tr.Errorf("%+v", r)
	}
}

func notPushed(tr trial) {
	shard, messages := tr.wait(1)
	page, _ := tr.Subject.Waiting.Due(tr.Context(), shard, tr.Begin.Add(time.Hour), nil, 10)
	after := tr.record(tr.outcome(messages[0], "b", webhook.Delivered, time.Minute, nil)).Delivery
	if d, err := tr.Subject.Waiting.Push(tr.Context(), page[0], webhook.At(tr.Begin.Add(2*time.Hour))); d != nil || err != nil {
		tr.Errorf("%+v, %v", d, err)
	}
	tr.same(after, messages[0])
	missing := webhook.Wake{ConfigID: ConfigID, EventID: tr.Event(590).ID, WakeAt: page[0].WakeAt}
	if d, err := tr.Subject.Waiting.Push(tr.Context(), missing, webhook.At(tr.Begin)); d != nil || err != nil {
		tr.Errorf("what is not there: %+v, %v", d, err)
	}
}

func countedEntries(tr trial) {
	shard, _ := tr.wait(5)
	due, all, err := tr.Subject.Waiting.Count(tr.Context(), shard, tr.Begin.Add(22*time.Minute))
	if err != nil || due != 3 || all != 5 {
		tr.Errorf("%d of %d, %v", due, all, err)
	}
	if due, all, err := tr.Subject.Waiting.Count(tr.Context(), (shard+1)%webhook.WakeShards, tr.Begin); err != nil || due != 0 || all != 0 {
		tr.Errorf("in another shard: %d of %d, %v", due, all, err)
	}
}

func concurrent(tr trial) {
	const writers = 8
	done := make(chan webhook.Recorded, writers)
	for n := range writers {
		go func() {
			m := tr.Resend(n + 1)
			o := tr.outcome(m, fmt.Sprint("m", n), webhook.Retrying, time.Second, nil)
			done <- tr.Subject.Store.Record(tr.Context(), []webhook.Outcome{o})[0]
		}()
	}
	for range writers {
		if r := <-done; r.Err != nil {
			tr.Error(r.Err)
		}
	}
	if d := tr.there(tr.First(1)); len(d.Attempts) != writers || d.Revision != writers || !d.RequestedAt.Equal(tr.Requested(writers).Time) {
		tr.Errorf("%s, revision %d", tr.Line(d), d.Revision)
	}
}

func removed(tr trial) {
	m := tr.Attempt(3)
	known := webhook.Delivery{
		OrganizationID: m.OrganizationID, ConfigID: m.ConfigID, Event: m.Event, Status: webhook.Retrying, RequestedAt: m.RequestedAt,
		Round: m.Round, Attempt: 2, Revision: 4,
	}
	if r := tr.record(tr.outcome(m, "a", webhook.Delivered, 0, &known)); !r.Counts || r.Delivery.Attempt != 3 {
		tr.Errorf("%+v", r)
	}
}

func canceledRound(tr trial) {
	tr.record(tr.outcome(tr.First(1), "a", webhook.Canceled, 0, nil))
	tr.line(tr.First(1), "canceled 0/0 over, 0 listed")
	tr.record(tr.outcome(tr.Resend(2), "b", webhook.Delivered, time.Second, nil))
	tr.line(tr.First(1), "delivered r2/1 over done for 2, 1 listed")
}

func longLists(tr trial) {
	var known *webhook.Delivery
	for n := range webhook.MaxLoggedAttempts + 3 {
		m := tr.Resend(2)
		m.RequestedAt = webhook.At(tr.Begin.Add(time.Duration(n)))
		m.Round = webhook.LaterRound(tr.Begin.Add(time.Duration(n)*time.Millisecond), "r")
		known = tr.record(tr.outcome(m, fmt.Sprint("m", n), webhook.Retrying, time.Duration(n)*time.Second, known)).Delivery
	}
	if d := tr.there(tr.First(1)); len(d.Attempts) != webhook.MaxLoggedAttempts || d.Attempts[0].MessageID != "m3" {
		tr.Errorf("%d attempts from %s on", len(d.Attempts), d.Attempts[0].MessageID)
	}
}

func namedTwice(tr trial) {
	key := keyOf(tr.First(1))
	loaded, err := tr.Subject.Store.Load(tr.Context(), []webhook.Key{key, key, keyOf(tr.First(2))})
	if err != nil || len(loaded) != 2 {
		tr.Errorf("%+v, %v", loaded, err)
	}
}

func twoConfigs(tr trial) {
	m := tr.First(1)
	m.ConfigID = "01890a5d-ac96-774b-bcce-b302099a8058"
	for _, r := range tr.Subject.Store.Record(tr.Context(), []webhook.Outcome{
		tr.outcome(tr.First(1), "a", webhook.Delivered, 0, nil), tr.outcome(m, "b", webhook.Retrying, 0, nil),
	}) {
		if r.Err != nil {
			tr.Fatal(r.Err)
		}
	}
	tr.line(tr.First(1), "delivered 0/1 over done for 1, 1 listed")
	tr.line(m, "retrying 0/1 due 10s wakes 15m10s, 1 listed")
}
