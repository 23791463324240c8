package sqs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
)

func TestReceivedMessageIsInvisibleUntilItsTimeoutEnds(t *testing.T) {
	for name, scale := range map[string]float64{"at the real pace": 1, "ten times faster": 10} {
		t.Run(name, func(t *testing.T) {
			hand := newClock()
			c := connect(t, newBroker(t, sqs.Options{Clock: hand.scaled(scale)}), nil)
			tick := func(seconds float64) { hand.advance(time.Duration(seconds / scale * float64(time.Second))) }

			mustSend(t, c, "orders", "b")
			first := mustReceive(t, c, "orders")[0]
			tick(29)
			wantSame(t, bodies(mustReceive(t, c, "orders")), []string(nil))
			tick(1)
			second := mustReceive(t, c, "orders")[0]
			wantSame(t, second.Attributes["ApproximateReceiveCount"], "2")
			wantSame(t, second.Attributes["ApproximateFirstReceiveTimestamp"], "1767323045000")
			if *first.ReceiptHandle == *second.ReceiptHandle {
				t.Error("the receipt handle is the same after another receive")
			}
			_, err := c.ChangeMessageVisibility(t.Context(), &client.ChangeMessageVisibilityInput{
				QueueUrl: queueURL("orders"), ReceiptHandle: second.ReceiptHandle, VisibilityTimeout: 5,
			})
			if err != nil {
				t.Fatal(err)
			}
			tick(5)
			_, err = c.ChangeMessageVisibility(t.Context(), &client.ChangeMessageVisibilityInput{
				QueueUrl: queueURL("orders"), ReceiptHandle: second.ReceiptHandle, VisibilityTimeout: 5,
			})
			if _, ok := errors.AsType[*types.MessageNotInflight](err); !ok {
				t.Errorf("changing the visibility of a visible message: %v, want MessageNotInflight", err)
			}
		})
	}
}

func TestVisibilityEndsTwelveHoursAfterTheReceive(t *testing.T) {
	hand := newClock()
	c := connect(t, newBroker(t, sqs.Options{Clock: hand.scaled(2)}), nil)
	mustSend(t, c, "other", "b")
	handle := mustReceive(t, c, "other")[0].ReceiptHandle
	hand.advance(10 * time.Second) // 20 of the queue's
	change := func(seconds int32) error {
		_, err := c.ChangeMessageVisibility(t.Context(), &client.ChangeMessageVisibilityInput{
			QueueUrl: queueURL("other"), ReceiptHandle: handle, VisibilityTimeout: seconds,
		})
		return err
	}
	wantCode(t, change(43181), "InvalidParameterValue")
	if err := change(43180); err != nil {
		t.Error(err)
	}
}

func TestDeleteWithAnOldHandle(t *testing.T) {
	tests := map[string]struct {
		again bool // received again before the delete
		left  string
	}{
		"works after the message became visible":       {false, "0"},
		"does nothing after the message went out anew": {true, "1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hand := newClock()
			c := connect(t, newBroker(t, sqs.Options{Clock: hand.scaled(1)}), nil)
			mustSend(t, c, "other", "b")
			handle := mustReceive(t, c, "other")[0].ReceiptHandle
			hand.advance(time.Minute)
			if test.again && len(mustReceive(t, c, "other")) != 1 {
				t.Fatal("the message did not come back")
			}
			deletion := &client.DeleteMessageInput{QueueUrl: queueURL("other"), ReceiptHandle: handle}
			if _, err := c.DeleteMessage(t.Context(), deletion); err != nil {
				t.Fatal(err)
			}
			hand.advance(time.Minute)
			wantSame(t, attributes(t, c, "other", "ApproximateNumberOfMessages")["ApproximateNumberOfMessages"], test.left)
		})
	}
}

