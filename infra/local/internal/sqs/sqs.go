// Package sqs is Amazon SQS in process: the standard queues that a template declares.
//
// A Broker holds every queue under one lock; a queue keeps its visible messages in one line per
// message group, and what is invisible, delayed or will expire in heaps by time, so that no
// operation looks at more than a few messages however many are queued. Clients speak to Service over
// the AWS JSON protocol; an event source mapping uses Receive, Settle and Send in process, where a
// message stays held by its consumer until it is settled, however fast the clock runs. Receivers
// wait on channels that are signalled when something becomes visible: nothing polls.
//
// # Time
//
// Visibility timeouts, delays, retention, timestamps, the 60 seconds between purges and the rate of
// move tasks go by Options.Clock, which may be faster than the machine's. The wait of a long poll is
// a client's real time. Where an invocation holds a message for longer than the queue's visibility
// timeout, as it can only with a fast clock, a message about the same (Options.About) is not received
// before that invocation ends: on AWS it would have ended long before.
//
// # Fairness
//
// SQS calls a message group noisy that has at least 30 messages in flight and more than a tenth of
// all that are in flight, or that has had more than a tenth of the recent processing time; its
// messages wait while any other group has some, and among noisy groups the one with fewest in flight
// goes first. So does this package, with two approximations: groups of 30 and more that are not noisy
// are ranked by messages in flight, not by age, and "recent" is about the last minute, on the machine's
// clock, as processing is. Messages without a group are a tenant each, so never noisy. Apart from that
// a queue is served in the order in which messages became visible.
//
// # Dead letters
//
// A message that has been received maxReceiveCount times moves when it would be received once more.
// It keeps its id, its sent timestamp (from which retention counts) and its receive count, and knows
// the queue it came from. A move task makes a new message of it: new id, new sent timestamp, receive
// count zero.
package sqs

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/clock"
)

// Errors of the in-process API.
var (
	ErrDefinition = errors.New("invalid queue definition")
	ErrNoQueue    = errors.New("no such queue")
)

// InFlightLimit is how many messages of a standard queue may be received and not yet deleted. Delayed ones do not count.
const InFlightLimit = 120_000

// Options configure a Broker.
type Options struct {
	Region        string                   // default us-east-1; part of the ARN of queues defined without one
	Account       string                   // default 000000000000
	BaseURL       string                   // a queue's URL is BaseURL/Account/Name
	InFlightLimit int                      // of every queue; default InFlightLimit
	Clock         *clock.Clock             // default the machine's; it must advance with the timers of package time
	Observe       func(Event)              // optional; called in order while the broker is locked: be quick, and do not call back
	Full          func(queue string)       // optional, as Observe: a receive has found the limit reached
	About         func(body string) string // optional: what a message is about, "" for nothing that another could be about
}

// EventKind says what happened to a message.
type EventKind string

// The kinds of events.
const (
	EventSent     EventKind = "sent"
	EventReceived EventKind = "received"
	EventReturned EventKind = "returned" // by its consumer: visible again at VisibleAt
	EventDeleted  EventKind = "deleted"
	EventMoved    EventKind = "moved" // to a dead-letter queue, or by a move task
	EventExpired  EventKind = "expired"
)

// Event is one step of a message's life, for observers.
type Event struct {
	Kind         EventKind
	Time         time.Time
	QueueARN     string // where the message is, or was when it left; after a move the destination
	FromARN      string // only EventMoved: where it came from
	MessageID    string
	FormerID     string // only EventMoved by a move task: the id that the message had before
	AccessKey    string // of who sent it; "" for the broker's own
	Body         string
	ReceiveCount int
	VisibleAt    time.Time // of a sent, received or returned message: when it becomes visible, unless that is changed
}

// Definition declares a queue, as AWS::SQS::Queue does. Times are in seconds; a nil field has SQS's default.
type Definition struct {
	Name                          string
	ARN                           string // default: made of Region, Account and Name
	VisibilityTimeout             *int   // 0 to 43200, default 30
	MessageRetentionPeriod        *int   // 60 to 1209600, default 345600 (4 days)
	DelaySeconds                  *int   // 0 to 900, default 0
	ReceiveMessageWaitTimeSeconds *int   // 0 to 20, default 0
	MaximumMessageSize            *int   // bytes, 1024 to 1048576, default 1048576
	Redrive                       *Redrive
}

