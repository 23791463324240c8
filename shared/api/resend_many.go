package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Resend is POST /v1/webhooks/resend: a document's current status, or a config's events of a period. Whatever it
// sends goes through RetryQueue, so that many resent deliveries do not hold up first attempts.
type Resend struct {
	Budget  Budget // of all resends; a call counts as one
	Configs interface {
		ConfigReader
		ListActive(ctx context.Context, organizationID string) ([]webhook.Config, error)
	}
	Documents interface {
		// Get returns a document, nil if there is none.
		Get(ctx context.Context, id string) (*webhook.Document, error)
	}
	Events interface {
		EventLister
		// Add writes events, or adds to the configs of those that are there. It returns nil if all were written,
		// else one error (or nil) for each.
		Add(ctx context.Context, records []webhook.EventRecord) []error
	}
	Deliveries  DeliveryFinder
	RetryQueue  Queue
	DocumentURL webhook.DocumentURL
	Now         func() time.Time
}

// scope says which events of a period are sent again.
type scope string

const (
	failedOnes      scope = "failed"      // whose delivery has failed, was canceled, is overdue, or died before its first attempt
	undeliveredOnes scope = "undelivered" // that the config has not received, also those that were never sent to it
	allOnes         scope = "all"
)

func scopes() []scope { return []scope{failedOnes, undeliveredOnes, allOnes} }

// order is what the body of a resend asks for: a document, or a config's events of a period.
type order struct {
	documentID string
	configID   string
	since      webhook.Time
	until      webhook.Time // zero for now
	scope      scope
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
	now := o.Now()
	if wanted.since.After(now) {
		request.Refuse("since", jsonapi.Invalidf("out_of_range", "must not be in the future"))
	}
	if err := jsonapi.Join(query.Err(), request.Err()); err != nil {
		return nil, err
	}
	if err := o.Budget.use(ctx, r.OrganizationID, now); err != nil {
		return nil, err
	}
	if wanted.documentID != "" {
		return o.document(ctx, r, wanted)
	}
	return o.period(ctx, r, wanted, query)
}

// readOrder reads the body. What is wrong with it is for Err of the request to tell.
func readOrder(body []byte) (order, *jsonapi.Request) {
	wanted := order{scope: failedOnes}
	request := jsonapi.ReadRequest(body, jsonapi.Schema{
		Type: resendType,
		ID:   jsonapi.RefuseID(),
		Attributes: map[string]jsonapi.Attribute{
			"document_id":       {Text: readDocumentID(&wanted.documentID)},
			"webhook_config_id": {Text: readConfigID(&wanted.configID), Required: true, Unless: "document_id"},
			"since":             {Text: readMoment(&wanted.since), Required: true, NotWith: "document_id"},
			"until":             {Text: readMoment(&wanted.until), NotWith: "document_id"},
			"scope":             {Text: readScope(&wanted.scope), NotWith: "document_id"},
		},
	})
	if !wanted.until.IsZero() && wanted.until.Before(wanted.since.Time) {
		request.Refuse("until", jsonapi.Invalidf("out_of_range", "must not be before since"))
	}
	return wanted, request
}

func readScope(target *scope) func(string) error {
	return func(value string) error {
		*target = scope(value)
		if !slices.Contains(scopes(), *target) {
			return jsonapi.Invalidf("unknown_scope", "must be %s", oneOf(scopes()))
		}
		return nil
	}
}

// document sends the current status of a document to every subscribed active config, or to one.
func (o Resend) document(ctx context.Context, r *Request, wanted order) (*Response, error) {
	document, err := o.find(ctx, r.OrganizationID, wanted.documentID)
	if err != nil {
		return nil, err
	}
	configs, err := o.targets(ctx, r.OrganizationID, wanted.configID, document.Status)
	if err != nil {
		return nil, err
	}
	now := o.Now()
	event, err := o.event(ctx, r.OrganizationID, document, wanted.documentID, now)
	if err != nil {
		return nil, err
	}
	record := webhook.EventRecord{OrganizationID: r.OrganizationID, Event: event, ExpiresAt: webhook.At(now.Add(webhook.Retention))}
	for _, c := range configs {
		record.ConfigIDs = append(record.ConfigIDs, c.ID)
	}
	known, err := o.known(ctx, []webhook.EventRecord{record}, record.ConfigIDs)
	if err != nil {
		return nil, err
	}
	var messages []webhook.Message
	for _, configID := range record.ConfigIDs {
		d, ok := known[webhook.Key{OrganizationID: r.OrganizationID, ConfigID: configID, EventID: event.ID}]
		if !ok {
			d = unlogged(&record, configID, now)
		}
		messages = append(messages, webhook.NewResend(&d, now))
	}
	return o.send(ctx, []webhook.EventRecord{record}, messages, nil)
}

