package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// sends are the calls that send something of a world with one config and one delivery.
func sends(c *webhook.Config, d webhook.Delivery) (test, resend, document, period call) {
	return call{method: "POST", target: configPath(c.ID) + "/test"},
		call{method: "POST", target: listDeliveries + "/" + d.ID() + "/resend"},
		resendOf(`"document_id":"` + d.Event.DocumentID + `"`),
		resendOf(`"webhook_config_id":"` + c.ID + `","since":"2026-01-01T00:00:00Z"`)
}

func TestBudgets(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	d := w.delivery(c, 60, failing)
	w.documents[d.Event.DocumentID] = webhook.Document{OrganizationID: ours, Status: d.Event.Status}
	test, resend, document, period := sends(c, d)
	w.now = start.Add(17*time.Second + time.Millisecond)
	for range 20 { // all kinds of a resend have one budget
		w.must(202, resend)
		w.must(202, document)
		w.must(202, period)
	}
	for range 30 {
		w.must(202, test)
	}
	sent := len(w.sent)
	for _, refused := range []call{resend, document, period, test} {
		got := w.do(refused)
		if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") != "43" {
			t.Errorf("%s: %d, Retry-After %q", refused.target, got.status, got.header.Get("Retry-After"))
		}
	}
	if len(w.sent) != sent {
		t.Errorf("%d messages were sent by what was refused", len(w.sent)-sent)
	}
	golden(t, "budget-used-up", w.do(test))

	other := w.config(theirs, 1, nil)
	w.must(202, call{organization: theirs, method: "POST", target: configPath(other.ID) + "/test"})
	w.now = start.Add(time.Minute)
	w.must(202, test)
	w.must(202, resend)
}

func TestWhatIsRefusedAnywayUsesNoBudget(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	d := w.delivery(c, 60, failing)
	test, resend, _, period := sends(c, d)
	w.configs[ours+"/"+c.ID].Active = false
	for range 61 {
		for _, refused := range []call{test, resend} {
			if got := w.do(refused); got.status != http.StatusConflict {
				t.Fatalf("%s: %d", refused.target, got.status)
			}
		}
		if got := w.do(resendOf(`"webhook_config_id":"` + c.ID + `","since":"tomorrow"`)); got.status != http.StatusUnprocessableEntity {
			t.Fatalf("%d", got.status)
		}
	}
	w.configs[ours+"/"+c.ID].Active = true
	for _, accepted := range []call{test, resend, period} {
		w.must(202, accepted)
	}
}

func TestNothingIsSentUncounted(t *testing.T) {
	w := newWorld(t)
	c := w.config(ours, 1, nil)
	d := w.delivery(c, 60, failing)
	test, resend, document, period := sends(c, d)
	w.useErr = errors.New("the table is away")
	for _, failed := range []call{test, resend, document, period} {
		if got := w.do(failed); got.status != http.StatusInternalServerError || len(w.sent) > 0 {
			t.Errorf("%s: %d, %d messages", failed.target, got.status, len(w.sent))
		}
	}
}

func TestRefusalsReadAsSentences(t *testing.T) {
	w := newWorld(t)
	id := w.config(ours, 1, nil).ID
	period := func(more string) call { return resendOf(`"webhook_config_id":"` + id + `",` + more) }
	for detail, refused := range map[string]call{
		"scope must be failed, undelivered or all":                    period(`"since":"2026-01-01T00:00:00Z","scope":"none"`),
		"since must not be in the future":                             period(`"since":"2026-01-31T12:00:00.001Z"`),
		"must be pending, submitted, processing, processed or failed": get(listEvents + "?filter[document_status]=done"),
		"must be delivered, retrying, failed or canceled":             get(listDeliveries + "?filter[status]=done"),
	} {
		got := w.do(refused)
		if got.status < 400 || !strings.Contains(got.body, `"detail":"`+detail+`"`) {
			t.Errorf("%d, %s, want %q", got.status, got.body, detail)
		}
	}
	w.must(202, period(`"since":"2026-01-31T12:00:00Z"`))
}