func TestDelayHidesAMessage(t *testing.T) {
	tests := map[string]struct {
		queue   int
		message string // DelaySeconds in the request
		want    time.Duration
	}{
		"for the queue's delay":              {7, ``, 7 * time.Second},
		"for the message's own":              {7, `,"DelaySeconds":3`, 3 * time.Second},
		"not at all if its own delay is 0":   {7, `,"DelaySeconds":0`, 0},
		"not at all if there is none either": {0, ``, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := sqs.New(sqs.Options{})
				if err := b.CreateQueue(sqs.Definition{Name: "q", ARN: "arn:q", DelaySeconds: new(test.queue)}); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Service().Serve(
					t.Context(), "SendMessage", []byte(`{"QueueUrl":"q","MessageBody":"b"`+test.message+`}`), allowAll,
				); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if _, err := b.Receive(t.Context(), "arn:q", 1); err != nil {
					t.Fatal(err)
				}
				wantSame(t, time.Since(start), test.want)
			})
		})
	}
}

func TestMessagesVanishAtTheEndOfRetention(t *testing.T) {
	hand := newClock()
	var expired []string
	b := sqs.New(sqs.Options{Clock: hand.scaled(1), Account: "123456789012", Observe: func(e sqs.Event) {
		if e.Kind == sqs.EventExpired {
			expired = append(expired, e.MessageID)
		}
	}})
	if err := b.CreateQueue(sqs.Definition{Name: "q", MessageRetentionPeriod: new(60)}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, b, nil)
	inFlight := mustSend(t, c, "q", "in flight")
	mustReceive(t, c, "q")
	visible := mustSend(t, c, "q", "visible")
	hand.advance(59 * time.Second)
	mustSend(t, c, "q", "young")
	hand.advance(time.Second)
	wantSame(t, bodies(mustReceive(t, c, "q")), []string{"young"})
	if len(expired) != 2 || expired[0] == expired[1] || expired[0] != inFlight && expired[0] != visible {
		t.Errorf("expired %v, want %s and %s", expired, inFlight, visible)
	}
}

func TestPurgeDeletesEverythingOncePerMinute(t *testing.T) {
	hand := newClock()
	c := connect(t, newBroker(t, sqs.Options{Clock: hand.scaled(2)}), nil)
	mustSend(t, c, "orders", "in flight")
	mustReceive(t, c, "orders")
	mustSend(t, c, "orders", "visible")
	purge := func() error {
		_, err := c.PurgeQueue(t.Context(), &client.PurgeQueueInput{QueueUrl: queueURL("orders")})
		return err
	}
	if err := purge(); err != nil {
		t.Fatal(err)
	}
	wantSame(t, attributes(t, c, "orders", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"),
		map[string]string{"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"})
	hand.advance(29 * time.Second)
	wantCode(t, purge(), "AWS.SimpleQueueService.PurgeQueueInProgress")
	hand.advance(time.Second)
	if err := purge(); err != nil {
		t.Error(err)
	}
}

func TestLongPoll(t *testing.T) {
	tests := map[string]struct {
		sendAfter time.Duration // 0: never
		want      []string
		took      time.Duration
	}{
		"returns when a message is sent":     {3 * time.Second, []string{"b"}, 3 * time.Second},
		"returns nothing when its time ends": {0, nil, 20 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroker(t, sqs.Options{Clock: clock.New(100, nil)})
				c := newClient("http://sqs.test", direct{handler(b, nil)})
				if test.sendAfter > 0 {
					time.AfterFunc(test.sendAfter, func() { _, _ = b.Send(arnPrefix+"orders", "b") }) // a failure shows in the answer
				}
				start := time.Now()
				out, err := c.ReceiveMessage(t.Context(), &client.ReceiveMessageInput{QueueUrl: queueURL("orders"), WaitTimeSeconds: 20})
				if err != nil {
					t.Fatal(err)
				}
				wantSame(t, bodies(out.Messages), test.want)
				wantSame(t, time.Since(start), test.took)
			})
		})
	}
}

