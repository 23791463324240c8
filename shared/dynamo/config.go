package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	stateIndex     = "by_state"
	activePrefix   = "active#"
	inactivePrefix = "inactive#"
	deletedPrefix  = "tombstone#" // the time of the deletion follows; sorts after the others
	counterID      = "#counter"   // sorts before every UUID
	usesPrefix     = "#uses#"     // what is counted and the minute follow; sorts before every UUID
	firstID        = "0"          // sorts before every UUID and after counterID
	lastID         = "g"          // sorts after every UUID and time

	// live is the condition that a config is there and not deleted.
	live = "attribute_exists(version) AND attribute_not_exists(deleted_at)"
	// maxDeleted is how many deleted configs ListIDs returns.
	maxDeleted = 200
)

// Configs is the table of configs. It is safe for concurrent use.
type Configs struct {
	Client *dynamodb.Client
	Table  string
}

type configItem struct {
	OrganizationID     string           `dynamodbav:"organization_id"`
	ID                 string           `dynamodbav:"id"`
	StateID            string           `dynamodbav:"state_id,omitempty"`
	URL                string           `dynamodbav:"url,omitempty"`
	Description        string           `dynamodbav:"description,omitempty"`
	SubscribedStatuses []webhook.Status `dynamodbav:"subscribed_statuses,omitempty"`
	DeactivatedReason  string           `dynamodbav:"deactivated_reason,omitempty"`
	SecretPrefix       string           `dynamodbav:"secret_prefix,omitempty"`
	CustomHeaderNames  []string         `dynamodbav:"custom_header_names,omitempty"`
	Sealed             string           `dynamodbav:"sealed,omitempty"`
	PreviousSealed     string           `dynamodbav:"previous_sealed,omitempty"`
	PreviousExpiresAt  string           `dynamodbav:"previous_expires_at,omitempty"`
	FailureCount       int              `dynamodbav:"failure_count,omitempty"`
	FailingSince       string           `dynamodbav:"failing_since,omitempty"`
	FastUntil          string           `dynamodbav:"fast_until,omitempty"`
	SlowUntil          string           `dynamodbav:"slow_until,omitempty"`
	Version            int64            `dynamodbav:"version"`
	CreatedAt          string           `dynamodbav:"created_at"`
	UpdatedAt          string           `dynamodbav:"updated_at"`
	DeletedAt          string           `dynamodbav:"deleted_at,omitempty"`
}

func stateID(c *webhook.Config) string {
	if c.Active {
		return activePrefix + c.ID
	}
	return inactivePrefix + c.ID
}

func fromConfig(c *webhook.Config) configItem {
	return configItem{
		OrganizationID:     c.OrganizationID,
		ID:                 c.ID,
		StateID:            stateID(c),
		URL:                c.URL,
		Description:        c.Description,
		SubscribedStatuses: c.SubscribedStatuses,
		DeactivatedReason:  c.DeactivatedReason,
		SecretPrefix:       c.SecretPrefix,
		CustomHeaderNames:  c.CustomHeaderNames,
		Sealed:             c.Sealed,
		PreviousSealed:     c.PreviousSealed,
		PreviousExpiresAt:  c.PreviousExpiresAt.String(),
		FailureCount:       c.FailureCount,
		FailingSince:       c.FailingSince.String(),
		FastUntil:          c.FastUntil.String(),
		SlowUntil:          c.SlowUntil.String(),
		Version:            c.Version,
		CreatedAt:          c.CreatedAt.String(),
		UpdatedAt:          c.UpdatedAt.String(),
		DeletedAt:          c.DeletedAt.String(),
	}
}

