package dynamo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

// Deliveries is the delivery log, which is the waiting list too. It is safe for concurrent use.
type Deliveries struct {
	Client *dynamodb.Client
	Table  string
}

type deliveryItem struct {
	ConfigID       string                 `dynamodbav:"config_id"`
	EventID        string                 `dynamodbav:"event_id"`
	OrganizationID string                 `dynamodbav:"organization_id"`
	Version        int                    `dynamodbav:"v"`
	DocumentID     string                 `dynamodbav:"document_id"`
	DocumentStatus webhook.Status         `dynamodbav:"document_status"`
	PreviousStatus webhook.Status         `dynamodbav:"previous_status,omitempty"`
	Sequence       string                 `dynamodbav:"sequence,omitempty"`
	OccurredAt     string                 `dynamodbav:"occurred_at"`
	Related        string                 `dynamodbav:"related,omitempty"`
	Test           bool                   `dynamodbav:"test,omitempty"`
	Status         webhook.DeliveryStatus `dynamodbav:"status"`
	Trigger        webhook.Trigger        `dynamodbav:"trigger"`
	Attempts       []attemptItem          `dynamodbav:"attempts"`
	RequestedAt    string                 `dynamodbav:"requested_at"`
	Round          string                 `dynamodbav:"round"`
	Attempt        int                    `dynamodbav:"attempt"`
	EndedAt        string                 `dynamodbav:"ended_at,omitempty"`
	EndedBy        string                 `dynamodbav:"ended_by,omitempty"`
	DoneFor        string                 `dynamodbav:"done_for,omitempty"`
	NextAttemptAt  string                 `dynamodbav:"next_attempt_at,omitempty"`
	WakeAt         string                 `dynamodbav:"wake_at,omitempty"`
	WakeShard      string                 `dynamodbav:"wake_shard,omitempty"` // only with WakeAt
	DeliveredAt    string                 `dynamodbav:"delivered_at,omitempty"`
	FailedAt       string                 `dynamodbav:"failed_at,omitempty"`
	Unsettled      string                 `dynamodbav:"unsettled,omitempty"` // repeats EventID unless delivered
	ExpiresAt      int64                  `dynamodbav:"expires_at"`          // Unix seconds, as DynamoDB's TTL wants
	Revision       int                    `dynamodbav:"revision"`
}

// attemptItem has short names because there are up to twenty in an item.
type attemptItem struct {
	Number    int    `dynamodbav:"n"`
	MessageID string `dynamodbav:"by"`
	StartedAt int64  `dynamodbav:"at"` // Unix microseconds
	Duration  int64  `dynamodbav:"ms"`
	Status    int    `dynamodbav:"status,omitempty"`
	Code      string `dynamodbav:"code,omitempty"`
	Error     string `dynamodbav:"error,omitempty"`
	Snippet   string `dynamodbav:"snippet,omitempty"`
}

func fromDelivery(d *webhook.Delivery) deliveryItem {
	i := deliveryItem{
		ConfigID:       d.ConfigID,
		EventID:        d.Event.ID,
		OrganizationID: d.OrganizationID,
		Version:        d.Event.Version,
		DocumentID:     d.Event.DocumentID,
		DocumentStatus: d.Event.Status,
		PreviousStatus: d.Event.PreviousStatus,
		Sequence:       d.Event.Sequence,
		OccurredAt:     d.Event.OccurredAt.String(),
		Related:        d.Event.Related,
		Test:           d.Event.Test,
		Status:         d.Status,
		Trigger:        d.Trigger,
		Attempts:       []attemptItem{},
		RequestedAt:    d.RequestedAt.String(),
		Round:          d.Round,
		Attempt:        d.Attempt,
		EndedAt:        d.EndedAt.String(),
		EndedBy:        d.EndedBy,
		DoneFor:        d.DoneFor.String(),
		NextAttemptAt:  d.NextAttemptAt.String(),
		WakeAt:         d.WakeAt.String(),
		DeliveredAt:    d.DeliveredAt.String(),
		FailedAt:       d.FailedAt.String(),
		ExpiresAt:      d.ExpiresAt.Unix(),
		Revision:       d.Revision,
	}
	if d.Status != webhook.Delivered {
		i.Unsettled = d.Event.ID
	}
	if d.Waiting() {
		i.WakeShard = shardName(webhook.WakeShard(d.ConfigID, d.Event.ID))
	}
	for _, a := range d.Attempts {
		i.Attempts = append(i.Attempts, attemptItem{
			Number:    a.Number,
			MessageID: a.MessageID,
			StartedAt: a.StartedAt.UnixMicro(),
			Duration:  a.Duration.Milliseconds(),
			Status:    a.ResponseStatus,
			Code:      a.ErrorCode,
			Error:     a.Error,
			Snippet:   a.ResponseSnippet,
		})
	}
	return i
}