func TestMessageMovesToTheDeadLetterQueueInsteadOfOneMoreReceive(t *testing.T) {
	hand := newClock()
	var events []sqs.Event
	c := connect(t, newBroker(t, sqs.Options{Clock: hand.scaled(1), Observe: func(e sqs.Event) { events = append(events, e) }}), nil)
	id := mustSend(t, c, "orders", "poison")
	for range 2 {
		if got := bodies(mustReceive(t, c, "orders")); len(got) != 1 {
			t.Fatalf("received %v", got)
		}
		hand.advance(30 * time.Second)
	}
	wantSame(t, attributes(t, c, "orders", "ApproximateNumberOfMessages")["ApproximateNumberOfMessages"], "1") // no receive, no move
	mustSend(t, c, "orders", "next")
	wantSame(t, bodies(mustReceive(t, c, "orders")), []string{"next"})

	dead := mustReceive(t, c, "dead")
	wantSame(t, bodies(dead), []string{"poison"})
	wantSame(t, *dead[0].MessageId, id)
	wantSame(t, dead[0].Attributes, map[string]string{
		"ApproximateReceiveCount":          "3",
		"SentTimestamp":                    "1767323045000",
		"ApproximateFirstReceiveTimestamp": "1767323045000",
		"SenderId":                         "123456789012",
		"DeadLetterQueueSourceArn":         arnPrefix + "orders",
	})

	var story []string
	for _, e := range events {
		if e.MessageID == id {
			story = append(story, string(e.Kind)+" "+e.QueueARN[len(arnPrefix):])
		}
	}
	wantSame(t, story, []string{"sent orders", "received orders", "received orders", "moved dead", "received dead"})
}

func TestObserversSeeWhereAMessageGoes(t *testing.T) {
	var events []sqs.Event
	hand := newClock()
	b := newBroker(t, sqs.Options{Clock: hand.scaled(1), Observe: func(e sqs.Event) { events = append(events, e) }})
	if _, err := b.Send(arnPrefix+"orders", "work"); err != nil {
		t.Fatal(err)
	}
	messages, err := b.Receive(t.Context(), arnPrefix+"orders", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Settle(arnPrefix+"orders", nil, []string{messages[0].ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, b, nil)
	hand.advance(30 * time.Second)
	again := mustReceive(t, c, "orders")[0]
	_, err = c.ChangeMessageVisibility(
		t.Context(),
		&client.ChangeMessageVisibilityInput{QueueUrl: queueURL("orders"), ReceiptHandle: again.ReceiptHandle, VisibilityTimeout: 7},
	)
	if err != nil {
		t.Fatal(err)
	}
	type step struct {
		kind    sqs.EventKind
		body    string
		visible time.Duration // from now on
	}
	var got []step
	for _, e := range events {
		s := step{kind: e.Kind, body: e.Body}
		if e.Kind == sqs.EventReturned {
			s.visible = e.VisibleAt.Sub(e.Time)
		}
		got = append(got, s)
	}
	want := []step{
		{sqs.EventSent, "work", 0}, {sqs.EventReceived, "work", 0}, {sqs.EventReturned, "work", 30 * time.Second},
		{sqs.EventReceived, "work", 0}, {sqs.EventReturned, "work", 7 * time.Second},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{})); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestReceiveInProcessWaitsWithoutPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, sqs.Options{})
		c := newClient("http://sqs.test", direct{handler(b, nil)})
		got := make(chan []sqs.Message)
		go func() {
			for {
				messages, err := b.Receive(t.Context(), arnPrefix+"orders", 10)
				if err != nil {
					close(got)
					return
				}
				got <- messages
			}
		}()
		synctest.Wait()
		mustSend(t, c, "orders", "now")
		first := (<-got)[0]
		wantSame(t, first.Body, "now")
		wantSame(t, first.EventSourceARN, arnPrefix+"orders")
		wantSame(t, first.AWSRegion, "eu-west-1")

		start := time.Now()
		if err := b.Settle(arnPrefix+"orders", nil, []string{first.ReceiptHandle}); err != nil {
			t.Fatal(err)
		}
		second := (<-got)[0]
		wantSame(t, second.Attributes["ApproximateReceiveCount"], "2")
		wantSame(t, time.Since(start), 30*time.Second) // the queue's visibility timeout
	})
}

