package main

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePointer(t *testing.T) {
	batch := func(fields string) string { return `{"DDBStreamBatchInfo":{` + fields + `}}` }
	const valid = `"shardId":"s","startSequenceNumber":"1","endSequenceNumber":"2","streamArn":"a"`
	if p, err := parsePointer(batch(valid)); err != nil {
		t.Fatalf("got %v, %v", p, err)
	}
	for name, body := range map[string]string{
		"no JSON":                    `hello`,
		"another object":             `{}`,
		"no shard":                   batch(`"startSequenceNumber":"1","endSequenceNumber":"2","streamArn":"a"`),
		"no stream":                  batch(`"shardId":"s","startSequenceNumber":"1","endSequenceNumber":"2"`),
		"no beginning":               batch(`"shardId":"s","endSequenceNumber":"2","streamArn":"a"`),
		"an end that is no number":   batch(`"shardId":"s","startSequenceNumber":"1","endSequenceNumber":"x","streamArn":"a"`),
		"an end before the start":    batch(`"shardId":"s","startSequenceNumber":"10","endSequenceNumber":"9","streamArn":"a"`),
		"numbers that are no string": batch(`"shardId":"s","startSequenceNumber":1,"endSequenceNumber":2,"streamArn":"a"`),
		"a pointer into Kinesis":     strings.Replace(batch(valid), "DDBStream", "Kinesis", 1),
	} {
		t.Run(name+" is no pointer", func(t *testing.T) {
			if p, err := parsePointer(body); !errors.Is(err, errPointer) {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
}

func FuzzParsePointer(f *testing.F) {
	f.Add(*pointerTo("a", 3, 5).Body)
	f.Add(`{"DDBStreamBatchInfo":{"shardId":"s","startSequenceNumber":"000","endSequenceNumber":"0","streamArn":"a"}}`)
	f.Fuzz(func(t *testing.T, body string) {
		p, err := parsePointer(body)
		if err != nil {
			if p != (pointer{}) || !errors.Is(err, errPointer) {
				t.Errorf("refused with %v, and still %v", err, p)
			}
			return
		}
		if compare(p.Batch.Start, p.Batch.End) > 0 || p.Batch.ShardID == "" || p.Batch.StreamARN == "" {
			t.Errorf("%v names nothing", p)
		}
	})
}
