package functions_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/telemetry"
	"github.com/docuhook/docuhook/shared/webhook"
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

// effects are what a function did beside answering.
type effects struct {
	Sent       []webhook.Message `json:",omitempty"`
	PutBack    []webhook.Message `json:",omitempty"`
	Visibility map[string]string `json:",omitempty"` // by message id, from now
	Posted     []post            `json:",omitempty"`
	Log        []string          `json:",omitempty"` // the deliveries with their attempts
}

// world is everything around the functions: the real tables in this process, a queue that
// remembers, and endpoints.
type world struct {
	db         *dynamotest.DB
	configs    *dynamo.Configs
	deliveries *dynamo.Deliveries
	ring       *keyring.Cache
	random     *rand.ChaCha8
	log        *slog.Logger
	out        io.Writer
	dial       func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	effects effects
}

type secret string

func (s secret) Read(context.Context) ([]byte, error) { return []byte(s), nil }

// Send implements dispatch.Queue and api.Queue. It refuses what goes to a config of another organization.
func (w *world) Send(_ context.Context, messages []webhook.Message) []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := make([]error, len(messages))
	failed := false
	for i, m := range messages {
		if m.OrganizationID == foreign {
			errs[i], failed = fmt.Errorf("refused"), true
			continue
		}
		w.effects.Sent = append(w.effects.Sent, m)
	}
	if !failed {
		return nil
	}
	return errs
}

// ChangeVisibility implements delivery.Queue.
func (w *world) ChangeVisibility(_ context.Context, changes []delivery.Visibility) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.effects.Visibility = map[string]string{}
	for _, c := range changes {
		w.effects.Visibility[c.MessageID] = c.Due.Sub(now()).String()
	}
	return nil
}

// PutBack implements delivery.Queue.
func (w *world) PutBack(_ context.Context, m webhook.Message, _ time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.effects.PutBack = append(w.effects.PutBack, m)
	return nil
}

// ServeHTTP is the endpoints.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p := post{r.URL.Path, map[string]string{}, string(body)}
	for name := range r.Header {
		p.Header[name] = r.Header.Get(name)
	}
	w.mu.Lock()
	w.effects.Posted = append(w.effects.Posted, p)
	w.mu.Unlock()
	if r.URL.Path == "/failing" {
		http.Error(out, "out of order", http.StatusInternalServerError)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := dynamotest.New(t)
	w := &world{
		db: db, configs: &dynamo.Configs{Client: db.Client, Table: "ConfigsTable"}, deliveries: &dynamo.Deliveries{Client: db.Client, Table: "DeliveriesTable"},
		ring:   &keyring.Cache{Source: secret(`{"primary":"k1","k1":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}`), Now: now},
		random: rand.NewChaCha8([32]byte{}), log: slog.New(slog.DiscardHandler), out: io.Discard,
	}
	endpoints := httptest.NewServer(w)
	t.Cleanup(endpoints.Close)
	w.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, endpoints.Listener.Addr().String())
	}
	w.seed(t)
	return w
}

// seed puts into the tables what the sample events speak of.
func (w *world) seed(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for id, change := range map[string]func(*webhook.Config){
		activeConfig: func(c *webhook.Config) { c.URL = "http://hooks.example/ok" },
		offConfig:    func(c *webhook.Config) { c.Active, c.DeactivatedReason = false, webhook.EndpointGone },
		failingConfig: func(c *webhook.Config) {
			c.URL, c.SubscribedStatuses = "http://hooks.example/failing", []webhook.Status{webhook.Processed}
		},
		foreignConfig: func(c *webhook.Config) { c.OrganizationID = foreign },
	} {
		created := webhook.At(sample().Add(-24 * time.Hour))
		c := &webhook.Config{
			OrganizationID: organization, ID: id, URL: "http://hooks.example/", Active: true, SubscribedStatuses: webhook.Statuses(),
			SecretPrefix: "whsec_example", Version: 1, CreatedAt: created, UpdatedAt: created,
		}
		change(c)
		var err error
		credentials := signature.Credentials{Token: "whtok_of_" + signature.Secret(id), Secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
		if c.Sealed, err = w.ring.Seal(ctx, credentials, c.OrganizationID, c.ID); err != nil {
			t.Fatal(err)
		}
		if err := w.configs.Create(ctx, c, 100); err != nil {
			t.Fatal(err)
		}
	}
	w.logged(t, activeConfig, "delivered", webhook.Retrying, "r1", 1)
	w.logged(t, activeConfig, "delivered", webhook.Delivered, "r1", 2)
	w.logged(t, failingConfig, "failed", webhook.DeliveryFailed, "r2", 5)
	w.logged(t, failingConfig, "fifth", webhook.Retrying, "2e1424d4-f796-459a-8184-9c92662be6da", 4)
	w.logged(t, activeConfig, "redriven", webhook.DeliveryFailed, "r3", 5)
	keys := &dynamo.APIKeys{Client: w.db.Client, Table: "ApiKeysTable"}
	for key, revoked := range map[string]string{"dk_test_abcdefghijklmnopqrstuvwxyz234567": "", "dk_test_revokedrevokedrevokedrevoked2222": sample().Format(time.RFC3339)} {
		if err := keys.Add(ctx, apikey.Key{Hash: apikey.Hash(key), OrganizationID: organization, CreatedAt: sample().Format(time.RFC3339), RevokedAt: revoked}); err != nil {
			t.Fatal(err)
		}
	}
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	table := "DocumentsTable"
	if _, err := w.db.Client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: map[string]types.AttributeValue{
		"id": text(document), "organization_id": text(organization), "status": text("processed"), "updated_at": text("2026-03-14T15:09:26.535Z"),
	}}); err != nil {
		t.Fatal(err)
	}
}

