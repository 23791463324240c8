package api

import (
	"context"
	"slices"
	"time"

	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	deliveriesPath = "/v1/webhooks/deliveries"
	deliveryType   = "webhook_delivery"
)

// Filters that limit the configs whose deliveries are read.
const (
	filterConfig   = "filter[webhook_config_id]"
	filterDocument = "filter[document_id]"
)

// maxMergedConfigs is how many configs' deliveries are merged into one list. An organization may
// have more only if its limit was raised or it deletes and creates many.
const maxMergedConfigs = 300

// readPlace reads page[after] of a list of deliveries, nil if there is none.
func readPlace(query *jsonapi.Query, scope []string) (*webhook.Place, error) {
	found, err := query.Cursor(func(c jsonapi.Cursor) bool {
		if len(c) != 2 {
			return false
		}
		_, err := webhook.EventTime(c[0])
		return err == nil && webhook.ValidConfigID(c[1])
	}, scope...)
	if err != nil || found == nil {
		return nil, err
	}
	return &webhook.Place{EventID: found[0], ConfigID: found[1]}, nil
}

// encodePlace returns a place as page[after], "" for no place.
func encodePlace(place *webhook.Place, scope []string) string {
	if place == nil {
		return ""
	}
	return jsonapi.Cursor{place.EventID, place.ConfigID}.Encode(scope...)
}

// DeliveryLister lists deliveries.
type DeliveryLister interface {
	// List returns at most Limit deliveries of a selection, having read a bounded number of items,
	// and the place to go on from, nil at the end.
	List(ctx context.Context, s webhook.Selection) ([]webhook.Delivery, *webhook.Place, error)
}

// DeliveryReader finds a delivery; one of another organization is webhook.ErrNotFound.
type DeliveryReader interface {
	Get(ctx context.Context, organizationID, configID, eventID string) (*webhook.Delivery, error)
}

type deliveryAttributes struct {
	Status         webhook.DeliveryStatus `json:"status"`
	Trigger        webhook.Trigger        `json:"trigger"`
	DocumentStatus webhook.Status         `json:"document_status"`
	EventID        string                 `json:"event_id"`
	Attempts       []attemptJSON          `json:"attempts"`
	CreatedAt      webhook.Time           `json:"created_at"`
	DeliveredAt    webhook.Time           `json:"delivered_at"`
	FailedAt       webhook.Time           `json:"failed_at"`
	NextAttemptAt  webhook.Time           `json:"next_attempt_at"`
}

type attemptJSON struct {
	Number          int          `json:"number"`
	StartedAt       webhook.Time `json:"started_at"`
	DurationMS      int64        `json:"duration_ms"`
	ResponseStatus  *int         `json:"response_status"`
	ErrorCode       *string      `json:"error_code"`
	Error           *string      `json:"error"`
	ResponseSnippet *string      `json:"response_snippet"`
}

func deliveryResource(d *webhook.Delivery, now time.Time) jsonapi.Resource {
	attributes := deliveryAttributes{
		Status:         d.StatusAt(now),
		Trigger:        d.Trigger,
		DocumentStatus: d.Event.Status,
		EventID:        d.Event.ID,
		Attempts:       []attemptJSON{},
		CreatedAt:      d.CreatedAt(),
		DeliveredAt:    d.DeliveredAt,
		FailedAt:       d.FailedAsOf(now),
		NextAttemptAt:  d.NextAttemptAt,
	}
	if attributes.Status != webhook.Retrying {
		attributes.NextAttemptAt = webhook.Time{}
	}
	for _, a := range d.Attempts {
		attributes.Attempts = append(attributes.Attempts, attemptJSON{
			Number:          a.Number,
			StartedAt:       a.StartedAt,
			DurationMS:      a.Duration.Milliseconds(),
			ResponseStatus:  optional(a.ResponseStatus),
			ErrorCode:       optional(a.ErrorCode),
			Error:           optional(a.Error),
			ResponseSnippet: optional(a.ResponseSnippet),
		})
	}
	id := d.ID()
	return jsonapi.Resource{
		Type:       deliveryType,
		ID:         id,
		Attributes: attributes,
		Links:      &jsonapi.Links{Self: deliveriesPath + "/" + id},
		Relationships: map[string]jsonapi.Relationship{
			"webhook_config": {Data: jsonapi.Identifier{Type: configType, ID: d.ConfigID}},
			"document":       {Data: jsonapi.Identifier{Type: "document", ID: d.Event.DocumentID}},
		},
	}
}

