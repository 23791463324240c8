package dynamo

import (
	"context"
	"errors"
	"fmt"
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
	counterID      = "#counter" // sorts before every UUID
	firstID        = "0"        // sorts before every UUID and after counterID
	lastID         = "g"        // sorts after every UUID
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
	Sealed             string           `dynamodbav:"sealed,omitempty"`
	PreviousSealed     string           `dynamodbav:"previous_sealed,omitempty"`
	PreviousExpiresAt  string           `dynamodbav:"previous_expires_at,omitempty"`
	FailureCount       int              `dynamodbav:"failure_count,omitempty"`
	FailingSince       string           `dynamodbav:"failing_since,omitempty"`
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
		OrganizationID: c.OrganizationID, ID: c.ID, StateID: stateID(c), URL: c.URL, Description: c.Description,
		SubscribedStatuses: c.SubscribedStatuses, DeactivatedReason: c.DeactivatedReason, SecretPrefix: c.SecretPrefix,
		Sealed: c.Sealed, PreviousSealed: c.PreviousSealed, PreviousExpiresAt: c.PreviousExpiresAt.String(),
		FailureCount: c.FailureCount, FailingSince: c.FailingSince.String(),
		Version: c.Version, CreatedAt: c.CreatedAt.String(), UpdatedAt: c.UpdatedAt.String(), DeletedAt: c.DeletedAt.String(),
	}
}

func toConfig(from item) (webhook.Config, error) {
	i, err := unmarshal[configItem](from)
	if err != nil {
		return webhook.Config{}, fmt.Errorf("reading a config's item: %w", err)
	}
	return webhook.Config{
		OrganizationID: i.OrganizationID, ID: i.ID, URL: i.URL, Description: i.Description, SubscribedStatuses: i.SubscribedStatuses,
		Active: strings.HasPrefix(i.StateID, activePrefix), DeactivatedReason: i.DeactivatedReason, SecretPrefix: i.SecretPrefix,
		Sealed: i.Sealed, PreviousSealed: i.PreviousSealed, PreviousExpiresAt: reread(i.PreviousExpiresAt),
		FailureCount: i.FailureCount, FailingSince: reread(i.FailingSince),
		Version: i.Version, CreatedAt: reread(i.CreatedAt), UpdatedAt: reread(i.UpdatedAt), DeletedAt: reread(i.DeletedAt),
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
			UpdateExpression: aws.String("SET deleted_at = :now, updated_at = :now, expires_at = :expires ADD version :one " +
				"REMOVE state_id, #url, description, subscribed_statuses, deactivated_reason, secret_prefix, sealed, previous_sealed, previous_expires_at, failure_count, failing_since"),
			ConditionExpression:      aws.String("attribute_exists(state_id)"),
			ExpressionAttributeNames: map[string]string{"#url": "url"},
			ExpressionAttributeValues: item{
				":now": str(webhook.At(now).String()), ":expires": number(now.Add(webhook.Retention).Unix()), ":one": number(1),
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

// Get returns a config. It errors with webhook.ErrNotFound, also for a deleted one.
func (t *Configs) Get(ctx context.Context, organizationID, id string) (*webhook.Config, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.Table, Key: configKey(organizationID, id), ConsistentRead: aws.Bool(true)})
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
// a new version, are never written back but only forgotten, if c has none.
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
		"state_id", "url", "description", "subscribed_statuses", "deactivated_reason", "secret_prefix", "sealed", "previous_sealed",
		"previous_expires_at", "version", "updated_at",
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
	expression := "SET " + strings.Join(set, ", ")
	if len(remove) > 0 {
		expression += " REMOVE " + strings.Join(remove, ", ")
	}
	_, err = t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID), UpdateExpression: &expression,
		ConditionExpression:      aws.String("attribute_exists(#state_id) AND #version = :before"),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	if old, failed := conditionFailed(err); failed {
		if _, ok := old["state_id"]; !ok {
			return webhook.ErrNotFound
		}
		return webhook.ErrConflict
	}
	if _, met := errors.AsType[*types.TransactionConflictException](err); met {
		return webhook.ErrConflict // it is being deleted at this moment
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

// byState reads configs in one state, up to limit of them, or all if that is 0.
func (t *Configs) byState(ctx context.Context, organizationID, prefix, after string, limit int) ([]webhook.Config, error) {
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
	var configs []webhook.Config
	for {
		if limit > 0 {
			input.Limit = aws.Int32(int32(limit - len(configs)))
		}
		out, err := t.Client.Query(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, one := range out.Items {
			c, err := toConfig(one)
			if err != nil {
				return nil, err
			}
			configs = append(configs, c)
		}
		if input.ExclusiveStartKey = out.LastEvaluatedKey; input.ExclusiveStartKey == nil || limit > 0 && len(configs) >= limit {
			return configs, nil
		}
	}
}

// ListIDs returns the ids of up to limit configs, deleted ones included.
func (t *Configs) ListIDs(ctx context.Context, organizationID string, limit int) ([]string, error) {
	input := &dynamodb.QueryInput{
		TableName: &t.Table, ProjectionExpression: aws.String("id"), Limit: aws.Int32(int32(limit)),
		KeyConditionExpression:    aws.String("organization_id = :organization AND id BETWEEN :first AND :last"),
		ExpressionAttributeValues: item{":organization": str(organizationID), ":first": str(firstID), ":last": str(lastID)},
	}
	var ids []string
	for {
		out, err := t.Client.Query(ctx, input)
		if err != nil {
			return nil, fmt.Errorf("listing configs: %w", err)
		}
		for _, one := range out.Items {
			key, err := unmarshal[configItem](one)
			if err != nil {
				return nil, fmt.Errorf("reading a config's id: %w", err)
			}
			ids = append(ids, key.ID)
		}
		if input.ExclusiveStartKey = out.LastEvaluatedKey; input.ExclusiveStartKey == nil || len(ids) >= limit {
			return ids, nil
		}
	}
}

// Deactivate deactivates c if it is still at c's version: another url deserves another chance.
func (t *Configs) Deactivate(ctx context.Context, c *webhook.Config, reason string, now time.Time) error {
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID),
		UpdateExpression:         aws.String("SET state_id = :inactive, deactivated_reason = :reason, updated_at = :now, #version = :next"),
		ConditionExpression:      aws.String("state_id = :active AND #version = :before"),
		ExpressionAttributeNames: map[string]string{"#version": "version"},
		ExpressionAttributeValues: item{
			":inactive": str(inactivePrefix + c.ID), ":active": str(activePrefix + c.ID), ":reason": str(reason),
			":now": str(webhook.At(now).String()), ":before": number(c.Version), ":next": number(c.Version + 1),
		},
	})
	if _, failed := conditionFailed(err); failed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deactivating config %s: %w", c.ID, err)
	}
	c.Active = false
	return nil
}

// CountFailure counts one more final failure of c and returns the count and when it began.
func (t *Configs) CountFailure(ctx context.Context, c *webhook.Config, now time.Time) (int, time.Time, error) {
	out, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: configKey(c.OrganizationID, c.ID),
		UpdateExpression:          aws.String("SET failing_since = if_not_exists(failing_since, :now) ADD failure_count :one"),
		ConditionExpression:       aws.String("attribute_exists(state_id)"),
		ExpressionAttributeValues: item{":now": str(webhook.At(now).String()), ":one": number(1)},
		ReturnValues:              types.ReturnValueAllNew,
	})
	if _, failed := conditionFailed(err); failed {
		return 0, now, nil // deleted meanwhile
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
		ConditionExpression: aws.String("attribute_exists(state_id)"),
	})
	if _, failed := conditionFailed(err); err != nil && !failed {
		return fmt.Errorf("resetting the failures of config %s: %w", c.ID, err)
	}
	return nil
}
