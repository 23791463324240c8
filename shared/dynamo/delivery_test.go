package dynamo_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

const documentID = "5b1ff6c2-95d3-4b8e-8e53-9f2d4ad1b7c4"

// eventID returns the id of the n-th event; later ones are greater.
func eventID(n int) string {
	return webhook.NewEventID(start().Add(time.Duration(n)*time.Minute), fmt.Sprint("record ", n))
}

func event(n int) webhook.Event {
	return webhook.Event{
		Version: 1, ID: eventID(n), DocumentID: documentID, Status: webhook.Processed, PreviousStatus: webhook.Processing,
		OccurredAt: webhook.At(start()),
	}
}

func message(n int) webhook.Message {
	return webhook.Message{
		OrganizationID: organization, ConfigID: configID(1), Event: event(n), RequestedAt: webhook.At(start()), Trigger: webhook.StatusChange,
	}
}

// moment is s seconds after the start.
func moment(s int) webhook.Time { return webhook.At(start().Add(time.Duration(s) * time.Second)) }

// step is one result: attempt number of a round, at so many seconds after the start.
type step struct {
	round     string
	number    int // 0 for canceled
	status    webhook.DeliveryStatus
	requested int // seconds after the start
	at        int
	trigger   webhook.Trigger
	stale     bool // the writer has not seen the steps before
}

func (s step) entry(known *webhook.Delivery) delivery.Entry {
	m := message(1)
	m.RequestedAt = moment(s.requested)
	if s.trigger != "" {
		m.Trigger = s.trigger
	}
	if s.stale {
		known = nil
	}
	e := delivery.Entry{Message: m, MessageID: s.round, Round: s.round, Status: s.status, At: moment(s.at), Known: known}
	if s.number > 0 {
		e.Attempt = &webhook.Attempt{Number: s.number, Round: s.round, StartedAt: moment(s.at), Duration: 120 * time.Millisecond, ResponseStatus: 200}
		if s.status != webhook.Delivered {
			e.Attempt.ResponseStatus, e.Attempt.ErrorCode, e.Attempt.Error, e.Attempt.ResponseSnippet = 500, "http_status", "the endpoint answered 500", "oops"
		}
	}
	if s.status == webhook.Retrying {
		e.NextAttemptAt = moment(s.at + 60)
	}
	return e
}

