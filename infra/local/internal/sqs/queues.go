package sqs

import (
	"encoding/base64"
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
	q.advance(s.opts.Now())
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
	now := s.opts.Now()
	if !q.purged.IsZero() && now.Sub(q.purged) < s.scaled(60) {
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

// page is how lists are cut; without MaxResults they are not, up to SQS's 1000.
type page struct {
	MaxResults *int
	NextToken  string
}

type listQueuesRequest struct {
	page
	QueueNamePrefix string
}

func (s *service) listQueues(in listQueuesRequest, allow awsjson.Allow) (any, error) {
	if err := allow("sqs:ListQueues", "*"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	urls, next, err := s.cut(in.page, s.queues(func(q *queue) bool { return strings.HasPrefix(q.name, in.QueueNamePrefix) }))
	if err != nil {
		return nil, err
	}
	return struct {
		QueueURLs []string `json:"QueueUrls,omitempty"`
		NextToken string   `json:",omitempty"`
	}{urls, next}, nil
}

type sourceQueuesRequest struct {
	target
	page
}

func (s *service) listDeadLetterSourceQueues(q *queue, in sourceQueuesRequest) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	urls, next, err := s.cut(in.page, s.sources(q))
	if err != nil {
		return nil, err
	}
	return struct {
		QueueURLs []string `json:"queueUrls"` // in lower case in this operation only
		NextToken string   `json:",omitempty"`
	}{urls, next}, nil
}

// cut makes one page of a sorted list. The token is the name of the last queue before the page.
func (s *service) cut(p page, queues []*queue) (urls []string, next string, err error) {
	if err := between("MaxResults", p.MaxResults, 1, 1000); err != nil {
		return nil, "", err
	}
	after, err := base64.URLEncoding.DecodeString(p.NextToken)
	if err != nil {
		return nil, "", invalidValue("NextToken", p.NextToken, "Invalid or expired token.")
	}
	size := 1000
	if p.MaxResults != nil {
		size = *p.MaxResults
	}
	urls = []string{}
	last := ""
	for _, q := range queues {
		if q.name <= string(after) {
			continue
		}
		if len(urls) == size {
			return urls, base64.URLEncoding.EncodeToString([]byte(last)), nil
		}
		urls, last = append(urls, s.url(q)), q.name
	}
	return urls, "", nil
}
