package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"github.com/docuhook/docuhook/infra/contract"
	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

const mediaType = "application/vnd.api+json"

// client is an organization: it calls the API and writes documents.
type client struct {
	t            *testing.T
	on           *system
	organization string
	key          string
}

// newClient makes an organization with an API key, which ends with the test.
func newClient(t *testing.T) *client {
	t.Helper()
	return newClientOn(t, under)
}

// newClientOn is newClient for another stack.
func newClientOn(t *testing.T, on *system) *client {
	t.Helper()
	c := &client{t: t, on: on, organization: "org_" + uuid.NewString(), key: apikey.Mint(false)}
	planted.add("an API key", c.key)
	keys := &dynamo.APIKeys{Client: on.dynamo, Table: on.outputs["ApiKeysTable"]}
	key := apikey.Key{Hash: apikey.Hash(c.key), OrganizationID: c.organization, Name: t.Name(), CreatedAt: webhook.At(time.Now()).String()}
	if err := keys.Add(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := keys.Revoke(context.Background(), key.Hash, webhook.At(time.Now())); err != nil {
			t.Error(err)
		}
	})
	return c
}

// answer is a response of the API.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call makes a request. body may be nil, a string or anything that marshals.
func (c *client) call(method, path string, body any) answer {
	c.t.Helper()
	var payload []byte
	switch b := body.(type) {
	case nil:
	case string:
		payload = []byte(b)
	default:
		var err error
		if payload, err = json.Marshal(b); err != nil {
			c.t.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.on.api+path, bytes.NewReader(payload))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", c.key)
	if payload != nil {
		request.Header.Set("Content-Type", mediaType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	contract.Check(c.t, request, payload, response, got)
	result := answer{response.StatusCode, response.Header, got}
	if err := planted.watch(method, path, result); err != nil {
		c.t.Error(err)
	}
	return result
}

// must is call for a request that has to be answered with status; it decodes the document.
func (c *client) must(status int, method, path string, body any) document {
	c.t.Helper()
	got := c.call(method, path, body)
	if got.status != status {
		c.t.Fatalf("%s %s: status %d, want %d: %s", method, path, got.status, status, got.body)
	}
	var d document
	if len(got.body) > 0 {
		if err := json.Unmarshal(got.body, &d); err != nil {
			c.t.Fatalf("%s %s: %v: %s", method, path, err, got.body)
		}
	}
	return d
}

// document is a JSON:API document with one resource, or with several.
type document struct {
	Data   data `json:"data"`
	Errors []struct {
		Status, Code, Detail string
	} `json:"errors"`
	Links struct{ Next *string } `json:"links"`
	Meta  struct{ Accepted int } `json:"meta"`

	Included []resource `json:"included"`
}

type data struct {
	resource
	many []resource
}

func (d *data) UnmarshalJSON(raw []byte) error {
	if bytes.HasPrefix(raw, []byte("[")) {
		return json.Unmarshal(raw, &d.many)
	}
	return json.Unmarshal(raw, &d.resource)
}

type resource struct {
	ID         string     `json:"id"`
	Type       string     `json:"type"`
	Attributes attributes `json:"attributes"`

	Relationships struct {
		Deliveries struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
		} `json:"deliveries"`
	} `json:"relationships"`
}

// attributes are those of configs, deliveries and events.
type attributes struct {
	URL                     string     `json:"url"`
	IsActive                bool       `json:"is_active"`
	DeactivatedReason       string     `json:"deactivated_reason"`
	Token                   string     `json:"token"`
	Secret                  string     `json:"secret"`
	SecretPrefix            string     `json:"secret_prefix"`
	PreviousSecretExpiresAt *time.Time `json:"previous_secret_expires_at"`

	Status         string     `json:"status"`
	Trigger        string     `json:"trigger"`
	DocumentStatus string     `json:"document_status"`
	CreatedAt      time.Time  `json:"created_at"`
	UpdatedAt      time.Time  `json:"updated_at"`
	DeliveredAt    *time.Time `json:"delivered_at"`
	NextAttemptAt  *time.Time `json:"next_attempt_at"`
	Attempts       []struct {
		Number          int       `json:"number"`
		StartedAt       time.Time `json:"started_at"`
		DurationMS      int       `json:"duration_ms"`
		ResponseStatus  int       `json:"response_status"`
		ErrorCode       string    `json:"error_code"`
		ResponseSnippet *string   `json:"response_snippet"`
	} `json:"attempts"`

	DocumentID string `json:"document_id"`
	Sequence   string `json:"sequence"`
}

// envelope wraps attributes in a request document.
func envelope(kind, id string, attributes map[string]any) map[string]any {
	resource := map[string]any{"type": kind, "attributes": attributes}
	if id != "" {
		resource["id"] = id
	}
	return map[string]any{"data": resource}
}

// registered is a config with its credentials.
type registered struct {
	id          string
	credentials signature.Credentials
}

// register creates a config for a receiver. It is deleted when the test ends.
func (c *client) register(url string, statuses ...string) registered {
	c.t.Helper()
	d := c.must(201, "POST", "/v1/webhooks/configs", envelope("webhook_config", "", map[string]any{
		"url": url, "description": c.t.Name(), "subscribed_statuses": statuses,
	}))
	c.t.Cleanup(func() {
		// Without the context of the test, which has ended.
		request, err := http.NewRequest("DELETE", c.on.api+"/v1/webhooks/configs/"+d.Data.ID, nil)
		if err != nil {
			return
		}
		request.Header.Set("X-Api-Key", c.key)
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
		}
	})
	return registered{id: d.Data.ID, credentials: credentialsOf(d)}
}

// delivery returns the only delivery of a config, once it has the status.
func (c *client) delivery(configID, status string) resource {
	c.t.Helper()
	var last answer
	found := eventually(c.t, func() (resource, bool) {
		last = c.call("GET", "/v1/webhooks/deliveries?filter[webhook_config_id]="+configID, nil)
		var d document
		if err := json.Unmarshal(last.body, &d); err != nil {
			c.t.Fatalf("%v: %s", err, last.body)
		}
		if len(d.Data.many) != 1 || d.Data.many[0].Attributes.Status != status {
			return resource{}, false
		}
		return d.Data.many[0], true
	}, func() string {
		return fmt.Sprintf("delivery of %s with status %s; the last answer was %s", configID, status, last.body)
	})
	return found
}

// settled waits until so many deliveries of a config are all that there are, and delivered.
func (c *client) settled(configID string, want int) {
	c.t.Helper()
	var listed []resource
	open := func(d resource) bool { return d.Attributes.Status != "delivered" }
	eventually(c.t, func() (bool, bool) {
		listed = c.listAll("/v1/webhooks/deliveries?filter[webhook_config_id]=" + configID)
		return true, len(listed) == want && !slices.ContainsFunc(listed, open)
	}, func() string {
		return fmt.Sprintf("%d deliveries of %s, all delivered; there are %+v", want, configID, listed)
	})
}

// eventually calls f until it succeeds. It polls, because a black box tells nothing by itself.
// What must not happen is never waited for: a later thing that must happen shows that it has not.
func eventually[T any](t *testing.T, f func() (T, bool), what func() string) T {
	t.Helper()
	ticks := time.NewTicker(under.interval)
	defer ticks.Stop()
	timeout := time.After(under.patience)
	for {
		if value, ok := f(); ok {
			return value
		}
		select {
		case <-ticks.C:
		case <-timeout:
			t.Fatalf("waited %s in vain for %s", under.patience, what())
		}
	}
}

// newDocument returns the id of a document that no other test has.
func newDocument() string { return "doc_" + uuid.NewString() }

// put writes a document as the document system does and returns when it did.
func (c *client) put(id, status string, more ...string) time.Time {
	c.t.Helper()
	item := map[string]dynamotypes.AttributeValue{
		"id":              &dynamotypes.AttributeValueMemberS{Value: id},
		"organization_id": &dynamotypes.AttributeValueMemberS{Value: c.organization},
		"status":          &dynamotypes.AttributeValueMemberS{Value: status},
		"updated_at":      &dynamotypes.AttributeValueMemberS{Value: time.Now().UTC().Format(time.RFC3339Nano)},
	}
	for i := 0; i+1 < len(more); i += 2 {
		item[more[i]] = &dynamotypes.AttributeValueMemberS{Value: more[i+1]}
	}
	put := &dynamodb.PutItemInput{TableName: aws.String(c.on.outputs["DocumentsTable"]), Item: item}
	if _, err := c.on.dynamo.PutItem(c.t.Context(), put); err != nil {
		c.t.Fatal(err)
	}
	return time.Now()
}

// queued is what a queue tells about its messages. Right after a change it may tell what was before.
type queued struct {
	arn                        string
	visible, inFlight, delayed int
}

// queue looks at a queue of the stack, by its logical id.
func (s *system) queue(t *testing.T, name string) queued {
	t.Helper()
	url := s.outputs[name]
	out, err := s.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	number := func(name types.QueueAttributeName) int {
		n, err := strconv.Atoi(out.Attributes[string(name)])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	return queued{
		arn:      out.Attributes[string(types.QueueAttributeNameQueueArn)],
		visible:  number(types.QueueAttributeNameApproximateNumberOfMessages),
		inFlight: number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		delayed:  number(types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
	}
}

// deadLetters returns how many messages wait in the dead-letter queue.
func (s *system) deadLetters(t *testing.T) int {
	t.Helper()
	return s.queue(t, "DeliveryDeadLetterQueue").visible
}

// waitForDeadLetters waits until the dead-letter queue has so many messages.
func (s *system) waitForDeadLetters(t *testing.T, want int) {
	t.Helper()
	var last queued
	eventually(t, func() (bool, bool) {
		last = s.queue(t, "DeliveryDeadLetterQueue")
		return true, last.visible == want && last.inFlight == 0
	}, func() string { return fmt.Sprintf("%d messages in the dead-letter queue; it has %+v", want, last) })
}

// redrive moves all messages of the dead-letter queue back to where they came from, as the console's button does.
func (s *system) redrive(t *testing.T) {
	t.Helper()
	if s.emulator != nil {
		s.emulator.moveDeadLetters(t)
		return
	}
	source := s.queue(t, "DeliveryDeadLetterQueue").arn
	if _, err := s.sqs.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: &source}); err != nil {
		t.Fatal(err)
	}
	s.waitForDeadLetters(t, 0)
}

func configPath(parts ...string) string {
	return path.Join(append([]string{"/v1/webhooks/configs"}, parts...)...)
}
