// Package queue sends messages to SQS and says when received ones are visible again.
//
// Every call reports what became of each message, because SQS accepts batches in part. Entries that SQS
// refuses are sent again a few times before they are given up to the caller, who knows what a message that
// was not sent means. Every message is in the group of its organization, so that the backlog of one delays the
// others little (SQS fair queues); their order is not kept, since an event's sequence tells it.
//
// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	batchSize   = 10 // SQS's limit
	maxTries    = 4
	maxParallel = 8                // calls at once
	maxDelay    = 15 * time.Minute // SQS's limit of DelaySeconds

	// maxVisibility is SQS's limit of 12 hours, which counts from the receive, less what a batch may
	// have taken since.
	maxVisibility = 12*time.Hour - 2*time.Minute
)

// ErrRefused is returned for an entry that SQS has refused.
var ErrRefused = errors.New("refused by SQS")

// API is what is used of SQS.
type API interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, options ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	SendMessageBatch(
		ctx context.Context, in *sqs.SendMessageBatchInput, options ...func(*sqs.Options),
	) (*sqs.SendMessageBatchOutput, error)
	ChangeMessageVisibilityBatch(
		ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, options ...func(*sqs.Options),
	) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// Queue is one SQS queue. It is safe for concurrent use.
type Queue struct {
	Client API
	URL    string
	Now    func() time.Time
}

// Is reports whether q is the queue with an ARN. The names decide: account and region are those of the function.
func (q *Queue) Is(arn string) bool {
	return arn != "" && arn[strings.LastIndex(arn, ":")+1:] == q.URL[strings.LastIndex(q.URL, "/")+1:]
}

// letter is what SQS is told of a message.
type letter struct {
	body, group string
	delay       int32 // seconds
}

// Send sends messages, each of which becomes visible at its NotBefore, 15 minutes from now at most. It returns
// nil if all were accepted, else one error (or nil) for each, which is webhook.ErrUnsendable if SQS will never
// accept the message. Whether a call whose answer was lost is made again is up to the Client.
func (q *Queue) Send(ctx context.Context, messages []webhook.Message) []error {
	letters := make([]letter, len(messages))
	errs := make([]error, len(messages))
	for i, m := range messages {
		letters[i], errs[i] = q.letter(m, 0)
	}
	return q.send(ctx, letters, errs)
}

// SendOnce sends a message that becomes visible at its NotBefore, or after delay if that is later, 15 minutes
// from now at most. It is not tried again: an answer that is lost would make two of it.
func (q *Queue) SendOnce(ctx context.Context, message webhook.Message, delay time.Duration) error {
	l, err := q.letter(message, delay)
	if err != nil {
		return err
	}
	return q.sendOnce(ctx, l)
}

// SendRecords is Send for records of a stream.
func (q *Queue) SendRecords(ctx context.Context, records []webhook.HeldRecord) []error {
	letters := make([]letter, len(records))
	for i, r := range records {
		letters[i] = newLetter(r.Body, r.OrganizationID, 0)
	}
	return q.send(ctx, letters, make([]error, len(records)))
}

// SendRecordOnce is SendOnce for a record of a stream.
func (q *Queue) SendRecordOnce(ctx context.Context, record webhook.HeldRecord, delay time.Duration) error {
	return q.sendOnce(ctx, newLetter(record.Body, record.OrganizationID, delay))
}

func (q *Queue) letter(message webhook.Message, delay time.Duration) (letter, error) {
	body, err := message.MarshalJSON() // what json.Marshal would read once more
	if err != nil {
		return letter{}, fmt.Errorf("%w: %w", webhook.ErrUnsendable, err)
	}
	return newLetter(string(body), message.OrganizationID, max(delay, message.NotBefore.Sub(q.Now()))), nil
}

// escaper escapes two characters that SQS refuses and JSON lets pass. They can only be within strings.
var escaper = strings.NewReplacer("\uFFFE", `\ufffe`, "\uFFFF", `\uffff`)

// newLetter returns a letter with a body of JSON.
func newLetter(body, organizationID string, delay time.Duration) letter {
	return letter{
		body:  escaper.Replace(body),
		group: groupOf(organizationID),
		delay: seconds(delay, maxDelay),
	}
}

// groupOf returns the message group of an organization, whose id may hold characters that SQS refuses there.
func groupOf(organizationID string) string {
	hash := sha256.Sum256([]byte(organizationID))
	return hex.EncodeToString(hash[:])[:32]
}

func (q *Queue) sendOnce(ctx context.Context, l letter) error {
	_, err := q.Client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &q.URL, MessageBody: &l.body, MessageGroupId: &l.group, DelaySeconds: l.delay,
	}, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	if err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	return nil
}

