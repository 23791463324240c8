package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	eventsByDocument = "by_document"

	// eventChunk is how many events one query reads at most, and eventsExamined how many beyond the limit one
	// List looks at before it stops short.
	eventChunk     = 100
	eventsExamined = 300
	// addTries is how often events are written that DynamoDB refuses while it takes others, and addUpdates how
	// many of those that are there already get their configs at the same time.
	addTries   = 3
	addUpdates = 16
)

// Events is the record of events. It is safe for concurrent use.
type Events struct {
	Client *dynamodb.Client
	Table  string
}

type eventItem struct {
	OrganizationID string         `dynamodbav:"organization_id"`
	EventID        string         `dynamodbav:"event_id"`
	DocumentKey    string         `dynamodbav:"document_key"` // organization and document
	Version        int            `dynamodbav:"v"`
	Status         webhook.Status `dynamodbav:"status"`
	PreviousStatus webhook.Status `dynamodbav:"previous_status,omitempty"`
	Sequence       string         `dynamodbav:"sequence,omitempty"`
	OccurredAt     string         `dynamodbav:"occurred_at"`
	Related        string         `dynamodbav:"related,omitempty"`
	Configs        []string       `dynamodbav:"configs,stringset,omitempty"`
	ExpiresAt      int64          `dynamodbav:"expires_at"` // Unix seconds, as DynamoDB's TTL wants
}

// eventDocument returns the value of document_key.
func eventDocument(organizationID, documentID string) string {
	return organizationID + "#" + documentID
}

func fromRecord(r *webhook.EventRecord) eventItem {
	return eventItem{
		OrganizationID: r.OrganizationID,
		EventID:        r.Event.ID,
		DocumentKey:    eventDocument(r.OrganizationID, r.Event.DocumentID),
		Version:        r.Event.Version,
		Status:         r.Event.Status,
		PreviousStatus: r.Event.PreviousStatus,
		Sequence:       r.Event.Sequence,
		OccurredAt:     r.Event.OccurredAt.String(),
		Related:        r.Event.Related,
		Configs:        r.ConfigIDs,
		ExpiresAt:      r.ExpiresAt.Unix(),
	}
}

func toRecord(from item) (webhook.EventRecord, error) {
	i, err := unmarshal[eventItem](from)
	if err != nil {
		return webhook.EventRecord{}, fmt.Errorf("reading an event's item: %w", err)
	}
	slices.Sort(i.Configs) // a set has no order
	return webhook.EventRecord{
		OrganizationID: i.OrganizationID,
		Event: webhook.Event{
			Version:        i.Version,
			ID:             i.EventID,
			DocumentID:     strings.TrimPrefix(i.DocumentKey, eventDocument(i.OrganizationID, "")),
			Status:         i.Status,
			PreviousStatus: i.PreviousStatus,
			Sequence:       i.Sequence,
			OccurredAt:     reread(i.OccurredAt),
			Related:        i.Related,
		},
		ConfigIDs: i.Configs,
		ExpiresAt: webhook.At(time.Unix(i.ExpiresAt, 0)),
	}, nil
}

func eventKey(organizationID, eventID string) item {
	return item{"organization_id": str(organizationID), "event_id": str(eventID)}
}

// Add writes events. One that is there already stays as it is, and only its configs and its end are added to. It
// returns nil if all were written, else one error (or nil) for each.
func (t *Events) Add(ctx context.Context, records []webhook.EventRecord) []error {
	unique, which := mergeRecords(records)
	written := t.insert(ctx, unique)
	var wait sync.WaitGroup
	limit := make(chan struct{}, addUpdates)
	for i, r := range unique {
		if !errors.Is(written[i], errDuplicate) {
			continue
		}
		limit <- struct{}{}
		wait.Go(func() {
			defer func() { <-limit }()
			written[i] = t.addConfigs(ctx, r.OrganizationID, r.Event.ID, r.ConfigIDs, r.ExpiresAt.Time)
		})
	}
	wait.Wait()
	errs := make([]error, len(records))
	for i := range records {
		if err := written[which[i]]; err != nil {
			errs[i] = fmt.Errorf("recording event %s: %w", records[i].Event.ID, err)
		}
	}
	if errors.Join(errs...) == nil {
		return nil
	}
	return errs
}

