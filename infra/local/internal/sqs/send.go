package sqs

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
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
	MessageAttributes       map[string]attribute
	MessageSystemAttributes map[string]attribute
	MessageGroupId          *string
	MessageDeduplicationId  *string
}

type sendResult struct {
	ID                           string `json:"Id,omitempty"`
	MessageID                    string `json:"MessageId"`
	MD5OfMessageBody             string
	MD5OfMessageAttributes       string `json:",omitempty"`
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
		MD5OfMessageAttributes:       md5OfAttributes(c.attributes),
		MD5OfMessageSystemAttributes: md5OfAttributes(in.MessageSystemAttributes),
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
		total += entry.size()
	}
	if total > maxMessageSize {
		return nil, legacy("BatchRequestTooLong", "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxMessageSize, total)
	}
	return each("SendMessageBatchRequestEntry", ids, func(i int) (any, error) {
		return s.sendMessage(q, in.Entries[i])
	})
}

// size is what SQS counts: the body and the names, types and values of the attributes.
func (in *sendRequest) size() int {
	n := 0
	if in.MessageBody != nil {
		n = len(*in.MessageBody)
	}
	for name, a := range in.MessageAttributes {
		n += len(name) + len(a.DataType) + len(a.BinaryValue)
		if a.StringValue != nil {
			n += len(*a.StringValue)
		}
	}
	return n
}

// compose checks a request to send and makes a message's content of it.
func (q *queue) compose(in sendRequest) (content, error) {
	if in.MessageBody == nil || *in.MessageBody == "" {
		return content{}, missing("MessageBody")
	}
	if size := in.size(); size > q.maxSize {
		return content{}, invalidParameter("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", q.maxSize)
	}
	if !allowedText(*in.MessageBody) {
		return content{}, fault("InvalidMessageContents", "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	}
	if err := between("DelaySeconds", in.DelaySeconds, 0, 900); err != nil {
		return content{}, err
	}
	if in.MessageDeduplicationId != nil {
		return content{}, invalidValue("MessageDeduplicationId", *in.MessageDeduplicationId, "The request includes a parameter that is not valid for this queue type.")
	}
	c := content{
		body:       *in.MessageBody,
		md5:        md5Hex([]byte(*in.MessageBody)),
		sender:     q.broker.opts.Account,
		attributes: in.MessageAttributes,
	}
	if in.MessageGroupId != nil {
		if !groupID.MatchString(*in.MessageGroupId) {
			return content{}, invalidValue("MessageGroupId", *in.MessageGroupId, "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
		}
		c.groupID = *in.MessageGroupId
	}
	if len(in.MessageAttributes) > 10 {
		return content{}, invalidParameter("Number of message attributes [%d] exceeds the allowed maximum [10].", len(in.MessageAttributes))
	}
	for name, a := range in.MessageAttributes {
		if err := checkAttribute(name, a); err != nil {
			return content{}, err
		}
	}
	for name, a := range in.MessageSystemAttributes {
		if name != "AWSTraceHeader" {
			return content{}, invalidParameter("Message system attribute name '%s' is invalid.", name)
		}
		if a.DataType != "String" || a.StringValue == nil || *a.StringValue == "" {
			return content{}, invalidParameter("Message system attribute 'AWSTraceHeader' must be a non-empty String.")
		}
		c.trace = *a.StringValue
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

var attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)

// checkAttribute checks a message attribute against the documented rules.
func checkAttribute(name string, a attribute) error {
	lower := strings.ToLower(name)
	if !attributeName.MatchString(name) || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") ||
		strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return invalidParameter("The message attribute name '%s' is invalid. It can contain A-Z, a-z, 0-9, underscore, hyphen and single periods inside, 256 characters at most, and not start with AWS. or Amazon.", name)
	}
	kind, _, _ := strings.Cut(a.DataType, ".")
	if len(a.DataType) > 256 {
		return invalidParameter("The type of message attribute '%s' is longer than 256 bytes.", name)
	}
	switch kind {
	case "String", "Number":
		if a.StringValue == nil || *a.StringValue == "" {
			return invalidParameter("The message attribute '%s' must contain a non-empty value of type '%s'.", name, kind)
		}
		if !allowedText(*a.StringValue) {
			return invalidParameter("The message attribute '%s' contains characters that are not allowed.", name)
		}
		if _, err := strconv.ParseFloat(*a.StringValue, 64); kind == "Number" && errors.Is(err, strconv.ErrSyntax) {
			return invalidParameter("Can't cast the value of message (user) attribute '%s' to a number.", name)
		}
		if a.BinaryValue != nil {
			return invalidParameter("Message attribute '%s' has values of more than one type.", name)
		}
	case "Binary":
		if len(a.BinaryValue) == 0 || a.StringValue != nil {
			return invalidParameter("The message attribute '%s' must contain a non-empty value of type 'Binary', and no other.", name)
		}
	case "":
		return invalidParameter("The message attribute '%s' must contain a non-empty message attribute type.", name)
	default:
		return invalidParameter("The message attribute '%s' has an invalid type, '%s'. Supported are Binary, Number and String, each with an optional suffix.", name, a.DataType)
	}
	return nil
}

// failure makes a batch entry's failure of err; an error that is none of SQS's comes back.
func failure(id string, err error) (failedEntry, error) {
	e, ok := errors.AsType[*awsjson.Error](err)
	if !ok {
		return failedEntry{}, err
	}
	return failedEntry{ID: id, SenderFault: true, Code: e.Query, Message: e.Message}, nil
}
