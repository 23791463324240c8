package soak

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// resend asks for the events of a config since an hour ago.
func (w *world) resend(c *config, scope string) (accepted int, a answer) {
	w.t.Helper()
	a = w.call(c.organization, http.MethodPost, "/resend", "webhook_resend", "", map[string]any{
		"webhook_config_id": c.id, "since": time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), "scope": scope,
	})
	return decode[struct{ Meta struct{ Accepted int } }](w.t, a).Meta.Accepted, a
}

// TestEndpointGone: an endpoint fails, then says that it is gone, and later is back. What was canceled can be sent again,
// and so can what happened meanwhile.
func TestEndpointGone(t *testing.T) {
	scenario(t, false)
	w := newWorld(t, 60, "-parameter", "RetryDelays=60,60,60,60")
	c := w.register("org_a", "endpoint")
	w.answer("endpoint", status(http.StatusInternalServerError, ""))
	failing := w.change("org_a", 5)
	w.sent("endpoint", failing, patience)
	w.answer("endpoint", status(http.StatusGone, ""))
	gone := w.change("org_a", 1)
	w.sent("endpoint", gone, patience)
	all := append(failing, gone...)
	eventually(t, patience, "the end of all rounds", func() bool {
		ended := 0
		for _, d := range w.deliveries("org_a") {
			if d.Attributes.Status == "canceled" || d.Attributes.Status == "failed" {
				ended++
			}
		}
		return ended == len(all)
	})
	meanwhile := w.change("org_a", 3)
	w.pass(5 * time.Minute)
	w.answer("endpoint", nil)
	got := w.call("org_a", http.MethodPatch, "/configs/"+c.id, "webhook_config", c.id, map[string]any{"is_active": true})
	if got.status != http.StatusOK {
		t.Fatalf("activating the config was answered %d: %s", got.status, got.body)
	}
	n, answered := w.resend(c, "failed")
	measured.row(t, n == len(all), "accepted by a resend of all that failed", itoa(len(all)), "%d (status %d)", n, answered.status)
	w.delivers("endpoint", all, patience)
	n, answered = w.resend(c, "undelivered")
	measured.row(
		t, n == len(meanwhile), "accepted by a resend of what was never delivered", itoa(len(meanwhile)),
		"%d (status %d)", n, answered.status,
	)
	w.delivers("endpoint", meanwhile, patience)
	all = append(all, meanwhile...)
	delivered := w.receivers.accepted("endpoint", all)
	measured.row(t, delivered == len(all), "delivered in the end", "all", "%d of %d", delivered, len(all))
	w.audit(0)
}

