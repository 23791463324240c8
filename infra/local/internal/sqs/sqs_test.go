package sqs_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
)

// machine is a machine's clock that only moves when told.
type machine struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *machine { return &machine{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *machine) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *machine) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// scaled is a stack's clock that is so many times faster.
func (c *machine) scaled(scale float64) *clock.Clock { return clock.New(scale, c.Now) }

const arnPrefix = "arn:aws:sqs:eu-west-1:123456789012:"

// newBroker has the queues orders, whose dead letters go to dead after 2 receives, also, likewise, and
// other, which has none.
func newBroker(t testing.TB, opts sqs.Options) *sqs.Broker {
	t.Helper()
	opts.Region, opts.Account, opts.BaseURL = "eu-west-1", "123456789012", "http://127.0.0.1:4566"
	b := sqs.New(opts)
	redrive := &sqs.Redrive{DeadLetterTargetARN: arnPrefix + "dead", MaxReceiveCount: 2}
	err := b.CreateQueue(
		sqs.Definition{Name: "orders", Redrive: redrive},
		sqs.Definition{Name: "also", Redrive: redrive},
		sqs.Definition{Name: "dead", MessageRetentionPeriod: new(1209600)},
		sqs.Definition{Name: "other"},
	)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// policies is awsjson.Policies as a function.
type policies func(action, arn string) error

func (p policies) Allow(_, action, arn string) error { return p(action, arn) }

// connect makes an SDK client of a server on loopback.
func connect(t testing.TB, b *sqs.Broker, allowed awsjson.Policies) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler(b, allowed))
	t.Cleanup(server.Close)
	return newClient(server.URL, server.Client())
}

func handler(b *sqs.Broker, allowed awsjson.Policies) http.Handler {
	return &awsjson.Server{Services: map[string]awsjson.Service{"AmazonSQS": b.Service()}, Policies: allowed}
}

// direct is an HTTP client without a network, so that it works on the fake clock of a synctest bubble.
type direct struct{ http.Handler }

func (d direct) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

func newClient(endpoint string, transport client.HTTPClient) *client.Client {
	return client.New(client.Options{
		Region:           "eu-west-1",
		BaseEndpoint:     &endpoint,
		Credentials:      credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", ""),
		HTTPClient:       transport,
		RetryMaxAttempts: 1,
	})
}

func queueURL(name string) *string { return aws.String("http://localhost:1/123456789012/" + name) }

func mustSend(t testing.TB, c *client.Client, queue, body string) string {
	t.Helper()
	out, err := c.SendMessage(t.Context(), &client.SendMessageInput{QueueUrl: queueURL(queue), MessageBody: &body})
	if err != nil {
		t.Fatal(err)
	}
	return *out.MessageId
}

// mustReceive receives what is there now, up to 10, with all attributes.
func mustReceive(t testing.TB, c *client.Client, queue string) []types.Message {
	t.Helper()
	out, err := c.ReceiveMessage(t.Context(), &client.ReceiveMessageInput{
		QueueUrl:                    queueURL(queue),
		MaxNumberOfMessages:         10,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

func bodies(messages []types.Message) []string {
	var all []string
	for _, m := range messages {
		all = append(all, *m.Body)
	}
	return all
}

func attributes(t testing.TB, c *client.Client, queue string, names ...types.QueueAttributeName) map[string]string {
	t.Helper()
	out, err := c.GetQueueAttributes(t.Context(), &client.GetQueueAttributesInput{QueueUrl: queueURL(queue), AttributeNames: names})
	if err != nil {
		t.Fatal(err)
	}
	return out.Attributes
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Fatalf("error %v is not one of the API, want %s", err, code)
	}
	if e.ErrorCode() != code {
		t.Errorf("code %s (%s), want %s", e.ErrorCode(), e.ErrorMessage(), code)
	}
}

func wantSame(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// headed is a network whose requests have a tracing header.
type headed struct{ http.Handler }

func (h headed) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("X-Amzn-Trace-Id", "Root=of-the-request")
	return direct(h).Do(r)
}

func TestMessageKeepsTheTracingHeaderOfItsRequest(t *testing.T) {
	b := newBroker(t, sqs.Options{})
	c := newClient("http://sqs.test", headed{handler(b, nil)})
	mustSend(t, c, "orders", "single")
	own := map[string]types.MessageSystemAttributeValue{
		"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=own")},
	}
	entries := []types.SendMessageBatchRequestEntry{
		{Id: aws.String("1"), MessageBody: aws.String("of a batch")},
		{Id: aws.String("2"), MessageBody: aws.String("with its own"), MessageSystemAttributes: own},
	}
	batch := &client.SendMessageBatchInput{QueueUrl: queueURL("orders"), Entries: entries}
	if _, err := c.SendMessageBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	messages, err := b.Receive(t.Context(), arnPrefix+"orders", 10)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range messages {
		got[m.Body] = m.Attributes["AWSTraceHeader"]
	}
	wantSame(t, got, map[string]string{"single": "Root=of-the-request", "of a batch": "Root=of-the-request", "with its own": "Root=own"})
}

