package dynamo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/webhook"
)

// APIKeys is the table of API keys. It is safe for concurrent use.
type APIKeys struct {
	Client *dynamodb.Client
	Table  string
}

type keyItem struct {
	Hash           string `dynamodbav:"key_hash"`
	OrganizationID string `dynamodbav:"organization_id"`
	Name           string `dynamodbav:"name"`
	CreatedAt      string `dynamodbav:"created_at"`
	RevokedAt      string `dynamodbav:"revoked_at,omitempty"`
}

// Get returns the key with a hash, nil if there is none.
func (t *APIKeys) Get(ctx context.Context, hash string) (*apikey.Key, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.Table, Key: item{"key_hash": str(hash)}})
	if err != nil {
		return nil, fmt.Errorf("reading an API key: %w", err)
	}
	if out.Item == nil {
		return nil, nil
	}
	i, err := unmarshal[keyItem](out.Item)
	if err != nil {
		return nil, fmt.Errorf("reading an API key's item: %w", err)
	}
	key := apikey.Key(i)
	return &key, nil
}

// Add stores a new key. It errors with webhook.ErrConflict if there is one with its hash.
func (t *APIKeys) Add(ctx context.Context, key apikey.Key) error {
	fields, err := attributevalue.MarshalMap(keyItem(key))
	if err != nil {
		return fmt.Errorf("writing an API key's item: %w", err)
	}
	_, err = t.Client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName:           &t.Table,
		Item:                fields,
		ConditionExpression: aws.String("attribute_not_exists(key_hash)"),
	})
	if _, failed := conditionFailed(err); failed {
		return webhook.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("storing an API key: %w", err)
	}
	return nil
}

// List returns all keys, or those of one organization. It reads the whole table.
func (t *APIKeys) List(ctx context.Context, organizationID string) ([]apikey.Key, error) {
	var keys []apikey.Key
	pages := dynamodb.NewScanPaginator(t.Client, &dynamodb.ScanInput{TableName: &t.Table, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing API keys: %w", err)
		}
		for _, one := range page.Items {
			i, err := unmarshal[keyItem](one)
			if err != nil {
				return nil, fmt.Errorf("reading an API key's item: %w", err)
			}
			if organizationID == "" || i.OrganizationID == organizationID {
				keys = append(keys, apikey.Key(i))
			}
		}
	}
	return keys, nil
}

// Revoke makes the key with a hash invalid from at on. It errors with webhook.ErrNotFound; a key
// that is revoked already stays as it is.
func (t *APIKeys) Revoke(ctx context.Context, hash string, at webhook.Time) error {
	_, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: item{"key_hash": str(hash)},
		UpdateExpression:          aws.String("SET revoked_at = if_not_exists(revoked_at, :at)"),
		ConditionExpression:       aws.String("attribute_exists(key_hash)"),
		ExpressionAttributeValues: item{":at": str(at.String())},
	})
	if _, failed := conditionFailed(err); failed {
		return webhook.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("revoking an API key: %w", err)
	}
	return nil
}
