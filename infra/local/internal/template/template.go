// Package template reads the SAM template of the system and says, fully resolved, what it declares.
//
// Parse evaluates parameters, rules, conditions and intrinsic functions as CloudFormation and SAM
// do, with physical names equal to logical ids. What the local stack runs comes out as plain values
// (functions, tables, queues, secrets, the HTTP API); what it knowingly leaves without effect is
// listed with the reason. Everything else is an error that names resource, property and line, so
// that the local stack can never quietly run less than the template says.
package template

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// The pseudo parameters' values.
const (
	Region    = "us-east-1"
	Account   = "000000000000"
	Partition = "aws"
	URLSuffix = "amazonaws.com"
	StackName = "docuhook"
)

// Options are what a deployment would bring along.
type Options struct {
	Parameters map[string]string // overrides, as `sam deploy --parameter-overrides` takes them
	Endpoint   string            // where AWS services answer, without a trailing slash; begins the URL of a queue
}

// Template is everything that the template declares. Slices are in the template's order.
type Template struct {
	Parameters map[string]string // every parameter with its value in effect
	Functions  []Function
	API        *API // nil: none
	Tables     []Table
	Queues     []Queue
	Secrets    []Secret
	Outputs    []Output
	Ignored    []Ignored
}

// DeadLetterQueues are the queues that take the dead letters of others.
func (t *Template) DeadLetterQueues() []string {
	var names []string
	for _, q := range t.Queues {
		if q.DeadLetterQueue != "" && !slices.Contains(names, q.DeadLetterQueue) {
			names = append(names, q.DeadLetterQueue)
		}
	}
	return names
}

// Ignored is something that the template declares and that is without effect here, by decision.
type Ignored struct {
	Where  string // resource and property
	Line   int
	Reason string
}

// Output is one of the stack's outputs.
type Output struct{ Name, Description, Value string }

// Function is a Lambda function.
type Function struct {
	Name        string // logical id
	Folder      string // CodeUri, relative to the template
	MemoryMB    int
	Timeout     time.Duration
	Reserved    *int   // reserved concurrency; nil: none
	Traced      bool   // with X-Ray
	LogGroup    string // name
	LogFormat   string // "JSON" or "Text"
	LogLevel    string // of the application, with LogFormat JSON; "" otherwise
	Environment map[string]string
	Role        string // logical id of its explicit role; "": SAM makes one from the statements
	Statements  []Statement
	Routes      []Route
	Streams     []StreamSource
	QueueFeeds  []QueueSource
	Schedules   []Schedule

	RecursiveLoop bool // the function may be invoked in a chain of requests without end

	AsyncRetries int           // of an asynchronous invocation with which the function failed
	AsyncMaxAge  time.Duration // of its event
}

// Statement is one statement of an IAM policy.
type Statement struct {
	Sid       string
	Effect    string // "Allow" or "Deny"
	Actions   []string
	Resources []string
}

// Route is an HTTP route that invokes a function.
type Route struct {
	Event      string // name in the function's Events
	Method     string // upper case; "ANY": every method
	Path       string // with {parameters}
	Authorizer string // name; "": open
}

// Throttle is a token bucket.
type Throttle struct {
	RatePerSecond float64
	Burst         int
}

// API is the HTTP API.
type API struct {
	Name        string // logical id
	Stage       string
	Authorizers map[string]Authorizer
	Default     *Throttle // nil: no limit
}

// Authorizer is a Lambda authorizer with simple responses.
type Authorizer struct {
	Name     string
	Function string        // logical id
	Headers  []string      // identity source, all required
	Cache    time.Duration // 0: answers are not remembered
}

// EventSource holds what stream and queue event sources have in common.
type EventSource struct {
	Event             string // name in the function's Events
	BatchSize         int
	ReportsBatchItems bool
}

// StreamSource is an event source mapping on a table's stream.
type StreamSource struct {
	EventSource
	Table           string   // logical id of the stream's table
	Filters         []string // patterns; none: everything
	Parallelization int
	Bisect          bool
	MaxRetries      int           // -1: no limit
	MaxAge          time.Duration // -1: no limit
	FailureQueue    string        // logical id; "": none
}

// QueueSource is an event source mapping on a queue.
type QueueSource struct {
	EventSource
	Queue          string // logical id
	MaxConcurrency int    // 0: no limit of its own
}

