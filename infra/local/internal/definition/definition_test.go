package definition

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

func TestTable(t *testing.T) {
	text := func(name string) template.Key { return template.Key{Name: name, Type: "S"} }
	got := Table(template.Table{
		Name: "T", PartitionKey: text("a"), SortKey: template.Key{Name: "b", Type: "N"}, Stream: true, TTLAttribute: "end",
		Global: []template.Index{{Name: "g", PartitionKey: text("c"), Projection: "INCLUDE", NonKeyAttributes: []string{"x"}}},
		Local:  []template.Index{{Name: "l", PartitionKey: text("a"), SortKey: text("d"), Projection: "ALL"}},
	})
	want := dynamodb.Schema{
		Name: "T", ARN: "arn:aws:dynamodb:us-east-1:000000000000:table/T",
		HashKey: dynamodb.Key{Name: "a", Type: "S"}, RangeKey: dynamodb.Key{Name: "b", Type: "N"},
		Stream: true, StreamARN: "arn:aws:dynamodb:us-east-1:000000000000:table/T/stream/local", TTLAttribute: "end",
		Indexes: []dynamodb.Index{
			{Name: "g", HashKey: dynamodb.Key{Name: "c", Type: "S"}, Projection: "INCLUDE", NonKeyAttributes: []string{"x"}},
			{
				Name:       "l",
				Local:      true,
				HashKey:    dynamodb.Key{Name: "a", Type: "S"},
				RangeKey:   dynamodb.Key{Name: "d", Type: "S"},
				Projection: "ALL",
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

func TestQueue(t *testing.T) {
	got := Queue(template.Queue{
		Name: "Q", Visibility: time.Minute, Retention: time.Hour, Delay: 2 * time.Second, ReceiveWait: 20 * time.Second,
		MaxMessageBytes: 2048, DeadLetterQueue: "D", MaxReceiveCount: 5,
	})
	want := sqs.Definition{
		Name: "Q", ARN: "arn:aws:sqs:us-east-1:000000000000:Q", VisibilityTimeout: new(60), MessageRetentionPeriod: new(3600),
		DelaySeconds: new(2), ReceiveMessageWaitTimeSeconds: new(20), MaximumMessageSize: new(2048),
		Redrive: &sqs.Redrive{DeadLetterTargetARN: "arn:aws:sqs:us-east-1:000000000000:D", MaxReceiveCount: 5},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("definition (-want +got):\n%s", diff)
	}
}

func TestFunctionRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		function template.Function
		want     string
	}{
		"a variable that Lambda reserves": {
			template.Function{Name: "F", Environment: map[string]string{"AWS_REGION": "x"}},
			"F: Environment: the variable AWS_REGION is reserved",
		},
		"a function that is switched off": {template.Function{Name: "F", Reserved: new(0)}, "F: ReservedConcurrentExecutions: 0"},
		"the Runtime API's own address, too": {
			template.Function{Name: "F", Environment: map[string]string{"AWS_LAMBDA_RUNTIME_API": "x"}}, "AWS_LAMBDA_RUNTIME_API",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Function(test.function, Options{Binaries: "/binaries", Endpoint: "http://127.0.0.1:1", Clock: clock.New(1, nil)})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want it to say %q", err, test.want)
			}
		})
	}
}

func TestFunctionIsToldAFastClock(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for scale, want := range map[float64]bool{1: false, 60: true} {
		f, err := Function(template.Function{Name: "F"}, Options{Clock: clock.New(scale, func() time.Time { return start })})
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(f.Env, "LOCAL_CLOCK=2026-01-02T03:04:05Z 60 0s"); got != want {
			t.Errorf("%g times as fast: told is %v, want %v, in %q", scale, got, want, f.Env)
		}
	}
}