// Redrive is a queue's redrive policy.
type Redrive struct {
	DeadLetterTargetARN string
	MaxReceiveCount     int // 1 to 1000
}

// Broker holds queues. Its methods may be called concurrently.
type Broker struct {
	opts Options

	mu     sync.Mutex
	byName map[string]*queue
	byARN  map[string]*queue
	held   map[string][]*message // by what they are about
	serial uint64                // source of the numbers that order visible messages and distinguish receives
}

// New makes a Broker without queues.
func New(opts Options) *Broker {
	if opts.Region == "" {
		opts.Region = "us-east-1"
	}
	if opts.Account == "" {
		opts.Account = "000000000000"
	}
	if opts.InFlightLimit == 0 {
		opts.InFlightLimit = InFlightLimit
	}
	if opts.Clock == nil {
		opts.Clock = clock.New(1, nil)
	}
	if opts.Full == nil {
		opts.Full = func(string) {}
	}
	if opts.About == nil {
		opts.About = func(string) string { return "" }
	}
	opts.BaseURL = strings.TrimRight(opts.BaseURL, "/")
	return &Broker{opts: opts, byName: map[string]*queue{}, byARN: map[string]*queue{}, held: map[string][]*message{}}
}

// Service answers the AWS JSON protocol (target prefix AmazonSQS) from this Broker.
func (b *Broker) Service() awsjson.Service { return &service{b} }

// CreateQueue adds queues, all or none. A dead-letter queue must exist already or be among them. An
// error wraps ErrDefinition.
func (b *Broker) CreateQueue(definitions ...Definition) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.opts.Clock.Now()
	names, arns := map[string]*queue{}, map[string]*queue{}
	for _, d := range definitions {
		if d.ARN == "" {
			d.ARN = fmt.Sprintf("arn:aws:sqs:%s:%s:%s", b.opts.Region, b.opts.Account, d.Name)
		}
		q, err := newQueue(b, d, now)
		if err != nil {
			return err
		}
		if names[d.Name] != nil || b.byName[d.Name] != nil || arns[d.ARN] != nil || b.byARN[d.ARN] != nil {
			return fmt.Errorf("%w: queue %s is declared twice", ErrDefinition, d.Name)
		}
		names[d.Name], arns[d.ARN] = q, q
	}
	for _, q := range names {
		if q.redrive == nil {
			continue
		}
		target := q.redrive.DeadLetterTargetARN
		if arns[target] == nil && b.byARN[target] == nil {
			return fmt.Errorf("%w: dead-letter queue %s of %s does not exist", ErrDefinition, target, q.name)
		}
	}
	for name, q := range names {
		b.byName[name], b.byARN[q.arn] = q, q
	}
	return nil
}

var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// newQueue checks a definition and fills in SQS's defaults.
func newQueue(b *Broker, d Definition, now time.Time) (*queue, error) {
	if !queueName.MatchString(d.Name) {
		return nil, fmt.Errorf("%w: the name %q is not 1 to 80 letters, digits, hyphens and underscores", ErrDefinition, d.Name)
	}
	var errs []error
	pick := func(property string, value *int, fallback, low, high int) int {
		if value == nil {
			return fallback
		}
		if *value < low || *value > high {
			errs = append(errs, fmt.Errorf("%w: %s of %s is %d, not %d to %d", ErrDefinition, property, d.Name, *value, low, high))
		}
		return *value
	}
	q := &queue{
		broker:     b,
		name:       d.Name,
		arn:        d.ARN,
		created:    now,
		visibility: pick("VisibilityTimeout", d.VisibilityTimeout, 30, 0, 43200),
		retention:  pick("MessageRetentionPeriod", d.MessageRetentionPeriod, 345600, 60, 1209600),
		delay:      pick("DelaySeconds", d.DelaySeconds, 0, 0, 900),
		wait:       pick("ReceiveMessageWaitTimeSeconds", d.ReceiveMessageWaitTimeSeconds, 0, 0, 20),
		maxSize:    pick("MaximumMessageSize", d.MaximumMessageSize, maxMessageSize, 1024, maxMessageSize),
		limit:      b.opts.InFlightLimit,
		messages:   map[string]*message{},
		line:       newLine(b.opts.Clock),
		hidden: newRanking(
			func(x, y *message) bool { return x.visibleAt.Before(y.visibleAt) }, func(m *message, i int) { m.hiddenIndex = i },
		),
		expiring: newRanking(
			func(x, y *message) bool { return x.expires.Before(y.expires) }, func(m *message, i int) { m.expiringIndex = i },
		),
	}
	if d.Redrive != nil {
		pick("maxReceiveCount", &d.Redrive.MaxReceiveCount, 0, 1, 1000)
		if d.Redrive.DeadLetterTargetARN == d.ARN {
			errs = append(errs, fmt.Errorf("%w: %s is its own dead-letter queue", ErrDefinition, d.Name))
		}
		q.redrive = new(*d.Redrive)
	}
	return q, errors.Join(errs...)
}

