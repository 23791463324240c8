package soak

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// post is a request that an endpoint got.
type post struct {
	endpoint string
	event    string
	change   string // its name
	sequence string
	header   http.Header
	body     []byte
	at       time.Time
	accepted bool
}

// ours are the headers that the ledger keeps.
var ours = []string{
	"X-Webhook-Token", "X-Webhook-Signature", "X-Webhook-Attempt",
	"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Idempotency-Key",
}

// receivers are the endpoints of all organizations, each at a path of its own, and their ledger.
type receivers struct {
	url string

	mu        sync.Mutex // guards what follows
	posts     []*post
	answers   map[string]http.HandlerFunc     // by endpoint; without one it is 204
	first     map[string]map[string]time.Time // when a change's first request came, by endpoint and name
	delivered map[string]map[string]int       // how often a change was accepted, by endpoint and name
	bodies    map[[2]string][]byte            // by endpoint and event
}

// receive starts the endpoints, which end with the scenario.
func receive(t *testing.T) *receivers {
	r := &receivers{
		answers:   map[string]http.HandlerFunc{},
		first:     map[string]map[string]time.Time{},
		delivered: map[string]map[string]int{},
		bodies:    map[[2]string][]byte{},
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // what hangs would hold the server up
	r.url = server.URL
	return r
}

// answer sets what an endpoint does from now on.
func (r *receivers) answer(endpoint string, f http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[endpoint] = f
}

// status is an endpoint's answer with a status, and, unless it is "", with Retry-After.
func status(code int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
	}
}

// hang answers nothing until the sender gives up.
func hang(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() }

// after is an endpoint that takes its time and then answers 204.
func after(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		select {
		case <-time.After(d):
			w.WriteHeader(http.StatusNoContent)
		case <-request.Context().Done():
		}
	}
}

// ServeHTTP implements http.Handler.
func (r *receivers) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the sender was killed
	}
	p := &post{endpoint: strings.TrimPrefix(request.URL.Path, "/"), header: http.Header{}, body: body, at: time.Now()}
	for _, name := range ours {
		p.header[name] = request.Header[name]
	}
	var sent struct {
		Data struct {
			ID         string
			Attributes struct {
				DocumentID string `json:"document_id"`
				Status     string
				Sequence   string
			}
		}
	}
	if err := json.Unmarshal(body, &sent); err == nil { // else it is in the ledger without an event
		p.event, p.sequence = sent.Data.ID, sent.Data.Attributes.Sequence
		p.change = document{id: sent.Data.Attributes.DocumentID, status: sent.Data.Attributes.Status}.name()
	}
	r.mu.Lock()
	r.posts = append(r.posts, p)
	key := [2]string{p.endpoint, p.event}
	if first, known := r.bodies[key]; !known {
		r.bodies[key] = body
	} else if bytes.Equal(first, body) {
		p.body = first // kept once
	}
	if r.first[p.endpoint] == nil {
		r.first[p.endpoint], r.delivered[p.endpoint] = map[string]time.Time{}, map[string]int{}
	}
	if _, known := r.first[p.endpoint][p.change]; !known {
		r.first[p.endpoint][p.change] = p.at
	}
	answer := r.answers[p.endpoint]
	r.mu.Unlock()
	if answer == nil {
		answer = status(http.StatusNoContent, "")
	}
	recorder := &statusRecorder{ResponseWriter: w}
	answer(recorder, request)
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.accepted = recorder.status/100 == 2; p.accepted {
		r.delivered[p.endpoint][p.change]++
	}
}

// statusRecorder remembers the status of an answer, 0 if there is none.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// tried returns how many of the documents an endpoint has got at least once.
func (r *receivers) tried(endpoint string, documents []document) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, d := range documents {
		if _, ok := r.first[endpoint][d.name()]; ok {
			n++
		}
	}
	return n
}

// accepted returns how many of the documents an endpoint has answered with success.
func (r *receivers) accepted(endpoint string, documents []document) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, d := range documents {
		if r.delivered[endpoint][d.name()] > 0 {
			n++
		}
	}
	return n
}

// latencies returns how long after their change documents were first sent to an endpoint; those that were not are
// left out.
func (r *receivers) latencies(endpoint string, documents []document) []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []time.Duration
	for _, d := range documents {
		if at, ok := r.first[endpoint][d.name()]; ok {
			all = append(all, at.Sub(d.at))
		}
	}
	return all
}

// ledger returns all requests so far.
func (r *receivers) ledger() []post {
	r.mu.Lock()
	defer r.mu.Unlock()
	posts := make([]post, 0, len(r.posts))
	for _, p := range r.posts {
		posts = append(posts, *p)
	}
	return posts
}

// most returns how many requests there were, and how many of one event at one endpoint, those of some endpoints.
func (r *receivers) most(endpoints ...string) (all, ofOne int) {
	counts := map[[2]string]int{}
	for _, p := range r.ledger() {
		for _, endpoint := range endpoints {
			if p.endpoint == endpoint {
				all++
				counts[[2]string{p.endpoint, p.event}]++
				ofOne = max(ofOne, counts[[2]string{p.endpoint, p.event}])
			}
		}
	}
	return all, ofOne
}
