package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrMessage is returned for a queue message that cannot be understood.
var ErrMessage = errors.New("not a delivery message")

// Message asks for one attempt of one round of the delivery of an event to a config.
type Message struct {
	OrganizationID string  `json:"organization_id"`
	ConfigID       string  `json:"config_id"`
	Event          Event   `json:"event"`
	RequestedAt    Time    `json:"requested_at"` // when the round was asked for: what succeeded for it or for a later one is done
	Trigger        Trigger `json:"trigger"`
	Round          string  `json:"round"`           // a name; see FirstRound and LaterRound
	Attempt        int     `json:"attempt"`         // 1 to MaxAttempts, within the round
	NotBefore      Time    `json:"not_before"`      // when it was first sent or, if that is later, is due
	Again          bool    `json:"again,omitempty"` // another message may stand for the same attempt: the log is asked before the POST
}

// Key identifies a delivery.
type Key struct {
	OrganizationID string
	ConfigID       string
	EventID        string
}

// Key returns the key of the delivery that m asks for.
func (m *Message) Key() Key {
	return Key{OrganizationID: m.OrganizationID, ConfigID: m.ConfigID, EventID: m.Event.ID}
}

// DeliveryID returns the public id of the delivery that m asks for.
func (m *Message) DeliveryID() string {
	id, _ := DeliveryID(m.ConfigID, m.Event.ID)
	return id
}

// MaxOrganizationIDLength is the limit of an organization's id, in bytes: with the longest document id and
// a separator it must fit into a partition key, which DynamoDB limits to 2048 bytes. A longer one can be
// neither read nor logged, and neither can what is read with it.
const MaxOrganizationIDLength = 2048 - 1 - MaxDocumentIDLength

const (
	// maxRoundLength is the limit of a round's name, in bytes: a millisecond, a dash and an id.
	maxRoundLength = 120
	// maxRequestedAhead is how far in the future a request may lie. Whatever succeeds for it makes all
	// earlier requests obsolete, so a date of the far future would end a delivery for ever.
	maxRequestedAhead = 5 * time.Minute
	// maxNotBeforeAhead is how far in the future an attempt may lie: more than any schedule or endpoint asks for.
	maxNotBeforeAhead = 30 * 24 * time.Hour
	// messageVersion is the version of a message's JSON.
	messageVersion = 1
)

// MarshalJSON implements json.Marshaler.
func (m Message) MarshalJSON() ([]byte, error) {
	type fields Message
	return json.Marshal(struct {
		Version int `json:"v"`
		fields
	}{messageVersion, fields(m)})
}

// ParseMessage reads the JSON of a message that is received at now. Every error is an ErrMessage.
func ParseMessage(body string, now time.Time) (Message, error) {
	type fields Message
	var m struct {
		Version int `json:"v"`
		fields
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return Message{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	problem := Message(m.fields).problem(now)
	if m.Version != messageVersion {
		problem = fmt.Sprintf("version %d is unknown", m.Version)
	}
	if problem != "" {
		return Message{}, fmt.Errorf("%w: %s", ErrMessage, problem)
	}
	return Message(m.fields), nil
}

// problem returns the first thing that is wrong with m, "" if nothing is.
func (m Message) problem(now time.Time) string {
	_, eventErr := EventTime(m.Event.ID)
	_, sequenceErr := NewSequence(m.Event.Sequence)
	switch {
	case m.OrganizationID == "" || len(m.OrganizationID) > MaxOrganizationIDLength:
		return "organization_id is missing or too long"
	case !ValidConfigID(m.ConfigID):
		return "config_id is not a UUID"
	case eventErr != nil:
		return "no event id"
	case m.Event.Version < 1 || m.Event.Version > RenderVersion:
		return fmt.Sprintf("event version %d is unknown", m.Event.Version)
	case m.Event.DocumentID == "" || len(m.Event.DocumentID) > MaxDocumentIDLength:
		return "document_id is missing or too long"
	case !m.Event.Status.Known():
		return "unknown document status"
	case m.Event.PreviousStatus != "" && !m.Event.PreviousStatus.Known():
		return "unknown previous document status"
	case m.Event.Sequence != "" && (sequenceErr != nil || len(m.Event.Sequence) != SequenceLength):
		return "sequence is malformed"
	case len(m.Event.Related) > MaxRelatedLength:
		return "related is too long"
	case m.Event.OccurredAt.IsZero() || m.RequestedAt.IsZero() || m.NotBefore.IsZero():
		return "occurred_at, requested_at or not_before is missing"
	case m.RequestedAt.Sub(now) > maxRequestedAhead || m.NotBefore.Sub(now) > maxNotBeforeAhead:
		return "requested_at or not_before lies too far in the future"
	case m.Trigger != StatusChange && m.Trigger != Resend && m.Trigger != Test:
		return "unknown trigger"
	case m.Round == "" || len(m.Round) > maxRoundLength:
		return "round is missing or too long"
	case m.Attempt < 1 || m.Attempt > MaxAttempts:
		return "attempt is out of range"
	}
	return ""
}
