package dispatch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// errNoChange is returned for a record that is sound but no change of a status.
var errNoChange = errors.New("status has not changed")

// change is a stream record that counts.
type change struct {
	record         json.RawMessage
	sequenceNumber string
	eventID        string // of the record
	organizationID string
	documentID     string
	created        time.Time
	event          webhook.Event
	occurredErr    error // why the document's own time is not the event's, nil if it is or there is none
}

// heldRecord returns what waits in DispatchRetryQueue. A document may be larger than any message; then the images
// lose all that dispatch does not read.
func (c *change) heldRecord() webhook.HeldRecord {
	h := webhook.HeldRecord{OrganizationID: c.organizationID, Body: string(c.record)}
	if len(h.Body) > webhook.MaxHeldRecord {
		var r record
		_ = json.Unmarshal(c.record, &r) // parsing has read it, so it cannot fail
		r.DynamoDB.NewImage = r.DynamoDB.NewImage.only(organizationAttribute, statusAttribute, updatedAttribute)
		r.DynamoDB.OldImage = r.DynamoDB.OldImage.only(statusAttribute)
		body, _ := json.Marshal(r)
		h.Body = string(body)
	}
	return h
}

// image is a document as it was before or after a change.
type image map[string]json.RawMessage

// Attributes of a document that are read.
const (
	organizationAttribute = "organization_id"
	statusAttribute       = "status"
	updatedAttribute      = "updated_at"
	keyAttribute          = "id"
)

// text returns a string attribute, "" if there is none.
func (i image) text(name string) string {
	var value struct{ S *string }
	if raw, ok := i[name]; !ok || json.Unmarshal(raw, &value) != nil || value.S == nil {
		return ""
	}
	return *value.S
}

// maxAttribute is how much of one attribute is kept, in bytes of JSON: the longest organization id, each of its
// bytes escaped. A longer value is not one that can be used.
const maxAttribute = 6*webhook.MaxOrganizationIDLength + len(`{"S":""}`)

// only returns i with some attributes alone. A missing image stays missing.
func (i image) only(names ...string) image {
	if i == nil {
		return nil
	}
	kept := image{}
	for _, name := range names {
		if raw, ok := i[name]; ok && len(raw) <= maxAttribute {
			kept[name] = raw
		}
	}
	return kept
}

// occurred returns the time of a change, as the document says or else when it was recorded. It also errors if
// the document says something that is not to be believed.
func (i image) occurred(recorded time.Time) (webhook.Time, error) {
	raw, ok := i[updatedAttribute]
	var value struct {
		S, N *string
		NULL bool
	}
	err := json.Unmarshal(raw, &value)
	if !ok || err == nil && value.NULL {
		return webhook.At(recorded), nil
	}
	for _, text := range []*string{value.S, value.N} {
		if text != nil {
			t, err := webhook.ParseOccurred(*text, recorded)
			if err != nil {
				return webhook.At(recorded), err
			}
			return t, nil
		}
	}
	return webhook.At(recorded), errors.New("neither a string nor a number")
}

// record is a change of an item as Lambda hands it over.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
type record struct {
	EventID   string `json:"eventID"`
	EventName string `json:"eventName"`
	DynamoDB  struct {
		ApproximateCreationDateTime float64 // Unix seconds
		Keys                        image
		NewImage                    image
		OldImage                    image // nil for a new document, which null says too
		SequenceNumber              string
	} `json:"dynamodb"`
}

// parse reads a record. It errors with errNoChange for one that is sound and means nothing, and otherwise for one
// that can never work; what is known of that is returned, for the log.
func parse(raw json.RawMessage) (change, error) {
	var r record
	return r.change(raw, json.Unmarshal(raw, &r))
}

// change is parse after reading the JSON, with its error.
func (r *record) change(raw json.RawMessage, err error) (change, error) {
	c := change{record: raw}
	if err != nil {
		c.sequenceNumber, c.eventID = r.DynamoDB.SequenceNumber, r.EventID
		return c, fmt.Errorf("not a stream record: %w", err)
	}
	now, old := r.DynamoDB.NewImage, r.DynamoDB.OldImage
	c.sequenceNumber = r.DynamoDB.SequenceNumber
	c.eventID = r.EventID
	c.organizationID = now.text(organizationAttribute)
	c.documentID = r.DynamoDB.Keys.text(keyAttribute)
	if r.EventName != "INSERT" && r.EventName != "MODIFY" {
		return c, errNoChange
	}
	seconds := r.DynamoDB.ApproximateCreationDateTime
	status, previous := webhook.Status(now.text(statusAttribute)), webhook.Status(old.text(statusAttribute))
	sequence, sequenceErr := webhook.NewSequence(c.sequenceNumber)
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
	case sequenceErr != nil:
		return c, sequenceErr
	case r.EventID == "" || math.IsNaN(seconds) || seconds <= 0 || seconds > 1e11:
		return c, errors.New("no event id or creation time")
	}
	if !previous.Known() {
		previous = "" // a status of the document system's own, which the contract does not know
	}
	// Whole seconds are all that the stream promises, so that nothing more may decide the event's id.
	c.created = time.Unix(int64(seconds), 0).UTC()
	c.event = webhook.Event{
		Version:        webhook.RenderVersion,
		ID:             webhook.NewEventID(c.created, r.EventID),
		DocumentID:     c.documentID,
		Status:         status,
		PreviousStatus: previous,
		Sequence:       sequence,
	}
	c.event.OccurredAt, c.occurredErr = now.occurred(c.created)
	return c, nil
}

// cut keeps a hostile id or error from flooding the log.
func cut(s string) string { return s[:min(len(s), webhook.MaxDocumentIDLength)] }