func toDelivery(from item) (*webhook.Delivery, error) {
	i, err := unmarshal[deliveryItem](from)
	if err != nil {
		return nil, fmt.Errorf("reading a delivery's item: %w", err)
	}
	d := &webhook.Delivery{
		OrganizationID: i.OrganizationID,
		ConfigID:       i.ConfigID,
		Event: webhook.Event{
			Version:        i.Version,
			ID:             i.EventID,
			DocumentID:     i.DocumentID,
			Status:         i.DocumentStatus,
			PreviousStatus: i.PreviousStatus,
			Sequence:       i.Sequence,
			OccurredAt:     reread(i.OccurredAt),
			Related:        i.Related,
			Test:           i.Test,
		},
		Status:        i.Status,
		Trigger:       i.Trigger,
		RequestedAt:   reread(i.RequestedAt),
		Round:         i.Round,
		Attempt:       i.Attempt,
		EndedAt:       reread(i.EndedAt),
		EndedBy:       i.EndedBy,
		DoneFor:       reread(i.DoneFor),
		NextAttemptAt: reread(i.NextAttemptAt),
		WakeAt:        reread(i.WakeAt),
		DeliveredAt:   reread(i.DeliveredAt),
		FailedAt:      reread(i.FailedAt),
		ExpiresAt:     webhook.At(time.Unix(i.ExpiresAt, 0)),
		Revision:      i.Revision,
	}
	for _, a := range i.Attempts {
		d.Attempts = append(d.Attempts, webhook.Attempt{
			Number:          a.Number,
			MessageID:       a.MessageID,
			StartedAt:       webhook.Precise(time.UnixMicro(a.StartedAt)),
			Duration:        time.Duration(a.Duration) * time.Millisecond,
			ResponseStatus:  a.Status,
			ErrorCode:       a.Code,
			Error:           a.Error,
			ResponseSnippet: a.Snippet,
		})
	}
	return d, nil
}

func deliveryKey(configID, eventID string) item {
	return item{"config_id": str(configID), "event_id": str(eventID)}
}

// Get returns a delivery of an organization. It errors with webhook.ErrNotFound.
func (t *Deliveries) Get(ctx context.Context, organizationID, configID, eventID string) (*webhook.Delivery, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      &t.Table,
		Key:            deliveryKey(configID, eventID),
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("reading a delivery: %w", err)
	}
	if out.Item == nil {
		return nil, webhook.ErrNotFound
	}
	d, err := toDelivery(out.Item)
	if err != nil {
		return nil, err
	}
	if d.OrganizationID != organizationID {
		return nil, webhook.ErrNotFound
	}
	return d, nil
}

// Start writes an outcome if its delivery still is as it was known. Otherwise it errors with webhook.ErrConflict
// and returns the delivery as it is.
func (t *Deliveries) Start(ctx context.Context, o webhook.Outcome) webhook.Recorded {
	after, counts := o.Known.After(o)
	there, err := t.put(ctx, o.Known, &after)
	switch {
	case err == nil || errors.Is(err, webhook.ErrConflict) && there.Holds(o):
		return webhook.Recorded{Delivery: &after, Counts: counts}
	case errors.Is(err, webhook.ErrConflict) && foreign(there, o):
		return webhook.Recorded{Err: fmt.Errorf("logging a delivery: %w: it is another organization's", webhook.ErrNotFound)}
	}
	return webhook.Recorded{Delivery: there, Err: err}
}

