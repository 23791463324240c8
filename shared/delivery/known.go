package delivery

import (
	"cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

// known is what is known of a delivery, kept up to date through its messages of one batch.
type known struct {
	Loaded
	unlogged bool // something has happened that is not in the log
}

// round returns the round that the message belongs to: the one that a put-back carries, else its
// own. A put-back that reached the dead-letter queue and was redriven from there still carries the
// round that is over, although redriving starts a new one. It is told by its id, which redriving makes
// new: it is not the message that ended the round.
//
// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
func (k *known) round(j *job) string {
	carried := cmp.Or(j.message.Round, j.MessageID)
	if k.Delivery == nil || carried == j.MessageID {
		return carried
	}
	if k.Delivery.Round == j.MessageID || k.Delivery.Round == carried && k.Delivery.RoundOver() && k.Delivery.RoundOverBy != j.MessageID {
		return j.MessageID
	}
	return carried
}

// obsolete reports whether a request at or after the message's has succeeded.
func (k *known) obsolete(j *job) bool {
	return k.Delivery != nil && !k.Delivery.DoneFor.IsZero() && !k.Delivery.DoneFor.Before(j.message.RequestedAt.Time)
}

// over reports whether the message's round has failed for good.
func (k *known) over(j *job) bool {
	return k.Delivery != nil && k.Delivery.Round == j.round && (k.Delivery.RoundOver() || k.Delivery.RoundAttempts >= webhook.MaxAttempts)
}

// nextAttempt returns the number of the message's attempt in its round. The log counts one round, the last.
// If that is another message's, the receives tell: each before this one was for an attempt.
func (k *known) nextAttempt(j *job) int {
	switch {
	case k.Delivery == nil:
		return 1
	case k.Delivery.Round == j.round:
		return k.Delivery.RoundAttempts + 1
	}
	return min(max(j.receives, 1), webhook.MaxAttempts)
}
