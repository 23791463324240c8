package functions_test

import (
	"bytes"
	"encoding/json"
	"errors"
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
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/infra/local/localtest"
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/secrets"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
	"github.com/docuhook/docuhook/shared/wiring"
)

// What the sample events speak of.
const (
	organization  = "9b2f4c1e-5d3a-4f7b-8a60-1c2d3e4f5a6b"
	foreign       = "00000000-5d3a-4f7b-8a60-1c2d3e4f5a6b"
	document      = "5b1ff6c2-95d3-4b8e-8e53-9f2d4ad1b7c4"
	activeConfig  = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708192"
	offConfig     = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708193"
	failingConfig = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708194" // its endpoint answers 500
	foreignConfig = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708195"
	goneConfig    = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708196" // of TestAnEndpointThatWasGone alone
)

// now is the time of every replay, half a minute after the sample events.
func now() time.Time { return time.Date(2026, 3, 14, 15, 10, 0, 0, time.UTC) }

// sample is the time of the sample events.
func sample() time.Time { return time.Unix(1773500966, 0).UTC() }

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
	services   *localtest.Services
	aws        aws.Config // of an administrator
	configs    *dynamo.Configs
	events     *dynamo.Events
	deliveries *dynamo.Deliveries
	endpoints  *httptest.Server
	messages   map[string]string // ids of the messages that are being received, by receipt handle
	before     map[string]bool   // lines of events and deliveries that were there before

	status atomic.Int64 // that the endpoint /changing answers

	mu      sync.Mutex
	effects effects
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{messages: map[string]string{}, before: map[string]bool{}}
	w.services = localtest.NewServices(t, w.intercept)
	w.aws = aws.Config{
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("administrator", "-", ""),
		BaseEndpoint: &w.services.URL,
	}
	client := dynamodb.NewFromConfig(w.aws)
	w.configs = &dynamo.Configs{Client: client, Table: "ConfigsTable"}
	w.events = &dynamo.Events{Client: client, Table: "EventsTable"}
	w.deliveries = &dynamo.Deliveries{Client: client, Table: "DeliveriesTable"}
	w.endpoints = httptest.NewServer(w)
	t.Cleanup(w.endpoints.Close)
	w.seed(t)
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
	switch r.URL.Path {
	case "/failing":
		http.Error(out, "out of order", http.StatusInternalServerError)
	case "/changing":
		out.WriteHeader(int(w.status.Load()))
	}
}

// intercept sees the requests to the services. It refuses to list the configs of the other organization,
// so that a batch can fail in part, and notes what is sent to queues.
func (w *world) intercept(target string, body []byte) (exception string) {
	if target == "DynamoDB_20120810.Query" && bytes.Contains(body, []byte(foreign)) {
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

// receipt matches what a sample event says of the message that it hands over.
var receipt = regexp.MustCompile(`"messageId": "([^"]*)",\s*"receiptHandle": "([^"]*)",\s*"body": ("(?:[^"\\]|\\.)*")`)

// source matches the queue of a message in a sample event, by its logical id.
var source = regexp.MustCompile(`"eventSourceARN": "(arn:aws:sqs:[^"]*:)docuhook-(\w+)-\w+"`)

// receive puts the messages of a sample event into their queue and receives them, so that the event has
// receipt handles that are valid.
func (w *world) receive(t *testing.T, event []byte) []byte {
	t.Helper()
	from := source.FindSubmatch(event)
	if from == nil {
		return event
	}
	client, queue := sqs.NewFromConfig(w.aws), w.services.QueueURL(string(from[2]))
	for _, match := range receipt.FindAllSubmatch(event, -1) {
		var body string
		if err := json.Unmarshal(match[3], &body); err != nil {
			t.Fatal(err)
		}
		if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
		out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue})
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("received %v: %v", out, err)
		}
		handle := *out.Messages[0].ReceiptHandle
		w.messages[handle] = string(match[1])
		event = bytes.Replace(event, match[2], []byte(handle), 1)
	}
	w.effects = effects{}
	return source.ReplaceAll(event, []byte(`"eventSourceARN": "$1$2"`)) // the queue's name is its logical id here
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
		Now:    now,
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

