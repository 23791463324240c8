package dynamodb

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

const (
	maxRecords   = 1000
	iteratorLife = 15 * time.Minute
)

// Streams is the API of DynamoDB Streams, for target prefix DynamoDBStreams_20120810.
func (db *Database) Streams() awsjson.Service { return streamService{db} }

type streamService struct{ db *Database }

// Serve implements awsjson.Service.
func (s streamService) Serve(_ context.Context, operation string, body []byte, allow awsjson.Allow) (any, error) {
	switch operation {
	case "ListStreams":
		return serve(body, allow, s.db.listStreams)
	case "DescribeStream":
		return serve(body, allow, s.db.describeStream)
	case "GetShardIterator":
		return serve(body, allow, s.db.getShardIterator)
	case "GetRecords":
		return serve(body, allow, s.db.getRecords)
	}
	return nil, awsjson.Errorf("UnknownOperationException", "the local stack does not emulate DynamoDB Streams' operation %s", operation)
}

// streamFor finds a stream for a caller who may do the action on it.
func (db *Database) streamFor(arn, action string, allow awsjson.Allow) (*Stream, error) {
	if arn == "" {
		return nil, validation("1 validation error detected: Value null at 'streamArn' failed to satisfy constraint: Member must not be null")
	}
	if err := allow("dynamodb:"+action, arn); err != nil {
		return nil, err
	}
	s := db.Stream(arn)
	if s == nil {
		return nil, awsjson.Errorf("ResourceNotFoundException", "Requested resource not found: Stream: %s not found", arn)
	}
	return s, nil
}

type listStreamsInput struct {
	TableName               string
	Limit                   int
	ExclusiveStartStreamArn string
}

type listStreamsOutput struct {
	Streams                []listedStream
	LastEvaluatedStreamArn string `json:",omitempty"`
}

type listedStream struct{ StreamArn, StreamLabel, TableName string }

func (db *Database) listStreams(in *listStreamsInput, allow awsjson.Allow) (*listStreamsOutput, error) {
	if err := allow("dynamodb:ListStreams", "*"); err != nil {
		return nil, err
	}
	limit := in.Limit
	if limit < 1 || limit > 100 {
		limit = 100
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	out := &listStreamsOutput{Streams: []listedStream{}}
	for _, arn := range sortedKeys(db.streams) {
		s := db.streams[arn]
		if in.TableName != "" && in.TableName != s.table || arn <= in.ExclusiveStartStreamArn {
			continue
		}
		if len(out.Streams) == limit {
			out.LastEvaluatedStreamArn = out.Streams[limit-1].StreamArn
			break
		}
		out.Streams = append(out.Streams, listedStream{arn, streamLabel(arn), s.table})
	}
	return out, nil
}

type describeStreamInput struct {
	StreamArn             string
	ExclusiveStartShardId string
}

type describeStreamOutput struct{ StreamDescription streamDescription }

type streamDescription struct {
	StreamArn               string
	StreamLabel             string
	StreamStatus            string
	StreamViewType          string
	CreationRequestDateTime float64
	TableName               string
	KeySchema               []keyElement
	Shards                  []shardDescription
}

type shardDescription struct {
	ShardID             string `json:"ShardId"`
	SequenceNumberRange struct{ StartingSequenceNumber string }
}

func (db *Database) describeStream(in *describeStreamInput, allow awsjson.Allow) (*describeStreamOutput, error) {
	s, err := db.streamFor(in.StreamArn, "DescribeStream", allow)
	if err != nil {
		return nil, err
	}
	d := streamDescription{
		StreamArn: s.arn, StreamLabel: streamLabel(s.arn), StreamStatus: "ENABLED", StreamViewType: s.view,
		CreationRequestDateTime: epoch(s.created), TableName: s.table, KeySchema: s.key.describe(), Shards: []shardDescription{},
	}
	if in.ExclusiveStartShardId < s.ShardID() {
		shard := shardDescription{ShardID: s.ShardID()}
		shard.SequenceNumberRange.StartingSequenceNumber = sequenceNumber(1)
		d.Shards = append(d.Shards, shard)
	}
	return &describeStreamOutput{d}, nil
}

// iterator is what a shard iterator says; on the wire it is opaque.
type iterator struct {
	StreamARN string
	After     uint64 // number of the last record that it is past
	Issued    int64  // Unix milliseconds
}

func (i iterator) String() string {
	text, err := json.Marshal(i)
	if err != nil {
		panic(err) // a string and two numbers
	}
	return i.StreamARN + "|1|" + base64.StdEncoding.EncodeToString(text)
}

func parseIterator(text string) (iterator, error) {
	invalid := validation("Invalid ShardIterator")
	var i iterator
	at := len(text)
	for at > 0 && text[at-1] != '|' {
		at--
	}
	decoded, err := base64.StdEncoding.DecodeString(text[at:])
	if err != nil || json.Unmarshal(decoded, &i) != nil || i.String() != text {
		return i, invalid
	}
	return i, nil
}

type getShardIteratorInput struct {
	StreamArn         string
	ShardID           string `json:"ShardId"`
	ShardIteratorType string
	SequenceNumber    string
}

type getShardIteratorOutput struct{ ShardIterator string }

func (db *Database) getShardIterator(in *getShardIteratorInput, allow awsjson.Allow) (*getShardIteratorOutput, error) {
	s, err := db.streamFor(in.StreamArn, "GetShardIterator", allow)
	if err != nil {
		return nil, err
	}
	if in.ShardID != s.ShardID() {
		return nil, awsjson.Errorf("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
	}
	types := []string{"AFTER_SEQUENCE_NUMBER", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"}
	if in.ShardIteratorType == "" || !slices.Contains(types, in.ShardIteratorType) {
		return nil, validation("1 validation error detected: Value '%s' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_SEQUENCE_NUMBER, TRIM_HORIZON]", in.ShardIteratorType)
	}
	i := iterator{StreamARN: s.arn, Issued: db.clock().UnixMilli()}
	switch in.ShardIteratorType {
	case "TRIM_HORIZON":
		i.After = s.oldest()
	case "LATEST":
		i.After = s.newest()
	default:
		if i.After, err = s.startAt(in.ShardIteratorType, in.SequenceNumber); err != nil {
			return nil, err
		}
	}
	return &getShardIteratorOutput{i.String()}, nil
}

// startAt returns the number of the record before the one that such an iterator starts with.
func (s *Stream) startAt(kind, sequence string) (uint64, error) {
	if sequence == "" {
		return 0, validation("SequenceNumber is required for ShardIteratorType %s", kind)
	}
	n, err := position(sequence)
	if err != nil || n == 0 {
		return 0, validation("Invalid SequenceNumber: %s", sequence)
	}
	if kind == "AT_SEQUENCE_NUMBER" {
		n--
	}
	if n < s.oldest() {
		return 0, trimmed()
	}
	return n, nil
}

func trimmed() error {
	return awsjson.Errorf("TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard")
}

type getRecordsInput struct {
	ShardIterator string
	Limit         *int
}

type getRecordsOutput struct {
	Records           []wireRecord
	NextShardIterator string
}

func (db *Database) getRecords(in *getRecordsInput, allow awsjson.Allow) (*getRecordsOutput, error) {
	i, err := parseIterator(in.ShardIterator)
	if err != nil {
		return nil, err
	}
	s, err := db.streamFor(i.StreamARN, "GetRecords", allow)
	if err != nil {
		return nil, err
	}
	limit := maxRecords
	if in.Limit != nil {
		limit = *in.Limit
	}
	if limit < 1 || limit > maxRecords {
		return nil, validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and 1000", limit)
	}
	now := db.clock()
	if now.Sub(time.UnixMilli(i.Issued)) > iteratorLife {
		return nil, awsjson.Errorf("ExpiredIteratorException", "Iterator expired: The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %s", time.UnixMilli(i.Issued).UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), iteratorLife)
	}
	if i.After < s.oldest() {
		return nil, trimmed()
	}
	records, _ := s.after(i.After, limit, false)
	out := &getRecordsOutput{Records: []wireRecord{}}
	size := 0
	for _, r := range records {
		if size += r.sizeBytes; size > maxPage && len(out.Records) > 0 {
			break
		}
		out.Records = append(out.Records, r.wire())
		i.After = r.number
	}
	i.Issued = now.UnixMilli()
	out.NextShardIterator = i.String()
	return out, nil
}
