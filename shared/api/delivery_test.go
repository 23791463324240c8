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
		"overdue": func(d *webhook.Delivery) { // its message was lost in a crash on its last receive
			retrying(d)
			d.NextAttemptAt = webhook.At(start.Add(-time.Hour - time.Millisecond))
		},
		"canceled": func(d *webhook.Delivery) {
			d.Status, d.Attempts, d.DeliveredAt, d.DoneFor = webhook.Canceled, nil, webhook.Time{}, webhook.Time{}
			d.Event.Test, d.Trigger = true, webhook.Test
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.delivery(w.config(ours, 1, nil), 60, change)
			golden(t, "get-delivery-"+name, w.do(get(listDeliveries+"/"+d.ID())))
		})
	}
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
		d.Event.ID, d.Event.DocumentID = failed.Event.ID, "doc_other"
	})
	overdue := w.delivery(second, 30, func(d *webhook.Delivery) {
		retrying(d)
		d.NextAttemptAt = webhook.At(start.Add(-2 * time.Hour))
	})
	canceled := w.delivery(deleted, 40, func(d *webhook.Delivery) { d.Status = webhook.Canceled })
	w.delivery(first, 50, func(d *webhook.Delivery) { d.ExpiresAt = webhook.At(start.Add(-time.Hour)) })
	golden(t, "list-deliveries-page", w.do(get(listDeliveries+"?page[size]=1&filter[document_id]=doc_org_ours")))

	// One event to two configs: the greater config id comes first.
	tie := []webhook.Delivery{failed, again}
	slices.SortFunc(tie, func(a, b webhook.Delivery) int { return strings.Compare(b.ConfigID, a.ConfigID) })
	id := func(minutes int) string {
		return url.QueryEscape(start.Add(-time.Duration(minutes) * time.Minute).Format(time.RFC3339))
	}
	for _, test := range []struct {
		name, query string
		want        []webhook.Delivery
	}{
		{"all, newest first", "", []webhook.Delivery{delivered, tie[0], tie[1], overdue, canceled}},
		{"delivered", "filter[status]=delivered", []webhook.Delivery{delivered}},
		{"failed, overdue ones included", "filter[status]=failed", []webhook.Delivery{failed, overdue}},
		{"retrying, overdue ones excluded", "filter[status]=retrying", []webhook.Delivery{again}},
		{"canceled", "filter[status]=canceled", []webhook.Delivery{canceled}},
		{"of a config", "filter[webhook_config_id]=" + second.ID, []webhook.Delivery{again, overdue}},
		{"of a deleted config", "filter[webhook_config_id]=" + deleted.ID, []webhook.Delivery{canceled}},
		{"of an unknown config", "filter[webhook_config_id]=" + unknownID, nil},
		{"of a document", "filter[document_id]=doc_other", []webhook.Delivery{again}},
		{"of an unknown document", "filter[document_id]=%00", nil},
		{"of a document whose id is longer than any", "filter[document_id]=" + strings.Repeat("%C3%BC", 256), nil},
		{"of a document and a config", "filter[document_id]=doc_org_ours&filter[webhook_config_id]=" + second.ID, []webhook.Delivery{overdue}},
		{"after a time, exclusively", "filter[created_after]=" + id(20), []webhook.Delivery{delivered}},
		{"before a time, exclusively", "filter[created_before]=" + id(30), []webhook.Delivery{canceled}},
		{"between times", "filter[created_after]=" + id(31) + "&filter[created_before]=" + id(19), []webhook.Delivery{tie[0], tie[1], overdue}},
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

func TestListDeliveriesOfManyConfigs(t *testing.T) {
	w := newWorld(t)
	for n := range 301 {
		w.configs[fmt.Sprintf("%s/%d", ours, n)] = &webhook.Config{OrganizationID: ours, ID: fmt.Sprintf("%08d-0000-7000-8000-000000000000", n)}
	}
	w.refused(t, refusal{call: get(listDeliveries), status: 400, problems: one("too_many_configs", "")})
	w.must(200, get(listDeliveries+"?filter[document_id]=d"))
	w.must(200, get(listDeliveries+"?filter[webhook_config_id]="+unknownID))
	delete(w.configs, ours+"/0")
	w.must(200, get(listDeliveries))
}
