package functions_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/docuhook/docuhook/infra/local/localtest"
	"github.com/docuhook/docuhook/infra/samples"
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/webhook"
	"github.com/docuhook/docuhook/shared/wiring"
)

// goneConfig is of TestAnEndpointThatWasGone alone.
const goneConfig = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708196"

// post is a request that an endpoint has received.
type post struct {
	Path   string
	Header map[string]string
	Body   string
}

// sent is a message that a function has sent to a queue.
type sent struct {
	Queue        string
	Group        string
	DelaySeconds int `json:",omitempty"`
	Message      json.RawMessage
}

// effects are what a function did beside answering.
type effects struct {
	Sent       []sent            `json:",omitempty"`
	Visibility map[string]string `json:",omitempty"` // by message id, from now
	Posted     []post            `json:",omitempty"`
	Events     []string          `json:",omitempty"` // what is new in the record of events
	Log        []string          `json:",omitempty"` // the deliveries, with their attempts, that are new or have changed
}

// world is everything around the functions: the services of AWS and endpoints, in this process.
type world struct {
	samples.World
	services  *localtest.Services
	endpoints *httptest.Server
	messages  map[string]string // ids of the messages that are being received, by receipt handle
	before    map[string]bool   // lines of events and deliveries that were there before

	status atomic.Int64 // that the endpoint /changing answers

	mu      sync.Mutex
	effects effects
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{before: map[string]bool{}}
	w.services = localtest.NewServices(t, w.intercept)
	w.endpoints = httptest.NewServer(w)
	t.Cleanup(w.endpoints.Close)
	w.World = samples.World{
		AWS: aws.Config{
			Region:       "us-east-1",
			Credentials:  credentials.NewStaticCredentialsProvider("administrator", "-", ""),
			BaseEndpoint: &w.services.URL,
			HTTPClient:   wiring.Transport{Transport: &http.Transport{}},
		},
		Endpoints: w.endpoints.URL,
		Keyring:   w.services.Environment(t, "functions/deliver")["KEYRING_SECRET_ARN"],
		Queues:    w.services.QueueURL(""),
	}
	if err := w.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, line := range slices.Concat(w.recorded(t), w.log(t)) {
		w.before[line] = true
	}
	w.effects = effects{}
	return w
}

// ServeHTTP is the endpoints.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p := post{Path: r.URL.Path, Header: map[string]string{}, Body: string(body)}
	for name := range r.Header {
		p.Header[name] = r.Header.Get(name)
	}
	w.mu.Lock()
	w.effects.Posted = append(w.effects.Posted, p)
	w.mu.Unlock()
	if r.URL.Path == "/changing" {
		out.WriteHeader(int(w.status.Load()))
		return
	}
	samples.Endpoints().ServeHTTP(out, r)
}

// intercept sees the requests to the services. It refuses to list the configs of the other organization,
// so that a batch can fail in part, and notes what is sent to queues.
func (w *world) intercept(target string, body []byte) (exception string) {
	if target == "DynamoDB_20120810.Query" && bytes.Contains(body, []byte(samples.Foreign)) {
		return "ResourceNotFoundException"
	}
	if operation, ok := strings.CutPrefix(target, "AmazonSQS."); ok {
		w.note(strings.TrimSuffix(operation, "Batch"), body)
	}
	return ""
}

// note adds a request to the queues to the effects.
func (w *world) note(operation string, body []byte) {
	type entry struct {
		MessageBody       string
		MessageGroupID    string `json:"MessageGroupId"`
		DelaySeconds      int
		ReceiptHandle     string
		VisibilityTimeout int
	}
	var request struct {
		QueueURL string `json:"QueueUrl"`
		Entries  []entry
		entry
	}
	if json.Unmarshal(body, &request) != nil {
		return // the service refuses it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if request.Entries == nil {
		request.Entries = []entry{request.entry}
	}
	for _, one := range request.Entries {
		switch operation {
		case "SendMessage":
			w.effects.Sent = append(w.effects.Sent, sent{
				Queue:        request.QueueURL[strings.LastIndex(request.QueueURL, "/")+1:],
				Group:        one.MessageGroupID,
				DelaySeconds: one.DelaySeconds,
				Message:      json.RawMessage(one.MessageBody),
			})
		case "ChangeMessageVisibility":
			if w.effects.Visibility == nil {
				w.effects.Visibility = map[string]string{}
			}
			w.effects.Visibility[w.messages[one.ReceiptHandle]] = (time.Duration(one.VisibilityTimeout) * time.Second).String()
		}
	}
}

