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

// Filters by the time of an event.
const (
	filterCreatedAfter  = "filter[created_after]"
	filterCreatedBefore = "filter[created_before]"
)

const (
	// maxDocumentEvents is how many events of a document one page of its deliveries reads.
	maxDocumentEvents = 50
	// maxDocumentDeliveries is how many deliveries of a document one page reads.
	maxDocumentDeliveries = 300
)

// readPlace reads page[after] of a list of deliveries, nil if there is none.
func readPlace(query *jsonapi.Query, scope []string) (*webhook.Place, error) {
	found, err := query.Cursor(func(c jsonapi.Cursor) bool {
		if len(c) != 2 {
			return false
		}
		_, err := webhook.EventTime(c[0])
		return err == nil && (c[1] == "" || webhook.ValidConfigID(c[1]))
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

// DeliveryFinder finds those of some deliveries that there are, newest first.
type DeliveryFinder interface {
	Find(ctx context.Context, keys []webhook.Key) ([]webhook.Delivery, error)
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
	RequestBody    *string                `json:"request_body,omitempty"` // only of a delivery that is read alone
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

func newDeliveryAttributes(d *webhook.Delivery) deliveryAttributes {
	attributes := deliveryAttributes{
		Status:         d.Status,
		Trigger:        d.Trigger,
		DocumentStatus: d.Event.Status,
		EventID:        d.Event.ID,
		Attempts:       []attemptJSON{},
		CreatedAt:      d.CreatedAt(),
		DeliveredAt:    d.DeliveredAt,
		FailedAt:       d.FailedAt,
		NextAttemptAt:  d.NextAttemptAt,
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
	return attributes
}

func deliveryResource(d *webhook.Delivery) jsonapi.Resource {
	id := d.ID()
	return jsonapi.Resource{
		Type:       deliveryType,
		ID:         id,
		Attributes: newDeliveryAttributes(d),
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
	Deliveries interface {
		DeliveryLister
		DeliveryFinder
	}
	Events  EventLister
	Configs interface {
		// ListIDs returns the ids of all configs, and of those that were deleted last.
		ListIDs(ctx context.Context, organizationID string) ([]string, error)
		// Exists reports whether there is, or lately was, such a config.
		Exists(ctx context.Context, organizationID, id string) (bool, error)
	}
	Now func() time.Time
}

// Route implements Operation.
func (ListDeliveries) Route() string { return "GET " + deliveriesPath }

// filters limit the deliveries that are listed.
type filters struct {
	webhook.Selection
	configID   string // "" for all
	documentID string // "" for all
}

// Serve implements Operation.
func (o ListDeliveries) Serve(ctx context.Context, r *Request) (*Response, error) {
	wanted := filters{Selection: webhook.Selection{OrganizationID: r.OrganizationID, Now: o.Now()}}
	query, err := wanted.read(r.RawQuery)
	if err != nil {
		return nil, err
	}
	scope := append([]string{deliveryType, r.OrganizationID}, query.Scope()...)
	if wanted.After, err = readPlace(query, scope); err != nil {
		return nil, err
	}
	list := o.ofConfigs
	if wanted.documentID != "" {
		list = o.ofDocument
	}
	deliveries, last, err := list(ctx, wanted)
	if err != nil {
		return nil, err
	}
	resources := []jsonapi.Resource{}
	for i := range deliveries {
		resources = append(resources, deliveryResource(&deliveries[i]))
	}
	return &Response{Status: 200, Document: &jsonapi.Document{
		Data: resources, Links: query.Links(deliveriesPath, encodePlace(last, scope)),
	}}, nil
}

// read reads the filters and the page size.
func (f *filters) read(raw string) (*jsonapi.Query, error) {
	var after, before webhook.Time
	query := jsonapi.ParseQuery(raw, jsonapi.Parameters{
		"filter[status]": func(value string) error {
			f.Statuses = []webhook.DeliveryStatus{webhook.DeliveryStatus(value)}
			if !slices.Contains(webhook.DeliveryStatuses(), f.Statuses[0]) {
				return jsonapi.Invalidf(jsonapi.CodeInvalidParameter, "must be %s", oneOf(webhook.DeliveryStatuses()))
			}
			return nil
		},
		filterConfig:        readConfigID(&f.configID),
		filterDocument:      readDocumentID(&f.documentID),
		filterCreatedAfter:  readMomentParameter(&after),
		filterCreatedBefore: readMomentParameter(&before),
		jsonapi.PageSize:    nil,
		jsonapi.PageAfter:   nil,
	})
	f.CreatedAfter, f.CreatedBefore, f.Limit = after.Time, before.Time, query.Size()
	return query, query.Err()
}

// ofConfigs lists the deliveries to one config, or to all that there are and those that were deleted last.
func (o ListDeliveries) ofConfigs(ctx context.Context, wanted filters) ([]webhook.Delivery, *webhook.Place, error) {
	if wanted.configID == "" {
		var err error
		if wanted.ConfigIDs, err = o.Configs.ListIDs(ctx, wanted.OrganizationID); err != nil || len(wanted.ConfigIDs) == 0 {
			return nil, nil, err
		}
		return o.Deliveries.List(ctx, wanted.Selection)
	}
	exists, err := o.Configs.Exists(ctx, wanted.OrganizationID, wanted.configID)
	if err != nil || !exists {
		return nil, nil, err
	}
	wanted.ConfigIDs = []string{wanted.configID}
	return o.Deliveries.List(ctx, wanted.Selection)
}

// ofDocument lists the deliveries of a document's events, which know the configs that they were sent to. It examines
// a bounded number of deliveries, so under a filter it may stop short.
func (o ListDeliveries) ofDocument(ctx context.Context, wanted filters) ([]webhook.Delivery, *webhook.Place, error) {
	selection := webhook.EventSelection{
		OrganizationID: wanted.OrganizationID,
		DocumentID:     wanted.documentID,
		CreatedAfter:   wanted.CreatedAfter,
		CreatedBefore:  wanted.CreatedBefore,
		Limit:          maxDocumentEvents,
		Now:            wanted.Now,
	}
	if wanted.After != nil {
		selection.After = webhook.AfterEvent(wanted.After.EventID)
	}
	events, next, err := o.Events.List(ctx, selection)
	if err != nil {
		return nil, nil, err
	}
	var places []webhook.Place
	for _, e := range events {
		for _, configID := range slices.Backward(slices.Sorted(slices.Values(e.ConfigIDs))) {
			place := webhook.Place{EventID: e.Event.ID, ConfigID: configID}
			if (wanted.configID == "" || configID == wanted.configID) && (wanted.After == nil || place.After(*wanted.After)) {
				places = append(places, place)
			}
		}
	}
	examined := places[:min(len(places), maxDocumentDeliveries)]
	var keys []webhook.Key
	for _, p := range examined {
		keys = append(keys, webhook.Key{OrganizationID: wanted.OrganizationID, ConfigID: p.ConfigID, EventID: p.EventID})
	}
	all, err := o.Deliveries.Find(ctx, keys)
	if err != nil {
		return nil, nil, err
	}
	found := slices.DeleteFunc(all, func(d webhook.Delivery) bool { return !wanted.Matches(&d) })
	switch {
	case len(found) > wanted.Limit:
		found = found[:wanted.Limit]
		last := found[wanted.Limit-1]
		return found, &webhook.Place{EventID: last.Event.ID, ConfigID: last.ConfigID}, nil
	case len(examined) < len(places):
		return found, &examined[len(examined)-1], nil
	case next != "":
		return found, &webhook.Place{EventID: next}, nil
	}
	return found, nil, nil
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
	resource, attributes := deliveryResource(d), newDeliveryAttributes(d)
	if body, err := d.Event.Render(d.ConfigID); err == nil { // else a later release has rendered it, and its log is worth showing
		attributes.RequestBody = optional(string(body))
	}
	resource.Attributes = attributes
	return single(200, resource), nil
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
