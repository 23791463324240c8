// Package fault lets things go wrong in the local stack, as a plan says and its seed decides.
//
// An Injector is asked by every part of the stack that can fail, and answers by the first rule of the plan that strikes:
//
//	service                      operation                         kinds
//	dynamodb sqs secretsmanager  the service's, SendMessage …      throttled internal hanging reset-before reset-after partial
//	stream                       the table whose stream is read    twice late out-of-order
//	queue                        the queue that is read            twice late out-of-order over-limit
//	schedule                     the event's name in the template  twice late missed
//	process                      Invoke                            killed frozen refused
//	process                      Init                              skewed
//
// Calls of services fail for functions alone: administrators, such as tests that look at queues and tables, are left
// alone. A stream stays within what AWS promises: a batch may come twice, late, or after later records of other partition
// keys, but the records of one key keep their order. What a queue brings may come in any order. Limits are counted too where
// they are reached without a rule: that of the account, as refused, and that of messages in flight, as over-limit. The
// kind every stands for each kind that no other rule of the plan has, so that one rule is a plan of all faults:
//
//	{"seed": 1, "rules": [{"kind": "every", "probability": 0.05}]}
//
// Every rule has random numbers of its own for each function and operation, so that what one function does
// changes nothing for another, and a plan strikes the same calls in every run that makes the same calls.
package fault

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The kinds of faults.
const (
	Throttled   Kind = "throttled"    // a call is refused as one too many, without effect
	Internal    Kind = "internal"     // a call is answered 500, without effect
	Hanging     Kind = "hanging"      // a call is not answered until the caller gives up, without effect
	ResetBefore Kind = "reset-before" // a call's connection is reset, without effect
	ResetAfter  Kind = "reset-after"  // a call's connection is reset after it took effect: its answer is lost
	Partial     Kind = "partial"      // some entries of a batch fail, without effect, the others succeed
	Twice       Kind = "twice"        // a function has a batch or a scheduled event once more: of a stream after the first, else beside it
	Late        Kind = "late"         // a function has a batch or a scheduled event late
	OutOfOrder  Kind = "out-of-order" // messages are shuffled; a stream's records come after those of other keys
	Missed      Kind = "missed"       // a scheduled event does not come
	Killed      Kind = "killed"       // a function's process is killed some time after an invocation has begun
	Frozen      Kind = "frozen"       // a function's process is stopped after an invocation, and goes on with the next
	Skewed      Kind = "skewed"       // a function's process has a clock that is ahead, or behind, until it ends
	Refused     Kind = "refused"      // a function is not invoked, since its account has no place left
	OverLimit   Kind = "over-limit"   // a queue gives nothing for a while, since too many of its messages are in flight
	Every       Kind = "every"        // in rules alone: each kind that no other rule has
)

var ofCalls = []Kind{Throttled, Internal, Hanging, ResetBefore, ResetAfter, Partial}

// happens are the kinds by the services of rules.
var happens = map[string][]Kind{
	"dynamodb":       ofCalls,
	"sqs":            ofCalls,
	"secretsmanager": ofCalls,
	"stream":         {Twice, Late, OutOfOrder},
	"queue":          {Twice, Late, OutOfOrder, OverLimit},
	"schedule":       {Twice, Late, Missed},
	"process":        {Killed, Frozen, Skewed, Refused},
}

var kinds = slices.Concat(ofCalls, []Kind{Twice, Late, OutOfOrder, Missed, Killed, Frozen, Skewed, Refused, OverLimit})

