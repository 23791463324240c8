package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/shared/webhook"
)

const (
	config = "01a20a14-beba-730c-9698-702d9cd952c3"
	main   = "arn:aws:sqs:us-east-1:000000000000:Main"
	retry  = "arn:aws:sqs:us-east-1:000000000000:Retry"
	dead   = "arn:aws:sqs:us-east-1:000000000000:Dead"
)

// start is when every bubble of synctest begins.
func start() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func event(n int) string { return webhook.NewEventID(start(), fmt.Sprint(n)) }

// body is a message about the n-th event.
func body(t *testing.T, n int) string {
	t.Helper()
	return attemptBody(t, n, 1)
}

// attemptBody is the message of an attempt at it.
func attemptBody(t *testing.T, n, attempt int) string {
	t.Helper()
	raw, err := json.Marshal(webhook.Message{
		OrganizationID: "org", ConfigID: config, RequestedAt: webhook.At(start()), Trigger: webhook.StatusChange,
		Round: webhook.FirstRound, Attempt: attempt, NotBefore: webhook.At(start()),
		Event: webhook.Event{
			Version: 1, ID: event(n), DocumentID: fmt.Sprint("doc_", n), Status: webhook.Processed, OccurredAt: webhook.At(start()),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func request(n int) []byte {
	e := webhook.Event{
		Version:    1,
		ID:         event(n),
		DocumentID: fmt.Sprint("doc_", n),
		Status:     webhook.Processed,
		OccurredAt: webhook.At(start()),
	}
	raw, err := e.Render(config)
	if err != nil {
		panic(err) // version 1 is always known
	}
	return raw
}

// fakeAPI knows what its functions know, and nothing without them.
type fakeAPI struct {
	delivery func(ctx context.Context, organization, id string) (*journal.Details, error)
	recorded func(ctx context.Context, organization, id string) (bool, error)
}

func (f fakeAPI) Delivery(ctx context.Context, organization, id string) (*journal.Details, error) {
	if f.delivery == nil {
		return nil, nil
	}
	return f.delivery(ctx, organization, id)
}

func (f fakeAPI) Recorded(ctx context.Context, organization, id string) (bool, error) {
	if f.recorded == nil {
		return false, nil
	}
	return f.recorded(ctx, organization, id)
}

// run runs a journal in a bubble of its own time.
func run(t *testing.T, options journal.Options, api fakeAPI, test func(t *testing.T, j *journal.Journal)) {
	synctest.Test(t, func(t *testing.T) {
		options.DeadLetterQueues = []string{"Dead"}
		ctx, cancel := context.WithCancel(t.Context())
		j := journal.New(options)
		done := make(chan struct{})
		go func() { defer close(done); j.Run(ctx, api) }()
		test(t, j)
		cancel()
		<-done
	})
}

// settle lets the journal take in what waits.
func settle() {
	<-time.After(time.Second) // of the bubble
	synctest.Wait()
}

func TestOutcomeFollowsTheMessage(t *testing.T) {
	type told struct {
		kind     sqs.EventKind
		queue    string
		from     string
		id       string
		formerID string
		attempt  int
		delay    time.Duration // until it is visible
	}
	sent := told{kind: sqs.EventSent, queue: main, id: "m1", attempt: 1}
	delayed := told{kind: sqs.EventSent, queue: retry, id: "m2", attempt: 2, delay: time.Minute}
	received := told{kind: sqs.EventReceived, queue: main, id: "m1", attempt: 1}
	returned := told{kind: sqs.EventReturned, queue: main, id: "m1", attempt: 1, delay: 30 * time.Second}
	deleted := told{kind: sqs.EventDeleted, queue: main, id: "m1", attempt: 1}
	expired := told{kind: sqs.EventExpired, queue: main, id: "m1", attempt: 1}
	buried := told{kind: sqs.EventMoved, queue: dead, from: main, id: "m1", attempt: 1}
	redriven := told{kind: sqs.EventMoved, queue: main, from: dead, id: "m9", formerID: "m1", attempt: 1}
	again := told{kind: sqs.EventReceived, queue: main, id: "m9", attempt: 1}
	handedOver := told{kind: sqs.EventSent, queue: retry, id: "m2", attempt: 1}
	for name, test := range map[string]struct {
		told     []told
		log      string // the delivery's status there
		outcome  string
		state    string
		messages int
	}{
		"sent it is queued":        {told: []told{sent}, outcome: "queued", state: "queued", messages: 1},
		"received it is attempted": {told: []told{sent, received}, outcome: "attempting", state: "in_flight", messages: 1},
		"given back without an attempt it waits": {
			told: []told{sent, received, returned}, outcome: "waiting", state: "waiting", messages: 1,
		},
		"handed over to the other lane it is queued there": {
			told: []told{sent, received, handedOver, deleted}, outcome: "queued", state: "queued", messages: 2,
		},
		"the next attempt's message is delayed": {
			told: []told{sent, received, delayed, deleted}, log: "retrying", outcome: "retrying", state: "waiting", messages: 2,
		},
		"an attempt that is due later waits without a message": {
			told: []told{sent, received, deleted}, log: "retrying", outcome: "retrying", state: "done", messages: 1,
		},
		"moved to a dead-letter queue it is dead": {
			told: []told{sent, received, returned, buried}, log: "failed", outcome: "dead_letter", state: "dead", messages: 1,
		},
		"redriven it is the same message, queued again": {
			told: []told{sent, buried, redriven}, log: "failed", outcome: "queued", state: "queued", messages: 1,
		},
		"redriven and received under its new id": {
			told: []told{sent, buried, redriven, again}, log: "failed", outcome: "attempting", state: "in_flight", messages: 1,
		},
		"deleted without a log nobody knows": {told: []told{sent, received, deleted}, outcome: "unknown", state: "done", messages: 1},
		"expired nobody knows either":        {told: []told{sent, expired}, outcome: "unknown", state: "expired", messages: 1},
		"a second message counts, whatever the first did": {
			told: []told{sent, buried, handedOver}, outcome: "queued", state: "queued", messages: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			fetch := func(context.Context, string, string) (*journal.Details, error) {
				if test.log == "" {
					return nil, nil
				}
				return &journal.Details{Status: test.log}, nil
			}
			run(t, journal.Options{}, fakeAPI{delivery: fetch}, func(t *testing.T, j *journal.Journal) {
				watch := j.Subscribe()
				defer watch.Close()
				for _, s := range test.told {
					j.Queued(sqs.Event{
						Kind: s.kind, Time: time.Now(), QueueARN: s.queue, FromARN: s.from, MessageID: s.id, FormerID: s.formerID,
						Body: attemptBody(t, 1, s.attempt), VisibleAt: time.Now().Add(s.delay),
					})
				}
				settle()
				flows := watch.Take()
				if len(flows) != 1 || len(flows[0].Deliveries) != 1 {
					t.Fatalf("flows = %+v", flows)
				}
				d := flows[0].Deliveries[0]
				last := d.Messages[len(d.Messages)-1]
				if d.Outcome != test.outcome || len(d.Messages) != test.messages || last.State != test.state {
					t.Errorf(
						"outcome %s with messages %+v, want %s, %d and %s",
						d.Outcome, d.Messages, test.outcome, test.messages, test.state,
					)
				}
			})
		})
	}
}

func TestMessageSaysWhatItStandsForAndWhoSentIt(t *testing.T) {
	options := journal.Options{Functions: map[string]string{"key": "SweepFunction"}}
	run(t, options, fakeAPI{}, func(t *testing.T, j *journal.Journal) {
		watch := j.Subscribe()
		defer watch.Close()
		due := time.Now().Add(time.Minute)
		j.Queued(sqs.Event{
			Kind:      sqs.EventSent,
			Time:      time.Now(),
			QueueARN:  retry,
			MessageID: "m",
			AccessKey: "key",
			Body:      attemptBody(t, 1, 3),
			VisibleAt: due,
		})
		settle()
		got := watch.Take()[0].Deliveries[0].Messages[0]
		want := journal.Message{
			ID: "m", Sender: "SweepFunction", Trigger: "status_change", Round: webhook.FirstRound, Attempt: 3, NotBefore: start(),
			State: journal.StateWaiting, Queue: "Retry", VisibleAt: &due, Steps: got.Steps,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
	})
}

func TestChangeWithoutAMessageIsAskedForUntilItIsRecorded(t *testing.T) {
	for name, test := range map[string]struct {
		after    int // questions it is recorded
		messages bool
		asked    int
		recorded bool
	}{
		"at once nobody wanted it":             {after: 1, asked: 1, recorded: true},
		"dispatch takes its time":              {after: 4, asked: 4, recorded: true},
		"what is never recorded is given up":   {after: 1000, asked: 10},
		"what has a message needs no question": {after: 1, messages: true},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			recorded := func(_ context.Context, organization, id string) (bool, error) {
				if organization != "org" || id != event(1) {
					t.Errorf("asked for %s of %s", id, organization)
				}
				asked++
				return asked >= test.after, nil
			}
			run(t, journal.Options{}, fakeAPI{recorded: recorded}, func(t *testing.T, j *journal.Journal) {
				j.Changed(journal.Change{
					EventID: event(1), OrganizationID: "org", DocumentID: "doc_1", Status: "processed", At: time.Now(),
				})
				if test.messages {
					j.Queued(sqs.Event{Kind: sqs.EventSent, Time: time.Now(), QueueARN: main, MessageID: "m", Body: body(t, 1)})
				}
				<-time.After(30 * time.Second)
				if asked > 0 {
					t.Error("asked although nobody watched")
				}
				watch := j.Subscribe()
				defer watch.Close()
				<-time.After(30 * time.Second)
				synctest.Wait()
				if got := watch.Take()[0].Recorded; got != test.recorded || asked != test.asked {
					t.Errorf("recorded: %v after %d questions, want %v after %d", got, asked, test.recorded, test.asked)
				}
			})
		})
	}
}

func TestChangeMessageRequestAndLogComeTogether(t *testing.T) {
	status := 204
	var asked []string
	fetch := func(_ context.Context, organization, id string) (*journal.Details, error) {
		asked = append(asked, organization+" "+id)
		return &journal.Details{
			Status: "delivered", Trigger: "status_change",
			Attempts: []journal.Attempt{
				{Number: 1, StartedAt: webhook.At(time.Now().Add(-300 * time.Millisecond)), DurationMS: 200, ResponseStatus: &status},
			},
		}, nil
	}
	run(t, journal.Options{}, fakeAPI{delivery: fetch}, func(t *testing.T, j *journal.Journal) {
		tell := func(kind sqs.EventKind) {
			j.Queued(sqs.Event{Kind: kind, Time: time.Now(), QueueARN: main, MessageID: "m1", Body: body(t, 1), ReceiveCount: 1})
		}
		j.Changed(
			journal.Change{
				EventID: event(1), OrganizationID: "org", DocumentID: "doc_1", Status: "processed", PreviousStatus: "processing",
				At: time.Now(),
			},
		)
		tell(sqs.EventSent)
		tell(sqs.EventReceived)
		settle()
		answered := j.Arrived(time.Now(), http.Header{"Webhook-Id": {event(1)}, "A": {"b", "c"}}, request(1), nil)
		<-time.After(150 * time.Millisecond)
		answered(time.Now(), 204)
		<-time.After(100 * time.Millisecond)
		tell(sqs.EventDeleted)
		settle()
		if len(asked) > 0 {
			t.Errorf("the API was asked although nobody watched: %v", asked)
		}

		watch := j.Subscribe()
		defer watch.Close()
		before := watch.Take()
		if got := before[0].Deliveries[0].Attempts; len(got) != 1 || got[0].Attempt != nil || got[0].Request.TookMS != 150 {
			t.Errorf("before it is fetched the request stands alone, got %+v", got)
		}
		settle()
		flow := watch.Take()[0]
		d := flow.Deliveries[0]
		id, _ := webhook.DeliveryID(config, event(1))
		if diff := cmp.Diff([]string{"org " + id}, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		if !flow.Changed || flow.PreviousStatus != "processing" || d.ID != id || d.Outcome != "delivered" || len(d.Messages[0].Steps) != 3 {
			t.Errorf("flow = %+v", flow)
		}
	})
}

func TestRequestsBelongToTheAttemptsOfTheirTime(t *testing.T) {
	for name, test := range map[string]struct {
		arrives time.Duration // after the attempt's start
		merged  bool
	}{
		"with its start":                  {0, true},
		"just before, by rounding":        {-time.Millisecond, true},
		"within it":                       {90 * time.Millisecond, true},
		"long before it is another's":     {-time.Second, false},
		"long after its end is another's": {time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			var attempted time.Time
			fetch := func(context.Context, string, string) (*journal.Details, error) {
				return &journal.Details{
					Status: "failed", Attempts: []journal.Attempt{{Number: 1, StartedAt: webhook.At(attempted), DurationMS: 100}},
				}, nil
			}
			run(t, journal.Options{}, fakeAPI{delivery: fetch}, func(t *testing.T, j *journal.Journal) {
				attempted = time.Now()
				watch := j.Subscribe()
				defer watch.Close()
				j.Arrived(attempted.Add(test.arrives), http.Header{"Webhook-Id": {event(1)}}, request(1), nil)
				j.Queued(sqs.Event{Kind: sqs.EventReturned, Time: time.Now(), QueueARN: main, MessageID: "m", Body: body(t, 1)})
				settle()
				tries := watch.Take()[0].Deliveries[0].Attempts
				merged := len(tries) == 1 && tries[0].Attempt != nil && tries[0].Request != nil
				if merged != test.merged || !merged && len(tries) != 2 {
					t.Errorf("tries = %+v, want merged: %v", tries, test.merged)
				}
			})
		})
	}
}

func TestUntrustedRequestMakesNoDelivery(t *testing.T) {
	run(t, journal.Options{}, fakeAPI{}, func(t *testing.T, j *journal.Journal) {
		answered := j.Arrived(time.Now(), http.Header{"Webhook-Id": {event(1)}}, request(1), errors.New("forged"))
		answered(time.Now(), 0)
		watch := j.Subscribe()
		defer watch.Close()
		flow := watch.Take()[0]
		r := flow.Deliveries[0].Attempts[0].Request
		if flow.ID == event(1) || flow.Deliveries[0].ID != "" || !r.Unexpected || r.Rejected != "forged" || !r.GaveUp {
			t.Errorf("flow = %+v with %+v", flow, r)
		}
	})
}

func TestDetailsThatCannotBeFetchedAreSaidToBe(t *testing.T) {
	fetch := func(context.Context, string, string) (*journal.Details, error) { return nil, errors.New("no key") }
	run(t, journal.Options{}, fakeAPI{delivery: fetch}, func(t *testing.T, j *journal.Journal) {
		watch := j.Subscribe()
		defer watch.Close()
		j.Queued(sqs.Event{Kind: sqs.EventDeleted, Time: time.Now(), QueueARN: main, MessageID: "m", Body: body(t, 1)})
		settle()
		if got := watch.Take()[0].Deliveries[0].Problem; got != "no key" {
			t.Errorf("problem = %q", got)
		}
	})
}

func TestJournalIsBounded(t *testing.T) {
	run(t, journal.Options{}, fakeAPI{}, func(t *testing.T, j *journal.Journal) {
		watch := j.Subscribe() // and never takes until the end
		defer watch.Close()
		for n := range 250 {
			j.Changed(journal.Change{EventID: event(n), DocumentID: fmt.Sprint(n), Status: "processed", At: time.Now()})
		}
		flows := watch.Take()
		if len(flows) != 100 || flows[0].DocumentID != "150" || flows[99].DocumentID != "249" {
			t.Errorf("%d flows, of %s to %s; want the last 100", len(flows), flows[0].DocumentID, flows[len(flows)-1].DocumentID)
		}
	})
}

func TestTooMuchAtOnceIsCountedAndNeverBlocks(t *testing.T) {
	j := journal.New(journal.Options{}) // nobody takes in
	for range 2000 {
		j.Queued(sqs.Event{Kind: sqs.EventSent, MessageID: "m"})
	}
	j.PassOver(3)
	if got := j.PassedOver(); got != 2000-512+3 {
		t.Errorf("passed over %d", got)
	}
}

func TestMuchIsTakenInAtALimitedRate(t *testing.T) {
	run(t, journal.Options{}, fakeAPI{}, func(t *testing.T, j *journal.Journal) {
		queue := func(n int) (passedOver int) {
			before := j.PassedOver()
			for range n {
				j.Queued(sqs.Event{Kind: sqs.EventSent, MessageID: "m"})
			}
			return j.PassedOver() - before
		}
		queue(1)
		synctest.Wait() // until it is taken in, and no more for 25 ms
		queue(400)
		time.Sleep(25 * time.Millisecond)
		synctest.Wait() // until these are taken in, and no more for 200 ms
		got := []int{queue(512)}
		time.Sleep(199 * time.Millisecond)
		got = append(got, queue(1))
		time.Sleep(2 * time.Millisecond)
		got = append(got, queue(1))
		if diff := cmp.Diff([]int{0, 1, 0}, got); diff != "" {
			t.Errorf("passed over %s", diff)
		}
	})
}

func TestMessagesOfOthersArePassedOver(t *testing.T) {
	run(t, journal.Options{}, fakeAPI{}, func(t *testing.T, j *journal.Journal) {
		j.Queued(sqs.Event{Kind: sqs.EventSent, QueueARN: main, MessageID: "m", Body: "hello"})
		settle()
		watch := j.Subscribe()
		defer watch.Close()
		if flows := watch.Take(); len(flows) != 0 {
			t.Errorf("flows = %+v", flows)
		}
	})
}
