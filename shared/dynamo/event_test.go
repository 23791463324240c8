package dynamo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

// newRecord is event number n of organization org, about one of three documents. The events follow second by second.
func newRecord(n int, configs ...string) webhook.EventRecord {
	at := start().Add(time.Duration(n) * time.Second)
	sequence, err := webhook.NewSequence(fmt.Sprint("44215845000000000174503", n))
	if err != nil {
		panic(err)
	}
	return webhook.EventRecord{
		OrganizationID: "org",
		Event: webhook.Event{
			Version: 1, ID: webhook.NewEventID(at, fmt.Sprint(n)), DocumentID: fmt.Sprint("doc#", n%3), Status: webhook.Processed,
			Related:        "https://documents.example/doc",
			PreviousStatus: webhook.Processing, Sequence: sequence, OccurredAt: webhook.At(at.Add(-time.Minute)),
		},
		ConfigIDs: configs,
		ExpiresAt: endFrom(at),
	}
}

// endFrom returns the end of what is written at t: time to live has whole seconds.
func endFrom(t time.Time) webhook.Time {
	return webhook.At(t.Add(webhook.Retention).Truncate(time.Second))
}

func eventsTable(t *testing.T) (*dynamo.Events, *dynamotest.DB) {
	db := dynamotest.New(t)
	return &dynamo.Events{Client: db.Client, Table: "EventsTable"}, db
}

func addEvents(t *testing.T, events *dynamo.Events, records ...webhook.EventRecord) {
	t.Helper()
	if errs := events.Add(t.Context(), records); errs != nil {
		t.Fatal(errs)
	}
}

// storedEvent returns an event as the table has it.
func storedEvent(t *testing.T, events *dynamo.Events, want webhook.EventRecord) webhook.EventRecord {
	t.Helper()
	got, err := events.Get(t.Context(), want.OrganizationID, want.Event.ID)
	if err != nil {
		t.Fatal(err)
	}
	return *got
}

