package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

const listDeliveries = "/v1/webhooks/deliveries"

func TestGetDelivery(t *testing.T) {
	for name, change := range map[string]func(*webhook.Delivery){
		"delivered": nil,
		"failed":    failing,
		"retrying":  retrying,
		"overdue":   due(-time.Hour - time.Millisecond), // its message was lost, and nothing has brought it again
		"started": func(d *webhook.Delivery) { // its attempt was logged when it began, and its result never was
			retrying(d)
			d.Attempts[0].ErrorCode, d.Attempts[0].Error = webhook.CodeUnknown, "the attempt began, and its end is not known"
		},
		"without-credentials": func(d *webhook.Delivery) {
			retrying(d)
			d.Attempts[0].ErrorCode, d.Attempts[0].Error = webhook.CodeCredentials, "the credentials could not be opened"
		},
		"canceled": func(d *webhook.Delivery) {
			canceled(d)
			d.Event.Test, d.Trigger = true, webhook.Test
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.delivery(w.config(ours, 1, nil), 60, change)
			golden(t, "get-delivery-"+name, w.do(get(listDeliveries+"/"+d.ID())))
		})
	}
	t.Run("of a later release, whose body this one cannot render", func(t *testing.T) {
		w := newWorld(t)
		d := w.delivery(w.config(ours, 1, nil), 60, func(d *webhook.Delivery) { d.Event.Version = webhook.RenderVersion + 1 })
		if _, shown := w.must(200, get(listDeliveries+"/"+d.ID())).one(t).Attributes["request_body"]; shown {
			t.Error("a body is shown")
		}
	})
}

func TestListDeliveries(t *testing.T) {
	w := newWorld(t)
	golden(t, "list-deliveries-empty", w.do(get(listDeliveries)))
	first, second := w.config(ours, 1, nil), w.config(ours, 2, nil)
	deleted := w.config(ours, 3, func(c *webhook.Config) { c.DeletedAt = webhook.At(start) })
	w.delivery(w.config(theirs, 1, nil), 0, nil)
	delivered := w.delivery(first, 10, nil)
	failed := w.delivery(first, 20, failing)
	again := w.delivery(second, 20, func(d *webhook.Delivery) {
		retrying(d)
		d.Event.DocumentID = "doc_other"
	})
	overdue := w.delivery(second, 30, due(-2*time.Hour))
	canceled := w.delivery(deleted, 40, canceled)
	w.delivery(first, 50, func(d *webhook.Delivery) { d.ExpiresAt = webhook.At(start.Add(-time.Hour)) })
	golden(t, "list-deliveries-page", w.do(get(listDeliveries+"?page[size]=1&filter[document_id]=doc_org_ours")))

	tie := []webhook.Delivery{failed, again} // of events of one moment
	slices.SortFunc(tie, newestFirst)
	id := func(minutes int) string {
		return url.QueryEscape(start.Add(-time.Duration(minutes) * time.Minute).Format(time.RFC3339))
	}
	for _, test := range []struct {
		name, query string
		want        []webhook.Delivery
	}{
		{"all, newest first", "", []webhook.Delivery{delivered, tie[0], tie[1], overdue, canceled}},
		{"delivered", "filter[status]=delivered", []webhook.Delivery{delivered}},
		{"failed", "filter[status]=failed", []webhook.Delivery{failed}},
		{"retrying, overdue ones included", "filter[status]=retrying", []webhook.Delivery{again, overdue}},
		{"canceled", "filter[status]=canceled", []webhook.Delivery{canceled}},
		{"of a config", "filter[webhook_config_id]=" + second.ID, []webhook.Delivery{again, overdue}},
		{"of a deleted config", "filter[webhook_config_id]=" + deleted.ID, []webhook.Delivery{canceled}},
		{"of an unknown config", "filter[webhook_config_id]=" + unknownID, nil},
		{"of a document", "filter[document_id]=doc_org_ours", []webhook.Delivery{delivered, failed, overdue, canceled}},
		{"of another document", "filter[document_id]=doc_other", []webhook.Delivery{again}},
		{"of a document with a status", "filter[document_id]=doc_org_ours&filter[status]=canceled", []webhook.Delivery{canceled}},
		{
			"of a document after a time", "filter[document_id]=doc_org_ours&filter[created_after]=" + id(30),
			[]webhook.Delivery{delivered, failed},
		},
		{"of an unknown document", "filter[document_id]=%00", nil},
		{"of a document whose id is longer than any", "filter[document_id]=" + strings.Repeat("%C3%BC", 256), nil},
		{
			"of a document and a config", "filter[document_id]=doc_org_ours&filter[webhook_config_id]=" + second.ID,
			[]webhook.Delivery{overdue},
		},
		{"after a time, exclusively", "filter[created_after]=" + id(20), []webhook.Delivery{delivered}},
		{"before a time, exclusively", "filter[created_before]=" + id(30), []webhook.Delivery{canceled}},
		{
			"between times", "filter[created_after]=" + id(31) + "&filter[created_before]=" + id(19),
			[]webhook.Delivery{tie[0], tie[1], overdue},
		},
		{"between times in other zones", "filter[created_after]=2026-01-31T13:29:00%2B02:00" +
			"&filter[created_before]=2026-01-31T06:31:00.5-05:00", []webhook.Delivery{overdue}},
		{"between nothing", "filter[created_after]=" + id(10) + "&filter[created_before]=" + id(40), nil},
		{"with every filter", "filter[status]=failed&filter[document_id]=doc_org_ours&filter[webhook_config_id]=" + first.ID +
			"&filter[created_after]=" + id(90) + "&filter[created_before]=" + id(0), []webhook.Delivery{failed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			want := []string{}
			for i := range test.want {
				want = append(want, test.want[i].ID())
			}
			for _, size := range []string{"", "&page[size]=1", "&page[size]=2"} {
				query := strings.Trim(test.query+size, "&")
				target := listDeliveries
				if query != "" {
					target += "?" + query
				}
				if ids, _ := w.pages(target); !slices.Equal(want, ids) {
					t.Errorf("%s\n%s", target, gocmp.Diff(want, ids))
				}
			}
		})
	}
	t.Run("pages that examine little", func(t *testing.T) {
		w.t, w.pageOf = t, 1
		ids, sizes := w.pages(listDeliveries + "?filter[status]=canceled")
		if diff := gocmp.Diff([]int{0, 0, 0, 0, 1}, sizes[:5]); diff != "" || len(ids) != 1 {
			t.Errorf("%d deliveries, page sizes (-want +got):\n%s", len(ids), diff)
		}
	})
}

