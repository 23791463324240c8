package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// later answers a first attempt with a failure, so that the next one comes after what a test does meanwhile. On a
// deployed stack, where that would take minutes, it may come before.
func later(w http.ResponseWriter, _ *http.Request) {
	if under.local != nil {
		w.Header().Set("Retry-After", "600") // of which 3 s are left
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}

// told is what a webhook tells of a document.
type told struct {
	Status, Sequence string
}

func tells(t *testing.T, got received) told {
	t.Helper()
	var body struct{ Data struct{ Attributes told } }
	if err := json.Unmarshal(got.body, &body); err != nil {
		t.Fatal(err)
	}
	return body.Data.Attributes
}

// TestSequenceTellsTheOrder has a retry of the first status arrive after the second one, from documents whose times say
// nothing, or say it wrong. A receiver that keeps the greatest sequence ends with the second one all the same.
func TestSequenceTellsTheOrder(t *testing.T) {
	t.Parallel()
	for name, times := range map[string][2]types.AttributeValue{
		"of documents without a time":      {},
		"where the time goes missing":      {text(time.Now().UTC().Format(time.RFC3339Nano)), nil},
		"where the time goes back":         {text("2026-11-26T10:00:00Z"), text("2026-11-26T09:00:00Z")},
		"where the time stands still":      {number("1764151200"), text("2025-11-26T10:00:00Z")},
		"where the first is not believed":  {text("9999-12-31T23:59:59Z"), text("2026-11-26 10:00:00+0200")},
		"where the second cannot be read":  {text("2026-11-26T10:00:00.123456"), text("yesterday")},
		"where the second is another zone": {text("2026-11-26t10:00:00z"), text("2026-11-26T10:30:00+02:00")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			endpoint := newReceiver(t)
			endpoint.answer(later)
			config := c.register(endpoint.url, "processing", "processed")
			id := newDocument()
			write := func(status string, updated types.AttributeValue) {
				item := map[string]types.AttributeValue{"id": text(id), "organization_id": text(c.organization), "status": text(status)}
				if updated != nil {
					item["updated_at"] = updated
				}
				put := &dynamodb.PutItemInput{TableName: aws.String(c.on.outputs["DocumentsTable"]), Item: item}
				if _, err := c.on.dynamo.PutItem(t.Context(), put); err != nil {
					t.Fatal(err)
				}
			}
			write("processing", times[0])
			arrived := []received{endpoint.verified(t, config.credentials)}
			endpoint.status(http.StatusNoContent)
			write("processed", times[1])
			for range 2 { // the second event, and the first one again
				arrived = append(arrived, endpoint.verified(t, config.credentials))
			}
			endpoint.none(t)
			again := func(got received) bool {
				return bytes.Equal(got.body, arrived[0].body) && got.header.Get("X-Webhook-Attempt") == "2"
			}
			if again(arrived[1]) == again(arrived[2]) {
				t.Errorf("got %s and %s, want one of them to be a retry of %s", arrived[1].body, arrived[2].body, arrived[0].body)
			}
			var known told
			for _, got := range append(arrived, arrived...) { // each of them twice, as may be
				if one := tells(t, got); one.Sequence > known.Sequence {
					known = one
				}
			}
			if known.Status != "processed" {
				t.Errorf("the greatest sequence is of %+v", known)
			}
		})
	}
}

// TestUnsubscribingConcernsLaterChanges: what is under way was wanted when it happened.
func TestUnsubscribingConcernsLaterChanges(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	endpoint := newReceiver(t)
	endpoint.answer(later)
	config := c.register(endpoint.url, "processed", "failed")
	id := newDocument()
	c.put(id, "processed")
	first := endpoint.verified(t, config.credentials)
	others := map[string]any{"subscribed_statuses": []string{"failed"}}
	c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, others))
	endpoint.status(http.StatusNoContent)
	if again := endpoint.verified(t, config.credentials); !bytes.Equal(first.body, again.body) {
		t.Errorf("got %s, want the retry of %s", again.body, first.body)
	}
	c.delivery(config.id, "delivered")
	c.put(newDocument(), "processed") // not subscribed to any more
	last := newDocument()
	c.put(last, "failed")
	if got := endpoint.verified(t, config.credentials); !bytes.Contains(got.body, []byte(last)) {
		t.Errorf("got %s, want that of %s", got.body, last)
	}
	endpoint.none(t)
}

func text(value string) types.AttributeValue { return &types.AttributeValueMemberS{Value: value} }

func number(value string) types.AttributeValue { return &types.AttributeValueMemberN{Value: value} }