// Schedule invokes a function again and again.
type Schedule struct {
	Event   string // name in the function's Events
	Every   time.Duration
	Enabled bool
}

// Key is an attribute of a key. SortKey's Name is "" where there is none.
type Key struct {
	Name string
	Type string // S, N or B
}

// Index is a secondary index.
type Index struct {
	Name             string
	PartitionKey     Key
	SortKey          Key
	Projection       string // ALL, KEYS_ONLY or INCLUDE
	NonKeyAttributes []string
}

// Table is a DynamoDB table.
type Table struct {
	Name         string
	PartitionKey Key
	SortKey      Key
	Global       []Index
	Local        []Index
	Stream       bool   // of new and old images
	TTLAttribute string // "": none
	Protected    bool   // deletion protection
}

// Queue is a standard SQS queue.
type Queue struct {
	Name            string
	Visibility      time.Duration
	Retention       time.Duration
	Delay           time.Duration
	ReceiveWait     time.Duration
	MaxMessageBytes int
	DeadLetterQueue string // logical id; "": none
	MaxReceiveCount int
}

// Secret is a Secrets Manager secret. Exactly one of Value and Generate is set.
type Secret struct {
	Name        string
	Description string
	Value       string
	Generate    *Generate
}

// Generate is a secret's GenerateSecretString.
type Generate struct {
	Template           string // JSON object that receives the generated string
	Key                string
	Length             int
	ExcludePunctuation bool
}

// Error is one thing that is wrong with the template or its parameters.
type Error struct {
	Line    int    // 0: unknown
	Where   string // such as "DeliverFunction: Properties.Timeout"
	Message string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Where, e.Message)
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Where, e.Message)
}

// Parse reads a template. The error joins all that is wrong with it, each an *Error.
func Parse(source []byte, options Options) (*Template, error) {
	root, err := parseYAML(source)
	if err != nil {
		return nil, err
	}
	r := &reader{scope: newScope(options), result: &Template{}}
	r.read(root)
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b *Error) int { return a.Line - b.Line })
		var all []error
		for _, problem := range r.problems {
			all = append(all, problem)
		}
		return nil, errors.Join(all...)
	}
	return r.result, nil
}

// reader goes through the sections of one template.
type reader struct {
	*scope
	result *Template
	roles  map[string]role
}

func (r *reader) read(root *node) {
	top := r.object(root, "template", "")
	top.ignore("it says who wrote it in which version", "AWSTemplateFormatVersion", "Description", "Metadata")
	if transform := top.text("Transform", ""); transform != "AWS::Serverless-2016-10-31" {
		top.fail("Transform", "must be AWS::Serverless-2016-10-31, the local stack reads no other, got %q", transform)
	}
	parameters := top.raw("Parameters")
	r.mappings = top.raw("Mappings")
	rules := top.raw("Rules")
	conditions := top.raw("Conditions")
	globals := top.raw("Globals")
	resources := top.raw("Resources")
	outputs := top.raw("Outputs")
	top.done()

	r.readParameters(parameters)
	if len(r.problems) > 0 {
		return // everything that follows would stumble over the same
	}
	r.result.Parameters = r.parameterTexts()
	r.readConditions(conditions)
	r.assertRules(rules)
	if resources == nil || len(resources.fields) == 0 {
		r.problem(0, "Resources", "the template declares none")
		return
	}
	r.declareResources(resources)
	if len(r.problems) > 0 {
		return
	}
	r.mergeGlobals(globals)
	r.readResources()
	r.readOutputs(outputs)
	if len(r.problems) == 0 {
		r.checkReferences()
	}
}

func (r *reader) readOutputs(section *node) {
	if section == nil {
		return
	}
	for _, f := range section.fields {
		where := "Outputs." + f.name
		o := r.object(f.value, where, "")
		if condition := o.text("Condition", ""); condition != "" && !r.condition(condition, f.line, where) {
			continue
		}
		o.ignore("there is no other stack to import it", "Export")
		output := Output{Name: f.name, Description: o.text("Description", "")}
		if value := o.raw("Value"); value == nil {
			o.fail("Value", "is required")
		} else if resolved := r.eval(value, where+": Value"); resolved != nil {
			if resolved.kind != scalar {
				o.fail("Value", "must be a text")
			}
			output.Value = resolved.text
		}
		o.done()
		r.result.Outputs = append(r.result.Outputs, output)
	}
}
