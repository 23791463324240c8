package api_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

func resendOf(attributes string) call {
	return call{method: "POST", target: "/v1/webhooks/resend", body: `{"data":{"type":"webhook_resend","attributes":{` + attributes + `}}}`}
}

func TestSendTest(t *testing.T) {
	for status, previous := range map[webhook.Status]webhook.Status{
		webhook.Pending: "", webhook.Submitted: webhook.Pending, webhook.Processing: webhook.Submitted,
		webhook.Processed: webhook.Processing, webhook.Failed: webhook.Processing,
	} {
		t.Run(string(status), func(t *testing.T) {
			w := newWorld(t)
			c := w.config(ours, 1, func(c *webhook.Config) { c.SubscribedStatuses = []webhook.Status{status, webhook.Pending} })
			first := w.must(202, call{method: "POST", target: configPath(c.ID) + "/test"}).ids(t)
			second := w.must(202, call{method: "POST", target: configPath(c.ID) + "/test"}).ids(t)
			if slices.Equal(first, second) || len(w.sent) != 2 {
				t.Fatalf("%v and %v: %+v", first, second, w.sent)
			}
			m := w.sent[0]
			id, err := webhook.DeliveryID(c.ID, m.Event.ID)
			if err != nil || first[0] != id {
				t.Errorf("answered %v, sent %s (%v)", first, id, err)
			}
			if !strings.HasPrefix(m.Event.DocumentID, "doc_") {
				t.Errorf("document %q", m.Event.DocumentID)
			}
			want := webhook.Message{
				OrganizationID: ours, ConfigID: c.ID, RequestedAt: webhook.At(start), Trigger: webhook.Test,
				Event: webhook.Event{
					Version:        1,
					ID:             m.Event.ID,
					DocumentID:     m.Event.DocumentID,
					Status:         status,
					PreviousStatus: previous,
					OccurredAt:     webhook.At(start),
					Test:           true,
				},
			}
			if diff := gocmp.Diff(want, m); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			deliverable(t, m)
		})
	}
	w := newWorld(t)
	golden(t, "test", w.do(call{method: "POST", target: configPath(w.config(ours, 1, nil).ID) + "/test"}))
}

// deliverable checks that a message is one that the deliver function understands.
func deliverable(t *testing.T, m webhook.Message) {
	t.Helper()
	text, err := m.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := webhook.ParseMessage(string(text)); err != nil || got != m {
		t.Errorf("the message %s reads as %+v: %v", text, got, err)
	}
}

// resent is the message that resends a delivery of ours at start.
func resent(d webhook.Delivery) webhook.Message {
	return webhook.Message{
		OrganizationID: ours,
		ConfigID:       d.ConfigID,
		Event:          d.Event,
		RequestedAt:    webhook.At(start),
		Trigger:        webhook.Resend,
	}
}

func TestResendDelivery(t *testing.T) {
	w := newWorld(t)
	d := w.delivery(w.config(ours, 1, nil), 60, failing)
	golden(t, "resend-delivery", w.do(call{method: "POST", target: listDeliveries + "/" + d.ID() + "/resend"}))
	want := []webhook.Message{resent(d)}
	if diff := gocmp.Diff(want, w.sent); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	deliverable(t, w.sent[0])
}

