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
	RoundOver      bool                   `dynamodbav:"round_over,omitempty"`
	RequestedAt    string                 `dynamodbav:"requested_at"`
	DoneFor        string                 `dynamodbav:"done_for,omitempty"`
	DeliveredAt    string                 `dynamodbav:"delivered_at,omitempty"`
	FailedAt       string                 `dynamodbav:"failed_at,omitempty"`
	NextAttemptAt  string                 `dynamodbav:"next_attempt_at,omitempty"`
	Unsettled      string                 `dynamodbav:"unsettled,omitempty"` // repeats EventID while retrying or failed
	ExpiresAt      int64                  `dynamodbav:"expires_at"`          // Unix seconds, as DynamoDB's TTL wants
}

// attemptItem has short names because there are up to twenty in an item.
type attemptItem struct {
	Number    int    `dynamodbav:"n"`
	StartedAt int64  `dynamodbav:"at"` // Unix milliseconds
	Duration  int64  `dynamodbav:"ms"`
	Status    int    `dynamodbav:"status,omitempty"`
	Code      string `dynamodbav:"code,omitempty"`
	Error     string `dynamodbav:"error,omitempty"`
	Snippet   string `dynamodbav:"snippet,omitempty"`
}

func documentKey(organizationID, documentID string) string { return organizationID + "#" + documentID }

func fromAttempt(a *webhook.Attempt) attemptItem {
	return attemptItem{a.Number, a.StartedAt.UnixMilli(), a.Duration.Milliseconds(), a.ResponseStatus, a.ErrorCode, a.Error, a.ResponseSnippet}
}