// mergeRecords returns records with each event once, for all of its configs, and where each of them went.
func mergeRecords(records []webhook.EventRecord) (unique []webhook.EventRecord, which []int) {
	places := map[[2]string]int{}
	for _, r := range records {
		key := [2]string{r.OrganizationID, r.Event.ID}
		place, known := places[key]
		if !known {
			place = len(unique)
			places[key] = place
			first := r
			first.ConfigIDs = nil
			unique = append(unique, first)
		}
		for _, id := range r.ConfigIDs {
			if !slices.Contains(unique[place].ConfigIDs, id) {
				unique[place].ConfigIDs = append(unique[place].ConfigIDs, id)
			}
		}
		which = append(which, place)
	}
	return unique, which
}

// insert writes events that are not there yet, and again those that DynamoDB refuses while it takes others: the
// partition of one organization may be too hot. It returns nil, errDuplicate or another error for each.
func (t *Events) insert(ctx context.Context, records []webhook.EventRecord) []error {
	errs := make([]error, len(records))
	var items []item
	var of []int // the record of each item
	for i := range records {
		fields, err := attributevalue.MarshalMap(fromRecord(&records[i]))
		if errs[i] = err; err == nil {
			items, of = append(items, fields), append(of, i)
		}
	}
	for try := 1; len(items) > 0; try++ {
		var left []item
		var leftOf []int
		for n, err := range insertItems(ctx, t.Client, t.Table, items) {
			if errs[of[n]] = err; err != nil && !errors.Is(err, errDuplicate) {
				left, leftOf = append(left, items[n]), append(leftOf, of[n])
			}
		}
		if len(left) == 0 || len(left) == len(items) || try == addTries || pause(ctx, try) != nil {
			break
		}
		items, of = left, leftOf
	}
	return errs
}

// AddConfigs adds to the configs that an event was sent to, and keeps it for another webhook.Retention from now.
// It errors with webhook.ErrNotFound.
func (t *Events) AddConfigs(ctx context.Context, organizationID, eventID string, configIDs []string, now time.Time) error {
	if err := t.addConfigs(ctx, organizationID, eventID, configIDs, now.Add(webhook.Retention)); err != nil {
		return fmt.Errorf("adding configs to event %s: %w", eventID, err)
	}
	return nil
}

func (t *Events) addConfigs(ctx context.Context, organizationID, eventID string, configIDs []string, expires time.Time) error {
	if len(configIDs) == 0 {
		return nil
	}
	ids := slices.Compact(slices.Sorted(slices.Values(configIDs))) // a set with one twice is refused
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: eventKey(organizationID, eventID),
		UpdateExpression:    aws.String("SET expires_at = :expires ADD configs :configs"),
		ConditionExpression: aws.String("attribute_exists(event_id)"),
		ExpressionAttributeValues: item{
			":expires": number(expires.Unix()), ":configs": &types.AttributeValueMemberSS{Value: ids},
		},
	})
	if _, failed := conditionFailed(err); failed {
		return webhook.ErrNotFound
	}
	return err
}

