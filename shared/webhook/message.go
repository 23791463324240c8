package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ErrMessage is returned for a queue message that cannot be understood.
var ErrMessage = errors.New("not a delivery message")

// Message asks for one event to be delivered to one config.
type Message struct {
	OrganizationID string
	ConfigID       string
	Event          Event
	RequestedAt    Time
	Trigger        Trigger
	Round          string // set when the message was put back; otherwise the queue's message id is the round
}

// MaxOrganizationIDLength is the limit of an organization's id, in bytes: with the longest document id and
// a separator it must fit into a partition key, which DynamoDB limits to 2048 bytes. A longer one can be
// neither read nor logged, and neither can what is read with it.
const MaxOrganizationIDLength = 2048 - 1 - MaxDocumentIDLength

// maxRoundLength is the limit of a round, in bytes. SQS's message ids are no longer.
const maxRoundLength = 100

// messageVersion is the version of the JSON below.
const messageVersion = 1

type messageJSON struct {
	Version        int     `json:"v"`
	OrganizationID string  `json:"organization_id"`
	ConfigID       string  `json:"config_id"`
	Event          Event   `json:"event"`
	RequestedAt    Time    `json:"requested_at"`
	Trigger        Trigger `json:"trigger"`
	Round          string  `json:"round,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (m Message) MarshalJSON() ([]byte, error) {
	return json.Marshal(messageJSON{messageVersion, m.OrganizationID, m.ConfigID, m.Event, m.RequestedAt, m.Trigger, m.Round})
}

// ParseMessage reads the JSON of a message. Every error is an ErrMessage.
func ParseMessage(body string) (Message, error) {
	decoder := json.NewDecoder(strings.NewReader(body))
	var m messageJSON
	if err := decoder.Decode(&m); err != nil {
		return Message{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	_, end := decoder.Token()
	_, eventErr := EventTime(m.Event.ID)
	problem := ""
	switch {
	case end != io.EOF:
		problem = "something follows the message"
	case m.Version != messageVersion:
		problem = fmt.Sprintf("version %d is unknown", m.Version)
	case m.OrganizationID == "" || len(m.OrganizationID) > MaxOrganizationIDLength:
		problem = "organization_id is missing or too long"
	case !ValidConfigID(m.ConfigID):
		problem = "config_id is not a UUID"
	case eventErr != nil:
		problem = "no event id"
	case m.Event.Version < 1 || m.Event.Version > RenderVersion:
		problem = fmt.Sprintf("event version %d is unknown", m.Event.Version)
	case m.Event.DocumentID == "" || len(m.Event.DocumentID) > MaxDocumentIDLength:
		problem = "document_id is missing or too long"
	case !m.Event.Status.Known():
		problem = "unknown document status"
	case m.Event.PreviousStatus != "" && !m.Event.PreviousStatus.Known():
		problem = "unknown previous document status"
	case m.Event.OccurredAt.IsZero() || m.RequestedAt.IsZero():
		problem = "occurred_at or requested_at is missing"
	case m.Trigger != StatusChange && m.Trigger != Resend && m.Trigger != Test:
		problem = "unknown trigger"
	case len(m.Round) > maxRoundLength:
		problem = "round is too long"
	}
	if problem != "" {
		return Message{}, fmt.Errorf("%w: %s", ErrMessage, problem)
	}
	return Message{m.OrganizationID, m.ConfigID, m.Event, m.RequestedAt, m.Trigger, m.Round}, nil
}

// NewResend returns the message that sends d again. Its RequestedAt is now, or just after the
// last one of d if that is later, so that it is never taken for a duplicate of what succeeded.
func NewResend(d *Delivery, now time.Time) Message {
	requested := At(now)
	for _, last := range []Time{d.RequestedAt, d.DoneFor} {
		if !requested.After(last.Time) {
			requested = At(last.Add(time.Millisecond))
		}
	}
	return Message{OrganizationID: d.OrganizationID, ConfigID: d.ConfigID, Event: d.Event, RequestedAt: requested, Trigger: Resend}
}