func toConfig(from item) (webhook.Config, error) {
	i, err := unmarshal[configItem](from)
	if err != nil {
		return webhook.Config{}, fmt.Errorf("reading a config's item: %w", err)
	}
	return webhook.Config{
		OrganizationID:     i.OrganizationID,
		ID:                 i.ID,
		URL:                i.URL,
		Description:        i.Description,
		SubscribedStatuses: i.SubscribedStatuses,
		Active:             strings.HasPrefix(i.StateID, activePrefix),
		DeactivatedReason:  i.DeactivatedReason,
		SecretPrefix:       i.SecretPrefix,
		CustomHeaderNames:  i.CustomHeaderNames,
		Sealed:             i.Sealed,
		PreviousSealed:     i.PreviousSealed,
		PreviousExpiresAt:  reread(i.PreviousExpiresAt),
		FailureCount:       i.FailureCount,
		FailingSince:       reread(i.FailingSince),
		FastUntil:          reread(i.FastUntil),
		SlowUntil:          reread(i.SlowUntil),
		Version:            i.Version,
		CreatedAt:          reread(i.CreatedAt),
		UpdatedAt:          reread(i.UpdatedAt),
		DeletedAt:          reread(i.DeletedAt),
	}, nil
}

func configKey(organizationID, id string) item {
	return item{"organization_id": str(organizationID), "id": str(id)}
}

// Create stores c and counts it. It errors with webhook.ErrLimit if the organization has limit configs.
func (t *Configs) Create(ctx context.Context, c *webhook.Config, limit int) error {
	config, err := attributevalue.MarshalMap(fromConfig(c))
	if err != nil {
		return fmt.Errorf("writing a config's item: %w", err)
	}
	failed, err := t.transact(ctx, []types.TransactWriteItem{
		{Update: &types.Update{
			TableName: &t.Table, Key: configKey(c.OrganizationID, counterID),
			UpdateExpression:          aws.String("ADD config_count :one"),
			ConditionExpression:       aws.String("attribute_not_exists(config_count) OR config_count < :limit"),
			ExpressionAttributeValues: item{":one": number(1), ":limit": number(int64(limit))},
		}},
		{Put: &types.Put{TableName: &t.Table, Item: config, ConditionExpression: aws.String("attribute_not_exists(id)")}},
	})
	switch {
	case failed == 0:
		return webhook.ErrLimit
	case err != nil:
		return fmt.Errorf("creating config %s: %w", c.ID, err)
	}
	return nil
}

// Delete turns a config into a tombstone without credentials. It errors with webhook.ErrNotFound.
func (t *Configs) Delete(ctx context.Context, organizationID, id string, now time.Time) error {
	failed, err := t.transact(ctx, []types.TransactWriteItem{
		{Update: &types.Update{
			TableName: &t.Table, Key: configKey(organizationID, id),
			UpdateExpression: aws.String("SET state_id = :state, deleted_at = :now, updated_at = :now, expires_at = :expires " +
				"ADD version :one REMOVE #url, description, subscribed_statuses, deactivated_reason, secret_prefix, custom_header_names, " +
				"sealed, previous_sealed, previous_expires_at, failure_count, failing_since, fast_until, slow_until"),
			ConditionExpression:      aws.String(live),
			ExpressionAttributeNames: map[string]string{"#url": "url"},
			ExpressionAttributeValues: item{
				":state": str(deletedPrefix + webhook.At(now).String() + "#" + id),
				":now":   str(webhook.At(now).String()), ":expires": number(now.Add(webhook.Retention).Unix()), ":one": number(1),
			},
		}},
		{Update: &types.Update{
			TableName: &t.Table, Key: configKey(organizationID, counterID),
			UpdateExpression:          aws.String("ADD config_count :minus"),
			ExpressionAttributeValues: item{":minus": number(-1)},
		}},
	})
	switch {
	case failed == 0:
		return webhook.ErrNotFound
	case err != nil:
		return fmt.Errorf("deleting config %s: %w", id, err)
	}
	return nil
}

// transact runs a transaction, again if it met another one. failed is the index of the first
// action whose condition does not hold, -1 if there is none.
func (t *Configs) transact(ctx context.Context, actions []types.TransactWriteItem) (failed int, err error) {
	for try := 0; ; try++ {
		_, err = t.Client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: actions})
		var canceled *types.TransactionCanceledException
		if !errors.As(err, &canceled) {
			return -1, err
		}
		conflict := false
		for i, reason := range canceled.CancellationReasons {
			switch aws.ToString(reason.Code) {
			case "ConditionalCheckFailed":
				return i, err
			case "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
				conflict = true
			}
		}
		if !conflict || try == maxTries {
			return -1, err
		}
		if err := pause(ctx, try); err != nil {
			return -1, err
		}
	}
}