// TestUnopenableCredentials: the API shows deliveries whose credentials do not open, and they end.
func TestUnopenableCredentials(t *testing.T) {
	scenario(t, false)
	const documents = 5
	w := newWorld(t, 60, "-parameter", "RetryDelays=60,60,60,60")
	c := w.register("org_a", "endpoint")
	w.update(c, "SET sealed = :v", &types.AttributeValueMemberS{Value: "k1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})
	changed := w.change("org_a", documents)
	eventually(t, 20*time.Second, "the deliveries in the list", func() bool { return len(w.deliveries("org_a")) == documents })
	listed := len(w.deliveries("org_a"))
	measured.row(t, listed == documents, "deliveries in the list", "all", "%d of %d", listed, documents)
	failed := func() (n int) {
		for _, d := range w.deliveries("org_a") {
			attempts := d.Attributes.Attempts
			if d.Attributes.Status == "failed" && len(attempts) == 5 && attempts[4].ErrorCode == "credentials" {
				n++
			}
		}
		return n
	}
	eventually(t, patience, "their end", func() bool { return failed() == documents })
	measured.row(t, failed() == documents, "failed after five attempts with the code credentials", "all", "%d of %d", failed(), documents)
	eventually(t, patience, "the dead-letter queue", func() bool { return w.depth(deadLetterQueue).all() == documents })
	dead := w.depth(deadLetterQueue).all()
	measured.row(t, dead == documents, "messages in the dead-letter queue", "one each", "%d", dead)
	posts, _ := w.most("endpoint")
	measured.row(t, posts == 0, "POSTs", "0", "%d of %d", posts, len(changed))
	w.audit(0)
}

// TestMessageFromTheFuture: a message that was asked for in the far future would make all later ones obsolete.
func TestMessageFromTheFuture(t *testing.T) {
	scenario(t, false)
	w := newWorld(t, 200)
	c := w.register("org_a", "endpoint")
	changed := w.change("org_a", 1)
	w.delivers("endpoint", changed, patience)
	eventually(t, patience, "the log", func() bool {
		list := w.deliveries("org_a")
		return len(list) == 1 && list[0].Attributes.Status == "delivered"
	})
	delivered := w.ledger()[0]
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	message, err := json.Marshal(map[string]any{
		"v": 1, "organization_id": "org_a", "config_id": c.id,
		"event": map[string]any{
			"v": 1, "id": delivered.event, "document_id": changed[0].id, "status": "processed", "occurred_at": now,
		},
		"requested_at": "9999-12-31T23:59:59.000Z", "trigger": "resend", "round": "9", "attempt": 1, "not_before": now,
	})
	if err != nil {
		t.Fatal(err)
	}
	queue := w.Queues["DeliveryQueue"].URL
	_, err = w.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String(string(message))})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the end of the message", func() bool { return w.waiting().all() == 0 })
	before, _ := w.most("endpoint")
	delivery := w.deliveries("org_a")[0].ID
	const resends = 3
	for range resends {
		count := func() int { n, _ := w.most("endpoint"); return n }
		known := count()
		got := w.call("org_a", http.MethodPost, "/deliveries/"+delivery+"/resend", "", "", nil)
		if got.status != http.StatusAccepted {
			t.Errorf("a resend was answered %d: %s", got.status, got.body)
		}
		eventually(t, 10*time.Second, "the POST of a resend", func() bool { return count() > known })
	}
	posts, _ := w.most("endpoint")
	measured.row(t, posts-before == resends, "POSTs by 3 resends after it", "3", "%d", posts-before)
	dead := func() int { return w.depth(deadLetterQueue).all() }
	eventually(t, patience, "the message in the dead-letter queue", func() bool { return dead() == 1 })
	measured.row(t, dead() == 1, "the message itself", "in the dead-letter queue", "%d there", dead())
}

// TestResendsAtOnce: a resend by document goes to 100 configs with one URL, and one failing delivery is resent 20 times. Neither is
// a flood at its endpoint.
func TestResendsAtOnce(t *testing.T) {
	scenario(t, true)
	const configs, resends = 100, 20
	w := newWorld(t, 60, "-parameter", "RetryDelays=60,60,60,60")
	var mu sync.Mutex
	now, highest := 0, 0
	w.answer("shared", func(rw http.ResponseWriter, request *http.Request) {
		mu.Lock()
		now++
		highest = max(highest, now)
		mu.Unlock()
		after(200*time.Millisecond)(rw, request)
		mu.Lock()
		defer mu.Unlock()
		now--
	})
	for range configs {
		w.register("org_a", "shared")
	}
	changed := w.change("org_a", 1)
	count := func(endpoint string) int { n, _ := w.most(endpoint); return n }
	eventually(t, 2*patience, "the deliveries to all configs", func() bool { return count("shared") == configs })
	eventually(t, patience, "the end of all messages", func() bool { return w.waiting().all() == 0 && w.settled() })
	got := w.call("org_a", http.MethodPost, "/resend", "webhook_resend", "", map[string]any{"document_id": changed[0].id})
	if got.status != http.StatusAccepted {
		t.Fatalf("a resend by document was answered %d: %s", got.status, got.body)
	}
	eventually(t, 2*patience, "the resends to all configs", func() bool { return count("shared") == 2*configs })
	measured.row(t, highest <= 20, "requests at once to the URL of 100 configs", "at most 20, two batches", "%d", highest)

	w.register("org_b", "failing")
	w.answer("failing", status(http.StatusServiceUnavailable, ""))
	failing := w.change("org_b", 1)
	w.sent("failing", failing, patience)
	eventually(t, patience, "the log", func() bool { return len(w.deliveries("org_b")) == 1 })
	delivery := w.deliveries("org_b")[0].ID
	for range resends {
		if got := w.call("org_b", http.MethodPost, "/deliveries/"+delivery+"/resend", "", "", nil); got.status != http.StatusAccepted {
			t.Errorf("a resend was answered %d: %s", got.status, got.body)
		}
	}
	eventually(t, 2*patience, "the end of all rounds", func() bool { return w.waiting().all() == 0 && w.settled() })
	posts := count("failing")
	measured.row(t, posts <= 5+resends+4, "requests by 20 resends of a failing delivery, and by its first round",
		"at most 29: the first of each resend, and all of two rounds but one", "%d", posts)
}