// find returns a document of an organization whose status webhooks are sent for.
func (o Resend) find(ctx context.Context, organizationID, documentID string) (*webhook.Document, error) {
	var document *webhook.Document
	if len(documentID) <= webhook.MaxDocumentIDLength {
		var err error
		if document, err = o.Documents.Get(ctx, documentID); err != nil {
			return nil, fmt.Errorf("reading the document: %w", err)
		}
	}
	if document == nil || document.OrganizationID != organizationID {
		return nil, jsonapi.NewError(404, "not_found", "there is no such document").AtPointer("/data/attributes/document_id")
	}
	if !document.Status.Known() {
		return nil, jsonapi.NewError(409, "unknown_document_status", "the document has no status that webhooks are sent for").
			AtPointer("/data/attributes/document_id")
	}
	return document, nil
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

// event returns the newest recorded event of the document's status, or makes a snapshot. The
// snapshot's id is made of the document's id, status and time, so that two calls for the same state make one event.
func (o Resend) event(
	ctx context.Context, organizationID string, document *webhook.Document, documentID string, now time.Time,
) (webhook.Event, error) {
	recorded, _, err := o.Events.List(ctx, webhook.EventSelection{
		OrganizationID: organizationID,
		DocumentID:     documentID,
		Statuses:       []webhook.Status{document.Status},
		Limit:          maxDocumentHistory,
		Now:            now,
	})
	if err != nil {
		return webhook.Event{}, err
	}
	if len(recorded) > 0 {
		return recorded[0].Event, nil
	}
	occurred, err := webhook.ParseOccurred(document.UpdatedAt, now)
	if err != nil {
		occurred = webhook.At(now)
	}
	return webhook.Event{
		Version:    webhook.RenderVersion,
		ID:         webhook.NewEventID(occurred.Time, fmt.Sprintf("snapshot %q %s %q", documentID, document.Status, document.UpdatedAt)),
		DocumentID: documentID,
		Status:     document.Status,
		OccurredAt: occurred,
		Related:    o.DocumentURL.Of(documentID),
	}, nil
}

// period sends again a config's events of a period, a page at a time. links.next goes on: POST the same body there.
func (o Resend) period(ctx context.Context, r *Request, wanted order, query *jsonapi.Query) (*Response, error) {
	tied := []string{resendType, r.OrganizationID, wanted.configID, wanted.since.String(), wanted.until.String(), string(wanted.scope)}
	after, err := readEventPlace(query, tied)
	if err != nil {
		return nil, err
	}
	c, err := o.named(ctx, r.OrganizationID, wanted.configID)
	if err != nil {
		return nil, err
	}
	now := o.Now()
	selection := webhook.EventSelection{
		OrganizationID: r.OrganizationID,
		CreatedAfter:   wanted.since.Add(-time.Millisecond), // both ends belong to the period
		CreatedBefore:  now.Add(time.Millisecond),
		After:          after,
		Limit:          maxResend,
		Now:            now,
	}
	if !wanted.until.IsZero() {
		selection.CreatedBefore = wanted.until.Add(time.Millisecond)
	}
	if wanted.scope != failedOnes {
		selection.Statuses = c.SubscribedStatuses
	}
	var sent []webhook.EventRecord
	var messages []webhook.Message
	next := after
	for range maxResendPages {
		selection.After = next
		var events []webhook.EventRecord
		if events, next, err = o.Events.List(ctx, selection); err != nil {
			return nil, err
		}
		included, err := o.included(ctx, events, wanted, now)
		if err != nil {
			return nil, err
		}
		if room := maxResend - len(sent); len(included) > room {
			included = included[:room]
			next = included[room-1].event.Event.ID
		}
		for _, one := range included {
			sent, messages = append(sent, one.event), append(messages, one.message)
		}
		if next == "" || len(sent) == maxResend {
			break
		}
	}
	return o.send(ctx, sent, messages, query.Links(resendPath, encodeEventPlace(next, tied)))
}

// resent is an event that is sent again, and the message that does so.
type resent struct {
	event   webhook.EventRecord
	message webhook.Message
}

// included returns those of some events that an order is about.
func (o Resend) included(ctx context.Context, events []webhook.EventRecord, wanted order, now time.Time) ([]resent, error) {
	known, err := o.known(ctx, events, []string{wanted.configID})
	if err != nil {
		return nil, err
	}
	var included []resent
	for _, e := range events {
		var d *webhook.Delivery
		if found, ok := known[webhook.Key{OrganizationID: e.OrganizationID, ConfigID: wanted.configID, EventID: e.Event.ID}]; ok {
			d = &found
		}
		if !wanted.scope.includes(&e, d, wanted.configID, now) {
			continue
		}
		m := wanted.scope.message(&e, d, wanted.configID, now)
		e.ConfigIDs, e.ExpiresAt = []string{wanted.configID}, webhook.At(now.Add(webhook.Retention))
		included = append(included, resent{event: e, message: m})
	}
	return included, nil
}

// includes reports whether the delivery of an event to a config, nil if nothing was logged of it, is to be sent again.
// What is on its way is left alone, unless all are asked for.
func (s scope) includes(e *webhook.EventRecord, d *webhook.Delivery, configID string, now time.Time) bool {
	sentLately := slices.Contains(e.ConfigIDs, configID) && !e.Missing(configID, now)
	switch {
	case s == allOnes:
		return true
	case d == nil:
		return e.Missing(configID, now) || s == undeliveredOnes && !sentLately
	case s == undeliveredOnes:
		return d.DeliveredAt.IsZero() && (d.Over() || d.Overdue(now))
	}
	return d.Status == webhook.DeliveryFailed || d.Status == webhook.Canceled || d.Overdue(now)
}

// message returns the message that sends an event again. What has not succeeded keeps its request, so that it is not
// sent again if it succeeds meanwhile. Where nothing was logged, the message stands for the attempt that the first one
// stood for, and asks the log before the POST, so that of several only one makes it.
func (s scope) message(e *webhook.EventRecord, d *webhook.Delivery, configID string, now time.Time) webhook.Message {
	switch {
	case d == nil && s == allOnes:
		nothing := unlogged(e, configID, now)
		return webhook.NewResend(&nothing, now)
	case d == nil:
		m := webhook.NewFirst(e.OrganizationID, configID, e.Event, e.CreatedAt(), now)
		m.Trigger, m.Again = webhook.Resend, true
		return m
	case s == allOnes:
		return webhook.NewResend(d, now)
	}
	return webhook.NewRepeat(d, now)
}

// unlogged is the delivery of an event to a config before anything of it is logged. A snapshot may be of a time to come.
func unlogged(e *webhook.EventRecord, configID string, now time.Time) webhook.Delivery {
	requested := e.CreatedAt()
	if requested.After(now) {
		requested = webhook.At(now)
	}
	return webhook.Delivery{
		OrganizationID: e.OrganizationID, ConfigID: configID, Event: e.Event, RequestedAt: requested, Round: webhook.FirstRound,
	}
}

// known returns what was logged of the deliveries of events to configs.
func (o Resend) known(ctx context.Context, events []webhook.EventRecord, configIDs []string) (map[webhook.Key]webhook.Delivery, error) {
	var keys []webhook.Key
	for _, e := range events {
		for _, configID := range configIDs {
			keys = append(keys, webhook.Key{OrganizationID: e.OrganizationID, ConfigID: configID, EventID: e.Event.ID})
		}
	}
	deliveries, err := o.Deliveries.Find(ctx, keys)
	if err != nil {
		return nil, err
	}
	known := map[webhook.Key]webhook.Delivery{}
	for _, d := range deliveries {
		known[d.Key()] = d
	}
	return known, nil
}

// send notes the configs that events are sent to, and sends the messages.
func (o Resend) send(
	ctx context.Context, events []webhook.EventRecord, messages []webhook.Message, links *jsonapi.Links,
) (*Response, error) {
	if len(messages) > 0 {
		if err := errors.Join(o.Events.Add(ctx, events)...); err != nil {
			return nil, fmt.Errorf("recording what is sent: %w", err)
		}
	}
	if err := send(ctx, o.RetryQueue, messages); err != nil {
		return nil, err
	}
	return sentResponse(messages, links), nil
}
