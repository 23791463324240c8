package webhook

import (
	"slices"
	"time"
)

// EventRecord is an event as the record of events holds it: every change of a document's status, whether or not
// anyone wants to hear of it, and the configs that it was sent to.
type EventRecord struct {
	OrganizationID string
	Event          Event
	ConfigIDs      []string // those it was sent to, by dispatch or a resend; a set that only grows
	ExpiresAt      Time
}

// CreatedAt returns the time of the event, which is also when its status change was requested.
func (r *EventRecord) CreatedAt() Time {
	t, _ := EventTime(r.Event.ID)
	return At(t)
}

// Expired reports whether r should no longer be shown. DynamoDB deletes such items within days.
func (r *EventRecord) Expired(now time.Time) bool {
	return !r.ExpiresAt.IsZero() && now.After(r.ExpiresAt.Time)
}

// Missing reports whether the message of r's delivery to a config must have died before its first attempt: it was
// sent long ago, and nothing was logged.
func (r *EventRecord) Missing(configID string, now time.Time) bool {
	return slices.Contains(r.ConfigIDs, configID) && now.Sub(r.CreatedAt().Time) > OverdueAfter
}

// EventSelection says which events to list, newest first.
type EventSelection struct {
	OrganizationID string
	DocumentID     string    // "" for all
	Statuses       []Status  // nil for all
	CreatedAfter   time.Time // exclusive, zero for none
	CreatedBefore  time.Time // exclusive, zero for none
	After          string    // an event id, exclusive; "" to begin with the newest
	Limit          int
	Now            time.Time
}

// AfterEvent returns what EventSelection.After must be for a list to begin with an event.
func AfterEvent(eventID string) string { return eventID + "~" } // sorts after it and before all later ones
