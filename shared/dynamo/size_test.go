package dynamo_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/webhook"
)

// size returns what DynamoDB counts for an attribute value.
//
// Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func size(t *testing.T, value map[string]any) int {
	t.Helper()
	for kind, content := range value {
		switch kind {
		case "S":
			return len(content.(string))
		case "N":
			digits := strings.Trim(strings.NewReplacer("-", "", ".", "").Replace(content.(string)), "0")
			return (len(digits)+1)/2 + 2 // one more than at most, to be on the safe side
		case "BOOL", "NULL":
			return 1
		case "L":
			total := 3
			for _, element := range content.([]any) {
				total += 1 + size(t, element.(map[string]any))
			}
			return total
		case "M":
			total := 3
			for name, element := range content.(map[string]any) {
				total += 1 + len(name) + size(t, element.(map[string]any))
			}
			return total
		}
	}
	t.Fatalf("no size for %v", value)
	return 0
}

// itemSize returns the size of the only item of the delivery log.
func itemSize(t *testing.T, db *dynamotest.DB) int {
	t.Helper()
	items := db.Items(t, logTable)
	if len(items) != 1 {
		t.Fatalf("%d items, want 1", len(items))
	}
	var item map[string]map[string]any
	if err := json.Unmarshal([]byte(items[0]), &item); err != nil {
		t.Fatal(err)
	}
	total := 0
	for name, value := range item {
		total += len(name) + size(t, value)
	}
	return total
}

func TestDeliverySize(t *testing.T) {
	t.Run("a success at once is under 1 KiB, one write unit", func(t *testing.T) {
		db := dynamotest.New(t)
		record(t, db, step{round: "2b7f3b1e-7c6d-4a55-9f0a-2b8a5d1e7c10", number: 1, status: webhook.Delivered, at: 5})
		if got := itemSize(t, db); got >= 1<<10 {
			t.Errorf("%d bytes", got)
		} else {
			t.Logf("%d bytes", got)
		}
	})
	t.Run("a success on the second attempt is under 1 KiB", func(t *testing.T) {
		db := dynamotest.New(t)
		record(t, db,
			step{round: "2b7f3b1e-7c6d-4a55-9f0a-2b8a5d1e7c10", number: 1, status: webhook.Retrying, at: 5},
			step{round: "2b7f3b1e-7c6d-4a55-9f0a-2b8a5d1e7c10", number: 2, status: webhook.Delivered, at: 20})
		if got := itemSize(t, db); got >= 1<<10 {
			t.Errorf("%d bytes", got)
		} else {
			t.Logf("%d bytes", got)
		}
	})
	// The longest item: a delivery that has failed for good, has succeeded, and whose resends fail for good.
	t.Run("twenty failures with the longest texts are under 8 KiB", func(t *testing.T) {
		db := dynamotest.New(t)
		deliveries := deliveriesOf(db)
		m := message(1)
		m.Event.DocumentID, m.Event.Status, m.Event.PreviousStatus = strings.Repeat("d", webhook.MaxDocumentIDLength), webhook.Processed, webhook.Processing
		m.Trigger = webhook.StatusChange
		var known *webhook.Delivery
		for n := range 25 {
			const round = "2b7f3b1e-7c6d-4a55-9f0a-2b8a5d1e7c10"
			entry := delivery.Entry{
				Message: m, MessageID: round, Round: round, Status: webhook.DeliveryFailed, At: moment(n), Known: known,
				Attempt: &webhook.Attempt{
					Number: 5, Round: "2b7f3b1e", StartedAt: moment(n), Duration: 14_999 * time.Millisecond, ResponseStatus: 503,
					ErrorCode: endpoint.CodeHTTPStatus, Error: "the endpoint answered 503", ResponseSnippet: strings.Repeat("s", 256),
				},
			}
			if n == 1 {
				entry.Status = webhook.Delivered
			}
			entry.Message.RequestedAt = moment(n)
			if errs := deliveries.Record(t.Context(), []delivery.Entry{entry}); errs != nil {
				t.Fatal(errs)
			}
			var err error
			if known, err = deliveries.Get(t.Context(), organization, m.ConfigID, m.Event.ID); err != nil {
				t.Fatal(err)
			}
		}
		if len(known.Attempts) != webhook.MaxLoggedAttempts || known.Status != webhook.Delivered || known.FailedAt.IsZero() || !known.RoundOver() {
			t.Fatalf("%d attempts, %+v", len(known.Attempts), known)
		}
		if got := itemSize(t, db); got >= 8<<10 {
			t.Errorf("%d bytes", got)
		} else {
			t.Logf("%d bytes", got)
		}
	})
}
