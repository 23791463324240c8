package journal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Request is a request that the demo's endpoint has received.
type Request struct {
	ArrivedAt  time.Time   `json:"arrived_at"`
	Headers    [][2]string `json:"headers"`
	Body       string      `json:"body"`
	Verified   bool        `json:"verified"`
	Rejected   string      `json:"rejected"`   // why it is not to be trusted
	Answered   int         `json:"answered"`   // HTTP status; 0: not yet, or never
	GaveUp     bool        `json:"gave_up"`    // the sender hung up before there was an answer
	TookMS     float64     `json:"took_ms"`    // from its arrival to the answer or the end
	Unexpected bool        `json:"unexpected"` // it belongs to no event
}

// Arrived tells of a request at the demo's endpoint; rejected says why it is not to be trusted, nil
// that it was verified. The function that it returns tells of the answer, with the HTTP status, or 0
// if the sender gave up before.
func (j *Journal) Arrived(at time.Time, header http.Header, body []byte, rejected error) (answered func(at time.Time, status int)) {
	arrived := j.options.Clock.At(at)
	r := &Request{ArrivedAt: arrived, Body: string(body[:min(len(body), keptBody)]), Verified: rejected == nil}
	if rejected != nil {
		r.Rejected = rejected.Error()
	}
	for name, values := range header {
		r.Headers = append(r.Headers, [2]string{name, strings.Join(values, ", ")})
	}
	slices.SortFunc(r.Headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	if len(body) > keptBody {
		r.Body += fmt.Sprintf("… and %d bytes more", len(body)-keptBody)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	d := j.deliveryOf(header.Get("Webhook-Id"), body, arrived, rejected == nil)
	if d == nil {
		r.Unexpected = true
		d = j.flow(fmt.Sprintf("request %d", j.serial+1), arrived).delivery("")
	}
	d.requests = append(d.requests, r)
	d.requests = d.requests[max(0, len(d.requests)-keptSteps):]
	j.touch(d.flow)
	return func(answered time.Time, status int) {
		j.mu.Lock()
		defer j.mu.Unlock()
		r.Answered, r.GaveUp = status, status == 0
		r.TookMS = float64(answered.Sub(at).Microseconds()) / 1000
		j.touch(d.flow)
	}
}

// deliveryOf finds the delivery that a request says it belongs to, nil if there is none such. A
// verified request may be the first that is heard of it, because messages are taken in with a pause.
func (j *Journal) deliveryOf(eventID string, body []byte, at time.Time, verified bool) *delivery {
	var document struct {
		Data struct {
			Relationships struct {
				Config struct{ Data struct{ ID string } } `json:"webhook_config"`
			}
		}
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return nil
	}
	configID := document.Data.Relationships.Config.Data.ID
	if verified {
		return j.flow(eventID, at).delivery(configID)
	}
	if f := j.flows[eventID]; f != nil {
		for _, d := range f.deliveries {
			if d.ConfigID == configID {
				return d
			}
		}
	}
	return nil
}
