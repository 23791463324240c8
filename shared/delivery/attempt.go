package delivery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	// copyDelay is how long the copy of a message rests whose configs or credentials could not be read.
	copyDelay = webhook.MaxDelay
	// copiedFor is how long after its NotBefore a first attempt is still copied: longer than an outage, and
	// shorter than the queues keep messages.
	copiedFor = 4 * 24 * time.Hour
)

// restAfterReceive is how long a message rests whose configs or credentials could not be read, by its receives.
var restAfterReceive = []time.Duration{1: 30 * time.Second, 2: 2 * time.Minute}

// process takes one message to its end in this batch and brings p up to date.
func (b *batch) process(ctx context.Context, m *received, p *parcel) fate {
	if p.unlogged {
		// The log lacks what an earlier message of this delivery did, so it cannot tell whether this one counts.
		return kept
	}
	if !p.readable {
		return b.unsendable(ctx, m, "configs not readable")
	}
	verdict := m.judge(p.Config, p.Delivery, b.Now())
	if verdict != attempt {
		b.Log.DebugContext(ctx, "no attempt", "delivery_id", m.DeliveryID(), "message_id", m.id, "verdict", verdict.String())
	}
	switch verdict {
	case obsolete, superseded, made:
		b.Metrics.Add(metricObsolete, 1)
		return fate{}
	case ended:
		return keptUntil(b.Now())
	case canceled:
		return b.cancel(ctx, m, p)
	case early:
		now := b.Now()
		return keptUntil(now.Add(min(m.NotBefore.Sub(now), webhook.MaxDelay)))
	case slow:
		return b.handOver(ctx, m)
	}
	return b.attempt(ctx, m, p)
}

// attempt makes the attempt that a message stands for.
func (b *batch) attempt(ctx context.Context, m *received, p *parcel) fate {
	credentials := b.open(ctx, p.Config)
	switch {
	case b.starting.Err() != nil:
		// Opening the credentials took the time that an attempt needs. The message comes back at once, and the
		// batch that receives it has its whole time before it.
		return keptUntil(b.Now())
	case credentials.unreadable():
		return b.unsendable(ctx, m, credentials.err.Error())
	}
	if m.receives > 1 || m.Again {
		recorded := b.start(ctx, m, p)
		conflict := errors.Is(recorded.Err, webhook.ErrConflict)
		if recorded.Err != nil && !conflict {
			return b.unsendable(ctx, m, recorded.Err.Error())
		}
		if p.Delivery = recorded.Delivery; conflict {
			return b.process(ctx, m, p) // whoever wrote it has made progress, so this ends
		}
	}
	startedAt := b.Now()
	result := b.post(ctx, m, p, credentials)
	gone := result.Gone() && b.deactivate(ctx, p.Config, webhook.EndpointGone)
	o := b.outcome(m, result, startedAt)
	o.Known = p.Delivery
	if gone {
		o.Status, o.DeadLetter, o.NextAttemptAt = webhook.DeliveryFailed, false, webhook.Time{}
	}
	b.note(ctx, m, o, result)
	return b.finish(ctx, m, p, o, result)
}

// start logs that an attempt starts, as the failure that it would be: an earlier receive of the message, or
// another one, may have made the POST and died before the log.
func (b *batch) start(ctx context.Context, m *received, p *parcel) webhook.Recorded {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	o := b.outcome(m, endpoint.Result{Code: webhook.CodeUnknown, Error: "the attempt began and its end is not known"}, b.Now())
	o.Known = p.Delivery
	return b.Store.Start(ctx, o)
}

// post makes the POST, unless there are no credentials to sign it with.
func (b *batch) post(ctx context.Context, m *received, p *parcel, c opened) endpoint.Result {
	if c.err != nil {
		return endpoint.Result{Code: webhook.CodeCredentials, Error: "the credentials of the config cannot be opened; rotate its secret"}
	}
	event := &m.Event
	if p.Delivery != nil {
		event = &p.Delivery.Event // what was sent first, whatever another message for it says
	}
	body, _ := event.Render(m.ConfigID) // errors for an unknown version, which no message has that could be read
	return b.Poster.Post(ctx, endpoint.Request{
		URL:      p.Config.URL,
		EventID:  m.Event.ID,
		Key:      m.DeliveryID(),
		Body:     body,
		Attempt:  m.Attempt,
		Current:  c.current,
		Previous: c.previous,
	})
}

