package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/eventsource"
	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// eventSources makes the mappings of a function.
func (s *Stack) eventSources(f template.Function) ([]*eventsource.Mapping, error) {
	options := eventsource.Options{
		Invoker:     s.Functions,
		Destination: failureQueues{s.Broker},
		Now:         s.Clock.Now,
		Log:         slog.New(slog.NewTextHandler(s.Log, nil)),
	}
	from := func(service, operation string) eventsource.Options {
		struck := options
		struck.Strike = func(can ...fault.Kind) fault.Fault { return s.Injector.Strike(f.Name, service, operation, can...) }
		return struck
	}
	var mappings []*eventsource.Mapping
	for _, source := range f.Streams {
		stream := s.Database.Stream(template.StreamARN(source.Table))
		definition := eventsource.StreamMapping{
			Function:                   f.Name,
			FunctionARN:                template.FunctionARN(f.Name),
			StreamARN:                  stream.ARN(),
			ShardID:                    dynamodb.ShardID,
			BatchSize:                  source.BatchSize,
			ParallelizationFactor:      source.Parallelization,
			Filters:                    source.Filters,
			ReportBatchItemFailures:    source.ReportsBatchItems,
			BisectBatchOnFunctionError: source.Bisect,
			MaximumRetryAttempts:       source.MaxRetries,
			MaximumRecordAge:           source.MaxAge,
		}
		if source.FailureQueue != "" {
			definition.OnFailure = template.QueueARN(source.FailureQueue)
		}
		mapping, err := eventsource.NewStream(definition, tableStream{stream, s.partitionKey(source.Table)}, from("stream", source.Table))
		if err != nil {
			return nil, fmt.Errorf("%s: Properties.Events.%s.Properties: %w", f.Name, source.Event, err)
		}
		mappings = append(mappings, mapping)
	}
	visibility := map[string]time.Duration{}
	for _, queue := range s.Template.Queues {
		visibility[queue.Name] = queue.Visibility
	}
	for _, source := range f.QueueFeeds {
		mappings = append(mappings, eventsource.NewQueue(eventsource.QueueMapping{
			Function:                f.Name,
			BatchSize:               source.BatchSize,
			ReportBatchItemFailures: source.ReportsBatchItems,
			MaximumConcurrency:      source.MaxConcurrency,
			Patience:                s.Clock.Real(visibility[source.Queue] - f.Timeout),
			RecursiveLoop:           f.RecursiveLoop,
		}, polledQueue{s.Broker, template.QueueARN(source.Queue)}, from("queue", source.Queue)))
	}
	for _, schedule := range f.Schedules {
		if !schedule.Enabled {
			continue
		}
		mappings = append(mappings, eventsource.NewSchedule(eventsource.Schedule{
			Function: f.Name,
			Every:    schedule.Every,
			ARN:      template.RuleARN(f.Name, schedule),
			Account:  template.Account,
			Region:   template.Region,
			Retries:  f.AsyncRetries,
			MaxAge:   f.AsyncMaxAge,
			Clock:    s.Clock,
		}, from("schedule", schedule.Event)))
	}
	return mappings, nil
}

func (s *Stack) partitionKey(table string) string {
	for _, t := range s.Template.Tables {
		if t.Name == table {
			return t.PartitionKey.Name
		}
	}
	return ""
}

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
		result = append(result, eventsource.Record{
			SequenceNumber: record.SequenceNumber(),
			PartitionKey:   record.Key(t.partitionKey).String(),
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
		result = append(result, eventsource.Message{
			ID: message.ID, Handle: message.ReceiptHandle, Trace: message.Attributes["AWSTraceHeader"], JSON: body,
		})
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