func optional[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// ListDeliveries is GET /v1/webhooks/deliveries.
type ListDeliveries struct {
	Deliveries DeliveryLister
	Configs    interface {
		// ListIDs returns the ids of up to limit configs, deleted ones included.
		ListIDs(ctx context.Context, organizationID string, limit int) ([]string, error)
		// Exists reports whether there is, or lately was, such a config.
		Exists(ctx context.Context, organizationID, id string) (bool, error)
	}
	Now func() time.Time
}

// Route implements Operation.
func (ListDeliveries) Route() string { return "GET " + deliveriesPath }

// Serve implements Operation.
func (o ListDeliveries) Serve(ctx context.Context, r *Request) (*Response, error) {
	selection := webhook.Selection{OrganizationID: r.OrganizationID, Now: o.Now()}
	query, err := readSelection(r.RawQuery, &selection)
	if err != nil {
		return nil, err
	}
	scope := append([]string{deliveryType, r.OrganizationID}, query.Scope()...)
	if selection.After, err = readPlace(query, scope); err != nil {
		return nil, err
	}
	some, err := o.configs(ctx, &selection)
	if err != nil {
		return nil, err
	}
	var deliveries []webhook.Delivery
	next := ""
	if some {
		var last *webhook.Place
		if deliveries, last, err = o.Deliveries.List(ctx, selection); err != nil {
			return nil, err
		}
		next = encodePlace(last, scope)
	}
	resources := []jsonapi.Resource{}
	for i := range deliveries {
		resources = append(resources, deliveryResource(&deliveries[i], selection.Now))
	}
	return &Response{Status: 200, Document: &jsonapi.Document{Data: resources, Links: query.Links(deliveriesPath, next)}}, nil
}

// readSelection reads the filters and the page size.
func readSelection(raw string, s *webhook.Selection) (*jsonapi.Query, error) {
	var after, before webhook.Time
	query := jsonapi.ParseQuery(raw, jsonapi.Parameters{
		"filter[status]": func(value string) error {
			s.Statuses = []webhook.DeliveryStatus{webhook.DeliveryStatus(value)}
			if !slices.Contains(webhook.DeliveryStatuses(), s.Statuses[0]) {
				return jsonapi.Invalidf(jsonapi.CodeInvalidParameter, "must be one of %v", webhook.DeliveryStatuses())
			}
			return nil
		},
		filterConfig:             readConfigID(&s.ConfigID),
		filterDocument:           readDocumentID(&s.DocumentID),
		"filter[created_after]":  readMomentParameter(&after),
		"filter[created_before]": readMomentParameter(&before),
		jsonapi.PageSize:         nil,
		jsonapi.PageAfter:        nil,
	})
	s.CreatedAfter, s.CreatedBefore, s.Limit = after.Time, before.Time, query.Size()
	return query, query.Err()
}

// configs sets the configs to read, and reports whether there are any.
func (o ListDeliveries) configs(ctx context.Context, s *webhook.Selection) (some bool, err error) {
	switch {
	case s.DocumentID != "":
		return true, nil
	case s.ConfigID != "":
		s.ConfigIDs = []string{s.ConfigID}
		return o.Configs.Exists(ctx, s.OrganizationID, s.ConfigID)
	}
	s.ConfigIDs, err = o.Configs.ListIDs(ctx, s.OrganizationID, maxMergedConfigs+1)
	if len(s.ConfigIDs) > maxMergedConfigs {
		return false, jsonapi.NewError(400, "too_many_configs", "with more than %d configs, %s or %s is required",
			maxMergedConfigs, filterConfig, filterDocument)
	}
	return len(s.ConfigIDs) > 0, err
}

// GetDelivery is GET /v1/webhooks/deliveries/{id}.
type GetDelivery struct {
	Deliveries DeliveryReader
	Now        func() time.Time
}

// Route implements Operation.
func (GetDelivery) Route() string { return "GET " + deliveriesPath + "/{id}" }

// Serve implements Operation.
func (o GetDelivery) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := noQuery(r); err != nil {
		return nil, err
	}
	d, err := findDelivery(ctx, o.Deliveries, r, o.Now())
	if err != nil {
		return nil, err
	}
	return single(200, deliveryResource(d, o.Now())), nil
}

func findDelivery(ctx context.Context, deliveries DeliveryReader, r *Request, now time.Time) (*webhook.Delivery, error) {
	configID, eventID, err := webhook.ParseDeliveryID(r.ID)
	if err != nil {
		return nil, webhook.ErrNotFound
	}
	d, err := deliveries.Get(ctx, r.OrganizationID, configID, eventID)
	if err != nil {
		return nil, err
	}
	if d.Expired(now) {
		return nil, webhook.ErrNotFound
	}
	return d, nil
}
