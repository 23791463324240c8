package dynamodb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// retention is how long a stream keeps a record.
const retention = 24 * time.Hour

// streamView is what a stream's records hold of an item: all of it, before and after the change.
const streamView = "NEW_AND_OLD_IMAGES"

// identity is who made a change, where it was not a caller.
type identity string

const (
	caller     identity = ""
	timeToLive identity = "dynamodb.amazonaws.com"
)

// Record is one change of an item. It is immutable. As JSON it is the record of a Lambda event.
type Record struct {
	number    uint64
	arn       string
	region    string
	by        identity
	name      string // INSERT, MODIFY, REMOVE
	created   time.Time
	keys      attribute.Item
	newImage  attribute.Item
	oldImage  attribute.Item
	sizeBytes int
}

// EventName is INSERT, MODIFY or REMOVE.
func (r *Record) EventName() string { return r.name }

// Key is a part of the item's key. It must not be changed.
func (r *Record) Key(name string) *attribute.Value { return r.keys[name] }

// Images are the item after the change and before it, each nil if there was none. They must not be changed.
func (r *Record) Images() (after, before attribute.Item) { return r.newImage, r.oldImage }

// Created is when the change was made. The record tells it to the second.
func (r *Record) Created() time.Time { return r.created }

// SequenceNumber is greater than those of all earlier records of the stream, as a number and,
// being always 21 digits, as a string.
func (r *Record) SequenceNumber() string { return sequenceNumber(r.number) }

func sequenceNumber(n uint64) string { return fmt.Sprintf("1%020d", n) }

// position returns the number of the last record up to a sequence number.
func position(sequence string) (uint64, error) {
	if len(sequence) != 21 || sequence[0] != '1' {
		return 0, fmt.Errorf("sequence number %q is not of this stream", sequence)
	}
	n, err := strconv.ParseUint(sequence[1:], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("sequence number %q is not of this stream", sequence)
	}
	return n, nil
}

// EventID is the same whenever the record is read, and of no other record.
func (r *Record) EventID() string {
	sum := sha256.Sum256([]byte(r.arn + "/" + r.SequenceNumber()))
	return hex.EncodeToString(sum[:16])
}

// changeJSON is the member dynamodb of a record.
type changeJSON struct {
	ApproximateCreationDateTime int64
	Keys                        attribute.Item
	NewImage                    attribute.Item `json:",omitempty"`
	OldImage                    attribute.Item `json:",omitempty"`
	SequenceNumber              string
	SizeBytes                   int
	StreamViewType              string
}

// recordJSON is what both forms of a record have in common.
type recordJSON struct {
	EventID      string     `json:"eventID"`
	EventName    string     `json:"eventName"`
	EventVersion string     `json:"eventVersion"`
	EventSource  string     `json:"eventSource"`
	AWSRegion    string     `json:"awsRegion"`
	Change       changeJSON `json:"dynamodb"`
}

func (r *Record) common() recordJSON {
	return recordJSON{
		EventID: r.EventID(), EventName: r.name, EventVersion: "1.1", EventSource: "aws:dynamodb", AWSRegion: r.region,
		Change: changeJSON{
			ApproximateCreationDateTime: r.created.Unix(), Keys: r.keys, NewImage: r.newImage, OldImage: r.oldImage,
			SequenceNumber: r.SequenceNumber(), SizeBytes: r.sizeBytes, StreamViewType: streamView,
		},
	}
}

// MarshalJSON implements json.Marshaler: the record of a Lambda event, with the stream's ARN.
func (r *Record) MarshalJSON() ([]byte, error) {
	type lambdaIdentity struct {
		Type        string `json:"type"`
		PrincipalID string `json:"principalId"`
	}
	event := struct {
		recordJSON
		UserIdentity   *lambdaIdentity `json:"userIdentity,omitempty"`
		EventSourceARN string          `json:"eventSourceARN"`
	}{recordJSON: r.common(), EventSourceARN: r.arn}
	if r.by != caller {
		event.UserIdentity = &lambdaIdentity{"Service", string(r.by)}
	}
	return json.Marshal(event)
}

