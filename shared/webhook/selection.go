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

// After reports whether p comes after another place in a list.
func (p Place) After(other Place) bool {
	return p.EventID < other.EventID || p.EventID == other.EventID && p.ConfigID < other.ConfigID
}

// Selection says which deliveries to list.
type Selection struct {
	OrganizationID string
	ConfigIDs      []string         // of the organization
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
		(s.Statuses == nil || slices.Contains(s.Statuses, d.Status)) &&
		(s.CreatedAfter.IsZero() || created.After(s.CreatedAfter)) &&
		(s.CreatedBefore.IsZero() || created.Before(s.CreatedBefore))
}

// Unsettled reports whether only deliveries can match that have not been delivered.
func (s Selection) Unsettled() bool {
	return s.Statuses != nil && !slices.Contains(s.Statuses, Delivered)
}
