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
	// maxResendPages is how many pages of as many events one call reads for that.
	maxResendPages = 10
	// maxDocumentHistory is how many events of a document are searched for its current status.
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

// Lanes are the queues that single messages go to, by the config's lane.
type Lanes struct {
	Fast  Queue // DeliveryQueue
	Retry Queue
}

func (l Lanes) of(c *webhook.Config, now time.Time) Queue {
	if c.Fast(now) {
		return l.Fast
	}
	return l.Retry
}

func newID(random io.Reader) (string, error) {
	id, err := uuid.NewRandomFromReader(random)
	if err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return id.String(), nil
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
	Budget     Budget // of all resends
	Deliveries DeliveryReader
	Configs    ConfigReader
	Lanes      Lanes
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
	c, err := receiving(ctx, o.Configs, r.OrganizationID, d.ConfigID)
	if errors.Is(err, webhook.ErrNotFound) {
		return nil, jsonapi.NewError(409, "config_deleted", "the delivery's config was deleted")
	}
	if err != nil {
		return nil, err
	}
	if err := o.Budget.use(ctx, r.OrganizationID, now); err != nil {
		return nil, err
	}
	if err := send(ctx, o.Lanes.of(c, now), []webhook.Message{webhook.NewResend(d, now)}); err != nil {
		return nil, err
	}
	return single(202, deliveryResource(d)), nil
}

// SendTest is POST /v1/webhooks/configs/{id}/test.
type SendTest struct {
	Budget      Budget // of tests
	Configs     ConfigReader
	Lanes       Lanes
	DocumentURL webhook.DocumentURL
	Now         func() time.Time
	Random      io.Reader
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
	if err := o.Budget.use(ctx, r.OrganizationID, now); err != nil {
		return nil, err
	}
	id, err := newID(o.Random)
	if err != nil {
		return nil, err
	}
	status := c.SubscribedStatuses[0]
	event := webhook.Event{
		Version:    webhook.RenderVersion,
		ID:         webhook.NewEventID(now, id),
		DocumentID: "doc_" + id,
		Status:     status,
		OccurredAt: webhook.At(now),
		Test:       true,
	}
	event.Related = o.DocumentURL.Of(event.DocumentID)
	if at := slices.Index(webhook.Statuses(), status); at > 0 {
		event.PreviousStatus = webhook.Statuses()[min(at, slices.Index(webhook.Statuses(), webhook.Processed))-1]
	}
	message := webhook.NewFirst(c.OrganizationID, c.ID, event, webhook.At(now), now)
	message.Trigger = webhook.Test
	messages := []webhook.Message{message}
	if err := send(ctx, o.Lanes.of(c, now), messages); err != nil {
		return nil, err
	}
	return sentResponse(messages, nil), nil
}
