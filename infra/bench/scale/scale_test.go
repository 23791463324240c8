package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestJudge(t *testing.T) {
	limit := bound{requests: 10, units: 20, why: "the page"}
	tests := []struct {
		name         string
		small, large measurement
		want         string
	}{
		{"within the bound and as before", measurement{15, true, 10, 20}, measurement{15, true, 10, 20}, ""},
		{"a little more is no growth", measurement{15, true, 3, 6}, measurement{15, true, 4, 12}, ""},
		{"a list that was read to its end may grow to the bound", measurement{3, false, 2, 1}, measurement{15, true, 9, 20}, ""},
		{"one request too many", measurement{15, true, 10, 20}, measurement{15, true, 11, 20}, "11 requests are more than 10 (the page)"},
		{
			name:  "too many units already on the small table",
			small: measurement{15, true, 10, 20.5},
			large: measurement{15, true, 10, 20},
			want:  "20.5 units are more than 20.0 (the page)",
		},
		{"growth within the bound", measurement{15, true, 3, 6}, measurement{15, true, 3, 12.5}, "6.0 units grew to 12.5"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := judge(limit, test.small, test.large); got != test.want {
				t.Errorf("judge: %q, want %q", got, test.want)
			}
		})
	}
}

func TestListBound(t *testing.T) {
	tests := []struct {
		name          string
		size, sources int
		byKey         bool
		want          bound
	}{
		// 16, 32, 64, 100, 100 and 100 items, and one request for the config.
		{"a config", 15, 1, false, bound{7, 3 + 412.0/8 + 1, "page and 300 examined, 1 sources"}},
		// The same, of whose 412 keys 315 are read: 15, 15, 30, 60, 100 and 95.
		{"a document, one by one", 15, 1, true, bound{13, 3 + 412.0/32 + 157.5 + 1, "page and 300 examined, 1 sources, one by one"}},
		// 100 times 2, 100 times 4, 29 times 8, and two requests for 100 configs and those that were deleted.
		{"a hundred configs", 15, 100, false, bound{231, 114.5 + (200+400+29*8)/8.0 + 13.5, "page and 300 examined, 100 sources"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, listBound(test.size, test.sources, test.byKey), cmp.AllowUnexported(bound{})); diff != "" {
				t.Errorf("bound (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEventBounds(t *testing.T) {
	tests := []struct {
		name string
		got  bound
		want bound
	}{
		{
			name: "19 queries of 17 events",
			got:  eventBound(15, false),
			want: bound{requests: 19, units: 19.0/2 + 19*17.0/8, why: "page and 300 examined"},
		},
		{
			name: "as many, and their items",
			got:  eventBound(15, true),
			want: bound{requests: 38, units: 19.0/2 + 19*17.0/32 + 19*17.0/2, why: "page and 300 examined, one by one"},
		},
		{
			name: "5 queries of the most that one reads",
			got:  eventBound(100, false),
			want: bound{requests: 5, units: 5.0/2 + 500.0/8, why: "page and 300 examined"},
		},
		{
			name: "7 queries of 52 events, their items, and 300 deliveries in 3 requests",
			got:  documentBound(),
			want: bound{requests: 17, units: 7.0/2 + 364.0/32 + 182 + 150, why: "50 events and 300 more, 300 deliveries, one by one"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.got, cmp.AllowUnexported(bound{})); diff != "" {
				t.Errorf("bound (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeliveriesAreDistinctAndSpread(t *testing.T) {
	const total = 20_000
	seen, days := map[webhook.Key]bool{}, map[string]bool{}
	statuses := map[webhook.DeliveryStatus]int{}
	for n := range total {
		o := newOutcome(n, total)
		key := o.Message.Key()
		if seen[key] {
			t.Fatalf("delivery %d is there twice", n)
		}
		seen[key] = true
		statuses[o.Status]++
		if n < total/10 {
			days[o.Message.RequestedAt.Format(time.DateOnly)] = true
		}
		if r := newRecord(n/perEvent, total/perEvent); r.Event != o.Message.Event || !slices.Contains(r.ConfigIDs, o.Message.ConfigID) {
			t.Fatalf("the event of delivery %d does not know it", n)
		}
	}
	if len(days) != 20 && len(days) != 21 {
		t.Errorf("the first tenth is on %d days, want all 20", len(days))
	}
	for status, want := range map[webhook.DeliveryStatus]int{
		webhook.Delivered: 95, webhook.DeliveryFailed: 3, webhook.Retrying: 1, webhook.Canceled: 1,
	} {
		if got := statuses[status] * 100 / total; got < want-1 || got > want+1 {
			t.Errorf("%d %% are %s, want about %d %%", got, status, want)
		}
	}
}

func TestAStepIsHeldToItsUnits(t *testing.T) {
	s := step{name: "deliver", want: tally{requests: 2, reads: 20, writes: 10}}
	for _, test := range []struct {
		name string
		got  tally
		bad  bool
	}{
		{name: "as it should be", got: tally{requests: 2, reads: 20, writes: 10}},
		{name: "in fewer requests", got: tally{requests: 1, reads: 20, writes: 10}},
		{name: "in more requests", got: tally{requests: 3, reads: 20, writes: 10}, bad: true},
		{name: "more is read", got: tally{requests: 2, reads: 20.5, writes: 10}, bad: true},
		{name: "more is written", got: tally{requests: 2, reads: 20, writes: 11}, bad: true},
		{name: "nothing is counted", got: tally{}, bad: true},
	} {
		if problem := s.judge(test.got); (problem != "") != test.bad {
			t.Errorf("%s: %q", test.name, problem)
		}
	}
	const want = "deliver: 2 requests, 20.0 read and 20.0 write units, not 2, 20.0 and 10.0"
	if problem := s.judge(tally{requests: 2, reads: 20, writes: 20}); problem != want {
		t.Errorf("%q, want %q", problem, want)
	}
}

// database answers every request as one that consumed 1.5 units, and keeps what was asked for.
type database struct{ asked []string }

func (d *database) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var request struct{ ReturnConsumedCapacity string }
	json.NewDecoder(r.Body).Decode(&request)
	d.asked = append(d.asked, operation+" "+request.ReturnConsumedCapacity)
	consumed := `{"TableName":"T","CapacityUnits":1.5}`
	if strings.HasPrefix(operation, "Batch") {
		consumed = "[" + consumed + "," + consumed + "]" // two tables
	}
	w.Write([]byte(`{"ConsumedCapacity":` + consumed + `}`))
}

func TestMeterCountsWhatRequestsConsume(t *testing.T) {
	db := &database{}
	server := httptest.NewServer(db)
	t.Cleanup(server.Close)
	client := dynamodb.New(dynamodb.Options{
		Region:           "us-east-1",
		BaseEndpoint:     &server.URL,
		Credentials:      credentials.NewStaticCredentialsProvider("a", "b", ""),
		RetryMaxAttempts: 1,
	}, meter)
	key := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "1"}}
	keys := map[string]types.KeysAndAttributes{"T": {Keys: []map[string]types.AttributeValue{key}}}
	statements := []types.BatchStatementRequest{{Statement: aws.String("INSERT")}}
	ctx, used := metered(t.Context())
	_, err1 := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("T"), Key: key})
	_, err2 := client.Query(ctx, &dynamodb.QueryInput{TableName: aws.String("T")})
	_, err3 := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: keys})
	_, err4 := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("T"), Item: key})
	_, err5 := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: aws.String("T"), Key: key})
	_, err6 := client.BatchExecuteStatement(ctx, &dynamodb.BatchExecuteStatementInput{Statements: statements})
	_, err7 := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("T"), Key: key}) // not metered
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	if got, want := used.total(), (tally{requests: 6, reads: 6, writes: 6}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String("T"), Key: key}); err == nil {
		t.Error("a request that the meter does not know was taken for nothing")
	}
	want := []string{
		"GetItem TOTAL", "Query TOTAL", "BatchGetItem TOTAL", "PutItem TOTAL", "UpdateItem TOTAL",
		"BatchExecuteStatement TOTAL", "GetItem TOTAL",
	}
	if diff := cmp.Diff(want, db.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// pages is an operation with a list of so many pages of one item each.
type pages int

func (p pages) Route() string { return "GET /v1/webhooks/configs" }

func (p pages) Serve(_ context.Context, r *api.Request) (*api.Response, error) {
	if p == 0 {
		return nil, jsonapi.NewError(400, "refused", "too many")
	}
	page := len(strings.TrimPrefix(r.RawQuery, "after=")) + 1
	links := &jsonapi.Links{}
	if page < int(p) {
		links.Next = aws.String("/list?after=" + strings.Repeat("x", page))
	}
	return &api.Response{Document: &jsonapi.Document{Data: []jsonapi.Resource{{ID: configID(page)}}, Links: links}}, nil
}

func TestCallsAreMeasuredOnTheirPage(t *testing.T) {
	tests := []struct {
		name    string
		call    call
		want    measurement
		wantErr bool
	}{
		{"the first page", call{operation: pages(3)}, measurement{items: 1, more: true}, false},
		{"a later page", call{operation: pages(3), page: 2}, measurement{items: 1}, false},
		{"the last page where there are not so many", call{operation: pages(3), page: 9}, measurement{items: 1}, false},
		{"a refusal", call{operation: pages(0)}, measurement{}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.call.measure(t.Context())
			if (err != nil) != test.wantErr {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(measurement{})); diff != "" {
				t.Errorf("measurement (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWalkFindsEachItemOnceAndInOrder(t *testing.T) {
	tests := []struct {
		name    string
		want    []string
		problem string
	}{
		{"all there", []string{configID(1), configID(2), configID(3)}, ""},
		{"one missing", []string{configID(1), configID(2), configID(3), configID(4)}, "not each once and in order"},
		{"another order", []string{configID(2), configID(1), configID(3)}, "not each once and in order"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			b := &bench{out: &out}
			after, most := map[string][]string{"after": {""}}, bound{requests: 1, units: 1}
			err := b.walk(t.Context(), pages(3), many, "configs", after, most, test.want)
			switch {
			case test.problem == "" && err != nil:
				t.Error(err)
			case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)):
				t.Errorf("error %v, want one that says %q", err, test.problem)
			}
		})
	}
}
