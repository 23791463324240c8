package soak

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// sound are ledgers of one change that was delivered at the second attempt.
func sound(t *testing.T) *ledgers {
	t.Helper()
	credentials, err := signature.NewCredentials(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Truncate(time.Millisecond)
	c := &config{
		organization: "org_a", id: "01a218e0-718d-77aa-a684-6fdc7a6c711e", endpoint: "endpoint", created: began.Add(-time.Minute),
		credentials: []issued{{credentials, span{from: began.Add(-time.Minute)}}},
	}
	d := document{organization: "org_a", id: "doc", status: "processed", at: began}
	event := webhook.NewEventID(began, "doc")
	id, err := webhook.DeliveryID(c.id, event)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledgers{
		changes: []document{d},
		configs: []*config{c},
		events: []recorded{{
			OrganizationID: "org_a", EventID: event, DocumentKey: "org_a#doc", Status: "processed", Configs: []string{c.id},
		}},
		items: []logged{{
			ConfigID: c.id, EventID: event, DocumentID: "doc", DocumentStatus: "processed", Status: "delivered", Round: webhook.FirstRound,
		}},
		resends:  map[[2]string]int{},
		together: time.Second,
	}
	for i := range 2 {
		at := began.Add(time.Duration(1+10*i) * time.Second)
		p := post{
			endpoint: "endpoint", event: event, change: d.name(), header: http.Header{}, body: []byte(`{}`), at: at, accepted: i == 1,
		}
		if err := signature.Sign(p.header, event, p.body, at, credentials, nil); err != nil {
			t.Fatal(err)
		}
		p.header.Set("Idempotency-Key", id)
		message := "message_" + strconv.Itoa(i+1)
		l.posts = append(l.posts, p)
		l.lines = append(l.lines, line{
			Msg: attempted, Time: at.Add(100 * time.Millisecond), DeliveryID: id, MessageID: message, Round: webhook.FirstRound,
			Attempt: i + 1, Duration: 100,
		})
		l.items[0].Attempts = append(l.items[0].Attempts, loggedAttempt{Number: i + 1, MessageID: message})
	}
	return l
}

// repeat lets the last attempt be made once more, by a message.
func (l *ledgers) repeat(after time.Duration, message string) {
	p, text := l.posts[1], l.lines[1]
	p.at, text.Time, text.MessageID = p.at.Add(after), text.Time.Add(after), message
	l.posts, l.lines = append(l.posts, p), append(l.lines, text)
	l.items[0].Attempts = append(l.items[0].Attempts, loggedAttempt{Number: 2, MessageID: message})
}

// logThird lets the log have a third attempt.
func (l *ledgers) logThird(code string) {
	l.items[0].Attempts = append(l.items[0].Attempts, loggedAttempt{Number: 3, MessageID: "message_3", Code: code})
}

// cutOff lets a message's batch fail, so long after the last attempt.
func (l *ledgers) cutOff(message string, after time.Duration) {
	l.batches = append(l.batches, failedBatch{at: l.lines[1].Time.Add(after), messages: []string{message}})
}

func TestCompareFinds(t *testing.T) {
	deadLetter := func(l *ledgers) webhook.Message {
		return webhook.Message{ConfigID: l.configs[0].id, Event: webhook.Event{ID: l.events[0].EventID}}
	}
	refused := func(l *ledgers, status string) {
		l.posts[1].accepted, l.items[0].Status = false, status
	}
	for what, test := range map[string]struct {
		spoil func(l *ledgers)
		want  map[string]int
	}{
		"nothing": {func(*ledgers) {}, map[string]int{isDelivered: 1}},
		"a change without an event": {
			func(l *ledgers) { l.events = nil }, map[string]int{noEvent: 1, isDelivered: 1},
		},
		"two events of a change": {
			func(l *ledgers) { l.events = append(l.events, l.events[0]) }, map[string]int{noEvent: 1, isDelivered: 1},
		},
		"an event without a change": {
			func(l *ledgers) {
				l.events = append(l.events, recorded{DocumentKey: "org_a#other", Status: "processed"})
			},
			map[string]int{noChange: 1, isDelivered: 1},
		},
		"an active config that was left out": {
			func(l *ledgers) {
				l.configs = append(l.configs, &config{organization: "org_a", id: "other", endpoint: "other"})
			},
			map[string]int{notMeant: 1, isDelivered: 1},
		},
		"a deleted config that was not": {
			func(l *ledgers) { l.configs[0].off = []span{{from: l.changes[0].at.Add(-time.Second)}} },
			map[string]int{meantForGone: 1, isDelivered: 1},
		},
		"a delivery that nobody has seen": {
			func(l *ledgers) { l.posts, l.lines, l.items = nil, nil, nil }, map[string]int{lost: 1},
		},
		"a delivery whose config was deactivated before anybody could send it": {
			func(l *ledgers) {
				l.posts, l.lines, l.items = nil, nil, nil
				l.configs[0].off = []span{{from: l.changes[0].at.Add(time.Second)}}
			}, map[string]int{overtaken: 1},
		},
		"a delivery that waits for ever": {
			func(l *ledgers) { refused(l, "retrying") }, map[string]int{lost: 1},
		},
		"a delivery that failed without a dead letter": {
			func(l *ledgers) { refused(l, "failed") }, map[string]int{lost: 1},
		},
		"a delivery that failed with one": {
			func(l *ledgers) {
				refused(l, "failed")
				l.dead = append(l.dead, deadLetter(l))
			}, map[string]int{isFailed: 1},
		},
		"a delivery canceled while its config was active": {
			func(l *ledgers) { refused(l, "canceled") }, map[string]int{lost: 1},
		},
		"a delivery canceled while it was not": {
			func(l *ledgers) {
				refused(l, "canceled")
				l.configs[0].off = []span{{from: l.posts[1].at}}
			}, map[string]int{isCanceled: 1},
		},
		"a message that died before its first attempt": {
			func(l *ledgers) {
				l.dead = append(l.dead, deadLetter(l))
				l.posts, l.lines, l.items = nil, nil, nil
			}, map[string]int{diedUntried: 1},
		},
		"a success that the log does not tell": {
			func(l *ledgers) { l.items[0].Status = "retrying" }, map[string]int{isDelivered: 1, unsaid: 1},
		},
		"another organization's change": {
			func(l *ledgers) { l.configs[0].organization = "org_b" }, map[string]int{isDelivered: 1, foreign: 2},
		},
		"an endpoint of nobody": {
			func(l *ledgers) { l.posts = append(l.posts, post{endpoint: "nobody"}) }, map[string]int{isDelivered: 1, foreign: 1},
		},
		"a signature of credentials that had ended": {
			func(l *ledgers) { l.configs[0].credentials[0].to = l.posts[1].at.Add(-batchTime - time.Second) },
			map[string]int{isDelivered: 1, unsigned: 1},
		},
		"a forged signature": {
			func(l *ledgers) { l.posts[0].header.Set("X-Webhook-Signature", "00") }, map[string]int{isDelivered: 1, unsigned: 1},
		},
		"a body that is not the first one": {
			func(l *ledgers) { l.posts[1].body = []byte(`{ }`) }, map[string]int{isDelivered: 1, differing: 1, unsigned: 1},
		},
		"another key": {
			func(l *ledgers) { l.posts[1].header.Set("Idempotency-Key", "dlv_other") }, map[string]int{isDelivered: 1, differing: 1},
		},
		"a request to a config that had long been paused": {
			func(l *ledgers) { l.configs[0].off = []span{{from: l.posts[1].at.Add(-batchTime - time.Second)}} },
			map[string]int{isDelivered: 1, toInactive: 1, meantForGone: 1},
		},
		"a request to a URL that had long been changed": {
			func(l *ledgers) {
				l.configs[0].former = []former{{endpoint: "endpoint", until: l.posts[1].at.Add(-batchTime - time.Second)}}
				l.configs[0].endpoint = "new"
			},
			map[string]int{isDelivered: 1, toInactive: 1},
		},
		"a request that the log does not know": {
			func(l *ledgers) { l.posts = append(l.posts, l.posts[0]) }, map[string]int{isDelivered: 1, unknownPost: 1},
		},
		"the same after a crash": {
			func(l *ledgers) {
				l.posts = append(l.posts, l.posts[0])
				l.cutOff("message_1", 0)
			}, map[string]int{isDelivered: 1, crashed: 1},
		},
		"an attempt that no endpoint saw": {
			func(l *ledgers) { l.posts = l.posts[1:] }, map[string]int{isDelivered: 1, unseen: 1},
		},
		"an attempt in the item that nobody made": {
			func(l *ledgers) {
				l.logThird("")
			},
			map[string]int{isDelivered: 1, unseen: 1},
		},
		"a start without an end": {
			func(l *ledgers) {
				l.logThird(webhook.CodeUnknown)
			},
			map[string]int{isDelivered: 1, unseen: 1},
		},
		"a start that a crash ended": {
			func(l *ledgers) {
				l.logThird(webhook.CodeUnknown)
				l.cutOff("message_3", 0)
			},
			map[string]int{isDelivered: 1, startedOnly: 1},
		},
		"a start whose answer was lost": {
			func(l *ledgers) {
				l.logThird(webhook.CodeUnknown)
				l.lines = append(l.lines, line{Msg: unsent, DeliveryID: l.lines[0].DeliveryID, MessageID: "message_3"})
			},
			map[string]int{isDelivered: 1, startedOnly: 1},
		},
		"an attempt that is not in the item": {
			func(l *ledgers) { l.items[0].Attempts = l.items[0].Attempts[:1] }, map[string]int{isDelivered: 1, unknownPost: 1},
		},
		"an attempt that was repeated long afterwards": {
			func(l *ledgers) { l.repeat(time.Minute, "message_3") },
			map[string]int{isDelivered: 1, repeatedAnyhow: 1, again: 1},
		},
		"an attempt that two messages made at once": {
			func(l *ledgers) { l.repeat(50*time.Millisecond, "message_3") }, map[string]int{isDelivered: 1, atOnce: 1, again: 1},
		},
		"an attempt that one message made twice at once": {
			func(l *ledgers) { l.repeat(50*time.Millisecond, "message_2") }, map[string]int{isDelivered: 1, twiceAtOnce: 1, again: 1},
		},
		"an attempt that was repeated after a crash": {
			func(l *ledgers) {
				l.repeat(time.Minute, "message_2")
				l.cutOff("message_2", time.Second)
			}, map[string]int{isDelivered: 1, crashed: 1, again: 1},
		},
		"an attempt that was repeated after another message's crash": {
			func(l *ledgers) {
				l.repeat(time.Minute, "message_2")
				l.cutOff("message_1", time.Second)
			}, map[string]int{isDelivered: 1, repeatedAnyhow: 1, again: 1},
		},
		"an attempt that was repeated after a crash before it": {
			func(l *ledgers) {
				l.repeat(time.Minute, "message_2")
				l.cutOff("message_2", -time.Second)
			}, map[string]int{isDelivered: 1, repeatedAnyhow: 1, again: 1},
		},
		"an attempt that was repeated after the log had failed": {
			func(l *ledgers) {
				l.repeat(time.Minute, "message_2")
				l.lines = append(l.lines, line{Msg: unlogged, DeliveryID: l.lines[0].DeliveryID, Time: l.lines[1].Time.Add(time.Second)})
			}, map[string]int{isDelivered: 1, unwritten: 1, again: 1},
		},
		"a success after the round's success": {
			func(l *ledgers) { l.posts[0].accepted = true }, map[string]int{isDelivered: 1, again: 1, toomany: 1},
		},
		"a round that nobody asked for": {
			func(l *ledgers) { l.items[0].Round = "1" }, map[string]int{isDelivered: 1, unaskedRound: 1},
		},
		"a round of a resend": {
			func(l *ledgers) {
				l.items[0].Round = "1"
				l.resends[[2]string{l.configs[0].id, l.events[0].EventID}] = 1
			}, map[string]int{isDelivered: 1},
		},
		"a round of a resent document": {
			func(l *ledgers) {
				l.items[0].Round = "1"
				l.resends[toAll(l.events[0].EventID)] = 1
			}, map[string]int{isDelivered: 1},
		},
		"a delivery whose config was deleted long before its change was dispatched": {
			func(l *ledgers) {
				l.posts, l.lines, l.items = nil, nil, nil
				l.configs[0].off = []span{{from: l.changes[0].at.Add(time.Hour)}}
			}, map[string]int{overtaken: 1},
		},
		"a round of a resent period": {
			func(l *ledgers) {
				l.items[0].Round = "1"
				l.ordered = []order{{config: l.configs[0].id, span: span{from: l.changes[0].at}}}
			}, map[string]int{isDelivered: 1},
		},
		"a round of another period": {
			func(l *ledgers) {
				l.items[0].Round = "1"
				l.ordered = []order{{config: l.configs[0].id, span: span{from: l.changes[0].at.Add(time.Minute)}}}
			}, map[string]int{isDelivered: 1, unaskedRound: 1},
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := sound(t)
			test.spoil(l)
			got := map[string]int{}
			for found, f := range l.compare() {
				got[found] = f.n
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestEvidenceIsTaken(t *testing.T) {
	o := &output{}
	const failed = `time=2026-11-26T17:00:01.000Z level=WARN msg="the batch failed" `
	for _, part := range []string{
		`[DeliverFunction] {"timestamp":"2026-11-26T17:00:00.5Z","level":"DEBUG","message":"attempt","delivery_id":"dlv_1",`,
		`"message_id":"m1","round":"0","attempt":2,"outcome":"success","duration_ms":7}` + "\n",
		`[DeliverFunction] {"level":"WARN","message":"x"}` + "\n",
		failed + `function=DeliverFunction messages=2 ids=m1,m2 error="Unhandled: killed"` + "\n",
		failed + `function=DeliverFunction messages=1 ids=m3 error="TooManyRequestsException: Rate"` + "\n",
		failed + `function=DispatchFunction messages=1 ids=m4 error=killed` + "\n",
	} {
		if _, err := o.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	got := o.heard()
	want := evidence{
		lines: []line{{
			Level: "DEBUG", Msg: "attempt", Time: time.Date(2026, 11, 26, 17, 0, 0, 5e8, time.UTC), DeliveryID: "dlv_1", MessageID: "m1",
			Round: "0", Attempt: 2, Outcome: "success", Duration: 7,
		}},
		batches: []failedBatch{{
			at: time.Date(2026, 11, 26, 17, 0, 1, 0, time.UTC), messages: []string{"m1", "m2"}, why: `"Unhandled: killed"`,
		}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(evidence{}, failedBatch{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
