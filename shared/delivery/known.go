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

// nextAttempt returns the number of the message's attempt in its round, of which the last attempt need
// not be: several messages of a delivery may be retried at the same time. What ended such a round is not
// known any more, so a message that is still there begins again.
func (k *known) nextAttempt(j *job) int {
	if k.Delivery == nil {
		return 1
	}
	if k.Delivery.Round == j.round {
		return k.Delivery.RoundAttempts + 1
	}
	last := 0
	for _, a := range k.Delivery.Attempts {
		if a.Round == short(j.round) {
			last = a.Number
		}
	}
	return last%webhook.MaxAttempts + 1
}

// short returns as much of a round's name as attempts are listed with.
func short(round string) string { return round[:min(len(round), 8)] }
