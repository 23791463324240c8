package dynamodb

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

const (
	maxRecords   = 1000
	iteratorLife = 15 * time.Minute
)

// Streams is the API of DynamoDB Streams, for target prefix DynamoDBStreams_20120810, as far as it takes to
// read again what a known shard holds.
func (db *Database) Streams() awsjson.Service { return streamService{db} }

type streamService struct{ db *Database }

// Serve implements awsjson.Service.
func (s streamService) Serve(_ context.Context, operation string, body []byte, allow awsjson.Allow) (any, error) {
	switch operation {
	case "GetShardIterator":
		return serve(body, allow, s.db.getShardIterator)
	case "GetRecords":
		return serve(body, allow, s.db.getRecords)
	}
	return nil, awsjson.Errorf("UnknownOperationException",
		"%s is not supported by the local stack: it answers GetShardIterator and GetRecords", operation)
}

// streamFor finds a stream for a caller who may do the action on it.
func (db *Database) streamFor(arn, action string, allow awsjson.Allow) (*Stream, error) {
	if arn == "" {
		return nil, validation("1 validation error detected: Value null at 'streamArn' failed to satisfy constraint: " +
			"Member must not be null")
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
	if in.ShardID != ShardID {
		return nil, awsjson.Errorf("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
	}
	i := iterator{StreamARN: s.arn, Issued: db.clock().UnixMilli()}
	switch in.ShardIteratorType {
	case "TRIM_HORIZON":
		i.After = s.oldest()
	case "AT_SEQUENCE_NUMBER":
		if i.After, err = s.before(in.SequenceNumber); err != nil {
			return nil, err
		}
	default:
		return nil, validation("the ShardIteratorType %q is not supported by the local stack: "+
			"it has AT_SEQUENCE_NUMBER and TRIM_HORIZON", in.ShardIteratorType)
	}
	return &getShardIteratorOutput{i.String()}, nil
}

// before returns the number of the record before the one with a sequence number.
func (s *Stream) before(sequence string) (uint64, error) {
	n, err := position(sequence)
	if err != nil || n == 0 {
		return 0, validation("Invalid SequenceNumber: %s", sequence)
	}
	if n--; n < s.oldest() {
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
		return nil, validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: "+
			"Member must have value between 1 and 1000", limit)
	}
	now := db.clock()
	if now.Sub(time.UnixMilli(i.Issued)) > iteratorLife {
		return nil, awsjson.Errorf("ExpiredIteratorException", "Iterator expired: The iterator was created at time %s "+
			"while right now it is %s which is further in the future than the tolerated delay of %s",
			time.UnixMilli(i.Issued).UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), iteratorLife)
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