// logged adds an attempt to the delivery of the event of a seed.
func (w *world) logged(t *testing.T, config, seed string, status webhook.DeliveryStatus, round string, number int) {
	t.Helper()
	id := webhook.NewEventID(sample(), seed)
	known, _ := w.deliveries.Get(t.Context(), organization, config, id)
	at := webhook.At(sample().Add(time.Duration(number) * time.Second))
	e := delivery.Entry{
		Round: round, Status: status, At: at, Known: known,
		Message: webhook.Message{
			OrganizationID: organization, ConfigID: config, RequestedAt: webhook.At(sample()), Trigger: webhook.StatusChange,
			Event: webhook.Event{
				Version: 1, ID: id, DocumentID: document, Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: webhook.At(sample()),
			},
		},
		Attempt: &webhook.Attempt{Number: number, StartedAt: at, Duration: 100 * time.Millisecond, ResponseStatus: 204},
	}
	if status != webhook.Delivered {
		e.Attempt.ResponseStatus, e.Attempt.ErrorCode, e.Attempt.Error = 500, endpoint.CodeHTTPStatus, "the endpoint answered 500"
	}
	if status == webhook.Retrying {
		e.NextAttemptAt = webhook.At(at.Add(time.Minute))
	}
	if errs := w.deliveries.Record(t.Context(), []delivery.Entry{e}); errs != nil {
		t.Fatal(errs)
	}
}

// handlers returns every function as its main.go makes it, by folder, but for what is around it.
func (w *world) handlers() map[string]lambda.Handler {
	documents := &dynamo.Documents{Client: w.db.Client, Table: "DocumentsTable"}
	policy := webhook.URLPolicy{Address: endpoint.NewGuard(false).Check}
	handlers := map[string]lambda.Handler{
		"authorize": lambda.NewHandler(api.Authorize{Keys: &dynamo.APIKeys{Client: w.db.Client, Table: "ApiKeysTable"}}.Handle),
		"dispatch":  lambda.NewHandler((&dispatch.Dispatcher{Configs: w.configs, Queue: w, Metrics: w.metrics(), Log: w.log}).Handle),
		"deliver": lambda.NewHandler((&delivery.Deliverer{
			Store: &dynamo.Log{Deliveries: w.deliveries, Configs: w.configs}, Health: w.configs, Queue: w, Credentials: w.ring,
			Poster:   endpoint.NewClient(endpoint.ClientOptions{Guard: endpoint.NewGuard(false), AllowHTTP: true, Now: now, Dial: w.dial}),
			Schedule: delivery.Schedule{10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}, FailureThreshold: 20,
			Metrics: w.metrics(), Log: w.log, Now: now, Random: func() float64 { return 0.5 },
		}).Handle),
	}
	for folder, operations := range map[string]map[string]api.Operation{
		"create-config": {
			"POST /v1/webhooks/configs": api.CreateConfig{Configs: w.configs, Keyring: w.ring, Policy: policy, Limit: 100, Now: now, Random: w.random},
		},
		"list-configs":  {"GET /v1/webhooks/configs": api.ListConfigs{Configs: w.configs, Now: now}},
		"get-config":    {"GET /v1/webhooks/configs/{id}": api.GetConfig{Configs: w.configs, Now: now}},
		"update-config": {"PATCH /v1/webhooks/configs/{id}": api.UpdateConfig{Configs: w.configs, Policy: policy, Now: now}},
		"delete-config": {"DELETE /v1/webhooks/configs/{id}": api.DeleteConfig{Configs: w.configs, Now: now}},
		"rotate-secret": {
			"POST /v1/webhooks/configs/{id}/rotate-secret": api.RotateSecret{Configs: w.configs, Keyring: w.ring, Now: now, Random: w.random},
		},
		"list-deliveries": {"GET /v1/webhooks/deliveries": api.ListDeliveries{Deliveries: w.deliveries, Configs: w.configs, Now: now}},
		"get-delivery":    {"GET /v1/webhooks/deliveries/{id}": api.GetDelivery{Deliveries: w.deliveries, Now: now}},
		"resend": {
			"POST /v1/webhooks/deliveries/{id}/resend": api.ResendDelivery{Deliveries: w.deliveries, Configs: w.configs, Queue: w, Now: now},
			"POST /v1/webhooks/configs/{id}/test":      api.SendTest{Configs: w.configs, Queue: w, Now: now, Random: w.random},
			"POST /v1/webhooks/resend": api.Resend{
				Configs: w.configs, Documents: documents, Deliveries: w.deliveries, Queue: w, Now: now, Random: w.random,
			},
		},
	} {
		handlers[folder] = lambda.NewHandler(api.Handler(w.log, operations))
	}
	return handlers
}

func (w *world) metrics() *telemetry.Metrics {
	return &telemetry.Metrics{Out: w.out, Namespace: "Docuhook", Now: now}
}

// done returns what has happened, in an order that does not change.
func (w *world) done(t *testing.T) effects {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.effects.Posted, func(a, b post) int {
		return slices.Compare([]string{a.Path, a.Header["Webhook-Id"]}, []string{b.Path, b.Header["Webhook-Id"]})
	})
	all, _, err := w.deliveries.List(t.Context(), webhook.Selection{
		OrganizationID: organization, ConfigIDs: []string{activeConfig, offConfig, failingConfig}, Limit: 100, Now: now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		line := fmt.Sprintf("%s to …%s: %s by %s,", d.Event.ID, d.ConfigID[len(d.ConfigID)-3:], d.Status, d.Trigger)
		for _, a := range d.Attempts {
			line += fmt.Sprintf(" %d:%d", a.Number, a.ResponseStatus)
		}
		w.effects.Log = append(w.effects.Log, line)
	}
	return w.effects
}