// Rule lets something go wrong. An empty field matches everything.
type Rule struct {
	Function  string `json:"function,omitzero"`  // logical id: who calls, or is invoked
	Service   string `json:"service,omitzero"`   // as in the package's table
	Operation string `json:"operation,omitzero"` // likewise
	// Contains is text in the request of a call. Between quotes it is a whole value, such as "\"org_1\"": with the kind
	// throttled, DynamoDB's partition of an organization is hot.
	Contains    string  `json:"contains,omitzero"`
	Kind        Kind    `json:"kind"`
	Probability float64 `json:"probability"` // of whatever matches, up to 1
	// Seconds of the stack's clock are how late at most something comes or comes again, how long at most a process
	// lives on, and by how much its clock is ahead, or behind if it is negative. By default 60, and a clock
	// is up to that much ahead or behind.
	Seconds float64 `json:"seconds,omitzero"`
}

// defaultSeconds are a rule's Seconds.
const defaultSeconds = 60

// Plan is a list of rules. The first that strikes decides.
type Plan struct {
	Seed  uint64 `json:"seed"`
	Rules []Rule `json:"rules"`
}

// ParsePlan reads a plan's JSON. Unknown members, kinds and services, a kind that never happens to the service of its rule,
// and impossible numbers are errors.
func ParsePlan(text []byte) (Plan, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var p Plan
	if err := decoder.Decode(&p); err != nil {
		return Plan{}, fmt.Errorf("faults: %w", err)
	}
	for i, r := range p.Rules {
		can, known := happens[r.Service]
		switch {
		case r.Kind != Every && !slices.Contains(kinds, r.Kind):
			return Plan{}, fmt.Errorf("faults: rule %d: kind %q is neither %q nor one of %v", i, r.Kind, Every, kinds)
		case !(r.Probability > 0 && r.Probability <= 1):
			return Plan{}, fmt.Errorf("faults: rule %d: probability %v is not above 0 and at most 1", i, r.Probability)
		case r.Service != "" && !known:
			return Plan{}, fmt.Errorf("faults: rule %d: service %q is unknown", i, r.Service)
		case known && r.Kind != Every && !slices.Contains(can, r.Kind):
			return Plan{}, fmt.Errorf("faults: rule %d: what happens to %q is %v", i, r.Service, can)
		case r.Kind == Partial && r.Operation != "" && batches[r.Operation] == nil:
			return Plan{}, fmt.Errorf("faults: rule %d: %s is no batch operation", i, r.Operation)
		case r.Seconds < 0 && r.Kind != Skewed:
			return Plan{}, fmt.Errorf("faults: rule %d: only a clock may be off by less than 0 seconds", i)
		}
	}
	return p, nil
}

// spread are the plan's rules with those of every kind replaced by one of each kind that no other rule has.
func (p Plan) spread() (rules []Rule) {
	for _, r := range p.Rules {
		if r.Kind != Every {
			rules = append(rules, r)
			continue
		}
		for _, r.Kind = range kinds {
			if !slices.ContainsFunc(p.Rules, func(other Rule) bool { return other.Kind == r.Kind }) {
				rules = append(rules, r)
			}
		}
	}
	return rules
}

// Fault is what strikes; the zero Fault is nothing.
type Fault struct {
	Kind   Kind
	Delay  time.Duration // on the machine's clock: until it comes, comes again, or is killed; mostly short
	Ahead  time.Duration // on the stack's clock: how far a clock is ahead
	Random *rand.Rand    // for what is left to decide
}

// Hit counts how often a kind has struck, where a rule could have: also 0 times.
type Hit struct {
	Function  string `json:"function"`
	Service   string `json:"service"`
	Operation string `json:"operation"`
	Contains  string `json:"contains,omitzero"` // of its rule
	Kind      Kind   `json:"kind"`
	Count     int    `json:"count"`
}

// Report is the plan that is followed, and what all plans have hit since the start.
type Report struct {
	Plan
	Kinds map[Kind]int `json:"kinds"` // hits of each kind there is
	Hits  []Hit        `json:"hits"`  // sorted
}

// Injector decides what goes wrong. It may be used by several goroutines at once.
type Injector struct {
	real func(time.Duration) time.Duration

	mu     sync.Mutex // guards what follows
	plan   Plan
	rules  []Rule // of the plan, spread
	random map[stream]*rand.Rand
	hits   map[Hit]int // by hits without a count
}