// Use counts a use of something by an organization in a minute, named by its beginning. It reports false, and counts
// nothing, if there have been limit of them.
func (t *Configs) Use(ctx context.Context, organizationID, what string, minute time.Time, limit int) (bool, error) {
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName:           &t.Table,
		Key:                 configKey(organizationID, usesPrefix+what+"#"+webhook.At(minute).String()),
		UpdateExpression:    aws.String("SET expires_at = :expires ADD uses :one"),
		ConditionExpression: aws.String("attribute_not_exists(uses) OR uses < :limit"),
		ExpressionAttributeValues: item{
			":expires": number(minute.Add(time.Hour).Unix()), ":one": number(1), ":limit": number(int64(limit)),
		},
	})
	if _, failed := conditionFailed(err); failed {
		return false, nil
	}
	return err == nil, err
}

// Get returns a config. It errors with webhook.ErrNotFound, also for a deleted one.
func (t *Configs) Get(ctx context.Context, organizationID, id string) (*webhook.Config, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      &t.Table,
		Key:            configKey(organizationID, id),
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, fmt.Errorf("reading config %s: %w", id, err)
	}
	if out.Item == nil {
		return nil, webhook.ErrNotFound
	}
	c, err := toConfig(out.Item)
	if err != nil {
		return nil, err
	}
	if c.Deleted() {
		return nil, webhook.ErrNotFound
	}
	return &c, nil
}

// Exists reports whether there is a config or its tombstone.
func (t *Configs) Exists(ctx context.Context, organizationID, id string) (bool, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.Table, Key: configKey(organizationID, id), ProjectionExpression: aws.String("id"),
	})
	if err != nil {
		return false, fmt.Errorf("reading config %s: %w", id, err)
	}
	return out.Item != nil, nil
}

// Update writes what may change of c, if the stored config still has c's version, and counts that up.
// It errors with webhook.ErrConflict or webhook.ErrNotFound. Failures, which deliveries count without
// a new version, are never written back but only forgotten, if c has none; so is FastUntil.
func (t *Configs) Update(ctx context.Context, c *webhook.Config) error {
	next := fromConfig(c)
	next.Version++
	fields, err := attributevalue.MarshalMap(next)
	if err != nil {
		return fmt.Errorf("writing a config's item: %w", err)
	}
	var set, remove []string
	names, values := map[string]string{}, item{":before": number(c.Version)}
	for _, name := range []string{
		"state_id", "url", "description", "subscribed_statuses", "deactivated_reason", "secret_prefix", "custom_header_names", "sealed",
		"previous_sealed", "previous_expires_at", "version", "updated_at",
	} {
		names["#"+name] = name
		if value, ok := fields[name]; ok {
			set = append(set, fmt.Sprintf("#%s = :%s", name, name))
			values[":"+name] = value
		} else {
			remove = append(remove, "#"+name)
		}
	}
	if c.FailureCount == 0 && c.FailingSince.IsZero() {
		remove = append(remove, "failure_count", "failing_since")
	}
	if c.FastUntil.IsZero() {
		remove = append(remove, "fast_until")
	}
	expression := "SET " + strings.Join(set, ", ")
	if len(remove) > 0 {
		expression += " REMOVE " + strings.Join(remove, ", ")
	}
	_, err = t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID), UpdateExpression: &expression,
		ConditionExpression:      aws.String(live + " AND #version = :before"),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if old, failed := conditionFailed(err); failed {
		if _, deleted := old["deleted_at"]; old == nil || deleted {
			return webhook.ErrNotFound
		}
		return webhook.ErrConflict
	}
	if _, met := errors.AsType[*types.TransactionConflictException](err); met {
		return webhook.ErrConflict // another call is deleting the config, which is not gone yet
	}
	if err != nil {
		return fmt.Errorf("updating config %s: %w", c.ID, err)
	}
	c.Version = next.Version
	return nil
}

