package api_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
				Round: webhook.FirstRound, Attempt: 1, NotBefore: webhook.At(start),
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
	if got, err := webhook.ParseMessage(string(text), start); err != nil || got != m {
		t.Errorf("the message %s reads as %+v: %v", text, got, err)
	}
}

// messages returns what was sent. A round that is not the first has the name "later".
func (w *world) messages(t *testing.T) []webhook.Message {
	t.Helper()
	got := []webhook.Message{}
	for _, m := range w.sent {
		deliverable(t, m)
		if m.Round != webhook.FirstRound {
			m.Round = "later"
		}
		got = append(got, m)
	}
	return got
}

// resent is the message that resends a delivery of ours at start, in the way that want names.
func resent(d webhook.Delivery, want string) webhook.Message {
	m := webhook.Message{
		OrganizationID: ours, ConfigID: d.ConfigID, Event: d.Event, RequestedAt: d.RequestedAt, Trigger: webhook.Resend,
		Round: "later", Attempt: 1, NotBefore: webhook.At(start), Again: true,
	}
	switch want {
	case asNew:
		m.RequestedAt = webhook.At(d.RequestedAt.Add(time.Millisecond))
	case asFirst:
		m.Round = webhook.FirstRound
	}
	return m
}

// How an event is sent again.
const (
	notAtAll = ""
	asNew    = "new"    // as a request of its own, which a success meanwhile does not make obsolete
	asRepeat = "repeat" // for the request that has not succeeded
	asFirst  = "first"  // in the place of the first attempt, of which nothing was logged
)

