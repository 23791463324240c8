package dynamo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery"
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
		e := delivery.Entry{
			Message: m, Round: "r", Status: webhook.Delivered, At: webhook.At(start().Add(-l.age)),
			Attempt: &webhook.Attempt{Number: 1, StartedAt: webhook.At(start())},
		}
		if l.status != "" {
			e.Status = l.status
		}
		if e.Status == webhook.Retrying {
			e.NextAttemptAt = webhook.At(start().Add(-l.age).Add(time.Minute))
		}
		if errs := deliveries.Record(t.Context(), []delivery.Entry{e}); errs != nil {
			t.Fatal(errs)
		}
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
		t.Run(fmt.Sprintf("pages of %d of a document hold everything once, though its index orders no configs", limit), func(t *testing.T) {
			s := selection()
			s.DocumentID, s.Limit = documentID, limit
			withNinth := slices.Insert(slices.Clone(want), slices.IndexFunc(want, func(n string) bool { return strings.HasPrefix(n, "5/") }), "5/9")
			if diff := cmp.Diff(withNinth, listAll(t, db, s)); diff != "" {
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
	document := func(id string) func(*webhook.Selection) {
		return func(s *webhook.Selection) { s.DocumentID, s.ConfigIDs = id, nil }
	}
	for name, test := range map[string]struct {
		change func(*webhook.Selection)
		want   []string
	}{
		"everything that has not expired":             {func(*webhook.Selection) {}, []string{"7/2", "6/2", "5/1", "4/1", "3/1", "2/1", "1/1"}},
		"what is delivered":                           {statuses(webhook.Delivered), []string{"7/2", "1/1"}},
		"what has failed, long overdue retries too":   {statuses(webhook.DeliveryFailed), []string{"6/2", "4/1", "2/1"}},
		"what is retrying and not overdue":            {statuses(webhook.Retrying), []string{"3/1"}},
		"what is canceled":                            {statuses(webhook.Canceled), []string{"5/1"}},
		"one config":                                  {func(s *webhook.Selection) { s.ConfigIDs, s.ConfigID = []string{configID(2)}, configID(2) }, []string{"7/2", "6/2"}},
		"a document of the organization":              {document("another"), []string{"7/2"}},
		"a document whose key another one shares":     {document("another#x"), nil},
		"a document that there is not":                {document("none"), nil},
		"a document and a status":                     {func(s *webhook.Selection) { document(documentID)(s); statuses(webhook.DeliveryFailed)(s) }, []string{"6/2", "4/1", "2/1"}},
		"a document and a config":                     {func(s *webhook.Selection) { document(documentID)(s); s.ConfigID = configID(2) }, []string{"6/2"}},
		"what was created after an event, exclusive":  {func(s *webhook.Selection) { s.CreatedAfter = at(5) }, []string{"7/2", "6/2"}},
		"what was created after just before an event": {func(s *webhook.Selection) { s.CreatedAfter = at(5).Add(-time.Millisecond) }, []string{"7/2", "6/2", "5/1"}},
		"what was created before an event, exclusive": {func(s *webhook.Selection) { s.CreatedBefore = at(3) }, []string{"2/1", "1/1"}},
		"what was created before just after an event": {func(s *webhook.Selection) { s.CreatedBefore = at(3).Add(time.Millisecond) }, []string{"3/1", "2/1", "1/1"}},
		"what was created between two events":         {func(s *webhook.Selection) { s.CreatedAfter, s.CreatedBefore = at(2), at(6) }, []string{"5/1", "4/1", "3/1"}},
		"nothing between a time and an earlier one":   {func(s *webhook.Selection) { s.CreatedAfter, s.CreatedBefore = at(6), at(2) }, nil},
		"everything since long ago":                   {func(s *webhook.Selection) { s.CreatedAfter = time.Unix(-1e9, 0) }, []string{"7/2", "6/2", "5/1", "4/1", "3/1", "2/1", "1/1"}},
		"nothing after what is no place in the list":  {func(s *webhook.Selection) { s.After = &webhook.Place{} }, nil},
		"failures between two events": {func(s *webhook.Selection) {
			statuses(webhook.DeliveryFailed)(s)
			s.CreatedAfter, s.CreatedBefore = at(2), at(6)
		}, []string{"4/1"}},
		"of the document, what was created since then": {func(s *webhook.Selection) { document(documentID)(s); s.CreatedAfter = at(4) }, []string{"6/2", "5/1"}},
	} {
		t.Run(name, func(t *testing.T) {
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
	fillLog(t, db, logged{event: 0, config: 1, status: webhook.Canceled})
	var entries []delivery.Entry
	for n := 1; n < 400; n++ {
		e := step{round: "r", number: 1, status: webhook.Delivered}.entry(nil)
		e.Message.Event = event(n)
		if entries = append(entries, e); len(entries) == 25 || n == 399 {
			if errs := deliveriesOf(db).Record(t.Context(), entries); errs != nil {
				t.Fatal(errs)
			}
			entries = nil
		}
	}
	counts := operations(db)
	s := selection(1)
	s.Limit, s.Statuses = 10, []webhook.DeliveryStatus{webhook.Canceled}
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
				items = append(items, fmt.Sprintf(`{"config_id":{"S":%q},"event_id":{"S":%q},"unsettled":{"S":%q}}`, configID(1), eventID(event), eventID(event)))
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
