package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	resendPath = "/v1/webhooks/resend"
	resendType = "webhook_resend"
)

const (
	// maxResend is how many deliveries one call sends again.
	maxResend = 100
	// maxDocumentHistory is how many deliveries of a document are searched for its current status.
	maxDocumentHistory = 100
)

// Queue accepts messages. It returns nil if all were accepted, else one error (or nil) for each.
type Queue interface {
	Send(ctx context.Context, messages []webhook.Message) []error
}

// send hands messages to the queue; if any is refused the whole request fails and may be repeated.
func send(ctx context.Context, queue Queue, messages []webhook.Message) error {
	if len(messages) == 0 {
		return nil
	}
	if err := errors.Join(queue.Send(ctx, messages)...); err != nil {
		return fmt.Errorf("sending messages: %w", err)
	}
	return nil
}

// receiving finds a config that deliveries may go to now.
func receiving(ctx context.Context, configs ConfigReader, organizationID, id string) (*webhook.Config, error) {
	c, err := findConfig(ctx, configs, organizationID, id)
	if err != nil {
		return nil, err
	}
	if !c.Receives() {
		return nil, jsonapi.NewError(409, "config_inactive", "the config is not active; set is_active to true first")
	}
	return c, nil
}

// sentResponse answers 202 with the identifiers of the deliveries on their way.
func sentResponse(messages []webhook.Message, links *jsonapi.Links) *Response {
	identifiers := []jsonapi.Identifier{}
	for _, m := range messages {
		id, _ := webhook.DeliveryID(m.ConfigID, m.Event.ID)
		identifiers = append(identifiers, jsonapi.Identifier{Type: deliveryType, ID: id})
	}
	return &Response{Status: 202, Document: &jsonapi.Document{
		Data: identifiers, Links: links, Meta: map[string]int{"accepted": len(messages)},
	}}
}

// ResendDelivery is POST /v1/webhooks/deliveries/{id}/resend.
type ResendDelivery struct {
	Deliveries DeliveryReader
	Configs    ConfigReader
	Queue      Queue
	Now        func() time.Time
}

// Route implements Operation.
func (ResendDelivery) Route() string { return "POST " + deliveriesPath + "/{id}/resend" }

// Serve implements Operation.
func (o ResendDelivery) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := bare(r); err != nil {
		return nil, err
	}
	now := o.Now()
	d, err := findDelivery(ctx, o.Deliveries, r, now)
	if err != nil {
		return nil, err
	}
	if _, err := receiving(ctx, o.Configs, r.OrganizationID, d.ConfigID); errors.Is(err, webhook.ErrNotFound) {
		return nil, jsonapi.NewError(409, "config_deleted", "the delivery's config was deleted")
	} else if err != nil {
		return nil, err
	}
	if err := send(ctx, o.Queue, []webhook.Message{webhook.NewResend(d, now)}); err != nil {
		return nil, err
	}
	return single(202, deliveryResource(d, now)), nil
}

// SendTest is POST /v1/webhooks/configs/{id}/test.
type SendTest struct {
	Configs ConfigReader
	Queue   Queue
	Now     func() time.Time
	Random  io.Reader
}

// Route implements Operation.
func (SendTest) Route() string { return "POST " + configsPath + "/{id}/test" }

// Serve implements Operation.
func (o SendTest) Serve(ctx context.Context, r *Request) (*Response, error) {
	if err := bare(r); err != nil {
		return nil, err
	}
	c, err := receiving(ctx, o.Configs, r.OrganizationID, r.ID)
	if err != nil {
		return nil, err
	}
	now := o.Now()
	seed, err := uuid.NewRandomFromReader(o.Random)
	if err != nil {
		return nil, fmt.Errorf("making an id: %w", err)
	}
	status := c.SubscribedStatuses[0]
	event := webhook.Event{
		Version:    webhook.RenderVersion,
		ID:         webhook.NewEventID(now, seed.String()),
		DocumentID: "doc_" + seed.String(),
		Status:     status,
		OccurredAt: webhook.At(now),
		Test:       true,
	}
	if at := slices.Index(webhook.Statuses(), status); at > 0 {
		event.PreviousStatus = webhook.Statuses()[min(at, slices.Index(webhook.Statuses(), webhook.Processed))-1]
	}
	messages := []webhook.Message{{
		OrganizationID: c.OrganizationID,
		ConfigID:       c.ID,
		Event:          event,
		RequestedAt:    webhook.At(now),
		Trigger:        webhook.Test,
	}}
	if err := send(ctx, o.Queue, messages); err != nil {
		return nil, err
	}
	return sentResponse(messages, nil), nil
}