// record writes steps one after the other, each knowing what the one before left.
func record(t *testing.T, db *dynamotest.DB, steps ...step) *webhook.Delivery {
	t.Helper()
	deliveries := deliveriesOf(db)
	var known *webhook.Delivery
	for i, s := range steps {
		if errs := deliveries.Record(t.Context(), []delivery.Entry{s.entry(known)}); errs != nil {
			t.Fatalf("step %d: %v", i, errs)
		}
		var err error
		if known, err = deliveries.Get(t.Context(), organization, configID(1), eventID(1)); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	return known
}

func TestDeliveriesRecord(t *testing.T) {
	type seen struct {
		Status      webhook.DeliveryStatus
		Attempts    string // round attempts, in order
		Round       string
		Over        bool
		Done        webhook.Time
		Requested   webhook.Time
		DeliveredAt webhook.Time
		FailedAt    webhook.Time
		Next        webhook.Time
		Trigger     webhook.Trigger
		Unsettled   bool
	}
	type steps = []step
	for name, test := range map[string]struct {
		steps steps
		want  seen
	}{
		"a first success is delivered": {
			steps{{"a", 1, webhook.Delivered, 0, 5, "", false}},
			seen{webhook.Delivered, "1", "a", false, moment(0), moment(0), moment(5), webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
		"a first failure is retrying": {
			steps{{"a", 1, webhook.Retrying, 0, 5, "", false}},
			seen{webhook.Retrying, "1", "a", false, webhook.Time{}, moment(0), webhook.Time{}, webhook.Time{}, moment(65), webhook.StatusChange, true},
		},
		"a success after a failure is delivered and settled": {
			steps{{"a", 1, webhook.Retrying, 0, 5, "", false}, {"a", 2, webhook.Delivered, 0, 70, "", false}},
			seen{webhook.Delivered, "1 2", "a", false, moment(0), moment(0), moment(70), webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
		"the last failure ends the round": {
			steps{{"a", 4, webhook.Retrying, 0, 5, "", false}, {"a", 5, webhook.DeliveryFailed, 0, 70, "", false}},
			seen{webhook.DeliveryFailed, "4 5", "a", true, webhook.Time{}, moment(0), webhook.Time{}, moment(70), webhook.Time{}, webhook.StatusChange, true},
		},
		"a resend begins a new round": {
			steps{{"a", 5, webhook.DeliveryFailed, 0, 70, "", false}, {"b", 1, webhook.Retrying, 100, 101, webhook.Resend, false}},
			seen{webhook.Retrying, "5 1", "b", false, webhook.Time{}, moment(100), webhook.Time{}, moment(70), moment(161), webhook.Resend, true},
		},
		"a resend that succeeds after a failure remembers when it failed": {
			steps{{"a", 5, webhook.DeliveryFailed, 0, 70, "", false}, {"b", 1, webhook.Delivered, 100, 101, webhook.Resend, false}},
			seen{webhook.Delivered, "5 1", "b", false, moment(100), moment(100), moment(101), moment(70), webhook.Time{}, webhook.Resend, false},
		},
		"a failed resend does not take delivered away": {
			steps{{"a", 1, webhook.Delivered, 0, 5, "", false}, {"b", 5, webhook.DeliveryFailed, 100, 105, webhook.Resend, false}},
			seen{webhook.Delivered, "1 5", "b", true, moment(0), moment(100), moment(5), webhook.Time{}, webhook.Time{}, webhook.Resend, false},
		},
		"a second success keeps the time of the first and grows done_for": {
			steps{{"a", 1, webhook.Delivered, 0, 5, "", false}, {"b", 1, webhook.Delivered, 100, 105, webhook.Resend, false}},
			seen{webhook.Delivered, "1 1", "b", false, moment(100), moment(100), moment(5), webhook.Time{}, webhook.Time{}, webhook.Resend, false},
		},
		"the failure of a slower duplicate adds its attempt and nothing else": {
			steps{{"a", 1, webhook.Delivered, 0, 5, "", false}, {"dup", 1, webhook.Retrying, 0, 9, "", true}},
			seen{webhook.Delivered, "1 1", "a", false, moment(0), moment(0), moment(5), webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
		"the final failure of a slower duplicate adds its attempt and nothing else": {
			steps{{"a", 1, webhook.Delivered, 10, 15, webhook.Resend, false}, {"dup", 5, webhook.DeliveryFailed, 0, 19, "", true}},
			seen{webhook.Delivered, "1 5", "a", false, moment(10), moment(10), moment(15), webhook.Time{}, webhook.Time{}, webhook.Resend, false},
		},
		"the failure of a newer request that saw nothing keeps delivered": {
			steps{{"a", 1, webhook.Delivered, 0, 5, "", false}, {"b", 1, webhook.Retrying, 100, 105, webhook.Resend, true}},
			seen{webhook.Delivered, "1 1", "b", false, moment(0), moment(100), moment(5), webhook.Time{}, webhook.Time{}, webhook.Resend, false},
		},
		"the success of an older request adds its attempt and never lowers done_for": {
			steps{{"a", 1, webhook.Delivered, 100, 105, webhook.Resend, false}, {"old", 2, webhook.Delivered, 0, 110, "", true}},
			seen{webhook.Delivered, "1 2", "a", false, moment(100), moment(100), moment(105), webhook.Time{}, webhook.Time{}, webhook.Resend, false},
		},
		"a success written twice is there once": {
			steps{{"a", 1, webhook.Delivered, 0, 5, "", false}, {"a", 1, webhook.Delivered, 0, 5, "", true}},
			seen{webhook.Delivered, "1", "a", false, moment(0), moment(0), moment(5), webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
		"a failure written twice is there once": {
			steps{{"a", 1, webhook.Retrying, 0, 5, "", false}, {"a", 1, webhook.Retrying, 0, 5, "", true}},
			seen{webhook.Retrying, "1", "a", false, webhook.Time{}, moment(0), webhook.Time{}, webhook.Time{}, moment(65), webhook.StatusChange, true},
		},
		"two failures of one message at the same time are two attempts": {
			steps{{"a", 1, webhook.Retrying, 0, 5, "", false}, {"a", 1, webhook.Retrying, 0, 6, "", true}},
			seen{webhook.Retrying, "1 1", "a", false, webhook.Time{}, moment(0), webhook.Time{}, webhook.Time{}, moment(66), webhook.StatusChange, true},
		},
		"a delivery whose config is gone is canceled": {
			steps{{"a", 0, webhook.Canceled, 0, 5, "", false}},
			seen{webhook.Canceled, "", "", false, webhook.Time{}, moment(0), webhook.Time{}, webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
		"a retry whose config is gone is canceled and settled": {
			steps{{"a", 1, webhook.Retrying, 0, 5, "", false}, {"a", 0, webhook.Canceled, 0, 70, "", false}},
			seen{webhook.Canceled, "1", "a", false, webhook.Time{}, moment(0), webhook.Time{}, webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
		"a resend whose config is gone does not take delivered away": {
			steps{{"a", 1, webhook.Delivered, 0, 5, "", false}, {"b", 0, webhook.Canceled, 100, 105, webhook.Resend, false}},
			seen{webhook.Delivered, "1", "a", false, moment(0), moment(0), moment(5), webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
		"a canceled delivery that is resent is delivered": {
			steps{{"a", 0, webhook.Canceled, 0, 5, "", false}, {"b", 1, webhook.Delivered, 100, 105, webhook.Resend, false}},
			seen{webhook.Delivered, "1", "b", false, moment(100), moment(100), moment(105), webhook.Time{}, webhook.Time{}, webhook.Resend, false},
		},
		"a first success on a later receive does not overwrite what another wrote": {
			steps{{"a", 1, webhook.Retrying, 0, 5, "", false}, {"a", 2, webhook.Delivered, 0, 70, "", true}},
			seen{webhook.Delivered, "1 2", "a", false, moment(0), moment(0), moment(70), webhook.Time{}, webhook.Time{}, webhook.StatusChange, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := dynamotest.New(t)
			d := record(t, db, test.steps...)
			var numbers []string
			for _, a := range d.Attempts {
				numbers = append(numbers, fmt.Sprint(a.Number))
			}
			got := seen{
				d.Status, strings.Join(numbers, " "), d.Round, d.RoundOver(), d.DoneFor, d.RequestedAt, d.DeliveredAt, d.FailedAt, d.NextAttemptAt, d.Trigger,
				strings.Contains(strings.Join(db.Items(t, logTable), ""), `"unsettled"`),
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if d.Event != event(1) || d.OrganizationID != organization || d.ConfigID != configID(1) {
				t.Errorf("the delivery is of %+v to %s of %s", d.Event, d.ConfigID, d.OrganizationID)
			}
		})
	}
}

// Whatever the order in which the results of three requests arrive, and whoever has seen whom, the
// log ends as delivered with the latest success, as far as single writes go.
func TestDeliveriesNeverGoBackwards(t *testing.T) {
	results := []step{
		{round: "first", number: 1, status: webhook.Delivered, requested: 0, at: 10},
		{round: "second", number: 1, status: webhook.Retrying, requested: 5, at: 11},
		{round: "third", number: 1, status: webhook.Delivered, requested: 6, at: 12},
		{round: "fourth", number: 5, status: webhook.DeliveryFailed, requested: 7, at: 13},
	}
	db := dynamotest.New(t)
	deliveries := deliveriesOf(db)
	permute(len(results), func(order []int) {
		for _, seen := range []int{0b0000, 0b1111, 0b0101} { // which writers know what was there before
			// A message of its own for each run gives it an item of its own.
			run := message(1)
			run.Event.ID = webhook.NewEventID(start(), fmt.Sprint(order, seen))
			done := webhook.Time{}
			var known *webhook.Delivery
			for i, n := range order {
				entry := results[n].entry(known)
				if seen&(1<<i) == 0 {
					entry.Known = nil
				}
				entry.Message.Event, entry.Message.ConfigID = run.Event, run.ConfigID
				if errs := deliveries.Record(t.Context(), []delivery.Entry{entry}); errs != nil {
					t.Fatal(errs)
				}
				known, _ = deliveries.Get(t.Context(), organization, run.ConfigID, run.Event.ID)
				if known.DoneFor.Before(done.Time) {
					t.Fatalf("order %v, seen %b: done_for went from %s to %s", order, seen, done, known.DoneFor)
				}
				if done = known.DoneFor; !done.IsZero() && known.Status != webhook.Delivered {
					t.Fatalf("order %v, seen %b: after a success the status is %s", order, seen, known.Status)
				}
			}
			if done != moment(6) {
				t.Fatalf("order %v, seen %b: done for %s, want the latest success", order, seen, done)
			}
		}
	})
}

// permute calls f with every order of n numbers.
func permute(n int, f func([]int)) {
	var visit func(order []int)
	visit = func(order []int) {
		if len(order) == n {
			f(order)
			return
		}
	next:
		for i := range n {
			for _, used := range order {
				if used == i {
					continue next
				}
			}
			visit(append(order[:len(order):len(order)], i))
		}
	}
	visit(nil)
}

func TestDeliveriesRecordBatch(t *testing.T) {
	// fresh is a first success of event n.
	fresh := func(n int) delivery.Entry {
		e := step{round: fmt.Sprint("m", n), number: 1, status: webhook.Delivered, at: 5}.entry(nil)
		e.Message.Event = event(n)
		return e
	}
	batch := func(n int) []delivery.Entry {
		var entries []delivery.Entry
		for i := range n {
			entries = append(entries, fresh(i))
		}
		return entries
	}
	stored := func(t *testing.T, db *dynamotest.DB) int { return len(db.Items(t, logTable)) }

	t.Run("each entry is one write", func(t *testing.T) {
		db := dynamotest.New(t)
		counts := operations(db)
		entries := batch(10)
		if errs := deliveriesOf(db).Record(t.Context(), entries); errs != nil {
			t.Fatal(errs)
		}
		if diff := cmp.Diff(map[string]int{"PutItem": 10}, counts); diff != "" {
			t.Error(diff)
		}
		if n := stored(t, db); n != 10 {
			t.Errorf("%d items, want 10", n)
		}
	})
	t.Run("an entry whose writer has seen nothing of others is two", func(t *testing.T) {
		db := dynamotest.New(t)
		record(t, db, step{round: "a", number: 1, status: webhook.Retrying, at: 5})
		counts := operations(db)
		if errs := deliveriesOf(db).Record(t.Context(), []delivery.Entry{step{round: "b", number: 1, status: webhook.Retrying, at: 6}.entry(nil)}); errs != nil {
			t.Fatal(errs)
		}
		if diff := cmp.Diff(map[string]int{"PutItem": 2}, counts); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("an item that has expired meanwhile is written anew", func(t *testing.T) {
		db := dynamotest.New(t)
		gone := &webhook.Delivery{Revision: 3, DoneFor: moment(0), Status: webhook.Delivered}
		e := step{round: "b", number: 1, status: webhook.Retrying, requested: 5, at: 6}.entry(gone)
		if errs := deliveriesOf(db).Record(t.Context(), []delivery.Entry{e}); errs != nil {
			t.Fatal(errs)
		}
		if d, err := deliveriesOf(db).Get(t.Context(), organization, configID(1), eventID(1)); err != nil || d.Status != webhook.Retrying || d.Revision != 1 {
			t.Errorf("got %+v, %v; want a new delivery, retrying", d, err)
		}
	})
	t.Run("another organization's is not overwritten", func(t *testing.T) {
		db := dynamotest.New(t)
		record(t, db, step{round: "a", number: 1, status: webhook.Retrying, at: 5})
		before := db.Items(t, logTable)
		e := step{status: webhook.Canceled, at: 6}.entry(nil)
		e.Message.OrganizationID = foreign
		if errs := deliveriesOf(db).Record(t.Context(), []delivery.Entry{e}); len(errs) != 1 || !errors.Is(errs[0], webhook.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", errs)
		}
		if diff := cmp.Diff(before, db.Items(t, logTable)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a writer that others always overtake gives up with an error", func(t *testing.T) {
		db := dynamotest.New(t)
		record(t, db, step{round: "a", number: 1, status: webhook.Retrying, at: 5})
		item := `{"config_id":{"S":"c"},"event_id":{"S":"e"},"organization_id":{"S":"` + organization + `"},"revision":{"N":"1"}}`
		always(db, "PutItem", &dynamotest.Fault{Status: 400, Body: `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"no","Item":` + item + `}`})
		if errs := deliveriesOf(db).Record(t.Context(), batch(1)); len(errs) != 1 || errs[0] == nil {
			t.Errorf("got %v, want an error", errs)
		}
	})
	t.Run("one bad item fails alone", func(t *testing.T) {
		db := dynamotest.New(t)
		entries := batch(3)
		bad := "evt_bad"
		entries[1].Message.Event.ID = bad
		db.Intercept(func(operation string, body []byte) *dynamotest.Fault {
			if strings.Contains(string(body), bad) {
				return dynamotest.Refusal("ValidationException", "item is bad")
			}
			return nil
		})
		errs := deliveriesOf(db).Record(t.Context(), entries)
		if len(errs) != 3 || errs[0] != nil || errs[1] == nil || errs[2] != nil {
			t.Errorf("got %v, want an error of the second alone", errs)
		}
		if n := stored(t, db); n != 2 {
			t.Errorf("%d items, want 2", n)
		}
	})
	t.Run("a write whose answer was lost is not repeated", func(t *testing.T) {
		db := dynamotest.New(t)
		deliveries := deliveriesOf(db)
		entries := batch(2)
		if errs := deliveries.Record(t.Context(), entries); errs != nil {
			t.Fatal(errs)
		}
		before := db.Items(t, logTable)
		if errs := deliveries.Record(t.Context(), entries); errs != nil {
			t.Fatal(errs)
		}
		if diff := cmp.Diff(before, db.Items(t, logTable)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("results of two messages at the same moment are both kept", func(t *testing.T) {
		db := dynamotest.New(t)
		after := record(t, db, step{round: "a", number: 1, status: webhook.Retrying, at: 5}, step{round: "b", number: 1, status: webhook.DeliveryFailed, at: 5, stale: true})
		if after.Status != webhook.DeliveryFailed || len(after.Attempts) != 2 {
			t.Errorf("%s after %d attempts, want failed after 2", after.Status, len(after.Attempts))
		}
	})
	t.Run("thirty writers at the same time are all logged", func(t *testing.T) {
		db := dynamotest.New(t)
		deliveries := deliveriesOf(db)
		var arrived, wait sync.WaitGroup
		const writers = 30
		arrived.Add(writers)
		for n := range writers {
			wait.Go(func() {
				arrived.Done()
				arrived.Wait()
				if errs := deliveries.Record(t.Context(), []delivery.Entry{step{round: fmt.Sprint(n), number: 1, status: webhook.Retrying, at: 5}.entry(nil)}); errs != nil {
					t.Error(errs)
				}
			})
		}
		wait.Wait()
		if d, err := deliveries.Get(t.Context(), organization, configID(1), eventID(1)); err != nil || d.Revision != writers {
			t.Errorf("%+v, %v; want %d revisions", d, err, writers)
		}
	})
	t.Run("everything fails when DynamoDB is away", func(t *testing.T) {
		db := dynamotest.New(t)
		db.Intercept(func(string, []byte) *dynamotest.Fault { return down() })
		errs := deliveriesOf(db).Record(t.Context(), batch(2))
		if len(errs) != 2 || errs[0] == nil || errs[1] == nil {
			t.Errorf("got %v, want two errors", errs)
		}
	})
}

func TestDeliveriesGet(t *testing.T) {
	db := dynamotest.New(t)
	record(t, db, step{round: "a", number: 1, status: webhook.Delivered, at: 5})
	for name, key := range map[string][3]string{
		"another organization's is not found": {foreign, configID(1), eventID(1)},
		"another config's is not found":       {organization, configID(2), eventID(1)},
		"another event's is not found":        {organization, configID(1), eventID(2)},
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := deliveriesOf(db).Get(t.Context(), key[0], key[1], key[2]); !errors.Is(err, webhook.ErrNotFound) {
				t.Errorf("got %v, %v; want ErrNotFound", d, err)
			}
		})
	}
}

func TestDeliveriesTrim(t *testing.T) {
	db := dynamotest.New(t)
	var steps []step
	for n := range webhook.MaxLoggedAttempts + 7 {
		steps = append(steps, step{round: fmt.Sprint("r", n), number: n + 1, status: webhook.Retrying, requested: n, at: n})
	}
	d := record(t, db, steps...)
	if len(d.Attempts) != webhook.MaxLoggedAttempts {
		t.Fatalf("%d attempts, want %d", len(d.Attempts), webhook.MaxLoggedAttempts)
	}
	for i, a := range d.Attempts {
		if a.Number != 8+i {
			t.Errorf("attempt %d has number %d, want the last twenty in order", i, a.Number)
		}
	}
}
