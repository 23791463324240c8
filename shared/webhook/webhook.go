// Package webhook holds the nouns of the system and the rules of the log, free of AWS and of clocks.
//
// The words, as all of the code uses them:
//
//	config      where an organization wants its webhooks: URL, statuses, sealed credentials
//	event       one change of a document's status, recorded whether or not anybody wants it
//	delivery    one event for one config; it is known by the two and needs no id of its own
//	attempt     one POST to the config's endpoint, and what came of it
//	round       up to five attempts at a delivery; a resend or a redrive begins another one
//	over        a round that makes no further attempt: it succeeded, failed for good or was canceled
//	waiting     a delivery whose live round has another attempt to make; the log is the waiting list
//	message     what travels through a queue: it stands for one attempt of one round of one delivery
//	obsolete    a message whose request, or a later one, has succeeded already
//	superseded  a message whose round is not the last one of its delivery any more
//	log         what became of each delivery, from its first attempt on: the items of DeliveriesTable
//	lane        one of the two queues: for endpoints that have lately answered quickly, and for everything else
//	redriven    a message that SQS moved to the dead-letter queue and that was moved back from there
//
// A message holds no URL and no credentials, so that the config that counts is the one at the moment
// of the attempt. What a message did to a delivery is an Outcome, and Delivery.After is the only place
// that decides what the log says afterwards.
package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is the status of a document.
type Status string

// The statuses of a document, in the order it goes through them.
const (
	Pending    Status = "pending"
	Submitted  Status = "submitted"
	Processing Status = "processing"
	Processed  Status = "processed"
	Failed     Status = "failed"
)

// Statuses returns all statuses in their order.
func Statuses() []Status {
	return []Status{Pending, Submitted, Processing, Processed, Failed}
}

// Known reports whether s is one of Statuses.
func (s Status) Known() bool { return slices.Contains(Statuses(), s) }

// TimeLayout is how times are written everywhere: RFC 3339, UTC, milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Time is a moment as JSON and the tables hold it, in TimeLayout. The zero Time is null in JSON.
type Time struct{ time.Time }

// At returns t, in UTC and cut to milliseconds.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// Precise is At, but cut to microseconds, which only the tables keep.
func Precise(t time.Time) Time { return Time{t.UTC().Truncate(time.Microsecond)} }

// ParseTime reads any RFC 3339 time that can be written in TimeLayout: one whose year in UTC has four
// digits, and that is not the zero Time.
func ParseTime(s string) (Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	// Package time also takes 1:00:00, a comma before the fraction and the zones +24:00 and +01:60.
	lenient := err == nil && (s[len("2006-01-02T15")] != ':' || strings.Contains(s, ",") ||
		!strings.HasSuffix(s, "Z") && (s[len(s)-len("00:00"):] >= "24" || s[len(s)-len("00"):] >= "60"))
	if err != nil || lenient {
		return Time{}, fmt.Errorf("%.40q is not an RFC 3339 time", s)
	}
	at := At(t)
	if year := at.Year(); at.IsZero() || year < 0 || year > 9999 {
		return Time{}, fmt.Errorf("%.40q is out of range", s)
	}
	return at, nil
}

// String returns t in TimeLayout, "" for the zero Time.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(TimeLayout)
}

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	text := append(make([]byte, 0, len(TimeLayout)+2), '"')
	return append(t.UTC().AppendFormat(text, TimeLayout), '"'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(data []byte) error {
	var text string
	if last := len(data) - 1; last > 0 && data[0] == '"' && !bytes.Contains(data, []byte{'\\'}) {
		text = string(data[1:last])
	} else if err := json.Unmarshal(data, &text); err != nil {
		return err
	} else if text == "" {
		*t = Time{} // null
		return nil
	}
	parsed, err := ParseTime(text)
	*t = parsed
	return err
}

// Errors of the stores of configs and deliveries.
var (
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("changed by somebody else meanwhile")
	ErrLimit    = errors.New("limit of configs reached")
)