// Resend is POST /v1/webhooks/resend: a document's current status, or what failed of a config.
type Resend struct {
	Configs interface {
		ConfigReader
		ListActive(ctx context.Context, organizationID string) ([]webhook.Config, error)
	}
	Documents interface {
		// Get returns a document, nil if there is none.
		Get(ctx context.Context, id string) (*webhook.Document, error)
	}
	Deliveries DeliveryLister
	Queue      Queue
	Now        func() time.Time
	Random     io.Reader
}

// order is what the body of a resend asks for: a document, or what failed of a config.
type order struct {
	documentID  string
	configID    string
	failedSince webhook.Time
	failedUntil webhook.Time // zero for now
}

// Route implements Operation.
func (Resend) Route() string { return "POST " + resendPath }

// Serve implements Operation.
func (o Resend) Serve(ctx context.Context, r *Request) (*Response, error) {
	wanted, request := readOrder(r.Body)
	parameters := jsonapi.Parameters{jsonapi.PageAfter: nil}
	if request.Has("document_id") {
		parameters = nil // it is answered in one page
	}
	query := jsonapi.ParseQuery(r.RawQuery, parameters)
	if err := jsonapi.Join(query.Err(), request.Err()); err != nil {
		return nil, err
	}
	if wanted.documentID != "" {
		return o.document(ctx, r, wanted)
	}
	return o.failed(ctx, r, wanted, query)
}

// readOrder reads the body. What is wrong with it is for Err of the request to tell.
func readOrder(body []byte) (order, *jsonapi.Request) {
	var wanted order
	request := jsonapi.ReadRequest(body, jsonapi.Schema{
		Type: resendType,
		ID:   jsonapi.RefuseID(),
		Attributes: map[string]jsonapi.Attribute{
			"document_id":       {Text: readDocumentID(&wanted.documentID)},
			"webhook_config_id": {Text: readConfigID(&wanted.configID), Required: true, Unless: "document_id"},
			"failed_since":      {Text: readMoment(&wanted.failedSince), Required: true, NotWith: "document_id"},
			"failed_until":      {Text: readMoment(&wanted.failedUntil), NotWith: "document_id"},
		},
	})
	if !wanted.failedUntil.IsZero() && wanted.failedUntil.Before(wanted.failedSince.Time) {
		request.Refuse("failed_until", jsonapi.Invalidf("out_of_range", "must not be before failed_since"))
	}
	return wanted, request
}

// document sends the current status of a document to every subscribed active config, or to one.
func (o Resend) document(ctx context.Context, r *Request, wanted order) (*Response, error) {
	var document *webhook.Document
	if len(wanted.documentID) <= webhook.MaxDocumentIDLength {
		var err error
		if document, err = o.Documents.Get(ctx, wanted.documentID); err != nil {
			return nil, fmt.Errorf("reading the document: %w", err)
		}
	}
	if document == nil || document.OrganizationID != r.OrganizationID {
		return nil, jsonapi.NewError(404, "not_found", "there is no such document").AtPointer("/data/attributes/document_id")
	}
	if !document.Status.Known() {
		return nil, jsonapi.NewError(409, "unknown_document_status", "the document has no status that webhooks are sent for").
			AtPointer("/data/attributes/document_id")
	}
	configs, err := o.targets(ctx, r.OrganizationID, wanted.configID, document.Status)
	if err != nil {
		return nil, err
	}
	now := o.Now()
	logged, _, err := o.Deliveries.List(ctx, webhook.Selection{
		OrganizationID: r.OrganizationID,
		DocumentID:     wanted.documentID,
		Limit:          maxDocumentHistory,
		Now:            now,
	})
	if err != nil {
		return nil, err
	}
	event, err := o.event(logged, document, wanted.documentID, now)
	if err != nil {
		return nil, err
	}
	var messages []webhook.Message
	for _, c := range configs {
		d := &webhook.Delivery{OrganizationID: r.OrganizationID, ConfigID: c.ID, Event: event}
		for i := range logged {
			if logged[i].ConfigID == c.ID && logged[i].Event.ID == event.ID {
				d = &logged[i]
			}
		}
		messages = append(messages, webhook.NewResend(d, now))
	}
	if err := send(ctx, o.Queue, messages); err != nil {
		return nil, err
	}
	return sentResponse(messages, nil), nil
}

