package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestRolesMustAllowWhatLambdaDoesForTheFunction(t *testing.T) {
	function := template.Function{
		Name: "F", Role: "R", LogGroup: "G", Traced: true,
		Streams:    []template.StreamSource{{EventSource: template.EventSource{Event: "Documents"}, Table: "T", FailureQueue: "D"}},
		QueueFeeds: []template.QueueSource{{EventSource: template.EventSource{Event: "Queue"}, Queue: "Q"}},
	}
	needs := function.Needs()
	// check asks with a role that allows all needs but one, and whatever else.
	check := func(t *testing.T, without int, more ...template.Statement) (*identity.Policies, error) {
		f := function
		f.Statements = more
		for i, need := range needs {
			if i != without {
				f.Statements = append(f.Statements, template.Statement{Effect: "Allow", Actions: []string{need.Action}, Resources: []string{need.Resource}})
			}
		}
		policies, err := identity.New(identity.Options{Principals: principals([]template.Function{f}), Enforce: true})
		if err != nil {
			t.Fatal(err)
		}
		return policies, checkNeeds([]template.Function{f}, policies)
	}
	policies, err := check(t, -1)
	if err != nil {
		t.Errorf("with all of them: %v", err)
	}
	if diff := cmp.Diff(policies.Granted(), policies.Needed()); diff != "" {
		t.Errorf("each of them counts as needed (-granted +needed):\n%s", diff)
	}
	for i, need := range needs {
		if _, err := check(t, i); err == nil || !strings.HasPrefix(err.Error(), "F: "+need.Property+": ") || !strings.Contains(err.Error(), need.Action+" on "+need.Resource) {
			t.Errorf("without %s: %v, want an error that names function, property and action", need.Action, err)
		}
	}
	deny := template.Statement{Effect: "Deny", Actions: []string{"sqs:Delete*"}, Resources: []string{"*"}}
	if _, err := check(t, -1, deny); err == nil || !strings.Contains(err.Error(), "sqs:DeleteMessage") {
		t.Errorf("with a denial: %v, want an error", err)
	}
}
