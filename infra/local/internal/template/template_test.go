package template

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const endpoint = "http://127.0.0.1:4566"

// readSystem reads the template of the system.
func readSystem(t *testing.T, parameters map[string]string) (*Template, error) {
	t.Helper()
	source, err := os.ReadFile("../../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return Parse(source, Options{Parameters: parameters, Endpoint: endpoint})
}

func function(t *testing.T, from *Template, name string) Function {
	t.Helper()
	i := slices.IndexFunc(from.Functions, func(f Function) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no function %s", name)
	}
	return from.Functions[i]
}

func TestSystemTemplateResolves(t *testing.T) {
	got, err := readSystem(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	mains, err := filepath.Glob("../../../../functions/*/main.go")
	if err == nil {
		var want, have []string
		for _, main := range mains {
			want = append(want, "functions/"+filepath.Base(filepath.Dir(main)))
		}
		for _, f := range got.Functions {
			have = append(have, f.Folder)
		}
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("folders of functions (-on disk +declared):\n%s", diff)
		}
	}

	authorizer := Authorizer{Name: "ApiKeyAuthorizer", Function: "AuthorizeFunction", Headers: []string{"X-Api-Key"}, Cache: time.Minute}
	api := &API{
		Name: "Api", Stage: "$default", Authorizers: map[string]Authorizer{"ApiKeyAuthorizer": authorizer},
		Default: &Throttle{RatePerSecond: 200, Burst: 400},
	}
	if diff := cmp.Diff(api, got.API); diff != "" {
		t.Errorf("API (-want +got):\n%s", diff)
	}

	resend := function(t, got, "ResendFunction")
	route := Route{Event: "Delivery", Method: "POST", Path: "/v1/webhooks/deliveries/{id}/resend", Authorizer: "ApiKeyAuthorizer"}
	if diff := cmp.Diff(route, resend.Routes[0]); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	if got, want := resend.Environment["DELIVERY_QUEUE_URL"], endpoint+"/000000000000/DeliveryQueue"; got != want {
		t.Errorf("DELIVERY_QUEUE_URL = %s, want %s", got, want)
	}

	dispatch := function(t, got, "DispatchFunction")
	streams := []StreamSource{{
		EventSource: EventSource{Event: "Documents", BatchSize: 100, ReportsBatchItems: true},
		Filters:     []string{`{"eventName":["INSERT","MODIFY"],"dynamodb":{"NewImage":{"status":{"S":[{"exists":true}]}}}}`},
		Table:       "DocumentsTable", Parallelization: 1, Bisect: true,
		MaxRetries: -1, MaxAge: 6 * time.Hour, FailureQueue: "DispatchFailureQueue",
	}}
	if diff := cmp.Diff(streams, dispatch.Streams); diff != "" {
		t.Errorf("streams of dispatch (-want +got):\n%s", diff)
	}
	if dispatch.Timeout != time.Minute || dispatch.MemoryMB != 256 || dispatch.Role != "DispatchRole" {
		t.Errorf("timeout, memory and role of dispatch = %s, %d, %s", dispatch.Timeout, dispatch.MemoryMB, dispatch.Role)
	}

	deliver := function(t, got, "DeliverFunction")
	feeds := []QueueSource{
		{
			EventSource:    EventSource{Event: "Fast", BatchSize: 10, ReportsBatchItems: true},
			Queue:          "DeliveryQueue",
			MaxConcurrency: 2,
		},
		{
			EventSource:    EventSource{Event: "Retry", BatchSize: 10, ReportsBatchItems: true},
			Queue:          "RetryQueue",
			MaxConcurrency: 2,
		},
	}
	if diff := cmp.Diff(feeds, deliver.QueueFeeds); diff != "" {
		t.Errorf("queues of deliver (-want +got):\n%s", diff)
	}
	open := Statement{
		Sid: "OpenCredentials", Effect: "Allow", Actions: []string{"secretsmanager:GetSecretValue"},
		Resources: []string{SecretARN("KeyringSecret")},
	}
	if !slices.ContainsFunc(deliver.Statements, func(s Statement) bool { return cmp.Equal(s, open) }) {
		t.Errorf("deliver's statements lack %+v", open)
	}

	if names := tableNames(got); !slices.Contains(names, "DocumentsTable") || len(names) != 5 {
		t.Errorf("tables = %v", names)
	}
	deliveryQueue := Queue{
		Name: "DeliveryQueue", Visibility: 6 * time.Minute, Retention: 14 * 24 * time.Hour, MaxMessageBytes: 1 << 20,
		DeadLetterQueue: "DeliveryDeadLetterQueue", MaxReceiveCount: 5,
	}
	if diff := cmp.Diff(deliveryQueue, got.Queues[0]); diff != "" {
		t.Errorf("delivery queue (-want +got):\n%s", diff)
	}
	secrets := []Secret{{
		Name: "KeyringSecret", Description: got.Secrets[0].Description,
		Generate: &Generate{Template: `{"primary":"k1"}`, Key: "k1", Length: 64, ExcludePunctuation: true},
	}}
	if diff := cmp.Diff(secrets, got.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	for _, ignored := range got.Ignored {
		if ignored.Reason == "" || ignored.Where == "" {
			t.Errorf("ignored without a reason: %+v", ignored)
		}
	}
}

func tableNames(from *Template) []string {
	var names []string
	for _, table := range from.Tables {
		names = append(names, table.Name)
	}
	return names
}

func TestSystemTemplateWithParameters(t *testing.T) {
	for name, test := range map[string]struct {
		parameters map[string]string
		wants      []string // parts of the error; none: no error
	}{
		"production is accepted": {map[string]string{"Environment": "production"}, nil},
		"an unknown parameter is refused": {
			map[string]string{"Enviroment": "production"}, []string{"Enviroment", "no such parameter"},
		},
		"a value that is not allowed is refused": {
			map[string]string{"Environment": "staging"}, []string{"Environment", "sandbox, production"},
		},
		"a value that does not match is refused": {map[string]string{"RetryDelays": "1,2"}, []string{"RetryDelays", "must match"}},
		"a number below the minimum is refused": {
			map[string]string{"DeliverConcurrency": "1"},
			[]string{"Fast.Properties.ScalingConfig.MaximumConcurrency", "between 2 and 1000"},
		},
		"a text for a number is refused": {map[string]string{"DeliverConcurrency": "many"}, []string{"DeliverConcurrency", "number"}},
		"a rule that does not hold is refused": {
			map[string]string{"DocumentsTableName": "theirs"}, []string{"ExistingDocumentsTable", "DocumentsTableArn"},
		},
		"all problems are told at once": {
			map[string]string{"Environment": "staging", "RetryDelays": "x"}, []string{"Environment", "RetryDelays"},
		},
		"a table from elsewhere is not there to read": {
			map[string]string{
				"DocumentsTableName": "theirs", "DocumentsTableArn": "arn:aws:dynamodb:us-east-1:1:table/theirs",
				"DocumentsTableStreamArn": "arn:aws:dynamodb:us-east-1:1:table/theirs/stream/1",
			},
			[]string{"DispatchFunction: Properties.Events.Documents.Properties.Stream", "table/theirs/stream/1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readSystem(t, test.parameters)
			if len(test.wants) == 0 && err != nil {
				t.Fatal(err)
			}
			for _, want := range test.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestProductionProtectsTables(t *testing.T) {
	for environment, want := range map[string]bool{"sandbox": false, "production": true} {
		got, err := readSystem(t, map[string]string{"Environment": environment})
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range got.Tables {
			if table.Protected != want {
				t.Errorf("%s: protection of %s = %v, want %v", environment, table.Name, table.Protected, want)
			}
		}
	}
}

func TestTable(t *testing.T) {
	got, err := readSystem(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string) Key { return Key{Name: name, Type: "S"} }
	want := []Table{
		{
			Name: "ConfigsTable", PartitionKey: text("organization_id"), SortKey: text("id"), TTLAttribute: "expires_at",
			Local: []Index{{Name: "by_state", PartitionKey: text("organization_id"), SortKey: text("state_id"), Projection: "ALL"}},
		},
		{Name: "DocumentsTable", PartitionKey: text("id"), Stream: true},
	}
	if diff := cmp.Diff(want, got.Tables[:2], cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

// TestEveryNameOfTheSystemTemplateCounts misspells one name after the other: each must be an error, but
// for those that the template's author is free to choose and what is listed as without effect.
func TestEveryNameOfTheSystemTemplateCounts(t *testing.T) {
	source, err := os.ReadFile("../../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseYAML(source)
	if err != nil {
		t.Fatal(err)
	}
	parse := func() *reader {
		// With tracing and a key, so that no policy is left out.
		options := Options{Endpoint: endpoint, Parameters: map[string]string{
			"Tracing": "Active", "DocumentsTableKeyArn": "arn:aws:kms:us-east-1:000000000000:key/1",
		}}
		r := &reader{scope: newScope(options), result: &Template{}}
		r.read(root)
		return r
	}
	ignored := map[string]bool{}
	for _, i := range parse().result.Ignored {
		ignored[i.Where] = true
	}
	chosen := func(path []string) bool {
		parent := path[len(path)-2]
		return len(path) == 2 || // a parameter, condition, rule, resource or output
			parent == "Variables" || // of a function's environment
			parent == "Events" ||
			slices.Contains(path, "Architectures") || // which is without effect, in Globals too
			path[0] == "Mappings" || // whose keys are looked up, or kept for another value of a parameter
			// The text for a table that exists already is not used here, and a call that is none is an object.
			path[len(path)-1] == "Ref" && slices.Contains(path, "Fn::If") ||
			slices.Contains(path, "Metadata") && path[len(path)-1] != "BuildMethod"
	}
	counted := 0
	var visit func(n *node, path []string)
	visit = func(n *node, path []string) {
		if ignored[place(path)] {
			return
		}
		for i := range n.fields {
			name := n.fields[i].name
			here := below(path, name)
			visit(n.fields[i].value, here)
			if len(path) == 0 || path[0] == "Metadata" || chosen(here) || ignored[place(here)] {
				continue
			}
			counted++
			n.fields[i].name = name + "X"
			problems := parse().problems
			n.fields[i].name = name
			named := func(e *Error) bool { return strings.Contains(e.Where, path[1]) }
			if len(problems) == 0 {
				t.Errorf("%s may be misspelt", place(here))
			} else if path[0] == "Resources" && !slices.ContainsFunc(problems, named) {
				t.Errorf("misspelling %s is reported elsewhere: %v", place(here), problems[0])
			}
		}
		for i, item := range n.items {
			visit(item, below(path, fmt.Sprintf("[%d]", i)))
		}
	}
	visit(root, nil)
	if counted < 300 {
		t.Errorf("%d names were misspelt, which cannot be all", counted)
	}
}

func TestNeeds(t *testing.T) {
	got, err := readSystem(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	active, err := readSystem(t, map[string]string{"Tracing": "Active"})
	if err != nil {
		t.Fatal(err)
	}
	logs := "arn:aws:logs:us-east-1:000000000000:log-group:LogGroup:log-stream:local"
	stream := StreamARN("DocumentsTable")
	shared := []Need{
		{"Properties.LoggingConfig", "logs:CreateLogStream", logs},
		{"Properties.LoggingConfig", "logs:PutLogEvents", logs},
	}
	consume := func(event, queue string) []Need {
		where := "Properties.Events." + event
		return []Need{
			{where, "sqs:ReceiveMessage", QueueARN(queue)},
			{where, "sqs:DeleteMessage", QueueARN(queue)},
			{where, "sqs:GetQueueAttributes", QueueARN(queue)},
		}
	}
	traced := []Need{{"Properties.Tracing", "xray:PutTraceSegments", "*"}, {"Properties.Tracing", "xray:PutTelemetryRecords", "*"}}
	for name, want := range map[string][]Need{
		"AuthorizeFunction": nil, // its role is SAM's
		"DispatchFunction": slices.Concat(shared, []Need{
			{"Properties.Events.Documents", "dynamodb:DescribeStream", stream},
			{"Properties.Events.Documents", "dynamodb:GetRecords", stream},
			{"Properties.Events.Documents", "dynamodb:GetShardIterator", stream},
			{"Properties.Events.Documents", "dynamodb:ListStreams", "*"},
			{"Properties.Events.Documents", "sqs:SendMessage", QueueARN("DispatchFailureQueue")},
		}, consume("HeldUp", "DispatchRetryQueue")),
		"DeliverFunction": slices.Concat(shared, consume("Fast", "DeliveryQueue"), consume("Retry", "RetryQueue")),
	} {
		if diff := cmp.Diff(want, function(t, got, name).Needs()); diff != "" {
			t.Errorf("what Lambda does for %s (-want +got):\n%s", name, diff)
		}
		for _, need := range traced {
			if want, got := want != nil, slices.Contains(function(t, active, name).Needs(), need); got != want {
				t.Errorf("%s of %s with active tracing: %v, want %v", need.Action, name, got, want)
			}
		}
	}
}

// prefix is a template up to its resources.
const prefix = `Transform: AWS::Serverless-2016-10-31
Parameters:
  Name: {Type: String, Default: docs}
  Size: {Type: Number, Default: 5}
Mappings:
  Sizes:
    docs: {large: 50, small: 5}
Conditions:
  Yes: !Equals [!Ref Name, docs]
  No: !Not [!Condition Yes]
  Both: !And [!Condition Yes, !Condition No]
  Either: !Or [!Condition Yes, !Condition No]
  Long:
    Fn::And:
      - Condition: Yes
      - Fn::Not: [Fn::Equals: [{Ref: Size}, "6"]]
Resources:
  Queue:
    Type: AWS::SQS::Queue
  Topic:
    Type: AWS::SNS::Topic
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_AND_OLD_IMAGES}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]
  Logs:
    Type: AWS::Logs::LogGroup
  Absent:
    Type: AWS::SQS::Queue
    Condition: No
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties:
      SecretString: s
      Description: `

func TestIntrinsicFunctions(t *testing.T) {
	for expression, want := range map[string]string{
		`plain`:                            "plain",
		`5`:                                "5",
		`true`:                             "true",
		`!Ref Name`:                        "docs",
		`{Ref: Name}`:                      "docs",
		`!Ref Size`:                        "5",
		`!Ref AWS::Region`:                 "us-east-1",
		`!Ref AWS::AccountId`:              "000000000000",
		`!Ref AWS::Partition`:              "aws",
		`!Ref AWS::URLSuffix`:              "amazonaws.com",
		`!Ref "AWS::StackName"`:            "docuhook",
		`!Ref Queue`:                       endpoint + "/000000000000/Queue",
		`!Ref Table`:                       "Table",
		`!Ref Topic`:                       "arn:aws:sns:us-east-1:000000000000:Topic",
		`!Ref Role`:                        "Role",
		`!GetAtt Queue.Arn`:                "arn:aws:sqs:us-east-1:000000000000:Queue",
		`!GetAtt [Queue, QueueName]`:       "Queue",
		`!GetAtt Table.Arn`:                "arn:aws:dynamodb:us-east-1:000000000000:table/Table",
		`!GetAtt Table.StreamArn`:          "arn:aws:dynamodb:us-east-1:000000000000:table/Table/stream/local",
		`!GetAtt Role.Arn`:                 "arn:aws:iam::000000000000:role/Role",
		`!GetAtt Logs.Arn`:                 "arn:aws:logs:us-east-1:000000000000:log-group:Logs:*",
		`!Sub "${Name}-${AWS::Region}"`:    "docs-us-east-1",
		`!Sub "${Queue.Arn}/${!Literal}"`:  "arn:aws:sqs:us-east-1:000000000000:Queue/${Literal}",
		`{"Fn::Sub": "${Table}"}`:          "Table",
		`!If [Yes, a, b]`:                  "a",
		`!If [No, a, b]`:                   "b",
		`!If [Both, a, b]`:                 "b",
		`!If [Either, a, b]`:               "a",
		`!If [Long, a, b]`:                 "a",
		`{"Fn::If": [No, !Ref Absent, b]}`: "b",
		`!If [Yes, !If [No, 1, 2], 3]`:     "2",

		`!FindInMap [Sizes, !Ref Name, large]`: "50",
	} {
		t.Run(expression, func(t *testing.T) {
			got, err := Parse([]byte(prefix+expression), Options{Endpoint: endpoint})
			if err != nil {
				t.Fatal(err)
			}
			if got.Secrets[0].Description != want {
				t.Errorf("got %q, want %q", got.Secrets[0].Description, want)
			}
		})
	}
}

func TestNoValueRemovesTheProperty(t *testing.T) {
	got, err := Parse([]byte(prefix+`!If [No, x, !Ref AWS::NoValue]`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if description := got.Secrets[0].Description; description != "" {
		t.Errorf("description = %q, want none", description)
	}
}

func TestIntrinsicFunctionErrors(t *testing.T) {
	for expression, want := range map[string]string{
		`!Ref Nothing`:                   "Nothing is neither a parameter nor a resource",
		`!Ref Absent`:                    "Absent does not exist",
		`!GetAtt Queue.Color`:            "the attribute Color of Queue",
		`!GetAtt Nothing.Arn`:            "Nothing is neither",
		`!GetAtt Queue`:                  "must be a logical id, a dot and an attribute",
		`!Sub "${Nothing}"`:              "Nothing is neither",
		`!Sub "${Name"`:                  "lacks a closing brace",
		`!Sub [a]`:                       "needs a text",
		`!If [Nothing, a, b]`:            "there is no condition Nothing",
		`!If [Yes, a]`:                   "needs a condition's name and two values",
		`!Join [",", [a, b]]`:            "Fn::Join is not supported by the local stack",
		`!Select [0, [a]]`:               "Fn::Select is not supported by the local stack",
		`!Split [",", a]`:                "Fn::Split is not supported by the local stack",
		`!Sub ["${a}", {a: b}]`:          "does not support variables of its own",
		`!If [!Contains [[a], a], b, c]`: "needs a condition's name",
		`!Equals [a, b]`:                 "belongs into Conditions",
		`!ImportValue x`:                 "Fn::ImportValue is not supported",
		`!FindInMap [Sizes, b, c]`:       "Mappings has no text at Sizes.b.c",
		`!FindInMap [Sizes, large]`:      "needs the name of a mapping and two keys",
		`{"Fn::Sub": a, "Fn::If": b}`:    "must stand alone",
		`!If [Yes, a, !Ref Nothing]`:     "Nothing is neither",
		`!If [No, !Foo a, b]`:            "Fn::Foo is not supported",
	} {
		t.Run(expression, func(t *testing.T) {
			_, err := Parse([]byte(prefix+expression), Options{Endpoint: endpoint})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error = %v, want it to say %q", err, want)
			}
			var one *Error
			if errors.As(err, &one) && one.Line == 0 {
				t.Errorf("%v does not name a line", err)
			}
		})
	}
}

// TestKeyOfAnExistingTable: who reads documents, or their stream, may decrypt them, and nobody else.
func TestKeyOfAnExistingTable(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:000000000000:key/1"
	for _, parameters := range []map[string]string{nil, {"DocumentsTableKeyArn": key}} {
		system, err := readSystem(t, parameters)
		if err != nil {
			t.Fatal(err)
		}
		var may []string
		for _, f := range system.Functions {
			for _, s := range f.Statements {
				if slices.Contains(s.Actions, "kms:Decrypt") && slices.Contains(s.Resources, key) {
					may = append(may, f.Name)
				}
			}
		}
		var want []string
		if parameters != nil {
			want = []string{"ResendFunction", "DispatchFunction"}
		}
		if diff := cmp.Diff(want, may); diff != "" {
			t.Errorf("with %v: %s", parameters, diff)
		}
	}
}
