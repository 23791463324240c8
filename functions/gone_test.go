package functions_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/infra/samples"
	"github.com/docuhook/docuhook/shared/webhook"
)

// TestAnEndpointThatWasGone: five deliveries are being retried when a sixth is answered 410, which deactivates the
// config; three documents change before it is activated again. Then all six that failed or were canceled can be sent
// again, and after them the three that were never sent.
func TestAnEndpointThatWasGone(t *testing.T) {
	w := newWorld(t)
	if err := w.AddConfig(t.Context(), goneConfig, func(c *webhook.Config) { c.URL = w.endpoints.URL + "/changing" }); err != nil {
		t.Fatal(err)
	}
	record := func(seed string, at time.Time, configs ...string) {
		t.Helper()
		if err := w.Record(t.Context(), samples.Organization, seed, at, configs...); err != nil {
			t.Fatal(err)
		}
	}
	deliver, resend := w.handler(t, "deliver"), w.handler(t, "resend")
	answer := func(status int) { w.status.Store(int64(status)) }
	var first []json.RawMessage
	for n := range 6 {
		at := samples.Now().Add(-time.Duration(n) * time.Second)
		seed := fmt.Sprint("sent ", n)
		record(seed, at, goneConfig)
		body, err := webhook.NewFirst(samples.Organization, goneConfig, samples.Event(seed, at), webhook.At(at), at).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		first = append(first, body)
	}

	answer(http.StatusServiceUnavailable)
	w.deliver(t, deliver, first[:5])
	retries := w.taken()
	answer(http.StatusGone)
	w.deliver(t, deliver, first[5:])
	w.deliver(t, deliver, retries)
	if sent := w.taken(); len(retries) != 5 || len(sent) != 0 {
		t.Errorf("%d retries; %d messages after the end", len(retries), len(sent))
	}
	for n := range 3 {
		record(fmt.Sprint("unsent ", n), samples.Now().Add(-time.Duration(n)*time.Second))
	}
	c, err := w.Configs().Get(t.Context(), samples.Organization, goneConfig)
	if err != nil || c.Active || c.DeactivatedReason != webhook.EndpointGone {
		t.Fatalf("config %+v, %v", c, err)
	}
	c.Active, c.DeactivatedReason = true, ""
	if err := w.Configs().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}

	answer(http.StatusOK)
	for _, step := range []struct {
		scope string
		want  int
	}{{"failed", 6}, {"failed", 0}, {"undelivered", 3}, {"undelivered", 0}} {
		w.resend(t, resend, step.scope)
		sent := w.taken()
		if len(sent) != step.want {
			t.Errorf("%s sends %d, want %d", step.scope, len(sent), step.want)
		}
		w.deliver(t, deliver, sent)
	}
}

// deliver hands messages over out of RetryQueue, all of which must be done afterwards.
func (w *world) deliver(t *testing.T, handler lambda.Handler, bodies []json.RawMessage) {
	t.Helper()
	var batch events.SQSEvent
	for i, body := range bodies {
		batch.Records = append(batch.Records, events.SQSMessage{
			MessageId:      fmt.Sprint("message-", i),
			Body:           string(body),
			EventSource:    "aws:sqs",
			EventSourceARN: "arn:aws:sqs:us-east-1:000000000000:RetryQueue",
			Attributes: map[string]string{
				"ApproximateReceiveCount": "1",
				"SentTimestamp":           fmt.Sprint(samples.Now().UnixMilli()),
			},
		})
	}
	input, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := handler.Invoke(t.Context(), input); err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Errorf("answer %s, %v", answer, err)
	}
}

// resend asks for the events of the last hour.
func (w *world) resend(t *testing.T, handler lambda.Handler, scope string) {
	t.Helper()
	sample, err := os.ReadFile("resend/events/failed.json")
	if err != nil {
		t.Fatal(err)
	}
	var request events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(sample, &request); err != nil {
		t.Fatal(err)
	}
	request.IsBase64Encoded = false
	request.Body = fmt.Sprintf(`{"data":{"type":"webhook_resend","attributes":{"webhook_config_id":%q,"since":%q,"scope":%q}}}`,
		goneConfig, samples.Now().Add(-5*time.Second).Format(time.RFC3339), scope)
	input, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var answer events.APIGatewayV2HTTPResponse
	raw, err := handler.Invoke(t.Context(), input)
	if err != nil || json.Unmarshal(raw, &answer) != nil || answer.StatusCode != http.StatusAccepted {
		t.Errorf("answer %s, %v", raw, err)
	}
}

// taken returns the messages that were sent since it was called last.
func (w *world) taken() (bodies []json.RawMessage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.effects.Sent {
		bodies = append(bodies, one.Message)
	}
	w.effects.Sent = nil
	return bodies
}