// List returns up to limit configs in the order of their ids, after the given one ("" for the
// first). active limits them to those that are, or are not, active.
func (t *Configs) List(ctx context.Context, organizationID string, active *bool, after string, limit int) ([]webhook.Config, error) {
	var all []webhook.Config
	for _, prefix := range []string{activePrefix, inactivePrefix} {
		if active != nil && *active != (prefix == activePrefix) {
			continue
		}
		configs, err := t.byState(ctx, organizationID, prefix, after, limit)
		if err != nil {
			return nil, fmt.Errorf("listing configs: %w", err)
		}
		all = append(all, configs...)
	}
	slices.SortFunc(all, func(a, b webhook.Config) int { return strings.Compare(a.ID, b.ID) })
	return all[:min(len(all), limit)], nil
}

// ListActive returns all active configs of an organization, as they are now.
func (t *Configs) ListActive(ctx context.Context, organizationID string) ([]webhook.Config, error) {
	configs, err := t.byState(ctx, organizationID, activePrefix, "", 0)
	if err != nil {
		return nil, fmt.Errorf("listing active configs: %w", err)
	}
	return configs, nil
}

// Active is ListActive, but an item that makes no sense does not stand in the way of the others. The ids of such
// items are broken.
func (t *Configs) Active(ctx context.Context, organizationID string) (configs []webhook.Config, broken []string, err error) {
	items, err := t.itemsByState(ctx, organizationID, activePrefix, "", 0)
	if err != nil {
		return nil, nil, fmt.Errorf("listing active configs: %w", err)
	}
	for _, one := range items {
		if c, err := toConfig(one); err != nil {
			broken = append(broken, text(one, "id"))
		} else {
			configs = append(configs, c)
		}
	}
	return configs, broken, nil
}

// byState reads configs in one state, up to limit of them, or all if that is 0.
func (t *Configs) byState(ctx context.Context, organizationID, prefix, after string, limit int) ([]webhook.Config, error) {
	items, err := t.itemsByState(ctx, organizationID, prefix, after, limit)
	if err != nil {
		return nil, err
	}
	var configs []webhook.Config
	for _, one := range items {
		c, err := toConfig(one)
		if err != nil {
			return nil, err
		}
		configs = append(configs, c)
	}
	return configs, nil
}

func (t *Configs) itemsByState(ctx context.Context, organizationID, prefix, after string, limit int) ([]item, error) {
	from := prefix
	if after != "" {
		from = prefix + after + "!" // sorts just after that id
	}
	if from > prefix+lastID {
		return nil, nil // DynamoDB refuses a range that ends before it begins
	}
	input := &dynamodb.QueryInput{
		TableName: &t.Table, IndexName: aws.String(stateIndex), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("organization_id = :organization AND state_id BETWEEN :from AND :to"),
		ExpressionAttributeValues: item{":organization": str(organizationID), ":from": str(from), ":to": str(prefix + lastID)},
	}
	var items []item
	for {
		if limit > 0 {
			input.Limit = aws.Int32(int32(limit - len(items)))
		}
		out, err := t.Client.Query(ctx, input)
		if err != nil {
			return nil, err
		}
		items = append(items, out.Items...)
		if input.ExclusiveStartKey = out.LastEvaluatedKey; input.ExclusiveStartKey == nil || limit > 0 && len(items) >= limit {
			return items, nil
		}
	}
}

// ListIDs returns the ids of all configs of an organization, and of those that were deleted last.
func (t *Configs) ListIDs(ctx context.Context, organizationID string) ([]string, error) {
	var ids []string
	for _, part := range []struct {
		from, to string
		limit    int32
	}{
		{from: activePrefix, to: inactivePrefix + lastID, limit: math.MaxInt32},
		{from: deletedPrefix, to: deletedPrefix + lastID, limit: maxDeleted},
	} {
		input := &dynamodb.QueryInput{
			TableName:                 &t.Table,
			IndexName:                 aws.String(stateIndex),
			ProjectionExpression:      aws.String("id"),
			ScanIndexForward:          aws.Bool(false),
			KeyConditionExpression:    aws.String("organization_id = :organization AND state_id BETWEEN :from AND :to"),
			ExpressionAttributeValues: item{":organization": str(organizationID), ":from": str(part.from), ":to": str(part.to)},
			Limit:                     &part.limit,
		}
		for {
			out, err := t.Client.Query(ctx, input)
			if err != nil {
				return nil, fmt.Errorf("listing the ids of configs: %w", err)
			}
			for _, one := range out.Items {
				ids = append(ids, text(one, "id"))
			}
			part.limit -= int32(len(out.Items))
			if input.ExclusiveStartKey = out.LastEvaluatedKey; input.ExclusiveStartKey == nil || part.limit == 0 {
				break
			}
		}
	}
	return ids, nil
}

