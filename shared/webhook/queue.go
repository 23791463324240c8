package webhook

import (
	"errors"
	"time"
)

// ErrUnsendable is returned for a message that no queue will ever accept, however often it is sent.
var ErrUnsendable = errors.New("not acceptable to the queue")

// Visibility is when a received message may be received again.
type Visibility struct {
	MessageID     string
	ReceiptHandle string
	Due           time.Time
}

// HeldRecord is a record of the stream of documents that waits in a queue, held up by its organization alone.
type HeldRecord struct {
	OrganizationID string
	Body           string // the record as JSON, as Lambda hands it over; MaxHeldRecord bytes at most
}

// MaxHeldRecord is the limit of the body of a HeldRecord, in bytes: ten of them fit into one call to SQS, however
// old its limit.
const MaxHeldRecord = 24 << 10