func TestResendDelivery(t *testing.T) {
	w := newWorld(t)
	d := w.delivery(w.config(ours, 1, nil), 60, failing)
	golden(t, "resend-delivery", w.do(call{method: "POST", target: listDeliveries + "/" + d.ID() + "/resend"}))
	want := []webhook.Message{resent(d, asNew)}
	if diff := gocmp.Diff(want, w.messages(t)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestWhatIsOnItsWayIsNotSentTwice(t *testing.T) {
	for name, again := range map[string]func(c *webhook.Config, d webhook.Delivery) call{
		"a delivery": func(_ *webhook.Config, d webhook.Delivery) call {
			return call{method: "POST", target: listDeliveries + "/" + d.ID() + "/resend"}
		},
		"a document": func(_ *webhook.Config, d webhook.Delivery) call {
			return resendOf(`"document_id":"` + d.Event.DocumentID + `"`)
		},
		"a period": func(c *webhook.Config, _ webhook.Delivery) call {
			return resendOf(`"webhook_config_id":"` + c.ID + `","since":"2026-01-01T00:00:00Z"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.config(ours, 1, nil)
			d := w.delivery(c, 60, failing)
			w.documents[d.Event.DocumentID] = webhook.Document{OrganizationID: ours, Status: d.Event.Status}
			for range 2 {
				w.must(202, again(c, d))
			}
			if len(w.sent) != 2 || w.sent[0] != w.sent[1] || !w.sent[0].Again {
				t.Errorf("sent %+v, want the same attempt twice, which asks the log first", w.sent)
			}
		})
	}
}

func TestLanes(t *testing.T) {
	fast := func(c *webhook.Config) { c.FastUntil = webhook.At(start.Add(time.Second)) }
	for _, test := range []struct {
		name   string
		change func(*webhook.Config)
		want   string // queue of what is sent alone
	}{
		{"a new config's in the slow one", nil, retryQueue},
		{"a fast config's in the fast one", fast, deliveryQueue},
		{"that of one that was fast in the slow one", func(c *webhook.Config) { c.FastUntil = webhook.At(start) }, retryQueue},
		{"that of a fast one that has been slow lately in the slow one", func(c *webhook.Config) {
			fast(c)
			c.SlowUntil = webhook.At(start.Add(time.Second))
		}, retryQueue},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			c := w.config(ours, 1, test.change)
			d := w.delivery(c, 1, failing)
			w.documents["doc"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed}
			w.must(202, call{method: "POST", target: configPath(c.ID) + "/test"})
			w.must(202, call{method: "POST", target: listDeliveries + "/" + d.ID() + "/resend"})
			w.must(202, resendOf(`"document_id":"doc"`))
			w.must(202, resendOf(`"webhook_config_id":"`+c.ID+`","since":"2026-01-01T00:00:00Z"`))
			want := []string{test.want, test.want, retryQueue, retryQueue} // what may be many takes nobody's place
			if diff := gocmp.Diff(want, w.queues); diff != "" {
				t.Errorf("queues (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResendDocument(t *testing.T) {
	const id = "doc_org_ours"
	updated := webhook.At(start.Add(-5 * time.Minute))
	made := func(status webhook.Status, occurred webhook.Time) webhook.Event {
		return webhook.Event{Version: 1, DocumentID: id, Status: status, OccurredAt: occurred}
	}
	now, after := webhook.At(start), func(at time.Time) webhook.Time { return webhook.At(at.Add(time.Millisecond)) }
	for _, test := range []struct {
		name  string
		build func(w *world) (attributes string, want []webhook.Message) // "" as an event id stands for a snapshot's
	}{
		{"takes the newest recorded event of the status", func(w *world) (string, []webhook.Message) {
			a, b := w.config(ours, 1, nil), w.config(ours, 2, nil)
			later := webhook.At(start.Add(time.Minute))
			w.delivery(a, 30, nil)
			newest := w.delivery(a, 20, func(d *webhook.Delivery) { d.DoneFor = later })
			w.delivery(a, 10, func(d *webhook.Delivery) { d.Event.Status = webhook.Failed })
			return `"document_id":"` + id + `"`, []webhook.Message{
				{ConfigID: a.ID, Event: newest.Event, RequestedAt: after(later.Time)},
				{ConfigID: b.ID, Event: newest.Event, RequestedAt: after(start.Add(-20 * time.Minute))},
			}
		}},
		{"takes one that was sent to nobody", func(w *world) (string, []webhook.Message) {
			a, e := w.config(ours, 1, nil), event(1, webhook.Processed)
			w.record(ours, e)
			return `"document_id":"` + id + `"`, []webhook.Message{{
				ConfigID: a.ID, Event: e, RequestedAt: after(start.Add(-time.Minute)),
			}}
		}},
		{"makes a snapshot where none is recorded", func(w *world) (string, []webhook.Message) {
			a := w.config(ours, 1, nil)
			snapshot := webhook.Message{ConfigID: a.ID, RequestedAt: after(updated.Time), Event: made(webhook.Processed, updated)}
			return `"document_id":"` + id + `"`, []webhook.Message{snapshot}
		}},
		{"makes a snapshot of now where the document does not say when", func(w *world) (string, []webhook.Message) {
			a := w.config(ours, 1, nil)
			w.documents[id] = webhook.Document{OrganizationID: ours, Status: webhook.Failed, UpdatedAt: "yesterday"}
			return `"document_id":"` + id + `"`, []webhook.Message{{
				ConfigID: a.ID, RequestedAt: after(start), Event: made(webhook.Failed, now),
			}}
		}},
		{"asks now for a snapshot of a time to come", func(w *world) (string, []webhook.Message) {
			a, tomorrow := w.config(ours, 1, nil), webhook.At(start.Add(23*time.Hour))
			w.documents[id] = webhook.Document{OrganizationID: ours, Status: webhook.Failed, UpdatedAt: tomorrow.String()}
			return `"document_id":"` + id + `"`, []webhook.Message{{
				ConfigID: a.ID, RequestedAt: after(start), Event: made(webhook.Failed, tomorrow),
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
				ConfigID: b.ID, RequestedAt: after(updated.Time), Event: made(webhook.Processed, updated),
			}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.documents[id] = webhook.Document{OrganizationID: ours, Status: webhook.Processed, UpdatedAt: updated.String()}
			attributes, want := test.build(w)
			d := w.must(202, resendOf(attributes))
			got := w.messages(t)
			for i, m := range got {
				if record, err := (records{w}).Get(t.Context(), ours, m.Event.ID); err != nil || record.Event != m.Event ||
					!slices.Contains(record.ConfigIDs, m.ConfigID) || !record.ExpiresAt.Equal(start.Add(webhook.Retention)) {
					t.Errorf("what is sent is recorded as %+v, %v", record, err)
				}
				if i < len(want) && want[i].Event.ID == "" {
					got[i].Event.ID = ""
				}
			}
			for i := range want {
				m := resent(webhook.Delivery{ConfigID: want[i].ConfigID, Event: want[i].Event}, asRepeat)
				m.RequestedAt = want[i].RequestedAt
				want[i] = m
			}
			if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if len(d.ids(t)) != len(want) || d.Meta.Accepted != len(want) {
				t.Errorf("answered %s, %d accepted", d.Data, d.Meta.Accepted)
			}
		})
	}
}

func TestSnapshotsAreMadeOnce(t *testing.T) {
	for name, updated := range map[string]string{
		"of a document that says when it changed":     "2026-01-31T11:00:00Z",
		"of a document that says so in seconds":       "1769857200",
		"of a document that does not say when at all": "",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.config(ours, 1, nil)
			w.documents["doc"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed, UpdatedAt: updated}
			for range 3 {
				w.must(202, resendOf(`"document_id":"doc"`))
				w.now = w.now.Add(time.Minute)
			}
			if len(w.events) != 1 || len(w.sent) != 3 || w.sent[2].Event != w.events[0].Event {
				t.Errorf("%d events in the record, sent %+v", len(w.events), w.sent)
			}
		})
	}
	t.Run("also where the record's index lags behind", func(t *testing.T) {
		w := newWorld(t)
		w.config(ours, 1, nil)
		w.documents["doc"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed, UpdatedAt: "2026-01-31T11:00:00Z"}
		w.must(202, resendOf(`"document_id":"doc"`))
		w.events = nil
		w.must(202, resendOf(`"document_id":"doc"`))
		if w.sent[0].Event != w.sent[1].Event {
			t.Errorf("events %+v and %+v", w.sent[0].Event, w.sent[1].Event)
		}
	})
	t.Run("and not for nobody", func(t *testing.T) {
		w := newWorld(t)
		w.documents["doc"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed}
		if w.must(202, resendOf(`"document_id":"doc"`)); len(w.events) > 0 {
			t.Errorf("recorded %+v", w.events)
		}
	})
}

func TestEventsOfTheAPISayWhereTheDocumentCanBeFetched(t *testing.T) {
	w := newWorld(t)
	w.documentURL = "https://documents.example/{document_id}"
	c := w.config(ours, 1, nil)
	w.documents["doc 1"] = webhook.Document{OrganizationID: ours, Status: webhook.Processed, UpdatedAt: "2026-01-31T11:00:00Z"}
	w.must(202, resendOf(`"document_id":"doc 1"`))
	w.must(202, call{method: "POST", target: configPath(c.ID) + "/test"})
	for i, want := range []string{"https://documents.example/doc%201", "https://documents.example/" + w.sent[1].Event.DocumentID} {
		if got := w.sent[i].Event.Related; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if w.events[0].Event.Related != w.sent[0].Event.Related {
		t.Errorf("recorded %+v", w.events[0].Event)
	}
	w.documentURL = "https://elsewhere.example/{document_id}"
	w.must(202, resendOf(`"document_id":"doc 1"`))
	if w.sent[2].Event != w.sent[0].Event {
		t.Errorf("sent again as %+v", w.sent[2].Event)
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
		{"to an inactive config", resendOf(`"document_id":"doc","webhook_config_id":"` + inactive.ID + `"`),
			409, one("config_inactive", "")},
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
