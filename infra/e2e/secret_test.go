package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// window is how many characters of a secret in a row are too many. A config's secret_prefix has 12.
const window = 16

// planted are the secrets that must not show anywhere: all that this suite is given.
var planted secrets

// secrets are searched for by every part of theirs that is as long as a window.
type secrets struct {
	mu    sync.Mutex
	parts map[string]string // to what they are a part of
}

func (s *secrets) add(what, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts == nil {
		s.parts = map[string]string{}
	}
	for i := 0; i+window <= len(secret); i++ {
		s.parts[secret[i:i+window]] = what
	}
}

// within returns an error if text holds a part of a secret.
func (s *secrets) within(where, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i+window <= len(text); i++ {
		if what, found := s.parts[text[i:i+window]]; found {
			return fmt.Errorf("%s shows %s: %.300s", where, what, text[max(0, i-150):])
		}
	}
	return nil
}

// watch plants the credentials that an answer may show, and looks for all others in it.
func (s *secrets) watch(method, path string, got answer) error {
	shows := method == http.MethodPost && got.status < 300 && (path == configPath() || strings.HasSuffix(path, "/rotate-secret"))
	if !shows {
		return s.within(method+" "+path, fmt.Sprint(got.header, string(got.body)))
	}
	var d document
	if err := json.Unmarshal(got.body, &d); err != nil {
		return err
	}
	if d.Data.Attributes.Token == "" || d.Data.Attributes.Secret == "" {
		return fmt.Errorf("%s %s shows no credentials: %s", method, path, got.body)
	}
	s.add("a token", d.Data.Attributes.Token)
	s.add("a secret", d.Data.Attributes.Secret)
	return nil
}

// everywhere looks at everything that a local stack keeps and has printed: the items of all
// tables, the messages of all queues, and every line of every function's log and metrics. It returns
// how many items there were in each table.
func (s *secrets) everywhere(ctx context.Context, on *system) (items map[string]int, problem error) {
	problem = s.within("the log", on.local.output.String())
	items = map[string]int{"ConfigsTable": 0, "DocumentsTable": 0, "EventsTable": 0, "DeliveriesTable": 0, "ApiKeysTable": 0}
	for table := range items {
		name := on.outputs[table]
		pages := dynamodb.NewScanPaginator(on.dynamo, &dynamodb.ScanInput{TableName: &name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, item := range page.Items {
				text, err := json.Marshal(item)
				if err != nil {
					return nil, err
				}
				items[table]++
				problem = errors.Join(problem, s.within(table, string(text)))
			}
		}
	}
	for _, queue := range []string{"DeliveryQueue", "RetryQueue", "DeliveryDeadLetterQueue", "DispatchRetryQueue", "DispatchFailureQueue"} {
		_, err := s.receive(ctx, on, queue)
		problem = errors.Join(problem, err)
	}
	return items, problem
}

// receive looks at the messages that a queue hands out at once, and puts them back.
func (s *secrets) receive(ctx context.Context, on *system, queue string) (messages int, problem error) {
	url := on.outputs[queue]
	out, err := on.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: 1,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return 0, err
	}
	for _, message := range out.Messages {
		text, err := json.Marshal(message)
		if err != nil {
			return 0, err
		}
		problem = errors.Join(problem, s.within(queue, string(text)))
	}
	return len(out.Messages), problem
}