func TestAddEvents(t *testing.T) {
	snapshot := newRecord(2)
	snapshot.Event.PreviousStatus, snapshot.Event.Sequence = "", ""
	first := newRecord(3, "c1")
	first.Event.PreviousStatus = ""
	for name, test := range map[string]struct{ add, want []webhook.EventRecord }{
		"an event is read as it was written": {
			add: []webhook.EventRecord{newRecord(1, "c1", "c2")}, want: []webhook.EventRecord{newRecord(1, "c1", "c2")},
		},
		"one that nobody wants is written too": {add: []webhook.EventRecord{newRecord(1)}, want: []webhook.EventRecord{newRecord(1)}},
		"one without sequence and previous":    {add: []webhook.EventRecord{snapshot}, want: []webhook.EventRecord{snapshot}},
		"one twice is one for all configs": {
			add:  []webhook.EventRecord{newRecord(1, "c1"), newRecord(2), newRecord(1, "c2", "c1")},
			want: []webhook.EventRecord{newRecord(1, "c1", "c2"), newRecord(2)},
		},
		"each of several has its own attributes, also as many as another": {
			add:  []webhook.EventRecord{newRecord(1, "c1"), snapshot, first, newRecord(4), newRecord(5), newRecord(6, "c2")},
			want: []webhook.EventRecord{newRecord(1, "c1"), snapshot, first, newRecord(4), newRecord(5), newRecord(6, "c2")},
		},
		"configs that are named twice are one": {
			add: []webhook.EventRecord{newRecord(1, "c1", "c1")}, want: []webhook.EventRecord{newRecord(1, "c1")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			events, _ := eventsTable(t)
			addEvents(t, events, test.add...)
			for _, want := range test.want {
				if diff := cmp.Diff(want, storedEvent(t, events, want)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	t.Run("one that is there keeps what it is, and only its configs grow", func(t *testing.T) {
		events, _ := eventsTable(t)
		addEvents(t, events, newRecord(1, "c1"))
		later := newRecord(1, "c2")
		later.Event.Status, later.ExpiresAt = webhook.Failed, webhook.At(later.ExpiresAt.Add(time.Hour))
		addEvents(t, events, later, newRecord(2))
		want := newRecord(1, "c1", "c2")
		want.ExpiresAt = later.ExpiresAt
		if diff := cmp.Diff(want, storedEvent(t, events, want)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("without configs nothing is written again", func(t *testing.T) {
		events, db := eventsTable(t)
		addEvents(t, events, newRecord(1, "c1"))
		var operations []string
		db.Intercept(func(operation string, _ []byte) *dynamotest.Fault {
			operations = append(operations, operation)
			return nil
		})
		addEvents(t, events, newRecord(1))
		if diff := cmp.Diff([]string{"BatchExecuteStatement"}, operations); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(newRecord(1, "c1"), storedEvent(t, events, newRecord(1))); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("what was written at once takes no pause", func(t *testing.T) {
		events, _ := eventsTable(t)
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			addEvents(t, events, newRecord(1, "c1"), newRecord(2))
			if took := time.Since(began); took > 0 {
				t.Errorf("it took a pause of %s", took)
			}
		})
	})
	t.Run("a hundred take four requests", func(t *testing.T) {
		events, db := eventsTable(t)
		requests := 0
		db.Intercept(func(string, []byte) *dynamotest.Fault { requests++; return nil })
		var records []webhook.EventRecord
		for n := range 100 {
			records = append(records, newRecord(n, "c1"))
		}
		addEvents(t, events, records...)
		if items := db.Items(t, "EventsTable"); requests != 4 || len(items) != 100 {
			t.Errorf("%d requests for %d items", requests, len(items))
		}
	})
}

// batchAnswer is an answer to BatchExecuteStatement in which the statements about some events have failed with code.
func batchAnswer(t *testing.T, body []byte, code string, failed ...webhook.EventRecord) *dynamotest.Fault {
	t.Helper()
	var request struct{ Statements []json.RawMessage }
	if err := json.Unmarshal(body, &request); err != nil {
		t.Fatal(err)
	}
	var responses []string
	for _, statement := range request.Statements {
		response := `{"TableName":"EventsTable"}`
		if slices.ContainsFunc(failed, func(r webhook.EventRecord) bool { return strings.Contains(string(statement), r.Event.ID) }) {
			response = `{"TableName":"EventsTable","Error":{"Code":"` + code + `","Message":"no"}}`
		}
		responses = append(responses, response)
	}
	return &dynamotest.Fault{Status: 200, Body: `{"Responses":[` + strings.Join(responses, ",") + `]}`}
}

func TestAddEventsFails(t *testing.T) {
	t.Run("what is refused beside others is written again, and only that", func(t *testing.T) {
		events, db := eventsTable(t)
		var statements []int
		db.Intercept(func(_ string, body []byte) *dynamotest.Fault {
			statements = append(statements, strings.Count(string(body), "INSERT INTO"))
			if len(statements) < 3 {
				return batchAnswer(t, body, "ThrottlingError", newRecord(2), newRecord(3))
			}
			return nil
		})
		if errs := events.Add(t.Context(), []webhook.EventRecord{newRecord(1), newRecord(2), newRecord(3)}); errs == nil {
			t.Error("two events were refused twice in a row, and no error")
		}
		if diff := cmp.Diff([]int{3, 2}, statements); diff != "" {
			t.Errorf("when nothing of a request is accepted, no other follows: %s", diff)
		}
		statements = nil
		db.Intercept(func(_ string, body []byte) *dynamotest.Fault {
			if statements = append(statements, strings.Count(string(body), "INSERT INTO")); len(statements) == 1 {
				return batchAnswer(t, body, "ProvisionedThroughputExceeded", newRecord(2))
			}
			return nil
		})
		if errs := events.Add(t.Context(), []webhook.EventRecord{newRecord(1), newRecord(2), newRecord(3)}); errs != nil {
			t.Error(errs)
		}
		if diff := cmp.Diff([]int{3, 1}, statements); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("an error is that of its event alone", func(t *testing.T) {
		events, db := eventsTable(t)
		db.Intercept(func(_ string, body []byte) *dynamotest.Fault {
			return batchAnswer(t, body, "AccessDenied", newRecord(2))
		})
		errs := events.Add(t.Context(), []webhook.EventRecord{newRecord(1), newRecord(2), newRecord(2, "c1"), newRecord(3)})
		for i, err := range errs {
			if (err != nil) != (i == 1 || i == 2) {
				t.Errorf("event %d: %v", i, err)
			}
		}
		if len(errs) != 4 {
			t.Errorf("%d errors", len(errs))
		}
	})
	t.Run("a request that fails is an error of all", func(t *testing.T) {
		events, db := eventsTable(t)
		requests := 0
		db.Intercept(func(string, []byte) *dynamotest.Fault {
			requests++
			return dynamotest.Refusal("ThrottlingException", "no")
		})
		errs := events.Add(t.Context(), []webhook.EventRecord{newRecord(1), newRecord(2)})
		if len(errs) != 2 || errs[0] == nil || errs[1] == nil || requests != 1 {
			t.Errorf("%v after %d requests", errs, requests)
		}
	})
	t.Run("configs that cannot be added are an error", func(t *testing.T) {
		events, db := eventsTable(t)
		addEvents(t, events, newRecord(1))
		db.Intercept(func(operation string, _ []byte) *dynamotest.Fault {
			if operation == "UpdateItem" {
				return dynamotest.Refusal("ThrottlingException", "no")
			}
			return nil
		})
		errs := events.Add(t.Context(), []webhook.EventRecord{newRecord(1, "c1"), newRecord(2)})
		if len(errs) != 2 || errs[0] == nil || errs[1] != nil {
			t.Errorf("got %v", errs)
		}
	})
}

func TestAddConfigs(t *testing.T) {
	events, _ := eventsTable(t)
	addEvents(t, events, newRecord(1, "c1"))
	now := start().Add(30 * 24 * time.Hour)
	if err := events.AddConfigs(t.Context(), "org", newRecord(1).Event.ID, []string{"c3", "c2", "c3"}, now); err != nil {
		t.Fatal(err)
	}
	want := newRecord(1, "c1", "c2", "c3")
	want.ExpiresAt = endFrom(now)
	if diff := cmp.Diff(want, storedEvent(t, events, want)); diff != "" {
		t.Error(diff)
	}
	if err := events.AddConfigs(t.Context(), "org", newRecord(1).Event.ID, nil, now); err != nil {
		t.Errorf("none is an error: %v", err)
	}
	for name, key := range map[string][2]string{
		"there is no such event":       {"org", newRecord(2).Event.ID},
		"it is another organization's": {"other", newRecord(1).Event.ID},
	} {
		if err := events.AddConfigs(t.Context(), key[0], key[1], []string{"c1"}, now); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := events.Get(t.Context(), key[0], key[1]); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("%s, and there is one now: %v", name, err)
		}
	}
}

func TestListEvents(t *testing.T) {
	events, _ := eventsTable(t)
	var all []webhook.EventRecord
	for n := range 30 {
		r := newRecord(n)
		if n%10 == 0 {
			r.Event.Status = webhook.Failed
		}
		if n == 7 {
			r.ExpiresAt = webhook.At(start().Truncate(time.Second))
		}
		all = append(all, r)
	}
	other := newRecord(5)
	other.OrganizationID, other.Event.ID = "other", newRecord(40).Event.ID
	addEvents(t, events, append(all, other)...)
	at := func(n int) time.Time { return start().Add(time.Duration(n) * time.Second) }
	for name, test := range map[string]struct {
		selection webhook.EventSelection
		want      string // numbers of the events
	}{
		"all from new to old":         {want: "29 28 27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12 11 10 9 8 6 5 4 3 2 1 0"},
		"of a document":               {selection: webhook.EventSelection{DocumentID: "doc#1"}, want: "28 25 22 19 16 13 10 4 1"},
		"of a document that has none": {selection: webhook.EventSelection{DocumentID: "doc#9"}},
		"of a status":                 {selection: webhook.EventSelection{Statuses: []webhook.Status{webhook.Failed}}, want: "20 10 0"},
		"of a document and a status": {
			selection: webhook.EventSelection{DocumentID: "doc#1", Statuses: []webhook.Status{webhook.Failed}},
			want:      "10",
		},
		"after a time, which is not in":  {selection: webhook.EventSelection{CreatedAfter: at(27)}, want: "29 28"},
		"before a time, which is not in": {selection: webhook.EventSelection{CreatedBefore: at(2)}, want: "1 0"},
		"times finer than a millisecond": {
			selection: webhook.EventSelection{CreatedAfter: at(20).Add(-1), CreatedBefore: at(21).Add(1)}, want: "21 20",
		},
		"between times of one document": {
			selection: webhook.EventSelection{DocumentID: "doc#1", CreatedAfter: at(1), CreatedBefore: at(13)},
			want:      "10 4",
		},
		"after an event, which is not in": {selection: webhook.EventSelection{After: all[3].Event.ID}, want: "2 1 0"},
		"after the last event":            {selection: webhook.EventSelection{After: all[0].Event.ID}},
		"times that leave nothing":        {selection: webhook.EventSelection{CreatedAfter: at(5), CreatedBefore: at(5)}},
		"times the wrong way round":       {selection: webhook.EventSelection{CreatedAfter: at(9), CreatedBefore: at(5)}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, limit := range []int{1, 3, 100} {
				s := test.selection
				s.OrganizationID, s.Limit, s.Now = "org", limit, start().Add(time.Hour)
				var got []string
				for pages := 0; ; pages++ {
					page, next, err := events.List(t.Context(), s)
					if err != nil || len(page) > limit || pages > len(all) {
						t.Fatalf("page %d has %d events, %v", pages, len(page), err)
					}
					for _, r := range page {
						n := slices.IndexFunc(all, func(one webhook.EventRecord) bool { return one.Event.ID == r.Event.ID })
						got = append(got, fmt.Sprint(n))
						if diff := cmp.Diff(all[n], r); diff != "" {
							t.Error(diff)
						}
					}
					if next == "" {
						break
					}
					s.After = next
				}
				if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
					t.Errorf("%d a page: %s", limit, diff)
				}
			}
		})
	}
}

// A page that nothing matches ends after a bounded number of items and says where to go on.
func TestListEventsIsBounded(t *testing.T) {
	events, db := eventsTable(t)
	var all []webhook.EventRecord
	for n := range 1000 {
		r := newRecord(n)
		r.Event.DocumentID = "doc"
		all = append(all, r)
	}
	all[0].Event.Status = webhook.Failed
	addEvents(t, events, all...)
	for _, document := range []string{"", "doc"} {
		s := webhook.EventSelection{
			OrganizationID: "org", DocumentID: document, Statuses: []webhook.Status{webhook.Failed}, Limit: 15, Now: start(),
		}
		pages := 0
		for {
			requests := 0
			db.Intercept(func(string, []byte) *dynamotest.Fault { requests++; return nil })
			page, next, err := events.List(t.Context(), s)
			if pages++; err != nil || requests > 50 {
				t.Fatalf("%d requests, %v", requests, err)
			}
			if next == "" {
				if len(page) != 1 {
					t.Errorf("%q: the last page has %d events", document, len(page))
				}
				break
			}
			s.After = next
		}
		if pages < 3 || pages > 4 {
			t.Errorf("%q: %d pages of a thousand events", document, pages)
		}
	}
}

// Between the index and the item its time to live may end.
func TestListEventsOfADocumentLeavesOutWhatIsGone(t *testing.T) {
	events, db := eventsTable(t)
	addEvents(t, events, newRecord(1), newRecord(4), newRecord(7))
	db.Intercept(func(operation string, body []byte) *dynamotest.Fault {
		if operation == "BatchGetItem" {
			return &dynamotest.Fault{Status: 200, Body: `{"Responses":{"EventsTable":[]},"UnprocessedKeys":{}}`}
		}
		return nil
	})
	s := webhook.EventSelection{OrganizationID: "org", DocumentID: "doc#1", Limit: 2, Now: start()}
	page, next, err := events.List(t.Context(), s)
	if err != nil || len(page) != 0 || next != "" {
		t.Errorf("got %v, %q, %v", page, next, err)
	}
}
