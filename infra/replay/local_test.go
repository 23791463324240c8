package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/infra/local/localtest"
)

// do makes a request of the local stack and returns the answer, which must be a 2xx.
func do(t *testing.T, method, url, body string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", "dk_test_local")
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		t.Fatalf("%s %s answered %d %s, %v", method, url, response.StatusCode, answer, err)
	}
	return answer
}

// pointerToFirst is what Lambda leaves of the first record of the local stack's DocumentsTable.
const pointerToFirst = `{
	"requestContext": {"condition": "RecordAgeExceeded"},
	"DDBStreamBatchInfo": {
		"shardId": "shardId-00000000000000000000-00000000",
		"startSequenceNumber": "100000000000000000001", "endSequenceNumber": "100000000000000000001",
		"approximateArrivalOfFirstRecord": "2026-01-02T03:04:05Z", "batchSize": 1,
		"streamArn": "arn:aws:dynamodb:us-east-1:000000000000:table/DocumentsTable/stream/local"
	}
}`

func TestReplayDispatchesARecordOfTheLocalStack(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every function of the system")
	}
	received := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		received <- string(body)
	}))
	t.Cleanup(receiver.Close)
	api := localtest.Start(t, "-demo=false")
	// Nobody wants the change when it is made, so that what arrives later is replay's doing.
	do(t, http.MethodPut, api+"/_local/documents/doc_replayed", `{"status":"processed"}`)
	do(t, http.MethodPost, api+"/v1/webhooks/configs", `{"data":{"type":"webhook_config","attributes":{`+
		`"url":"`+receiver.URL+`","subscribed_statuses":["processed"]}}}`)
	var started struct {
		Endpoint string `json:"endpoint"`
	}
	if err := json.Unmarshal(do(t, http.MethodGet, api+"/_local/config", ""), &started); err != nil {
		t.Fatal(err)
	}
	queues := sqs.New(sqs.Options{
		Region: "us-east-1", BaseEndpoint: &started.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	pointer := &sqs.SendMessageInput{QueueUrl: aws.String(pointersOutput), MessageBody: aws.String(pointerToFirst)}
	if _, err := queues.SendMessage(t.Context(), pointer); err != nil {
		t.Fatal(err)
	}

	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-endpoint", started.Endpoint}, &out, &stderr); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, &out, &stderr)
	}
	if want := "1 pointers done, 0 expired, 0 failed"; !strings.Contains(stderr.String(), want) {
		t.Errorf("replay says\n%s%s\nwant %q", &out, &stderr, want)
	}
	select {
	case body := <-received:
		if !strings.Contains(body, "doc_replayed") {
			t.Errorf("received %s", body)
		}
	case <-time.After(time.Minute):
		t.Error("no webhook arrived")
	}
}
