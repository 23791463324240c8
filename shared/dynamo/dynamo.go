// Package dynamo keeps configs, deliveries, API keys and documents in DynamoDB.
//
// Each table has a type of its own. What must not be lost to somebody else's write is a condition
// on the write, never a read before it; what can grow is read in pages of bounded size. Items are
// plain structs here and nouns of package webhook outside.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

// text returns a string attribute, "" if there is none.
func text(from item, name string) string {
	if s, ok := from[name].(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// conditionFailed reports whether err says that a write's condition does not hold, and returns the
// item as it is if the write asked for it.
func conditionFailed(err error) (item, bool) {
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return failed.Item, true
	}
	return nil, false
}

// reread turns an attribute that was written by webhook.Time.String back into a time. An attribute that is absent, or
// that something else has overwritten, is the zero time.
func reread(s string) webhook.Time {
	if s == "" {
		return webhook.Time{}
	}
	t, _ := webhook.ParseTime(s)
	return t
}

// pause waits before try number n of a call that met a passing obstacle, for half a second or so at most.
func pause(ctx context.Context, n int) error {
	delay := min(20*time.Millisecond<<min(n, 5), 500*time.Millisecond) // shifted on, it would overflow to no pause at all
	timer := time.NewTimer(time.Duration(float64(delay) * (0.5 + rand.Float64())))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// maxTries bounds the tries of a call that was only partly done or met another transaction.
const maxTries = 8

// batchGet reads keys of several tables, each named once and 100 at most in all, and calls found
// for every item. It returns the keys that could not be read even after some tries.
func batchGet(
	ctx context.Context, client *dynamodb.Client, request map[string]types.KeysAndAttributes, found func(table string, one item),
) (map[string]types.KeysAndAttributes, error) {
	for try := 0; ; try++ {
		out, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: request})
		if err != nil {
			return request, err
		}
		for table, items := range out.Responses {
			for _, one := range items {
				found(table, one)
			}
		}
		request = out.UnprocessedKeys
		if len(request) == 0 {
			return nil, nil
		}
		if try == maxTries {
			return request, errors.New("keys left unprocessed")
		}
		if err := pause(ctx, try); err != nil {
			return request, err
		}
	}
}

func unmarshal[T any](from item) (T, error) {
	var value T
	err := attributevalue.UnmarshalMap(from, &value)
	return value, err
}
