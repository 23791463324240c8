package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
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
	batch         = 25  // deliveries that are written together
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
			OrganizationID: organizationID, ID: configID(n), URL: fmt.Sprintf("https://hooks.customer-%d.example.com/docuhook/v1/events", n),
			Description: "Document pipeline, production", SubscribedStatuses: []webhook.Status{webhook.Processed, webhook.Failed},
			Active: n%10 != 9, SecretPrefix: "whsec_AbCdEf", Sealed: "k1." + sealed(), Version: 1, CreatedAt: at, UpdatedAt: at,
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

// entry returns delivery number n. Deliveries are numbered event by event, and events so that the
// first tenth of them is spread over the whole time, as all of them are.
func entry(n, total int) delivery.Entry {
	e := n / perEvent
	events := total / perEvent
	const scatter = 7919 // a prime: multiplying by it permutes the numbers below events
	position := e * scatter % events
	at := now().Add(-span + span/time.Duration(events)*time.Duration(position)).Truncate(time.Second)
	document := fmt.Sprintf("doc_%08d", e%2000)
	if e%10 == 3 {
		document = hot
	}
	config := e%(mergedConfigs/perEvent)*perEvent + n%perEvent
	result := delivery.Entry{
		Message: webhook.Message{
			OrganizationID: busy, ConfigID: configID(config),
			Event: webhook.Event{
				Version: webhook.RenderVersion, ID: webhook.NewEventID(at, fmt.Sprint("event ", e)), DocumentID: document,
				Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: webhook.At(at),
			},
			RequestedAt: webhook.At(at), Trigger: webhook.StatusChange,
		},
		Round: fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n), At: webhook.At(at.Add(1500 * time.Millisecond)),
		Status: webhook.Delivered,
		Attempt: &webhook.Attempt{
			Number: 1, Round: fmt.Sprintf("%08x", n), StartedAt: webhook.At(at.Add(time.Second)), Duration: 187 * time.Millisecond, ResponseStatus: 204,
		},
	}
	// Of a hundred deliveries one is canceled, one will be tried again and three have failed.
	switch share(n) {
	case 0:
		result.Status, result.Attempt = webhook.Canceled, nil
	case 1:
		fail(&result, 503, "the endpoint answered 503")
		result.Status, result.NextAttemptAt = webhook.Retrying, webhook.At(now().Add(10*time.Minute))
	case 2, 3, 4:
		fail(&result, 500, "the endpoint answered 500")
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

func fail(e *delivery.Entry, status int, text string) {
	e.Attempt.ResponseStatus, e.Attempt.ErrorCode, e.Attempt.Error = status, endpoint.CodeHTTPStatus, text
	e.Attempt.ResponseSnippet = `{"error":"internal server error","request_id":"0197a1de-0000-7000-8000-000000000000"}`
}

// written is what it took to write deliveries that succeeded at the first attempt.
type written struct {
	deliveries int
	units      float64
}

// record writes the deliveries from number from to number to, of total in the end, as the deliver
// function does.
func record(ctx context.Context, deliveries *dynamo.Deliveries, from, to, total int) (written, error) {
	var sum written
	var problem error
	var mu sync.Mutex
	var wait sync.WaitGroup
	free := make(chan struct{}, writers)
	for first := from; first < to && ctx.Err() == nil; first += batch {
		free <- struct{}{}
		wait.Go(func() {
			part, err := recordBatch(ctx, deliveries, first, min(first+batch, to), total)
			mu.Lock()
			sum.deliveries += part.deliveries
			sum.units += part.units
			problem = cmp.Or(problem, err)
			mu.Unlock()
			<-free
		})
	}
	wait.Wait()
	return sum, cmp.Or(problem, ctx.Err())
}

func recordBatch(ctx context.Context, deliveries *dynamo.Deliveries, from, to, total int) (written, error) {
	var delivered, others []delivery.Entry
	for n := from; n < to; n++ {
		if e := entry(n, total); e.Status == webhook.Delivered {
			delivered = append(delivered, e)
		} else {
			others = append(others, e)
		}
	}
	counted, used := metered(ctx)
	errs := append(deliveries.Record(counted, delivered), deliveries.Record(ctx, others)...)
	_, units := used.total()
	return written{len(delivered), units}, errors.Join(errs...)
}
