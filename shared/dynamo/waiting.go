package dynamo

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	dueIndex = "due"
	// maxCounted bounds how many items of a shard Count looks at.
	maxCounted = 50_000
)

// shardName returns the key of a shard in the index, of one length so that it is read easily.
func shardName(shard int) string { return fmt.Sprintf("%02d", shard) }

// Due implements delivery.WaitingList.
func (t *Deliveries) Due(ctx context.Context, shard int, until time.Time, after *webhook.Wake, limit int) ([]webhook.Wake, error) {
	input := t.dueBefore(shard, until)
	input.Limit = aws.Int32(int32(limit))
	if after != nil {
		input.ExclusiveStartKey = deliveryKey(after.ConfigID, after.EventID)
		input.ExclusiveStartKey["wake_shard"], input.ExclusiveStartKey["wake_at"] = str(shardName(shard)), str(after.WakeAt.String())
	}
	out, err := t.Client.Query(ctx, input)
	if err != nil {
		return nil, fmt.Errorf("reading what is due in shard %d: %w", shard, err)
	}
	var entries []webhook.Wake
	for _, one := range out.Items {
		entries = append(entries, webhook.Wake{
			ConfigID:      text(one, "config_id"),
			EventID:       text(one, "event_id"),
			WakeAt:        reread(text(one, "wake_at")),
			NextAttemptAt: reread(text(one, "next_attempt_at")),
		})
	}
	return entries, nil
}

func (t *Deliveries) dueBefore(shard int, until time.Time) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName: &t.Table, IndexName: aws.String(dueIndex),
		KeyConditionExpression:    aws.String("wake_shard = :shard AND wake_at <= :until"),
		ExpressionAttributeValues: item{":shard": str(shardName(shard)), ":until": str(webhook.At(until).String())},
	}
}

// Push implements delivery.WaitingList.
func (t *Deliveries) Push(ctx context.Context, entry webhook.Wake, to webhook.Time) (*webhook.Delivery, error) {
	out, err := t.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &t.Table, Key: deliveryKey(entry.ConfigID, entry.EventID),
		UpdateExpression:          aws.String("SET wake_at = :to"),
		ConditionExpression:       aws.String("wake_at = :from"),
		ExpressionAttributeValues: item{":from": str(entry.WakeAt.String()), ":to": str(to.String())},
		ReturnValues:              types.ReturnValueAllNew,
	})
	if _, failed := conditionFailed(err); failed {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pushing on a waiting delivery: %w", err)
	}
	return toDelivery(out.Attributes)
}

// Count implements delivery.WaitingList.
func (t *Deliveries) Count(ctx context.Context, shard int, until time.Time) (due, all int, err error) {
	for _, count := range []struct {
		until time.Time
		into  *int
	}{{until: until, into: &due}, {until: maxTime(), into: &all}} {
		input := t.dueBefore(shard, count.until)
		input.Select = types.SelectCount
		for examined := 0; examined < maxCounted; {
			out, err := t.Client.Query(ctx, input)
			if err != nil {
				return 0, 0, fmt.Errorf("counting what waits in shard %d: %w", shard, err)
			}
			examined += int(out.ScannedCount)
			*count.into += int(out.Count)
			if input.ExclusiveStartKey = out.LastEvaluatedKey; input.ExclusiveStartKey == nil {
				break
			}
		}
	}
	return due, all, nil
}
