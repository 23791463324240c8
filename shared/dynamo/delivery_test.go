package dynamo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/delivery/deliverytest"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

const documentID = "5b1ff6c2-95d3-4b8e-8e53-9f2d4ad1b7c4"

// eventID returns the id of the n-th event; later ones are greater.
func eventID(n int) string {
	return webhook.NewEventID(start().Add(time.Duration(n)*time.Minute), fmt.Sprint("record ", n))
}

func event(n int) webhook.Event {
	return webhook.Event{
		Version: 1, ID: eventID(n), DocumentID: documentID, Status: webhook.Processed, PreviousStatus: webhook.Processing,
		OccurredAt: webhook.At(start()), Sequence: "0000000000004421584500000000017450439091",
		Related: "https://documents.example/v1/" + documentID,
	}
}

func message(n int) webhook.Message {
	return webhook.NewFirst(organization, configID(1), event(n), webhook.At(start()), start())
}

// moment is s seconds after the start.
func moment(s int) webhook.Time { return webhook.At(start().Add(time.Duration(s) * time.Second)) }

// outcome is what a message did to its delivery so many seconds after the start.
func outcome(m webhook.Message, status webhook.DeliveryStatus, at int, known *webhook.Delivery) webhook.Outcome {
	o := webhook.Outcome{
		Message: m, MessageID: "2b7f3b1e-7c6d-4a55-9f0a-2b8a5d1e7c10", Status: status, At: moment(at), Known: known,
		Tried: &webhook.Attempt{
			Number: m.Attempt, MessageID: "2b7f3b1e-7c6d-4a55-9f0a-2b8a5d1e7c10", StartedAt: moment(at), Duration: 120 * time.Millisecond,
			ResponseStatus: 200,
		},
	}
	switch status {
	case webhook.Retrying:
		o.NextAttemptAt = moment(at + 60)
	case webhook.DeliveryFailed:
		o.DeadLetter = true
	case webhook.Canceled:
		o.Tried = nil
		return o
	}
	if status != webhook.Delivered {
		o.Tried.ResponseStatus, o.Tried.ErrorCode, o.Tried.Error = 500, "http_status", "the endpoint answered 500"
		o.Tried.ResponseSnippet = "oops"
	}
	return o
}

// record writes outcomes, each on its own, and returns what the last one left.
func record(t *testing.T, deliveries *dynamo.Deliveries, outcomes ...webhook.Outcome) *webhook.Delivery {
	t.Helper()
	var last *webhook.Delivery
	for _, o := range outcomes {
		recorded := deliveries.Record(t.Context(), []webhook.Outcome{o})
		if recorded[0].Err != nil {
			t.Fatal(recorded[0].Err)
		}
		last = recorded[0].Delivery
	}
	return last
}

// faulty is the way to a DynamoDB whose next write of a delivery fails.
type faulty struct {
	dynamodb.HTTPClient
	mu   sync.Mutex
	next deliverytest.Fault
}

func (f *faulty) fail(fault deliverytest.Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = fault
}

// Do implements dynamodb.HTTPClient.
func (f *faulty) Do(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	fault := deliverytest.None
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if operation == "PutItem" || operation == "BatchExecuteStatement" {
		fault, f.next = f.next, deliverytest.None
	}
	f.mu.Unlock()
	if fault == deliverytest.Refused {
		return nil, deliverytest.ErrAway
	}
	answer, err := f.HTTPClient.Do(r)
	if fault == deliverytest.Lost && err == nil {
		answer.Body.Close()
		return nil, deliverytest.ErrAway
	}
	return answer, err
}

func TestTheTableIsALog(t *testing.T) {
	deliverytest.TestLog(t, func(t *testing.T) deliverytest.Subject {
		db := dynamotest.New(t)
		options := db.Client.Options()
		way := &faulty{HTTPClient: options.HTTPClient}
		options.HTTPClient = way
		deliveries := &dynamo.Deliveries{Client: dynamodb.New(options), Table: logTable}
		return deliverytest.Subject{
			Store:   &dynamo.Log{Deliveries: deliveries, Configs: configsOf(db)},
			Waiting: deliveries,
			Get:     deliveries.Get,
			Fault:   way.fail,
		}
	})
}

