package e2e

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/webhook"
)

// TestSweepSendsWhatIsDue brings forward, in its item, when a retry is due that waits in the log alone. The next sweep
// sends it, within a minute on every stack.
func TestSweepSendsWhatIsDue(t *testing.T) {
	t.Parallel()
	c := newClient(t)
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
	configID, eventID, err := webhook.ParseDeliveryID(waiting.ID)
	if err != nil {
		t.Fatal(err)
	}
	table := under.outputs["DeliveriesTable"]
	_, err = under.dynamo.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: &table,
		Key: map[string]types.AttributeValue{
			"config_id": &types.AttributeValueMemberS{Value: configID}, "event_id": &types.AttributeValueMemberS{Value: eventID},
		},
		UpdateExpression:    aws.String("SET next_attempt_at = :now, wake_at = :now"),
		ConditionExpression: aws.String("attribute_exists(wake_shard)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":now": &types.AttributeValueMemberS{Value: webhook.At(waiting.Attributes.Attempts[0].StartedAt).String()},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	endpoint.verified(t, config.credentials)
	attempts := c.delivery(config.id, "delivered").Attributes.Attempts
	if len(attempts) != 2 || !attempts[1].StartedAt.Before(*waiting.Attributes.NextAttemptAt) {
		t.Errorf("the attempts are %+v, the second of which was first due at %s", attempts, waiting.Attributes.NextAttemptAt)
	}
	endpoint.none(t)
}

// TestLostMessageComesByTheSweep lets the message of the next attempt be lost on its way to RetryQueue, and kills sweeps
// meanwhile. The attempt is made a quarter of an hour late. Messages of the same attempt that come twice or late then
// post nothing.
func TestLostMessageComesByTheSweep(t *testing.T) {
	if under.local == nil {
		t.Skip("only the local stack's services fail when they are told to")
	}
	on := alone(t)
	c := newClientOn(t, on)
	endpoint := newReceiver(t)
	endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Webhook-Attempt") == "1" {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	config := c.register(endpoint.url, "processed")
	on.strike(t, fault{Function: "DeliverFunction", Service: "sqs", Operation: "SendMessage", Contains: config.id, Kind: "internal"})
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	waiting := c.delivery(config.id, "retrying")
	configID, eventID, err := webhook.ParseDeliveryID(waiting.ID)
	if err != nil {
		t.Fatal(err)
	}
	log := &dynamo.Deliveries{Client: on.dynamo, Table: on.outputs["DeliveriesTable"]}
	item, err := log.Get(t.Context(), c.organization, configID, eventID)
	if err != nil {
		t.Fatal(err)
	}
	on.kill(t, "SweepFunction", true)
	on.kill(t, "SweepFunction", false)

	endpoint.verified(t, config.credentials)
	delivered := c.delivery(config.id, "delivered")
	if late := delivered.Attributes.Attempts[1].StartedAt.Sub(item.NextAttemptAt.Time); late < 14*time.Minute {
		t.Errorf("the second attempt came %s after it was due: not by the sweep", late)
	}
	url := on.outputs["RetryQueue"]
	for range 3 {
		body, err := json.Marshal(item.NextMessage(delivered.Attributes.Attempts[1].StartedAt))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := on.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new(string(body))}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() (queued, bool) {
		is := on.queue(t, "RetryQueue")
		return is, is.visible+is.inFlight+is.delayed == 0
	}, func() string { return "the doubled messages to be gone" })
	endpoint.none(t)
	if n := len(c.must(200, "GET", "/v1/webhooks/deliveries/"+delivered.ID, nil).Data.Attributes.Attempts); n != 2 {
		t.Errorf("%d attempts are in the log", n)
	}
}

// TestSweepThatHearsNoAnswerRepeatsNoAttempt: a sweep whose answers are lost has sent messages that it does not know of.
func TestSweepThatHearsNoAnswerRepeatsNoAttempt(t *testing.T) {
	t.Parallel()
	c := newClientOn(t, daysOf(t))
	endpoint := newReceiver(t)
	endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Webhook-Attempt") == "1" {
			w.Header().Set("Retry-After", "3600") // longer than a queue can hold it back
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	config := c.register(endpoint.url, "processed")
	c.on.strike(t, fault{
		Function: "SweepFunction", Service: "sqs", Operation: "SendMessageBatch", Contains: config.id, Kind: "reset-after",
	})
	const documents = 5
	for range documents {
		c.put(newDocument(), "processed")
	}
	for range 2 * documents {
		endpoint.verified(t, config.credentials)
	}
	c.settled(config.id, documents)
	endpoint.none(t)
}