// outcome returns what a result means for the delivery.
func (b *batch) outcome(m *received, result endpoint.Result, startedAt time.Time) webhook.Outcome {
	now := b.Now()
	o := webhook.Outcome{
		Message: m.Message, MessageID: m.id, At: webhook.At(now),
		Tried: &webhook.Attempt{
			Number: m.Attempt, MessageID: m.id, StartedAt: webhook.Precise(startedAt), Duration: result.Duration,
			ResponseStatus: result.Status, ErrorCode: result.Code, Error: result.Error, ResponseSnippet: result.Snippet,
		},
	}
	switch {
	case result.Success():
		o.Status = webhook.Delivered
	case m.Attempt < webhook.MaxAttempts:
		o.Status = webhook.Retrying
		o.NextAttemptAt = webhook.At(now.Add(b.Schedule.Delay(m.Attempt, result.RetryAfter, b.Random())))
	default:
		o.Status, o.DeadLetter = webhook.DeliveryFailed, true
	}
	return o
}

// cancel ends the round of a delivery whose config no longer receives.
func (b *batch) cancel(ctx context.Context, m *received, p *parcel) fate {
	b.Log.InfoContext(ctx, "canceled", "organization_id", m.OrganizationID, "delivery_id", m.DeliveryID())
	o := webhook.Outcome{Message: m.Message, MessageID: m.id, Status: webhook.Canceled, At: webhook.At(b.Now()), Known: p.Delivery}
	return b.finish(ctx, m, p, o, endpoint.Result{})
}

// finish logs an outcome and says what becomes of its message. If it cannot be logged, the message stays in the
// queue and so do the others of its delivery, so that none of them repeats the POST in this batch.
func (b *batch) finish(ctx context.Context, m *received, p *parcel, o webhook.Outcome, result endpoint.Result) fate {
	recorded := b.recorder.record(ctx, o)
	if recorded.Err != nil {
		p.unlogged = true
		b.Metrics.Add(metricLogFailures, 1)
		b.Log.ErrorContext(ctx, "result not logged",
			"delivery_id", m.DeliveryID(), "message_id", m.id, "status", string(o.Status), "error", recorded.Err.Error())
		return kept
	}
	p.Delivery = recorded.Delivery
	if recorded.Counts && o.Status != webhook.Retrying {
		b.Metrics.AddBy("Status", string(o.Status), metricDeliveries, 1)
	}
	b.judge(ctx, p.Config, o, recorded, result)
	switch {
	case p.Delivery.CompareRound(&m.Message) == 0 && p.Delivery.EndedBy == m.id:
		return keptUntil(b.Now()) // SQS moves it to the dead-letter queue when it is received too often
	case recorded.Counts && o.Queued() && p.Delivery.Follows(&m.Message):
		b.sendNext(ctx, p.Delivery)
	}
	return fate{}
}

// sendNext sends the message of the next attempt. The sweep brings the attempt on if that does not work.
func (b *batch) sendNext(ctx context.Context, d *webhook.Delivery) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// If the log took longer than the delay, the message is late, but no other stands for its attempt: so it is made as of
	// when it is due, without Again.
	if err := b.RetryQueue.SendOnce(ctx, d.NextMessage(d.NextAttemptAt.Time), 0); err != nil {
		b.Log.WarnContext(ctx, "next attempt left to the sweep", "delivery_id", d.ID(), "error", err.Error())
	}
}

// handOver moves a message from DeliveryQueue to RetryQueue without an attempt. An earlier receive may have made
// the POST and died before the log; the message that takes its place is received for the first time, so it says so.
func (b *batch) handOver(ctx context.Context, m *received) fate {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	copied := m.Message
	copied.Again = copied.Again || m.receives > 1
	if err := b.RetryQueue.SendOnce(ctx, copied, 0); err != nil {
		b.Log.ErrorContext(ctx, "not handed over", "delivery_id", m.DeliveryID(), "message_id", m.id, "error", err.Error())
		return kept
	}
	b.Metrics.Add(metricHandedOver, 1)
	return fate{}
}