func fromDelivery(d *webhook.Delivery) deliveryItem {
	i := deliveryItem{
		ConfigID: d.ConfigID, EventID: d.Event.ID, OrganizationID: d.OrganizationID, DocumentKey: documentKey(d.OrganizationID, d.Event.DocumentID),
		Version: d.Event.Version, DocumentStatus: d.Event.Status, PreviousStatus: d.Event.PreviousStatus, OccurredAt: d.Event.OccurredAt.String(), Test: d.Event.Test,
		Status: d.Status, Trigger: d.Trigger, Attempts: []attemptItem{}, Round: d.Round, RoundAttempts: d.RoundAttempts, RoundOver: d.RoundOver,
		RequestedAt: d.RequestedAt.String(), DoneFor: d.DoneFor.String(), DeliveredAt: d.DeliveredAt.String(), FailedAt: d.FailedAt.String(),
		NextAttemptAt: d.NextAttemptAt.String(), ExpiresAt: d.ExpiresAt.Unix(),
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
		Status: i.Status, Trigger: i.Trigger, Round: i.Round, RoundAttempts: i.RoundAttempts, RoundOver: i.RoundOver,
		RequestedAt: reread(i.RequestedAt), DoneFor: reread(i.DoneFor), DeliveredAt: reread(i.DeliveredAt), FailedAt: reread(i.FailedAt),
		NextAttemptAt: reread(i.NextAttemptAt), ExpiresAt: webhook.At(time.Unix(i.ExpiresAt, 0)),
	}
	for _, a := range i.Attempts {
		d.Attempts = append(d.Attempts, webhook.Attempt{
			Number: a.Number, StartedAt: webhook.At(time.UnixMilli(a.StartedAt)), Duration: time.Duration(a.Duration) * time.Millisecond,
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

// Record writes entries of different deliveries: first successes of new deliveries together,
// everything else as updates at the same time. It returns nil or one error (or nil) for each.
func (t *Deliveries) Record(ctx context.Context, entries []delivery.Entry) []error {
	errs := make([]error, len(entries))
	var fresh []int
	var wait sync.WaitGroup
	for i, e := range entries {
		if e.Status == webhook.Delivered && e.Known == nil && e.FirstReceive {
			fresh = append(fresh, i)
			continue
		}
		wait.Go(func() { errs[i] = t.update(ctx, e) })
	}
	if len(fresh) > 0 {
		for n, err := range t.put(ctx, entries, fresh) {
			errs[fresh[n]] = err
		}
	}
	wait.Wait()
	if errors.Join(errs...) == nil {
		return nil
	}
	return errs
}

// put writes whole items, 25 at most. Should the batch be refused, each is written by itself, so
// that one bad item does not fail the others.
func (t *Deliveries) put(ctx context.Context, entries []delivery.Entry, which []int) []error {
	errs := make([]error, len(which))
	requests := make([]types.WriteRequest, len(which))
	for n, i := range which {
		d := entries[i].Apply(nil)
		fields, err := attributevalue.MarshalMap(fromDelivery(&d))
		if err != nil {
			return repeat(fmt.Errorf("writing a delivery's item: %w", err), len(which)) // none is written
		}
		requests[n] = types.WriteRequest{PutRequest: &types.PutRequest{Item: fields}}
	}
	left := map[string][]types.WriteRequest{t.Table: requests}
	for try := 0; len(left) > 0; try++ {
		out, err := t.Client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left})
		if err != nil || try == maxTries {
			var wait sync.WaitGroup
			for n, i := range which {
				wait.Go(func() { errs[n] = t.update(ctx, entries[i]) })
			}
			wait.Wait()
			return errs
		}
		if left = out.UnprocessedItems; len(left) > 0 {
			if err := pause(ctx, try); err != nil {
				return repeat(err, len(which))
			}
		}
	}
	return errs
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// update appends an entry to a delivery. What it may change beside depends on what has happened
// meanwhile, so it is said by conditions: the first that holds wins.
func (t *Deliveries) update(ctx context.Context, e delivery.Entry) error {
	var variants []*update
	if e.Status == webhook.Delivered {
		variants = []*update{
			newUpdate(e).round().settle().when("attribute_not_exists(done_for) OR done_for < :requested_at"),
			// This or a later request has succeeded: only add the attempt, unless a write that seemed
			// to fail has added it already.
			newUpdate(e).when("attribute_exists(done_for) AND (attribute_not_exists(#round) OR #round <> :round OR #round_attempts < :round_attempts)"),
		}
	} else {
		variants = []*update{newUpdate(e).round().unsettle().when("attribute_not_exists(done_for)")}
		if e.Attempt != nil { // it has succeeded before and stays delivered
			variants = append(variants, newUpdate(e).round().when("done_for < :requested_at"))
		}
	}
	for _, variant := range variants {
		_, err := t.Client.UpdateItem(ctx, variant.input(t.Table))
		if _, failed := conditionFailed(err); failed {
			continue
		}
		if err != nil {
			return fmt.Errorf("logging a delivery: %w", err)
		}
		return t.trim(ctx, e)
	}
	return nil // obsolete: a request at or after this one has succeeded meanwhile
}

// trim removes the oldest attempt of a delivery that has more than it should.
func (t *Deliveries) trim(ctx context.Context, e delivery.Entry) error {
	if e.Attempt == nil || e.Known == nil || len(e.Known.Attempts) < webhook.MaxLoggedAttempts {
		return nil
	}
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: deliveryKey(e.Message.ConfigID, e.Message.Event.ID),
		UpdateExpression:          aws.String("REMOVE attempts[0]"),
		ConditionExpression:       aws.String("size(attempts) > :most"),
		ExpressionAttributeValues: item{":most": number(webhook.MaxLoggedAttempts)},
	})
	if _, failed := conditionFailed(err); err != nil && !failed {
		return fmt.Errorf("trimming a delivery's attempts: %w", err)
	}
	return nil
}

// update is an UpdateItem of a delivery in the making.
type update struct {
	entry     delivery.Entry
	after     deliveryItem
	set       []string
	remove    []string
	names     map[string]string
	values    item
	condition string
}

// newUpdate sets what an entry says of the delivery in any case and appends its attempt.
func newUpdate(e delivery.Entry) *update {
	after := e.Apply(e.Known)
	u := &update{entry: e, after: fromDelivery(&after), names: map[string]string{}, values: item{}}
	u.assign("organization_id", str(u.after.OrganizationID))
	u.assign("document_key", str(u.after.DocumentKey))
	u.assign("v", number(int64(u.after.Version)))
	u.assign("document_status", str(string(u.after.DocumentStatus)))
	u.assign("occurred_at", str(u.after.OccurredAt))
	u.assign("expires_at", number(u.after.ExpiresAt))
	if u.after.PreviousStatus != "" {
		u.assign("previous_status", str(string(u.after.PreviousStatus)))
	}
	if u.after.Test {
		u.assign("test", &types.AttributeValueMemberBOOL{Value: true})
	}
	if e.Attempt != nil {
		fields, _ := attributevalue.MarshalMap(fromAttempt(e.Attempt)) // numbers and strings always marshal
		u.values[":attempt"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{Value: fields}}}
		u.values[":none"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
		u.set = append(u.set, "attempts = list_append(if_not_exists(attempts, :none), :attempt)")
	}
	return u
}

func (u *update) assign(name string, value types.AttributeValue) {
	u.names["#"+name] = name
	u.values[":"+name] = value
	u.set = append(u.set, fmt.Sprintf("#%s = :%s", name, name))
}

// round sets the round, of which the attempt is the last.
func (u *update) round() *update {
	u.assign("trigger", str(string(u.after.Trigger)))
	// The greatest so far, whatever this message's own is: the next resend goes beyond it.
	u.names["#requested"], u.values[":latest"] = "requested_at", str(u.after.RequestedAt)
	u.set = append(u.set, "#requested = :latest")
	if u.entry.Attempt == nil {
		return u
	}
	u.assign("round", str(u.entry.Round))
	u.assign("round_attempts", number(int64(u.entry.Attempt.Number)))
	u.assign("round_over", &types.AttributeValueMemberBOOL{Value: u.entry.Status == webhook.DeliveryFailed})
	return u
}

// settle makes the delivery delivered.
func (u *update) settle() *update {
	u.assign("status", str(string(webhook.Delivered)))
	u.values[":done"], u.values[":at"] = str(u.entry.Message.RequestedAt.String()), str(u.entry.At.String())
	u.set = append(u.set, "done_for = :done", "delivered_at = if_not_exists(delivered_at, :at)")
	u.remove = append(u.remove, "unsettled", "next_attempt_at")
	return u
}

// unsettle makes the delivery retrying, failed or canceled.
func (u *update) unsettle() *update {
	u.assign("status", str(string(u.entry.Status)))
	if u.entry.Status == webhook.Canceled {
		u.remove = append(u.remove, "unsettled", "next_attempt_at")
		return u
	}
	u.assign("unsettled", str(u.after.EventID))
	if u.entry.Status == webhook.Retrying {
		u.assign("next_attempt_at", str(u.entry.NextAttemptAt.String()))
		return u
	}
	u.assign("failed_at", str(u.entry.At.String()))
	u.remove = append(u.remove, "next_attempt_at")
	return u
}

func (u *update) when(condition string) *update {
	if strings.Contains(condition, ":requested_at") {
		u.values[":requested_at"] = str(u.entry.Message.RequestedAt.String())
	}
	if strings.Contains(condition, "#round") {
		u.names["#round"], u.values[":round"] = "round", str(u.entry.Round)
		u.names["#round_attempts"], u.values[":round_attempts"] = "round_attempts", number(int64(u.entry.Attempt.Number))
	}
	u.condition = condition
	return u
}

func (u *update) input(table string) *dynamodb.UpdateItemInput {
	expression := "SET " + strings.Join(u.set, ", ")
	if len(u.remove) > 0 {
		expression += " REMOVE " + strings.Join(u.remove, ", ")
	}
	return &dynamodb.UpdateItemInput{
		TableName: &table, Key: deliveryKey(u.entry.Message.ConfigID, u.entry.Message.Event.ID), UpdateExpression: &expression,
		ConditionExpression: &u.condition, ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.values,
	}
}
