package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

type streamOption = func(*dynamodbstreams.Options)

// Stream reads shards of a DynamoDB stream.
type Stream interface {
	GetShardIterator(
		context.Context, *dynamodbstreams.GetShardIteratorInput, ...streamOption,
	) (*dynamodbstreams.GetShardIteratorOutput, error)
	GetRecords(context.Context, *dynamodbstreams.GetRecordsInput, ...streamOption) (*dynamodbstreams.GetRecordsOutput, error)
}

const (
	// maxEmpty is how many answers in a row may hold no record before a range counts as unreadable.
	// A shard may have long stretches of nothing, but what a pointer names was there.
	maxEmpty = 50
	// emptyPause keeps to the five reads per second and shard that DynamoDB allows.
	emptyPause = 200 * time.Millisecond
)

var errIncomplete = errors.New("the stream did not return all of the records; run replay again")

// reader reads again what pointers name.
type reader struct {
	stream Stream
	sleep  func(ctx context.Context, d time.Duration) error
}

// trimmed reports whether err says that the stream no longer holds what was asked for.
func trimmed(err error) bool {
	var old *types.TrimmedDataAccessException
	var gone *types.ResourceNotFoundException
	return errors.As(err, &old) || errors.As(err, &gone)
}

// read returns the records of a pointer as Lambda would hand them over, and whether some or all of
// them are no longer in the stream.
func (r *reader) read(ctx context.Context, p pointer) (records []json.RawMessage, expired bool, err error) {
	records, err = r.from(ctx, p, types.ShardIteratorTypeAtSequenceNumber)
	if !trimmed(err) {
		return records, false, err
	}
	// The first of them are gone, but perhaps not all.
	records, err = r.from(ctx, p, types.ShardIteratorTypeTrimHorizon)
	if trimmed(err) || errors.Is(err, errIncomplete) {
		err = nil
	}
	return records, true, err
}

// from reads the range of a pointer, beginning as kind says.
func (r *reader) from(ctx context.Context, p pointer, kind types.ShardIteratorType) ([]json.RawMessage, error) {
	in := &dynamodbstreams.GetShardIteratorInput{StreamArn: &p.Batch.StreamARN, ShardId: &p.Batch.ShardID, ShardIteratorType: kind}
	if kind == types.ShardIteratorTypeAtSequenceNumber {
		in.SequenceNumber = &p.Batch.Start
	}
	out, err := r.stream.GetShardIterator(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("finding the records in the stream: %w", err)
	}
	var records []json.RawMessage
	empty := 0
	for next := out.ShardIterator; next != nil; {
		page, err := r.stream.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return records, fmt.Errorf("reading the records: %w", err)
		}
		for _, one := range page.Records {
			number := ""
			if one.Dynamodb != nil {
				number = aws.ToString(one.Dynamodb.SequenceNumber)
			}
			if compare(number, p.Batch.Start) >= 0 && compare(number, p.Batch.End) <= 0 {
				converted, err := convert(one, p.Batch.StreamARN)
				if err != nil {
					return records, err
				}
				records = append(records, converted)
			}
			if compare(number, p.Batch.End) >= 0 {
				return records, nil
			}
		}
		if empty++; len(page.Records) > 0 {
			empty = 0
		}
		if empty > maxEmpty {
			return records, errIncomplete
		}
		if next = page.NextShardIterator; next != nil && empty > 0 {
			if err := r.sleep(ctx, emptyPause); err != nil {
				return records, err
			}
		}
	}
	return records, errIncomplete // the shard ended before the range did
}