// targets returns the configs to send to: the named one, which must be able to receive, or all that can.
func (o Resend) targets(ctx context.Context, organizationID, configID string, status webhook.Status) ([]webhook.Config, error) {
	if configID == "" {
		all, err := o.Configs.ListActive(ctx, organizationID)
		return slices.DeleteFunc(all, func(c webhook.Config) bool { return !c.Subscribes(status) }), err
	}
	c, err := o.named(ctx, organizationID, configID)
	if err != nil {
		return nil, err
	}
	if !c.Subscribes(status) {
		return nil, jsonapi.NewError(409, "not_subscribed", "the config does not subscribe to the document's status, %s", status).
			AtPointer("/data/attributes/webhook_config_id")
	}
	return []webhook.Config{*c}, nil
}

func (o Resend) named(ctx context.Context, organizationID, configID string) (*webhook.Config, error) {
	c, err := receiving(ctx, o.Configs, organizationID, configID)
	if errors.Is(err, webhook.ErrNotFound) {
		return nil, jsonapi.NewError(404, "not_found", "there is no such config").AtPointer("/data/attributes/webhook_config_id")
	}
	return c, err
}

// event returns the newest logged event of the document's status, or makes one.
func (o Resend) event(logged []webhook.Delivery, document *webhook.Document, documentID string, now time.Time) (webhook.Event, error) {
	for _, d := range logged { // newest first
		if d.Event.Status == document.Status && !d.Event.Test {
			return d.Event, nil
		}
	}
	seed, err := uuid.NewRandomFromReader(o.Random)
	if err != nil {
		return webhook.Event{}, fmt.Errorf("making an id: %w", err)
	}
	occurred, err := webhook.ParseTime(document.UpdatedAt)
	if err != nil {
		occurred = webhook.At(now)
	}
	return webhook.Event{
		Version:    webhook.RenderVersion,
		ID:         webhook.NewEventID(now, seed.String()),
		DocumentID: documentID,
		Status:     document.Status,
		OccurredAt: occurred,
	}, nil
}

// failed sends again what failed of a config within a time, a page at a time. links.next goes on:
// POST the same body there.
func (o Resend) failed(ctx context.Context, r *Request, wanted order, query *jsonapi.Query) (*Response, error) {
	scope := []string{resendType, r.OrganizationID, wanted.configID, wanted.failedSince.String(), wanted.failedUntil.String()}
	after, err := readPlace(query, scope)
	if err != nil {
		return nil, err
	}
	if _, err := o.named(ctx, r.OrganizationID, wanted.configID); err != nil {
		return nil, err
	}
	now := o.Now()
	selection := webhook.Selection{
		OrganizationID: r.OrganizationID,
		ConfigIDs:      []string{wanted.configID},
		Statuses:       []webhook.DeliveryStatus{webhook.DeliveryFailed},
		After:          after,
		Limit:          maxResend,
		Now:            now,
	}
	deliveries, last, err := o.Deliveries.List(ctx, selection)
	if err != nil {
		return nil, err
	}
	var messages []webhook.Message
	for i := range deliveries {
		failedAt := deliveries[i].FailedAsOf(now)
		if !failedAt.Before(wanted.failedSince.Time) && (wanted.failedUntil.IsZero() || !failedAt.After(wanted.failedUntil.Time)) {
			messages = append(messages, webhook.NewResend(&deliveries[i], now))
		}
	}
	if err := send(ctx, o.Queue, messages); err != nil {
		return nil, err
	}
	return sentResponse(messages, query.Links(resendPath, encodePlace(last, scope))), nil
}
