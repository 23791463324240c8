package api_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/contract"
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	ours   = "org_ours"
	theirs = "org_theirs"

	requestID = "JKJaXmPLvHcESHA="
	jsonAPI   = "application/vnd.api+json"
)

// start is the time at which every world begins.
var start = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// world is all that the API deals with, in memory. It belongs to one test.
type world struct {
	t          testing.TB
	now        time.Time
	random     io.Reader
	log        bytes.Buffer
	configs    map[string]*webhook.Config // by organization and id
	events     []webhook.EventRecord
	deliveries []webhook.Delivery
	documents  map[string]webhook.Document
	sent       []webhook.Message
	queues     []string // that each of sent went to
	secrets    []string // all that were ever issued

	policy webhook.URLPolicy
	limit  int
	uses   map[string]int // by organization, what and minute

	documentURL  webhook.DocumentURL
	openErr      error          // of the keyring
	beforeUpdate func()         // called by Update before it looks at the version
	sendErr      func() []error // what a queue answers
	useErr       error          // what counting a use answers
	addErr       func() []error // what the record of events answers
	pageOf       int            // how many deliveries or events one List examines; 0: all
}

// newWorld returns a world in production.
func newWorld(t testing.TB) *world {
	return &world{
		t:         t,
		now:       start,
		random:    rand.NewChaCha8([32]byte{}),
		configs:   map[string]*webhook.Config{},
		documents: map[string]webhook.Document{},
		policy:    webhook.URLPolicy{Address: endpoint.NewGuard(false).Check},
		limit:     100,
		uses:      map[string]int{},
	}
}

func (w *world) operations() []api.Operation {
	clock := func() time.Time { return w.now }
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	resends, tests := api.Budget{Uses: configs{w}, What: "resends", Limit: 60}, api.Budget{Uses: configs{w}, What: "tests", Limit: 30}
	lanes := api.Lanes{Fast: queue{w, deliveryQueue}, Retry: queue{w, retryQueue}}
	return []api.Operation{
		api.CreateConfig{Configs: configs{w}, Keyring: sealer{w}, Policy: w.policy, Limit: w.limit, Now: clock, Random: w.random},
		api.ListConfigs{Configs: configs{w}, Now: clock},
		api.GetConfig{Configs: configs{w}, Now: clock},
		api.UpdateConfig{Configs: configs{w}, Keyring: sealer{w}, Policy: w.policy, Log: log, Now: clock},
		api.DeleteConfig{Configs: configs{w}, Now: clock},
		api.RotateSecret{Configs: configs{w}, Keyring: sealer{w}, Now: clock, Random: w.random},
		api.SendTest{Budget: tests, Configs: configs{w}, Lanes: lanes, DocumentURL: w.documentURL, Now: clock, Random: w.random},
		api.ListEvents{Events: records{w}, Now: clock},
		api.GetEvent{Events: records{w}, Deliveries: deliveries{w}, Now: clock},
		api.ListDeliveries{Deliveries: deliveries{w}, Events: records{w}, Configs: configs{w}, Now: clock},
		api.GetDelivery{Deliveries: deliveries{w}, Now: clock},
		api.ResendDelivery{Budget: resends, Deliveries: deliveries{w}, Configs: configs{w}, Lanes: lanes, Now: clock},
		api.Resend{
			Budget:      resends,
			DocumentURL: w.documentURL,
			Configs:     configs{w},
			Documents:   documents{w},
			Events:      records{w},
			Deliveries:  deliveries{w},
			RetryQueue:  queue{w, retryQueue},
			Now:         clock,
		},
	}
}

// reply is what the API answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// call is a request.
type call struct {
	organization string // ours if empty
	method       string
	target       string
	body         string
	header       map[string]string // added to or replacing Content-Type: application/vnd.api+json
}

// do sends a request as API Gateway does. Every exchange must follow the contract, and none but
// create and rotate may answer a secret.
func (w *world) do(c call) reply {
	w.t.Helper()
	request, err := http.NewRequest(c.method, "https://api.example.com"+c.target, strings.NewReader(c.body))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", "dk_test_key")
	if c.body != "" {
		request.Header.Set("Content-Type", jsonAPI)
	}
	for name, value := range c.header {
		request.Header.Set(name, value)
		if value == "" {
			request.Header.Del(name)
		}
	}
	operations := w.operations()
	event := w.event(request, c, operations)
	answer, err := api.NewHandler(slog.New(slog.NewTextHandler(&w.log, nil)), operations...).Handle(w.t.Context(), event)
	if err != nil {
		w.t.Fatal(err)
	}
	r := reply{status: answer.StatusCode, header: http.Header{}, body: answer.Body}
	for name, value := range answer.Headers {
		r.header.Set(name, value)
	}
	contract.Check(w.t, request, []byte(c.body), &http.Response{StatusCode: r.status, Header: r.header}, []byte(r.body))
	if !w.shows(event.RouteKey, r) {
		for _, secret := range w.secrets {
			if strings.Contains(r.body, secret) {
				w.t.Errorf("%s %s answers a secret:\n%s", c.method, c.target, r.body)
			}
		}
	}
	return r
}