// unsendable is rule 7: the config or its credentials could not be read, so nothing was sent and no attempt is used
// up. A first attempt whose message has been received three times without being sent goes on as a copy, since only
// that message stands for it; later attempts are in the log, from where the sweep brings them again.
func (b *batch) unsendable(ctx context.Context, m *received, reason string) fate {
	b.Metrics.Add(metricPutBack, 1)
	b.Log.WarnContext(ctx, "not sent", "delivery_id", m.DeliveryID(), "message_id", m.id, "receive_count", m.receives, "reason", reason)
	if m.fast {
		return b.handOver(ctx, m)
	}
	now := b.Now()
	if m.receives < len(restAfterReceive) {
		return keptUntil(now.Add(restAfterReceive[max(m.receives, 1)]))
	}
	if m.receives > len(restAfterReceive) || m.Attempt > 1 || now.Sub(m.NotBefore.Time) > copiedFor {
		return kept
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	copied := m.Message
	copied.Again = true
	if err := b.RetryQueue.SendOnce(ctx, copied, copyDelay); err != nil {
		b.Log.ErrorContext(ctx, "not copied", "delivery_id", m.DeliveryID(), "message_id", m.id, "error", err.Error())
		return kept
	}
	return fate{}
}

// opened is the credentials of a config, or why there are none.
type opened struct {
	current  signature.Credentials
	previous *signature.Credentials // during an overlap
	err      error
}

// unreadable reports whether the keyring could not be read, which another try may mend, as opposed to
// credentials that no keyring opens.
func (o opened) unreadable() bool {
	return o.err != nil && !errors.Is(o.err, keyring.ErrSealed) && !errors.Is(o.err, keyring.ErrUnknownKey)
}

func (b *batch) open(ctx context.Context, config *webhook.Config) opened {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var o opened
	o.current, o.err = b.Credentials.Open(ctx, config.Sealed, config.OrganizationID, config.ID)
	if o.err != nil || !config.Overlapping(b.Now()) {
		return o
	}
	previous, err := b.Credentials.Open(ctx, config.PreviousSealed, config.OrganizationID, config.ID)
	o.previous, o.err = &previous, err
	return o
}

// note writes the one wide line of an attempt and its metrics.
func (b *batch) note(ctx context.Context, m *received, o webhook.Outcome, result endpoint.Result) {
	outcome, level := "success", slog.LevelDebug
	if !result.Success() {
		outcome, level = result.Code, slog.LevelInfo
	}
	b.Metrics.AddBy("Outcome", outcome, metricAttempts, 1)
	b.Metrics.Observe(metricEndpointLatency, result.Duration)
	since := max(0, o.At.Sub(m.RequestedAt.Time))
	if result.Success() && m.Trigger == webhook.StatusChange {
		b.Metrics.Observe(metricLatency, since)
	}
	if !b.Log.Enabled(ctx, level) {
		return // before what the line says is put together
	}
	text := result.Error
	if result.Code == endpoint.CodeProtocolError || result.Code == endpoint.CodeRedirect {
		text = "" // the error quotes the answer, which may hold the payload; only the delivery's log may have that
	}
	b.Log.Log(ctx, level, "attempt",
		"organization_id", m.OrganizationID, "config_id", m.ConfigID, "delivery_id", m.DeliveryID(),
		"event_id", m.Event.ID, "message_id", m.id, "trigger", string(m.Trigger), "round", m.Round,
		"attempt", m.Attempt, "receive_count", m.receives, "outcome", outcome, "delivery_status", string(o.Status),
		"response_status", result.Status, "error", text,
		"duration_ms", result.Duration.Milliseconds(), "since_request_ms", since.Milliseconds(),
		"next_attempt_at", o.NextAttemptAt.String())
}
