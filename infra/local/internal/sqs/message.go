package sqs

import (
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// state is where a message is.
type state int

const (
	stateVisible  state = iota
	stateDelayed        // never received yet, visible at visibleAt
	stateInFlight       // received, visible again at visibleAt
	stateHeld           // received in process; visibleAt counts once it is settled
)

// message is a message in a queue.
type message struct {
	content
	id     string
	sent   time.Time
	first  time.Time // first receive; zero before
	origin string    // ARN of the queue that SQS moved it here from, or ""

	receives     int // in all queues
	receivesHere int
	receipt      uint64 // number of the latest receive in this queue
	received     time.Time

	state     state
	visibleAt time.Time
	expires   time.Time

	group         *group // its place among the visible
	turn          uint64
	before, after *message
	hiddenIndex   int // in the queue's heaps
	expiringIndex int
}

// content is what a sender gives. It does not change.
type content struct {
	body       string
	md5        string
	groupID    string
	trace      string // AWSTraceHeader
	sender     string
	attributes map[string]attribute
}

// attribute is a message attribute as it travels.
type attribute struct {
	DataType    string
	StringValue *string `json:",omitempty"`
	BinaryValue []byte  `json:",omitempty"`
}

// system are the message's system attributes, all of them.
func (m *message) system() map[string]string {
	all := map[string]string{
		"SenderId":                         m.sender,
		"SentTimestamp":                    strconv.FormatInt(m.sent.UnixMilli(), 10),
		"ApproximateReceiveCount":          strconv.Itoa(m.receives),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.first.UnixMilli(), 10),
	}
	for name, value := range map[string]string{
		"MessageGroupId":           m.groupID,
		"AWSTraceHeader":           m.trace,
		"DeadLetterQueueSourceArn": m.origin,
	} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

// handle is the receipt handle of the latest receive from q.
func (m *message) handle(q *queue) string {
	return base64.StdEncoding.EncodeToString([]byte(q.name + " " + m.id + " " + strconv.FormatUint(m.receipt, 10)))
}

// receipt names one receive of one message.
type receipt struct {
	message string
	number  uint64
}

// parseHandle reads a receipt handle; one of another queue is invalid too.
func (q *queue) parseHandle(handle string) (receipt, bool) {
	raw, err := base64.StdEncoding.DecodeString(handle)
	if err != nil {
		return receipt{}, false
	}
	parts := strings.Split(string(raw), " ")
	if len(parts) != 3 || parts[0] != q.name {
		return receipt{}, false
	}
	number, err := strconv.ParseUint(parts[2], 10, 64)
	return receipt{parts[1], number}, err == nil
}

func md5Hex(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

// md5OfAttributes is the digest that SDKs verify: per attribute, by name, the name, the data type and
// the value, each after its length, the value also after a byte for its kind. "" for none.
func md5OfAttributes(attributes map[string]attribute) string {
	if len(attributes) == 0 {
		return ""
	}
	var buf []byte
	add := func(s string) {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		a := attributes[name]
		add(name)
		add(a.DataType)
		if a.StringValue != nil {
			buf = append(buf, 1)
			add(*a.StringValue)
		} else {
			buf = append(buf, 2)
			add(string(a.BinaryValue))
		}
	}
	return md5Hex(buf)
}

// Message is a message as an event source mapping hands it to a function: encoded as JSON it is a
// record of a Lambda SQS event.
type Message struct {
	ID                     string                      `json:"messageId"`
	ReceiptHandle          string                      `json:"receiptHandle"`
	Body                   string                      `json:"body"`
	MD5OfBody              string                      `json:"md5OfBody"`
	MD5OfMessageAttributes string                      `json:"md5OfMessageAttributes,omitempty"`
	Attributes             map[string]string           `json:"attributes"` // ApproximateReceiveCount, SentTimestamp, …
	MessageAttributes      map[string]MessageAttribute `json:"messageAttributes"`
	EventSource            string                      `json:"eventSource"` // aws:sqs
	EventSourceARN         string                      `json:"eventSourceARN"`
	AWSRegion              string                      `json:"awsRegion"`
}

// MessageAttribute is a message attribute in a Lambda SQS event.
type MessageAttribute struct {
	StringValue      *string  `json:"stringValue,omitempty"`
	BinaryValue      []byte   `json:"binaryValue,omitempty"`
	StringListValues []string `json:"stringListValues"` // always empty, and never null
	BinaryListValues [][]byte `json:"binaryListValues"` // likewise
	DataType         string   `json:"dataType"`
}

// record makes the event record of a received message.
func (q *queue) record(m *message) Message {
	attributes := make(map[string]MessageAttribute, len(m.attributes))
	for name, a := range m.attributes {
		attributes[name] = MessageAttribute{
			StringValue:      a.StringValue,
			BinaryValue:      a.BinaryValue,
			StringListValues: []string{},
			BinaryListValues: [][]byte{},
			DataType:         a.DataType,
		}
	}
	return Message{
		ID:                     m.id,
		ReceiptHandle:          m.handle(q),
		Body:                   m.body,
		MD5OfBody:              m.md5,
		MD5OfMessageAttributes: md5OfAttributes(m.attributes),
		Attributes:             m.system(),
		MessageAttributes:      attributes,
		EventSource:            "aws:sqs",
		EventSourceARN:         q.arn,
		AWSRegion:              cmp.Or(strings.Split(q.arn+":::", ":")[3], q.broker.opts.Region),
	}
}
