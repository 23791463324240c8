package api_test

import (
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

// TestWhatIsTheirsDoesNotExist makes every request with ids of another organization and with ids
// that nobody has: the answers must be the same, and nothing of theirs may change.
func TestWhatIsTheirsDoesNotExist(t *testing.T) {
	unknownEvent := webhook.NewEventID(start, "nobody's")
	unknownDelivery, err := webhook.DeliveryID(unknownID, unknownEvent)
	if err != nil {
		t.Fatal(err)
	}
	type ids struct{ config, delivery, event, document string }
	everythingOf := func(id string) string {
		return `"webhook_config_id":"` + id + `","since":"2026-01-01T00:00:00Z"`
	}
	for name, request := range map[string]func(ids) call{
		"GET config":                   func(i ids) call { return get(configPath(i.config)) },
		"PATCH config":                 func(i ids) call { return change(i.config, `"is_active":false`) },
		"PATCH config, invalid":        func(i ids) call { return change(i.config, `"is_active":5`) },
		"PATCH config, no JSON":        func(i ids) call { return call{method: "PATCH", target: configPath(i.config), body: "x"} },
		"DELETE config":                func(i ids) call { return call{method: "DELETE", target: configPath(i.config)} },
		"POST rotate-secret":           func(i ids) call { return rotate(i.config, "") },
		"POST rotate-secret, invalid":  func(i ids) call { return rotate(i.config, overlapOf("-1")) },
		"POST test":                    func(i ids) call { return call{method: "POST", target: configPath(i.config) + "/test"} },
		"GET deliveries of a config":   func(i ids) call { return get(listDeliveries + "?filter[webhook_config_id]=" + i.config) },
		"GET deliveries of a document": func(i ids) call { return get(listDeliveries + "?filter[document_id]=" + i.document) },
		"GET deliveries of both": func(i ids) call {
			return get(listDeliveries + "?filter[document_id]=" + i.document + "&filter[webhook_config_id]=" + i.config)
		},
		"GET event":                func(i ids) call { return get(listEvents + "/" + i.event) },
		"GET events of a document": func(i ids) call { return get(listEvents + "?filter[document_id]=" + i.document) },
		"GET delivery":             func(i ids) call { return get(listDeliveries + "/" + i.delivery) },
		"POST resend of a delivery": func(i ids) call {
			return call{method: "POST", target: listDeliveries + "/" + i.delivery + "/resend"}
		},
		"POST resend of a document": func(i ids) call { return resendOf(`"document_id":"` + i.document + `"`) },
		"POST resend of a document to one": func(i ids) call {
			return resendOf(`"document_id":"` + i.document + `","webhook_config_id":"` + i.config + `"`)
		},
		"POST resend of our document to them": func(i ids) call {
			return resendOf(`"document_id":"doc_ours","webhook_config_id":"` + i.config + `"`)
		},
		"POST resend of what failed": func(i ids) call { return resendOf(everythingOf(i.config)) },
		"POST resend of all":         func(i ids) call { return resendOf(everythingOf(i.config) + `,"scope":"all"`) },
	} {
		t.Run(name, func(t *testing.T) {
			build := func() (*world, ids) {
				w := newWorld(t)
				w.delivery(w.config(ours, 1, nil), 1, nil)
				c := w.config(theirs, 1, nil)
				d := w.delivery(c, 2, func(d *webhook.Delivery) {
					failing(d)
					d.Event.DocumentID = "doc_theirs"
				})
				w.documents["doc_ours"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed}
				w.documents["doc_theirs"] = webhook.Document{OrganizationID: theirs, Status: webhook.Processed}
				return w, ids{config: c.ID, delivery: d.ID(), event: d.Event.ID, document: "doc_theirs"}
			}
			answer := func(pick func(foreign ids) ids) (reply, *world) {
				w, foreign := build()
				used := pick(foreign)
				r := w.do(request(used))
				r.body = strings.NewReplacer(
					used.config, "CONFIG", used.delivery, "DELIVERY", used.event, "EVENT", used.document, "DOCUMENT",
				).Replace(r.body)
				return r, w
			}
			want, _ := answer(func(ids) ids {
				return ids{config: unknownID, delivery: unknownDelivery, event: unknownEvent, document: "doc_nobody"}
			})
			got, after := answer(func(foreign ids) ids { return foreign })
			if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(reply{})); diff != "" {
				t.Errorf("what is theirs is not answered like what is unknown (-unknown +theirs):\n%s", diff)
			}
			before, _ := build()
			if diff := gocmp.Diff(before.configs, after.configs); diff != "" || len(after.sent) > 0 {
				t.Errorf("%d messages were sent; configs (-before +after):\n%s", len(after.sent), diff)
			}
			if got.status != 404 && strings.Contains(got.body, "webhook_delivery") {
				t.Errorf("a delivery is shown:\n%s", got.body)
			}
		})
	}
}

func TestListsHoldOnlyOurs(t *testing.T) {
	w := newWorld(t)
	mine := w.config(ours, 1, nil)
	d := w.delivery(mine, 1, nil)
	w.delivery(w.config(theirs, 1, nil), 2, nil)
	if got := w.must(200, get("/v1/webhooks/configs")).ids(t); len(got) != 1 || got[0] != mine.ID {
		t.Errorf("configs %v, want %s alone", got, mine.ID)
	}
	if got := w.must(200, get(listEvents)).ids(t); len(got) != 1 || got[0] != d.Event.ID {
		t.Errorf("events %v, want %s alone", got, d.Event.ID)
	}
	if got := w.must(200, get(listDeliveries)).ids(t); len(got) != 1 || got[0] != d.ID() {
		t.Errorf("deliveries %v, want %s alone", got, d.ID())
	}
}
