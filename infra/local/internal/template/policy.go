package template

import (
	"fmt"
	"slices"
	"strings"
)

// What Lambda does in a function's name: it writes logs and traces and reads event sources.
var (
	logActions    = []string{"logs:CreateLogStream", "logs:PutLogEvents"}
	traceActions  = []string{"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
	streamActions = []string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}
	queueActions  = []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
)

// role is an explicit role with the statements of its policies.
type role struct {
	name       string
	statements []Statement
}

// functionPolicies returns the statements that apply to a function: those of its explicit role, or
// those of its Policies property.
func (r *reader) functionPolicies(id string, o *object) (string, []Statement) {
	if o.has("Role") {
		if o.has("Policies") {
			o.fail("Policies", "is ignored by SAM beside Role; give it to the role")
			o.raw("Policies")
		}
		name := o.named("Role", roleType, roleARN)
		return name, r.roles[name].statements
	}
	n := o.raw("Policies")
	if n == nil {
		return "", nil
	}
	entries := []*node{n}
	if n.kind == sequence {
		entries = n.items
	}
	var statements []Statement
	for i, entry := range entries {
		path := fmt.Sprintf("Properties.Policies[%d]", i)
		document := r.object(entry, id, path)
		if !document.has("Statement") {
			document.fail("", "must be a policy document with a Statement; "+
				"managed policies and SAM policy templates are not supported by the local stack")
			continue
		}
		statements = append(statements, r.document(document)...)
	}
	return "", statements
}

// assumable checks that Lambda may assume a role.
func (o *object) assumable(member string) {
	document := o.child(member)
	if document == nil {
		o.fail(member, "is required")
		return
	}
	document.must("Version", "2012-10-17")
	trusted := false
	for _, s := range document.list("Statement") {
		s.text("Sid", "")
		principal := s.child("Principal")
		trusted = trusted || s.text("Effect", "") == "Allow" && slices.Contains(s.texts("Action"), "sts:AssumeRole") &&
			principal != nil && slices.Contains(principal.texts("Service"), "lambda.amazonaws.com")
		if principal != nil {
			principal.done()
		}
		s.done()
	}
	document.done()
	if !trusted {
		o.fail(member, "must allow lambda.amazonaws.com to sts:AssumeRole")
	}
}

func (r *reader) readRole(id string, o *object) {
	result := role{name: id}
	o.assumable("AssumeRolePolicyDocument")
	o.ignore("it is text for people", "Description", "Tags")
	o.ignore("functions have no sessions here", "MaxSessionDuration")
	for _, policy := range o.list("Policies") {
		policy.required("PolicyName")
		if document := policy.child("PolicyDocument"); document != nil {
			result.statements = append(result.statements, r.document(document)...)
		} else {
			policy.fail("PolicyDocument", "is required")
		}
		policy.done()
	}
	r.roles[id] = result
}

// document reads a policy document.
func (r *reader) document(o *object) []Statement {
	o.oneOf("Version", "2012-10-17", "2012-10-17")
	o.ignore("it is text for people", "Id")
	var statements []Statement
	if !o.has("Statement") {
		o.fail("Statement", "is required")
	}
	for _, s := range o.list("Statement") {
		statement := Statement{
			Sid:       s.text("Sid", ""),
			Effect:    s.required("Effect"),
			Actions:   s.texts("Action"),
			Resources: s.texts("Resource"),
		}
		if statement.Effect != "Allow" && statement.Effect != "Deny" {
			s.fail("Effect", "must be Allow or Deny, got %q", statement.Effect)
		}
		if len(statement.Actions) == 0 {
			s.fail("Action", "must name at least one action")
		}
		for _, action := range statement.Actions {
			if action != "*" && !strings.Contains(action, ":") {
				s.fail("Action", "%q must be a service, a colon and an operation", action)
			}
		}
		if len(statement.Resources) == 0 {
			s.fail("Resource", "must name at least one resource")
		}
		s.done() // NotAction, NotResource and Condition end here, as not supported
		statements = append(statements, statement)
	}
	o.done()
	return statements
}

// samStatements are what the managed policies allow that SAM adds to a role it makes itself for a
// function with event sources.
func samStatements(f Function) []Statement {
	var statements []Statement
	if len(f.Streams) > 0 {
		statements = append(statements, Statement{
			Sid: "AWSLambdaDynamoDBExecutionRole", Effect: "Allow", Resources: []string{"*"},
			Actions: append([]string{"dynamodb:ListStreams"}, streamActions...),
		})
	}
	if len(f.QueueFeeds) > 0 {
		statements = append(statements, Statement{
			Sid: "AWSLambdaSQSQueueExecutionRole", Effect: "Allow", Resources: []string{"*"},
			Actions: queueActions,
		})
	}
	failureQueues := map[string]bool{}
	for _, source := range f.Streams {
		if source.FailureQueue != "" && !failureQueues[source.FailureQueue] {
			failureQueues[source.FailureQueue] = true
			statements = append(statements, Statement{
				Sid: source.Event + "OnFailure", Effect: "Allow", Resources: []string{QueueARN(source.FailureQueue)},
				Actions: []string{"sqs:SendMessage"},
			})
		}
	}
	return statements
}

// Need is a permission without which Lambda could not do for a function what the template declares.
type Need struct {
	Property string // that declares it
	Action   string
	Resource string
}

// Needs lists what Lambda does in the function's name. Logs and traces count for an explicit role
// only: SAM gives the roles that it makes the managed policies for both.
func (f Function) Needs() []Need {
	var needs []Need
	add := func(property, resource string, actions ...string) {
		for _, action := range actions {
			needs = append(needs, Need{property, action, resource})
		}
	}
	if f.Role != "" {
		add("Properties.LoggingConfig", arn("logs", "log-group:"+f.LogGroup+":log-stream:local"), logActions...)
		if f.Traced {
			add("Properties.Tracing", "*", traceActions...)
		}
	}
	for _, source := range f.Streams {
		property := "Properties.Events." + source.Event
		add(property, StreamARN(source.Table), streamActions...)
		add(property, "*", "dynamodb:ListStreams")
		if source.FailureQueue != "" {
			add(property, QueueARN(source.FailureQueue), "sqs:SendMessage")
		}
	}
	for _, source := range f.QueueFeeds {
		add("Properties.Events."+source.Event, QueueARN(source.Queue), queueActions...)
	}
	return needs
}
