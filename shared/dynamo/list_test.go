package dynamo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

// logged is a delivery to put into the log.
type logged struct {
	event, config int
	status        webhook.DeliveryStatus // delivered if ""
	organization  string                 // the usual one if ""
	document      string                 // the usual one if ""
	age           time.Duration          // since it was recorded; decides when it expires
}

// name is how tests call a delivery: event and config.
func (l logged) name() string { return fmt.Sprintf("%d/%d", l.event, l.config) }

func nameOf(d *webhook.Delivery) string {
	minutes := int(d.CreatedAt().Sub(start()) / time.Minute)
	var config int
	fmt.Sscanf(d.ConfigID[len(d.ConfigID)-12:], "%x", &config)
	return fmt.Sprintf("%d/%d", minutes, config)
}

func fillLog(t *testing.T, db *dynamotest.DB, all ...logged) {
	t.Helper()
	deliveries := deliveriesOf(db)
	for _, l := range all {
		m := message(l.event)
		m.ConfigID = configID(l.config)
		if l.organization != "" {
			m.OrganizationID = l.organization
		}
		if l.document != "" {
			m.Event.DocumentID = l.document
		}
		status := webhook.Delivered
		if l.status != "" {
			status = l.status
		}
		o := outcome(m, status, 0, nil)
		o.At = webhook.At(start().Add(-l.age))
		if status == webhook.Retrying {
			o.NextAttemptAt = webhook.At(start().Add(-l.age).Add(time.Minute))
		}
		record(t, deliveries, o)
	}
}

// selection is of everything in configs.
func selection(configs ...int) webhook.Selection {
	s := webhook.Selection{OrganizationID: organization, Limit: 100, Now: start()}
	for _, n := range configs {
		s.ConfigIDs = append(s.ConfigIDs, configID(n))
	}
	return s
}

