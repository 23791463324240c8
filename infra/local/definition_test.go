package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

func TestTableSchema(t *testing.T) {
	text := func(name string) template.Key { return template.Key{Name: name, Type: "S"} }
	got := tableSchema(template.Table{
		Name: "T", PartitionKey: text("a"), SortKey: template.Key{Name: "b", Type: "N"}, StreamView: "NEW_IMAGE", TTLAttribute: "end",
		Global: []template.Index{{Name: "g", PartitionKey: text("c"), Projection: "INCLUDE", NonKeyAttributes: []string{"x"}}},
		Local:  []template.Index{{Name: "l", PartitionKey: text("a"), SortKey: text("d"), Projection: "ALL"}},
	})
	want := dynamodb.Schema{
		Name: "T", ARN: "arn:aws:dynamodb:us-east-1:000000000000:table/T", HashKey: dynamodb.Key{Name: "a", Type: "S"}, RangeKey: dynamodb.Key{Name: "b", Type: "N"},
		StreamView: "NEW_IMAGE", StreamARN: "arn:aws:dynamodb:us-east-1:000000000000:table/T/stream/local", TTLAttribute: "end",
		Indexes: []dynamodb.Index{
			{Name: "g", HashKey: dynamodb.Key{Name: "c", Type: "S"}, Projection: "INCLUDE", NonKeyAttributes: []string{"x"}},
			{Name: "l", Local: true, HashKey: dynamodb.Key{Name: "a", Type: "S"}, RangeKey: dynamodb.Key{Name: "d", Type: "S"}, Projection: "ALL"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

func TestQueueDefinition(t *testing.T) {
	got := queueDefinition(template.Queue{
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

func TestLambdaFunctionRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		function template.Function
		want     string
	}{
		"a variable that Lambda reserves":    {template.Function{Name: "F", Environment: map[string]string{"AWS_REGION": "x"}}, "F: Environment: the variable AWS_REGION is reserved"},
		"a function that is switched off":    {template.Function{Name: "F", Reserved: new(0)}, "F: ReservedConcurrentExecutions: 0"},
		"the Runtime API's own address, too": {template.Function{Name: "F", Environment: map[string]string{"AWS_LAMBDA_RUNTIME_API": "x"}}, "AWS_LAMBDA_RUNTIME_API"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := lambdaFunction(test.function, "/binaries", "http://127.0.0.1:1", false, false); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want it to say %q", err, test.want)
			}
		})
	}
}

func TestEventSourcesNeedTheFunctionsPermission(t *testing.T) {
	stream := template.Statement{Sid: "Stream", Effect: "Allow", Actions: []string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}, Resources: []string{template.StreamARN("T")}}
	list := template.Statement{Sid: "List", Effect: "Allow", Actions: []string{"dynamodb:ListStreams"}, Resources: []string{"*"}}
	failure := template.Statement{Sid: "Failure", Effect: "Allow", Actions: []string{"sqs:SendMessage"}, Resources: []string{template.QueueARN("D")}}
	consume := template.Statement{Sid: "Consume", Effect: "Allow", Actions: []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}, Resources: []string{template.QueueARN("Q")}}
	for name, test := range map[string]struct {
		statements []template.Statement
		want       string // part of the error; "": none
	}{
		"with all of them it is accepted":           {[]template.Statement{stream, list, failure, consume}, ""},
		"without reading the stream it is not":      {[]template.Statement{list, failure, consume}, "dynamodb:DescribeStream on " + template.StreamARN("T")},
		"without listing streams it is not":         {[]template.Statement{stream, failure, consume}, "dynamodb:ListStreams on *"},
		"without the failure queue it is not":       {[]template.Statement{stream, list, consume}, "sqs:SendMessage on " + template.QueueARN("D")},
		"without receiving messages it is not":      {[]template.Statement{stream, list, failure}, "sqs:ReceiveMessage on " + template.QueueARN("Q")},
		"a denial counts even where all is allowed": {[]template.Statement{stream, list, failure, consume, {Sid: "No", Effect: "Deny", Actions: []string{"sqs:Delete*"}, Resources: []string{"*"}}}, "sqs:DeleteMessage"},
	} {
		t.Run(name, func(t *testing.T) {
			functions := []template.Function{{
				Name: "F", Statements: test.statements,
				Streams:    []template.StreamSource{{EventSource: template.EventSource{Event: "Documents"}, Table: "T", FailureQueue: "D"}},
				QueueFeeds: []template.QueueSource{{EventSource: template.EventSource{Event: "Queue"}, Queue: "Q"}},
			}}
			policies, err := identity.New(identity.Options{Principals: principals(functions), Enforce: true})
			if err != nil {
				t.Fatal(err)
			}
			err = checkEventSources(functions, policies)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "":
				if diff := cmp.Diff(policies.Granted(), policies.Used(), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("what a mapping needs counts as used (-granted +used):\n%s", diff)
				}
			case err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "F: "):
				t.Errorf("error = %v, want it to name the function and %q", err, test.want)
			}
		})
	}
}
