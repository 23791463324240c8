// Package dispatch turns changes of documents into delivery messages.
//
// It reads a batch of DynamoDB stream records, passes over those that can never work, and sends one
// message for each active config that subscribes to a document's new status. A record is reported
// as done only after the queue has accepted all its messages; event ids are derived from the
// record, so that doing one again causes duplicates of the same deliveries and no new ones.
package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// Configs reads the active configs of an organization.
type Configs interface {
	ListActive(ctx context.Context, organizationID string) ([]webhook.Config, error)
}

// Queue accepts messages. It returns nil if all were accepted, else one error (or nil) for each.
type Queue interface {
	Send(ctx context.Context, messages []webhook.Message) []error
}

// Metrics counts.
type Metrics interface {
	Add(name string, n int)
	Flush()
}

// Names of the metrics.
const (
	metricMessages   = "MessagesDispatched"
	metricUnroutable = "UnroutableRecords"
	metricRetried    = "RecordsRetried"
)

// Dispatcher handles batches of stream records. It is safe for concurrent use.
type Dispatcher struct {
	Configs Configs
	Queue   Queue
	Metrics Metrics
	Log     *slog.Logger
}

// Batch is the event of a DynamoDB stream. Records are decoded one by one, so that a broken one
// does not stop the others.
type Batch struct {
	Records []json.RawMessage `json:"Records"`
}

// Answer reports the records that must be read again. Lambda reads again from the lowest one on.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
type Answer struct {
	BatchItemFailures []Failure `json:"batchItemFailures"`
}

// Failure names a record by its sequence number.
type Failure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// Handle dispatches one batch. It never errors: what could not be sent is in the answer.
func (d *Dispatcher) Handle(ctx context.Context, batch Batch) (Answer, error) {
	defer d.Metrics.Flush()
	var changes []change
	for _, raw := range batch.Records {
		c, err := d.guarded(ctx, func() (change, error) { return parse(raw) })
		switch {
		case errors.Is(err, errNoChange):
		case err != nil:
			d.Metrics.Add(metricUnroutable, 1)
			d.Log.ErrorContext(ctx, "record passed over", "reason", err.Error(), "event_id", c.eventID, "sequence_number", c.sequenceNumber, "document_id", cut(c.documentID))
		default:
			changes = append(changes, c)
		}
	}
	answer := Answer{BatchItemFailures: []Failure{}}
	sent := 0
	for _, failed := range d.dispatch(ctx, changes, &sent) {
		answer.BatchItemFailures = append(answer.BatchItemFailures, Failure{failed.sequenceNumber})
	}
	d.Metrics.Add(metricMessages, sent)
	if n := len(answer.BatchItemFailures); n > 0 {
		d.Metrics.Add(metricRetried, n)
	}
	d.Log.InfoContext(ctx, "batch", "records", len(batch.Records), "changes", len(changes), "messages", sent, "failures", len(answer.BatchItemFailures))
	return answer, nil
}

// dispatch sends the messages of all changes and returns, in order, the changes that must be tried again.
func (d *Dispatcher) dispatch(ctx context.Context, changes []change, sent *int) []change {
	type configs struct {
		active []webhook.Config
		err    error
	}
	organizations := map[string]configs{}
	failed := make([]bool, len(changes))
	var messages []webhook.Message
	var owners []int // the change that each message belongs to
	for i, c := range changes {
		organization, known := organizations[c.organizationID]
		if !known {
			organization.active, organization.err = d.Configs.ListActive(ctx, c.organizationID)
			organizations[c.organizationID] = organization
			if organization.err != nil {
				d.Log.ErrorContext(ctx, "configs not readable", "organization_id", c.organizationID, "error", organization.err.Error())
			}
		}
		if organization.err != nil {
			failed[i] = true
			continue
		}
		for _, config := range organization.active {
			if config.Receives() && config.Subscribes(c.event.Status) {
				messages = append(messages, c.message(config.ID))
				owners = append(owners, i)
			}
		}
	}
	*sent = len(messages)
	if len(messages) > 0 {
		var first error
		for i, err := range d.Queue.Send(ctx, messages) {
			if err != nil {
				failed[owners[i]] = true
				*sent--
				first = errors.Join(first, err)
			}
		}
		if first != nil {
			d.Log.ErrorContext(ctx, "messages not accepted by the queue", "count", len(messages)-*sent, "error", cut(first.Error()))
		}
	}
	var again []change
	for i, c := range changes {
		if failed[i] {
			again = append(again, c)
		}
	}
	return again
}