// send sends the letters that have no error yet, some calls at the same time. After a call that failed as a
// whole no other begins: the queue is away.
func (q *Queue) send(ctx context.Context, letters []letter, errs []error) []error {
	var entries []types.SendMessageBatchRequestEntry
	for i, l := range letters {
		if errs[i] == nil {
			entries = append(entries, types.SendMessageBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), MessageBody: &l.body, MessageGroupId: &l.group, DelaySeconds: l.delay,
			})
		}
	}
	var away atomic.Pointer[error]
	call := func(chunk []types.SendMessageBatchRequestEntry) {
		left, err := retry(ctx, chunk, func(entry types.SendMessageBatchRequestEntry) string { return *entry.Id },
			func(entries []types.SendMessageBatchRequestEntry) (outcome, error) {
				if err := away.Load(); err != nil {
					return outcome{}, *err
				}
				out, err := q.Client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.URL, Entries: entries})
				if err != nil {
					return outcome{}, fmt.Errorf("sending messages: %w", err)
				}
				o := outcome{failed: out.Failed}
				for _, one := range out.Successful {
					o.accepted = append(o.accepted, aws.ToString(one.Id))
				}
				return o, nil
			})
		if err != nil {
			away.Store(&err)
		}
		for id, err := range left {
			i, _ := strconv.Atoi(id)
			errs[i] = err
		}
	}
	var wait sync.WaitGroup
	limit := make(chan struct{}, maxParallel)
	for len(entries) > batchSize {
		chunk := entries[:batchSize]
		entries = entries[batchSize:]
		limit <- struct{}{}
		wait.Go(func() {
			defer func() { <-limit }()
			call(chunk)
		})
	}
	if len(entries) > 0 { // the last, and often the only one, needs no goroutine of its own
		limit <- struct{}{}
		call(entries)
	}
	wait.Wait()
	if errors.Join(errs...) == nil {
		return nil
	}
	return errs
}

// ChangeVisibility makes received messages visible again at their due times, or at once if those are past.
func (q *Queue) ChangeVisibility(ctx context.Context, changes []webhook.Visibility) error {
	var problems error
	for chunk := range slices.Chunk(changes, batchSize) {
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for i, change := range chunk {
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(change.ReceiptHandle),
				VisibilityTimeout: seconds(change.Due.Sub(q.Now()), maxVisibility),
			})
		}
		left, _ := retry(ctx, entries, func(entry types.ChangeMessageVisibilityBatchRequestEntry) string { return *entry.Id },
			func(entries []types.ChangeMessageVisibilityBatchRequestEntry) (outcome, error) {
				in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.URL, Entries: entries}
				out, err := q.Client.ChangeMessageVisibilityBatch(ctx, in)
				if err != nil {
					return outcome{}, err
				}
				o := outcome{failed: out.Failed}
				for _, one := range out.Successful {
					o.accepted = append(o.accepted, aws.ToString(one.Id))
				}
				return o, nil
			})
		for _, err := range left {
			problems = errors.Join(problems, err)
		}
	}
	return problems
}

// retry calls send with entries, and again with those that it does not say to have accepted. It returns the
// errors of those that were not accepted in the end, by id, and the error of a call that failed as a whole.
func retry[E any](
	ctx context.Context, entries []E, id func(E) string, send func([]E) (outcome, error),
) (map[string]error, error) {
	errs := map[string]error{}
	for try := 1; ; try++ {
		result, err := send(entries)
		var left []E
		for _, entry := range entries {
			switch name := id(entry); {
			case err != nil:
				errs[name] = err // the SDK has tried this again already, where that can help
			case slices.Contains(result.accepted, name):
				delete(errs, name)
			default:
				if errs[name] = result.refusal(name); !errors.Is(errs[name], webhook.ErrUnsendable) {
					left = append(left, entry)
				}
			}
		}
		if err != nil || len(left) == 0 || try == maxTries || pause(ctx, try) != nil {
			return errs, err
		}
		entries = left
	}
}

// outcome is what became of the entries of one call.
type outcome struct {
	accepted []string // ids
	failed   []types.BatchResultErrorEntry
}

func (o outcome) refusal(id string) error {
	for _, f := range o.failed {
		if aws.ToString(f.Id) != id {
			continue
		}
		kind := ErrRefused
		switch aws.ToString(f.Code) {
		case "InvalidMessageContents", "InvalidParameterValue", "MissingParameter": // never that of a passing obstacle
			kind = fmt.Errorf("%w: %w", webhook.ErrUnsendable, ErrRefused)
		}
		return fmt.Errorf("%w: %s: %s", kind, aws.ToString(f.Code), aws.ToString(f.Message))
	}
	return fmt.Errorf("%w: the answer does not mention it", ErrRefused)
}

func pause(ctx context.Context, try int) error {
	timer := time.NewTimer(time.Duration((0.5 + rand.Float64()) * float64(25*time.Millisecond<<try)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// seconds rounds up, so that nothing comes back before it is due.
func seconds(d, most time.Duration) int32 {
	d = min(max(d, 0), most)
	return int32((d + time.Second - 1) / time.Second)
}
