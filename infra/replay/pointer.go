package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// pointer is what Lambda leaves of records that it has given up: where they are, not what they hold.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
type pointer struct {
	Context struct {
		Condition string `json:"condition"`
	} `json:"requestContext"`
	Batch struct {
		ShardID   string `json:"shardId"`
		Start     string `json:"startSequenceNumber"`
		End       string `json:"endSequenceNumber"`
		FirstTime string `json:"approximateArrivalOfFirstRecord"`
		Size      int    `json:"batchSize"`
		StreamARN string `json:"streamArn"`
	} `json:"DDBStreamBatchInfo"`
}

var errPointer = errors.New("not a pointer to stream records")

func parsePointer(body string) (pointer, error) {
	var p pointer
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		return pointer{}, fmt.Errorf("%w: %v", errPointer, err)
	}
	b := p.Batch
	number := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if b.ShardID == "" || b.StreamARN == "" || !number(b.Start) || !number(b.End) || compare(b.Start, b.End) > 0 {
		return pointer{}, fmt.Errorf("%w: it has no shard, stream and range of sequence numbers", errPointer)
	}
	return p, nil
}

func (p pointer) String() string {
	b := p.Batch
	return fmt.Sprintf("%d records from %s, sequence numbers %s to %s of %s", b.Size, b.FirstTime, b.Start, b.End, b.ShardID)
}
