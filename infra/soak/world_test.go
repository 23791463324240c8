package soak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/signature"
)

// world is a running stack with endpoints, the configs that lead to them, and the changes that were written.
type world struct {
	*stack
	*receivers

	mu       sync.Mutex // guards what follows, and the fields of configs that change
	configs  []*config
	changes  []document
	resends  map[[2]string]int // by config and event, or toAll; also if nobody knows whether it was accepted
	ordered  []order           // resends of a period
	redrives int

	processed int // changes to this status
}

// config leads to an endpoint. Times are of the machine's clock.
type config struct {
	organization string
	id           string
	endpoint     string
	created      time.Time
	credentials  []issued // the last ones first; none if the answer that had them was lost
	former       []former
	off          []span // when it was inactive, or deleted
	overlapEnds  string // as the API says it
	doubtful     []span // when it may have had credentials that nobody was told
}

// issued are credentials, and when they were valid.
type issued struct {
	signature.Credentials
	span
}

// former is an endpoint that a config led to until it was given another URL.
type former struct {
	endpoint string
	until    time.Time
}

// span is a time, without an end if to is zero.
type span struct{ from, to time.Time }

// covers reports whether t lies in s, or misses it by no more than slack.
func (s span) covers(t time.Time, slack time.Duration) bool {
	return !t.Before(s.from.Add(-slack)) && (s.to.IsZero() || !t.After(s.to.Add(slack)))
}

// document is the change of a document's status.
type document struct {
	organization string
	id           string
	status       string
	at           time.Time
}

// name tells a change from all others: a document has each status once.
func (d document) name() string { return d.id + " " + d.status }

// newWorld starts a stack and its endpoints. In the end the ledgers are compared.
func newWorld(t *testing.T, scale float64, flags ...string) *world {
	t.Helper()
	return &world{stack: start(t, scale, flags...), receivers: receive(t), resends: map[[2]string]int{}}
}

// answer is a response of the API.
type answer struct {
	status int
	body   []byte
}

