// Package queue sends and keeps messages in SQS.
//
// Every call reports what became of each message, because SQS accepts batches in part. Entries that
// fail are tried again a few times before they are given up to the caller, who knows what a message
// that was not sent means.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	batchSize = 10 // SQS's limit
	maxTries  = 4
	lanes     = 8                // batches sent at once
	maxDelay  = 15 * time.Minute // SQS's limit of DelaySeconds

	// maxVisibility is SQS's limit of 12 hours, which counts from the receive, less what a batch may
	// have taken since.
	maxVisibility = 12*time.Hour - 2*time.Minute
)

// ErrRefused is returned for an entry that SQS has refused.
var ErrRefused = errors.New("refused by SQS")

// API is what is used of SQS.
type API interface {
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, options ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, options ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
	ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, options ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// Queue is one SQS queue. It is safe for concurrent use.
type Queue struct {
	Client API
	URL    string
	Now    func() time.Time
}

// Send sends messages: those to one config in their order, those to others at the same time. The
// message group is the config, so that a busy one delays the others little (SQS fair queues). It
// returns nil if all were accepted, else one error (or nil) for each. After a call that failed as a
// whole nothing more of its lane is sent: the queue is away, and order would suffer.
//
// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
func (q *Queue) Send(ctx context.Context, messages []webhook.Message) []error {
	errs := make([]error, len(messages))
	var byLane [lanes][]int
	for i, m := range messages {
		hash := fnv.New32a()
		hash.Write([]byte(m.ConfigID))
		lane := hash.Sum32() % lanes
		if len(messages) <= batchSize {
			lane = 0 // they fit into one batch
		}
		byLane[lane] = append(byLane[lane], i)
	}
	var wait sync.WaitGroup
	for _, lane := range byLane {
		if len(lane) > 0 {
			wait.Go(func() { q.sendInOrder(ctx, messages, lane, errs) })
		}
	}
	wait.Wait()
	if errors.Join(errs...) == nil {
		return nil
	}
	return errs
}

func (q *Queue) sendInOrder(ctx context.Context, messages []webhook.Message, which []int, errs []error) {
	for len(which) > 0 {
		n := min(batchSize, len(which))
		err := q.sendBatch(ctx, messages, which[:n], errs)
		which = which[n:]
		if err != nil {
			for _, i := range which {
				errs[i] = err
			}
			return
		}
	}
}

// sendBatch sends some messages and sets their errors. It errors if the whole call has failed.
func (q *Queue) sendBatch(ctx context.Context, messages []webhook.Message, which []int, errs []error) error {
	var entries []types.SendMessageBatchRequestEntry
	for _, i := range which {
		body, err := encode(messages[i])
		if err != nil {
			errs[i] = err
			continue
		}
		entries = append(entries, types.SendMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), MessageBody: body, MessageGroupId: aws.String(messages[i].ConfigID),
		})
	}
	left, err := retry(ctx, entries, func(entry types.SendMessageBatchRequestEntry) string { return *entry.Id },
		func(entries []types.SendMessageBatchRequestEntry) (outcome, error) {
			out, err := q.Client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &q.URL, Entries: entries})
			if err != nil {
				return outcome{}, err
			}
			o := outcome{failed: out.Failed}
			for _, one := range out.Successful {
				o.accepted = append(o.accepted, aws.ToString(one.Id))
			}
			return o, nil
		})
	for id, err := range left {
		i, _ := strconv.Atoi(id)
		errs[i] = err
	}
	return err
}

// encode returns the body of a message. SQS refuses two characters that JSON lets pass; they can
// only be within strings, where they may as well be escaped.
func encode(message webhook.Message) (*string, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("writing a message: %w", err)
	}
	return aws.String(strings.NewReplacer("\uFFFE", `\ufffe`, "\uFFFF", `\uffff`).Replace(string(body))), nil
}

// retry calls send with entries, and again with those that it does not say to have accepted. It returns
// the errors of those that were not accepted in the end, by id, and the error of a call that failed as a whole.
func retry[E any](ctx context.Context, entries []E, id func(E) string, send func([]E) (outcome, error)) (map[string]error, error) {
	for try := 1; len(entries) > 0; try++ {
		result, err := send(entries)
		errs := map[string]error{}
		var left []E
		for _, entry := range entries {
			switch {
			case err != nil:
				errs[id(entry)] = err // the SDK has tried this again already, where that can help
			case !slices.Contains(result.accepted, id(entry)):
				errs[id(entry)] = result.refusal(id(entry))
				left = append(left, entry)
			}
		}
		if err != nil || len(left) == 0 || try == maxTries || pause(ctx, try) != nil {
			return errs, err
		}
		entries = left
	}
	return nil, nil
}

// outcome is what became of the entries of one call.
type outcome struct {
	accepted []string // ids
	failed   []types.BatchResultErrorEntry
}

func (o outcome) refusal(id string) error {
	for _, f := range o.failed {
		if aws.ToString(f.Id) == id {
			return fmt.Errorf("%w: %s: %s", ErrRefused, aws.ToString(f.Code), aws.ToString(f.Message))
		}
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

// ChangeVisibility makes received messages visible again at their due times, or at once if those are past.
func (q *Queue) ChangeVisibility(ctx context.Context, changes []delivery.Visibility) error {
	var problems error
	for len(changes) > 0 {
		n := min(batchSize, len(changes))
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for i, change := range changes[:n] {
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{
				Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(change.ReceiptHandle),
				VisibilityTimeout: seconds(change.Due.Sub(q.Now()), maxVisibility),
			})
		}
		left, _ := retry(ctx, entries, func(entry types.ChangeMessageVisibilityBatchRequestEntry) string { return *entry.Id },
			func(entries []types.ChangeMessageVisibilityBatchRequestEntry) (outcome, error) {
				out, err := q.Client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.URL, Entries: entries})
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
		changes = changes[n:]
	}
	return problems
}

// PutBack sends a copy of a message that becomes visible after delay, 15 minutes at most.
func (q *Queue) PutBack(ctx context.Context, message webhook.Message, delay time.Duration) error {
	body, err := encode(message)
	if err != nil {
		return err
	}
	_, err = q.Client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &q.URL, MessageBody: body, MessageGroupId: aws.String(message.ConfigID), DelaySeconds: seconds(delay, maxDelay),
	})
	if err != nil {
		return fmt.Errorf("putting a message back: %w", err)
	}
	return nil
}

// seconds rounds up, so that nothing comes back before it is due.
func seconds(d, most time.Duration) int32 {
	d = min(max(d, 0), most)
	return int32((d + time.Second - 1) / time.Second)
}
