package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
)

// events lists the events of a document, newest first, once there are as many as wanted.
func (c *client) events(documentID string, want int) []resource {
	c.t.Helper()
	var listed []resource
	return eventually(c.t, func() ([]resource, bool) {
		listed = c.listAll("/v1/webhooks/events?filter[document_id]=" + documentID)
		return listed, len(listed) == want
	}, func() string { return fmt.Sprintf("%d events of %s; there are %+v", want, documentID, listed) })
}

// forget deletes the only event of a document, as its time to live would.
func (c *client) forget(documentID string) {
	c.t.Helper()
	table := c.on.outputs["EventsTable"]
	_, err := c.on.dynamo.DeleteItem(c.t.Context(), &dynamodb.DeleteItemInput{TableName: &table, Key: map[string]dynamotypes.AttributeValue{
		"organization_id": &dynamotypes.AttributeValueMemberS{Value: c.organization},
		"event_id":        &dynamotypes.AttributeValueMemberS{Value: c.events(documentID, 1)[0].ID},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
}

// until waits until a moment of the stack's clock, which a change of a config tells.
func (c *client) until(configID string, moment time.Time) {
	c.t.Helper()
	touch := envelope("webhook_config", configID, map[string]any{"description": c.t.Name()})
	var now time.Time
	eventually(c.t, func() (bool, bool) {
		now = c.must(200, "PATCH", configPath(configID), touch).Data.Attributes.UpdatedAt
		return true, now.After(moment)
	}, func() string { return fmt.Sprintf("%s on a clock that shows %s", moment, now) })
}

func TestEventsThatNobodyWantsAreListed(t *testing.T) {
	t.Parallel()
	c, other := newClient(t), newClient(t)
	id := newDocument()
	c.put(id, "pending")
	c.put(id, "processed")
	events := c.events(id, 2)
	// Streams tell the second of a change only; of one second, the sequence tells the order.
	slices.SortFunc(events, func(a, b resource) int { return strings.Compare(b.Attributes.Sequence, a.Attributes.Sequence) })
	newer, older := events[0].Attributes, events[1].Attributes
	if newer.Status != "processed" || older.Status != "pending" || newer.Sequence <= older.Sequence {
		t.Errorf("listed are %+v", events)
	}
	for _, event := range events {
		found := c.must(200, "GET", "/v1/webhooks/events/"+event.ID, nil)
		deliveries := len(found.Included) + len(event.Relationships.Deliveries.Data)
		if found.Data.ID != event.ID || found.Data.Attributes.DocumentID != id || deliveries > 0 {
			t.Errorf("the event is %+v with %+v", found.Data, found.Included)
		}
		other.must(404, "GET", "/v1/webhooks/events/"+event.ID, nil)
	}
	if listed := c.listAll("/v1/webhooks/deliveries?filter[document_id]=" + id); len(listed) > 0 {
		t.Errorf("deliveries %+v of events that nobody wanted", listed)
	}
}

func TestDeliveriesAreFoundByDocumentAndByEvent(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint, refusing := newReceiver(t), newReceiver(t)
	refusing.status(http.StatusGone)
	good, gone := c.register(endpoint.url, "processed"), c.register(refusing.url, "processed")
	id := newDocument()
	c.put(id, "processed")
	c.delivery(good.id, "delivered")
	c.delivery(gone.id, "failed")
	event := c.events(id, 1)[0]
	found := c.must(200, "GET", "/v1/webhooks/events/"+event.ID, nil)
	statuses := map[string]string{}
	for _, delivery := range found.Included {
		statuses[delivery.ID] = delivery.Attributes.Status
	}
	for _, listed := range c.listAll("/v1/webhooks/deliveries?filter[document_id]=" + id) {
		if statuses[listed.ID] != listed.Attributes.Status {
			t.Errorf("%s is %q in the list, and %q with the event", listed.ID, listed.Attributes.Status, statuses[listed.ID])
		}
		delete(statuses, listed.ID)
	}
	if len(statuses) > 0 || len(found.Included) != 2 || len(found.Data.Relationships.Deliveries.Data) != 2 {
		t.Errorf("with the event come %+v, of which the list lacks %v", found.Included, statuses)
	}
}

// TestOutageShowsLateEventsInTheirPlace: an event of an organization whose configs cannot be read waits in a queue of
// its own, holds nobody else up, and then appears where it belongs. So a period that is read again is complete.
func TestOutageShowsLateEventsInTheirPlace(t *testing.T) {
	if under.local == nil {
		t.Skip("only the local stack's services fail when they are told to")
	}
	t.Parallel()
	c, other := newClient(t), newClient(t)
	endpoint, fine := newReceiver(t), newReceiver(t)
	config, unhindered := c.register(endpoint.url, "processed"), other.register(fine.url, "processed")
	end := under.strike(t, fault{
		Function: "DispatchFunction", Service: "dynamodb", Operation: "Query", Contains: c.organization, Kind: "internal",
	})
	late, next := newDocument(), newDocument()
	c.put(late, "processed")
	other.put(newDocument(), "processed")
	fine.verified(t, unhindered.credentials)
	// After three receives in vain a copy takes the place of the message, for a quarter of an hour.
	eventually(t, func() (bool, bool) {
		return true, under.queue(t, "DispatchRetryQueue").delayed > 0
	}, func() string { return "the change to wait in DispatchRetryQueue" })
	if listed := c.listAll("/v1/webhooks/events"); len(listed) > 0 {
		t.Errorf("%+v is listed although it could not be recorded", listed)
	}
	end()
	c.put(next, "processed")
	c.events(next, 1)
	for range 2 {
		endpoint.verified(t, config.credentials)
	}
	endpoint.none(t)
	var listed []string
	for _, event := range c.listAll("/v1/webhooks/events?filter[document_status]=processed") {
		listed = append(listed, event.Attributes.DocumentID)
	}
	if !slices.Equal(listed, []string{next, late}) {
		t.Errorf("listed are the events of %v, want those of %s and %s, from new to old", listed, next, late)
	}
}

// TestChangeInDispatchRetryQueueIsDispatchedOnce: a message there is the record of a change as the stream hands it over,
// and the same record twice is one event and one delivery.
func TestChangeInDispatchRetryQueueIsDispatchedOnce(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	id, queue := newDocument(), under.outputs["DispatchRetryQueue"]
	record, err := json.Marshal(map[string]any{
		"eventID": uuid.NewString(), "eventName": "INSERT", "eventSource": "aws:dynamodb",
		"dynamodb": map[string]any{
			"ApproximateCreationDateTime": time.Now().Unix(), "SequenceNumber": "4421584500000000017450439091",
			"Keys": map[string]any{"id": map[string]string{"S": id}},
			"NewImage": map[string]any{
				"id":              map[string]string{"S": id},
				"organization_id": map[string]string{"S": c.organization},
				"status":          map[string]string{"S": "processed"},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		t.Helper()
		message := &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String(string(record))}
		if _, err := under.sqs.SendMessage(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	send()
	if got := endpoint.verified(t, config.credentials); !bytes.Contains(got.body, []byte(id)) {
		t.Errorf("got %s", got.body)
	}
	delivered := c.delivery(config.id, "delivered")
	send() // later: two that are under way at once may both be posted
	var last queued
	eventually(t, func() (bool, bool) {
		last = under.queue(t, "DispatchRetryQueue")
		return true, last.visible == 0 && last.inFlight == 0
	}, func() string { return fmt.Sprintf("both messages to be done; the queue has %+v", last) })
	// Another delivery to the same endpoint comes after what the second message has caused.
	next := newDocument()
	c.put(next, "processed")
	if got := endpoint.verified(t, config.credentials); !bytes.Contains(got.body, []byte(next)) {
		t.Errorf("got %s", got.body)
	}
	endpoint.none(t)
	if deliveries := c.events(id, 1)[0].Relationships.Deliveries.Data; len(deliveries) != 1 || deliveries[0].ID != delivered.ID {
		t.Errorf("the event has deliveries %+v", deliveries)
	}
}

// TestLostAnswerOfTheRecordIsMadeGood: an event that was written although its writer did not hear of it is written
// again, stays one, and is delivered once.
func TestLostAnswerOfTheRecordIsMadeGood(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	id := newDocument()
	end := under.strike(t, fault{
		Function: "DispatchFunction", Service: "dynamodb", Operation: "BatchExecuteStatement", Contains: id, Kind: "reset-after",
	})
	c.put(id, "processed")
	c.events(id, 1)
	end()
	endpoint.verified(t, config.credentials)
	delivered := c.delivery(config.id, "delivered")
	endpoint.none(t)
	if deliveries := c.events(id, 1)[0].Relationships.Deliveries.Data; len(deliveries) != 1 || deliveries[0].ID != delivered.ID {
		t.Errorf("the event has deliveries %+v", deliveries)
	}
}

// TestNewConfigReceivesWhatHappenedBeforeIt asks for more than an hour's old events again and again while they are
// delivered: each comes once.
func TestNewConfigReceivesWhatHappenedBeforeIt(t *testing.T) {
	t.Parallel()
	const documents = 110 // more than a page
	c := newClientOn(t, daysOf(t))
	for range documents {
		c.put(newDocument(), "processed")
	}
	c.put(newDocument(), "submitted") // which the config will not want
	var events []resource
	eventually(t, func() (bool, bool) {
		events = c.listAll("/v1/webhooks/events?page[size]=100")
		return true, len(events) == documents+1
	}, func() string { return fmt.Sprintf("%d events; there are %d", documents+1, len(events)) })
	endpoint := newReceiver(t)
	release := endpoint.hold(t, http.StatusOK)
	config := c.register(endpoint.url, "processed")
	c.until(config.id, events[0].Attributes.CreatedAt.Add(time.Hour))

	undelivered := resendOf(map[string]any{
		"webhook_config_id": config.id, "scope": "undelivered", "since": events[documents].Attributes.CreatedAt.Format(time.RFC3339),
	})
	ask := func() (accepted int) {
		for next := "/v1/webhooks/resend"; ; {
			d := c.must(202, "POST", next, undelivered)
			accepted += d.Meta.Accepted
			if d.Links.Next == nil {
				return accepted
			}
			next = *d.Links.Next
		}
	}
	if accepted := ask(); accepted != documents {
		t.Errorf("%d deliveries accepted, want %d", accepted, documents)
	}
	posted := map[string]int{}
	posted[endpoint.verified(t, config.credentials).header.Get("webhook-id")]++
	ask() // while the first are on their way and nothing is in the log
	release()
	for range documents - 1 {
		posted[endpoint.verified(t, config.credentials).header.Get("webhook-id")]++
	}
	ask()
	c.settled(config.id, documents)
	for len(endpoint.arrived) > 0 {
		posted[endpoint.next(t).header.Get("webhook-id")]++
	}
	for id, n := range posted {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if accepted := ask(); accepted != 0 {
		t.Errorf("%d deliveries accepted although all are delivered", accepted)
	}
}

// TestFailedScopeBringsAllThatDidNotArrive: what has failed, what was canceled, and what was meant for the config but
// has no item after an hour, since its message died before its first attempt.
func TestFailedScopeBringsAllThatDidNotArrive(t *testing.T) {
	if under.local == nil {
		t.Skip("takes an hour with the clock of AWS")
	}
	on := alone(t)
	c := newClientOn(t, on)
	endpoint := newReceiver(t)
	config := c.register(endpoint.url, "processed")
	active := func(is bool) {
		c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, map[string]any{"is_active": is}))
	}
	c.put(newDocument(), "processed")
	endpoint.verified(t, config.credentials)
	c.delivery(config.id, "delivered")

	end := on.strike(t,
		fault{Function: "DeliverFunction", Service: "dynamodb", Operation: "BatchGetItem", Contains: c.organization, Kind: "internal"},
		fault{Function: "DeliverFunction", Service: "sqs", Operation: "SendMessage", Contains: c.organization, Kind: "internal"})
	died := newDocument()
	c.put(died, "processed")
	c.deleteDeadLetter(died)
	end()

	endpoint.status(http.StatusGone) // which fails at once and deactivates
	failed := newDocument()
	c.put(failed, "processed")
	endpoint.verified(t, config.credentials)
	eventually(t, func() (bool, bool) {
		return true, !c.must(200, "GET", configPath(config.id), nil).Data.Attributes.IsActive
	}, func() string { return "the config to be deactivated" })
	active(true)
	release := endpoint.hold(t, http.StatusInternalServerError) // so that no later attempt is under way
	canceled := newDocument()
	c.put(canceled, "processed")
	endpoint.verified(t, config.credentials)
	active(false)
	release()
	eventually(t, func() (bool, bool) {
		return true, len(c.listAll("/v1/webhooks/deliveries?filter[status]=canceled")) == 1
	}, func() string { return "a delivery to be canceled" })
	active(true)
	endpoint.status(http.StatusOK)
	c.until(config.id, c.events(died, 1)[0].Attributes.CreatedAt.Add(time.Hour))

	again := resendOf(map[string]any{
		"webhook_config_id": config.id, "since": c.events(died, 1)[0].Attributes.CreatedAt.Add(-time.Second).Format(time.RFC3339),
	})
	missing := []string{died, failed, canceled}
	if d := c.must(202, "POST", "/v1/webhooks/resend", again); d.Meta.Accepted != len(missing) {
		t.Errorf("%d deliveries accepted, want %d", d.Meta.Accepted, len(missing))
	}
	for len(missing) > 0 {
		got := endpoint.verified(t, config.credentials)
		of := slices.IndexFunc(missing, func(id string) bool { return bytes.Contains(got.body, []byte(id)) })
		if of < 0 {
			t.Fatalf("nobody has missed %s", got.body)
		}
		missing = slices.Delete(missing, of, of+1)
	}
	c.settled(config.id, 4)
	endpoint.none(t)
}

// deleteDeadLetter waits until a document's only message is in the dead-letter queue, and deletes it.
func (c *client) deleteDeadLetter(documentID string) {
	c.t.Helper()
	url := c.on.outputs["DeliveryDeadLetterQueue"]
	eventually(c.t, func() (bool, bool) {
		out, err := c.on.sqs.ReceiveMessage(c.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: 30, // so that those of other tests do not come first for ever
		})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, message := range out.Messages {
			if !strings.Contains(*message.Body, documentID) {
				continue
			}
			deleted := &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: message.ReceiptHandle}
			if _, err := c.on.sqs.DeleteMessage(c.t.Context(), deleted); err != nil {
				c.t.Fatal(err)
			}
			return true, true
		}
		return false, false
	}, func() string { return "the message of " + documentID + " in the dead-letter queue" })
}