// Record writes outcomes of different deliveries, each applied to what is there at that moment: those of new
// deliveries with one request, the others at the same time. What fails is tried again until ctx ends.
func (t *Deliveries) Record(ctx context.Context, outcomes []webhook.Outcome) []webhook.Recorded {
	if len(outcomes) == 1 {
		return []webhook.Recorded{t.record(ctx, outcomes[0])}
	}
	recorded := make([]webhook.Recorded, len(outcomes))
	done := t.insert(ctx, outcomes, recorded)
	var wait sync.WaitGroup
	for i, o := range outcomes {
		if !done[i] {
			wait.Go(func() { recorded[i] = t.record(ctx, o) })
		}
	}
	wait.Wait()
	return recorded
}

// record replaces a delivery's item by what the outcome makes of it, if nobody has written it since it was read.
// Otherwise the refusal brings the item along and the outcome is applied to that, so no result is ever decided
// by what a writer has not seen. A write costs the same as one without a condition, and nobody else writes a
// delivery but for its rare duplicates.
func (t *Deliveries) record(ctx context.Context, o webhook.Outcome) webhook.Recorded {
	known, counted := o.Known, false
	for try := 0; ; {
		after, counts := known.After(o)
		if known != nil && after.Revision == known.Revision {
			return webhook.Recorded{Delivery: known} // the outcome changes nothing, so nothing is written
		}
		there, err := t.put(ctx, known, &after)
		switch {
		case err == nil:
			return webhook.Recorded{Delivery: &after, Counts: counts}
		case errors.Is(err, webhook.ErrConflict) && there.Holds(o):
			return webhook.Recorded{Delivery: there, Counts: counted || counts} // an earlier answer was lost
		case errors.Is(err, webhook.ErrConflict) && foreign(there, o):
			return webhook.Recorded{Err: fmt.Errorf("logging a delivery: %w: it is another organization's", webhook.ErrNotFound)}
		case errors.Is(err, webhook.ErrConflict):
			// Every refusal means that another write of this delivery has succeeded. Those are few, so this ends.
			known = there
		case ctx.Err() != nil || pause(ctx, try) != nil:
			return webhook.Recorded{Err: err}
		default:
			counted = counts // a write whose answer was lost may have been done, and counts then
			try++
		}
	}
}

func foreign(d *webhook.Delivery, o webhook.Outcome) bool {
	return d != nil && d.OrganizationID != o.Message.OrganizationID
}

// putTimeout bounds one write, so that one that hangs leaves time for another.
const putTimeout = 5 * time.Second