func TestListDeliveriesOfADocument(t *testing.T) {
	w := newWorld(t)
	var all []*webhook.Config
	for n := range 20 {
		all = append(all, w.config(ours, n, nil))
	}
	for n := range 120 { // events, the newest of which has nothing logged
		e := event(n, webhook.Processed)
		for i, c := range all {
			if w.record(ours, e, c.ID); n > 0 {
				w.deliveries = append(w.deliveries, webhook.Delivery{
					OrganizationID: ours, ConfigID: c.ID, Event: e, Status: webhook.Delivered, Trigger: webhook.StatusChange,
					ExpiresAt: webhook.At(start.Add(time.Hour)),
				})
			}
			if n == 110 && i == 7 {
				w.deliveries[len(w.deliveries)-1].Status = webhook.Canceled
			}
		}
	}
	target := listDeliveries + "?filter[document_id]=doc_org_ours"
	sorted := slices.SortedFunc(slices.Values(w.deliveries), newestFirst)
	var want []string
	for i := range sorted {
		want = append(want, sorted[i].ID())
	}
	t.Run("lists each once, newest first", func(t *testing.T) {
		w.t = t
		if ids, sizes := w.pages(target + "&page[size]=100"); !slices.Equal(ids, want) || len(sizes) < 24 {
			t.Errorf("%d deliveries on %d pages, want %d:\n%s", len(ids), len(sizes), len(want), gocmp.Diff(want, ids))
		}
	})
	t.Run("reads a bounded number for one that is rare", func(t *testing.T) {
		w.t = t
		ids, sizes := w.pages(target + "&filter[status]=canceled")
		if len(ids) != 1 || len(sizes) < 120*20/300 {
			t.Errorf("%v on %d pages", ids, len(sizes))
		}
	})
	t.Run("reads only those of one config", func(t *testing.T) {
		w.t = t
		ids, sizes := w.pages(target + "&page[size]=100&filter[webhook_config_id]=" + all[7].ID)
		if len(ids) != 119 || len(sizes) > 4 {
			t.Errorf("%d deliveries on %d pages, want 119 on those of 50 events each", len(ids), len(sizes))
		}
	})
}

func TestListDeliveriesOfManyConfigs(t *testing.T) {
	w := newWorld(t)
	for n := range 301 {
		id := fmt.Sprintf("%08d-0000-7000-8000-000000000000", n)
		w.configs[ours+"/"+id] = &webhook.Config{OrganizationID: ours, ID: id, DeletedAt: webhook.At(start)}
	}
	d := w.delivery(w.config(ours, 1, nil), 1, nil)
	if ids := w.must(200, get(listDeliveries)).ids(t); !slices.Equal(ids, []string{d.ID()}) {
		t.Errorf("got %v", ids)
	}
}
