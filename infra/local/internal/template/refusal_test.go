package template

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimal holds one function with every kind of event source, to be broken by a replacement.
const minimal = `Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: provided.al2023
    Handler: bootstrap
    Timeout: 7
    Environment:
      Variables: {SHARED: global, OWN: global}
    Policies:
      - Statement: [{Sid: Global, Effect: Allow, Action: a:B, Resource: "*"}]
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      StageName: $default
      DefaultRouteSettings: {ThrottlingRateLimit: 1.5, ThrottlingBurstLimit: 2}
      Auth:
        DefaultAuthorizer: Keys
        Authorizers:
          Keys:
            FunctionArn: !GetAtt F.Arn
            AuthorizerPayloadFormatVersion: "2.0"
            EnableSimpleResponses: true
            EnableFunctionDefaultPermissions: true
            Identity:
              Headers: [X-Api-Key]
  F:
    Type: AWS::Serverless::Function
    Metadata: {BuildMethod: go1.x}
    Properties:
      CodeUri: ./functions/f/
      Environment:
        Variables: {OWN: own}
      Policies:
        - Statement:
            - Sid: Own
              Effect: Allow
              Action: [a:C, a:D*]
              Resource: !GetAtt Queue.Arn
      Events:
        Http:
          Type: HttpApi
          Properties:
            ApiId: !Ref Api
            Method: get
            Path: /open
            Auth: {Authorizer: NONE}
        Stream:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Table.StreamArn
            StartingPosition: TRIM_HORIZON
        Feed:
          Type: SQS
          Properties:
            Queue: !GetAtt Queue.Arn
            BatchSize: 3
  Queue:
    Type: AWS::SQS::Queue
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - {AttributeName: id, AttributeType: S}
      KeySchema:
        - {AttributeName: id, KeyType: HASH}
      StreamSpecification:
        StreamViewType: NEW_AND_OLD_IMAGES
`