// wireRecord is a record as GetRecords answers it.
type wireRecord struct {
	recordJSON
	UserIdentity *wireIdentity `json:"userIdentity,omitempty"`
}

type wireIdentity struct {
	Type        string
	PrincipalID string `json:"PrincipalId"`
}

func (r *Record) wire() wireRecord {
	w := wireRecord{recordJSON: r.common()}
	if r.by != caller {
		w.UserIdentity = &wireIdentity{"Service", string(r.by)}
	}
	return w
}

// Stream is the stream of a table: one shard that never closes. Many goroutines may use it at once.
type Stream struct {
	arn    string
	region string
	key    keySchema
	clock  func() time.Time

	mu      sync.Mutex
	last    uint64        // number of the last record ever
	records []*Record     // those not yet too old, in order
	changed chan struct{} // closed by the next record; nil while nobody waits
}

// ARN of the stream.
func (s *Stream) ARN() string { return s.arn }

// ShardID is the id of a stream's only shard, the same in every run, so that a test can name it.
const ShardID = "shardId-00000000000000000000-00000000"

// append adds the record of a change; a write that changes nothing makes none. The caller holds the
// lock of the table.
func (s *Stream) append(old, item attribute.Item, now time.Time, by identity) {
	r := &Record{arn: s.arn, region: s.region, by: by, created: now, keys: attribute.Item{}, newImage: item, oldImage: old}
	switch {
	case old == nil && item == nil, old != nil && item != nil && attribute.EqualItems(old, item):
		return
	case old == nil:
		r.name = "INSERT"
	case item == nil:
		r.name = "REMOVE"
	default:
		r.name = "MODIFY"
	}
	keyed := item
	if keyed == nil {
		keyed = old
	}
	s.key.copyKeys(r.keys, keyed)
	r.sizeBytes = r.keys.Size() + r.newImage.Size() + r.oldImage.Size()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(now)
	s.last++
	r.number = s.last
	s.records = append(s.records, r)
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// trim drops what is too old. The caller holds the lock.
func (s *Stream) trim(now time.Time) {
	n := 0
	for n < len(s.records) && now.Sub(s.records[n].created) > retention {
		s.records[n] = nil // the slice's array lives on
		n++
	}
	s.records = s.records[n:]
}

// Latest returns the sequence number of the last record, or "" if there has been none: reading after
// it returns only what comes from now on.
func (s *Stream) Latest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == 0 {
		return ""
	}
	return sequenceNumber(s.last)
}

// Skip counts the records after a sequence number, if they are more than most, and returns the sequence
// number of the last of them, for a reader that would rather see the latest than everything. Otherwise
// skipped is 0.
func (s *Stream) Skip(after string, most int) (skipped int, latest string) {
	from, err := position(after)
	if err != nil {
		return 0, after
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last <= from+uint64(most) {
		return 0, after
	}
	return int(s.last - from), sequenceNumber(s.last)
}

// Read returns up to limit records after a sequence number, oldest first; "" reads from the oldest
// record that the stream still has. It waits until there is one or the context ends, and then returns
// the context's error. Records that have become too old are passed over, as Lambda does.
func (s *Stream) Read(ctx context.Context, after string, limit int) ([]*Record, error) {
	var from uint64
	if after != "" {
		var err error
		if from, err = position(after); err != nil {
			return nil, err
		}
	}
	for {
		records, changed := s.after(from, limit, true)
		if len(records) > 0 {
			return records, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// after returns up to limit records after a number and, if wait is set and there are none, a channel
// that is closed when there are.
func (s *Stream) after(number uint64, limit int, wait bool) ([]*Record, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(s.clock())
	n := sort.Search(len(s.records), func(i int) bool { return s.records[i].number > number })
	found := s.records[n:min(n+limit, len(s.records))]
	if len(found) > 0 || !wait {
		// Copied, because trim clears the slots of records that it drops.
		return append([]*Record(nil), found...), nil
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return nil, s.changed
}

// oldest returns the number before the oldest record that the stream still has.
func (s *Stream) oldest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim(s.clock())
	return s.last - uint64(len(s.records))
}