// receive makes the receipt handles of a sample event valid.
func (w *world) receive(t *testing.T, event []byte) []byte {
	t.Helper()
	event, messages, err := w.Receive(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	w.messages, w.effects = messages, effects{}
	return event
}

// served matches what a function's main says that it serves.
var served = regexp.MustCompile(`\benv\.([A-Z]\w*)\(\)`)

// serves returns the names of the methods of wiring.Environment whose results a function serves.
func serves(t *testing.T, folder string) []string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(folder, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range served.FindAllSubmatch(source, -1) {
		names = append(names, string(match[1]))
	}
	return names
}

// handler returns a function as its main makes it: what that calls of wiring is called here, with the
// variables of the template.
func (w *world) handler(t *testing.T, folder string) lambda.Handler {
	t.Helper()
	variables := w.services.Environment(t, "functions/"+folder)
	if folder == "deliver" {
		variables["ALLOW_PRIVATE_ADDRESSES"] = "true" // the endpoints are on this machine
	}
	env := wiring.On(wiring.Machine{
		Getenv: func(name string) string { return variables[name] },
		Out:    io.Discard,
		Exit:   func(int) { panic("the function cannot start") },
		Now:    samples.Now,
		Random: rand.NewChaCha8([32]byte{}),
		Jitter: func() float64 { return 0.5 },
	})
	var operations []api.Operation
	for _, name := range serves(t, folder) {
		made := reflect.ValueOf(env).MethodByName(name).Call(nil)[0]
		operation, ok := made.Interface().(api.Operation)
		if !ok {
			return lambda.NewHandler(made.MethodByName("Handle").Interface())
		}
		operations = append(operations, operation)
	}
	return lambda.NewHandler(env.Handler(operations...).Handle)
}

// done returns what has happened, in an order that does not change.
func (w *world) done(t *testing.T) effects {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.effects.Posted, func(a, b post) int {
		return slices.Compare([]string{a.Path, a.Header["Webhook-Id"]}, []string{b.Path, b.Header["Webhook-Id"]})
	})
	slices.SortStableFunc(w.effects.Sent, func(a, b sent) int {
		return strings.Compare(a.Group+string(a.Message), b.Group+string(b.Message))
	})
	known := func(line string) bool { return w.before[line] }
	w.effects.Events = slices.DeleteFunc(w.recorded(t), known)
	w.effects.Log = slices.DeleteFunc(w.log(t), known)
	return w.effects
}

// log returns a line for every delivery of the organization.
func (w *world) log(t *testing.T) (lines []string) {
	t.Helper()
	all, _, err := w.Deliveries().List(t.Context(), webhook.Selection{
		OrganizationID: samples.Organization,
		ConfigIDs:      []string{samples.ActiveConfig, samples.OffConfig, samples.FailingConfig},
		Limit:          100,
		Now:            samples.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		line := fmt.Sprintf("%s to %s: %s by %s,", d.Event.ID, short(d.ConfigID), d.Status, d.Trigger)
		for _, a := range d.Attempts {
			line += fmt.Sprintf(" %d:%d", a.Number, a.ResponseStatus)
		}
		if d.Waiting() {
			line += fmt.Sprintf(", next at %s, woken at %s", d.NextAttemptAt, d.WakeAt)
		}
		lines = append(lines, line)
	}
	return lines
}

// recorded returns a line for every event of the organization.
func (w *world) recorded(t *testing.T) (lines []string) {
	t.Helper()
	events, _, err := w.Events().List(t.Context(), webhook.EventSelection{
		OrganizationID: samples.Organization,
		Limit:          100,
		Now:            samples.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		line := fmt.Sprintf("%s: %s, to", e.Event.ID, e.Event.Status)
		for _, id := range e.ConfigIDs {
			line += " " + short(id)
		}
		lines = append(lines, line)
	}
	return lines
}

// short returns what tells the configs of the tests apart.
func short(configID string) string { return "…" + configID[len(configID)-3:] }
