package soak

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"
)

// mend lets all endpoints answer well and resends what has failed, as the organizations would. Then whatever an event was meant
// for must have been accepted, but by configs that were deleted.
func (d *deeds) mend(t *testing.T, l *ledgers) {
	t.Helper()
	w := d.world
	w.receivers.mu.Lock()
	clear(w.answers)
	w.receivers.mu.Unlock()
	type wanted struct {
		c      *config
		change string
	}
	var open []wanted
	changes := map[string]string{} // by event
	for _, e := range l.events {
		changes[e.EventID] = e.DocumentKey[len(e.OrganizationID)+1:] + " " + e.Status
	}
	for key, s := range l.stories() {
		c := s.config
		if !s.wanted || c == nil || slices.ContainsFunc(c.off, func(s span) bool { return s.to.IsZero() }) ||
			slices.ContainsFunc(s.posts, func(p post) bool { return p.accepted }) {
			continue
		}
		open = append(open, wanted{c: c, change: changes[key[1]]})
	}
	failed := len(open)
	resent := 0
	since := w.now().Add(-24 * time.Hour)
	configs := map[*config]bool{}
	for _, o := range open {
		configs[o.c] = true
	}
	for c := range configs {
		resent += w.resendAll(c, since)
	}
	took := time.Now()
	eventually(t, 5*patience, "what was resent in the end", func() bool {
		w.receivers.mu.Lock()
		defer w.receivers.mu.Unlock()
		open = slices.DeleteFunc(open, func(o wanted) bool {
			return slices.ContainsFunc(o.c.endpoints(), func(endpoint string) bool { return w.delivered[endpoint][o.change] > 0 })
		})
		return len(open) == 0
	})
	t.Logf("resent within %s", brief(time.Since(took)))
	measured.row(
		t, len(open) == 0, "not accepted by mended endpoints after a resend of what had failed", "0",
		"%d of %d, %d resent", len(open), failed, resent,
	)
}

// resendAll resends all that has failed since a time of the stack's clock, page by page.
func (w *world) resendAll(c *config, since time.Time) (accepted int) {
	w.t.Helper()
	attributes := map[string]any{
		"webhook_config_id": c.id, "scope": "failed",
		"since": since.UTC().Format(time.RFC3339), "until": w.now().UTC().Format(time.RFC3339),
	}
	for path := "/resend"; path != ""; {
		got := w.call(c.organization, http.MethodPost, path, "webhook_resend", "", attributes)
		if got.status != http.StatusAccepted {
			w.t.Errorf("a resend was answered %d: %s", got.status, got.body)
			return accepted
		}
		page := decode[struct {
			Meta  struct{ Accepted int }
			Links struct{ Next string }
		}](w.t, got)
		accepted, path = accepted+page.Meta.Accepted, ""
		if next, err := url.Parse(page.Links.Next); err == nil && page.Links.Next != "" {
			path = "/resend?" + next.RawQuery
		}
	}
	return accepted
}