// Deactivate deactivates c if it is still at c's version: another URL is not judged by what the one before
// answered. It reports whether c is inactive for this reason now, which another delivery may have done.
func (t *Configs) Deactivate(ctx context.Context, c *webhook.Config, reason string, now time.Time) (bool, error) {
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID),
		UpdateExpression:         aws.String("SET state_id = :inactive, deactivated_reason = :reason, updated_at = :now, #version = :next"),
		ConditionExpression:      aws.String("state_id = :active AND #version = :before"),
		ExpressionAttributeNames: map[string]string{"#version": "version"},
		ExpressionAttributeValues: item{
			":inactive": str(inactivePrefix + c.ID), ":active": str(activePrefix + c.ID), ":reason": str(reason),
			":now": str(webhook.At(now).String()), ":before": number(c.Version), ":next": number(c.Version + 1),
		},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if old, failed := conditionFailed(err); failed {
		there, err := toConfig(old)
		return err == nil && there.DeactivatedReason == reason && there.Version == c.Version+1, err
	}
	if err != nil {
		return false, fmt.Errorf("deactivating config %s: %w", c.ID, err)
	}
	c.Active = false
	return true, nil
}

// SetLane writes the end of a lane of c if c's URL is still the one that was judged. It counts as no change.
func (t *Configs) SetLane(ctx context.Context, c *webhook.Config, lane webhook.Lane) error {
	name, end := "slow_until", c.SlowUntil
	if lane == webhook.FastLane {
		name, end = "fast_until", c.FastUntil
	}
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID),
		UpdateExpression:          aws.String("SET #end = :end"),
		ConditionExpression:       aws.String(live + " AND #url = :url"),
		ExpressionAttributeNames:  map[string]string{"#end": name, "#url": "url"},
		ExpressionAttributeValues: item{":end": str(end.String()), ":url": str(c.URL)},
	})
	if _, failed := conditionFailed(err); err != nil && !failed {
		return fmt.Errorf("writing the lane of config %s: %w", c.ID, err)
	}
	return nil
}

// CountFailure counts one more final failure of c and returns the count and when it began.
func (t *Configs) CountFailure(ctx context.Context, c *webhook.Config, now time.Time) (int, time.Time, error) {
	out, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID),
		UpdateExpression:          aws.String("SET failing_since = if_not_exists(failing_since, :now) ADD failure_count :one"),
		ConditionExpression:       aws.String(live),
		ExpressionAttributeValues: item{":now": str(webhook.At(now).String()), ":one": number(1)},
		ReturnValues:              types.ReturnValueAllNew,
	})
	if _, failed := conditionFailed(err); failed {
		return 0, now, nil // the config has been deleted since it was read, so its failures count no more
	}
	if err != nil {
		return 0, now, fmt.Errorf("counting a failure of config %s: %w", c.ID, err)
	}
	after, err := toConfig(out.Attributes)
	return after.FailureCount, after.FailingSince.Time, err
}

// ResetFailures forgets the failures of c.
func (t *Configs) ResetFailures(ctx context.Context, c *webhook.Config) error {
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID),
		UpdateExpression:    aws.String("REMOVE failure_count, failing_since"),
		ConditionExpression: aws.String(live),
	})
	if _, failed := conditionFailed(err); err != nil && !failed {
		return fmt.Errorf("resetting the failures of config %s: %w", c.ID, err)
	}
	return nil
}