// call makes a request of an organization. attributes, unless they are nil, are those of a resource.
func (w *world) call(organization, method, path, kind, id string, attributes map[string]any) answer {
	w.t.Helper()
	var body io.Reader
	if attributes != nil {
		resource := map[string]any{"type": kind, "attributes": attributes}
		if id != "" {
			resource["id"] = id
		}
		text, err := json.Marshal(map[string]any{"data": resource})
		if err != nil {
			w.t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.API+"/v1/webhooks"+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", "key_"+organization)
	if body != nil {
		request.Header.Set("Content-Type", "application/vnd.api+json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{status: response.StatusCode, body: text}
}

// decode reads a document of the API.
func decode[T any](t *testing.T, a answer) T {
	t.Helper()
	var into T
	if err := json.Unmarshal(a.body, &into); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return into
}

// register makes a config of an organization that leads to an endpoint.
func (w *world) register(organization, endpoint string) *config {
	w.t.Helper()
	c, got := w.tryRegister(organization, endpoint)
	if c == nil {
		w.t.Fatalf("creating a config was answered %d: %s", got.status, got.body)
	}
	return c
}

// tryRegister returns nil if the config may not have been made.
func (w *world) tryRegister(organization, endpoint string) (*config, answer) {
	w.t.Helper()
	began := time.Now()
	got := w.call(organization, http.MethodPost, "/configs", "webhook_config", "", map[string]any{
		"url": w.receivers.url + "/" + endpoint, "subscribed_statuses": []string{"processed"},
	})
	if got.status != http.StatusCreated {
		return nil, got
	}
	made := decode[struct {
		Data struct {
			ID         string
			Attributes shown
		}
	}](w.t, got)
	c := &config{
		organization: organization,
		id:           made.Data.ID,
		endpoint:     endpoint,
		created:      time.Now(),
		credentials:  []issued{{made.Data.Attributes.credentials(), span{from: began}}},
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.configs = append(w.configs, c)
	return c, got
}

// shown are credentials as the API shows them.
type shown struct {
	Token, Secret string
	OverlapEnds   string `json:"previous_secret_expires_at"`
}

func (s shown) credentials() signature.Credentials {
	return signature.Credentials{Token: signature.Secret(s.Token), Secret: signature.Secret(s.Secret)}
}

// delivery is what the API shows of one.
type delivery struct {
	ID         string
	Attributes struct {
		Status   string
		Attempts []struct {
			ErrorCode string `json:"error_code"`
		}
	}
}

// deliveries returns the last deliveries of an organization, at most 100.
func (w *world) deliveries(organization string) []delivery {
	w.t.Helper()
	list := w.call(organization, http.MethodGet, "/deliveries?page[size]=100", "", "", nil)
	return decode[struct{ Data []delivery }](w.t, list).Data
}

// numbers of documents, so that their ids differ.
var numbers atomic.Int64

// change lets n new documents of an organization be processed, and notes it.
func (w *world) change(organization string, n int) []document {
	w.t.Helper()
	written := make([]document, n)
	var wait sync.WaitGroup
	free := make(chan struct{}, 16)
	for i := range written {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			written[i] = w.write(organization, fmt.Sprintf("doc_%06d", numbers.Add(1)), "processed")
		})
	}
	wait.Wait()
	return written
}

// interleave lets n new documents of each of two organizations be processed, one of each in turn, so that a batch
// holds both.
func (w *world) interleave(one, other string, n int) (ones, others []document) {
	w.t.Helper()
	ones, others = make([]document, n), make([]document, n)
	var wait sync.WaitGroup
	free := make(chan struct{}, 8)
	for i := range n {
		free <- struct{}{}
		wait.Go(func() {
			defer func() { <-free }()
			ones[i] = w.write(one, fmt.Sprintf("doc_%06d", numbers.Add(1)), "processed")
			others[i] = w.write(other, fmt.Sprintf("doc_%06d", numbers.Add(1)), "processed")
		})
	}
	wait.Wait()
	return ones, others
}

// paced is change at a rate that leaves nothing to wait for, 50 a second.
func (w *world) paced(organization string, n int) (written []document) {
	w.t.Helper()
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for range n {
		<-ticks.C
		written = append(written, w.change(organization, 1)...)
	}
	return written
}

// write writes a document, as the document system does, and notes it.
func (w *world) write(organization, id, status string) document {
	d := document{organization: organization, id: id, status: status, at: time.Now()}
	_, err := w.dynamo.PutItem(w.t.Context(), &dynamodb.PutItemInput{
		TableName: aws.String("DocumentsTable"),
		Item: map[string]types.AttributeValue{
			"id":              &types.AttributeValueMemberS{Value: d.id},
			"organization_id": &types.AttributeValueMemberS{Value: organization},
			"status":          &types.AttributeValueMemberS{Value: status},
		},
	})
	if err != nil {
		w.t.Errorf("writing a document: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, d)
	if status == "processed" {
		w.processed++
	}
	return d
}

// patience is how long a scenario waits for what must happen soon.
const patience = time.Minute

// send changes n documents and returns how long it took until an endpoint had been sent all of them.
func (w *world) send(organization, endpoint string, n int) time.Duration {
	w.t.Helper()
	began := time.Now()
	documents := w.change(organization, n)
	w.sent(endpoint, documents, patience)
	return w.lasted(began, endpoint, documents)
}

// sent waits until an endpoint has been sent all of the documents.
func (w *world) sent(endpoint string, documents []document, patience time.Duration) bool {
	w.t.Helper()
	what := fmt.Sprintf("the %d webhooks to %s", len(documents), endpoint)
	return eventually(w.t, patience, what, func() bool { return w.tried(endpoint, documents) == len(documents) })
}

// delivers waits until an endpoint has accepted all of the documents.
func (w *world) delivers(endpoint string, documents []document, patience time.Duration) bool {
	w.t.Helper()
	what := fmt.Sprintf("the %d deliveries to %s", len(documents), endpoint)
	return eventually(w.t, patience, what, func() bool { return w.receivers.accepted(endpoint, documents) == len(documents) })
}

// lasted returns how long after a time the last of the documents was sent; what was not sent is sent now at the
// earliest.
func (w *world) lasted(began time.Time, endpoint string, documents []document) time.Duration {
	w.receivers.mu.Lock()
	defer w.receivers.mu.Unlock()
	last := began
	for _, d := range documents {
		at, sent := w.first[endpoint][d.name()]
		if !sent {
			at = time.Now()
		}
		if at.After(last) {
			last = at
		}
	}
	return last.Sub(began)
}

// know lets an endpoint answer some webhooks as it will, so that the product knows how quick it is.
func (w *world) know(organization, endpoint string, n int) {
	w.t.Helper()
	w.delivers(endpoint, w.change(organization, n), patience)
}

// quantile returns the value below which a share of values lies.
func quantile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func median[T int | float64 | time.Duration](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// brief is a duration for people.
func brief(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }
