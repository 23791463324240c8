package soak

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
)

// line is what deliver's log says of a message.
type line struct {
	Level      string
	Msg        string    `json:"message"`
	Time       time.Time `json:"timestamp"` // of the machine's clock
	DeliveryID string    `json:"delivery_id"`
	MessageID  string    `json:"message_id"`
	Receives   int       `json:"receive_count"`
	Round      string
	Attempt    int
	Outcome    string
	Verdict    string
	Reason     string
	Error      string
	Duration   int64 `json:"duration_ms"`
}

// Lines of the log.
const (
	attempted = "attempt"
	unlogged  = "result not logged"
	unsent    = "not sent"
)

// began is when an attempt began.
func (l line) began() time.Time { return l.Time.Add(-time.Duration(l.Duration) * time.Millisecond) }

// failedBatch is a batch of deliver whose invocation came to no good end: the process was killed, or it took too long.
type failedBatch struct {
	at       time.Time
	messages []string // their ids
	why      string
}

// evidence is what the stack and its functions said while they worked. It explains what the ledgers cannot: who was
// killed between a POST and its log.
type evidence struct {
	lines   []line
	batches []failedBatch
}

var (
	batchPattern = regexp.MustCompile(`^time=(\S+) .*msg="the batch failed" function=DeliverFunction .*ids=(\S+) error=(.*)$`)
	deliverLine  = []byte("[DeliverFunction] {")
)

// take notes a line that the stack printed. It reports whether the line is of no further use.
func (e *evidence) take(text []byte) (spent bool) {
	if said, ok := bytes.CutPrefix(text, deliverLine[:len(deliverLine)-1]); ok && bytes.Contains(said, []byte(`"delivery_id":`)) {
		var l line
		if json.Unmarshal(said, &l) != nil {
			return false
		}
		e.lines = append(e.lines, l)
		return l.Level == "DEBUG" || l.Msg == attempted
	}
	if !bytes.Contains(text, []byte("the batch failed")) {
		return false
	}
	match := batchPattern.FindSubmatch(text)
	if match == nil || bytes.Contains(match[3], []byte("TooManyRequests")) { // throttled: the function was not reached
		return false
	}
	at, err := time.Parse(time.RFC3339, string(match[1]))
	if err != nil {
		return false
	}
	e.batches = append(e.batches, failedBatch{at: at, messages: strings.Split(string(match[2]), ","), why: string(match[3])})
	return false
}

// clone is what was noted so far.
func (e *evidence) clone() evidence {
	return evidence{lines: slices.Clone(e.lines), batches: slices.Clone(e.batches)}
}
