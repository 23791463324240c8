package api_test

import (
	"bytes"
	"cmp"
	"context"
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
	deliveries []webhook.Delivery
	documents  map[string]webhook.Document
	sent       []webhook.Message
	secrets    []string // all that were ever issued

	policy webhook.URLPolicy
	limit  int

	beforeUpdate func()         // called by Update before it looks at the version
	sendErr      func() []error // what the queue answers
	pageOf       int            // how many deliveries one List examines; 0: all
}

// newWorld returns a world in production.
func newWorld(t testing.TB) *world {
	return &world{
		t: t, now: start, random: rand.NewChaCha8([32]byte{}), configs: map[string]*webhook.Config{}, documents: map[string]webhook.Document{},
		policy: webhook.URLPolicy{Address: endpoint.NewGuard(false).Check}, limit: 100,
	}
}

func (w *world) operations() []api.Operation {
	clock := func() time.Time { return w.now }
	return []api.Operation{
		api.CreateConfig{Configs: configs{w}, Keyring: sealer{w}, Policy: w.policy, Limit: w.limit, Now: clock, Random: w.random},
		api.ListConfigs{Configs: configs{w}, Now: clock},
		api.GetConfig{Configs: configs{w}, Now: clock},
		api.UpdateConfig{Configs: configs{w}, Policy: w.policy, Now: clock},
		api.DeleteConfig{Configs: configs{w}, Now: clock},
		api.RotateSecret{Configs: configs{w}, Keyring: sealer{w}, Now: clock, Random: w.random},
		api.SendTest{Configs: configs{w}, Queue: queue{w}, Now: clock, Random: w.random},
		api.ListDeliveries{Deliveries: deliveries{w}, Configs: configs{w}, Now: clock},
		api.GetDelivery{Deliveries: deliveries{w}, Now: clock},
		api.ResendDelivery{Deliveries: deliveries{w}, Configs: configs{w}, Queue: queue{w}, Now: clock},
		api.Resend{
			Configs:    configs{w},
			Documents:  documents{w},
			Deliveries: deliveries{w},
			Queue:      queue{w},
			Now:        clock,
			Random:     w.random,
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
		if err := json.Indent(&text, []byte(r.body), "", "  "); err != nil {
			t.Fatal(err)
		}
		text.WriteString("\n")
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

// configs is the store of configs.
type configs struct{ *world }

func (s configs) live(organizationID, id string) *webhook.Config {
	c := s.configs[organizationID+"/"+id]
	if c == nil || c.Deleted() {
		return nil
	}
	return c
}

func (s configs) Create(_ context.Context, c *webhook.Config, limit int) error {
	if all, _ := s.List(context.Background(), c.OrganizationID, nil, "", limit); len(all) >= limit {
		return webhook.ErrLimit
	}
	copied := *c
	s.configs[c.OrganizationID+"/"+c.ID] = &copied
	return nil
}

func (s configs) Get(_ context.Context, organizationID, id string) (*webhook.Config, error) {
	c := s.live(organizationID, id)
	if c == nil {
		return nil, webhook.ErrNotFound
	}
	copied := *c
	return &copied, nil
}

func (s configs) Update(_ context.Context, c *webhook.Config) error {
	if s.beforeUpdate != nil {
		s.beforeUpdate()
	}
	stored := s.live(c.OrganizationID, c.ID)
	if stored == nil {
		return webhook.ErrNotFound
	}
	if stored.Version != c.Version {
		return webhook.ErrConflict
	}
	c.Version++
	*stored = *c
	return nil
}

func (s configs) Delete(_ context.Context, organizationID, id string, now time.Time) error {
	c := s.live(organizationID, id)
	if c == nil {
		return webhook.ErrNotFound
	}
	*c = webhook.Config{OrganizationID: organizationID, ID: id, DeletedAt: webhook.At(now)}
	return nil
}

func (s configs) List(_ context.Context, organizationID string, active *bool, after string, limit int) ([]webhook.Config, error) {
	var found []webhook.Config
	for _, c := range s.configs {
		if c.OrganizationID == organizationID && !c.Deleted() && c.ID > after && (active == nil || *active == c.Active) {
			found = append(found, *c)
		}
	}
	slices.SortFunc(found, func(a, b webhook.Config) int { return cmp.Compare(a.ID, b.ID) })
	return found[:min(len(found), limit)], nil
}

func (s configs) ListActive(ctx context.Context, organizationID string) ([]webhook.Config, error) {
	active := true
	return s.List(ctx, organizationID, &active, "", 1000)
}

func (s configs) ListIDs(_ context.Context, organizationID string, limit int) ([]string, error) {
	var ids []string
	for _, c := range s.configs {
		if c.OrganizationID == organizationID {
			ids = append(ids, c.ID)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), limit)], nil
}

func (s configs) Exists(_ context.Context, organizationID, id string) (bool, error) {
	return s.configs[organizationID+"/"+id] != nil, nil
}

// deliveries is the delivery log.
type deliveries struct{ *world }

func (s deliveries) Get(_ context.Context, organizationID, configID, eventID string) (*webhook.Delivery, error) {
	for i := range s.deliveries {
		if d := s.deliveries[i]; d.OrganizationID == organizationID && d.ConfigID == configID && d.Event.ID == eventID {
			return &d, nil
		}
	}
	return nil, webhook.ErrNotFound
}

func (s deliveries) List(_ context.Context, selection webhook.Selection) ([]webhook.Delivery, *webhook.Place, error) {
	order := func(a, b webhook.Delivery) int {
		return cmp.Or(cmp.Compare(b.Event.ID, a.Event.ID), cmp.Compare(b.ConfigID, a.ConfigID))
	}
	sorted := slices.SortedFunc(slices.Values(s.deliveries), order)
	var found []webhook.Delivery
	var last *webhook.Place
	examined := 0
	for i := range sorted {
		d := &sorted[i]
		if selection.DocumentID == "" && !slices.Contains(selection.ConfigIDs, d.ConfigID) {
			continue
		}
		if after := selection.After; after != nil {
			place := webhook.Delivery{ConfigID: after.ConfigID, Event: webhook.Event{ID: after.EventID}}
			if order(*d, place) <= 0 {
				continue
			}
		}
		if len(found) == selection.Limit || s.pageOf > 0 && examined == s.pageOf {
			return found, last, nil
		}
		examined++
		last = &webhook.Place{EventID: d.Event.ID, ConfigID: d.ConfigID}
		if selection.Matches(d) {
			found = append(found, *d)
		}
	}
	return found, nil, nil
}

// documents is the table of documents.
type documents struct{ *world }

func (s documents) Get(_ context.Context, id string) (*webhook.Document, error) {
	if len(id) > 1024 {
		s.t.Errorf("a document id of %d bytes is read, more than the table takes", len(id))
	}
	if d, ok := s.documents[id]; ok {
		return &d, nil
	}
	return nil, nil
}

// queue is the delivery queue.
type queue struct{ *world }

func (q queue) Send(_ context.Context, messages []webhook.Message) []error {
	if q.sendErr != nil {
		return q.sendErr()
	}
	q.sent = append(q.sent, messages...)
	return nil
}

// sealer hides nothing, so that whoever shows what it sealed is caught.
type sealer struct{ *world }

func (s sealer) Seal(_ context.Context, c signature.Credentials, organizationID, configID string) (string, error) {
	s.secrets = append(s.secrets, c.Token.Reveal(), c.Secret.Reveal())
	return "sealed for " + organizationID + "/" + configID + ": " + c.Token.Reveal() + " " + c.Secret.Reveal(), nil
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

// delivery logs a delivery to c, of an event n minutes before start.
func (w *world) delivery(c *webhook.Config, n int, change func(*webhook.Delivery)) webhook.Delivery {
	at := start.Add(-time.Duration(n) * time.Minute)
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
		RequestedAt: webhook.At(at), DoneFor: webhook.At(at), DeliveredAt: webhook.At(at.Add(1085 * time.Millisecond)),
		ExpiresAt: webhook.At(at.Add(webhook.Retention)),
	}
	if change != nil {
		change(&d)
	}
	w.deliveries = append(w.deliveries, d)
	return d
}

// failing makes a delivery one that has failed for good.
func failing(d *webhook.Delivery) {
	d.Status, d.DoneFor, d.DeliveredAt = webhook.DeliveryFailed, webhook.Time{}, webhook.Time{}
	d.FailedAt = webhook.At(d.Event.OccurredAt.Add(21 * time.Minute))
	d.Attempts = []webhook.Attempt{{
		Number: 5, StartedAt: d.FailedAt, Duration: 2 * time.Second, ResponseStatus: 500, ErrorCode: "http_status",
		Error: "the endpoint answered 500", ResponseSnippet: "out of <order>",
	}}
}

// retrying makes a delivery one that is tried again soon after start.
func retrying(d *webhook.Delivery) {
	d.Status, d.DoneFor, d.DeliveredAt = webhook.Retrying, webhook.Time{}, webhook.Time{}
	d.NextAttemptAt = webhook.At(start.Add(time.Minute))
	d.Attempts = []webhook.Attempt{{
		Number:    1,
		StartedAt: d.Event.OccurredAt,
		Duration:  15 * time.Second,
		ErrorCode: "timeout",
		Error:     "no answer in time",
	}}
}
