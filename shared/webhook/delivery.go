package webhook

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"
)

// MaxAttempts is the number of attempts in one round. The queue's maxReceiveCount is the same.
const MaxAttempts = 5

// MaxLoggedAttempts is how many attempts a delivery remembers, the last ones.
const MaxLoggedAttempts = 20

// Retention is for how long deliveries and deleted configs are kept.
const Retention = 90 * 24 * time.Hour

// overdueAfter is how long after its due time a retry that has not happened is given up. A
// backlog can make retries late; a message that crashed its last receive never comes back.
const overdueAfter = time.Hour

// DeliveryStatus says how far a delivery has come.
type DeliveryStatus string

// The statuses of a delivery.
const (
	Delivered      DeliveryStatus = "delivered" // the endpoint has answered 2xx at least once
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

// Delivery is one event on its way to one config.
type Delivery struct {
	OrganizationID string
	ConfigID       string
	Event          Event
	Status         DeliveryStatus
	Trigger        Trigger
	Attempts       []Attempt // the last MaxLoggedAttempts

	Round         string // the round of the last attempt
	RoundAttempts int    // attempts in that round
	RoundOverBy   string // the message that failed for good and so ended that round, "" while it goes on
	RequestedAt   Time   // of the last message
	DoneFor       Time   // the latest RequestedAt of all messages that succeeded

	DeliveredAt   Time // first success
	FailedAt      Time // last final failure
	NextAttemptAt Time
	ExpiresAt     Time

	Revision int // how often it has been written
}

// Attempt is one POST and what came of it.
type Attempt struct {
	Number          int    // 1 to MaxAttempts, within the round
	Round           string // the beginning of its round's name, which tells it from others of one delivery
	StartedAt       Time
	Duration        time.Duration
	ResponseStatus  int    // 0 if there was no answer
	ErrorCode       string // "" on success; see package delivery
	Error           string // for people
	ResponseSnippet string // the beginning of an answer that was not 2xx
}

// RoundOver reports whether the round of the last attempt has failed for good.
func (d *Delivery) RoundOver() bool { return d.RoundOverBy != "" }

// ID returns the public id of d.
func (d *Delivery) ID() string {
	id, _ := DeliveryID(d.ConfigID, d.Event.ID)
	return id
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

// StatusAt returns the status to show at now: a retry that is long overdue will never happen,
// because its message was lost in a crash on its last receive.
func (d *Delivery) StatusAt(now time.Time) DeliveryStatus {
	if d.Status == Retrying && now.After(d.NextAttemptAt.Add(overdueAfter)) {
		return DeliveryFailed
	}
	return d.Status
}

// FailedAsOf returns the time of the last final failure to show at now: a retry that will never
// happen failed when it was due.
func (d *Delivery) FailedAsOf(now time.Time) Time {
	if d.Status == Retrying && d.StatusAt(now) == DeliveryFailed {
		return d.NextAttemptAt
	}
	return d.FailedAt
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
