package dynamodb_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

var sizes = []int{1_000, 100_000}

// filled returns a server whose orders table has this many items, ten to a customer.
func filled(b *testing.B, items int) *fixture {
	b.Helper()
	f := newFixture(b, nil)
	service := f.db.Service()
	for i := range items {
		if _, err := service.Serve(context.Background(), "PutItem", putBody(i), func(string, string) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	return f
}

func putBody(i int) []byte {
	return fmt.Appendf(
		nil,
		`{"TableName":"orders","Item":{"customer":{"S":"customer-%07d"},"number":{"N":"%d"},"state":{"S":"open"},"note":{"S":"%s"}}}`,
		i/10, i, strings.Repeat("x", 300),
	)
}

// BenchmarkServePut is a put without HTTP: decoding, storing, indexes, stream.
func BenchmarkServePut(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			service := filled(b, size).db.Service()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := service.Serve(context.Background(), "PutItem", putBody(i%size), func(string, string) error {
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPut is a put through the SDK and HTTP.
func BenchmarkPut(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := filled(b, size)
			note := s(strings.Repeat("x", 300))
			b.ResetTimer() // RunParallel times what comes before it, too
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					in := &dynamodb.PutItemInput{
						TableName: ptr("orders"), Item: order(fmt.Sprintf("customer-%07d", i%size/10), fmt.Sprint(i), item{"note": note}),
					}
					if _, err := f.PutItem(context.Background(), in); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkQuery reads the ten items of a customer through the SDK and HTTP.
func BenchmarkQuery(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := filled(b, size)
			for i := 0; b.Loop(); i++ {
				out, err := f.Query(context.Background(), query("customer = :c", item{
					":c": s(fmt.Sprintf("customer-%07d", i*7%(size/10))),
				}, nil))
				if err != nil {
					b.Fatal(err)
				}
				if out.Count != 10 {
					b.Fatalf("found %d items", out.Count)
				}
			}
		})
	}
}
