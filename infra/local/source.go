package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/eventsource"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
)

// This file makes event sources of a table's stream and of a queue.

// tableStream implements eventsource.Stream.
type tableStream struct {
	*dynamodb.Stream
	partitionKey string // name of the table's
}

func (t tableStream) Read(ctx context.Context, after string, limit int) ([]eventsource.Record, error) {
	records, err := t.Stream.Read(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	result := make([]eventsource.Record, 0, len(records))
	for _, record := range records {
		body, err := json.Marshal(record)
		if err != nil {
			return nil, fmt.Errorf("encoding the record %s: %w", record.SequenceNumber(), err)
		}
		var change struct {
			DynamoDB struct{ Keys map[string]json.RawMessage } `json:"dynamodb"`
		}
		if err := json.Unmarshal(body, &change); err != nil {
			return nil, fmt.Errorf("reading the keys of the record %s: %w", record.SequenceNumber(), err)
		}
		result = append(result, eventsource.Record{
			SequenceNumber: record.SequenceNumber(),
			PartitionKey:   string(change.DynamoDB.Keys[t.partitionKey]),
			Created:        record.Created(),
			JSON:           body,
		})
	}
	return result, nil
}

// polledQueue implements eventsource.Queue.
type polledQueue struct {
	broker *sqs.Broker
	arn    string
}

func (q polledQueue) Receive(ctx context.Context, limit int) ([]eventsource.Message, error) {
	messages, err := q.broker.Receive(ctx, q.arn, limit)
	if err != nil {
		return nil, err
	}
	result := make([]eventsource.Message, 0, len(messages))
	for _, message := range messages {
		body, err := json.Marshal(message)
		if err != nil {
			return nil, fmt.Errorf("encoding the message %s: %w", message.ID, err)
		}
		result = append(result, eventsource.Message{ID: message.ID, Handle: message.ReceiptHandle, JSON: body})
	}
	return result, nil
}

func (q polledQueue) Settle(done, failed []string) error {
	return q.broker.Settle(q.arn, done, failed)
}

// failureQueues implements eventsource.Destination.
type failureQueues struct{ broker *sqs.Broker }

func (f failureQueues) Send(_ context.Context, arn string, body []byte) error {
	_, err := f.broker.Send(arn, string(body))
	return err
}
