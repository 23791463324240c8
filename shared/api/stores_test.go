package api_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// configs is the store of configs.
type configs struct{ *world }

func (s configs) live(organizationID, id string) *webhook.Config {
	c := s.configs[organizationID+"/"+id]
	if c == nil || c.Deleted() {
		return nil
	}
	return c
}

func (s configs) Create(_ context.Context, c *webhook.Config, limit int) error {
	if all, _ := s.List(context.Background(), c.OrganizationID, nil, "", limit); len(all) >= limit {
		return webhook.ErrLimit
	}
	copied := *c
	s.configs[c.OrganizationID+"/"+c.ID] = &copied
	return nil
}

func (s configs) Get(_ context.Context, organizationID, id string) (*webhook.Config, error) {
	c := s.live(organizationID, id)
	if c == nil {
		return nil, webhook.ErrNotFound
	}
	copied := *c
	return &copied, nil
}

func (s configs) Update(_ context.Context, c *webhook.Config) error {
	if s.beforeUpdate != nil {
		s.beforeUpdate()
	}
	stored := s.live(c.OrganizationID, c.ID)
	if stored == nil {
		return webhook.ErrNotFound
	}
	if stored.Version != c.Version {
		return webhook.ErrConflict
	}
	c.Version++
	*stored = *c
	return nil
}

func (s configs) Delete(_ context.Context, organizationID, id string, now time.Time) error {
	c := s.live(organizationID, id)
	if c == nil {
		return webhook.ErrNotFound
	}
	*c = webhook.Config{OrganizationID: organizationID, ID: id, DeletedAt: webhook.At(now)}
	return nil
}

func (s configs) List(_ context.Context, organizationID string, active *bool, after string, limit int) ([]webhook.Config, error) {
	var found []webhook.Config
	for _, c := range s.configs {
		if c.OrganizationID == organizationID && !c.Deleted() && c.ID > after && (active == nil || *active == c.Active) {
			found = append(found, *c)
		}
	}
	slices.SortFunc(found, func(a, b webhook.Config) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(len(found), limit)], nil
}

func (s configs) ListActive(ctx context.Context, organizationID string) ([]webhook.Config, error) {
	active := true
	return s.List(ctx, organizationID, &active, "", 1000)
}