// shows reports whether an answer is one that shows credentials.
func (w *world) shows(route string, r reply) bool {
	return r.status < 300 && (route == "POST /v1/webhooks/configs" || strings.HasSuffix(route, "/rotate-secret"))
}

func (w *world) event(request *http.Request, c call, operations []api.Operation) events.APIGatewayV2HTTPRequest {
	route, id := find(operations, request)
	event := events.APIGatewayV2HTTPRequest{
		RouteKey: route, RawPath: request.URL.Path, RawQueryString: request.URL.RawQuery, Headers: map[string]string{}, Body: c.body,
		RequestContext: events.APIGatewayV2HTTPRequestContext{
			RequestID: requestID,
			HTTP:      events.APIGatewayV2HTTPRequestContextHTTPDescription{Method: request.Method, Path: request.URL.Path},
			Authorizer: &events.APIGatewayV2HTTPRequestContextAuthorizerDescription{
				Lambda: map[string]any{"organization_id": cmp.Or(c.organization, ours)},
			},
		},
	}
	if id != "" {
		event.PathParameters = map[string]string{"id": id}
	}
	for name, values := range request.Header {
		event.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	// API Gateway encodes what it does not take for text, and does not know JSON:API's media type.
	if c.body != "" && !strings.HasPrefix(request.Header.Get("Content-Type"), "application/json") {
		event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte(c.body)), true
	}
	return event
}

func find(operations []api.Operation, request *http.Request) (route, id string) {
	segments := strings.Split(request.URL.EscapedPath(), "/")
	for _, operation := range operations {
		key := operation.Route()
		method, path, _ := strings.Cut(key, " ")
		pattern := strings.Split(path, "/")
		if method != request.Method || len(pattern) != len(segments) {
			continue
		}
		matches, found := true, ""
		for i := range pattern {
			if pattern[i] == "{id}" {
				found, _ = url.PathUnescape(segments[i])
			} else {
				matches = matches && pattern[i] == segments[i]
			}
		}
		if matches {
			return key, found
		}
	}
	return "", ""
}

// must is do for a request that has to be answered with status. It decodes the document.
func (w *world) must(status int, c call) document {
	w.t.Helper()
	r := w.do(c)
	if r.status != status {
		w.t.Fatalf("%s %s: status %d, want %d:\n%s", c.method, c.target, r.status, status, r.body)
	}
	var d document
	if r.body != "" {
		if err := json.Unmarshal([]byte(r.body), &d); err != nil {
			w.t.Fatal(err)
		}
	}
	return d
}

// document is a document with one resource, with several, or with errors.
type document struct {
	Data   json.RawMessage
	Errors []struct {
		ID, Status, Code, Title, Detail string
		Source                          *struct{ Pointer, Parameter, Header *string }
	}
	Links struct{ Self, First, Next string }
	Meta  struct{ Accepted int }
}

type resource struct {
	Type, ID   string
	Attributes map[string]any
}

