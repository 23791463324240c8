package api_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

const listEvents = "/v1/webhooks/events"

func TestListEvents(t *testing.T) {
	w := newWorld(t)
	golden(t, "list-events-empty", w.do(get(listEvents)))
	c := w.config(ours, 1, nil)
	created := webhook.Event{
		Version: 1, ID: webhook.NewEventID(start.Add(-50*time.Minute), "new"), DocumentID: "doc_new", Status: webhook.Pending,
		OccurredAt: webhook.At(start.Add(-50 * time.Minute)),
	}
	newest, failed, other := event(10, webhook.Processed), event(20, webhook.Failed), event(30, webhook.Processed)
	other.DocumentID = "doc_other"
	w.record(theirs, event(5, webhook.Processed), c.ID)
	w.record(ours, other)
	w.record(ours, created)
	w.record(ours, newest, w.config(ours, 2, nil).ID, c.ID)
	w.record(ours, failed, c.ID)
	w.record(ours, event(60, webhook.Processed), c.ID).ExpiresAt = webhook.At(start.Add(-time.Second))
	golden(t, "list-events-page", w.do(get(listEvents+"?page[size]=2&filter[document_status]=processed")))

	at := func(minutes int) string {
		return url.QueryEscape(start.Add(-time.Duration(minutes) * time.Minute).Format(time.RFC3339))
	}
	for _, test := range []struct {
		name, query string
		want        []webhook.Event
	}{
		{"all, newest first, without those that are expired", "", []webhook.Event{newest, failed, other, created}},
		{"of a status", "filter[document_status]=processed", []webhook.Event{newest, other}},
		{"of a status that no document had", "filter[document_status]=submitted", nil},
		{"of a document", "filter[document_id]=doc_other", []webhook.Event{other}},
		{"of an unknown document", "filter[document_id]=%00", nil},
		{"after a time, exclusively", "filter[created_after]=" + at(20), []webhook.Event{newest}},
		{"before a time, exclusively", "filter[created_before]=" + at(30), []webhook.Event{created}},
		{"between nothing", "filter[created_after]=" + at(10) + "&filter[created_before]=" + at(40), nil},
		{"with every filter", "filter[document_id]=doc_org_ours&filter[document_status]=failed&filter[created_after]=" + at(60) +
			"&filter[created_before]=" + at(0), []webhook.Event{failed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			want := []string{}
			for _, e := range test.want {
				want = append(want, e.ID)
			}
			for _, size := range []string{"", "&page[size]=1", "&page[size]=2"} {
				target := strings.TrimSuffix(listEvents+"?"+strings.Trim(test.query+size, "&"), "?")
				if ids, _ := w.pages(target); !slices.Equal(want, ids) {
					t.Errorf("%s\n%s", target, gocmp.Diff(want, ids))
				}
			}
		})
	}
	t.Run("pages that examine little", func(t *testing.T) {
		w.t, w.pageOf = t, 1
		defer func() { w.pageOf = 0 }()
		ids, sizes := w.pages(listEvents + "?filter[document_status]=pending")
		if diff := gocmp.Diff([]int{0, 0, 0, 1}, sizes[:4]); diff != "" || len(ids) != 1 {
			t.Errorf("%d events, page sizes (-want +got):\n%s", len(ids), diff)
		}
	})
	t.Run("a cursor goes with its filters, its organization and its list alone", func(t *testing.T) {
		w.t = t
		next := w.must(200, get(listEvents+"?page[size]=1")).Links.Next
		_, cursor, _ := strings.Cut(next, "page%5Bafter%5D=")
		cursor, _, _ = strings.Cut(cursor, "&")
		for _, c := range []call{
			get(listEvents + "?page[after]=" + cursor + "&filter[document_status]=failed"),
			get(listDeliveries + "?page[after]=" + cursor),
			{organization: theirs, method: "GET", target: next},
		} {
			w.refused(t, refusal{call: c, status: 400, problems: one("invalid_cursor", "parameter page[after]")})
		}
	})
}

func TestGetEvent(t *testing.T) {
	t.Run("shows every config that it was sent to, and what became of each", func(t *testing.T) {
		w := newWorld(t)
		first, second, third := w.config(ours, 1, nil), w.config(ours, 2, nil), w.config(ours, 3, nil)
		e := event(60, webhook.Processed)
		w.delivery(first, 60, func(d *webhook.Delivery) { d.Event = e })
		w.delivery(second, 60, func(d *webhook.Delivery) { d.Event = e; retrying(d) })
		w.record(ours, e, third.ID) // nothing was logged yet
		golden(t, "get-event", w.do(get(listEvents+"/"+e.ID)))
	})
	t.Run("shows one that nobody wanted", func(t *testing.T) {
		w := newWorld(t)
		e := event(60, webhook.Submitted)
		w.record(ours, e)
		golden(t, "get-event-unwanted", w.do(get(listEvents+"/"+e.ID)))
	})
	t.Run("leaves out what is expired", func(t *testing.T) {
		w := newWorld(t)
		d := w.delivery(w.config(ours, 1, nil), 60, func(d *webhook.Delivery) { d.ExpiresAt = webhook.At(start.Add(-time.Second)) })
		if answer := w.do(get(listEvents + "/" + d.Event.ID)); answer.status != 200 || strings.Contains(answer.body, "included") {
			t.Errorf("the expired delivery is shown: %s", answer.body)
		}
		w.events[0].ExpiresAt = webhook.At(start.Add(-time.Second))
		w.must(404, get(listEvents+"/"+d.Event.ID))
	})
}
