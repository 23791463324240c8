package fault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	database "github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/fault"
	broker "github.com/docuhook/docuhook/infra/local/internal/sqs"
)

// world has a queue Q and a table T behind an injector. The keys "deliver" and "sweep" are functions'.
type world struct {
	*fault.Injector
	url string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := database.New(database.Options{})
	if err := db.CreateTable(database.Schema{Name: "T", HashKey: database.Key{Name: "id", Type: attribute.String}}); err != nil {
		t.Fatal(err)
	}
	queues := broker.New(broker.Options{})
	if err := queues.CreateQueue(broker.Definition{Name: "Q"}); err != nil {
		t.Fatal(err)
	}
	services := &awsjson.Server{Services: map[string]awsjson.Service{"AmazonSQS": queues.Service(), "DynamoDB_20120810": db.Service()}}
	w := &world{Injector: newInjector()}
	server := httptest.NewServer(w.Handler(services, map[string]string{"deliver": "DeliverFunction", "sweep": "SweepFunction"}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// newInjector is one of a stack whose clock is ten times faster than the machine's.
func newInjector() *fault.Injector {
	return fault.New(func(d time.Duration) time.Duration { return d / 10 })
}

// plan is a plan of rules in JSON.
func plan(t *testing.T, rules ...string) fault.Plan {
	t.Helper()
	p, err := fault.ParsePlan([]byte(`{"seed":1,"rules":[` + strings.Join(rules, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) sqs(key string) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: &w.url, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(key, "x", ""),
	})
}

func (w *world) dynamodb(key string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: &w.url, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(key, "x", ""),
	})
}

func send(ctx context.Context, c *sqs.Client, body string) error {
	_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String("Q"), MessageBody: &body})
	return err
}

// depth is how many messages the queue has, as an administrator sees it.
func (w *world) depth(t *testing.T) string {
	t.Helper()
	out, err := w.sqs("administrator").GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String("Q"), AttributeNames: []sqstypes.QueueAttributeName{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Attributes["ApproximateNumberOfMessages"]
}

// outcome names what a caller sees.
func outcome(err error) string {
	var code smithy.APIError
	switch {
	case err == nil:
		return "success"
	case errors.As(err, &code):
		return code.ErrorCode()
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	}
	return err.Error()
}

func TestKinds(t *testing.T) {
	for kind, want := range map[fault.Kind]struct{ outcome, depth string }{
		fault.Throttled:   {"RequestThrottled", "0"},
		fault.Internal:    {"InternalServerError", "0"},
		fault.Hanging:     {"deadline", "0"},
		fault.ResetBefore: {"reset", "0"},
		fault.ResetAfter:  {"reset", "1"},
		fault.Partial:     {"success", "1"}, // it is no batch
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t)
			w.Follow(plan(t, `{"kind":"`+string(kind)+`","probability":1}`))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if kind == fault.Hanging {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
			}
			if got := outcome(send(ctx, w.sqs("deliver"), "b")); got != want.outcome {
				t.Errorf("the caller sees %q, want %q", got, want.outcome)
			}
			if got := w.depth(t); got != want.depth {
				t.Errorf("%s messages are in the queue, want %s", got, want.depth)
			}
		})
	}
}