// guarded makes a panic on one record an error like any other.
func (d *Dispatcher) guarded(ctx context.Context, read func() (change, error)) (c change, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			d.Log.ErrorContext(ctx, "panic while reading a record", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return read()
}

// cut keeps a hostile id or error from flooding the log.
func cut(s string) string { return s[:min(len(s), webhook.MaxDocumentIDLength)] }

// errNoChange is returned for a record that is sound but no change of a status.
var errNoChange = errors.New("status has not changed")

// change is a stream record that counts.
type change struct {
	sequenceNumber string
	eventID        string // of the record
	organizationID string
	documentID     string
	created        time.Time
	event          webhook.Event
}

func (c change) message(configID string) webhook.Message {
	return webhook.Message{
		OrganizationID: c.organizationID,
		ConfigID:       configID,
		Event:          c.event,
		RequestedAt:    webhook.At(c.created),
		Trigger:        webhook.StatusChange,
	}
}

type image map[string]json.RawMessage

// text returns a string attribute, "" if there is none.
func (i image) text(name string) string {
	var value struct{ S *string }
	if raw, ok := i[name]; !ok || json.Unmarshal(raw, &value) != nil || value.S == nil {
		return ""
	}
	return *value.S
}

type record struct {
	EventID   string `json:"eventID"`
	EventName string `json:"eventName"`
	DynamoDB  struct {
		ApproximateCreationDateTime float64 // Unix seconds
		Keys                        image
		NewImage                    image
		OldImage                    image
		SequenceNumber              string
	} `json:"dynamodb"`
}

func parse(raw json.RawMessage) (change, error) {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return change{sequenceNumber: r.DynamoDB.SequenceNumber, eventID: r.EventID}, fmt.Errorf("not a stream record: %w", err)
	}
	now, old := r.DynamoDB.NewImage, r.DynamoDB.OldImage
	c := change{
		sequenceNumber: r.DynamoDB.SequenceNumber,
		eventID:        r.EventID,
		organizationID: now.text("organization_id"),
		documentID:     r.DynamoDB.Keys.text("id"),
	}
	if r.EventName != "INSERT" && r.EventName != "MODIFY" {
		return c, errNoChange
	}
	seconds := r.DynamoDB.ApproximateCreationDateTime
	status, previous := webhook.Status(now.text("status")), webhook.Status(old.text("status"))
	switch {
	case r.EventName == "MODIFY" && old == nil:
		return c, errors.New("MODIFY without an old image: the stream's view type is not NEW_AND_OLD_IMAGES")
	case status == previous:
		return c, errNoChange
	case !status.Known():
		return c, fmt.Errorf("unknown status %q", cut(string(status)))
	case c.organizationID == "":
		return c, errors.New("no organization_id")
	case len(c.organizationID) > webhook.MaxOrganizationIDLength:
		return c, fmt.Errorf("organization_id of %d bytes, more than %d", len(c.organizationID), webhook.MaxOrganizationIDLength)
	case c.documentID == "":
		return c, errors.New("no string attribute id in the key")
	case len(c.documentID) > webhook.MaxDocumentIDLength:
		return c, fmt.Errorf("document id of %d bytes, more than %d", len(c.documentID), webhook.MaxDocumentIDLength)
	case r.EventID == "" || c.sequenceNumber == "" || math.IsNaN(seconds) || seconds <= 0 || seconds > 1e11:
		return c, errors.New("no event id, sequence number or creation time")
	}
	if !previous.Known() {
		previous = "" // a status of the document system's own, which the contract does not know
	}
	// Whole seconds are all that the stream promises, so that nothing more may decide the event's id.
	c.created = time.Unix(int64(seconds), 0).UTC()
	occurred, err := webhook.ParseTime(now.text("updated_at"))
	if err != nil {
		occurred = webhook.At(c.created)
	}
	c.event = webhook.Event{
		Version:        webhook.RenderVersion,
		ID:             webhook.NewEventID(c.created, r.EventID),
		DocumentID:     c.documentID,
		Status:         status,
		PreviousStatus: previous,
		OccurredAt:     occurred,
	}
	return c, nil
}
