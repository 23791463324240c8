package webhook

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// MaxDocumentIDLength is the limit of a document id, in bytes.
const MaxDocumentIDLength = 256

// RenderVersion is the version that new events are rendered with.
const RenderVersion = 1

const eventPrefix = "evt_"

// ErrUnknownVersion is returned for an event that a later release rendered.
var ErrUnknownVersion = errors.New("unknown rendering version")

// Event is one change of a document's status.
type Event struct {
	Version        int    `json:"v"`  // how the request body is rendered
	ID             string `json:"id"` // "evt_" and a ULID
	DocumentID     string `json:"document_id"`
	Status         Status `json:"status"`
	PreviousStatus Status `json:"previous_status,omitempty"` // "" when the document is new
	Sequence       string `json:"sequence,omitempty"`        // SequenceLength digits; "" where nothing can be compared: tests and snapshots
	OccurredAt     Time   `json:"occurred_at"`
	Related        string `json:"related,omitempty"` // where the document can be fetched; see DocumentURL
	Test           bool   `json:"test,omitempty"`
}

// SequenceLength is the number of digits of Event.Sequence. A stream's sequence numbers have 21 to 40.
//
// Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
const SequenceLength = 40

// NewSequence returns the sequence of the change with a stream's sequence number, padded so that strings
// compare as numbers do. It errors if that is not a number of at most SequenceLength digits.
func NewSequence(number string) (string, error) {
	if number == "" || len(number) > SequenceLength || strings.Trim(number, "0123456789") != "" {
		return "", fmt.Errorf("%.60q is not a sequence number", number)
	}
	return strings.Repeat("0", SequenceLength-len(number)) + number, nil
}

// NewEventID returns the id of an event that happened at t and that seed identifies: the same
// arguments give the same id. Ids sort by t, to the millisecond.
func NewEventID(t time.Time, seed string) string {
	hash := sha256.Sum256([]byte(seed))
	var id ulid.ULID
	_ = id.SetTime(ulid.Timestamp(t)) // fails only after the year 10889
	_ = id.SetEntropy(hash[:10])      // fails only for another length
	return eventPrefix + id.String()
}

// EventTime returns the time in an event id.
func EventTime(eventID string) (time.Time, error) {
	id, err := parseEventID(eventID)
	if err != nil {
		return time.Time{}, err
	}
	return ulid.Time(id.Time()), nil
}

// FirstEventID returns the least id that an event of time t can have.
func FirstEventID(t time.Time) string {
	var id ulid.ULID
	if t.UnixMilli() > 0 {
		_ = id.SetTime(min(ulid.Timestamp(t), ulid.MaxTime()))
	}
	return eventPrefix + id.String()
}

func parseEventID(s string) (ulid.ULID, error) {
	encoded, ok := strings.CutPrefix(s, eventPrefix)
	if !ok {
		return ulid.ULID{}, fmt.Errorf("%q is not an event id", s)
	}
	id, err := ulid.ParseStrict(encoded)
	if err != nil || id.String() != encoded {
		return ulid.ULID{}, fmt.Errorf("%q is not an event id", s)
	}
	return id, nil
}

type identifier struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type relationship struct {
	Data  identifier `json:"data"`
	Links *links1    `json:"links,omitempty"`
}

type links1 struct {
	Related string `json:"related"`
}

// body1 is what an endpoint receives in version 1. It is frozen: an event that was rendered with
// it once must come out byte-identical for ever, because receivers compare and signatures cover it.
type body1 struct {
	JSONAPI struct {
		Version string `json:"version"`
	} `json:"jsonapi"`
	Data struct {
		Type       string `json:"type"`
		ID         string `json:"id"`
		Attributes struct {
			DocumentID     string  `json:"document_id"`
			Status         Status  `json:"status"`
			PreviousStatus *Status `json:"previous_status"`
			Sequence       *string `json:"sequence"`
			OccurredAt     Time    `json:"occurred_at"`
		} `json:"attributes"`
		Relationships struct {
			Document      relationship `json:"document"`
			WebhookConfig relationship `json:"webhook_config"`
		} `json:"relationships"`
	} `json:"data"`
	Meta *meta1 `json:"meta,omitempty"`
}

type meta1 struct {
	Test bool `json:"test"`
}

// Render returns the body of the request that tells configID of e. It errors with
// ErrUnknownVersion if this release does not know e's version.
func (e *Event) Render(configID string) ([]byte, error) {
	if e.Version != 1 {
		return nil, fmt.Errorf("%w: %d", ErrUnknownVersion, e.Version)
	}
	var body body1
	body.JSONAPI.Version = "1.1"
	body.Data.Type = "document_status_change"
	body.Data.ID = e.ID
	attributes := &body.Data.Attributes
	attributes.DocumentID = e.DocumentID
	attributes.Status = e.Status
	if e.PreviousStatus != "" {
		attributes.PreviousStatus = &e.PreviousStatus
	}
	if e.Sequence != "" {
		attributes.Sequence = &e.Sequence
	}
	attributes.OccurredAt = e.OccurredAt
	body.Data.Relationships.Document.Data = identifier{"document", e.DocumentID}
	if e.Related != "" {
		body.Data.Relationships.Document.Links = &links1{Related: e.Related}
	}
	body.Data.Relationships.WebhookConfig.Data = identifier{"webhook_config", configID}
	if e.Test {
		body.Meta = &meta1{Test: true}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return nil, fmt.Errorf("rendering event %s: %w", e.ID, err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