func TestDelayedMessagesAreNotInFlight(t *testing.T) {
	full := 0
	b := newBroker(t, sqs.Options{InFlightLimit: 2, Full: func(string) { full++ }})
	c := connect(t, b, nil)
	for range 3 {
		later := &client.SendMessageInput{QueueUrl: queueURL("orders"), MessageBody: aws.String("later"), DelaySeconds: 900}
		if _, err := c.SendMessage(t.Context(), later); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		mustSend(t, c, "orders", "now")
		wantSame(t, bodies(mustReceive(t, c, "orders")), []string{"now"})
	}
	mustSend(t, c, "orders", "one too many")
	_, err := c.ReceiveMessage(t.Context(), &client.ReceiveMessageInput{QueueUrl: queueURL("orders")})
	wantCode(t, err, "OverLimit")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := b.Receive(ctx, arnPrefix+"orders", 1); !errors.Is(err, context.DeadlineExceeded) || full != 2 {
		t.Errorf("an event source received %v, %v; the limit was found reached %d times, want twice", got, err, full)
	}
	wantSame(t, attributes(t, c, "orders", "ApproximateNumberOfMessagesDelayed")["ApproximateNumberOfMessagesDelayed"], "3")
}

func TestSentMessageArrivesWithAllItsAttributes(t *testing.T) {
	c := connect(t, newBroker(t, sqs.Options{Clock: newClock().scaled(1)}), nil)
	sent, err := c.SendMessage(t.Context(), &client.SendMessageInput{
		QueueUrl:       queueURL("orders"),
		MessageBody:    aws.String("Grüße, 👋"),
		MessageGroupId: aws.String("config-1"),
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-2-3")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	messages := mustReceive(t, c, "orders")
	if len(messages) != 1 {
		t.Fatalf("received %d messages, want 1", len(messages))
	}
	m := messages[0]
	wantSame(t, *m.MessageId, *sent.MessageId)
	wantSame(t, *m.Body, "Grüße, 👋")
	wantSame(t, m.Attributes, map[string]string{
		"ApproximateReceiveCount":          "1",
		"SentTimestamp":                    "1767323045000",
		"ApproximateFirstReceiveTimestamp": "1767323045000",
		"SenderId":                         "123456789012",
		"MessageGroupId":                   "config-1",
		"AWSTraceHeader":                   "Root=1-2-3",
	})
	if _, err := c.DeleteMessage(
		t.Context(), &client.DeleteMessageInput{QueueUrl: queueURL("orders"), ReceiptHandle: m.ReceiptHandle},
	); err != nil {
		t.Fatal(err)
	}
	counts := attributes(t, c, "orders", "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
	wantSame(t, counts, map[string]string{"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0"})
}

func TestReceiveReturnsOnlyTheAttributesAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		ask  []types.MessageSystemAttributeName
		want map[string]string
	}{
		"none by default": {},
		"one by name": {
			ask:  []types.MessageSystemAttributeName{"MessageGroupId"},
			want: map[string]string{"MessageGroupId": "g"},
		},
		"nothing for what is none": {ask: []types.MessageSystemAttributeName{"AWSTraceHeader"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, newBroker(t, sqs.Options{}), nil)
			_, err := c.SendMessage(t.Context(), &client.SendMessageInput{
				QueueUrl: queueURL("orders"), MessageBody: aws.String("b"), MessageGroupId: aws.String("g"),
			})
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.ReceiveMessage(t.Context(), &client.ReceiveMessageInput{
				QueueUrl: queueURL("orders"), MessageSystemAttributeNames: test.ask,
			})
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, out.Messages[0].Attributes, test.want)
		})
	}
}

