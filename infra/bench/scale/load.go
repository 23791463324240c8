package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	many = "org_many_configs"    // has configs and no deliveries
	busy = "org_many_deliveries" // has deliveries to mergedConfigs configs

	mergedConfigs = 100 // of busy: the default limit
	perEvent      = 10  // configs that an event goes to
	writers       = 8   // loads that run at once
	batch         = 100 // deliveries that are written together, of whole events
)

// now is the time of the calls. Events happened in the 20 days before.
func now() time.Time { return time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC) }

const span = 20 * 24 * time.Hour

// configID returns the id of config number n. It sorts by n.
func configID(n int) string { return fmt.Sprintf("0197a1de-%04x-7000-8000-%012x", n>>16, n) }

// createConfigs creates the configs from number from to number to of an organization; every tenth is inactive.
func createConfigs(ctx context.Context, configs *dynamo.Configs, organizationID string, from, to int) error {
	for n := from; n < to; n++ {
		at := webhook.At(now().Add(-span))
		c := &webhook.Config{
			OrganizationID:     organizationID,
			ID:                 configID(n),
			URL:                fmt.Sprintf("https://hooks.customer-%d.example.com/docuhook/v1/events", n),
			Description:        "Document pipeline, production",
			SubscribedStatuses: []webhook.Status{webhook.Processed, webhook.Failed},
			Active:             n%10 != 9,
			SecretPrefix:       "whsec_AbCdEf",
			Sealed:             "k1." + sealed(),
			FastUntil:          webhook.At(now().Add(30 * 24 * time.Hour)),
			Version:            1,
			CreatedAt:          at,
			UpdatedAt:          at,
		}
		if err := configs.Create(ctx, c, 1_000_000); err != nil {
			return err
		}
	}
	return nil
}

// sealed is as long as the sealed credentials of a config.
func sealed() string { return fmt.Sprintf("%0206d", 0) }

// hot is a document with a tenth of all events.
const hot = "doc_hot"

// newEvent returns event number e of so many. Events are numbered so that the first tenth of them is spread over the
// whole time, as all of them are.
func newEvent(e, events int) webhook.Event {
	const scatter = 7919 // a prime: multiplying by it permutes the numbers below events
	position := e * scatter % events
	at := now().Add(-span + span/time.Duration(events)*time.Duration(position)).Truncate(time.Second)
	document := fmt.Sprintf("doc_%08d", e%2000)
	if e%10 == 3 {
		document = hot
	}
	return webhook.Event{
		Version:        webhook.RenderVersion,
		ID:             webhook.NewEventID(at, fmt.Sprint("event ", e)),
		DocumentID:     document,
		Status:         eventStatus(e),
		PreviousStatus: webhook.Processing,
		Sequence:       fmt.Sprintf("%040d", position),
		OccurredAt:     webhook.At(at),
	}
}

// eventStatus makes one event of a hundred, also of the busy document's, a failed document.
func eventStatus(e int) webhook.Status {
	if e/10%100 == 7 {
		return webhook.Failed
	}
	return webhook.Processed
}

// newRecord returns the record of event number e of so many, which goes to perEvent configs.
func newRecord(e, events int) webhook.EventRecord {
	event := newEvent(e, events)
	r := webhook.EventRecord{OrganizationID: busy, Event: event, ExpiresAt: webhook.At(event.OccurredAt.Add(webhook.Retention))}
	for i := range perEvent {
		r.ConfigIDs = append(r.ConfigIDs, configOf(e, i))
	}
	return r
}

// configOf returns the id of config number i of those that event number e goes to.
func configOf(e, i int) string {
	return configID(e%(mergedConfigs/perEvent)*perEvent + i)
}

// newOutcome returns the first outcome of delivery number n of so many. Deliveries are numbered event by event.
func newOutcome(n, total int) webhook.Outcome {
	event := newEvent(n/perEvent, total/perEvent)
	at := event.OccurredAt
	result := webhook.Outcome{
		Message:   webhook.NewFirst(busy, configOf(n/perEvent, n%perEvent), event, at, at.Time),
		MessageID: fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n),
		Status:    webhook.Delivered,
		At:        webhook.At(at.Add(1500 * time.Millisecond)),
	}
	result.Tried = &webhook.Attempt{
		Number:         1,
		MessageID:      result.MessageID,
		StartedAt:      webhook.At(at.Add(time.Second)),
		Duration:       187 * time.Millisecond,
		ResponseStatus: 204,
	}
	// Of a hundred deliveries one is canceled, one will be tried again and three have failed.
	switch share(n) {
	case 0:
		result.Status, result.Tried = webhook.Canceled, nil
	case 1:
		fail(result.Tried, 503)
		result.Status, result.NextAttemptAt = webhook.Retrying, webhook.At(now().Add(10*time.Minute))
	case 2, 3, 4:
		fail(result.Tried, 500)
		result.Status = webhook.DeliveryFailed
	}
	return result
}

// share returns a number below 100 that has nothing to do with how n's delivery is numbered.
func share(n int) uint32 {
	hash := fnv.New32a()
	fmt.Fprint(hash, n)
	return hash.Sum32() % 100
}

// snippet is the beginning of the answer of an endpoint that fails.
const snippet = `{"error":"internal server error","request_id":"0197a1de-0000-7000-8000-000000000000"}`

func fail(a *webhook.Attempt, status int) {
	a.ResponseStatus, a.ErrorCode, a.ResponseSnippet = status, endpoint.CodeHTTPStatus, snippet
	a.Error = fmt.Sprintf("the endpoint answered %d", status)
}

// record writes the deliveries from number from to number to, of total in the end, and their events.
func record(ctx context.Context, deliveries *dynamo.Deliveries, events *dynamo.Events, from, to, total int) error {
	var problem error
	var mu sync.Mutex
	var wait sync.WaitGroup
	free := make(chan struct{}, writers)
	for first := from; first < to && ctx.Err() == nil; first += batch {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			err := recordBatch(ctx, deliveries, events, first, min(first+batch, to), total)
			mu.Lock()
			defer mu.Unlock()
			problem = cmp.Or(problem, err)
		})
	}
	wait.Wait()
	return cmp.Or(problem, ctx.Err())
}

func recordBatch(ctx context.Context, deliveries *dynamo.Deliveries, events *dynamo.Events, from, to, total int) error {
	var outcomes []webhook.Outcome
	var records []webhook.EventRecord
	for n := from; n < to; n++ {
		outcomes = append(outcomes, newOutcome(n, total))
		if n%perEvent == 0 {
			records = append(records, newRecord(n/perEvent, total/perEvent))
		}
	}
	errs := events.Add(ctx, records)
	for _, recorded := range deliveries.Record(ctx, outcomes) {
		errs = append(errs, recorded.Err)
	}
	return errors.Join(errs...)
}
