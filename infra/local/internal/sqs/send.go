package sqs

import (
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// maxMessageSize is SQS's limit for a message, and for all messages of a batch together, in bytes.
const maxMessageSize = 1 << 20

type sendRequest struct {
	target
	ID                      string `json:"Id"` // in a batch
	MessageBody             *string
	DelaySeconds            *int
	MessageAttributes       map[string]json.RawMessage // refused
	MessageSystemAttributes map[string]systemAttribute
	MessageGroupId          *string
	MessageDeduplicationId  *string

	trace     string // the request's tracing header: AWSTraceHeader where the sender names none
	accessKey string // the sender's
}

// systemAttribute is a message system attribute as it is sent.
type systemAttribute struct{ DataType, StringValue string }

type sendResult struct {
	ID                           string `json:"Id,omitempty"`
	MessageID                    string `json:"MessageId"`
	MD5OfMessageBody             string
	MD5OfMessageSystemAttributes string `json:",omitempty"`
}

func (s *service) sendMessage(q *queue, in sendRequest) (any, error) {
	c, err := q.compose(in)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return sendResult{
		ID:                           in.ID,
		MessageID:                    q.send(c, in.DelaySeconds),
		MD5OfMessageBody:             c.md5,
		MD5OfMessageSystemAttributes: md5OfTrace(c.trace),
	}, nil
}

type sendBatchRequest struct {
	target
	Entries []sendRequest
}

func (s *service) sendMessageBatch(q *queue, in sendBatchRequest) (any, error) {
	total := 0
	ids := make([]string, len(in.Entries))
	for i, entry := range in.Entries {
		if entry.MessageBody == nil || *entry.MessageBody == "" {
			return nil, missing("SendMessageBatchRequestEntry." + strconv.Itoa(i+1) + ".MessageBody")
		}
		ids[i] = entry.ID
		total += len(*entry.MessageBody)
	}
	if total > maxMessageSize {
		return nil, legacy("BatchRequestTooLong",
			"Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxMessageSize, total)
	}
	return each("SendMessageBatchRequestEntry", ids, func(i int) (any, error) {
		return s.sendMessage(q, in.Entries[i])
	})
}

// compose checks a request to send and makes a message's content of it.
func (q *queue) compose(in sendRequest) (content, error) {
	if in.MessageBody == nil || *in.MessageBody == "" {
		return content{}, missing("MessageBody")
	}
	if len(*in.MessageBody) > q.maxSize {
		return content{}, invalidParameter("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", q.maxSize)
	}
	if len(in.MessageAttributes) > 0 {
		return content{}, unsupported("MessageAttributes are not supported by the local stack: put what they say into the body.")
	}
	if !allowedText(*in.MessageBody) {
		return content{}, fault("InvalidMessageContents", "InvalidMessageContents",
			"Invalid characters found. Valid unicode characters are "+
				"#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	}
	if err := between("DelaySeconds", in.DelaySeconds, 0, 900); err != nil {
		return content{}, err
	}
	if in.MessageDeduplicationId != nil {
		return content{}, invalidValue("MessageDeduplicationId", *in.MessageDeduplicationId,
			"The request includes a parameter that is not valid for this queue type.")
	}
	c := content{
		body:   *in.MessageBody,
		md5:    md5Hex([]byte(*in.MessageBody)),
		sender: q.broker.opts.Account,
		trace:  in.trace,
		access: in.accessKey,
	}
	if in.MessageGroupId != nil {
		if !groupID.MatchString(*in.MessageGroupId) {
			return content{}, invalidValue("MessageGroupId", *in.MessageGroupId,
				"MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
		}
		c.groupID = *in.MessageGroupId
	}
	for name, a := range in.MessageSystemAttributes {
		if name != "AWSTraceHeader" {
			return content{}, invalidParameter("Message system attribute name '%s' is invalid.", name)
		}
		if a.DataType != "String" || a.StringValue == "" {
			return content{}, invalidParameter("Message system attribute 'AWSTraceHeader' must be a non-empty String.")
		}
		c.trace = a.StringValue
	}
	return c, nil
}

// groupID is letters, digits and ASCII punctuation.
var groupID = regexp.MustCompile(`^[!-~]{1,128}$`)

// allowedText says whether SQS carries every character of s.
func allowedText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return true
}

// failure makes a batch entry's failure of err; an error that is none of SQS's comes back.
func failure(id string, err error) (failedEntry, error) {
	e, ok := errors.AsType[*awsjson.Error](err)
	if !ok {
		return failedEntry{}, err
	}
	return failedEntry{ID: id, SenderFault: true, Code: e.Query, Message: e.Message}, nil
}
