package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/webhook"
)

// TestReceiverMayTellRequestsByTheirIdempotencyKeyAlone is a receiver that refuses another body under a key that it knows.
func TestReceiverMayTellRequestsByTheirIdempotencyKeyAlone(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	var mu sync.Mutex
	known := map[string]string{}
	posts := 0
	endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		posts++
		key, body := r.Header.Get("Idempotency-Key"), r.Header.Get("X-Webhook-Signature")
		switch first, again := known[key]; {
		case again && first != body:
			w.WriteHeader(http.StatusUnprocessableEntity)
		case !again:
			known[key] = body
			w.WriteHeader(http.StatusServiceUnavailable) // so that the same request comes again
		}
	})
	one, other := c.register(endpoint.url, "processed"), c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	c.settled(one.id, 1)
	c.settled(other.id, 1)
	mu.Lock()
	defer mu.Unlock()
	if len(known) != 2 || posts != 4 {
		t.Errorf("%d keys in %d requests, want 2 in 4", len(known), posts)
	}
}

func TestCustomHeadersGoOutOnEveryAttempt(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	set := func(headers map[string]string) {
		c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, map[string]any{"custom_headers": headers}))
	}
	set(map[string]string{"Authorization": "Basic dXNlcjpwYXNz", "x-region": "eu-1"})
	endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		fmt.Fprint(w, "you said ", r.Header.Get("Authorization"))
	})
	c.put(newDocument(), "processed")
	first := endpoint.verified(t, config.credentials)
	failed := c.delivery(config.id, "retrying")
	if snippet := failed.Attributes.Attempts[0].ResponseSnippet; snippet == nil || *snippet != "you said [redacted]" {
		t.Errorf("the log has %v", snippet)
	}
	endpoint.status(200)
	c.must(200, "POST", configPath(config.id, "rotate-secret"), nil)
	second := endpoint.verified(t, config.credentials)
	for _, got := range []received{first, second} {
		if got.header.Get("Authorization") != "Basic dXNlcjpwYXNz" || got.header.Get("X-Region") != "eu-1" {
			t.Errorf("attempt %s has %v", got.header.Get("X-Webhook-Attempt"), got.header)
		}
	}
	set(map[string]string{})
	next := newDocument()
	c.put(next, "processed")
	got := endpoint.verified(t, config.credentials)
	for !bytes.Contains(got.body, []byte(next)) { // an attempt at the first one that was under way
		got = endpoint.verified(t, config.credentials)
	}
	if got.header.Get("Authorization") != "" {
		t.Errorf("they stay after they were taken away: %v", got.header)
	}
}

// TestNothingLeavesThisMachine: a host that somebody made up may be somebody else's.
func TestNothingLeavesThisMachine(t *testing.T) {
	if under.local == nil {
		t.Skip("a deployed stack calls hosts that are not on this machine")
	}
	t.Parallel()
	c := newClient(t)
	for _, host := range []string{"hooks.example.com", "192.0.2.1"} {
		config := c.register("https://"+host+"/", "processed")
		c.must(202, "POST", configPath(config.id, "test"), nil)
		if got := c.delivery(config.id, "retrying").Attributes.Attempts[0].ErrorCode; got != "blocked_address" {
			t.Errorf("%s: error code %q", host, got)
		}
		c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, map[string]any{"is_active": false}))
		c.delivery(config.id, "canceled") // so that nothing is left for the dead-letter queue
	}
}

func TestReceiverOverTLS(t *testing.T) {
	if under.local == nil {
		t.Skip("all receivers of a deployed stack are")
	}
	t.Parallel()
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			endpoint := newReceiver(t)
			spoken := make(chan string, 1)
			endpoint.answer(func(w http.ResponseWriter, r *http.Request) { spoken <- r.Proto })
			server := httptest.NewUnstartedServer(endpoint)
			server.EnableHTTP2 = http2
			server.StartTLS()
			t.Cleanup(server.Close)
			config := c.register(server.URL, "processed")
			c.put(newDocument(), "processed")
			endpoint.verified(t, config.credentials)
			if got := <-spoken; got != protocol {
				t.Errorf("spoke %s", got)
			}
		})
	}
}

