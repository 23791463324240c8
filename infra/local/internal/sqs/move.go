package sqs

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

const (
	// defaultMoveRate is how many messages a second a task moves that names no rate: the highest rate
	// that can be named.
	defaultMoveRate = 500

	// keptTasks is how many tasks of a queue can be listed.
	keptTasks = 10

	// moveInterval is how often a task works, at most.
	moveInterval = 10 * time.Millisecond
)

// The states of a move task.
const (
	taskRunning   = "RUNNING"
	taskCompleted = "COMPLETED"
	taskCancelled = "CANCELLED"
	taskFailed    = "FAILED"
)

// moveTask moves what was visible in a dead-letter queue when it started. The Broker's lock guards it.
type moveTask struct {
	handle  string
	source  *queue
	dest    *queue // nil: the queue that each message came from
	rate    *int
	started time.Time
	status  string
	reason  string
	pending []string // message ids
	total   int
	moved   int
}

type startMoveRequest struct {
	SourceArn                    string
	DestinationArn               string
	MaxNumberOfMessagesPerSecond *int
}

func (s *service) startMoveTask(in startMoveRequest, allow awsjson.Allow) (any, error) {
	if in.SourceArn == "" {
		return nil, missing("SourceArn")
	}
	if err := between("MaxNumberOfMessagesPerSecond", in.MaxNumberOfMessagesPerSecond, 1, defaultMoveRate); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	source := s.byARN[in.SourceArn]
	if source == nil {
		return nil, noResource("SourceArn")
	}
	for _, action := range []string{"sqs:StartMessageMoveTask", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"} {
		if err := allow(action, source.arn); err != nil {
			return nil, err
		}
	}
	destinations := s.sources(source)
	if len(destinations) == 0 {
		return nil, invalidParameter("Source queue must be configured as a Dead Letter Queue.")
	}
	var dest *queue
	if in.DestinationArn != "" {
		if dest = s.byARN[in.DestinationArn]; dest == nil {
			return nil, noResource("DestinationArn")
		}
		if dest == source {
			return nil, invalidParameter("Source queue arn and destination queue arn cannot be the same.")
		}
		destinations = []*queue{dest}
	}
	for _, q := range destinations {
		if err := allow("sqs:SendMessage", q.arn); err != nil {
			return nil, err
		}
	}
	if len(source.tasks) > 0 && source.tasks[0].status == taskRunning {
		return nil, unsupported("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
	}
	t := newMoveTask(source, dest, in.MaxNumberOfMessagesPerSecond, s.opts.Clock.Now())
	source.tasks = append([]*moveTask{t}, source.tasks[:min(len(source.tasks), keptTasks-1)]...)
	s.work(t, 0)
	return taskHandle{t.handle}, nil
}

type taskHandle struct{ TaskHandle string }

func newMoveTask(source, dest *queue, rate *int, now time.Time) *moveTask {
	id, _ := json.Marshal(map[string]string{"taskId": uuid.NewString(), "sourceArn": source.arn}) // cannot fail: strings
	t := &moveTask{
		handle:  base64.StdEncoding.EncodeToString(id),
		source:  source,
		dest:    dest,
		rate:    rate,
		started: now,
		status:  taskRunning,
	}
	source.advance(now)
	var visible []*message
	for _, g := range source.line.groups {
		for m := g.first; m != nil; m = m.after {
			visible = append(visible, m)
		}
	}
	slices.SortFunc(visible, func(x, y *message) int { return cmp.Compare(x.turn, y.turn) })
	for _, m := range visible {
		t.pending = append(t.pending, m.id)
	}
	t.total = len(t.pending)
	return t
}

// work moves as many messages as the time since the task's start allows, after a while, and again
// until the task is over.
func (b *Broker) work(t *moveTask, after time.Duration) {
	time.AfterFunc(after, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		now := b.opts.Clock.Now()
		rate := float64(defaultMoveRate)
		if t.rate != nil {
			rate = float64(*t.rate)
		}
		allowed := 1 + int(now.Sub(t.started).Seconds()*rate)
		for t.status == taskRunning && len(t.pending) > 0 && t.moved < allowed {
			id := t.pending[0]
			t.pending = t.pending[1:]
			b.redrive(t, id, now)
		}
		if t.status == taskRunning && len(t.pending) == 0 {
			t.status = taskCompleted
		}
		if t.status == taskRunning {
			b.work(t, max(moveInterval, b.opts.Clock.Real(time.Duration(float64(time.Second)/rate))))
		}
	})
}

