package dynamo_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
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
	second := message(1)
	second.Attempt = 2
	for _, test := range []struct {
		name     string
		outcomes []webhook.Outcome
	}{
		{name: "a success at once", outcomes: []webhook.Outcome{outcome(message(1), webhook.Delivered, 5, nil)}},
		{
			name:     "a success on the second attempt",
			outcomes: []webhook.Outcome{outcome(message(1), webhook.Retrying, 5, nil), outcome(second, webhook.Delivered, 20, nil)},
		},
	} {
		t.Run(test.name+" is under 1 KiB, one write unit", func(t *testing.T) {
			db := dynamotest.New(t)
			record(t, deliveriesOf(db), test.outcomes...)
			if got := itemSize(t, db); got >= 1<<10 {
				t.Errorf("%d bytes", got)
			} else {
				t.Logf("%d bytes", got)
			}
		})
	}
	// The longest item: a delivery that has failed for good, has succeeded, and whose resends fail for good.
	t.Run("twenty failures with the longest texts are under 9 KiB", func(t *testing.T) {
		db := dynamotest.New(t)
		m := message(1)
		m.Event.DocumentID = strings.Repeat("d", webhook.MaxDocumentIDLength)
		m.Attempt = 5
		var known *webhook.Delivery
		for n := range 25 {
			m.RequestedAt = moment(n)
			m.Round = webhook.LaterRound(moment(n).Time, "2b7f3b1e-7c6d-4a55-9f0a-2b8a5d1e7c10")
			o := outcome(m, webhook.DeliveryFailed, n, known)
			if n == 1 {
				o = outcome(m, webhook.Delivered, n, known)
			}
			o.Tried.Duration, o.Tried.ResponseSnippet = 14_999*time.Millisecond, strings.Repeat("s", 256)
			known = record(t, deliveriesOf(db), o)
		}
		ended := !known.DeliveredAt.IsZero() && !known.FailedAt.IsZero() && known.EndedBy != ""
		if len(known.Attempts) != webhook.MaxLoggedAttempts || !ended {
			t.Fatalf("%d attempts, %+v", len(known.Attempts), known)
		}
		if got := itemSize(t, db); got >= 9<<10 {
			t.Errorf("%d bytes", got)
		} else {
			t.Logf("%d bytes", got)
		}
	})
}
