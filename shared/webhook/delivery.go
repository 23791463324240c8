package webhook

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"
)

// MaxAttempts is the number of attempts in one round. Each has a message of its own, so it has nothing to do
// with the queues' maxReceiveCount, which happens to be the same.
const MaxAttempts = 5

// MaxLoggedAttempts is how many attempts a delivery remembers, the last ones.
const MaxLoggedAttempts = 20

// Retention is for how long deliveries and events are kept after their last write, and deleted configs after
// their end.
const Retention = 90 * 24 * time.Hour

// OverdueAfter is how long after it was due an attempt that has not been made is overdue, and how long after
// an event a delivery without an item is missing: its message died before its first attempt.
const OverdueAfter = time.Hour

// DeliveryStatus says how far the last round of a delivery has come.
type DeliveryStatus string

// The statuses of a delivery.
const (
	Delivered      DeliveryStatus = "delivered" // the endpoint has answered 2xx
	Retrying       DeliveryStatus = "retrying"  // an attempt has failed and another will follow
	DeliveryFailed DeliveryStatus = "failed"    // no further attempt unless it is resent or redriven
	Canceled       DeliveryStatus = "canceled"  // the config was deleted or inactive
)

// DeliveryStatuses returns all of them.
func DeliveryStatuses() []DeliveryStatus {
	return []DeliveryStatus{Delivered, Retrying, DeliveryFailed, Canceled}
}

// Trigger says what caused a delivery's last round.
type Trigger string

// The triggers.
const (
	StatusChange Trigger = "status_change"
	Resend       Trigger = "resend"
	Test         Trigger = "test"
)

// Delivery is one event on its way to one config, as the log has it from its first attempt on.
type Delivery struct {
	OrganizationID string
	ConfigID       string
	Event          Event
	Status         DeliveryStatus
	Trigger        Trigger
	Attempts       []Attempt // the last MaxLoggedAttempts, of whatever round

	RequestedAt Time   // of the last round
	Round       string // its name
	Attempt     int    // the number of its last attempt, 0 if it was canceled before the first
	EndedAt     Time   // when it was over, zero while it is live
	EndedBy     string // the message whose fifth failure ended it, "" if it ended otherwise
	DoneFor     Time   // the latest RequestedAt of all messages that succeeded

	NextAttemptAt Time // when the next attempt is due, zero unless Waiting
	WakeAt        Time // when the sweep looks after it, zero unless Waiting

	DeliveredAt Time // first success
	FailedAt    Time // last final failure
	ExpiresAt   Time

	Revision int // how often its outcomes have been written
}

// Attempt is one POST and what came of it.
type Attempt struct {
	Number          int    // 1 to MaxAttempts, within the round
	MessageID       string // the message that stood for it
	StartedAt       Time   // Precise: it tells attempts of one message apart that processes make at the same time
	Duration        time.Duration
	ResponseStatus  int    // 0 if there was no answer
	ErrorCode       string // "" on success; see package endpoint, and CodeUnknown and CodeCredentials
	Error           string // for people
	ResponseSnippet string // the beginning of an answer that was not 2xx
}

// Error codes of attempts that are not the endpoint's.
const (
	CodeUnknown     = "unknown"     // the attempt began and nobody has heard of its end
	CodeCredentials = "credentials" // the config's credentials could not be opened, so nothing was sent
)

// Over reports whether the last round makes no further attempt.
func (d *Delivery) Over() bool { return !d.EndedAt.IsZero() }

// Waiting reports whether the live round has another attempt to make.
func (d *Delivery) Waiting() bool { return !d.WakeAt.IsZero() }

// Overdue reports whether an attempt that d waits for should have been made long ago.
func (d *Delivery) Overdue(now time.Time) bool {
	return d.Waiting() && now.Sub(d.NextAttemptAt.Time) > OverdueAfter
}

// ID returns the public id of d.
func (d *Delivery) ID() string {
	id, _ := DeliveryID(d.ConfigID, d.Event.ID)
	return id
}

// Key returns the key of d.
func (d *Delivery) Key() Key {
	return Key{OrganizationID: d.OrganizationID, ConfigID: d.ConfigID, EventID: d.Event.ID}
}

// CreatedAt returns the time of d's event.
func (d *Delivery) CreatedAt() Time {
	t, _ := EventTime(d.Event.ID)
	return At(t)
}

// Expired reports whether d should no longer be shown. DynamoDB deletes such items within days.
func (d *Delivery) Expired(now time.Time) bool {
	return !d.ExpiresAt.IsZero() && now.After(d.ExpiresAt.Time)
}

const deliveryPrefix = "dlv_"

// ErrDeliveryID is returned for a string that is not the id of a delivery.
var ErrDeliveryID = errors.New("not a delivery id")

// DeliveryID returns the public id of the delivery of an event to a config.
func DeliveryID(configID, eventID string) (string, error) {
	config, err := uuid.Parse(configID)
	if err != nil || !ValidConfigID(configID) {
		return "", ErrDeliveryID
	}
	event, err := parseEventID(eventID)
	if err != nil {
		return "", ErrDeliveryID
	}
	return deliveryPrefix + base64.RawURLEncoding.EncodeToString(append(config[:], event[:]...)), nil
}

// ParseDeliveryID is the inverse of DeliveryID. It accepts nothing that DeliveryID does not return.
func ParseDeliveryID(id string) (configID, eventID string, err error) {
	encoded, ok := strings.CutPrefix(id, deliveryPrefix)
	if !ok {
		return "", "", ErrDeliveryID
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != len(uuid.UUID{})+len(ulid.ULID{}) {
		return "", "", ErrDeliveryID
	}
	configID = uuid.UUID(raw[:16]).String()
	eventID = eventPrefix + ulid.ULID(raw[16:]).String()
	if again, err := DeliveryID(configID, eventID); err != nil || again != id {
		return "", "", ErrDeliveryID // RawURLEncoding also skips line breaks
	}
	return configID, eventID, nil
}