func TestRulesChoose(t *testing.T) {
	for name, test := range map[string]struct {
		rule    string
		strikes bool
	}{
		"every call":                    {`"service":""`, true},
		"calls of a service":            {`"service":"sqs"`, true},
		"not those of another":          {`"service":"dynamodb"`, false},
		"calls of an operation":         {`"operation":"SendMessage"`, true},
		"not those of another one":      {`"operation":"ReceiveMessage"`, false},
		"calls of a function":           {`"function":"DeliverFunction"`, true},
		"not those of another function": {`"function":"SweepFunction"`, false},
		"calls that contain a text":     {`"contains":"org_1"`, true},
		"not those without it":          {`"contains":"org_2"`, false},
		"calls that contain a value":    {`"contains":"\"of org_1\""`, true},
		"not those with more than it":   {`"contains":"\"org_1\""`, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Follow(plan(t, `{`+test.rule+`,"kind":"internal","probability":1}`))
			if err := send(t.Context(), w.sqs("deliver"), "of org_1"); (err != nil) != test.strikes {
				t.Errorf("answered %v", err)
			}
			if err := send(t.Context(), w.sqs("administrator"), "of org_1"); err != nil {
				t.Errorf("an administrator was answered %v", err)
			}
			w.Follow(fault.Plan{})
			if err := send(t.Context(), w.sqs("deliver"), "of org_1"); err != nil {
				t.Errorf("after the end of the plan answered %v", err)
			}
			hits := w.Report().Hits
			want := []fault.Hit{}
			if test.strikes {
				want = append(want, fault.Hit{
					Function: "DeliverFunction", Service: "sqs", Operation: "SendMessage", Kind: fault.Internal, Count: 1,
				})
				if _, text, contains := strings.Cut(test.rule, `"contains":`); contains {
					want[0].Contains, _ = strconv.Unquote(text)
				}
			}
			if diff := cmp.Diff(want, hits); diff != "" {
				t.Errorf("hits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeedDecides(t *testing.T) {
	rule := `{"kind":"internal","probability":0.3}`
	run := func(seed uint64, others int) (struck []int) {
		w := newWorld(t)
		p := plan(t, rule)
		p.Seed = seed
		w.Follow(p)
		for n := range 60 {
			if send(t.Context(), w.sqs("deliver"), "b") != nil {
				struck = append(struck, n)
			}
			for range others {
				_ = send(t.Context(), w.sqs("sweep"), "b") // struck or not
			}
		}
		return struck
	}
	first := run(7, 0)
	if len(first) < 8 || len(first) > 30 {
		t.Errorf("%d of 60 calls were struck with a probability of 0.3", len(first))
	}
	if diff := cmp.Diff(first, run(7, 2)); diff != "" {
		t.Errorf("with more calls of another function the same seed strikes other calls:\n%s", diff)
	}
	if cmp.Equal(first, run(8, 0)) {
		t.Error("another seed strikes the same calls")
	}
}

// of are the kinds that can strike by what they can strike.
var of = map[string][]fault.Kind{
	"stream":   {fault.Twice, fault.Late, fault.OutOfOrder},
	"queue":    {fault.Twice, fault.Late, fault.OutOfOrder, fault.OverLimit},
	"schedule": {fault.Twice, fault.Late, fault.Missed},
	"process":  {fault.Killed, fault.Frozen, fault.Skewed, fault.Refused},
}

func TestSameSeedStrikesTheSame(t *testing.T) {
	strikes := func(seed uint64) (all []string) {
		i := newInjector()
		p := plan(t, `{"kind":"every","probability":0.2}`)
		p.Seed = seed
		i.Follow(p)
		for range 40 {
			for _, service := range []string{"stream", "queue", "schedule", "process"} {
				f := i.Strike("F", service, "O", of[service]...)
				all = append(all, fmt.Sprint(f.Kind, f.Delay, f.Ahead))
			}
		}
		return all
	}
	if diff := cmp.Diff(strikes(7), strikes(7)); diff != "" {
		t.Errorf("the same seed strikes otherwise:\n%s", diff)
	}
	if cmp.Equal(strikes(7), strikes(8)) {
		t.Error("another seed strikes the same")
	}
}

func TestEveryKindIsOneRule(t *testing.T) {
	w := newWorld(t)
	w.Follow(plan(t, `{"kind":"every","probability":0.3}`, `{"kind":"hanging","probability":0.01,"operation":"GetItem"}`))
	for range 60 {
		_ = send(t.Context(), w.sqs("deliver"), "b") // struck or not
		for service, can := range of {
			w.Strike("F", service, "O", can...)
		}
	}
	for kind, n := range w.Report().Kinds {
		if want := kind != fault.Partial && kind != fault.Hanging; n > 0 != want {
			t.Errorf("%s has struck %d times, want that it has: %t", kind, n, want)
		}
	}
}

func TestReportTellsWhatHasNeverStruck(t *testing.T) {
	i := newInjector()
	i.Follow(plan(t, `{"kind":"late","probability":0.000001}`, `{"kind":"twice","probability":1}`))
	i.Strike("DispatchFunction", "stream", "EventsTable", of["stream"]...)
	got := i.Report()
	want := []fault.Hit{
		{Function: "DispatchFunction", Service: "stream", Operation: "EventsTable", Kind: fault.Late, Count: 0},
		{Function: "DispatchFunction", Service: "stream", Operation: "EventsTable", Kind: fault.Twice, Count: 1},
	}
	if diff := cmp.Diff(want, got.Hits); diff != "" {
		t.Errorf("hits (-want +got):\n%s", diff)
	}
	if n, known := got.Kinds[fault.Skewed]; n != 0 || !known || got.Kinds[fault.Twice] != 1 || len(got.Kinds) != 15 {
		t.Errorf("kinds are %v, want 15 of them with one hit", got.Kinds)
	}
}

func TestALimitThatIsReachedIsAHit(t *testing.T) {
	i := newInjector()
	reached := func(full bool) bool { return i.Reached("F", "process", "Invoke", fault.Refused, full) }
	if reached(false) || !reached(true) {
		t.Error("without a plan a limit seems reached that is not, or not where it is")
	}
	i.Follow(plan(t, `{"kind":"refused","probability":1}`))
	if !reached(false) {
		t.Error("it does not seem reached although the plan says so")
	}
	want := []fault.Hit{{Function: "F", Service: "process", Operation: "Invoke", Kind: fault.Refused, Count: 2}}
	if diff := cmp.Diff(want, i.Report().Hits); diff != "" {
		t.Errorf("hits (-want +got):\n%s", diff)
	}
}

func TestRulesSayHowLate(t *testing.T) {
	for name, test := range map[string]struct {
		rule              string
		shortest, longest time.Duration // of 500 delays, on the machine's clock
		behind, ahead     time.Duration // of as many clocks
	}{
		"as they are told": {
			rule: `,"seconds":600`, shortest: time.Second, longest: time.Minute, behind: 10 * time.Minute, ahead: 10 * time.Minute,
		},
		"or behind": {rule: `,"seconds":-300`, behind: -5 * time.Minute, ahead: -5 * time.Minute},
		"by default up to a minute": {
			shortest: 100 * time.Millisecond, longest: 6 * time.Second, behind: -time.Minute, ahead: time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := newInjector()
			i.Follow(plan(t, `{"kind":"skewed","probability":1`+test.rule+`}`))
			least, most := i.Strike("F", "process", "Init", fault.Skewed).Ahead, time.Duration(-1<<63)
			for range 500 {
				ahead := i.Strike("F", "process", "Init", fault.Skewed).Ahead
				least, most = min(least, ahead), max(most, ahead)
			}
			if least < test.behind || least > test.behind+time.Second || most > test.ahead || most < test.ahead-time.Second {
				t.Errorf("clocks are ahead by %s to %s, want %s to %s", least, most, test.behind, test.ahead)
			}
			if test.longest == 0 {
				return
			}
			i.Follow(plan(t, `{"kind":"late","probability":1`+test.rule+`}`))
			least, most = time.Hour, 0
			for range 500 {
				delay := i.Strike("F", "queue", "Q", fault.Late).Delay
				least, most = min(least, delay), max(most, delay)
			}
			if least > test.shortest || most > test.longest || most < test.longest*9/10 {
				t.Errorf("delays are %s to %s, want some under %s and some near %s", least, most, test.shortest, test.longest)
			}
		})
	}
}

func TestPartsOfBatchesFail(t *testing.T) {
	const entries = 8
	rule := `{"kind":"partial","probability":1,"function":"DeliverFunction"}`
	key := func(n int) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: strconv.Itoa(n)}}
	}
	for name, batch := range map[string]func(t *testing.T, w *world) (succeeded, failed int, took string){
		"of messages": func(t *testing.T, w *world) (int, int, string) {
			var all []sqstypes.SendMessageBatchRequestEntry
			for n := range entries {
				all = append(all, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(n)), MessageBody: aws.String("b")})
			}
			out, err := w.sqs("deliver").SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: aws.String("Q"), Entries: all})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range out.Failed {
				if f.SenderFault || aws.ToString(f.Code) == "" {
					t.Errorf("failed as %+v", f)
				}
			}
			return len(out.Successful), len(out.Failed), w.depth(t)
		},
		"of writes": func(t *testing.T, w *world) (int, int, string) {
			var all []types.WriteRequest
			for n := range entries {
				all = append(all, types.WriteRequest{PutRequest: &types.PutRequest{Item: key(n)}})
			}
			out, err := w.dynamodb("deliver").BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{
				RequestItems: map[string][]types.WriteRequest{"T": all},
			})
			if err != nil {
				t.Fatal(err)
			}
			stored, err := w.dynamodb("administrator").Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("T")})
			if err != nil {
				t.Fatal(err)
			}
			failed := len(out.UnprocessedItems["T"])
			return entries - failed, failed, fmt.Sprint(len(stored.Items))
		},
		"of reads": func(t *testing.T, w *world) (int, int, string) {
			var keys []map[string]types.AttributeValue
			for n := range entries {
				put := &dynamodb.PutItemInput{TableName: aws.String("T"), Item: key(n)}
				if _, err := w.dynamodb("administrator").PutItem(t.Context(), put); err != nil {
					t.Fatal(err)
				}
				keys = append(keys, key(n))
			}
			out, err := w.dynamodb("deliver").BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{"T": {Keys: keys, ConsistentRead: aws.Bool(true)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if left := out.UnprocessedKeys["T"]; !aws.ToBool(left.ConsistentRead) {
				t.Errorf("what is to be asked again has lost how: %+v", left)
			}
			failed := len(out.UnprocessedKeys["T"].Keys)
			return entries - failed, failed, fmt.Sprint(len(out.Responses["T"]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Follow(plan(t, rule))
			succeeded, failed, took := batch(t, w)
			if failed == 0 || succeeded == 0 || succeeded+failed != entries || took != fmt.Sprint(succeeded) {
				t.Errorf("%d succeeded and %d failed of %d, and %s took effect", succeeded, failed, entries, took)
			}
		})
	}
}

func TestBatchOfOneFailsWhole(t *testing.T) {
	w := newWorld(t)
	w.Follow(plan(t, `{"kind":"partial","probability":1}`))
	out, err := w.sqs("deliver").SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{
		QueueUrl: aws.String("Q"), Entries: []sqstypes.SendMessageBatchRequestEntry{{Id: aws.String("1"), MessageBody: aws.String("b")}},
	})
	if err != nil || len(out.Successful) != 0 || len(out.Failed) != 1 || *out.Failed[0].Id != "1" {
		t.Errorf("answered %+v, %v", out, err)
	}
}

