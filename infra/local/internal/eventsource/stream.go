package eventsource

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"
)

// Where a stream mapping begins.
const (
	TrimHorizon = "TRIM_HORIZON" // with the oldest record that the stream has
	Latest      = "LATEST"       // with what is written after Start
)

// readLimit is how many records are read at once, as by GetRecords.
const readLimit = 1000

// Stream is a stream of one shard as its mapping sees it.
type Stream interface {
	// Read waits until there are records after a sequence number and returns up to max of them, at least one, oldest
	// first, or ctx's error. An empty sequence number is the oldest record's predecessor.
	Read(ctx context.Context, after string, max int) ([]Record, error)
	// Latest is the sequence number of the newest record, empty if there has been none.
	Latest() string
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
	BatchSize                  int           // 1 to 10,000
	ParallelizationFactor      int           // 1 to 10
	MaximumBatchingWindow      time.Duration // 0 to 300 s
	StartingPosition           string
	Filters                    []string // patterns of which a record must match one; none means every record
	ReportBatchItemFailures    bool
	BisectBatchOnFunctionError bool
	MaximumRetryAttempts       int           // 0 to 10,000; -1 means no limit
	MaximumRecordAge           time.Duration // 60 s to 7 days; negative means no limit
	OnFailure                  string        // ARN that Destination knows; empty means that discarded records are only logged
	Enabled                    bool
}

func (m StreamMapping) validate(o Options) error {
	switch {
	case m.Function == "":
		return errors.New("no function")
	case m.BatchSize < 1 || m.BatchSize > 10_000:
		return fmt.Errorf("BatchSize %d is not between 1 and 10000", m.BatchSize)
	case m.ParallelizationFactor < 1 || m.ParallelizationFactor > 10:
		return fmt.Errorf("ParallelizationFactor %d is not between 1 and 10", m.ParallelizationFactor)
	case m.MaximumBatchingWindow < 0 || m.MaximumBatchingWindow > 300*time.Second:
		return fmt.Errorf("MaximumBatchingWindow %s is not between 0 and 300 s", m.MaximumBatchingWindow)
	case m.StartingPosition != TrimHorizon && m.StartingPosition != Latest:
		return fmt.Errorf("StartingPosition %q is neither TRIM_HORIZON nor LATEST", m.StartingPosition)
	case m.MaximumRetryAttempts < -1 || m.MaximumRetryAttempts > 10_000:
		return fmt.Errorf("MaximumRetryAttempts %d is not between -1 and 10000", m.MaximumRetryAttempts)
	case m.MaximumRecordAge >= 0 && (m.MaximumRecordAge < time.Minute || m.MaximumRecordAge > 7*24*time.Hour):
		return fmt.Errorf("MaximumRecordAge %s is neither negative nor between 60 s and 7 days", m.MaximumRecordAge)
	case m.OnFailure != "" && o.Destination == nil:
		return errors.New("OnFailure needs a destination")
	}
	return nil
}

// streamMapping is a running StreamMapping.
type streamMapping struct {
	StreamMapping
	Options
	stream Stream
	filter filter
}

// NewStream makes a mapping from a stream to a function.
func NewStream(m StreamMapping, stream Stream, o Options) (*Mapping, error) {
	s := &streamMapping{StreamMapping: m, stream: stream}
	var err error
	if s.Options, err = o.withDefaults(); err == nil {
		if err = m.validate(o); err == nil {
			s.filter, err = parseFilter(m.Filters)
		}
	}
	if err != nil {
		return nil, err
	}
	s.Log = s.Log.With("function", m.Function)
	return &Mapping{enabled: m.Enabled, run: s.run}, nil
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
	if s.StartingPosition == Latest {
		after = s.stream.Latest()
	}
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
			if s.filter.admitsRecord(r.JSON) {
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