func TestWhatIsNotSupportedIsRefusedByName(t *testing.T) {
	for name, test := range map[string]struct{ operation, body, want string }{
		"message attributes": {
			operation: "SendMessage",
			body:      `{"QueueUrl":"orders","MessageBody":"b","MessageAttributes":{"a":{"DataType":"String","StringValue":"v"}}}`,
			want:      "MessageAttributes are not supported by the local stack",
		},
		"a list by pages":      {operation: "ListQueues", body: `{"MaxResults":1}`, want: "MaxResults and NextToken are not supported"},
		"a list's second page": {operation: "ListQueues", body: `{"NextToken":"t"}`, want: "MaxResults and NextToken are not supported"},
		"sources of dead letters": {
			operation: "ListDeadLetterSourceQueues", body: `{"QueueUrl":"dead"}`,
			want: "ListDeadLetterSourceQueues is not supported by the local stack",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newBroker(t, sqs.Options{}).Service().Serve(t.Context(), test.operation, []byte(test.body), allowAll)
			e, ok := errors.AsType[*awsjson.Error](err)
			if !ok || e.Query != "AWS.SimpleQueueService.UnsupportedOperation" || !strings.Contains(e.Message, test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestQueueURLNamesAQueue(t *testing.T) {
	tests := map[string]struct {
		url  string
		code string // "" if it works
	}{
		"by its own URL":               {"http://127.0.0.1:4566/123456789012/orders", ""},
		"by AWS's URL":                 {"https://sqs.eu-west-1.amazonaws.com/123456789012/orders", ""},
		"by its bare name":             {"orders", ""},
		"not without a queue":          {"http://127.0.0.1:4566/123456789012/absent", "AWS.SimpleQueueService.NonExistentQueue"},
		"not in another account":       {"http://127.0.0.1:4566/210987654321/orders", "AWS.SimpleQueueService.NonExistentQueue"},
		"not without an account":       {"http://127.0.0.1:4566/orders", "AWS.SimpleQueueService.NonExistentQueue"},
		"not by a URL that is no URL":  {"http://127.0.0.1:x/123456789012/orders", "InvalidAddress"},
		"not by a URL that is missing": {"", "MissingParameter"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			body, _ := json.Marshal(map[string]string{"QueueUrl": test.url, "MessageBody": "b"})
			_, err := newBroker(t, sqs.Options{}).Service().Serve(t.Context(), "SendMessage", body, allowAll)
			if test.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e, ok := errors.AsType[*awsjson.Error](err)
			if !ok || e.Query != test.code {
				t.Errorf("error %#v, want %s", err, test.code)
			}
		})
	}
}

func allowAll(string, string) error { return nil }

func TestQueueThatDoesNotExistIsTheSDKsTypedError(t *testing.T) {
	c := connect(t, newBroker(t, sqs.Options{}), nil)
	_, err := c.SendMessage(t.Context(), &client.SendMessageInput{QueueUrl: queueURL("absent"), MessageBody: aws.String("b")})
	if _, ok := errors.AsType[*types.QueueDoesNotExist](err); !ok {
		t.Errorf("error %v, want QueueDoesNotExist", err)
	}
	wantCode(t, err, "AWS.SimpleQueueService.NonExistentQueue")
}

func TestDescriptionOfQueues(t *testing.T) {
	c := connect(t, newBroker(t, sqs.Options{Clock: newClock().scaled(1)}), nil)
	wantSame(t, attributes(t, c, "orders", "All"), map[string]string{
		"ApproximateNumberOfMessages":           "0",
		"ApproximateNumberOfMessagesDelayed":    "0",
		"ApproximateNumberOfMessagesNotVisible": "0",
		"CreatedTimestamp":                      "1767323045",
		"LastModifiedTimestamp":                 "1767323045",
		"DelaySeconds":                          "0",
		"MaximumMessageSize":                    "1048576",
		"MessageRetentionPeriod":                "345600",
		"QueueArn":                              arnPrefix + "orders",
		"ReceiveMessageWaitTimeSeconds":         "0",
		"RedrivePolicy":                         `{"deadLetterTargetArn":"` + arnPrefix + `dead","maxReceiveCount":2}`,
		"SqsManagedSseEnabled":                  "true",
		"VisibilityTimeout":                     "30",
	})
	wantSame(t, attributes(t, c, "dead", "RedrivePolicy", "MessageRetentionPeriod"), map[string]string{"MessageRetentionPeriod": "1209600"})

	found, err := c.GetQueueUrl(t.Context(), &client.GetQueueUrlInput{QueueName: aws.String("dead")})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, *found.QueueUrl, "http://127.0.0.1:4566/123456789012/dead")

	all, err := c.ListQueues(t.Context(), &client.ListQueuesInput{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, url := range all.QueueUrls {
		names = append(names, url[strings.LastIndex(url, "/")+1:])
	}
	wantSame(t, names, []string{"also", "dead", "orders", "other"})

	prefixed, err := c.ListQueues(t.Context(), &client.ListQueuesInput{QueueNamePrefix: aws.String("ord")})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, prefixed.QueueUrls, []string{"http://127.0.0.1:4566/123456789012/orders"})

}

func TestCreateQueueRefuses(t *testing.T) {
	tests := map[string][]sqs.Definition{
		"a FIFO name":                {{Name: "q.fifo"}},
		"no name":                    {{}},
		"a timeout over 12 hours":    {{Name: "q", VisibilityTimeout: new(43201)}},
		"a retention under a minute": {{Name: "q", MessageRetentionPeriod: new(59)}},
		"a size over 1 MiB":          {{Name: "q", MaximumMessageSize: new(1<<20 + 1)}},
		"a name twice":               {{Name: "q"}, {Name: "q"}},
		"a name that exists":         {{Name: "orders"}},
		"an unknown dead-letter ARN": {{Name: "q", Redrive: &sqs.Redrive{DeadLetterTargetARN: "arn:x", MaxReceiveCount: 1}}},
		"no receive before the move": {{Name: "q", Redrive: &sqs.Redrive{DeadLetterTargetARN: arnPrefix + "dead"}}},
		"itself as dead-letter queue": {
			{Name: "q", ARN: "arn:q", Redrive: &sqs.Redrive{DeadLetterTargetARN: "arn:q", MaxReceiveCount: 1}},
		},
	}
	for name, queues := range tests {
		t.Run(name, func(t *testing.T) {
			if err := newBroker(t, sqs.Options{}).CreateQueue(queues...); !errors.Is(err, sqs.ErrDefinition) {
				t.Errorf("error %v, want ErrDefinition", err)
			}
		})
	}
}

func TestPermissionsAreAskedForEveryOperation(t *testing.T) {
	orders, dead, also := arnPrefix+"orders", arnPrefix+"dead", arnPrefix+"also"
	tests := map[string]struct {
		body string
		want []string
	}{
		"SendMessage": {`{"QueueUrl":"orders","MessageBody":"b"}`, []string{"sqs:SendMessage " + orders}},
		"SendMessageBatch": {
			`{"QueueUrl":"orders","Entries":[{"Id":"1","MessageBody":"b"}]}`,
			[]string{"sqs:SendMessage " + orders},
		},
		"ReceiveMessage":               {`{"QueueUrl":"orders"}`, []string{"sqs:ReceiveMessage " + orders}},
		"DeleteMessage":                {`{"QueueUrl":"orders"}`, []string{"sqs:DeleteMessage " + orders}},
		"DeleteMessageBatch":           {`{"QueueUrl":"orders"}`, []string{"sqs:DeleteMessage " + orders}},
		"ChangeMessageVisibility":      {`{"QueueUrl":"orders"}`, []string{"sqs:ChangeMessageVisibility " + orders}},
		"ChangeMessageVisibilityBatch": {`{"QueueUrl":"orders"}`, []string{"sqs:ChangeMessageVisibility " + orders}},
		"GetQueueAttributes":           {`{"QueueUrl":"orders"}`, []string{"sqs:GetQueueAttributes " + orders}},
		"GetQueueUrl":                  {`{"QueueName":"orders"}`, []string{"sqs:GetQueueUrl " + orders}},
		"PurgeQueue":                   {`{"QueueUrl":"orders"}`, []string{"sqs:PurgeQueue " + orders}},
		"ListQueues":                   {`{}`, []string{"sqs:ListQueues *"}},
		"ListMessageMoveTasks":         {`{"SourceArn":"` + dead + `"}`, []string{"sqs:ListMessageMoveTasks " + dead}},
		"StartMessageMoveTask": {`{"SourceArn":"` + dead + `"}`, []string{
			"sqs:StartMessageMoveTask " + dead, "sqs:ReceiveMessage " + dead, "sqs:DeleteMessage " + dead,
			"sqs:GetQueueAttributes " + dead, "sqs:SendMessage " + also, "sqs:SendMessage " + orders,
		}},
	}
	for operation, test := range tests {
		t.Run(operation, func(t *testing.T) {
			var asked []string
			allow := func(action, arn string) error {
				asked = append(asked, action+" "+arn)
				return nil
			}
			_, _ = newBroker(t, sqs.Options{}).Service().Serve(t.Context(), operation, []byte(test.body), allow) // some lack parameters
			wantSame(t, asked, test.want)

			denied := errors.New("denied")
			_, err := newBroker(t, sqs.Options{}).Service().Serve(
				t.Context(), operation, []byte(test.body), func(string, string) error { return denied },
			)
			if !errors.Is(err, denied) {
				t.Errorf("error %v, want the refusal", err)
			}
		})
	}
}

func TestRefusalReachesTheClient(t *testing.T) {
	deny := policies(func(action, arn string) error { return awsjson.AccessDenied("deliver", action, arn) })
	c := connect(t, newBroker(t, sqs.Options{}), deny)
	_, err := c.SendMessage(t.Context(), &client.SendMessageInput{QueueUrl: queueURL("orders"), MessageBody: aws.String("b")})
	wantCode(t, err, "AccessDeniedException")
}

func TestOperationsThatTheTemplateDoesInsteadAreUnsupported(t *testing.T) {
	c := connect(t, newBroker(t, sqs.Options{}), nil)
	_, err := c.CreateQueue(t.Context(), &client.CreateQueueInput{QueueName: aws.String("new")})
	if _, ok := errors.AsType[*types.UnsupportedOperation](err); !ok {
		t.Errorf("error %v, want UnsupportedOperation", err)
	}
	_, err = c.ListQueueTags(t.Context(), &client.ListQueueTagsInput{QueueUrl: queueURL("orders")})
	wantCode(t, err, "AWS.SimpleQueueService.UnsupportedOperation")
}

func TestClientThatGoesAwayEndsItsLongPoll(t *testing.T) {
	b := newBroker(t, sqs.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Service().Serve(ctx, "ReceiveMessage", []byte(`{"QueueUrl":"orders","WaitTimeSeconds":20}`), allowAll)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
