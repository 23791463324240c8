package webhook

import (
	"slices"
	"time"
)

// Place is a delivery's place in a list, which goes from the newest event to the oldest and, for
// one event, from the greatest config id to the least.
type Place struct {
	EventID  string
	ConfigID string
}

// Selection says which deliveries to list.
type Selection struct {
	OrganizationID string
	ConfigIDs      []string         // of the organization; not with DocumentID
	DocumentID     string           // "" for all
	ConfigID       string           // with DocumentID: limits to one config, "" for all
	Statuses       []DeliveryStatus // nil for all
	CreatedAfter   time.Time        // exclusive, zero for none
	CreatedBefore  time.Time        // exclusive, zero for none
	After          *Place           // exclusive, nil to begin with the newest
	Limit          int
	Now            time.Time
}

// Matches reports whether d is to be listed. Stores read by key and leave the rest to it.
func (s Selection) Matches(d *Delivery) bool {
	created := d.CreatedAt()
	return d.OrganizationID == s.OrganizationID && !d.Expired(s.Now) &&
		(s.DocumentID == "" || d.Event.DocumentID == s.DocumentID) &&
		(s.ConfigID == "" || d.ConfigID == s.ConfigID) &&
		(s.Statuses == nil || slices.Contains(s.Statuses, d.StatusAt(s.Now))) &&
		(s.CreatedAfter.IsZero() || created.After(s.CreatedAfter)) &&
		(s.CreatedBefore.IsZero() || created.Before(s.CreatedBefore))
}

// Unsettled reports whether only deliveries that are retrying or failed can match.
func (s Selection) Unsettled() bool {
	return s.Statuses != nil && !slices.Contains(s.Statuses, Delivered) && !slices.Contains(s.Statuses, Canceled)
}