// Get returns an event of an organization, also an expired one. It errors with webhook.ErrNotFound.
func (t *Events) Get(ctx context.Context, organizationID, eventID string) (*webhook.EventRecord, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.Table, Key: eventKey(organizationID, eventID), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("reading event %s: %w", eventID, err)
	}
	if out.Item == nil {
		return nil, webhook.ErrNotFound
	}
	r, err := toRecord(out.Item)
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// List returns at most s.Limit events of s, newest first, and the id of the event to go on after, "" at the end. It
// examines a bounded number of items, so under a filter it may stop short.
func (t *Events) List(ctx context.Context, s webhook.EventSelection) (found []webhook.EventRecord, next string, err error) {
	query, latest := t.query(s)
	if query == nil {
		return nil, "", nil
	}
	last, examined := "", 0
	for {
		out, err := t.Client.Query(ctx, query)
		if err != nil {
			return nil, "", fmt.Errorf("listing events: %w", err)
		}
		page, err := t.records(ctx, s, out.Items)
		if err != nil {
			return nil, "", err
		}
		for _, key := range out.Items {
			id := text(key, "event_id")
			if id == latest { // a range includes its ends
				continue
			}
			if len(found) == s.Limit {
				return found, last, nil
			}
			examined++
			last = id
			if r, ok := page[id]; ok && selects(s, &r) {
				found = append(found, r)
			}
		}
		if query.ExclusiveStartKey = out.LastEvaluatedKey; query.ExclusiveStartKey == nil {
			return found, "", nil
		}
		if examined >= s.Limit+eventsExamined {
			return found, last, nil
		}
	}
}

// query returns the query that begins a list, nil if nothing can be in it, and the id before which all events are.
func (t *Events) query(s webhook.EventSelection) (query *dynamodb.QueryInput, latest string) {
	oldest := webhook.FirstEventID(time.Time{})
	latest = "evt_Z" // sorts after every id
	if !s.CreatedAfter.IsZero() {
		oldest = webhook.FirstEventID(s.CreatedAfter.Add(time.Millisecond))
	}
	if !s.CreatedBefore.IsZero() { // ids have milliseconds: the first that is not before it
		latest = webhook.FirstEventID(s.CreatedBefore.Add(time.Millisecond - 1))
	}
	if s.After != "" {
		latest = min(latest, s.After)
	}
	if oldest > latest {
		return nil, "" // DynamoDB refuses a range that ends before it begins
	}
	query = &dynamodb.QueryInput{
		TableName: &t.Table, ScanIndexForward: aws.Bool(false), Limit: aws.Int32(int32(min(eventChunk, s.Limit+2))),
		KeyConditionExpression:    aws.String("#hash = :value AND event_id BETWEEN :oldest AND :latest"),
		ExpressionAttributeNames:  map[string]string{"#hash": "organization_id"},
		ExpressionAttributeValues: item{":value": str(s.OrganizationID), ":oldest": str(oldest), ":latest": str(latest)},
	}
	if s.DocumentID != "" {
		query.IndexName = aws.String(eventsByDocument)
		query.ExpressionAttributeNames["#hash"] = "document_key"
		query.ExpressionAttributeValues[":value"] = str(eventDocument(s.OrganizationID, s.DocumentID))
	}
	return query, latest
}

// records returns the events of a page of a list, by id. A page of a document has only their keys; those whose items
// are gone are left out.
func (t *Events) records(ctx context.Context, s webhook.EventSelection, page []item) (map[string]webhook.EventRecord, error) {
	items := page
	if s.DocumentID != "" && len(page) > 0 {
		request := types.KeysAndAttributes{}
		for _, one := range page {
			request.Keys = append(request.Keys, eventKey(s.OrganizationID, text(one, "event_id")))
		}
		items = nil
		_, err := batchGet(ctx, t.Client, map[string]types.KeysAndAttributes{t.Table: request}, func(_ string, found item) {
			items = append(items, found)
		})
		if err != nil {
			return nil, fmt.Errorf("reading events: %w", err)
		}
	}
	records := map[string]webhook.EventRecord{}
	for _, one := range items {
		r, err := toRecord(one)
		if err != nil {
			return nil, err
		}
		records[r.Event.ID] = r
	}
	return records, nil
}

// selects reports whether s is about r, apart from its times.
func selects(s webhook.EventSelection, r *webhook.EventRecord) bool {
	return (len(s.Statuses) == 0 || slices.Contains(s.Statuses, r.Event.Status)) && !r.Expired(s.Now)
}