// listAll follows the pages of a selection to their end.
func listAll(t *testing.T, db *dynamotest.DB, s webhook.Selection) []string {
	t.Helper()
	var names []string
	for range 1000 {
		page, next, err := deliveriesOf(db).List(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > s.Limit {
			t.Fatalf("a page of %d, limit %d", len(page), s.Limit)
		}
		for i := range page {
			names = append(names, nameOf(&page[i]))
		}
		if next == nil {
			return names
		}
		s.After = next
	}
	t.Fatal("the list does not end")
	return nil
}

func TestDeliveriesList(t *testing.T) {
	db := dynamotest.New(t)
	var want []string // newest first
	var all []logged
	for event := 12; event >= 1; event-- {
		for config := 3; config >= 1; config-- {
			if event%4 == 0 || event%3+1 == config { // every fourth event goes to all
				l := logged{event: event, config: config}
				all = append(all, l)
				want = append(want, l.name())
			}
		}
	}
	slices.Reverse(all)
	fillLog(t, db, all...)
	fillLog(t, db, logged{event: 5, config: 9}, logged{event: 6, config: 8, organization: foreign})

	for _, limit := range []int{1, 2, 3, 5, len(want) - 1, len(want), len(want) + 1} {
		t.Run(fmt.Sprintf("pages of %d merge the configs, newest first, everything once", limit), func(t *testing.T) {
			s := selection(1, 2, 3)
			s.Limit = limit
			if diff := cmp.Diff(want, listAll(t, db, s)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a page that holds everything has no next", func(t *testing.T) {
		s := selection(1, 2, 3)
		s.Limit = len(want)
		if _, next, err := deliveriesOf(db).List(t.Context(), s); err != nil || next != nil {
			t.Errorf("next %v, %v", next, err)
		}
	})
	t.Run("a page that lacks one has a next", func(t *testing.T) {
		s := selection(1, 2, 3)
		s.Limit = len(want) - 1
		if _, next, err := deliveriesOf(db).List(t.Context(), s); err != nil || next == nil {
			t.Errorf("next %v, %v", next, err)
		}
	})
	t.Run("it goes on after every place", func(t *testing.T) {
		s := selection(1, 2, 3)
		for i, name := range want {
			var event, config int
			fmt.Sscanf(name, "%d/%d", &event, &config)
			s.After = &webhook.Place{EventID: eventID(event), ConfigID: configID(config)}
			if diff := cmp.Diff(slices.Clip(want[i+1:]), append([]string{}, listAll(t, db, s)...)); diff != "" {
				t.Errorf("after %s: %s", name, diff)
			}
		}
	})
	t.Run("no config, no deliveries", func(t *testing.T) {
		if got := listAll(t, db, selection()); got != nil {
			t.Errorf("got %v", got)
		}
	})
	t.Run("another organization's deliveries are not listed", func(t *testing.T) {
		if got := listAll(t, db, selection(8)); got != nil {
			t.Errorf("got %v", got)
		}
	})
}

func TestDeliveriesListFilters(t *testing.T) {
	db := dynamotest.New(t)
	day := 24 * time.Hour
	fillLog(t, db,
		logged{event: 1, config: 1},
		logged{event: 2, config: 1, status: webhook.DeliveryFailed},
		logged{event: 3, config: 1, status: webhook.Retrying},
		logged{event: 4, config: 1, status: webhook.Retrying, age: 2 * time.Hour}, // long overdue, so failed
		logged{event: 5, config: 1, status: webhook.Canceled},
		logged{event: 6, config: 2, status: webhook.DeliveryFailed},
		logged{event: 7, config: 2, document: "another"},
		logged{event: 8, config: 2, age: 91 * day}, // expired
		logged{event: 9, config: 3, organization: foreign, document: documentID},
		// The same document key as "another" of the usual organization, written by one with a strange name.
		logged{event: 10, config: 4, organization: organization + "#an", document: "other"},
		logged{event: 11, config: 4, organization: organization + "#another", document: "x"},
	)
	at := func(event int) time.Time { return start().Add(time.Duration(event) * time.Minute) }
	statuses := func(all ...webhook.DeliveryStatus) func(*webhook.Selection) {
		return func(s *webhook.Selection) { s.Statuses = all }
	}
	for _, test := range []struct {
		name   string
		change func(*webhook.Selection)
		want   []string
	}{
		{
			name:   "everything that has not expired",
			change: func(*webhook.Selection) {},
			want:   []string{"7/2", "6/2", "5/1", "4/1", "3/1", "2/1", "1/1"},
		},
		{name: "what is delivered", change: statuses(webhook.Delivered), want: []string{"7/2", "1/1"}},
		{name: "what has failed", change: statuses(webhook.DeliveryFailed), want: []string{"6/2", "2/1"}},
		{name: "what is retrying, long overdue or not", change: statuses(webhook.Retrying), want: []string{"4/1", "3/1"}},
		{name: "what is canceled", change: statuses(webhook.Canceled), want: []string{"5/1"}},
		{name: "one config", change: func(s *webhook.Selection) { s.ConfigIDs = []string{configID(2)} }, want: []string{"7/2", "6/2"}},
		{
			name:   "what was created after an event, exclusive",
			change: func(s *webhook.Selection) { s.CreatedAfter = at(5) },
			want:   []string{"7/2", "6/2"},
		},
		{
			name:   "what was created after just before an event",
			change: func(s *webhook.Selection) { s.CreatedAfter = at(5).Add(-time.Millisecond) },
			want:   []string{"7/2", "6/2", "5/1"},
		},
		{
			name:   "what was created before an event, exclusive",
			change: func(s *webhook.Selection) { s.CreatedBefore = at(3) },
			want:   []string{"2/1", "1/1"},
		},
		{
			name:   "what was created before just after an event",
			change: func(s *webhook.Selection) { s.CreatedBefore = at(3).Add(time.Millisecond) },
			want:   []string{"3/1", "2/1", "1/1"},
		},
		{
			name:   "what was created between two events",
			change: func(s *webhook.Selection) { s.CreatedAfter, s.CreatedBefore = at(2), at(6) },
			want:   []string{"5/1", "4/1", "3/1"},
		},
		{
			name:   "nothing between a time and an earlier one",
			change: func(s *webhook.Selection) { s.CreatedAfter, s.CreatedBefore = at(6), at(2) },
			want:   nil,
		},
		{
			name:   "everything since long ago",
			change: func(s *webhook.Selection) { s.CreatedAfter = time.Unix(-1e9, 0) },
			want:   []string{"7/2", "6/2", "5/1", "4/1", "3/1", "2/1", "1/1"},
		},
		{name: "nothing after what is no place in the list", change: func(s *webhook.Selection) { s.After = &webhook.Place{} }, want: nil},
		{name: "retries between two events", want: []string{"4/1", "3/1"}, change: func(s *webhook.Selection) {
			statuses(webhook.Retrying)(s)
			s.CreatedAfter, s.CreatedBefore = at(2), at(6)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, limit := range []int{1, 2, 100} {
				s := selection(1, 2)
				s.Limit = limit
				test.change(&s)
				if diff := cmp.Diff(test.want, listAll(t, db, s)); diff != "" {
					t.Errorf("in pages of %d: %s", limit, diff)
				}
			}
		})
	}
	t.Run("failures are found without reading the rest", func(t *testing.T) {
		db.Intercept(func(operation string, body []byte) *dynamotest.Fault {
			if operation == "Query" && !strings.Contains(string(body), `"IndexName":"unsettled"`) {
				t.Errorf("query %s", body)
			}
			return nil
		})
		defer db.Intercept(nil)
		s := selection(1, 2)
		s.Statuses = []webhook.DeliveryStatus{webhook.DeliveryFailed}
		listAll(t, db, s)
	})
}

func TestDeliveriesListIsBounded(t *testing.T) {
	db := dynamotest.New(t)
	// 400 deliveries of which the very oldest alone matches.
	fillLog(t, db, logged{event: 0, config: 1})
	var outcomes []webhook.Outcome
	for n := 1; n < 400; n++ {
		outcomes = append(outcomes, outcome(message(n), webhook.Canceled, 0, nil))
	}
	for _, r := range deliveriesOf(db).Record(t.Context(), outcomes) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	counts := operations(db)
	s := selection(1)
	s.Limit, s.Statuses = 10, []webhook.DeliveryStatus{webhook.Delivered}
	page, next, err := deliveriesOf(db).List(t.Context(), s)
	if err != nil || len(page) != 0 || next == nil {
		t.Fatalf("got %d deliveries, next %v, %v; want a short page with a next", len(page), next, err)
	}
	if counts["Query"] > 10 {
		t.Errorf("%d queries for one page", counts["Query"])
	}
	if diff := cmp.Diff([]string{"0/1"}, listAll(t, db, s)); diff != "" {
		t.Error(diff)
	}
}

// TestDeliveriesListReadsWhatItNeeds: what an index names costs a read each, so that a page over
// many configs must not read some of each of them.
func TestDeliveriesListReadsWhatItNeeds(t *testing.T) {
	db := dynamotest.New(t)
	const configs, events = 10, 6
	s := selection()
	var all []logged
	for config := 1; config <= configs; config++ {
		s.ConfigIDs = append(s.ConfigIDs, configID(config))
		for event := range events {
			// Of every three, two have failed and one is retrying.
			l := logged{event: event, config: config, status: webhook.DeliveryFailed}
			if (event+config)%3 == 0 {
				l.status = webhook.Retrying
			}
			all = append(all, l)
		}
	}
	fillLog(t, db, all...)
	read := 0
	db.Intercept(func(operation string, body []byte) *dynamotest.Fault {
		if operation == "BatchGetItem" {
			read += strings.Count(string(body), `"event_id"`)
		}
		return nil
	})
	s.Limit, s.Statuses = 6, []webhook.DeliveryStatus{webhook.DeliveryFailed}
	page, next, err := deliveriesOf(db).List(t.Context(), s)
	if err != nil || len(page) != s.Limit || next == nil {
		t.Fatalf("got %d deliveries, next %v, %v", len(page), next, err)
	}
	if read < s.Limit || read > 2*s.Limit {
		t.Errorf("%d items were read for a page of %d", read, s.Limit)
	}
	if n := len(listAll(t, db, s)); n != configs*events*2/3 {
		t.Errorf("%d are listed in all, want %d", n, configs*events*2/3)
	}
}

func TestDeliveriesListWhileChanging(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, db *dynamotest.DB){
		"newer deliveries do not move the following pages": func(t *testing.T, db *dynamotest.DB) {
			fillLog(t, db, logged{event: 20, config: 1}, logged{event: 21, config: 2})
		},
		"a delivery that settles meanwhile does not move them": func(t *testing.T, db *dynamotest.DB) {
			fillLog(t, db, logged{event: 8, config: 1}, logged{event: 6, config: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := dynamotest.New(t)
			var want []string
			for event := 1; event <= 8; event++ {
				l := logged{event: event, config: 1 + event%2, status: webhook.DeliveryFailed}
				fillLog(t, db, l)
				want = append(want, l.name())
			}
			slices.Reverse(want)
			s := selection(1, 2)
			s.Limit = 3
			page, next, err := deliveriesOf(db).List(t.Context(), s)
			if err != nil || next == nil {
				t.Fatal(next, err)
			}
			var got []string
			for i := range page {
				got = append(got, nameOf(&page[i]))
			}
			change(t, db)
			s.After = next
			got = append(got, listAll(t, db, s)...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("an index that is behind shows nothing that is not so", func(t *testing.T) {
		db := dynamotest.New(t)
		fillLog(t, db, logged{event: 1, config: 1, status: webhook.DeliveryFailed}, logged{event: 2, config: 1})
		// The index still names a delivery that has succeeded meanwhile and one that is gone.
		db.Intercept(func(operation string, _ []byte) *dynamotest.Fault {
			if operation != "Query" {
				return nil
			}
			var items []string
			for event := 3; event >= 1; event-- {
				id := eventID(event)
				items = append(items, fmt.Sprintf(`{"config_id":{"S":%q},"event_id":{"S":%q},"unsettled":{"S":%q}}`, configID(1), id, id))
			}
			return &dynamotest.Fault{Status: 200, Body: `{"Items":[` + strings.Join(items, ",") + `]}`}
		})
		s := selection(1)
		s.Statuses = []webhook.DeliveryStatus{webhook.DeliveryFailed}
		if diff := cmp.Diff([]string{"1/1"}, listAll(t, db, s)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDeliveriesListFails(t *testing.T) {
	for name, operation := range map[string]string{
		"when a query fails":                     "Query",
		"when the items of an index cannot read": "BatchGetItem",
	} {
		t.Run(name, func(t *testing.T) {
			db := dynamotest.New(t)
			fillLog(t, db, logged{event: 1, config: 1, status: webhook.DeliveryFailed})
			always(db, operation, down())
			s := selection(1, 2)
			s.Statuses = []webhook.DeliveryStatus{webhook.DeliveryFailed}
			if page, next, err := deliveriesOf(db).List(t.Context(), s); err == nil || page != nil || next != nil {
				t.Errorf("got %v, %v, %v; want an error", page, next, err)
			}
		})
	}
}