// put writes after in the place of known, which is nil for a new delivery. It errors with webhook.ErrConflict if
// that is not what is there, and then returns what is, nil if its time to live has ended.
func (t *Deliveries) put(ctx context.Context, known, after *webhook.Delivery) (there *webhook.Delivery, err error) {
	fields, err := attributevalue.MarshalMap(fromDelivery(after))
	if err != nil {
		return nil, fmt.Errorf("writing a delivery's item: %w", err)
	}
	put := &dynamodb.PutItemInput{
		TableName: &t.Table, Item: fields, ConditionExpression: aws.String("attribute_not_exists(event_id)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if known != nil {
		put.ConditionExpression = aws.String("revision = :known")
		put.ExpressionAttributeValues = item{":known": number(int64(known.Revision))}
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	_, err = t.Client.PutItem(ctx, put)
	old, failed := conditionFailed(err)
	switch {
	case failed && old == nil:
		return nil, webhook.ErrConflict
	case failed:
		if there, err = toDelivery(old); err != nil {
			return nil, err
		}
		return there, webhook.ErrConflict
	case err != nil:
		return nil, fmt.Errorf("logging a delivery: %w", err)
	}
	return nil, nil
}

// insert writes the outcomes of new deliveries with one request, and says which are done. The others are left to
// record: what is there already brings itself along only there.
//
// Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html
func (t *Deliveries) insert(ctx context.Context, outcomes []webhook.Outcome, recorded []webhook.Recorded) (done []bool) {
	done = make([]bool, len(outcomes))
	var items []item
	var which []int
	for i, o := range outcomes {
		if o.Known != nil {
			continue
		}
		after, counts := o.Known.After(o)
		if fields, err := attributevalue.MarshalMap(fromDelivery(&after)); err == nil {
			items, which = append(items, fields), append(which, i)
			recorded[i] = webhook.Recorded{Delivery: &after, Counts: counts}
		}
	}
	if len(items) < 2 {
		return done
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	for n, err := range insertItems(ctx, t.Client, t.Table, items) {
		done[which[n]] = err == nil
	}
	return done
}

// Log is what the deliver function needs of two tables. It is safe for concurrent use.
type Log struct {
	*Deliveries
	Configs *Configs
}

// Load reads configs and deliveries with one consistent BatchGetItem. Keys it could not read are
// missing from the map; then it also errors.
func (l *Log) Load(ctx context.Context, keys []webhook.Key) (map[webhook.Key]webhook.Loaded, error) {
	configs, deliveries := l.Configs.Table, l.Table
	request := map[string]types.KeysAndAttributes{}
	seen := map[string]bool{}
	add := func(table, identity string, key item) {
		if identity = table + "\x00" + identity; seen[identity] {
			return // DynamoDB refuses a batch that names a key twice
		}
		seen[identity] = true
		wanted := request[table]
		wanted.ConsistentRead = aws.Bool(true)
		wanted.Keys = append(wanted.Keys, key)
		request[table] = wanted
	}
	for _, k := range keys {
		add(configs, k.OrganizationID+"\x00"+k.ConfigID, configKey(k.OrganizationID, k.ConfigID))
		add(deliveries, k.ConfigID+"\x00"+k.EventID, deliveryKey(k.ConfigID, k.EventID))
	}
	foundConfigs, foundDeliveries := map[[2]string]webhook.Config{}, map[[2]string]*webhook.Delivery{}
	unreadable := map[[2]string]bool{}
	var broken error // an item that is there but makes no sense is not the same as none
	left, err := batchGet(ctx, l.Client, request, func(table string, found item) {
		which := identity(found)
		var err error
		if table == configs {
			foundConfigs[which], err = toConfig(found)
		} else {
			foundDeliveries[which], err = toDelivery(found)
		}
		if err != nil {
			unreadable[which] = true
			broken = errors.Join(broken, fmt.Errorf("%s %s: %w", which[0], which[1], err))
		}
	})
	for _, wanted := range left {
		for _, key := range wanted.Keys {
			unreadable[identity(key)] = true
		}
	}
	loaded := map[webhook.Key]webhook.Loaded{}
	for _, k := range keys {
		config, event := [2]string{k.OrganizationID, k.ConfigID}, [2]string{k.ConfigID, k.EventID}
		if !unreadable[config] && !unreadable[event] {
			one := webhook.Loaded{}
			if c, ok := foundConfigs[config]; ok {
				one.Config = &c // each delivery has its own: they are worked on at the same time
			}
			if d := foundDeliveries[event]; d != nil && d.OrganizationID == k.OrganizationID {
				one.Delivery = d
			}
			loaded[k] = one
		}
	}
	return loaded, errors.Join(err, broken)
}

// identity returns the two parts of the key of an item of either table.
func identity(key item) [2]string {
	if _, ok := key["config_id"]; ok {
		return [2]string{text(key, "config_id"), text(key, "event_id")}
	}
	return [2]string{text(key, "organization_id"), text(key, "id")}
}
