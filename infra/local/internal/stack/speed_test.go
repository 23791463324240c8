package stack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// These benchmarks are the stack's ceiling: the services as they are served, over HTTP on loopback, with
// policies, stream and journal, and with a client that does as little as possible. It runs in the same
// process and so takes its share of the processors.

// sizes are how much there is beforehand: the figures must not depend on it.
var sizes = []int{1_000, 100_000}

// lean is a client that neither signs nor parses.
type lean struct {
	client *http.Client
	url    string
}

func (l lean) call(b *testing.B, target, body string) []byte {
	request, err := http.NewRequest("POST", l.url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", target)
	request.Header.Set(
		"Authorization",
		"AWS4-HMAC-SHA256 Credential="+identity.AccessKey("Writer")+"/20260102/us-east-1/any/aws4_request, SignedHeaders=host, Signature=0",
	)
	response, err := l.client.Do(request)
	if err != nil {
		b.Error(err)
		return nil
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.Errorf("%s answered %s %s (%v)", target, response.Status, answer, err)
	}
	return answer
}

// serveServices serves a table with a stream and a queue.
func serveServices(b *testing.B) (lean, *dynamodb.Database, *sqs.Broker) {
	b.Helper()
	told := journal.New(journal.Options{})
	go told.Run(b.Context(), nil) // nobody watches, so nothing is asked
	database := dynamodb.New(dynamodb.Options{})
	if err := database.CreateTable(
		dynamodb.Schema{Name: "Documents", HashKey: dynamodb.Key{Name: "id", Type: attribute.String}, Stream: true},
	); err != nil {
		b.Fatal(err)
	}
	broker := sqs.New(sqs.Options{Observe: told.Queued})
	if err := broker.CreateQueue(sqs.Definition{Name: "Queue"}); err != nil {
		b.Fatal(err)
	}
	policies, err := identity.New(identity.Options{Enforce: true, Principals: []identity.Principal{{
		Function: "Writer", Statements: []template.Statement{
			{Sid: "All", Effect: "Allow", Actions: []string{"dynamodb:PutItem", "sqs:*"}, Resources: []string{"*"}},
		}}}})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(&awsjson.Server{Policies: policies, Services: map[string]awsjson.Service{
		"DynamoDB_20120810": database.Service(), "AmazonSQS": broker.Service(),
	}})
	b.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	b.Cleanup(client.CloseIdleConnections)
	return lean{client, server.URL}, database, broker
}

// measure returns a function that reports how many things a second there were, and how much
// processor time each took, client included, which is what can be compared on a busy machine.
func measure(b *testing.B) func(b *testing.B, each int, unit string) {
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before := used()
	return func(b *testing.B, each int, unit string) {
		n := float64(each * b.N)
		b.ReportMetric(n/b.Elapsed().Seconds(), unit)
		b.ReportMetric(float64((used()-before).Nanoseconds())/n, "cpu-ns/one")
	}
}

func documentPut(i int, status string) string {
	return fmt.Sprintf(
		`{"TableName":"Documents","Item":{"id":{"S":"doc_%07d"},"organization_id":{"S":"org_1"},"status":{"S":"%s"},`+
			`"updated_at":{"S":"2026-01-02T03:04:05.678Z"},"pages":{"N":"12"}}}`,
		i, status,
	)
}

// BenchmarkPuts changes documents, each change a record of the stream.
func BenchmarkPuts(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("items=%d", size), func(b *testing.B) {
			client, database, _ := serveServices(b)
			for i := range size {
				put := []byte(documentPut(i, "pending"))
				if _, err := database.Service().Serve(b.Context(), "PutItem", put, Administrator); err != nil {
					b.Fatal(err)
				}
			}
			b.SetParallelism(4)
			report := measure(b)
			b.ResetTimer() // RunParallel times what comes before it, too
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					client.call(b, "DynamoDB_20120810.PutItem", documentPut(i%size, "status"+fmt.Sprint(i)))
				}
			})
			report(b, 1, "puts/s")
		})
	}
}

// BenchmarkMessages sends, receives and deletes messages, ten in a call, while others are queued.
func BenchmarkMessages(b *testing.B) {
	const batch = 10
	for _, size := range sizes {
		b.Run(fmt.Sprintf("queued=%d", size), func(b *testing.B) {
			client, _, broker := serveServices(b)
			for range size {
				if _, err := broker.Send("arn:aws:sqs:us-east-1:000000000000:Queue", "work"); err != nil {
					b.Fatal(err)
				}
			}
			text := strings.Repeat("x", 400)
			b.SetParallelism(4)
			report := measure(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var send bytes.Buffer
				send.WriteString(`{"QueueUrl":"Queue","Entries":[`)
				for i := range batch {
					fmt.Fprintf(&send, `{"Id":"%d","MessageBody":"%s","MessageGroupId":"config_%d"},`, i, text, i)
				}
				send.Truncate(send.Len() - 1)
				send.WriteString(`]}`)
				for pb.Next() {
					client.call(b, "AmazonSQS.SendMessageBatch", send.String())
					var received struct {
						Messages []struct{ ReceiptHandle string }
					}
					if err := json.Unmarshal(
						client.call(b, "AmazonSQS.ReceiveMessage", `{"QueueUrl":"Queue","MaxNumberOfMessages":10}`), &received,
					); err != nil {
						b.Error(err)
						return
					}
					var remove strings.Builder
					for i, m := range received.Messages {
						fmt.Fprintf(&remove, `,{"Id":"%d","ReceiptHandle":"%s"}`, i, m.ReceiptHandle)
					}
					client.call(b, "AmazonSQS.DeleteMessageBatch", `{"QueueUrl":"Queue","Entries":[`+remove.String()[1:]+`]}`)
				}
			})
			report(b, batch, "messages/s")
		})
	}
}