// redrive makes a new message of one in the task's queue, if it is still there and visible. One that
// SQS did not move there has no queue to go back to: it stays, and the task fails.
func (b *Broker) redrive(t *moveTask, id string, now time.Time) {
	t.source.advance(now)
	m := t.source.messages[id]
	if m == nil || m.state != stateVisible {
		return
	}
	dest := t.dest
	if dest == nil {
		if dest = b.byARN[m.origin]; dest == nil {
			t.status, t.reason = taskFailed, "CouldNotDetermineMessageSource"
			return
		}
	}
	t.source.drop(m)
	t.moved++
	dest.advance(now)
	fresh := &message{content: m.content, id: uuid.NewString(), sent: now}
	dest.add(fresh, now, duration(dest.delay))
	b.observeMove(now, dest, fresh, t.source.arn, m.id)
	dest.signal()
}

type listMoveRequest struct {
	SourceArn  string
	MaxResults *int
}

type moveResult struct {
	ApproximateNumberOfMessagesMoved  int
	ApproximateNumberOfMessagesToMove int
	DestinationArn                    string `json:",omitempty"`
	FailureReason                     string `json:",omitempty"`
	MaxNumberOfMessagesPerSecond      *int   `json:",omitempty"`
	SourceArn                         string
	StartedTimestamp                  int64 // Unix milliseconds
	Status                            string
	TaskHandle                        string `json:",omitempty"` // while it is running
}

func (s *service) listMoveTasks(in listMoveRequest, allow awsjson.Allow) (any, error) {
	if in.SourceArn == "" {
		return nil, missing("SourceArn")
	}
	if err := between("MaxResults", in.MaxResults, 1, 10); err != nil {
		return nil, err
	}
	limit := 1
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	source := s.byARN[in.SourceArn]
	if source == nil {
		return nil, noResource("SourceArn")
	}
	if err := allow("sqs:ListMessageMoveTasks", source.arn); err != nil {
		return nil, err
	}
	results := []moveResult{}
	for _, t := range source.tasks[:min(limit, len(source.tasks))] {
		result := moveResult{
			ApproximateNumberOfMessagesMoved:  t.moved,
			ApproximateNumberOfMessagesToMove: t.total,
			FailureReason:                     t.reason,
			MaxNumberOfMessagesPerSecond:      t.rate,
			SourceArn:                         source.arn,
			StartedTimestamp:                  t.started.UnixMilli(),
			Status:                            t.status,
		}
		if t.dest != nil {
			result.DestinationArn = t.dest.arn
		}
		if t.status == taskRunning {
			result.TaskHandle = t.handle
		}
		results = append(results, result)
	}
	return struct{ Results []moveResult }{results}, nil
}

func (s *service) cancelMoveTask(in taskHandle, allow awsjson.Allow) (any, error) {
	if in.TaskHandle == "" {
		return nil, missing("TaskHandle")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var t *moveTask
	for _, q := range s.byName {
		for _, of := range q.tasks {
			if of.handle == in.TaskHandle {
				t = of
			}
		}
	}
	if t == nil {
		return nil, noResource("TaskHandle")
	}
	if err := allow("sqs:CancelMessageMoveTask", t.source.arn); err != nil {
		return nil, err
	}
	if t.status != taskRunning {
		return nil, unsupported("Only a running task can be cancelled; this one is %s.", t.status)
	}
	t.status = taskCancelled
	return struct{ ApproximateNumberOfMessagesMoved int }{t.moved}, nil
}
