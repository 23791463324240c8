package sqs

import (
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
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
	about        string    // while it is held: what it is about
	holdUntil    time.Time // then: when its visibility timeout ends

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
	body    string
	md5     string
	groupID string
	trace   string // AWSTraceHeader
	sender  string
	access  string // the sender's access key id
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

// md5OfTrace is the digest that SDKs verify of the system attributes that were sent: of AWSTraceHeader,
// the only one, its name, its data type and its value, each after its length, the value also after the
// byte that says it is a text. "" for none.
func md5OfTrace(trace string) string {
	if trace == "" {
		return ""
	}
	var buf []byte
	add := func(text string) {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(text)))
		buf = append(buf, text...)
	}
	add("AWSTraceHeader")
	add("String")
	buf = append(buf, 1)
	add(trace)
	return md5Hex(buf)
}

// Message is a message as an event source mapping hands it to a function: encoded as JSON it is a
// record of a Lambda SQS event.
type Message struct {
	ID                string            `json:"messageId"`
	ReceiptHandle     string            `json:"receiptHandle"`
	Body              string            `json:"body"`
	MD5OfBody         string            `json:"md5OfBody"`
	Attributes        map[string]string `json:"attributes"`        // ApproximateReceiveCount, SentTimestamp, …
	MessageAttributes struct{}          `json:"messageAttributes"` // no message here has any
	EventSource       string            `json:"eventSource"`       // aws:sqs
	EventSourceARN    string            `json:"eventSourceARN"`
	AWSRegion         string            `json:"awsRegion"`
}

// record makes the event record of a received message.
func (q *queue) record(m *message) Message {
	return Message{
		ID:             m.id,
		ReceiptHandle:  m.handle(q),
		Body:           m.body,
		MD5OfBody:      m.md5,
		Attributes:     m.system(),
		EventSource:    "aws:sqs",
		EventSourceARN: q.arn,
		AWSRegion:      cmp.Or(strings.Split(q.arn+":::", ":")[3], q.broker.opts.Region),
	}
}
