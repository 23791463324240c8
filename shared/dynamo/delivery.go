package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Deliveries is the delivery log. It is safe for concurrent use.
type Deliveries struct {
	Client *dynamodb.Client
	Table  string
}

type deliveryItem struct {
	ConfigID       string                 `dynamodbav:"config_id"`
	EventID        string                 `dynamodbav:"event_id"`
	OrganizationID string                 `dynamodbav:"organization_id"`
	DocumentKey    string                 `dynamodbav:"document_key"`
	Version        int                    `dynamodbav:"v"`
	DocumentStatus webhook.Status         `dynamodbav:"document_status"`
	PreviousStatus webhook.Status         `dynamodbav:"previous_status,omitempty"`
	OccurredAt     string                 `dynamodbav:"occurred_at"`
	Test           bool                   `dynamodbav:"test,omitempty"`
	Status         webhook.DeliveryStatus `dynamodbav:"status"`
	Trigger        webhook.Trigger        `dynamodbav:"trigger"`
	Attempts       []attemptItem          `dynamodbav:"attempts"`
	Round          string                 `dynamodbav:"round,omitempty"`
	RoundAttempts  int                    `dynamodbav:"round_attempts,omitempty"`
	RoundOverBy    string                 `dynamodbav:"round_over_by,omitempty"`
	RequestedAt    string                 `dynamodbav:"requested_at"`
	DoneFor        string                 `dynamodbav:"done_for,omitempty"`
	DeliveredAt    string                 `dynamodbav:"delivered_at,omitempty"`
	FailedAt       string                 `dynamodbav:"failed_at,omitempty"`
	NextAttemptAt  string                 `dynamodbav:"next_attempt_at,omitempty"`
	Unsettled      string                 `dynamodbav:"unsettled,omitempty"` // repeats EventID while retrying or failed
	ExpiresAt      int64                  `dynamodbav:"expires_at"`          // Unix seconds, as DynamoDB's TTL wants
	Revision       int                    `dynamodbav:"revision"`
}

// attemptItem has short names because there are up to twenty in an item.
type attemptItem struct {
	Number    int    `dynamodbav:"n"`
	Round     string `dynamodbav:"r,omitempty"`
	StartedAt int64  `dynamodbav:"at"` // Unix milliseconds
	Duration  int64  `dynamodbav:"ms"`
	Status    int    `dynamodbav:"status,omitempty"`
	Code      string `dynamodbav:"code,omitempty"`
	Error     string `dynamodbav:"error,omitempty"`
	Snippet   string `dynamodbav:"snippet,omitempty"`
}

func documentKey(organizationID, documentID string) string { return organizationID + "#" + documentID }

func fromAttempt(a *webhook.Attempt) attemptItem {
	return attemptItem{a.Number, a.Round, a.StartedAt.UnixMilli(), a.Duration.Milliseconds(), a.ResponseStatus, a.ErrorCode, a.Error, a.ResponseSnippet}
}

func fromDelivery(d *webhook.Delivery) deliveryItem {
	i := deliveryItem{
		ConfigID: d.ConfigID, EventID: d.Event.ID, OrganizationID: d.OrganizationID, DocumentKey: documentKey(d.OrganizationID, d.Event.DocumentID),
		Version: d.Event.Version, DocumentStatus: d.Event.Status, PreviousStatus: d.Event.PreviousStatus, OccurredAt: d.Event.OccurredAt.String(), Test: d.Event.Test,
		Status: d.Status, Trigger: d.Trigger, Attempts: []attemptItem{}, Round: d.Round, RoundAttempts: d.RoundAttempts, RoundOverBy: d.RoundOverBy,
		RequestedAt: d.RequestedAt.String(), DoneFor: d.DoneFor.String(), DeliveredAt: d.DeliveredAt.String(), FailedAt: d.FailedAt.String(),
		NextAttemptAt: d.NextAttemptAt.String(), ExpiresAt: d.ExpiresAt.Unix(), Revision: d.Revision,
	}
	if d.Status == webhook.Retrying || d.Status == webhook.DeliveryFailed {
		i.Unsettled = d.Event.ID
	}
	for n := range d.Attempts {
		i.Attempts = append(i.Attempts, fromAttempt(&d.Attempts[n]))
	}
	return i
}