// config stores an active config, with credentials, that change makes special.
func (w *world) config(t *testing.T, id string, change func(*webhook.Config)) {
	t.Helper()
	created := webhook.At(sample().Add(-24 * time.Hour))
	c := &webhook.Config{
		OrganizationID:     organization,
		ID:                 id,
		URL:                w.endpoints.URL + "/",
		Active:             true,
		SubscribedStatuses: webhook.Statuses(),
		SecretPrefix:       "whsec_example",
		Version:            1,
		CreatedAt:          created,
		UpdatedAt:          created,
	}
	change(c)
	ring := &keyring.Cache{
		Source: &secrets.Secret{
			Client: secretsmanager.NewFromConfig(w.aws),
			ARN:    w.services.Environment(t, "functions/deliver")["KEYRING_SECRET_ARN"],
		},
		Now: now,
	}
	var err error
	issued := signature.Credentials{
		Token:  "whtok_of_" + signature.Secret(id),
		Secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	}
	if c.Sealed, err = ring.Seal(t.Context(), issued, c.OrganizationID, c.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.configs.Create(t.Context(), c, 100); err != nil {
		t.Fatal(err)
	}
}

// seed puts into the tables what the sample events speak of.
func (w *world) seed(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for id, change := range map[string]func(*webhook.Config){
		activeConfig: func(c *webhook.Config) {
			c.URL, c.FastUntil = w.endpoints.URL+"/ok", webhook.At(sample().Add(20*24*time.Hour))
		},
		offConfig: func(c *webhook.Config) { c.Active, c.DeactivatedReason = false, webhook.EndpointGone },
		failingConfig: func(c *webhook.Config) {
			c.URL, c.SubscribedStatuses = w.endpoints.URL+"/failing", []webhook.Status{webhook.Processed}
		},
		foreignConfig: func(c *webhook.Config) { c.OrganizationID = foreign },
	} {
		w.config(t, id, change)
	}
	first := round{name: webhook.FirstRound, requestedAt: webhook.At(sample()), trigger: webhook.StatusChange}
	again := round{
		name:        webhook.LaterRound(sample().Add(10*time.Second), "again"),
		requestedAt: webhook.At(sample().Add(10 * time.Second)),
		trigger:     webhook.Resend,
	}
	w.logged(t, activeConfig, "delivered", first, webhook.Retrying, 1)
	w.logged(t, activeConfig, "delivered", first, webhook.Delivered, 2)
	w.logged(t, failingConfig, "delivered", first, webhook.Canceled, 1)
	w.logged(t, failingConfig, "retrying", first, webhook.Retrying, 1)
	w.logged(t, failingConfig, "fifth", first, webhook.Retrying, 4)
	w.logged(t, failingConfig, "failed", first, webhook.DeliveryFailed, 5)
	w.logged(t, activeConfig, "redriven", first, webhook.DeliveryFailed, 5)
	w.logged(t, activeConfig, "resent", first, webhook.Retrying, 1)
	w.logged(t, activeConfig, "resent", again, webhook.Retrying, 1)
	w.logged(t, activeConfig, "due", round{
		name:        webhook.FirstRound,
		requestedAt: webhook.At(sample().Add(-2 * time.Hour)),
		trigger:     webhook.StatusChange,
	}, webhook.Retrying, 3)
	w.record(t, organization, "missing", sample().Add(-2*time.Hour), activeConfig, failingConfig)
	w.record(t, organization, "nobody's", sample().Add(-time.Hour))
	w.record(t, foreign, "foreign", sample(), foreignConfig)
	client := dynamodb.NewFromConfig(w.aws)
	keys := &dynamo.APIKeys{Client: client, Table: "ApiKeysTable"}
	for key, revoked := range map[string]string{
		"dk_test_abcdefghijklmnopqrstuvwxyz234567": "",
		"dk_test_revokedrevokedrevokedrevoked2222": sample().Format(time.RFC3339),
	} {
		if err := keys.Add(ctx, apikey.Key{
			Hash:           apikey.Hash(key),
			OrganizationID: organization,
			CreatedAt:      sample().Format(time.RFC3339),
			RevokedAt:      revoked,
		}); err != nil {
			t.Fatal(err)
		}
	}
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	if _, err := client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String("DocumentsTable"),
		Item: map[string]types.AttributeValue{
			"id":              text(document),
			"organization_id": text(organization),
			"status":          text("processed"),
			"updated_at":      text("2026-03-14T15:09:26.535Z"),
		},
	}); err != nil {
		t.Fatal(err)
	}
}

