package webhook

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FirstRound is the name of the round that a status change begins. It is always the same, so that
// duplicates of the change, however caused, ask for the same attempt. It sorts before all others.
const FirstRound = "0"

// LaterRound returns the name of a round that begins at the time t. Names sort by t, to the millisecond; id
// tells rounds of one millisecond apart.
func LaterRound(t time.Time, id string) string {
	return fmt.Sprintf("%013d-%s", t.UnixMilli(), id)
}

// roundTime returns the time in a round's name, the beginning of all time for FirstRound.
func roundTime(name string) time.Time {
	digits, _, _ := strings.Cut(name, "-")
	millisecond, _ := strconv.ParseInt(digits, 10, 64)
	return time.UnixMilli(millisecond)
}

// compareRounds orders the rounds of one delivery: by when they were asked for, then by name.
func compareRounds(requestedA Time, nameA string, requestedB Time, nameB string) int {
	return cmp.Or(requestedA.Compare(requestedB.Time), strings.Compare(nameA, nameB))
}

// CompareRound returns how the round of m stands to the one of d: -1 for an earlier one, 0 for the same and 1
// for a later one. Any round is later than that of a delivery that is nil.
func (d *Delivery) CompareRound(m *Message) int {
	if d == nil {
		return 1
	}
	return compareRounds(m.RequestedAt, m.Round, d.RequestedAt, d.Round)
}

// Redriven returns m as the first attempt of the round that it begins after it was moved back from the
// dead-letter queue: SQS gave it a new id and noted when that was.
//
// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html
func (m Message) Redriven(messageID string, sentAt time.Time) Message {
	m.Round, m.Attempt, m.NotBefore = LaterRound(sentAt, messageID), 1, At(sentAt)
	return m
}

// NewResend returns the message that sends d again, in a round of its own that comes after all that d has had. It asks
// for what comes just after the last request and the last success of d, so that it is never taken for a duplicate of them.
// Request and round are made of d alone: until the first attempt of one resend is logged, another is the same one again,
// and the log admits one of them. So d is sent once, however often that is asked for meanwhile.
func NewResend(d *Delivery, now time.Time) Message {
	asked := *d
	if d.DoneFor.After(d.RequestedAt.Time) {
		asked.RequestedAt = d.DoneFor
	}
	asked.RequestedAt = At(asked.RequestedAt.Add(time.Millisecond))
	return again(&asked, now, "resend")
}

// NewRepeat is NewResend for a request that has not succeeded: RequestedAt stays what it was, so that the
// message is obsolete if the request succeeds meanwhile.
func NewRepeat(d *Delivery, now time.Time) Message { return again(d, now, "repeat") }

// again returns the message of a round after all that d has had. Rounds of both kinds may begin at the same millisecond,
// so id tells them apart.
func again(d *Delivery, now time.Time, id string) Message {
	begin := d.RequestedAt.Time
	if last := roundTime(d.Round); !begin.After(last) {
		begin = last.Add(time.Millisecond)
	}
	return Message{
		OrganizationID: d.OrganizationID, ConfigID: d.ConfigID, Event: d.Event, RequestedAt: d.RequestedAt, Trigger: Resend,
		Round: LaterRound(begin, id), Attempt: 1, NotBefore: At(now), Again: true,
	}
}

// NewFirst returns the message that begins the first round of the delivery of an event to a config.
func NewFirst(organizationID, configID string, event Event, requestedAt Time, now time.Time) Message {
	return Message{
		OrganizationID: organizationID, ConfigID: configID, Event: event, RequestedAt: requestedAt, Trigger: StatusChange,
		Round: FirstRound, Attempt: 1, NotBefore: At(now),
	}
}

// Follows reports whether d waits for the attempt after m's: what is logged may have gone on since m was.
func (d *Delivery) Follows(m *Message) bool {
	return d.Waiting() && d.CompareRound(m) == 0 && d.Attempt == m.Attempt
}

// NextMessage returns the message of the attempt that d waits for, sent at now. One that is late may not be
// the only one, since the attempt was to be made already. It may only be called while d is Waiting.
func (d *Delivery) NextMessage(now time.Time) Message {
	return Message{
		OrganizationID: d.OrganizationID, ConfigID: d.ConfigID, Event: d.Event, RequestedAt: d.RequestedAt, Trigger: d.Trigger,
		Round: d.Round, Attempt: d.Attempt + 1, NotBefore: d.NextAttemptAt, Again: now.After(d.NextAttemptAt.Time),
	}
}
