package eventsource

import (
	"context"
	"encoding/json"
	"time"
)

// Destination takes note of records that were discarded.
type Destination interface {
	// Send delivers a text to the queue with this ARN.
	Send(ctx context.Context, arn string, body []byte) error
}

// condition is why records were discarded.
type condition string

const (
	retriesExhausted condition = "RetryAttemptsExhausted"
	ageExceeded      condition = "RecordAgeExceeded"
)

// discarded is the record that Lambda sends to a destination. It points into the stream and holds no data of it.
type discarded struct {
	RequestContext  requestContext   `json:"requestContext"`
	ResponseContext *responseContext `json:"responseContext,omitempty"` // none if the function was never reached
	Version         string           `json:"version"`
	Timestamp       string           `json:"timestamp"`
	Batch           streamBatch      `json:"DDBStreamBatchInfo"`
}

type requestContext struct {
	RequestID              string    `json:"requestId"`
	FunctionARN            string    `json:"functionArn"`
	Condition              condition `json:"condition"`
	ApproximateInvokeCount int       `json:"approximateInvokeCount"`
}

type responseContext struct {
	StatusCode      int    `json:"statusCode"`
	ExecutedVersion string `json:"executedVersion"`
	FunctionError   string `json:"functionError,omitempty"`
}

type streamBatch struct {
	ShardID             string `json:"shardId"`
	StartSequenceNumber string `json:"startSequenceNumber"`
	EndSequenceNumber   string `json:"endSequenceNumber"`
	FirstArrival        string `json:"approximateArrivalOfFirstRecord"`
	LastArrival         string `json:"approximateArrivalOfLastRecord"`
	BatchSize           int    `json:"batchSize"`
	StreamARN           string `json:"streamArn"`
}

// discard gives up records of a segment and tells the destination where they are.
func (l *lane) discard(ctx context.Context, s segment, records []Record, why condition) {
	first, last := records[0], records[len(records)-1]
	about := l.Log.With("condition", why, "records", len(records), "first", first.SequenceNumber, "last", last.SequenceNumber)
	about.Error("records discarded")
	if l.OnFailure == "" {
		return
	}
	d := discarded{
		RequestContext: requestContext{
			RequestID:              l.NewID(),
			FunctionARN:            l.FunctionARN,
			Condition:              why,
			ApproximateInvokeCount: s.invoked,
		},
		Version:   "1.0",
		Timestamp: l.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		Batch: streamBatch{
			ShardID:             l.ShardID,
			StartSequenceNumber: first.SequenceNumber,
			EndSequenceNumber:   last.SequenceNumber,
			FirstArrival:        first.Created.UTC().Format(time.RFC3339),
			LastArrival:         last.Created.UTC().Format(time.RFC3339),
			BatchSize:           len(records),
			StreamARN:           l.StreamARN,
		},
	}
	if s.invoked > 0 {
		d.ResponseContext = &responseContext{StatusCode: 200, ExecutedVersion: "$LATEST", FunctionError: s.last.failure}
	}
	body, err := json.Marshal(d)
	if err == nil {
		err = l.Destination.Send(ctx, l.OnFailure, body)
	}
	if err != nil {
		about.Error("telling the destination of discarded records", "destination", l.OnFailure, "error", err)
	}
}
