package api

import (
	"context"
	"slices"
	"time"

	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	eventsPath = "/v1/webhooks/events"
	eventType  = "webhook_event"
)

// EventLister lists events.
type EventLister interface {
	// List returns at most Limit events of a selection, having read a bounded number of items, and the id of the
	// event to go on after, "" at the end.
	List(ctx context.Context, s webhook.EventSelection) (events []webhook.EventRecord, next string, err error)
}

// EventReader finds an event of an organization, also an expired one. It errors with webhook.ErrNotFound.
type EventReader interface {
	Get(ctx context.Context, organizationID, eventID string) (*webhook.EventRecord, error)
}

type eventAttributes struct {
	DocumentID     string          `json:"document_id"`
	Status         webhook.Status  `json:"status"`
	PreviousStatus *webhook.Status `json:"previous_status"`
	Sequence       *string         `json:"sequence"`
	OccurredAt     webhook.Time    `json:"occurred_at"`
	CreatedAt      webhook.Time    `json:"created_at"`
}

func eventResource(e *webhook.EventRecord) jsonapi.Resource {
	deliveries := []jsonapi.Identifier{}
	for _, configID := range slices.Sorted(slices.Values(e.ConfigIDs)) {
		if id, err := webhook.DeliveryID(configID, e.Event.ID); err == nil {
			deliveries = append(deliveries, jsonapi.Identifier{Type: deliveryType, ID: id})
		}
	}
	return jsonapi.Resource{
		Type: eventType,
		ID:   e.Event.ID,
		Attributes: eventAttributes{
			DocumentID:     e.Event.DocumentID,
			Status:         e.Event.Status,
			PreviousStatus: optional(e.Event.PreviousStatus),
			Sequence:       optional(e.Event.Sequence),
			OccurredAt:     e.Event.OccurredAt,
			CreatedAt:      e.CreatedAt(),
		},
		Links: &jsonapi.Links{Self: eventsPath + "/" + e.Event.ID},
		Relationships: map[string]jsonapi.Relationship{
			"document":   {Data: jsonapi.Identifier{Type: "document", ID: e.Event.DocumentID}},
			"deliveries": {Data: deliveries},
		},
	}
}

// ListEvents is GET /v1/webhooks/events.
type ListEvents struct {
	Events EventLister
	Now    func() time.Time
}

// Route implements Operation.
func (ListEvents) Route() string { return "GET " + eventsPath }

// Serve implements Operation.
func (o ListEvents) Serve(ctx context.Context, r *Request) (*Response, error) {
	selection := webhook.EventSelection{OrganizationID: r.OrganizationID, Now: o.Now()}
	query, err := readEventSelection(r.RawQuery, &selection)
	if err != nil {
		return nil, err
	}
	scope := append([]string{eventType, r.OrganizationID}, query.Scope()...)
	if selection.After, err = readEventPlace(query, scope); err != nil {
		return nil, err
	}
	events, next, err := o.Events.List(ctx, selection)
	if err != nil {
		return nil, err
	}
	resources := []jsonapi.Resource{}
	for i := range events {
		resources = append(resources, eventResource(&events[i]))
	}
	return &Response{Status: 200, Document: &jsonapi.Document{
		Data: resources, Links: query.Links(eventsPath, encodeEventPlace(next, scope)),
	}}, nil
}

// readEventSelection reads the filters and the page size.
func readEventSelection(raw string, s *webhook.EventSelection) (*jsonapi.Query, error) {
	var after, before webhook.Time
	query := jsonapi.ParseQuery(raw, jsonapi.Parameters{
		"filter[document_status]": func(value string) error {
			s.Statuses = []webhook.Status{webhook.Status(value)}
			if !s.Statuses[0].Known() {
				return jsonapi.Invalidf(jsonapi.CodeInvalidParameter, "must be %s", oneOf(webhook.Statuses()))
			}
			return nil
		},
		filterDocument:      readDocumentID(&s.DocumentID),
		filterCreatedAfter:  readMomentParameter(&after),
		filterCreatedBefore: readMomentParameter(&before),
		jsonapi.PageSize:    nil,
		jsonapi.PageAfter:   nil,
	})
	s.CreatedAfter, s.CreatedBefore, s.Limit = after.Time, before.Time, query.Size()
	return query, query.Err()
}

// readEventPlace reads page[after] of a list of events, "" if there is none.
func readEventPlace(query *jsonapi.Query, scope []string) (string, error) {
	found, err := query.Cursor(func(c jsonapi.Cursor) bool {
		if len(c) != 1 {
			return false
		}
		_, err := webhook.EventTime(c[0])
		return err == nil
	}, scope...)
	if err != nil || found == nil {
		return "", err
	}
	return found[0], nil
}

// encodeEventPlace returns an event id as page[after], "" for none.
func encodeEventPlace(eventID string, scope []string) string {
	if eventID == "" {
		return ""
	}
	return jsonapi.Cursor{eventID}.Encode(scope...)
}

// GetEvent is GET /v1/webhooks/events/{id}: an event with every config it was sent to and what became of each. A
// delivery that has no attempt yet is named among the relationships and not included.
type GetEvent struct {
	Events     EventReader
	Deliveries DeliveryFinder
	Now        func() time.Time
}

// Route implements Operation.
func (GetEvent) Route() string { return "GET " + eventsPath + "/{id}" }

// Serve implements Operation.
func (o GetEvent) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	if _, err := webhook.EventTime(r.ID); err != nil {
		return nil, webhook.ErrNotFound
	}
	e, err := o.Events.Get(ctx, r.OrganizationID, r.ID)
	if err != nil {
		return nil, err
	}
	now := o.Now()
	if e.Expired(now) {
		return nil, webhook.ErrNotFound
	}
	var keys []webhook.Key
	for _, configID := range e.ConfigIDs {
		keys = append(keys, webhook.Key{OrganizationID: r.OrganizationID, ConfigID: configID, EventID: e.Event.ID})
	}
	deliveries, err := o.Deliveries.Find(ctx, keys)
	if err != nil {
		return nil, err
	}
	response := single(200, eventResource(e))
	for i := range deliveries {
		if d := &deliveries[i]; !d.Expired(now) {
			response.Document.Included = append(response.Document.Included, deliveryResource(d))
		}
	}
	return response, nil
}
