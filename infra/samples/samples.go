// Package samples is the world that the sample events of the functions speak of: an organization with its configs,
// events, deliveries, API keys and a document, at one moment, half a minute after the events.
//
// The test that replays the events begins it in services of its own, and the local stack on request. In the same world
// the same event has the same answer, the golden one of functions/testdata.
package samples

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/secrets"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// What the sample events speak of.
const (
	Organization  = "9b2f4c1e-5d3a-4f7b-8a60-1c2d3e4f5a6b"
	Foreign       = "00000000-5d3a-4f7b-8a60-1c2d3e4f5a6b" // another one, whose configs cannot be listed
	Document      = "5b1ff6c2-95d3-4b8e-8e53-9f2d4ad1b7c4"
	ActiveConfig  = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708192"
	OffConfig     = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708193"
	FailingConfig = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708194" // its endpoint answers 500
	ForeignConfig = "0195f3a0-7c1d-7b3e-9f2a-4d5e6f708195"
)

// Now is the time of the world.
func Now() time.Time { return time.Date(2026, 3, 14, 15, 10, 0, 0, time.UTC) }

// Then is the time of the sample events.
func Then() time.Time { return time.Unix(1773500966, 0).UTC() }

// Endpoints are the endpoints of the configs.
func Endpoints() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/failing" {
			http.Error(w, "out of order", http.StatusInternalServerError)
		}
	})
}

// World is the world in the services of a stack where tables and queues have their logical ids for names.
type World struct {
	AWS       aws.Config // of an administrator of the services
	Endpoints string     // URL of Endpoints, without a path
	Keyring   string     // ARN of the secret
	Queues    string     // what the URLs of queues begin with, up to the name
}

// Serve makes a world in the services of a URL, with endpoints on a host of this machine that are served until the
// process ends.
func Serve(services, region, host, keyring, queues string) (*World, error) {
	endpoints, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("the endpoints of the sample events: %w", err)
	}
	go http.Serve(endpoints, Endpoints())
	administrator := credentials.NewStaticCredentialsProvider("administrator", "-", "")
	return &World{
		AWS:       aws.Config{Region: region, BaseEndpoint: &services, Credentials: administrator},
		Endpoints: "http://" + endpoints.Addr().String(),
		Keyring:   keyring,
		Queues:    queues,
	}, nil
}

// maxEvent is more bytes than the events have.
const maxEvent = 1 << 20

// ServeHTTP begins the world anew and answers with the event of the body as it is in it, which Receive tells.
func (w *World) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	event, err := io.ReadAll(http.MaxBytesReader(out, r.Body, maxEvent))
	if err == nil {
		err = w.Begin(r.Context())
	}
	if err == nil {
		event, _, err = w.Receive(r.Context(), event)
	}
	if err != nil {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Write(event)
}

// Configs are the configs of the world.
func (w *World) Configs() *dynamo.Configs {
	return &dynamo.Configs{Client: dynamodb.NewFromConfig(w.AWS), Table: "ConfigsTable"}
}

// Events are the events of the world.
func (w *World) Events() *dynamo.Events {
	return &dynamo.Events{Client: dynamodb.NewFromConfig(w.AWS), Table: "EventsTable"}
}

// Deliveries are the deliveries of the world.
func (w *World) Deliveries() *dynamo.Deliveries {
	return &dynamo.Deliveries{Client: dynamodb.NewFromConfig(w.AWS), Table: "DeliveriesTable"}
}

// Begin makes the world as it is before the first event, whatever has become of it. Nothing begins where w is nil.
func (w *World) Begin(ctx context.Context) error {
	if w == nil {
		return nil
	}
	for _, table := range []string{"ConfigsTable", "EventsTable", "DeliveriesTable", "DocumentsTable"} {
		if err := w.empty(ctx, table); err != nil {
			return fmt.Errorf("emptying %s: %w", table, err)
		}
	}
	for _, step := range []func(context.Context) error{w.addConfigs, w.addDeliveries, w.addKeys, w.addDocument} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("making the world of the sample events: %w", err)
		}
	}
	return nil
}