func TestMinimalTemplate(t *testing.T) {
	got, err := Parse([]byte(minimal), Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	f := got.Functions[0]
	if diff := cmp.Diff(map[string]string{"SHARED": "global", "OWN": "own"}, f.Environment); diff != "" {
		t.Errorf("environment, merged with Globals (-want +got):\n%s", diff)
	}
	statements := []Statement{
		{Sid: "Global", Effect: "Allow", Actions: []string{"a:B"}, Resources: []string{"*"}},
		{Sid: "Own", Effect: "Allow", Actions: []string{"a:C", "a:D*"}, Resources: []string{"arn:aws:sqs:us-east-1:000000000000:Queue"}},
	}
	if diff := cmp.Diff(statements, f.Statements[:2]); diff != "" {
		t.Errorf("statements, Globals first (-want +got):\n%s", diff)
	}
	var sids []string
	for _, s := range f.Statements[2:] {
		sids = append(sids, s.Sid)
	}
	if diff := cmp.Diff([]string{"AWSLambdaDynamoDBExecutionRole", "AWSLambdaSQSQueueExecutionRole"}, sids); diff != "" {
		t.Errorf("statements that SAM adds (-want +got):\n%s", diff)
	}
	if f.AsyncRetries != 2 || f.AsyncMaxAge != 6*time.Hour || f.RecursiveLoop {
		t.Errorf("by default %d repeats within %s, loops allowed: %t", f.AsyncRetries, f.AsyncMaxAge, f.RecursiveLoop)
	}
	if f.Folder != "functions/f" || f.Timeout.Seconds() != 7 || f.MemoryMB != 128 {
		t.Errorf("folder, timeout, memory = %s, %s, %d", f.Folder, f.Timeout, f.MemoryMB)
	}
	route := f.Routes[0]
	if route.Method != "GET" || route.Authorizer != "" {
		t.Errorf("route = %+v", route)
	}
	if diff := cmp.Diff(&Throttle{RatePerSecond: 1.5, Burst: 2}, got.API.Default); diff != "" {
		t.Errorf("throttle (-want +got):\n%s", diff)
	}
	if source := f.Streams[0]; source.BatchSize != 100 || source.MaxRetries != -1 || source.MaxAge != -1 || source.Parallelization != 1 {
		t.Errorf("defaults of a stream = %+v", source)
	}
}

// scheduled is what makes a schedule with these properties the event before Feed.
func scheduled(properties string) string {
	return "        Tick: {Type: Schedule, Properties: {" + properties + "}}\n        Feed:\n"
}

func TestSchedules(t *testing.T) {
	for name, test := range map[string]struct {
		properties string
		want       Schedule
	}{
		"each minute": {properties: "Schedule: rate(1 minute)", want: Schedule{Event: "Tick", Every: time.Minute, Enabled: true}},
		"off": {
			properties: "Schedule: rate(12 hours), Enabled: false, RetryPolicy: {MaximumRetryAttempts: 0}",
			want:       Schedule{Event: "Tick", Every: 12 * time.Hour},
		},
		"off by its state": {properties: "Schedule: rate(2 days), State: DISABLED", want: Schedule{Event: "Tick", Every: 48 * time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			source := strings.NewReplacer("        Feed:\n", scheduled(test.properties), "      CodeUri", `      RecursiveLoop: Allow
      EventInvokeConfig: {MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60}
      CodeUri`).Replace(minimal)
			got, err := Parse([]byte(source), Options{Endpoint: endpoint})
			if err != nil {
				t.Fatal(err)
			}
			f := got.Functions[0]
			if diff := cmp.Diff([]Schedule{test.want}, f.Schedules); diff != "" {
				t.Errorf("schedules (-want +got):\n%s", diff)
			}
			if got, want := RuleARN("F", f.Schedules[0]), "arn:aws:events:us-east-1:000000000000:rule/FTick"; got != want {
				t.Errorf("ARN %s, want %s", got, want)
			}
			if f.AsyncRetries != 0 || f.AsyncMaxAge != time.Minute || !f.RecursiveLoop {
				t.Errorf("%d repeats within %s, loops allowed: %t", f.AsyncRetries, f.AsyncMaxAge, f.RecursiveLoop)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		old, new string
		wants    []string
	}{
		"an unknown property of a function": {
			"      CodeUri", "      Layers: []\n      CodeUri", []string{"line 31: F: Properties.Layers", "not supported"},
		},
		"an unknown property of a queue": {
			"    Type: AWS::SQS::Queue", "    Type: AWS::SQS::Queue\n    Properties: {Colour: red}", []string{"Queue: Properties.Colour"},
		},
		"an unknown property of a table": {
			"      BillingMode", "      Replicas: []\n      BillingMode", []string{"Table: Properties.Replicas"},
		},
		"an unknown property of an event": {
			"            BatchSize: 3", "            BatchSize: 3\n            TumblingWindowInSeconds: 3",
			[]string{"F: Properties.Events.Feed.Properties.TumblingWindowInSeconds"},
		},
		"an unknown property of an API": {
			"      StageName", "      CorsConfiguration: true\n      StageName", []string{"Api: Properties.CorsConfiguration"},
		},
		"an unknown attribute of a resource": {"    Metadata:", "    UpdatePolicy: {}\n    Metadata:", []string{"F: UpdatePolicy"}},
		"an unknown section":                 {"Resources:", "Hooks: {}\nResources:", []string{"template: Hooks"}},
		"an unknown section of Globals":      {"Globals:", "Globals:\n  Api: {}", []string{"Globals: Api"}},
		"a misspelt property in Globals":     {"    Timeout: 7", "    Timeuot: 7", []string{"F: Properties.Timeuot"}},
		"an unknown resource type": {
			"    Type: AWS::SQS::Queue", "    Type: AWS::S3::Bucket", []string{"Queue: the resource type AWS::S3::Bucket"},
		},
		"an unknown event type": {
			"          Type: SQS", "          Type: Kinesis", []string{"F: Properties.Events.Feed.Type", "Kinesis"},
		},
		"a rate that EventBridge refuses": {
			"        Feed:\n", scheduled("Schedule: rate(1 minutes)"), []string{"F: Properties.Events.Tick", "rate(1 minutes)"},
		},
		"a rate beyond all bounds": {
			"        Feed:\n", scheduled("Schedule: rate(9999999 days)"), []string{"Tick.Properties.Schedule"},
		},
		"an event of the template's own": {
			"        Feed:\n", scheduled("Schedule: rate(1 day), Input: '{}'"), []string{"Tick.Properties.Input", "not supported"},
		},
		"a cron expression": {
			"        Feed:\n", scheduled("Schedule: cron(0 12 * * ? *)"), []string{"Tick.Properties.Schedule", "cron"},
		},
		"a schedule without a rate": {
			"        Feed:\n", scheduled("Enabled: true"), []string{"Tick.Properties.Schedule: is required"},
		},
		"a schedule's odd property": {
			"        Feed:\n", scheduled("Schedule: rate(1 day), Colour: red"), []string{"Tick.Properties.Colour"},
		},
		"an unknown setting for loops": {
			"      CodeUri", "      RecursiveLoop: Maybe\n      CodeUri", []string{"F: Properties.RecursiveLoop", "Maybe"},
		},
		"more retries than Lambda has": {
			"      CodeUri", "      EventInvokeConfig: {MaximumRetryAttempts: 3}\n      CodeUri",
			[]string{"F: Properties.EventInvokeConfig.MaximumRetryAttempts", "between 0 and 2"},
		},
		"a physical name": {
			"    Type: AWS::SQS::Queue", "    Type: AWS::SQS::Queue\n    Properties: {QueueName: q}",
			[]string{"Queue: Properties.QueueName"},
		},
		"a FIFO queue": {
			"    Type: AWS::SQS::Queue", "    Type: AWS::SQS::Queue\n    Properties: {FifoQueue: true}",
			[]string{"Queue: Properties.FifoQueue"},
		},
		"another transform":              {"AWS::Serverless-2016-10-31", "AWS::LanguageExtensions", []string{"template: Transform"}},
		"another runtime":                {"provided.al2023", "nodejs22.x", []string{"F: Properties.Runtime", "nodejs22.x"}},
		"another build method":           {"go1.x", "makefile", []string{"F: Metadata.BuildMethod"}},
		"no build method":                {"    Metadata: {BuildMethod: go1.x}\n", "", []string{"F: Metadata"}},
		"no code":                        {"      CodeUri: ./functions/f/\n", "", []string{"F: Properties.CodeUri", "required"}},
		"code outside of the template":   {"./functions/f/", "../f", []string{"F: Properties.CodeUri"}},
		"a timeout beyond the limit":     {"Timeout: 7", "Timeout: 901", []string{"F: Properties.Timeout", "between 1 and 900"}},
		"a batch size that is no number": {"BatchSize: 3", "BatchSize: x", []string{"F: Properties.Events.Feed.Properties.BatchSize"}},
		"a queue's visibility below the timeout": {
			"Timeout: 7", "Timeout: 60", []string{"F: Properties.Events.Feed", "visibility timeout of Queue (30s)"},
		},
		"a stream of a table without one": {
			"      StreamSpecification:\n        StreamViewType: NEW_AND_OLD_IMAGES\n", "", []string{"Table has no StreamSpecification"},
		},
		"a stream of new images alone": {
			"StreamViewType: NEW_AND_OLD_IMAGES", "StreamViewType: NEW_IMAGE",
			[]string{"Table: Properties.StreamSpecification.StreamViewType", "only NEW_AND_OLD_IMAGES"},
		},
		"a method that is none": {
			"Method: get", "Method: fetch", []string{"F: Properties.Events.Http.Properties.Method", "FETCH"},
		},
		"a greedy path": {"/open", "/{proxy+}", []string{"F: Properties.Events.Http.Properties.Path"}},
		"another payload format": {
			"            ApiId", "            PayloadFormatVersion: \"1.0\"\n            ApiId", []string{"PayloadFormatVersion"},
		},
		"another authorizer payload format": {
			`AuthorizerPayloadFormatVersion: "2.0"`, `AuthorizerPayloadFormatVersion: "1.0"`,
			[]string{"Api: Properties.Auth.Authorizers.Keys.AuthorizerPayloadFormatVersion"},
		},
		"an authorizer without simple responses": {
			"EnableSimpleResponses: true", "EnableSimpleResponses: false", []string{"EnableSimpleResponses"},
		},
		"an authorizer without headers": {
			"              Headers: [X-Api-Key]", "              QueryStrings: [key]", []string{"Keys.Identity", "QueryStrings"},
		},
		"a default authorizer that is not there": {
			"DefaultAuthorizer: Keys", "DefaultAuthorizer: Others", []string{"DefaultAuthorizer", "Others"},
		},
		"a route's authorizer that is not there": {
			"Authorizer: NONE", "Authorizer: Others", []string{"F: Properties.Events.Http", "Others"},
		},
		"a managed policy": {
			"        - Statement:\n", "        - AmazonDynamoDBFullAccess\n        - Statement:\n",
			[]string{"F: Properties.Policies[1]", "must be an object"},
		},
		"a SAM policy template": {
			"        - Statement:\n", "        - SQSPollerPolicy: {QueueName: q}\n        - Statement:\n",
			[]string{"F: Properties.Policies[1]", "policy templates"},
		},
		"a policy condition": {
			"              Effect: Allow", "              Effect: Allow\n              Condition: {Bool: {a: true}}",
			[]string{"F: Properties.Policies[1].Statement[0].Condition"},
		},
		"a policy effect": {
			"              Effect: Allow", "              Effect: Maybe", []string{"Statement[0].Effect"},
		},
		"an action without a service": {"a:C", "Everything", []string{"Statement[0].Action", "Everything"}},
		"a key that is not defined": {
			"{AttributeName: id, KeyType: HASH}", "{AttributeName: other, KeyType: HASH}",
			[]string{"Table: Properties.KeySchema[0].AttributeName"},
		},
		"a table without a key": {
			"        - {AttributeName: id, KeyType: HASH}", "        - {AttributeName: id, KeyType: RANGE}",
			[]string{"Table: Properties.KeySchema", "HASH"},
		},
		"an attribute in no key": {
			"        - {AttributeName: id, AttributeType: S}",
			"        - {AttributeName: id, AttributeType: S}\n        - {AttributeName: x, AttributeType: S}",
			[]string{"Table: Properties.AttributeDefinitions", `"x"`},
		},
		"two HTTP APIs": {
			"  Queue:\n", "  Api2:\n    Type: AWS::Serverless::HttpApi\n  Queue:\n", []string{"Api2", "second HTTP API"},
		},
		"a dead-letter queue from elsewhere": {
			"    Type: AWS::SQS::Queue",
			"    Type: AWS::SQS::Queue\n    Properties: {RedrivePolicy: {deadLetterTargetArn: arn:x, maxReceiveCount: 3}}",
			[]string{"Queue: Properties.RedrivePolicy.deadLetterTargetArn"},
		},
		"a filter of messages": {
			"            BatchSize: 3", "            FilterCriteria: {Filters: [{Pattern: x}]}",
			[]string{"F: Properties.Events.Feed.Properties.FilterCriteria", "not supported"},
		},
		"a batching window": {
			"            BatchSize: 3", "            MaximumBatchingWindowInSeconds: 3",
			[]string{"F: Properties.Events.Feed.Properties.MaximumBatchingWindowInSeconds", "not supported"},
		},
		"a batch that needs a window": {
			"            BatchSize: 3", "            BatchSize: 11",
			[]string{"F: Properties.Events.Feed.Properties.BatchSize", "between 1 and 10"},
		},
		"a stream from now on": {
			"TRIM_HORIZON", "LATEST", []string{"F: Properties.Events.Stream.Properties.StartingPosition", "only TRIM_HORIZON"},
		},
		"a disabled event source": {
			"            BatchSize: 3", "            Enabled: false",
			[]string{"F: Properties.Events.Feed.Properties.Enabled", "not supported"},
		},
		"a route's own throttle": {
			"            Method: get", "            Method: get\n            RouteSettings: {}",
			[]string{"F: Properties.Events.Http.Properties.RouteSettings", "not supported"},
		},
		"a route's own timeout": {
			"            Method: get", "            Method: get\n            TimeoutInMillis: 50",
			[]string{"F: Properties.Events.Http.Properties.TimeoutInMillis", "not supported"},
		},
		"a role's managed policies": {
			"Resources:\n", "Resources:\n  R: {Type: AWS::IAM::Role, Properties: {ManagedPolicyArns: [a]}}\n",
			[]string{"R: Properties.ManagedPolicyArns", "not supported"},
		},
		"characters that a secret leaves out": {
			"Resources:\n",
			"Resources:\n  S: {Type: AWS::SecretsManager::Secret, Properties: {GenerateSecretString: {ExcludeCharacters: a}}}\n",
			[]string{"S: Properties.GenerateSecretString.ExcludeCharacters", "not supported"},
		},
		"a value that is missing": {
			"BatchSize: 3", "BatchSize:", []string{"F: Properties.Events.Feed.Properties.BatchSize", "null"},
		},
		"a YAML alias": {
			"Action: [a:C, a:D*]", "Action: [*a]", []string{"F: Properties.Policies[0].Statement[0].Action[0]", "alias"},
		},
		"a dead-letter queue of a function": {
			"      CodeUri", "      DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt Queue.Arn}\n      CodeUri",
			[]string{"F: Properties.DeadLetterQueue"},
		},
		"an unknown property of an authorizer": {
			"            EnableSimpleResponses", "            Cors: true\n            EnableSimpleResponses",
			[]string{"Api: Properties.Auth.Authorizers.Keys.Cors"},
		},
		"scopes of a route": {
			"{Authorizer: NONE}", "{Authorizer: NONE, AuthorizationScopes: [a]}",
			[]string{"F: Properties.Events.Http.Properties.Auth.AuthorizationScopes"},
		},
		"an authorizer that the API may not call": {
			"            EnableFunctionDefaultPermissions: true\n", "", []string{"Keys.EnableFunctionDefaultPermissions"},
		},
		"no runtime": {"    Runtime: provided.al2023\n", "", []string{"F: Properties.Runtime: is required"}},
		"no handler": {"    Handler: bootstrap\n", "", []string{"F: Properties.Handler: is required"}},
		"a policy without statements": {
			"- Statement: [{Sid: Global, Effect: Allow, Action: a:B, Resource: \"*\"}]", "- Version: \"2012-10-17\"",
			[]string{"F: Properties.Policies[0]", "Statement"},
		},
		"a role that Lambda may not assume": {
			"Resources:\n",
			"Resources:\n  R: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Version: \"2012-10-17\", Statement: " +
				"[{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}]}}}\n",
			[]string{"R: Properties.AssumeRolePolicyDocument: must allow lambda.amazonaws.com"},
		},
		"a role without a trust policy": {
			"Resources:\n", "Resources:\n  R: {Type: AWS::IAM::Role}\n", []string{"R: Properties.AssumeRolePolicyDocument: is required"},
		},
		"a role's permissions boundary": {
			"Resources:\n", "Resources:\n  R: {Type: AWS::IAM::Role, Properties: {PermissionsBoundary: a}}\n",
			[]string{"R: Properties.PermissionsBoundary"},
		},
		"an unknown property of a secret": {
			"Resources:\n", "Resources:\n  S: {Type: AWS::SecretsManager::Secret, Properties: {SecretString: s, ReplicaRegions: [a]}}\n",
			[]string{"S: Properties.ReplicaRegions"},
		},
		"provisioned throughput": {
			"PAY_PER_REQUEST", "PROVISIONED", []string{"Table: Properties.BillingMode", "only PAY_PER_REQUEST"},
		},
		"expiry without an attribute": {
			"      StreamSpecification:", "      TimeToLiveSpecification: {Enabled: true}\n      StreamSpecification:",
			[]string{"Table: Properties.TimeToLiveSpecification.AttributeName: is required"},
		},
		"an index without a projection type": {
			"      StreamSpecification:",
			"      GlobalSecondaryIndexes: [{IndexName: i, KeySchema: [{AttributeName: id, KeyType: HASH}], Projection: " +
				"{}}]\n      StreamSpecification:",
			[]string{"Table: Properties.GlobalSecondaryIndexes[0].Projection.ProjectionType: is required"},
		},
		"a name of nothing that has no effect": {
			"Resources:\n",
			"Parameters: {P: {Type: String, Default: a}}\nConditions: {Never: !Equals [!Ref P, b]}\nResources:\n  Q2: {Type: " +
				"AWS::SQS::Queue, Condition: Never, Properties: {DelaySeconds: !Ref Nothing}}\n",
			[]string{"Q2: Properties.DelaySeconds", "Nothing is neither"},
		},
		"YAML that is none":          {"Resources:", "Resources: [", []string{"not valid YAML"}},
		"a name that is there twice": {"  Queue:\n", "  Table: {}\n  Queue:\n", []string{"Table"}},
		"two things at once": {
			"Timeout: 7", "Timeout: 0\n    Nonsense: 1", []string{"F: Properties.Timeout", "F: Properties.Nonsense"},
		},
		"a reference to a function in its policy": {
			"!GetAtt Queue.Arn\n      Events", "!GetAtt G.Arn\n      Events",
			[]string{"F: Properties.Policies[1].Statement[0].Resource", "G is neither"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(minimal, test.old) {
				t.Fatalf("the template has no %q to replace", test.old)
			}
			_, err := Parse([]byte(strings.Replace(minimal, test.old, test.new, 1)), Options{Endpoint: endpoint})
			for _, want := range test.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v\nwant it to say %q", err, want)
				}
			}
		})
	}
}

func TestParameters(t *testing.T) {
	for name, test := range map[string]struct {
		declaration string
		value       *string // nil: not given
		want        string  // part of the error; "": accepted
	}{
		"a default is taken":                       {"Type: String, Default: a", nil, ""},
		"without default and value it is missing":  {"Type: String", nil, "must be given"},
		"an override wins":                         {"Type: String, Default: a, AllowedValues: [b]", ptr("b"), ""},
		"a default must be valid too":              {"Type: String, Default: a, AllowedValues: [b]", nil, "must be one of b"},
		"a pattern matches the whole value":        {`Type: String, AllowedPattern: "[a-z]+"`, ptr("ab1"), "must match"},
		"a pattern that Go does not know is named": {`Type: String, AllowedPattern: "(?!a)"`, ptr("b"), "not a regular expression"},
		"a number must be one":                     {"Type: Number", ptr("1x"), "must be a number"},
		"a number may have a fraction":             {"Type: Number", ptr("1.5"), ""},
		"below the minimum is refused":             {"Type: Number, MinValue: 2", ptr("1"), "between 2"},
		"above the maximum is refused":             {"Type: Number, MaxValue: 2", ptr("3"), "and 2"},
		"the constraint's description is told":     {"Type: Number, MaxValue: 2, ConstraintDescription: only few", ptr("3"), "only few"},
		"an unknown type is refused":               {"Type: AWS::EC2::VPC::Id", ptr("3"), "AWS::EC2::VPC::Id"},
		"a list is refused":                        {"Type: CommaDelimitedList", ptr("a,b"), "CommaDelimitedList"},
		"a limit of the length is refused":         {"Type: String, MinLength: 2", ptr("a"), "Parameters: P.MinLength"},
		"an unknown property is refused":           {"Type: String, Defualt: a", ptr("3"), "Parameters: P.Defualt"},
	} {
		t.Run(name, func(t *testing.T) {
			options := Options{Parameters: map[string]string{}}
			if test.value != nil {
				options.Parameters["P"] = *test.value
			}
			source := "Transform: AWS::Serverless-2016-10-31\nParameters:\n  P: " +
				"{" + test.declaration + "}\nResources:\n  Q: {Type: AWS::SQS::Queue}\n"
			got, err := Parse([]byte(source), options)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if test.value != nil && got.Parameters["P"] != *test.value {
					t.Errorf("P = %q, want %q", got.Parameters["P"], *test.value)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want it to say %q", err, test.want)
			}
		})
	}
}

func ptr(text string) *string { return &text }

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add(prefix + "!Ref Name")
	f.Fuzz(func(t *testing.T, source string) {
		got, err := Parse([]byte(source), Options{Endpoint: endpoint})
		if (got == nil) == (err == nil) {
			t.Errorf("Parse = %v, %v; want one of them", got, err)
		}
	})
}
