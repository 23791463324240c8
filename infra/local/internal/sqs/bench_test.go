package sqs

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkSendReceiveDelete is the life of one message, while many others are queued: it must not
// depend on how many.
func BenchmarkSendReceiveDelete(b *testing.B) {
	for _, queued := range []int{1_000, 100_000} {
		for _, groups := range []int{1, 1_000} {
			b.Run(fmt.Sprintf("queued=%d/groups=%d", queued, groups), func(b *testing.B) {
				broker := New(Options{})
				if err := broker.CreateQueue(Definition{Name: "q", ARN: "arn:q"}); err != nil {
					b.Fatal(err)
				}
				q := broker.byName["q"]
				send := func(i int) { q.send(content{body: "b", groupID: fmt.Sprint(i % groups)}, nil) }
				for i := range queued {
					send(i)
				}
				ctx := context.Background()
				for i := 0; b.Loop(); i++ {
					send(i)
					messages, err := broker.Receive(ctx, "arn:q", 1)
					if err != nil {
						b.Fatal(err)
					}
					if err := broker.Settle("arn:q", []string{messages[0].ReceiptHandle}, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkWire is the same through the operations, without HTTP.
func BenchmarkWire(b *testing.B) {
	for _, queued := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("queued=%d", queued), func(b *testing.B) {
			broker := New(Options{})
			if err := broker.CreateQueue(Definition{Name: "q"}); err != nil {
				b.Fatal(err)
			}
			for range queued {
				broker.byName["q"].send(content{body: "b"}, nil)
			}
			call := func(operation, body string) any {
				result, err := broker.Service().Serve(context.Background(), operation, []byte(body), func(string, string) error {
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
				return result
			}
			for b.Loop() {
				call("SendMessage", `{"QueueUrl":"q","MessageBody":"b"}`)
				received := call("ReceiveMessage", `{"QueueUrl":"q"}`).(receiveResult)
				call("DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"`+received.Messages[0].ReceiptHandle+`"}`)
			}
		})
	}
}