// empty deletes the items of a table.
func (w *World) empty(ctx context.Context, table string) error {
	client := dynamodb.NewFromConfig(w.AWS)
	described, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		return err
	}
	pages := dynamodb.NewScanPaginator(client, &dynamodb.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			key := map[string]types.AttributeValue{}
			for _, part := range described.Table.KeySchema {
				key[*part.AttributeName] = item[*part.AttributeName]
			}
			if _, err := client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: key}); err != nil {
				return err
			}
		}
	}
	return nil
}

// addConfigs stores the configs.
func (w *World) addConfigs(ctx context.Context) error {
	var errs []error
	for id, change := range map[string]func(*webhook.Config){
		ActiveConfig: func(c *webhook.Config) {
			c.URL, c.FastUntil = w.Endpoints+"/ok", webhook.At(Then().Add(20*24*time.Hour))
		},
		OffConfig: func(c *webhook.Config) { c.Active, c.DeactivatedReason = false, webhook.EndpointGone },
		FailingConfig: func(c *webhook.Config) {
			c.URL, c.SubscribedStatuses = w.Endpoints+"/failing", []webhook.Status{webhook.Processed}
		},
		ForeignConfig: func(c *webhook.Config) { c.OrganizationID = Foreign },
	} {
		errs = append(errs, w.AddConfig(ctx, id, change))
	}
	return errors.Join(errs...)
}

// AddConfig stores an active config, with credentials, that change makes special.
func (w *World) AddConfig(ctx context.Context, id string, change func(*webhook.Config)) error {
	created := webhook.At(Then().Add(-24 * time.Hour))
	c := &webhook.Config{
		OrganizationID:     Organization,
		ID:                 id,
		URL:                w.Endpoints + "/",
		Active:             true,
		SubscribedStatuses: webhook.Statuses(),
		SecretPrefix:       "whsec_example",
		Version:            1,
		CreatedAt:          created,
		UpdatedAt:          created,
	}
	change(c)
	ring := &keyring.Cache{
		Source: &secrets.Secret{Client: secretsmanager.NewFromConfig(w.AWS), ARN: w.Keyring},
		Now:    Now,
	}
	issued := signature.Credentials{
		Token:  "whtok_of_" + signature.Secret(id),
		Secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
	}
	var err error
	if c.Sealed, err = ring.Seal(ctx, issued, c.OrganizationID, c.ID); err != nil {
		return err
	}
	return w.Configs().Create(ctx, c, 100)
}

// addDeliveries logs attempts and records events.
func (w *World) addDeliveries(ctx context.Context) error {
	first := round{name: webhook.FirstRound, requestedAt: webhook.At(Then()), trigger: webhook.StatusChange}
	early := round{name: webhook.FirstRound, requestedAt: webhook.At(Then().Add(-2 * time.Hour)), trigger: webhook.StatusChange}
	again := round{
		name:        webhook.LaterRound(Then().Add(10*time.Second), "again"),
		requestedAt: webhook.At(Then().Add(10 * time.Second)),
		trigger:     webhook.Resend,
	}
	for _, l := range []attempt{
		{config: ActiveConfig, seed: "delivered", round: first, status: webhook.Retrying, number: 1},
		{config: ActiveConfig, seed: "delivered", round: first, status: webhook.Delivered, number: 2},
		{config: FailingConfig, seed: "delivered", round: first, status: webhook.Canceled, number: 1},
		{config: FailingConfig, seed: "retrying", round: first, status: webhook.Retrying, number: 1},
		{config: FailingConfig, seed: "fifth", round: first, status: webhook.Retrying, number: 4},
		{config: FailingConfig, seed: "failed", round: first, status: webhook.DeliveryFailed, number: 5},
		{config: ActiveConfig, seed: "redriven", round: first, status: webhook.DeliveryFailed, number: 5},
		{config: ActiveConfig, seed: "resent", round: first, status: webhook.Retrying, number: 1},
		{config: ActiveConfig, seed: "resent", round: again, status: webhook.Retrying, number: 1},
		{config: ActiveConfig, seed: "due", round: early, status: webhook.Retrying, number: 3},
	} {
		if err := w.log(ctx, l); err != nil {
			return err
		}
	}
	return errors.Join(
		w.Record(ctx, Organization, "missing", Then().Add(-2*time.Hour), ActiveConfig, FailingConfig),
		w.Record(ctx, Organization, "nobody's", Then().Add(-time.Hour)),
		w.Record(ctx, Foreign, "foreign", Then(), ForeignConfig),
	)
}

