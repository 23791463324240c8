package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
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
	limit := bound{10, 20, "the page"}
	tests := []struct {
		name         string
		small, large measurement
		want         string
	}{
		{"within the bound and as before", measurement{15, true, 10, 20}, measurement{15, true, 10, 20}, ""},
		{"a little more is no growth", measurement{15, true, 3, 6}, measurement{15, true, 4, 12}, ""},
		{"a list that was read to its end may grow to the bound", measurement{3, false, 2, 1}, measurement{15, true, 9, 20}, ""},
		{"one request too many", measurement{15, true, 10, 20}, measurement{15, true, 11, 20}, "11 requests are more than 10 (the page)"},
		{"too many units already on the small table", measurement{15, true, 10, 20.5}, measurement{15, true, 10, 20}, "20.5 units are more than 20.0 (the page)"},
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
		// 100 times 2, 100 times 4, 29 times 8, and one request for 100 configs.
		{"a hundred configs", 15, 100, false, bound{230, 114.5 + (200+400+29*8)/8.0 + 13, "page and 300 examined, 100 sources"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, listBound(test.size, test.sources, test.byKey), cmp.AllowUnexported(bound{})); diff != "" {
				t.Errorf("bound (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEntriesAreDistinctAndSpread(t *testing.T) {
	const total = 20_000
	seen, days := map[string]bool{}, map[string]bool{}
	statuses := map[webhook.DeliveryStatus]int{}
	for n := range total {
		e := entry(n, total)
		key := e.Message.ConfigID + e.Message.Event.ID
		if seen[key] {
			t.Fatalf("delivery %d is there twice", n)
		}
		seen[key] = true
		statuses[e.Status]++
		if n < total/10 {
			days[e.Message.RequestedAt.Format(time.DateOnly)] = true
		}
	}
	if len(days) != 20 && len(days) != 21 {
		t.Errorf("the first tenth is on %d days, want all 20", len(days))
	}
	for status, want := range map[webhook.DeliveryStatus]int{webhook.Delivered: 95, webhook.DeliveryFailed: 3, webhook.Retrying: 1, webhook.Canceled: 1} {
		if got := statuses[status] * 100 / total; got < want-1 || got > want+1 {
			t.Errorf("%d %% are %s, want about %d %%", got, status, want)
		}
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
		Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), RetryMaxAttempts: 1,
	}, meter)
	key := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "1"}}
	ctx, used := metered(t.Context())
	_, err1 := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String("T"), Key: key})
	_, err2 := client.Query(ctx, &dynamodb.QueryInput{TableName: aws.String("T")})
	_, err3 := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"T": {Keys: []map[string]types.AttributeValue{key}}}})
	_, err4 := client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("T"), Item: key})
	_, err5 := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("T"), Key: key}) // not metered
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	if requests, units := used.total(); requests != 4 || units != 7.5 {
		t.Errorf("%d requests and %.1f units, want 4 and 7.5", requests, units)
	}
	if _, err := client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String("T"), Key: key}); err == nil {
		t.Error("a request that the meter does not know was taken for nothing")
	}
	want := []string{"GetItem TOTAL", "Query TOTAL", "BatchGetItem TOTAL", "PutItem TOTAL", "GetItem TOTAL"}
	if diff := cmp.Diff(want, db.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// pages is an operation with a list of so many pages of one item each.
type pages int

func (p pages) Route() string { return "GET /v1/webhooks/configs" }

func (p pages) Serve(_ context.Context, r *api.Request) (*api.Response, error) {
	if p == 0 {
		return nil, jsonapi.NewError(400, "too_many_configs", "too many")
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
		{"a refusal that is expected", call{operation: pages(0), refused: "too_many_configs"}, measurement{}, false},
		{"a refusal that is not", call{operation: pages(0)}, measurement{}, true},
		{"an answer in place of a refusal", call{operation: pages(1), refused: "too_many_configs"}, measurement{}, true},
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
			err := b.walk(t.Context(), pages(3), many, "configs", map[string][]string{"after": {""}}, bound{1, 1, ""}, test.want)
			switch {
			case test.problem == "" && err != nil:
				t.Error(err)
			case test.problem != "" && (err == nil || !strings.Contains(err.Error(), test.problem)):
				t.Errorf("error %v, want one that says %q", err, test.problem)
			}
		})
	}
}
