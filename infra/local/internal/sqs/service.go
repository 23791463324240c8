package sqs

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// service is a Broker on the wire.
type service struct{ *Broker }

// Serve implements awsjson.Service.
func (s *service) Serve(ctx context.Context, operation string, body []byte, allow awsjson.Allow) (any, error) {
	switch operation {
	case "SendMessage":
		return onQueue(s, "sqs:SendMessage", body, allow, func(q *queue, in sendRequest) (any, error) {
			in.trace, in.accessKey = awsjson.Call(ctx)
			return s.sendMessage(q, in)
		})
	case "SendMessageBatch":
		return onQueue(s, "sqs:SendMessage", body, allow, func(q *queue, in sendBatchRequest) (any, error) {
			for i := range in.Entries {
				in.Entries[i].trace, in.Entries[i].accessKey = awsjson.Call(ctx)
			}
			return s.sendMessageBatch(q, in)
		})
	case "ReceiveMessage":
		return onQueue(s, "sqs:ReceiveMessage", body, allow, func(q *queue, in receiveRequest) (any, error) {
			return s.receiveMessage(ctx, q, in)
		})
	case "DeleteMessage":
		return onQueue(s, "sqs:DeleteMessage", body, allow, s.deleteMessage)
	case "DeleteMessageBatch":
		return onQueue(s, "sqs:DeleteMessage", body, allow, s.deleteMessageBatch)
	case "ChangeMessageVisibility":
		return onQueue(s, "sqs:ChangeMessageVisibility", body, allow, s.changeVisibility)
	case "ChangeMessageVisibilityBatch":
		return onQueue(s, "sqs:ChangeMessageVisibility", body, allow, s.changeVisibilityBatch)
	case "GetQueueAttributes":
		return onQueue(s, "sqs:GetQueueAttributes", body, allow, s.getQueueAttributes)
	case "PurgeQueue":
		return onQueue(s, "sqs:PurgeQueue", body, allow, s.purgeQueue)
	case "GetQueueUrl":
		return free(body, allow, s.getQueueURL)
	case "ListQueues":
		return free(body, allow, s.listQueues)
	case "StartMessageMoveTask":
		return free(body, allow, s.startMoveTask)
	case "ListMessageMoveTasks":
		return free(body, allow, s.listMoveTasks)
	case "CancelMessageMoveTask":
		return free(body, allow, s.cancelMoveTask)
	case "CreateQueue", "DeleteQueue", "SetQueueAttributes", "TagQueue", "UntagQueue", "AddPermission", "RemovePermission":
		return nil, unsupported("%s: the local stack has the queues that its template declares, as it declares them.", operation)
	}
	return nil, unsupported("%s is not supported by the local stack.", operation)
}

// target is the part of a request that names its queue.
type target struct{ QueueUrl string }

func (t target) queueURL() string { return t.QueueUrl }

// onQueue decodes a request that has a QueueUrl, checks the caller's permission on that queue, and acts.
func onQueue[In interface{ queueURL() string }](
	s *service, action string, body []byte, allow awsjson.Allow, act func(*queue, In) (any, error),
) (any, error) {
	return free(body, allow, func(in In, allow awsjson.Allow) (any, error) {
		q, err := s.find(in.queueURL())
		if err != nil {
			return nil, err
		}
		if err := allow(action, q.arn); err != nil {
			return nil, err
		}
		return act(q, in)
	})
}

// free decodes a request and acts; the act itself checks permissions.
func free[In any](body []byte, allow awsjson.Allow, act func(In, awsjson.Allow) (any, error)) (any, error) {
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fault("SerializationException", "MalformedInput", "The request is not what the operation takes: %v.", err)
	}
	return act(in, allow)
}

// find is the queue that a QueueUrl means: a URL of any host with the path /ACCOUNT/NAME, or just the name.
func (s *service) find(queueURL string) (*queue, error) {
	if queueURL == "" {
		return nil, missing("QueueUrl")
	}
	name := queueURL
	if strings.Contains(queueURL, "/") {
		u, err := url.Parse(queueURL)
		if err != nil {
			return nil, fault("InvalidAddress", "InvalidAddress", "The address %s is not valid for this endpoint.", queueURL)
		}
		account, last, ok := strings.Cut(strings.Trim(u.Path, "/"), "/")
		if !ok || account != s.opts.Account {
			return nil, noQueue()
		}
		name = last
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.byName[name]; q != nil {
		return q, nil
	}
	return nil, noQueue()
}

// batch is what batch operations share: entries with ids, of which each succeeds or fails alone.
type batch struct {
	Successful []any         `json:"Successful"`
	Failed     []failedEntry `json:"Failed,omitempty"`
}

type failedEntry struct {
	ID          string `json:"Id"`
	SenderFault bool
	Code        string
	Message     string
}

// each checks the ids of a batch and acts on every entry; kind names an entry in errors.
func each(kind string, ids []string, act func(i int) (any, error)) (any, error) {
	if len(ids) == 0 {
		return nil, legacy("EmptyBatchRequest", "There should be at least one %s in the request.", kind)
	}
	if len(ids) > 10 {
		return nil, legacy("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent %d.", len(ids))
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if !queueName.MatchString(id) { // the same alphabet and length as a queue's name
			return nil, legacy("InvalidBatchEntryId",
				"A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		if seen[id] {
			return nil, legacy("BatchEntryIdsNotDistinct", "Id %s repeated.", id)
		}
		seen[id] = true
	}
	result := batch{Successful: []any{}}
	for i, id := range ids {
		done, err := act(i)
		if err == nil {
			result.Successful = append(result.Successful, done)
			continue
		}
		failed, err := failure(id, err)
		if err != nil {
			return nil, err
		}
		result.Failed = append(result.Failed, failed)
	}
	return result, nil
}