// Event returns the event of a seed, of the organization's document.
func Event(seed string, at time.Time) webhook.Event {
	return webhook.Event{
		Version:        webhook.RenderVersion,
		ID:             webhook.NewEventID(at, seed),
		DocumentID:     Document,
		Status:         webhook.Processed,
		PreviousStatus: webhook.Processing,
		Sequence:       "0000000000004421584500000000017450439091",
		OccurredAt:     webhook.At(at),
	}
}

// Record records the event of a seed as one that was sent to configs.
func (w *World) Record(ctx context.Context, organizationID, seed string, at time.Time, configs ...string) error {
	return errors.Join(w.Events().Add(ctx, []webhook.EventRecord{{
		OrganizationID: organizationID,
		Event:          Event(seed, at),
		ConfigIDs:      configs,
		ExpiresAt:      webhook.At(at.Add(webhook.Retention)),
	}})...)
}

// round is a round of a delivery.
type round struct {
	name        string
	requestedAt webhook.Time
	trigger     webhook.Trigger
}

// attempt is the last one so far at the delivery of the event of a seed.
type attempt struct {
	config, seed string
	round        round
	status       webhook.DeliveryStatus // of the delivery afterwards
	number       int
}

// log logs an attempt, as many seconds after its round was asked for as it has number, and records the event.
func (w *World) log(ctx context.Context, a attempt) error {
	happened := Then()
	if a.round.requestedAt.Before(happened) {
		happened = a.round.requestedAt.Time
	}
	e := Event(a.seed, happened)
	if err := w.Record(ctx, Organization, a.seed, happened, a.config); err != nil {
		return err
	}
	known, err := w.Deliveries().Get(ctx, Organization, a.config, e.ID)
	if err != nil && !errors.Is(err, webhook.ErrNotFound) {
		return err
	}
	at := webhook.At(a.round.requestedAt.Add(time.Duration(a.number) * time.Second))
	outcome := webhook.Outcome{
		Known:      known,
		MessageID:  "b7e1f0a9-f796-459a-8184-9c92662be6db",
		Status:     a.status,
		At:         at,
		DeadLetter: a.status == webhook.DeliveryFailed,
		Message: webhook.Message{
			OrganizationID: Organization,
			ConfigID:       a.config,
			Event:          e,
			RequestedAt:    a.round.requestedAt,
			Trigger:        a.round.trigger,
			Round:          a.round.name,
			Attempt:        a.number,
			NotBefore:      at,
		},
	}
	if a.status != webhook.Canceled {
		outcome.Tried = &webhook.Attempt{
			Number:         a.number,
			MessageID:      outcome.MessageID,
			StartedAt:      at,
			Duration:       100 * time.Millisecond,
			ResponseStatus: 204,
		}
	}
	if a.status == webhook.Retrying || a.status == webhook.DeliveryFailed {
		outcome.Tried.ResponseStatus, outcome.Tried.ErrorCode, outcome.Tried.Error = 500, "http_status", "the endpoint answered 500"
	}
	if a.status == webhook.Retrying {
		outcome.NextAttemptAt = webhook.At(at.Add(10 * time.Second))
	}
	if a.number == 3 { // so late that no message waits for it
		outcome.NextAttemptAt = webhook.At(at.Add(90 * time.Minute))
	}
	return w.Deliveries().Record(ctx, []webhook.Outcome{outcome})[0].Err
}

