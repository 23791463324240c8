// Package fault makes the AWS services of the local stack fail, as a plan says and its seed decides.
//
// An Injector stands before the services and strikes only what functions ask: administrators, such as
// tests that look at queues and tables, are left alone. Every function's calls of every operation have random
// numbers of their own, so that what one function does changes nothing for another, and a plan strikes the same calls
// in every run that makes the same calls.
package fault

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// Kind is how a call fails.
type Kind string

// The kinds of faults.
const (
	Throttled   Kind = "throttled"    // refused as too many, without effect
	Internal    Kind = "internal"     // answered 500, without effect
	Hanging     Kind = "hanging"      // not answered until the caller gives up, without effect
	ResetBefore Kind = "reset-before" // the connection is reset, without effect
	ResetAfter  Kind = "reset-after"  // the connection is reset after the call took effect: its answer is lost
	Partial     Kind = "partial"      // some entries of a batch fail, without effect, the others succeed
)

var kinds = []Kind{Throttled, Internal, Hanging, ResetBefore, ResetAfter, Partial}

// Rule lets calls fail. An empty field matches every call.
type Rule struct {
	Function    string  `json:"function,omitzero"`  // logical id
	Service     string  `json:"service,omitzero"`   // dynamodb, sqs or secretsmanager
	Operation   string  `json:"operation,omitzero"` // such as SendMessage
	Contains    string  `json:"contains,omitzero"`  // text in the request, such as an organization's id
	Kind        Kind    `json:"kind"`
	Probability float64 `json:"probability"` // of a call that matches, up to 1
}

// message is what failures say.
const message = "a fault of the plan"

// Plan is a list of rules. The first that strikes decides.
type Plan struct {
	Seed  uint64 `json:"seed"`
	Rules []Rule `json:"rules"`
}

// ParsePlan reads a plan's JSON. Unknown members, kinds and services, and impossible probabilities, are errors.
func ParsePlan(text []byte) (Plan, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var p Plan
	if err := decoder.Decode(&p); err != nil {
		return Plan{}, fmt.Errorf("faults: %w", err)
	}
	for i, r := range p.Rules {
		switch {
		case !slices.Contains(kinds, r.Kind):
			return Plan{}, fmt.Errorf("faults: rule %d: kind %q is none of %v", i, r.Kind, kinds)
		case !(r.Probability > 0 && r.Probability <= 1):
			return Plan{}, fmt.Errorf("faults: rule %d: probability %v is not above 0 and at most 1", i, r.Probability)
		case r.Service != "" && !slices.Contains(slices.Collect(maps.Values(services)), r.Service):
			return Plan{}, fmt.Errorf("faults: rule %d: service %q is unknown", i, r.Service)
		case r.Kind == Partial && r.Operation != "" && batches[r.Operation] == nil:
			return Plan{}, fmt.Errorf("faults: rule %d: %s is no batch operation", i, r.Operation)
		}
	}
	return p, nil
}

// services are the names of services by their target prefixes.
var services = map[string]string{"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "secretsmanager": "secretsmanager"}

// Hit counts the calls that failed in one way.
type Hit struct {
	Function  string `json:"function"`
	Service   string `json:"service"`
	Operation string `json:"operation"`
	Kind      Kind   `json:"kind"`
	Count     int    `json:"count"`
}

// Injector is a handler before the services. It may be used by several goroutines at once.
type Injector struct {
	next      http.Handler
	functions map[string]string // by access key

	mu     sync.Mutex // guards what follows
	plan   Plan
	random map[stream]*rand.Rand
	hits   map[Hit]int // by hits without a count
}

// stream names the random numbers for one rule and one function's calls of one operation.
type stream struct {
	rule                         int
	function, service, operation string
}

// New makes an Injector that lets everything pass. Functions are those whose calls may fail, by access key.
func New(next http.Handler, functions map[string]string) *Injector {
	return &Injector{next: next, functions: functions, hits: map[Hit]int{}}
}

// Follow begins a plan anew, in the place of the one before. The zero Plan ends all faults.
func (i *Injector) Follow(p Plan) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.plan, i.random = p, map[stream]*rand.Rand{}
}

// Report returns the plan that is followed, and the hits of all plans since the start, sorted.
func (i *Injector) Report() (Plan, []Hit) {
	i.mu.Lock()
	defer i.mu.Unlock()
	hits := make([]Hit, 0, len(i.hits))
	for hit, n := range i.hits {
		hit.Count = n
		hits = append(hits, hit)
	}
	slices.SortFunc(hits, func(a, b Hit) int {
		return cmp.Or(
			cmp.Compare(a.Function, b.Function), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Kind, b.Kind),
		)
	})
	return i.plan, hits
}

// call is one call of a service.
type call struct {
	function, service, operation string
	body                         []byte
}

// ServeHTTP implements http.Handler.
func (i *Injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	prefix, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c := call{function: i.functions[awsjson.AccessKey(r)], service: services[prefix], operation: operation}
	i.mu.Lock()
	idle := len(i.plan.Rules) == 0
	i.mu.Unlock()
	if idle || c.function == "" || c.service == "" {
		i.next.ServeHTTP(w, r)
		return
	}
	var err error
	if c.body, err = io.ReadAll(r.Body); err != nil {
		reset(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	switch kind, random := i.strike(c); kind {
	case Throttled:
		awsjson.WriteError(w, throttling(c.service))
	case Internal:
		awsjson.WriteError(w, &awsjson.Error{Status: http.StatusInternalServerError, Code: "InternalServerError", Message: message})
	case Hanging:
		<-r.Context().Done()
		reset(w)
	case ResetBefore:
		reset(w)
	case ResetAfter:
		i.next.ServeHTTP(newAnswer(), r)
		reset(w)
	case Partial:
		i.part(w, r, c, random)
	default:
		i.next.ServeHTTP(w, r)
	}
}

// strike decides how a call fails, "" if it does not; random is for what is left to decide.
func (i *Injector) strike(c call) (kind Kind, random *rand.Rand) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, rule := range i.plan.Rules {
		if !rule.matches(c) {
			continue
		}
		s := stream{rule: n, function: c.function, service: c.service, operation: c.operation}
		source := i.random[s]
		if source == nil {
			h := fnv.New64a()
			fmt.Fprint(h, s)
			source = rand.New(rand.NewPCG(i.plan.Seed, h.Sum64()))
			i.random[s] = source
		}
		if source.Float64() < rule.Probability {
			i.hits[Hit{Function: c.function, Service: c.service, Operation: c.operation, Kind: rule.Kind}]++
			return rule.Kind, rand.New(rand.NewPCG(source.Uint64(), 0))
		}
	}
	return "", nil
}

func (r Rule) matches(c call) bool {
	is := func(wanted, got string) bool { return wanted == "" || wanted == got }
	return is(r.Function, c.function) && is(r.Service, c.service) && is(r.Operation, c.operation) &&
		(r.Kind != Partial || batches[c.operation] != nil) && bytes.Contains(c.body, []byte(r.Contains))
}

func throttling(service string) *awsjson.Error {
	switch service {
	case "dynamodb":
		return awsjson.Errorf("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException", message)
	case "sqs":
		return &awsjson.Error{Code: "com.amazonaws.sqs#RequestThrottled", Query: "RequestThrottled", Message: message}
	}
	return awsjson.Errorf("ThrottlingException", message)
}

// reset ends the connection so that its other end sees a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset: without it, the connection ends in an orderly way
	}
	conn.Close()
}

// answer is a response that is looked at before it is sent, if it is.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}, status: http.StatusOK} }

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