func TestNewDeliveriesAreWrittenWithOneRequest(t *testing.T) {
	db := dynamotest.New(t)
	deliveries := deliveriesOf(db)
	record(t, deliveries, outcome(message(3), webhook.Retrying, 0, nil))
	for _, test := range []struct {
		name   string
		events []int
		want   map[string]int
	}{
		{name: "ten", events: []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, want: map[string]int{"BatchExecuteStatement": 1}},
		{name: "one, which needs no batch", events: []int{20}, want: map[string]int{"PutItem": 1}},
		{
			name: "some, of which one is there, whose item comes with the refusal", events: []int{2, 3, 4},
			want: map[string]int{"BatchExecuteStatement": 1, "PutItem": 2},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var outcomes []webhook.Outcome
			for _, n := range test.events {
				o := outcome(message(n), webhook.Delivered, 5, nil)
				o.MessageID, o.Tried.MessageID = "other", "other"
				outcomes = append(outcomes, o)
			}
			counts := operations(db)
			defer db.Intercept(nil)
			for i, r := range deliveries.Record(t.Context(), outcomes) {
				if r.Err != nil || r.Delivery.Status != webhook.Delivered || r.Delivery.Event.ID != outcomes[i].Message.Event.ID {
					t.Errorf("%+v", r)
				}
			}
			if diff := cmp.Diff(test.want, counts); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// What fails at once is tried again for as long as its time lasts, and never without a pause.
func TestAResultIsTriedAgainUntilItsTimeEnds(t *testing.T) {
	db := dynamotest.New(t)
	known := record(t, deliveriesOf(db), outcome(message(1), webhook.Retrying, 0, nil))
	next := message(1)
	next.Attempt = 2
	tries := 0
	db.Intercept(func(string, []byte) *dynamotest.Fault {
		if tries++; tries > 300 {
			panic("tried again without a pause")
		}
		return dynamotest.Refusal("ThrottlingException", "slowly")
	})
	synctest.Test(t, func(t *testing.T) {
		const long = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		begin := time.Now()
		r := deliveriesOf(db).Record(ctx, []webhook.Outcome{outcome(next, webhook.Delivered, 5, known)})[0]
		if r.Err == nil || tries < 60 || time.Since(begin) < long-time.Second {
			t.Errorf("%+v after %d tries in %s", r, tries, time.Since(begin))
		}
	})
	db.Intercept(nil)
	if d, err := deliveriesOf(db).Get(t.Context(), organization, configID(1), eventID(1)); err != nil || d.Revision != known.Revision {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDeliveriesGet(t *testing.T) {
	db := dynamotest.New(t)
	record(t, deliveriesOf(db), outcome(message(1), webhook.Delivered, 5, nil))
	for name, get := range map[string]func() (*webhook.Delivery, error){
		"another event": func() (*webhook.Delivery, error) {
			return deliveriesOf(db).Get(t.Context(), organization, configID(1), eventID(2))
		},
		"another organization": func() (*webhook.Delivery, error) {
			return deliveriesOf(db).Get(t.Context(), foreign, configID(1), eventID(1))
		},
	} {
		if d, err := get(); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	always(db, "GetItem", down())
	_, err := deliveriesOf(db).Get(t.Context(), organization, configID(1), eventID(1))
	if err == nil || errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("while DynamoDB is away: %v", err)
	}
}

// TestOnlyWhatIsMeantIsInASparseIndex: an attribute too many would keep a delivery in a list for ever.
func TestOnlyWhatIsMeantIsInASparseIndex(t *testing.T) {
	for _, test := range []struct {
		status    webhook.DeliveryStatus
		unsettled bool
		wakes     bool
	}{
		{status: webhook.Retrying, unsettled: true, wakes: true},
		{status: webhook.DeliveryFailed, unsettled: true},
		{status: webhook.Canceled, unsettled: true},
		{status: webhook.Delivered},
	} {
		db := dynamotest.New(t)
		first := record(t, deliveriesOf(db), outcome(message(1), webhook.Retrying, 0, nil))
		m := message(1)
		m.Attempt = 5
		record(t, deliveriesOf(db), outcome(m, test.status, 5, first))
		var item map[string]any
		if err := json.Unmarshal([]byte(db.Items(t, logTable)[0]), &item); err != nil {
			t.Fatal(err)
		}
		for attribute, want := range map[string]bool{"unsettled": test.unsettled, "wake_at": test.wakes, "wake_shard": test.wakes} {
			if got := item[attribute] != nil; got != want {
				t.Errorf("%s: %s is there: %t, want %t", test.status, attribute, got, want)
			}
		}
	}
}