// addKeys stores the API keys, in a table that may have others.
func (w *World) addKeys(ctx context.Context) error {
	keys := &dynamo.APIKeys{Client: dynamodb.NewFromConfig(w.AWS), Table: "ApiKeysTable"}
	var errs []error
	for key, revoked := range map[string]string{
		"dk_test_abcdefghijklmnopqrstuvwxyz234567": "",
		"dk_test_revokedrevokedrevokedrevoked2222": Then().Format(time.RFC3339),
	} {
		err := keys.Add(ctx, apikey.Key{
			Hash:           apikey.Hash(key),
			OrganizationID: Organization,
			CreatedAt:      Then().Format(time.RFC3339),
			RevokedAt:      revoked,
		})
		if !errors.Is(err, webhook.ErrConflict) { // else it is there already, and no event changes it
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// addDocument stores the document.
func (w *World) addDocument(ctx context.Context) error {
	item := map[string]types.AttributeValue{}
	for name, value := range map[string]string{
		"id": Document, "organization_id": Organization, "status": "processed", "updated_at": "2026-03-14T15:09:26.535Z",
	} {
		item[name] = &types.AttributeValueMemberS{Value: value}
	}
	_, err := dynamodb.NewFromConfig(w.AWS).PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("DocumentsTable"), Item: item})
	return err
}

// receipt matches what a sample event says of the message that it hands over.
var receipt = regexp.MustCompile(`"messageId": "([^"]*)",\s*"receiptHandle": "([^"]*)",\s*"body": ("(?:[^"\\]|\\.)*")`)

// source matches the queue of a message in a sample event, by its logical id.
var source = regexp.MustCompile(`"eventSourceARN": "(arn:aws:sqs:[^"]*:)docuhook-(\w+)-\w+"`)

// Receive puts the messages of a sample event into their queue and receives them, so that the event has receipt
// handles that are valid. It returns the event, and the ids of the messages in it by these handles. An event without
// messages is returned as it is.
func (w *World) Receive(ctx context.Context, event []byte) (received []byte, messages map[string]string, err error) {
	from := source.FindSubmatch(event)
	if from == nil {
		return event, nil, nil
	}
	messages = map[string]string{}
	text := string(event)
	for _, match := range receipt.FindAllStringSubmatch(text, -1) {
		handle, err := w.through(ctx, w.Queues+string(from[2]), match[3])
		if err != nil {
			return nil, nil, fmt.Errorf("message %s: %w", match[1], err)
		}
		messages[handle] = match[1]
		text = strings.Replace(text, match[2], handle, 1)
	}
	// The queue's name is its logical id.
	return []byte(source.ReplaceAllString(text, `"eventSourceARN": "$1$2"`)), messages, nil
}

// through sends a message, whose body is given as JSON, and returns the handle with which it is received. Whatever was
// in the queue before is deleted.
func (w *World) through(ctx context.Context, queue, encoded string) (string, error) {
	var body string
	if err := json.Unmarshal([]byte(encoded), &body); err != nil {
		return "", err
	}
	client := sqs.NewFromConfig(w.AWS)
	if _, err := client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body}); err != nil {
		return "", err
	}
	for {
		out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &queue})
		if err != nil {
			return "", err
		}
		if len(out.Messages) == 0 {
			return "", errors.New("it was sent and not received")
		}
		handle := out.Messages[0].ReceiptHandle
		if *out.Messages[0].Body == body {
			return *handle, nil
		}
		if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: handle}); err != nil {
			return "", err
		}
	}
}