// stream names the random numbers for one rule and what it may hit, without a count.
type stream struct {
	rule int
	Hit
}

// New makes an Injector that lets everything pass. Real tells how long a time of the stack's clock is on the machine's.
func New(real func(time.Duration) time.Duration) *Injector {
	return &Injector{real: real, hits: map[Hit]int{}}
}

// Follow begins a plan anew, in the place of the one before. The zero Plan ends all faults, but for clocks that are off.
func (i *Injector) Follow(p Plan) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.plan, i.rules, i.random = p, p.spread(), map[stream]*rand.Rand{}
}

// Report tells what is going on.
func (i *Injector) Report() Report {
	i.mu.Lock()
	defer i.mu.Unlock()
	report := Report{Plan: i.plan, Kinds: map[Kind]int{}, Hits: make([]Hit, 0, len(i.hits))}
	for _, kind := range kinds {
		report.Kinds[kind] = 0
	}
	for hit, n := range i.hits {
		hit.Count = n
		report.Kinds[hit.Kind] += n
		report.Hits = append(report.Hits, hit)
	}
	slices.SortFunc(report.Hits, func(a, b Hit) int {
		return cmp.Or(
			cmp.Compare(a.Function, b.Function), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Contains, b.Contains),
		)
	})
	return report
}

func (i *Injector) idle() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.rules) == 0
}

// Strike decides which of these kinds happens to what is no call: to something that a stream, a queue or a schedule has for a
// function, or to the function's process.
func (i *Injector) Strike(function, service, operation string, can ...Kind) Fault {
	return i.strike(Hit{Function: function, Service: service, Operation: operation}, nil, can)
}

// Reached reports whether a limit is reached, which counts as a hit of a kind, or seems so because that kind strikes.
func (i *Injector) Reached(function, service, operation string, kind Kind, reached bool) bool {
	if !reached {
		return i.Strike(function, service, operation, kind).Kind != ""
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hits[Hit{Function: function, Service: service, Operation: operation, Kind: kind}]++
	return true
}

// strike is Strike for what happens to a hit that is not counted yet; a call has a body.
func (i *Injector) strike(hit Hit, body []byte, can []Kind) Fault {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, rule := range i.rules {
		if !rule.matches(hit, body) || !slices.Contains(can, rule.Kind) {
			continue
		}
		hit.Kind, hit.Contains = rule.Kind, rule.Contains
		s := stream{rule: n, Hit: hit}
		source := i.random[s]
		if source == nil {
			h := fnv.New64a()
			fmt.Fprint(h, s)
			source = rand.New(rand.NewPCG(i.plan.Seed, h.Sum64()))
			i.random[s] = source
		}
		if source.Float64() >= rule.Probability {
			i.hits[hit] += 0 // it could have been
			continue
		}
		i.hits[hit]++
		return i.fault(rule, rand.New(rand.NewPCG(source.Uint64(), 0)))
	}
	return Fault{}
}

// fault is what a rule that strikes does.
func (i *Injector) fault(r Rule, random *rand.Rand) Fault {
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	f := Fault{Kind: r.Kind, Ahead: seconds(r.Seconds), Random: random}
	if r.Seconds == 0 {
		r.Seconds, f.Ahead = defaultSeconds, seconds(defaultSeconds*(2*random.Float64()-1))
	}
	f.Delay = i.real(seconds(r.Seconds * math.Pow(random.Float64(), 4)))
	return f
}

func (r Rule) matches(h Hit, body []byte) bool {
	is := func(wanted, got string) bool { return wanted == "" || wanted == got }
	return is(r.Function, h.Function) && is(r.Service, h.Service) && is(r.Operation, h.Operation) &&
		bytes.Contains(body, []byte(r.Contains))
}