// duration is a number of seconds, as attributes and requests have it.
func duration(seconds int) time.Duration { return time.Duration(seconds) * time.Second }

// url is the queue's address for clients.
func (b *Broker) url(q *queue) string {
	return b.opts.BaseURL + "/" + b.opts.Account + "/" + q.name
}

// next numbers things in the order they happen.
func (b *Broker) next() uint64 {
	b.serial++
	return b.serial
}

// observe tells of a step of m in, or out of, q.
func (b *Broker) observe(kind EventKind, now time.Time, q *queue, m *message) {
	b.tell(Event{
		Kind: kind, Time: now, QueueARN: q.arn, MessageID: m.id, AccessKey: m.access, Body: m.body, ReceiveCount: m.receives,
		VisibleAt: m.visibleAt,
	})
}

// observeMove tells that m has come to q from another queue, where its id was formerID.
func (b *Broker) observeMove(now time.Time, q *queue, m *message, from, formerID string) {
	b.tell(Event{
		Kind:         EventMoved,
		Time:         now,
		QueueARN:     q.arn,
		FromARN:      from,
		MessageID:    m.id,
		FormerID:     formerID,
		Body:         m.body,
		ReceiveCount: m.receives,
	})
}

func (b *Broker) tell(e Event) {
	if b.opts.Observe != nil {
		b.opts.Observe(e)
	}
}

// queues lists the queues by name, of those that keep admits.
func (b *Broker) queues(keep func(*queue) bool) []*queue {
	var found []*queue
	for _, q := range b.byName {
		if keep(q) {
			found = append(found, q)
		}
	}
	slices.SortFunc(found, func(x, y *queue) int { return strings.Compare(x.name, y.name) })
	return found
}

// sources lists the queues whose dead letters go to dlq.
func (b *Broker) sources(dlq *queue) []*queue {
	return b.queues(func(q *queue) bool { return q.redrive != nil && q.redrive.DeadLetterTargetARN == dlq.arn })
}

// attributes are what GetQueueAttributes can tell about q.
func (q *queue) attributes() map[string]string {
	all := map[string]string{
		"ApproximateNumberOfMessages":           strconv.Itoa(q.line.size),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(q.inFlight),
		"ApproximateNumberOfMessagesDelayed":    strconv.Itoa(q.delayed),
		"CreatedTimestamp":                      strconv.FormatInt(q.created.Unix(), 10),
		"LastModifiedTimestamp":                 strconv.FormatInt(q.created.Unix(), 10),
		"DelaySeconds":                          strconv.Itoa(q.delay),
		"MaximumMessageSize":                    strconv.Itoa(q.maxSize),
		"MessageRetentionPeriod":                strconv.Itoa(q.retention),
		"QueueArn":                              q.arn,
		"ReceiveMessageWaitTimeSeconds":         strconv.Itoa(q.wait),
		"VisibilityTimeout":                     strconv.Itoa(q.visibility),
		"SqsManagedSseEnabled":                  "true",
	}
	if q.redrive != nil {
		policy, _ := json.Marshal(map[string]any{ // cannot fail: a string and a number
			"deadLetterTargetArn": q.redrive.DeadLetterTargetARN,
			"maxReceiveCount":     q.redrive.MaxReceiveCount,
		})
		all["RedrivePolicy"] = string(policy)
	}
	return all
}