func TestResendDocument(t *testing.T) {
	const id = "doc_org_ours"
	made := func(status webhook.Status, occurred webhook.Time) webhook.Event {
		return webhook.Event{Version: 1, DocumentID: id, Status: status, OccurredAt: occurred}
	}
	updated := webhook.At(start.Add(-5 * time.Minute))
	for _, test := range []struct {
		name  string
		build func(w *world) (attributes string, want []webhook.Message) // "" as an event id stands for a new event
	}{
		{"takes the newest logged event of the status", func(w *world) (string, []webhook.Message) {
			a, b := w.config(ours, 1, nil), w.config(ours, 2, nil)
			w.delivery(a, 30, nil)
			newest := w.delivery(a, 20, func(d *webhook.Delivery) { d.DoneFor = webhook.At(start.Add(time.Hour)) })
			w.delivery(a, 10, func(d *webhook.Delivery) { d.Event.Status = webhook.Failed })
			w.delivery(a, 5, func(d *webhook.Delivery) { d.Event.Test = true })
			return `"document_id":"` + id + `"`, []webhook.Message{
				{ConfigID: a.ID, Event: newest.Event, RequestedAt: webhook.At(start.Add(time.Hour + time.Millisecond))},
				{ConfigID: b.ID, Event: newest.Event, RequestedAt: webhook.At(start)},
			}
		}},
		{"makes a new event where none is logged", func(w *world) (string, []webhook.Message) {
			a := w.config(ours, 1, nil)
			return `"document_id":"` + id + `"`, []webhook.Message{{
				ConfigID: a.ID, RequestedAt: webhook.At(start), Event: made(webhook.Processed, updated),
			}}
		}},
		{"is now where the document does not say when", func(w *world) (string, []webhook.Message) {
			a := w.config(ours, 1, nil)
			w.documents[id] = webhook.Document{OrganizationID: ours, Status: webhook.Failed, UpdatedAt: "yesterday"}
			return `"document_id":"` + id + `"`, []webhook.Message{{
				ConfigID: a.ID, RequestedAt: webhook.At(start), Event: made(webhook.Failed, webhook.At(start)),
			}}
		}},
		{"passes over configs that are inactive, not subscribed or another organization's", func(w *world) (string, []webhook.Message) {
			w.config(ours, 1, func(c *webhook.Config) { c.Active = false })
			w.config(ours, 2, func(c *webhook.Config) { c.SubscribedStatuses = []webhook.Status{webhook.Pending} })
			w.config(theirs, 1, nil)
			return `"document_id":"` + id + `"`, nil
		}},
		{"goes to one config alone", func(w *world) (string, []webhook.Message) {
			w.config(ours, 1, nil)
			b := w.config(ours, 2, nil)
			return `"document_id":"` + id + `","webhook_config_id":"` + b.ID + `"`, []webhook.Message{{
				ConfigID: b.ID, RequestedAt: webhook.At(start), Event: made(webhook.Processed, updated),
			}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.documents[id] = webhook.Document{OrganizationID: ours, Status: webhook.Processed, UpdatedAt: updated.String()}
			attributes, want := test.build(w)
			d := w.must(202, resendOf(attributes))
			var got []webhook.Message
			for i, m := range w.sent {
				deliverable(t, m)
				if i < len(want) && want[i].Event.ID == "" {
					m.Event.ID = ""
				}
				got = append(got, m)
			}
			for i := range want {
				want[i].OrganizationID, want[i].Trigger = ours, webhook.Resend
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if len(d.ids(t)) != len(want) || d.Meta.Accepted != len(want) {
				t.Errorf("answered %s, %d accepted", d.Data, d.Meta.Accepted)
			}
		})
	}
}

func TestResendDocumentRefuses(t *testing.T) {
	w := newWorld(t)
	inactive := w.config(ours, 1, func(c *webhook.Config) { c.Active = false })
	pending := w.config(ours, 2, func(c *webhook.Config) { c.SubscribedStatuses = []webhook.Status{webhook.Pending} })
	w.documents["doc"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed}
	w.documents["doc_odd"] = webhook.Document{OrganizationID: ours, Status: "archived"}
	config := "pointer /data/attributes/webhook_config_id"
	for _, r := range []refusal{
		{"of a status that is none", resendOf(`"document_id":"doc_odd"`),
			409, one("unknown_document_status", "pointer /data/attributes/document_id")},
		{"to an inactive config", resendOf(`"document_id":"doc","webhook_config_id":"` + inactive.ID + `"`), 409, one("config_inactive", "")},
		{"to a config that does not subscribe", resendOf(`"document_id":"doc","webhook_config_id":"` + pending.ID + `"`),
			409, one("not_subscribed", config)},
		{"to an unknown config", resendOf(`"document_id":"doc","webhook_config_id":"` + unknownID + `"`), 404, one("not_found", config)},
	} {
		t.Run(r.name, func(t *testing.T) {
			w.t = t
			w.refused(t, r)
		})
	}
}

func TestResendFailed(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	failedAt := func(minutes int) func(*webhook.Delivery) {
		return func(d *webhook.Delivery) {
			failing(d)
			d.FailedAt = webhook.At(start.Add(-time.Duration(minutes) * time.Minute))
		}
	}
	w.delivery(c, 1, nil)      // delivered
	w.delivery(c, 2, retrying) // not failed yet
	last := w.delivery(c, 3, failedAt(60))
	w.delivery(c, 4, failedAt(59))
	overdue := w.delivery(c, 5, func(d *webhook.Delivery) {
		retrying(d)
		d.NextAttemptAt = webhook.At(start.Add(-90 * time.Minute)) // it failed when the retry did not come
	})
	first := w.delivery(c, 6, failedAt(120))
	w.delivery(c, 7, failedAt(121))
	w.delivery(w.config(ours, 2, nil), 8, failedAt(100))
	window := `"webhook_config_id":"` + c.ID + `","failed_since":"2026-01-31T10:00:00Z","failed_until":"2026-01-31T12:00:00+01:00"`

	golden(t, "resend-failed", w.do(resendOf(window)))
	want := []webhook.Message{}
	for _, d := range []webhook.Delivery{last, overdue, first} {
		want = append(want, resent(d))
	}
	if diff := gocmp.Diff(want, w.sent); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}

	t.Run("a page at a time", func(t *testing.T) {
		w.t, w.pageOf, w.sent = t, 2, nil
		request, pages := resendOf(window), 0
		for request.target != "" {
			request.target = w.must(202, request).Links.Next
			pages++
		}
		if diff := gocmp.Diff(want, w.sent); diff != "" || pages < 4 {
			t.Errorf("%d pages, messages (-want +got):\n%s", pages, diff)
		}
	})
	t.Run("without an end", func(t *testing.T) {
		w.t, w.pageOf, w.sent = t, 0, nil
		if d := w.must(202, resendOf(`"webhook_config_id":"`+c.ID+`","failed_since":"1970-01-01T00:00:00Z"`)); d.Meta.Accepted != 5 {
			t.Errorf("%d accepted, want 5", d.Meta.Accepted)
		}
	})
}