// The promise of the scaled clock: 30 seconds of visibility are 30 milliseconds here, the invocation
// takes 2 seconds, and nobody sees the message before it is settled.
func TestHeldMessage(t *testing.T) {
	const work = 2 * time.Second
	tests := map[string]struct {
		change int // ChangeMessageVisibility halfway through; -1: none
		failed bool
		back   time.Duration // visible this long after the settling; -1: never
	}{
		"is gone when it succeeded":                                        {-1, false, -1},
		"is gone when it succeeded after a change":                         {0, false, -1},
		"is visible at once when it failed after its timeout":              {-1, true, 0},
		"is visible at once when its new timeout is over":                  {60, true, 0},
		"is visible at once when it was made visible meanwhile":            {0, true, 0},
		"is visible when the new timeout ends, counted from the change":    {3600, true, 2600 * time.Millisecond},
		"is visible no earlier than the longest timeout, when so extended": {43000, true, 42 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroker(t, sqs.Options{Clock: clock.New(1000, nil)})
				c := newClient("http://sqs.test", direct{handler(b, nil)})
				if _, err := b.Send(arnPrefix+"other", "b"); err != nil {
					t.Fatal(err)
				}
				messages, err := b.Receive(t.Context(), arnPrefix+"other", 10)
				if err != nil {
					t.Fatal(err)
				}
				handle := messages[0].ReceiptHandle
				time.AfterFunc(work/2, func() {
					if test.change < 0 {
						return
					}
					_, err := c.ChangeMessageVisibility(t.Context(), &client.ChangeMessageVisibilityInput{
						QueueUrl: queueURL("other"), ReceiptHandle: &handle, VisibilityTimeout: int32(test.change),
					})
					if err != nil {
						t.Error(err)
					}
				})
				working, done := context.WithTimeout(t.Context(), work)
				defer done()
				if early, err := b.Receive(working, arnPrefix+"other", 1); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("received %v, %v while the message was held", early, err)
				}
				settled := time.Now()
				if test.failed {
					err = b.Settle(arnPrefix+"other", nil, []string{handle})
				} else {
					err = b.Settle(arnPrefix+"other", []string{handle}, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				_, err = b.Receive(ctx, arnPrefix+"other", 1)
				switch {
				case test.back < 0 && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("error %v, want none to be left", err)
				case test.back >= 0 && err != nil:
					t.Error(err)
				case test.back >= 0:
					wantSame(t, time.Since(settled), test.back)
				}
			})
		})
	}
}

// On a fast clock an invocation can hold a message for longer than its visibility timeout. What would
// on AWS come long after its end, as a message that a sweep has sent again, then comes after it too.
func TestMessageAboutTheSameAsOneThatIsHeldForTooLongWaits(t *testing.T) {
	for name, test := range map[string]struct {
		second  string
		held    time.Duration // before the second message is sent
		waits   bool
		settles bool // before the second message is sent
	}{
		"while the invocation runs":                        {second: "a 2", held: time.Second, waits: true},
		"not if the invocation has ended":                  {second: "a 2", held: time.Second, settles: true},
		"not if it is about something else":                {second: "b 1", held: time.Second},
		"not within the visibility timeout, as on AWS too": {second: "a 2", held: 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroker(t, sqs.Options{
					Clock: clock.New(1000, nil), About: func(body string) string { about, _, _ := strings.Cut(body, " "); return about },
				})
				send := func(queue, body string) {
					if _, err := b.Send(arnPrefix+queue, body); err != nil {
						t.Fatal(err)
					}
				}
				send("other", "a 1")
				first, err := b.Receive(t.Context(), arnPrefix+"other", 1)
				if err != nil {
					t.Fatal(err)
				}
				settle := func() {
					if err := b.Settle(arnPrefix+"other", []string{first[0].ReceiptHandle}, nil); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(test.held)
				if test.settles {
					settle()
				} else {
					time.AfterFunc(10*time.Second, settle)
				}
				send("orders", test.second)
				start := time.Now()
				second, err := b.Receive(t.Context(), arnPrefix+"orders", 1)
				if err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(start); waited >= 10*time.Second != test.waits {
					t.Errorf("it was received after %s", waited)
				}
				wantSame(t, second[0].Attributes["ApproximateReceiveCount"], "1")
			})
		})
	}
}

