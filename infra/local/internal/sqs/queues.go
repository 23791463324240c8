package sqs

import (
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// unsetAttributes are attributes of SQS that no queue here has.
var unsetAttributes = []string{
	"RedrivePolicy", "RedriveAllowPolicy", "Policy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds",
	"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit",
}

type attributesRequest struct {
	target
	AttributeNames []string
}

func (s *service) getQueueAttributes(q *queue, in attributesRequest) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.advance(s.opts.Clock.Now())
	all := q.attributes()
	chosen := map[string]string{}
	for _, name := range in.AttributeNames {
		value, ok := all[name]
		switch {
		case name == "All":
			chosen = all
		case ok:
			chosen[name] = value
		case !slices.Contains(unsetAttributes, name):
			return nil, fault("InvalidAttributeName", "InvalidAttributeName", "Unknown Attribute %s.", name)
		}
	}
	return struct {
		Attributes map[string]string `json:",omitempty"`
	}{chosen}, nil
}

func (s *service) purgeQueue(q *queue, _ target) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Clock.Now()
	if !q.purged.IsZero() && now.Sub(q.purged) < duration(60) {
		return nil, legacy("PurgeQueueInProgress", "Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.name)
	}
	q.purged = now
	q.clear(now)
	return nil, nil
}

type queueURLRequest struct {
	QueueName              string
	QueueOwnerAWSAccountId string
}

func (s *service) getQueueURL(in queueURLRequest, allow awsjson.Allow) (any, error) {
	if in.QueueName == "" {
		return nil, missing("QueueName")
	}
	if in.QueueOwnerAWSAccountId != "" && in.QueueOwnerAWSAccountId != s.opts.Account {
		return nil, noQueue()
	}
	q, err := s.find(in.QueueName)
	if err != nil {
		return nil, err
	}
	if err := allow("sqs:GetQueueUrl", q.arn); err != nil {
		return nil, err
	}
	return struct {
		QueueURL string `json:"QueueUrl"`
	}{s.url(q)}, nil
}

type listQueuesRequest struct {
	QueueNamePrefix string
	MaxResults      *int   // refused, as is the next
	NextToken       string // of the page before
}

func (s *service) listQueues(in listQueuesRequest, allow awsjson.Allow) (any, error) {
	if err := allow("sqs:ListQueues", "*"); err != nil {
		return nil, err
	}
	if in.MaxResults != nil || in.NextToken != "" {
		return nil, unsupported("MaxResults and NextToken are not supported by the local stack: without them it lists all queues.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var urls []string
	for _, q := range s.queues(func(q *queue) bool { return strings.HasPrefix(q.name, in.QueueNamePrefix) }) {
		urls = append(urls, s.url(q))
	}
	return struct {
		QueueURLs []string `json:"QueueUrls,omitempty"`
	}{urls}, nil
}