func TestMalformedBatchIsTheServicesToRefuse(t *testing.T) {
	w := newWorld(t)
	w.Follow(plan(t, `{"kind":"partial","probability":1}`))
	for operation, body := range map[string]string{
		"AmazonSQS.SendMessageBatch":       `{"QueueUrl":"Q","Entries":7}`,
		"DynamoDB_20120810.BatchWriteItem": `[`,
		"DynamoDB_20120810.BatchGetItem":   `null`,
	} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", w.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Amz-Target", operation)
		request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=deliver/x")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s answered %s", operation, response.Status)
		}
	}
}

func TestParsePlanRefuses(t *testing.T) {
	for want, text := range map[string]string{
		"EOF":                   `{`,
		"unknown field":         `{"sede":1}`,
		`kind "odd"`:            `{"rules":[{"kind":"odd","probability":1}]}`,
		"probability 0 ":        `{"rules":[{"kind":"internal"}]}`,
		"probability 2 ":        `{"rules":[{"kind":"internal","probability":2}]}`,
		`service "s3"`:          `{"rules":[{"kind":"internal","probability":1,"service":"s3"}]}`,
		`what happens to "sqs"`: `{"rules":[{"kind":"late","probability":1,"service":"sqs"}]}`,
		"less than 0 seconds":   `{"rules":[{"kind":"late","probability":1,"seconds":-1}]}`,
		"no batch operation":    `{"rules":[{"kind":"partial","probability":1,"operation":"GetItem"}]}`,
	} {
		if _, err := fault.ParsePlan([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}