func TestTimestampsAreThoseOfTheStacksClock(t *testing.T) {
	machine := newClock()
	c := connect(t, newBroker(t, sqs.Options{Clock: machine.scaled(600)}), nil)
	machine.advance(time.Second)
	mustSend(t, c, "orders", "b")
	machine.advance(time.Second)
	got := mustReceive(t, c, "orders")[0].Attributes
	wantSame(t, got["SentTimestamp"], "1767323645000")
	wantSame(t, got["ApproximateFirstReceiveTimestamp"], "1767324245000")
}

func TestLastFailureWithVisibilityZeroReachesTheDeadLetterQueueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, sqs.Options{})
		c := newClient("http://sqs.test", direct{handler(b, nil)})
		orders, dead := arnPrefix+"orders", arnPrefix+"dead"
		failing, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { // a consumer that fails every message, as a function that reports it as a failed item
			for {
				messages, err := b.Receive(failing, orders, 10)
				if err != nil {
					return
				}
				for _, m := range messages {
					_, err := c.ChangeMessageVisibility(t.Context(), &client.ChangeMessageVisibilityInput{
						QueueUrl: queueURL("orders"), ReceiptHandle: &m.ReceiptHandle, VisibilityTimeout: 0,
					})
					if err != nil {
						t.Error(err)
					}
					if err := b.Settle(orders, nil, []string{m.ReceiptHandle}); err != nil {
						t.Error(err)
					}
				}
			}
		}()
		start := time.Now()
		id := mustSend(t, c, "orders", "poison")
		messages, err := b.Receive(t.Context(), dead, 1)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, messages[0].ID, id)
		wantSame(t, messages[0].Attributes["ApproximateReceiveCount"], "3") // two there, one here
		wantSame(t, time.Since(start), time.Duration(0))
	})
}

func TestNoMessageIsLostToAReceiverThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t, sqs.Options{})
		leaving, leave := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := b.Receive(leaving, arnPrefix+"orders", 1)
			gone <- err
		}()
		synctest.Wait()
		stayed := make(chan []sqs.Message)
		go func() {
			messages, _ := b.Receive(t.Context(), arnPrefix+"orders", 1)
			stayed <- messages
		}()
		synctest.Wait()
		leave() // and at the same moment a message wakes the first in line
		if _, err := b.Send(arnPrefix+"orders", "b"); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-gone:
			wantSame(t, errors.Is(err, context.Canceled), true)
			wantSame(t, (<-stayed)[0].Body, "b")
		case messages := <-stayed:
			wantSame(t, messages[0].Body, "b")
			wantSame(t, errors.Is(<-gone, context.Canceled), true)
		}
	})
}

func TestUnknownQueueIsRefusedInProcess(t *testing.T) {
	b := newBroker(t, sqs.Options{})
	_, receive := b.Receive(t.Context(), "arn:absent", 1)
	_, send := b.Send("arn:absent", "b")
	for name, err := range map[string]error{"Receive": receive, "Send": send, "Settle": b.Settle("arn:absent", nil, nil)} {
		if !errors.Is(err, sqs.ErrNoQueue) {
			t.Errorf("%s: %v, want ErrNoQueue", name, err)
		}
	}
}

func TestSendInProcessKeepsTheLimits(t *testing.T) {
	b := newBroker(t, sqs.Options{})
	if _, err := b.Send(arnPrefix+"orders", ""); err == nil {
		t.Error("an empty body was accepted")
	}
}

func TestWaitOfTheQueueIsTheDefaultOfAReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := sqs.New(sqs.Options{Account: "123456789012"})
		if err := b.CreateQueue(sqs.Definition{Name: "q", ReceiveMessageWaitTimeSeconds: new(4)}); err != nil {
			t.Fatal(err)
		}
		c := newClient("http://sqs.test", direct{handler(b, nil)})
		start := time.Now()
		if _, err := c.ReceiveMessage(t.Context(), &client.ReceiveMessageInput{QueueUrl: aws.String("q")}); err != nil {
			t.Fatal(err)
		}
		wantSame(t, time.Since(start), 4*time.Second)
	})
}