// event returns the event of a seed, of the organization's document.
func event(seed string, at time.Time) webhook.Event {
	return webhook.Event{
		Version:        webhook.RenderVersion,
		ID:             webhook.NewEventID(at, seed),
		DocumentID:     document,
		Status:         webhook.Processed,
		PreviousStatus: webhook.Processing,
		Sequence:       "0000000000004421584500000000017450439091",
		OccurredAt:     webhook.At(at),
	}
}

// record records the event of a seed as one that was sent to configs.
func (w *world) record(t *testing.T, organizationID, seed string, at time.Time, configs ...string) {
	t.Helper()
	if errs := w.events.Add(t.Context(), []webhook.EventRecord{{
		OrganizationID: organizationID,
		Event:          event(seed, at),
		ConfigIDs:      configs,
		ExpiresAt:      webhook.At(at.Add(webhook.Retention)),
	}}); errs != nil {
		t.Fatal(errs)
	}
}

// round is a round of a delivery.
type round struct {
	name        string
	requestedAt webhook.Time
	trigger     webhook.Trigger
}

// logged adds an attempt to the delivery of the event of a seed, as many seconds after the round was asked for as it
// has attempts, and records the event.
func (w *world) logged(t *testing.T, config, seed string, r round, status webhook.DeliveryStatus, number int) {
	t.Helper()
	happened := sample()
	if r.requestedAt.Before(happened) {
		happened = r.requestedAt.Time
	}
	e := event(seed, happened)
	w.record(t, organization, seed, happened, config)
	known, err := w.deliveries.Get(t.Context(), organization, config, e.ID)
	if err != nil && !errors.Is(err, webhook.ErrNotFound) {
		t.Fatal(err)
	}
	at := webhook.At(r.requestedAt.Add(time.Duration(number) * time.Second))
	outcome := webhook.Outcome{
		Known:      known,
		MessageID:  "b7e1f0a9-f796-459a-8184-9c92662be6db",
		Status:     status,
		At:         at,
		DeadLetter: status == webhook.DeliveryFailed,
		Message: webhook.Message{
			OrganizationID: organization,
			ConfigID:       config,
			Event:          e,
			RequestedAt:    r.requestedAt,
			Trigger:        r.trigger,
			Round:          r.name,
			Attempt:        number,
			NotBefore:      at,
		},
	}
	if status != webhook.Canceled {
		outcome.Tried = &webhook.Attempt{
			Number:         number,
			MessageID:      outcome.MessageID,
			StartedAt:      at,
			Duration:       100 * time.Millisecond,
			ResponseStatus: 204,
		}
	}
	if status == webhook.Retrying || status == webhook.DeliveryFailed {
		outcome.Tried.ResponseStatus, outcome.Tried.ErrorCode, outcome.Tried.Error = 500, "http_status", "the endpoint answered 500"
	}
	if status == webhook.Retrying {
		outcome.NextAttemptAt = webhook.At(at.Add(10 * time.Second))
	}
	if number == 3 { // so late that no message waits for it
		outcome.NextAttemptAt = webhook.At(at.Add(90 * time.Minute))
	}
	if recorded := w.deliveries.Record(t.Context(), []webhook.Outcome{outcome}); recorded[0].Err != nil {
		t.Fatal(recorded[0].Err)
	}
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
	all, _, err := w.deliveries.List(t.Context(), webhook.Selection{
		OrganizationID: organization,
		ConfigIDs:      []string{activeConfig, offConfig, failingConfig},
		Limit:          100,
		Now:            now(),
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
	events, _, err := w.events.List(t.Context(), webhook.EventSelection{OrganizationID: organization, Limit: 100, Now: now()})
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