// TestPlantedSecretsShowNowhere takes a config's credentials along every way there is, to an
// endpoint that sends all it gets back into the log. Every other test does the same with its own:
// client.call looks at each answer, and at the end of the suite everywhere at the rest.
func TestPlantedSecretsShowNowhere(t *testing.T) {
	if under.local == nil {
		t.Skip("looks at all of a stack")
	}
	on := alone(t)
	before := on.deadLetters(t)
	c := newClientOn(t, on)
	planted.add("the key of the keyring", on.readKeyring(t)["k1"])

	endpoint := newReceiver(t)
	echo := func(first, later int) { // the status of a round's first attempt, and that of the later ones
		endpoint.answer(func(w http.ResponseWriter, r *http.Request) {
			status := later
			if r.Header.Get("X-Webhook-Attempt") == "1" {
				status = first
			}
			w.Header().Set("Location", "/"+r.Header.Get("X-Webhook-Token"))
			w.WriteHeader(status)
			io.WriteString(w, "{"+r.Header.Get("X-Webhook-Token")+" ")
			r.Header.Write(w)
		})
	}
	echo(http.StatusInternalServerError, http.StatusInternalServerError)
	config := c.register(endpoint.url, "processed", "failed")
	c.must(200, "POST", configPath(config.id, "rotate-secret"), nil)
	c.must(200, "GET", configPath(config.id), nil)
	c.must(200, "GET", configPath(), nil)
	c.must(200, "PATCH", configPath(config.id), envelope("webhook_config", config.id, map[string]any{"description": "changed"}))
	partly := map[string]any{"token": config.credentials.Token.Reveal()[:window-1]}
	c.must(422, "PATCH", configPath(config.id), envelope("webhook_config", config.id, partly))

	id := newDocument()
	c.put(id, "processed")
	failed := c.delivery(config.id, "failed")
	if attempts := failed.Attributes.Attempts; len(attempts) != 5 {
		t.Fatalf("%d attempts", len(attempts))
	}
	on.waitForDeadLetters(t, before+1)
	if n, err := planted.receive(t.Context(), on, "DeliveryDeadLetterQueue"); n == 0 || err != nil {
		t.Errorf("%d dead letters: %v", n, err)
	}
	attempts := func(want int) {
		t.Helper()
		eventually(t, func() (int, bool) {
			n := len(c.must(200, "GET", "/v1/webhooks/deliveries/"+failed.ID, nil).Data.Attributes.Attempts)
			return n, n == want
		}, func() string { return fmt.Sprint(want, " attempts in the log") })
	}
	echo(http.StatusFound, http.StatusOK)
	c.must(202, "POST", "/v1/webhooks/deliveries/"+failed.ID+"/resend", nil)
	attempts(7)
	echo(http.StatusOK, http.StatusOK)
	c.must(202, "POST", "/v1/webhooks/resend", resendOf(map[string]any{"document_id": id}))
	attempts(8)
	on.redrive(t)
	// While deliver waits for the endpoint in all of its places, the other messages wait in the queues.
	release := endpoint.hold(t, http.StatusOK)
	for range 50 {
		c.put(newDocument(), "processed")
	}
	eventually(t, func() (int, bool) {
		received := 0
		for _, queue := range []string{"DeliveryQueue", "RetryQueue"} {
			n, err := planted.receive(t.Context(), on, queue)
			if err != nil {
				t.Error(err)
			}
			received += n
		}
		return received, received > 0
	}, func() string { return "a message in a queue of deliveries" })
	release()
	c.must(200, "POST", configPath(config.id, "rotate-secret"), envelope("webhook_config", config.id, map[string]any{"overlap_seconds": 0}))
	c.must(204, "DELETE", configPath(config.id), nil)
	items, err := planted.everywhere(t.Context(), on)
	if err != nil {
		t.Error(err)
	}
	for table, n := range items {
		if n == 0 {
			t.Errorf("%s is empty: nothing was looked at", table)
		}
	}
}

func TestPartOfASecretIsFound(t *testing.T) {
	var s secrets
	s.add("a token", "whtok_0123456789abcdef")
	for text, found := range map[string]bool{
		"":                      false,
		"whtok_012345678":       false,
		"x whtok_0123456789 x":  true,
		"6789abcdef":            false,
		`"0123456789abcdef"`:    true,
		"Whtok_0123456789abcde": true,
	} {
		if err := s.within("here", text); (err != nil) != found {
			t.Errorf("%q: %v", text, err)
		}
	}
	shown := answer{
		status: 200,
		body:   []byte(`{"data":{"attributes":{"token":"whtok_0123456789abcdef","secret":"whsec_0123456789abcdef"}}}`),
	}
	for request, refused := range map[[2]string]bool{
		{"POST", "/v1/webhooks/configs"}: false, {"POST", "/v1/webhooks/configs/x/rotate-secret"}: false,
		{"GET", "/v1/webhooks/configs"}: true, {"PATCH", "/v1/webhooks/configs/x"}: true, {"POST", "/v1/webhooks/configs/x/test"}: true,
	} {
		if err := s.watch(request[0], request[1], shown); (err != nil) != refused {
			t.Errorf("%v: %v", request, err)
		}
	}
}
