package eventsource

import (
	"context"
	"hash/fnv"
	"sync"
	"time"
)

// readLimit is how many records are read at once, as by GetRecords.
const readLimit = 1000

// Stream is a stream of one shard as its mapping sees it.
type Stream interface {
	// Read waits until there are records after a sequence number and returns up to limit of them, at least one, oldest
	// first, or ctx's error. An empty sequence number is the oldest record's predecessor.
	Read(ctx context.Context, after string, limit int) ([]Record, error)
}

// Record is a change of an item.
type Record struct {
	SequenceNumber string
	PartitionKey   string // records that share it stay in order
	Created        time.Time
	JSON           []byte // the record in a Lambda event
}

func (r Record) encoded() []byte { return r.JSON }

// StreamMapping defines an event source mapping on a stream. There are no defaults, but where zero means none.
type StreamMapping struct {
	Function                   string
	FunctionARN                string
	StreamARN                  string
	ShardID                    string
	BatchSize                  int      // 1 to 10,000
	ParallelizationFactor      int      // 1 to 10
	Filters                    []string // patterns of which a record must match one; none means every record
	ReportBatchItemFailures    bool
	BisectBatchOnFunctionError bool
	MaximumRetryAttempts       int           // 0 to 10,000; -1 means no limit
	MaximumRecordAge           time.Duration // 60 s to 7 days; negative means no limit
	OnFailure                  string        // ARN that Destination knows; empty means that discarded records are only logged
}

// streamMapping is a running StreamMapping.
type streamMapping struct {
	StreamMapping
	Options
	stream Stream
	filter filter
}

// NewStream makes a mapping from a stream, beginning with the oldest record that it has, to a function. A
// filter that is not supported is an error.
func NewStream(m StreamMapping, stream Stream, o Options) (*Mapping, error) {
	patterns, err := parseFilter(m.Filters)
	if err != nil {
		return nil, err
	}
	s := &streamMapping{StreamMapping: m, Options: o.withDefaults(), stream: stream, filter: patterns}
	s.Log = s.Log.With("function", m.Function)
	return &Mapping{run: s.run}, nil
}

// run reads the stream and hands its records to the lanes.
func (s *streamMapping) run(poll, work context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	lanes := make([]*lane, s.ParallelizationFactor)
	for i := range lanes {
		lanes[i] = &lane{streamMapping: s, wake: make(chan struct{}, 1)}
		running.Go(func() { lanes[i].run(poll, work) })
	}
	after := ""
	for {
		records, err := s.stream.Read(poll, after, readLimit)
		if err != nil {
			if poll.Err() != nil {
				return
			}
			s.Log.Error("reading the stream", "error", err)
			sleep(poll, pause)
			continue
		}
		// All of a lane's records at once, so that its next batch is as large as it can be.
		shares := make([][]Record, len(lanes))
		for _, r := range records {
			after = r.SequenceNumber
			if s.filter.admits(r.JSON) {
				i := laneOf(r.PartitionKey, len(lanes))
				shares[i] = append(shares[i], r)
			}
		}
		for i, share := range shares {
			lanes[i].put(share)
		}
	}
}

// laneOf spreads partition keys evenly, always in the same way.
func laneOf(partitionKey string, lanes int) int {
	h := fnv.New32a()
	h.Write([]byte(partitionKey))
	return int(h.Sum32() % uint32(lanes))
}