func TestStatusChangeBecomesOneVerifiedPost(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed", "failed")
	id := newDocument()

	c.put(id, "processing") // not subscribed to
	changed := c.put(id, "processed", "pages", "1")
	got := endpoint.verified(t, config.credentials)
	t.Logf("the webhook arrived %s after the change", got.at.Sub(changed).Round(time.Millisecond))
	c.put(id, "processed", "pages", "2") // the same status
	c.put(id, "failed")
	last := endpoint.verified(t, config.credentials) // comes after whatever the others caused
	endpoint.none(t)

	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Webhook-Attempt": "1", "X-Webhook-Token": config.credentials.Token.Reveal(),
	} {
		if value := got.header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	agent := regexp.MustCompile(`^Docuhook/[0-9A-Za-z.-]+$`)
	if under.local != nil {
		agent = regexp.MustCompile("^Docuhook/" + regexp.QuoteMeta(localVersion) + "$")
	}
	if value := got.header.Get("User-Agent"); !agent.MatchString(value) {
		t.Errorf("User-Agent %q, want one like %s", value, agent)
	}
	eventID := got.header.Get("webhook-id")
	if key, err := webhook.DeliveryID(config.id, eventID); err != nil || got.header.Get("Idempotency-Key") != key {
		t.Errorf("webhook-id %q, Idempotency-Key %q", eventID, got.header.Get("Idempotency-Key"))
	}
	if last.header.Get("webhook-id") <= eventID {
		t.Logf("the second event id %s is not after the first %s; both are of one second", last.header.Get("webhook-id"), eventID)
	}
	attributes := func(of received) (body, attributes map[string]any) {
		if err := json.Unmarshal(of.body, &body); err != nil {
			t.Fatal(err)
		}
		return body, body["data"].(map[string]any)["attributes"].(map[string]any)
	}
	body, now := attributes(got)
	occurred, err := time.Parse("2006-01-02T15:04:05.000Z", now["occurred_at"].(string))
	if err != nil || changed.Sub(occurred) > time.Minute || occurred.Sub(changed) > time.Second {
		t.Errorf("occurred_at %v: %v", now["occurred_at"], err)
	}
	_, later := attributes(last)
	for _, one := range []map[string]any{now, later} {
		if sequence, _ := one["sequence"].(string); len(sequence) != webhook.SequenceLength {
			t.Errorf("sequence %v", one["sequence"])
		}
	}
	if now["sequence"].(string) >= later["sequence"].(string) {
		t.Errorf("the sequence %v of the first event is not before that of the second, %v", now["sequence"], later["sequence"])
	}
	delete(now, "occurred_at")
	delete(now, "sequence")
	want := map[string]any{
		"jsonapi": map[string]any{"version": "1.1"},
		"data": map[string]any{
			"type": "document_status_change", "id": eventID,
			"attributes": map[string]any{"document_id": id, "status": "processed", "previous_status": "processing"},
			"relationships": map[string]any{
				"document":       map[string]any{"data": map[string]any{"type": "document", "id": id}},
				"webhook_config": map[string]any{"data": map[string]any{"type": "webhook_config", "id": config.id}},
			},
		},
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
}

func TestFailuresAreRetriedThenRedriven(t *testing.T) {
	on := alone(t)
	before := on.deadLetters(t)
	c := newClientOn(t, on)
	endpoint := newReceiver(t)
	endpoint.status(http.StatusInternalServerError)
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")

	var first received
	round := func() {
		t.Helper()
		for number := range webhook.MaxAttempts {
			got := endpoint.verified(t, config.credentials)
			if want := strconv.Itoa(number + 1); got.header.Get("X-Webhook-Attempt") != want {
				t.Errorf("attempt %s, want %s", got.header.Get("X-Webhook-Attempt"), want)
			}
			if first.body == nil {
				first = got
			}
			if !bytes.Equal(got.body, first.body) || got.header.Get("Idempotency-Key") != first.header.Get("Idempotency-Key") {
				t.Error("body and Idempotency-Key are not the same on every attempt")
			}
		}
		on.waitForDeadLetters(t, before+1)
		endpoint.none(t)
	}
	round()
	failed := c.delivery(config.id, "failed")
	if under.local != nil {
		c.planned(failed, around(10*time.Second), around(time.Minute), around(5*time.Minute), around(15*time.Minute))
	}
	attempts := failed.Attributes.Attempts
	if last := attempts[len(attempts)-1]; last.ErrorCode != "http_status" || last.ResponseStatus != 500 {
		t.Errorf("the log has %+v", attempts)
	}
	on.redrive(t) // of all that is there
	before = 0
	round() // five new attempts, after which the message is there again

	endpoint.status(http.StatusOK)
	on.redrive(t)
	again := endpoint.verified(t, config.credentials)
	if again.header.Get("X-Webhook-Attempt") != "1" || !bytes.Equal(again.body, first.body) {
		t.Errorf("the redriven request is attempt %s with body %s", again.header.Get("X-Webhook-Attempt"), again.body)
	}
	delivered := c.delivery(config.id, "delivered")
	if n := len(delivered.Attributes.Attempts); n != 2*webhook.MaxAttempts+1 {
		t.Errorf("%d attempts are in the log", n)
	}
	endpoint.none(t)
}

// TestWaitingForARetryTakesNoPlace: a delivery that waits is in the log, and none of its messages is in flight.
func TestWaitingForARetryTakesNoPlace(t *testing.T) {
	on := alone(t)
	c := newClientOn(t, on)
	endpoint := newReceiver(t)
	endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Webhook-Attempt") == "1" {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	waiting := c.delivery(config.id, "retrying")
	if next := waiting.Attributes.NextAttemptAt; next == nil || next.Sub(waiting.Attributes.Attempts[0].StartedAt) < 24*time.Hour {
		t.Errorf("the next attempt is at %v", next)
	}
	for _, name := range []string{"DeliveryQueue", "RetryQueue"} {
		var last queued
		eventually(t, func() (bool, bool) {
			last = on.queue(t, name)
			return true, last.visible == 0 && last.inFlight == 0 && last.delayed == 0
		}, func() string { return fmt.Sprintf("no message in %s; it has %+v", name, last) })
	}
	if len(endpoint.arrived) > 0 {
		t.Fatal("the retry came before the queues were empty")
	}
	c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, map[string]any{"is_active": false}))
}