func (d document) one(t testing.TB) resource {
	t.Helper()
	var r resource
	if err := json.Unmarshal(d.Data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (d document) ids(t testing.TB) []string {
	t.Helper()
	var list []resource
	if err := json.Unmarshal(d.Data, &list); err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, r := range list {
		ids = append(ids, r.ID)
	}
	return ids
}

// golden compares an answer with testdata/NAME.http.
func golden(t *testing.T, name string, r reply) {
	t.Helper()
	var text bytes.Buffer
	fmt.Fprintf(&text, "HTTP/1.1 %d %s\n", r.status, http.StatusText(r.status))
	if err := r.header.Write(&text); err != nil {
		t.Fatal(err)
	}
	text.WriteString("\n")
	if r.body != "" {
		if err := json.Indent(&text, []byte(r.body), "", "  "); err != nil { // it keeps the end of the last line
			t.Fatal(err)
		}
	}
	got := strings.ReplaceAll(text.String(), "\r\n", "\n")
	path := filepath.Join("testdata", name+".http")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// config stores a config. change, which may be nil, makes it special.
func (w *world) config(organizationID string, n int, change func(*webhook.Config)) *webhook.Config {
	id, err := webhook.NewConfigID(start.Add(time.Duration(n)*time.Minute), rand.NewChaCha8([32]byte{byte(len(organizationID)), byte(n)}))
	if err != nil {
		w.t.Fatal(err)
	}
	credentials, err := signature.NewCredentials(rand.NewChaCha8([32]byte{byte(len(organizationID)), byte(n), 1}))
	if err != nil {
		w.t.Fatal(err)
	}
	c := &webhook.Config{
		OrganizationID: organizationID, ID: id, URL: "https://hooks.example.com/docuhook", Description: "Billing",
		SubscribedStatuses: []webhook.Status{webhook.Processed, webhook.Failed}, Active: true, SecretPrefix: credentials.Prefix(),
		Version: 3, CreatedAt: webhook.At(start.Add(-24 * time.Hour)), UpdatedAt: webhook.At(start.Add(-time.Hour)),
	}
	c.Sealed, _ = sealer{w}.Seal(w.t.Context(), credentials, organizationID, id)
	if change != nil {
		change(c)
	}
	w.configs[organizationID+"/"+c.ID] = c
	return c
}

// record records an event that was sent to configs.
func (w *world) record(organizationID string, event webhook.Event, configIDs ...string) *webhook.EventRecord {
	at := slices.IndexFunc(w.events, func(r webhook.EventRecord) bool {
		return r.OrganizationID == organizationID && r.Event.ID == event.ID
	})
	if at < 0 {
		at = len(w.events)
		w.events = append(w.events, webhook.EventRecord{OrganizationID: organizationID, Event: event})
		w.events[at].ExpiresAt = webhook.At(w.events[at].CreatedAt().Add(webhook.Retention))
	}
	known := &w.events[at].ConfigIDs
	for _, id := range configIDs {
		if !slices.Contains(*known, id) {
			*known = append(slices.Clip(*known), id)
		}
	}
	return &w.events[at]
}

// event returns an event of a document of ours, n minutes before start.
func event(n int, status webhook.Status) webhook.Event {
	at := start.Add(-time.Duration(n) * time.Minute)
	sequence, err := webhook.NewSequence(fmt.Sprint(1_000_000 - n))
	if err != nil {
		panic(err)
	}
	return webhook.Event{
		Version: webhook.RenderVersion, ID: webhook.NewEventID(at, fmt.Sprint(n, status)), DocumentID: "doc_" + ours,
		Status: status, PreviousStatus: webhook.Processing, Sequence: sequence, OccurredAt: webhook.At(at),
	}
}

// delivery logs a delivery to c, of an event n minutes before start, and records the event.
func (w *world) delivery(c *webhook.Config, n int, change func(*webhook.Delivery)) webhook.Delivery {
	at := start.Add(-time.Duration(n) * time.Minute)
	delivered := webhook.At(at.Add(1085 * time.Millisecond))
	d := webhook.Delivery{
		OrganizationID: c.OrganizationID, ConfigID: c.ID, Status: webhook.Delivered, Trigger: webhook.StatusChange,
		Event: webhook.Event{
			Version: 1, ID: webhook.NewEventID(at, c.ID), DocumentID: "doc_" + c.OrganizationID, Status: webhook.Processed,
			PreviousStatus: webhook.Processing, OccurredAt: webhook.At(at),
		},
		Attempts: []webhook.Attempt{{
			Number:         1,
			StartedAt:      webhook.At(at.Add(time.Second)),
			Duration:       85 * time.Millisecond,
			ResponseStatus: 204,
		}},
		RequestedAt: webhook.At(at), Round: webhook.FirstRound, Attempt: 1, EndedAt: delivered,
		DoneFor: webhook.At(at), DeliveredAt: delivered, ExpiresAt: webhook.At(at.Add(webhook.Retention)), Revision: 1,
	}
	if change != nil {
		change(&d)
	}
	w.deliveries = append(w.deliveries, d)
	if !d.Event.Test {
		w.record(c.OrganizationID, d.Event, c.ID)
	}
	return d
}

// failing makes a delivery one that has failed for good.
func failing(d *webhook.Delivery) {
	d.Status, d.DoneFor, d.DeliveredAt = webhook.DeliveryFailed, webhook.Time{}, webhook.Time{}
	d.FailedAt = webhook.At(d.Event.OccurredAt.Add(21 * time.Minute))
	d.Attempt, d.EndedAt, d.EndedBy = 5, d.FailedAt, "message-5"
	d.Attempts = []webhook.Attempt{{
		Number: 5, StartedAt: d.FailedAt, Duration: 2 * time.Second, ResponseStatus: 500, ErrorCode: "http_status",
		Error: "the endpoint answered 500", ResponseSnippet: "out of <order>",
	}}
}

// canceled makes a delivery one that was canceled before its first attempt.
func canceled(d *webhook.Delivery) {
	d.Status, d.Attempts, d.Attempt, d.DeliveredAt, d.DoneFor = webhook.Canceled, nil, 0, webhook.Time{}, webhook.Time{}
}

// retrying makes a delivery one that is tried again soon after start.
func retrying(d *webhook.Delivery) { due(time.Minute)(d) }

// due makes a delivery one that is tried again some time after start, or was to be before it.
func due(after time.Duration) func(*webhook.Delivery) {
	return func(d *webhook.Delivery) {
		d.Status, d.EndedAt, d.DoneFor, d.DeliveredAt = webhook.Retrying, webhook.Time{}, webhook.Time{}, webhook.Time{}
		d.NextAttemptAt = webhook.At(start.Add(after))
		d.WakeAt = webhook.At(start.Add(after + 15*time.Minute))
		d.Attempts = []webhook.Attempt{{
			Number:    1,
			StartedAt: d.Event.OccurredAt,
			Duration:  15 * time.Second,
			ErrorCode: "timeout",
			Error:     "no answer in time",
		}}
	}
}