func toDelivery(from item) (*webhook.Delivery, error) {
	i, err := unmarshal[deliveryItem](from)
	if err != nil {
		return nil, fmt.Errorf("reading a delivery's item: %w", err)
	}
	d := &webhook.Delivery{
		OrganizationID: i.OrganizationID, ConfigID: i.ConfigID,
		Event: webhook.Event{
			Version: i.Version, ID: i.EventID, DocumentID: strings.TrimPrefix(i.DocumentKey, documentKey(i.OrganizationID, "")),
			Status: i.DocumentStatus, PreviousStatus: i.PreviousStatus, OccurredAt: reread(i.OccurredAt), Test: i.Test,
		},
		Status: i.Status, Trigger: i.Trigger, Round: i.Round, RoundAttempts: i.RoundAttempts, RoundOverBy: i.RoundOverBy,
		RequestedAt: reread(i.RequestedAt), DoneFor: reread(i.DoneFor), DeliveredAt: reread(i.DeliveredAt), FailedAt: reread(i.FailedAt),
		NextAttemptAt: reread(i.NextAttemptAt), ExpiresAt: webhook.At(time.Unix(i.ExpiresAt, 0)), Revision: i.Revision,
	}
	for _, a := range i.Attempts {
		d.Attempts = append(d.Attempts, webhook.Attempt{
			Number: a.Number, Round: a.Round, StartedAt: webhook.At(time.UnixMilli(a.StartedAt)), Duration: time.Duration(a.Duration) * time.Millisecond,
			ResponseStatus: a.Status, ErrorCode: a.Code, Error: a.Error, ResponseSnippet: a.Snippet,
		})
	}
	return d, nil
}

func deliveryKey(configID, eventID string) item {
	return item{"config_id": str(configID), "event_id": str(eventID)}
}

// Get returns a delivery of an organization. It errors with webhook.ErrNotFound.
func (t *Deliveries) Get(ctx context.Context, organizationID, configID, eventID string) (*webhook.Delivery, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.Table, Key: deliveryKey(configID, eventID), ConsistentRead: aws.Bool(true)})
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

// Log is what the deliver function needs of two tables. It is safe for concurrent use.
type Log struct {
	*Deliveries
	Configs *Configs
}

// Load reads configs and deliveries with one consistent BatchGetItem. Keys it could not read are
// missing from the map; then it also errors.
func (l *Log) Load(ctx context.Context, keys []delivery.Key) (map[delivery.Key]delivery.Loaded, error) {
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
	loaded := map[delivery.Key]delivery.Loaded{}
	for _, k := range keys {
		config, event := [2]string{k.OrganizationID, k.ConfigID}, [2]string{k.ConfigID, k.EventID}
		if !unreadable[config] && !unreadable[event] {
			one := delivery.Loaded{}
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

// maxOthers bounds how often one write of a delivery may be refused. Every refusal means that another write
// has succeeded, so among many writers the last one waits for all; a pause would only let more of them by.
const maxOthers = 100

// Record writes entries of different deliveries, all at the same time. It returns nil or one error
// (or nil) for each.
func (t *Deliveries) Record(ctx context.Context, entries []delivery.Entry) []error {
	errs := make([]error, len(entries))
	var wait sync.WaitGroup
	for i, e := range entries {
		wait.Go(func() { errs[i] = t.record(ctx, e) })
	}
	wait.Wait()
	if errors.Join(errs...) == nil {
		return nil
	}
	return errs
}

// record replaces a delivery's item by what the entry makes of it, if nobody has written it since it
// was read. Otherwise the refusal brings the item along and the entry is applied to that, so no
// result is ever decided by what a writer has not seen. A write costs the same as one without a
// condition, and nobody else writes a delivery but for its rare duplicates.
func (t *Deliveries) record(ctx context.Context, e delivery.Entry) error {
	known := e.Known
	for range maxOthers {
		after := e.Apply(known)
		if known != nil && after.Revision == known.Revision {
			return nil // it changes nothing
		}
		fields, err := attributevalue.MarshalMap(fromDelivery(&after))
		if err != nil {
			return fmt.Errorf("writing a delivery's item: %w", err)
		}
		put := &dynamodb.PutItemInput{
			TableName: &t.Table, Item: fields, ConditionExpression: aws.String("attribute_not_exists(event_id)"),
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}
		if known != nil {
			put.ConditionExpression, put.ExpressionAttributeValues = aws.String("revision = :known"), item{":known": number(int64(known.Revision))}
		}
		_, err = t.Client.PutItem(ctx, put)
		there, failed := conditionFailed(err)
		if !failed {
			if err != nil {
				return fmt.Errorf("logging a delivery: %w", err)
			}
			return nil
		}
		if known, err = nil, nil; there != nil { // else its time to live has ended meanwhile
			known, err = toDelivery(there)
		}
		if err != nil {
			return err
		}
		if known != nil && known.OrganizationID != e.Message.OrganizationID {
			return fmt.Errorf("logging a delivery: %w: it is another organization's", webhook.ErrNotFound)
		}
		if e.In(known) {
			return nil
		}
	}
	return fmt.Errorf("logging a delivery: %d others were faster", maxOthers)
}