func (s configs) ListIDs(_ context.Context, organizationID string) ([]string, error) {
	var ids []string
	for _, c := range s.configs {
		if c.OrganizationID == organizationID {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

func (s configs) Exists(_ context.Context, organizationID, id string) (bool, error) {
	return s.configs[organizationID+"/"+id] != nil, nil
}

// deliveries is the delivery log.
type deliveries struct{ *world }

func (s deliveries) Get(_ context.Context, organizationID, configID, eventID string) (*webhook.Delivery, error) {
	for i := range s.deliveries {
		if d := s.deliveries[i]; d.OrganizationID == organizationID && d.ConfigID == configID && d.Event.ID == eventID {
			return &d, nil
		}
	}
	return nil, webhook.ErrNotFound
}

func (s deliveries) List(_ context.Context, selection webhook.Selection) ([]webhook.Delivery, *webhook.Place, error) {
	sorted := slices.SortedFunc(slices.Values(s.deliveries), newestFirst)
	var found []webhook.Delivery
	var last *webhook.Place
	examined := 0
	for i := range sorted {
		d := &sorted[i]
		place := webhook.Place{EventID: d.Event.ID, ConfigID: d.ConfigID}
		if !slices.Contains(selection.ConfigIDs, d.ConfigID) || selection.After != nil && !place.After(*selection.After) {
			continue
		}
		if len(found) == selection.Limit || s.pageOf > 0 && examined == s.pageOf {
			return found, last, nil
		}
		examined++
		last = &place
		if selection.Matches(d) {
			found = append(found, *d)
		}
	}
	return found, nil, nil
}

func (s deliveries) Find(_ context.Context, keys []webhook.Key) ([]webhook.Delivery, error) {
	if len(keys) > 300 {
		s.t.Errorf("%d deliveries are read at once", len(keys))
	}
	var found []webhook.Delivery
	for _, d := range slices.SortedFunc(slices.Values(s.deliveries), newestFirst) {
		if slices.Contains(keys, d.Key()) {
			found = append(found, d)
		}
	}
	return found, nil
}

func newestFirst(a, b webhook.Delivery) int {
	return cmp.Or(cmp.Compare(b.Event.ID, a.Event.ID), cmp.Compare(b.ConfigID, a.ConfigID))
}

// records is the record of events.
type records struct{ *world }

func (s records) Get(_ context.Context, organizationID, eventID string) (*webhook.EventRecord, error) {
	for _, r := range s.events {
		if r.OrganizationID == organizationID && r.Event.ID == eventID {
			return &r, nil
		}
	}
	return nil, webhook.ErrNotFound
}

func (s records) List(_ context.Context, selection webhook.EventSelection) (found []webhook.EventRecord, last string, err error) {
	order := func(a, b webhook.EventRecord) int { return cmp.Compare(b.Event.ID, a.Event.ID) }
	examined := 0
	for _, r := range slices.SortedFunc(slices.Values(s.events), order) {
		created := r.CreatedAt()
		if r.OrganizationID != selection.OrganizationID || selection.DocumentID != "" && r.Event.DocumentID != selection.DocumentID ||
			selection.After != "" && r.Event.ID >= selection.After ||
			!selection.CreatedAfter.IsZero() && !created.After(selection.CreatedAfter) ||
			!selection.CreatedBefore.IsZero() && !created.Before(selection.CreatedBefore) {
			continue
		}
		if len(found) == selection.Limit || s.pageOf > 0 && examined == s.pageOf {
			return found, last, nil
		}
		examined++
		last = r.Event.ID
		if (selection.Statuses == nil || slices.Contains(selection.Statuses, r.Event.Status)) && !r.Expired(selection.Now) {
			found = append(found, r)
		}
	}
	return found, "", nil
}

func (s records) Add(_ context.Context, added []webhook.EventRecord) []error {
	if s.addErr != nil {
		return s.addErr()
	}
	for _, r := range added {
		s.record(r.OrganizationID, r.Event, r.ConfigIDs...).ExpiresAt = r.ExpiresAt
	}
	return nil
}

// documents is the table of documents.
type documents struct{ *world }

func (s documents) Get(_ context.Context, id string) (*webhook.Document, error) {
	if len(id) > 1024 {
		s.t.Errorf("a document id of %d bytes is read, more than the table takes", len(id))
	}
	if d, ok := s.documents[id]; ok {
		return &d, nil
	}
	return nil, nil
}

// The queues, as the tests name them.
const (
	deliveryQueue = "DeliveryQueue"
	retryQueue    = "RetryQueue"
)

// queue is a queue with a name.
type queue struct {
	*world
	name string
}

func (q queue) Send(_ context.Context, messages []webhook.Message) []error {
	if q.sendErr != nil {
		return q.sendErr()
	}
	for _, m := range messages {
		q.sent, q.queues = append(q.sent, m), append(q.queues, q.name)
	}
	return nil
}

// sealer hides nothing, so that whoever shows what it sealed is caught.
type sealer struct{ *world }

func (s sealer) Seal(_ context.Context, c signature.Credentials, organizationID, configID string) (string, error) {
	s.secrets = append(s.secrets, c.Token.Reveal(), c.Secret.Reveal())
	sealed := "sealed for " + organizationID + "/" + configID + ": " + c.Token.Reveal() + " " + c.Secret.Reveal()
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		s.secrets = append(s.secrets, c.Headers[name].Reveal())
		sealed += " " + name + "=" + c.Headers[name].Reveal()
	}
	return sealed, nil
}

func (s sealer) Open(_ context.Context, sealed, organizationID, configID string) (signature.Credentials, error) {
	parts := strings.Fields(sealed)
	if s.openErr != nil || len(parts) < 5 || parts[2] != organizationID+"/"+configID+":" {
		return signature.Credentials{}, cmp.Or(s.openErr, keyring.ErrSealed)
	}
	c := signature.Credentials{Token: signature.Secret(parts[3]), Secret: signature.Secret(parts[4])}
	for _, header := range parts[5:] {
		name, value, _ := strings.Cut(header, "=")
		if c.Headers == nil {
			c.Headers = map[string]signature.Secret{}
		}
		c.Headers[name] = signature.Secret(value)
	}
	return c, nil
}

// Use counts like the table does.
func (s configs) Use(_ context.Context, organizationID, what string, minute time.Time, limit int) (bool, error) {
	key := organizationID + " " + what + " " + minute.String()
	if s.uses[key] >= limit {
		return false, s.useErr
	}
	s.uses[key]++
	return true, s.useErr
}
