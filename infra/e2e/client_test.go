package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"github.com/docuhook/docuhook/shared/signature"
)

// patience is how long a test waits for what must happen. What must not happen is never waited
// for: a later thing that must happen shows that it has not.
const patience = 30 * time.Second

const mediaType = "application/vnd.api+json"

// client calls the API as one organization.
type client struct {
	t   *testing.T
	key string
}

func newClient(t *testing.T, organization string) *client {
	return &client{t, under.keys[organization]}
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
	request, err := http.NewRequestWithContext(c.t.Context(), method, under.api+path, bytes.NewReader(payload))
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
	return answer{response.StatusCode, response.Header, got}
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
}

// attributes are those of configs and deliveries.
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
	DeliveredAt    *time.Time `json:"delivered_at"`
	Attempts       []struct {
		Number         int       `json:"number"`
		StartedAt      time.Time `json:"started_at"`
		DurationMS     int       `json:"duration_ms"`
		ResponseStatus int       `json:"response_status"`
		ErrorCode      string    `json:"error_code"`
	} `json:"attempts"`
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
		request, err := http.NewRequest("DELETE", under.api+"/v1/webhooks/configs/"+d.Data.ID, nil)
		if err != nil {
			return
		}
		request.Header.Set("X-Api-Key", c.key)
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
		}
	})
	return registered{d.Data.ID, signature.Credentials{Token: signature.Secret(d.Data.Attributes.Token), Secret: signature.Secret(d.Data.Attributes.Secret)}}
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

// eventually calls f until it succeeds. It polls, because a black box tells nothing by itself.
func eventually[T any](t *testing.T, f func() (T, bool), what func() string) T {
	t.Helper()
	ticks := time.NewTicker(25 * time.Millisecond)
	defer ticks.Stop()
	timeout := time.After(patience)
	for {
		if value, ok := f(); ok {
			return value
		}
		select {
		case <-ticks.C:
		case <-timeout:
			t.Fatalf("waited %s in vain for %s", patience, what())
		}
	}
}

// newDocument returns the id of a document that no other test has.
func newDocument() string { return "doc_" + uuid.NewString() }

// put writes a document as the document system does.
func put(t *testing.T, organization, id, status string, more ...string) time.Time {
	t.Helper()
	item := map[string]types.AttributeValue{
		"id":              &types.AttributeValueMemberS{Value: id},
		"organization_id": &types.AttributeValueMemberS{Value: organization},
		"status":          &types.AttributeValueMemberS{Value: status},
		"updated_at":      &types.AttributeValueMemberS{Value: time.Now().UTC().Format(time.RFC3339Nano)},
	}
	for i := 0; i+1 < len(more); i += 2 {
		item[more[i]] = &types.AttributeValueMemberS{Value: more[i+1]}
	}
	if _, err := under.dynamo.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(under.outputs["DocumentsTable"]), Item: item}); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

// queueARN returns the ARN of a queue.
func queueARN(t *testing.T, url string) string {
	t.Helper()
	out, err := under.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqsAttribute{"QueueArn"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Attributes["QueueArn"]
}

// deadLetters returns the bodies in the dead-letter queue that name a config. It only looks: the
// messages become visible again at once.
func deadLetters(ctx context.Context, t *testing.T, configID string) []string {
	t.Helper()
	url := under.outputs["DeliveryDeadLetterQueue"]
	var bodies []string
	seen := map[string]bool{}
	for range 20 {
		out, err := under.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: 0})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			var body struct {
				ConfigID string `json:"config_id"`
			}
			if json.Unmarshal([]byte(*m.Body), &body) == nil && body.ConfigID == configID && !seen[*m.MessageId] {
				seen[*m.MessageId] = true
				bodies = append(bodies, *m.Body)
			}
		}
	}
	return bodies
}

// redrive moves the dead-letter queue back, as the console's button does.
func redrive(t *testing.T) {
	t.Helper()
	source := queueARN(t, under.outputs["DeliveryDeadLetterQueue"])
	eventually(t, func() (bool, bool) {
		_, err := under.sqs.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: &source})
		return true, err == nil // one task at a time: another test's may be running
	}, func() string { return "a redrive to start" })
}

func configPath(parts ...string) string {
	return path.Join(append([]string{"/v1/webhooks/configs"}, parts...)...)
}
