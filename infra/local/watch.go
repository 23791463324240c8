package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/webhook"
)

// This file tells the journal what happens, and the page what else there is to show.

const (
	watchedRecords = 100 // read from the stream at once
	watchPause     = 50 * time.Millisecond
	expireInterval = 10 * time.Second // AWS takes up to days
)

// makeJournal makes the journal; the queues tell it what happens from their first message on.
func (s *stack) makeJournal() error {
	options := journal.Options{Fetch: s.fetchDelivery}
	for _, name := range s.deadLetterQueues() {
		options.DeadLetterQueues = append(options.DeadLetterQueues, template.QueueARN(name))
	}
	s.journal = journal.New(options)
	return nil
}

// deadLetterQueues are the names of the queues that take the dead letters of others.
func (s *stack) deadLetterQueues() []string {
	var names []string
	for _, q := range s.declared.Queues {
		if q.DeadLetterQueue != "" {
			names = append(names, q.DeadLetterQueue)
		}
	}
	return names
}

// watchDocuments tells the journal of every change of a document until ctx ends. When more changes
// than it can show, it goes on with the latest.
func (s *stack) watchDocuments(ctx context.Context, stream *dynamodb.Stream) {
	after := ""
	pause := time.NewTicker(watchPause)
	defer pause.Stop()
	for {
		records, err := stream.Read(ctx, after, watchedRecords)
		if err != nil {
			return // ctx has ended: the stream gives no other reason to a reader of its own positions
		}
		for _, record := range records {
			if change, ok := documentChange(record); ok {
				s.journal.Changed(change)
			}
		}
		after = records[len(records)-1].SequenceNumber()
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		if skipped, latest := stream.Skip(after, watchedRecords); skipped > 0 {
			s.journal.PassOver(skipped)
			after = latest
		}
	}
}

// documentChange reads a record of the stream of documents; ok is false if the status has not changed.
func documentChange(record *dynamodb.Record) (change journal.Change, ok bool) {
	type image map[string]struct{ S string }
	var r struct {
		DynamoDB struct{ NewImage, OldImage image } `json:"dynamodb"`
	}
	raw, err := json.Marshal(record)
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return journal.Change{}, false // what the document system writes there is its own affair
	}
	document, before := r.DynamoDB.NewImage, r.DynamoDB.OldImage
	change = journal.Change{
		// The stream tells its time to the second.
		EventID:        webhook.NewEventID(record.Created().Truncate(time.Second), record.EventID()),
		OrganizationID: document["organization_id"].S,
		DocumentID:     document["id"].S,
		Status:         document["status"].S,
		PreviousStatus: before["status"].S,
		At:             record.Created(),
	}
	return change, change.Status != "" && change.Status != change.PreviousStatus
}

// fetchDelivery asks the API for a delivery, as its organization.
func (s *stack) fetchDelivery(ctx context.Context, organizationID, deliveryID string) (*journal.Details, error) {
	var got struct {
		Data struct {
			Attributes struct {
				Status        string            `json:"status"`
				Trigger       string            `json:"trigger"`
				NextAttemptAt webhook.Time      `json:"next_attempt_at"`
				Attempts      []journal.Attempt `json:"attempts"`
			} `json:"attributes"`
		} `json:"data"`
	}
	err := s.call(ctx, organizationID, http.MethodGet, "/v1/webhooks/deliveries/"+deliveryID, nil, http.StatusOK, &got)
	if refused := (*apiError)(nil); errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return (*journal.Details)(&got.Data.Attributes), nil
}

// expire deletes what has lived its time, now and then, until ctx ends.
func (s *stack) expire(ctx context.Context) {
	ticker := time.NewTicker(expireInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.database.Expire(now)
		}
	}
}

// pageStatus is what the page shows beside the flows.
type pageStatus struct {
	Started       time.Time        `json:"started"` // tells one run from the next
	API           string           `json:"api"`
	Endpoint      string           `json:"endpoint"`
	TimeScale     float64          `json:"time_scale"`
	Organizations []string         `json:"organizations"`
	Statuses      []webhook.Status `json:"statuses"`
	Demo          *demoStatus      `json:"endpoint_demo"` // null without the demo
	Queues        []queueStatus    `json:"queues"`
	Functions     []functionStatus `json:"functions"`
	Denied        []string         `json:"denied"`
	PassedOver    int              `json:"passed_over"`
}

type demoStatus struct {
	URL       string    `json:"url"`
	Behaviour behaviour `json:"behaviour"`
}

type queueStatus struct {
	Name       string `json:"name"`
	DeadLetter bool   `json:"dead_letter"`
	depth
}

type functionStatus struct {
	Name      string `json:"name"`
	Processes int    `json:"processes"`
	Busy      int    `json:"busy"`
}

func (s *stack) pageStatus(ctx context.Context) (any, error) {
	depths, err := s.queueDepths(ctx)
	if err != nil {
		return nil, err
	}
	status := pageStatus{
		Started: s.started, API: s.apiURL(), Endpoint: s.endpoint(), TimeScale: s.settings.timeScale,
		Organizations: s.organizationIDs(), Statuses: webhook.Statuses(), Denied: []string{}, PassedOver: s.journal.PassedOver(),
	}
	if endpoint := s.receiver.Load(); endpoint != nil {
		status.Demo = &demoStatus{endpoint.url, endpoint.behaviour()}
	}
	dead := s.deadLetterQueues()
	for _, q := range s.declared.Queues {
		status.Queues = append(status.Queues, queueStatus{q.Name, slices.Contains(dead, q.Name), depths[q.Name]})
	}
	functions := map[string]*functionStatus{}
	for _, f := range s.declared.Functions {
		status.Functions = append(status.Functions, functionStatus{Name: f.Name})
	}
	for i := range status.Functions {
		functions[status.Functions[i].Name] = &status.Functions[i]
	}
	for _, instance := range s.functions.Instances() {
		f := functions[instance.Function]
		f.Processes++
		if instance.Busy {
			f.Busy++
		}
	}
	for _, d := range s.policies.Denied() {
		status.Denied = append(status.Denied, fmt.Sprintf("%s %s on %s", d.Function, d.Action, d.Resource))
	}
	return status, nil
}

// organizationIDs are the organizations with an API key, each once.
func (s *stack) organizationIDs() []string {
	var ids []string
	for _, o := range s.settings.organizations {
		if !slices.Contains(ids, o.id) {
			ids = append(ids, o.id)
		}
	}
	return ids
}