// TestRedriveOfDeliveredPostsNothing resends a failed delivery and only then redrives its message.
func TestRedriveOfDeliveredPostsNothing(t *testing.T) {
	on := alone(t)
	before := on.deadLetters(t)
	c := newClientOn(t, on)
	endpoint := newReceiver(t)
	endpoint.status(http.StatusInternalServerError)
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	for range 5 {
		endpoint.verified(t, config.credentials)
	}
	failed := c.delivery(config.id, "failed")
	on.waitForDeadLetters(t, before+1)
	endpoint.status(http.StatusOK)
	c.must(202, "POST", "/v1/webhooks/deliveries/"+failed.ID+"/resend", nil)
	endpoint.verified(t, config.credentials)
	c.delivery(config.id, "delivered")
	on.redrive(t)
	// Another delivery to the same endpoint comes after the redriven message.
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	endpoint.none(t)
}

func TestResendRepeatsTheBody(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	first := endpoint.verified(t, config.credentials)
	delivered := c.delivery(config.id, "delivered")
	for range 2 {
		c.must(202, "POST", "/v1/webhooks/deliveries/"+delivered.ID+"/resend", nil)
		again := endpoint.verified(t, config.credentials)
		if !bytes.Equal(first.body, again.body) || first.header.Get("webhook-id") != again.header.Get("webhook-id") {
			t.Errorf("resent %s, first %s", again.body, first.body)
		}
	}
	endpoint.none(t)
	eventually(t, func() (int, bool) {
		n := len(c.must(200, "GET", "/v1/webhooks/deliveries/"+delivered.ID, nil).Data.Attributes.Attempts)
		return n, n == 3
	}, func() string { return "three attempts in the log" })
}

func TestDeactivationCancelsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint, other := newReceiver(t), newReceiver(t)
	release := endpoint.hold(t, http.StatusServiceUnavailable) // so that no later attempt is under way
	config := c.register(endpoint.url, "processed")
	witness := c.register(other.url, "processed")
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	other.verified(t, witness.credentials)
	c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, map[string]any{"is_active": false}))
	release()
	c.delivery(config.id, "canceled")
	c.put(newDocument(), "processed")
	other.verified(t, witness.credentials)
	endpoint.none(t)
	if got := c.call("POST", configPath(config.id, "test"), nil); under.local != nil && got.status != 409 {
		t.Errorf("a test of an inactive config: %d %s", got.status, got.body)
	}
}

func TestChangedURLTakesEffectOnTheNextAttempt(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	broken, good := newReceiver(t), newReceiver(t)
	broken.status(http.StatusInternalServerError)
	config := c.register(broken.url, "processed")
	c.put(newDocument(), "processed")
	first := broken.verified(t, config.credentials)
	c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, map[string]any{"url": good.url}))
	got := good.verified(t, config.credentials)
	if !bytes.Equal(first.body, got.body) {
		t.Errorf("got %s, first %s", got.body, first.body)
	}
	c.delivery(config.id, "delivered")
}

func TestGoneDeactivatesTheConfig(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	endpoint.status(http.StatusGone)
	config := c.register(endpoint.url, "processed")
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	c.delivery(config.id, "failed")
	eventually(t, func() (string, bool) {
		a := c.must(200, "GET", configPath(config.id), nil).Data.Attributes
		return a.DeactivatedReason, !a.IsActive && a.DeactivatedReason == "endpoint_gone"
	}, func() string { return "the config to be deactivated" })
	endpoint.none(t)
}

func TestBrokenRecordsAndMessagesStopNobody(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	table := under.outputs["DocumentsTable"]
	for _, broken := range []map[string]types.AttributeValue{
		{"status": &types.AttributeValueMemberS{Value: "processed"}},
		{"status": &types.AttributeValueMemberS{Value: "exploded"}, "organization_id": &types.AttributeValueMemberS{Value: c.organization}},
		{"status": &types.AttributeValueMemberS{Value: "processed"}, "organization_id": &types.AttributeValueMemberN{Value: "7"}},
		{"status": &types.AttributeValueMemberN{Value: "1"}, "organization_id": &types.AttributeValueMemberS{Value: c.organization}},
	} {
		broken["id"] = &types.AttributeValueMemberS{Value: newDocument()}
		if _, err := under.dynamo.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: broken}); err != nil {
			t.Fatal(err)
		}
	}
	c.put(strings.Repeat("x", 300), "processed")
	id := newDocument()
	c.put(id, "processed")
	if got := endpoint.verified(t, config.credentials); !bytes.Contains(got.body, []byte(id)) {
		t.Errorf("got %s", got.body)
	}
	endpoint.none(t)
}

// TestMessageThatIsNotDueWaits: whoever sent it may have a clock that is ahead of deliver's.
func TestMessageThatIsNotDueWaits(t *testing.T) {
	if under.local == nil {
		t.Skip("takes half an hour with the clock of AWS")
	}
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	now := c.must(200, "GET", configPath(config.id), nil).Data.Attributes.CreatedAt
	event := webhook.Event{
		Version: webhook.RenderVersion, ID: webhook.NewEventID(now, t.Name()), DocumentID: newDocument(),
		Status: webhook.Processed, OccurredAt: webhook.At(now),
	}
	early := webhook.NewFirst(c.organization, config.id, event, webhook.At(now), now.Add(30*time.Minute))
	body, err := json.Marshal(early)
	if err != nil {
		t.Fatal(err)
	}
	url := under.outputs["DeliveryQueue"]
	if _, err := under.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new(string(body))}); err != nil {
		t.Fatal(err)
	}
	endpoint.verified(t, config.credentials)
	attempts := c.delivery(config.id, "delivered").Attributes.Attempts
	if len(attempts) != 1 || attempts[0].StartedAt.Before(early.NotBefore.Time) {
		t.Errorf("attempts %+v, want one from %s on", attempts, early.NotBefore)
	}
	endpoint.none(t)
}
