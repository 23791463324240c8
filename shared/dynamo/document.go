package dynamo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

// Documents is the table of documents, which the document system writes. It is safe for concurrent use.
type Documents struct {
	Client *dynamodb.Client
	Table  string
}

// Get returns what webhooks need of a document, nil if there is none.
func (t *Documents) Get(ctx context.Context, id string) (*webhook.Document, error) {
	out, err := t.Client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.Table, Key: item{"id": str(id)}, ConsistentRead: aws.Bool(true),
		ProjectionExpression:     aws.String("organization_id, #status, updated_at"),
		ExpressionAttributeNames: map[string]string{"#status": "status"},
	})
	if err != nil {
		return nil, fmt.Errorf("reading a document: %w", err)
	}
	if out.Item == nil {
		return nil, nil
	}
	// Attributes of other types than ours are as good as absent: the item is the document system's.
	document := &webhook.Document{
		OrganizationID: text(out.Item, "organization_id"),
		Status:         webhook.Status(text(out.Item, "status")),
		UpdatedAt:      text(out.Item, "updated_at"),
	}
	if n, ok := out.Item["updated_at"].(*types.AttributeValueMemberN); ok {
		document.UpdatedAt = n.Value
	}
	return document, nil
}
