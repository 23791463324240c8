// Package soak shows what faults, floods and bad neighbours do to deliveries. Each scenario starts the local stack as a
// process of its own and drives it as a black box: a generator keeps a ledger of the changes that it wrote, endpoints
// keep one of the requests that they got, and in the end both are compared with the tables and the queues.
//
//	make soak                               all scenarios
//	make soak FLAGS='-run TestSlowTenant'   one of them
//	make soak FLAGS=-short                  those that take seconds
//
// What a scenario measures is printed in one table after the last one.
package soak

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/docuhook/docuhook/shared/wiring"
)

// What is run, and on what. Set by TestMain before the scenarios.
var (
	wanted bool
	load   int    // changes that the ledgers' scenario writes without faults
	root   string // of the repository whose template and functions are run
	binary string // the local stack

	replayer string // the command replay
)

func TestMain(m *testing.M) {
	flag.BoolVar(&wanted, "soak", false, "run the scenarios, which take minutes each; with -short only those that take seconds")
	flag.IntVar(&load, "changes", 100_000, "how many changes the comparison of ledgers writes, `N`; under faults three tenths of that")
	flag.StringVar(&root, "stack-root", filepath.Join("..", ".."), "`folder` of the repository whose template and functions are run")
	flag.StringVar(&binary, "stack-binary", "", "the local stack, `file`; built from -stack-root if there is none")
	flag.Parse()
	os.Exit(run(m))
}

// run runs the scenarios and prints what they measured.
func run(m *testing.M) int {
	if wanted {
		folder, err := os.MkdirTemp("", "docuhook-soak-")
		if err == nil {
			defer os.RemoveAll(folder)
			build := exec.Command("go", "build", "-o", folder, "./infra/local", "./infra/replay")
			build.Dir, build.Stderr = root, os.Stderr
			err = build.Run()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "soak: building the local stack:", err)
			return 1
		}
		binary, replayer = cmp.Or(binary, filepath.Join(folder, "local")), filepath.Join(folder, "replay")
	}
	code := m.Run()
	measured.print(os.Stdout)
	return code
}

// scenario leaves a test out unless scenarios are wanted, and a long one in short runs.
func scenario(t *testing.T, long bool) {
	t.Helper()
	switch {
	case !wanted:
		t.Skip("scenarios run with -soak: make soak")
	case long && testing.Short():
		t.Skip("takes minutes")
	}
}

// figures are what the scenarios measured, in their order.
type figures struct {
	mu   sync.Mutex
	rows []string
}

var measured figures

// row notes a figure, and whether it is as it must be; if not, the scenario fails.
func (f *figures) row(t *testing.T, good bool, what, must, format string, values ...any) {
	t.Helper()
	value, verdict := fmt.Sprintf(format, values...), "yes"
	if !good {
		verdict = "**no**"
		t.Errorf("%s: %s, must be: %s", what, value, must)
	}
	t.Logf("%s: %s", what, value)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, fmt.Sprintf("| %s | %s | %s | %s | %s |", t.Name(), what, value, must, verdict))
}

func (f *figures) print(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) == 0 {
		return
	}
	fmt.Fprint(w, "\n| scenario | figure | measured | must be | holds |\n|---|---|---|---|---|\n")
	for _, row := range f.rows {
		fmt.Fprintln(w, row)
	}
}

// stack is a running local stack.
type stack struct {
	t      *testing.T
	scale  float64 // how much faster its clock is
	output *output
	dynamo *dynamodb.Client
	sqs    *sqs.Client
	about
}

// about is what the stack tells about itself.
type about struct {
	API      string
	Endpoint string
	Region   string
	Started  time.Time // when its clock showed what the machine's did
	Queues   map[string]struct{ URL, ARN string }
	Tables   map[string]struct {
		Stream string `json:"stream_arn"`
	}
}

// organizations are those of every stack; an API key is its organization's id after "key_".
var organizations = []string{"org_a", "org_b", "org_c", "org_d"}

// start starts the stack on free ports, with a clock that is scale times faster. It ends with the scenario.
func start(t *testing.T, scale float64, flags ...string) *stack {
	t.Helper()
	arguments := []string{
		"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-demo=false", "-time-scale", fmt.Sprint(scale),
		// A scenario asks for more at once than one customer would.
		"-parameter", "ApiRateLimit=10000", "-parameter", "ApiBurstLimit=10000",
	}
	for _, organization := range organizations {
		arguments = append(arguments, "-organization", organization+"=key_"+organization)
	}
	s := &stack{t: t, scale: scale, output: &output{}}
	command := exec.Command(binary, append(arguments, flags...)...)
	command.Dir, command.Stdout, command.Stderr = root, s.output, s.output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the stack ended with %v", err)
			}
		case <-time.After(30 * time.Second):
			command.Process.Kill()
			t.Error("the stack did not stop within 30 s")
		}
	})
	var api string
	eventually(t, 5*time.Minute, "the stack's start: "+s.output.tail(), func() bool { // a first build on a slow machine
		api = s.output.find(regexp.MustCompile(`API +(http://\S+)`))
		return api != ""
	})
	s.get(api+"/_local/config", &s.about)
	configuration := aws.Config{
		Region: s.Region, BaseEndpoint: &s.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("administrator", "any", ""),
		HTTPClient:  wiring.Transport{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	s.dynamo, s.sqs = dynamodb.NewFromConfig(configuration), sqs.NewFromConfig(configuration)
	return s
}

// eventually waits until a condition holds. It polls, because a black box tells nothing by itself.
func eventually(t *testing.T, patience time.Duration, what string, condition func() bool) bool {
	t.Helper()
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for deadline := time.Now().Add(patience); ; <-ticks.C {
		switch {
		case condition():
			return true
		case time.Now().After(deadline):
			t.Errorf("waited %s in vain for %s", patience, what)
			return false
		}
	}
}

// pass lets so much time of the stack's clock go by.
func (s *stack) pass(d time.Duration) {
	<-time.After(s.machine(d))
}

// machine returns how long a time of the stack's clock is on the machine's.
func (s *stack) machine(d time.Duration) time.Duration {
	return time.Duration(float64(d) / s.scale)
}

// machineTime returns when the machine's clock shows what a time is on the stack's.
func (s *stack) machineTime(t time.Time) time.Time {
	return s.Started.Add(s.machine(t.Sub(s.Started)))
}

// queued returns how long a time of the machine's clock is on the stack's.
func (s *stack) queued(d time.Duration) time.Duration {
	return time.Duration(float64(d) * s.scale)
}

func (s *stack) get(url string, into any) {
	s.t.Helper()
	response, err := http.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		s.t.Fatal(err)
	}
}

// fault is a rule of a plan of faults.
type fault struct {
	Function    string  `json:"function,omitempty"`
	Service     string  `json:"service,omitempty"`
	Operation   string  `json:"operation,omitempty"`
	Contains    string  `json:"contains,omitempty"`
	Kind        string  `json:"kind"`
	Probability float64 `json:"probability"`
}

// seed of all plans of faults.
const seed = 1

// faults replaces the plan of faults; without any, they end.
func (s *stack) faults(rules ...fault) {
	s.t.Helper()
	plan, err := json.Marshal(map[string]any{"seed": seed, "rules": rules})
	if err != nil {
		s.t.Fatal(err)
	}
	method := http.MethodPut
	if len(rules) == 0 {
		method, plan = http.MethodDelete, nil
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.API+"/_local/faults", bytes.NewReader(plan))
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		s.t.Fatalf("the plan of faults was answered %d: %s", response.StatusCode, answer)
	}
}

// everyFault is the plan by which everything fails that can, 5 % of it. The partitions of one organization are hot.
var everyFault = []fault{
	{Service: "dynamodb", Contains: `"org_d"`, Kind: "throttled", Probability: 0.3},
	{Kind: "throttled", Probability: 0.05},
	{Kind: "every", Probability: 0.05},
}

// hits are what plans have hit since the stack's start, and its limits: by kind, also 0, and what of it.
type hits struct {
	Kinds map[string]int
	Hits  []struct {
		Service, Operation, Contains, Kind string
		Count                              int
	}
}

func (s *stack) hits() hits {
	var report hits
	s.get(s.API+"/_local/faults", &report)
	return report
}

// rows prints what was hit by each kind, which must have hit something, but in a short run. Of a kind, rules
// of their own count apart that hit what contains a text.
func (h hits) rows(t *testing.T) {
	t.Helper()
	all := map[string]map[string]int{}
	for kind := range h.Kinds {
		all[kind] = map[string]int{}
	}
	for _, hit := range h.Hits {
		kind := strings.TrimSpace(hit.Kind + " " + hit.Contains)
		if all[kind] == nil {
			all[kind] = map[string]int{}
		}
		all[kind][hit.Service+" "+hit.Operation] += hit.Count
	}
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		sum, of := 0, []string{}
		for _, what := range slices.Sorted(maps.Keys(all[kind])) {
			if n := all[kind][what]; n > 0 {
				sum, of = sum+n, append(of, fmt.Sprintf("%s %d", what, n))
			}
		}
		measured.row(t, sum > 0 || testing.Short(), "fault "+kind, "some", "%d: %s", sum, strings.Join(of, ", "))
	}
}

const deadLetterQueue = "DeliveryDeadLetterQueue"

// depth is how many messages a queue holds.
type depth struct{ visible, inFlight, delayed int }

func (d depth) all() int { return d.visible + d.inFlight + d.delayed }

func (s *stack) depth(queue string) depth {
	out, err := s.sqs.GetQueueAttributes(context.WithoutCancel(s.t.Context()), &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(s.Queues[queue].URL), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	if err != nil {
		s.t.Errorf("reading the depth of %s: %v", queue, err)
		return depth{}
	}
	number := func(name sqstypes.QueueAttributeName) int {
		n, _ := strconv.Atoi(out.Attributes[string(name)])
		return n
	}
	return depth{
		visible:  number(sqstypes.QueueAttributeNameApproximateNumberOfMessages),
		inFlight: number(sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		delayed:  number(sqstypes.QueueAttributeNameApproximateNumberOfMessagesDelayed),
	}
}

// waiting returns what all queues hold together, those for what has failed aside.
func (s *stack) waiting() depth {
	var sum depth
	for name := range s.Queues {
		if name != deadLetterQueue && name != "DispatchFailureQueue" {
			d := s.depth(name)
			sum.visible, sum.inFlight, sum.delayed = sum.visible+d.visible, sum.inFlight+d.inFlight, sum.delayed+d.delayed
		}
	}
	return sum
}

// watch looks at the queues until the function that it returns is called, which tells the most that was seen of each.
func (s *stack) watch() (most func() depth) {
	stop, result := make(chan struct{}), make(chan depth)
	go func() {
		ticks := time.NewTicker(200 * time.Millisecond)
		defer ticks.Stop()
		var highest depth
		for {
			now := s.waiting()
			highest.visible, highest.delayed = max(highest.visible, now.all()), max(highest.delayed, now.delayed)
			highest.inFlight = max(highest.inFlight, now.inFlight)
			select {
			case <-ticks.C:
			case <-stop:
				result <- highest
				return
			}
		}
	}()
	return func() depth {
		close(stop)
		return <-result
	}
}

// redrive moves what the dead-letter queue holds back to where it came from, as the console does.
func (s *stack) redrive() {
	s.t.Helper()
	source := s.Queues[deadLetterQueue].ARN
	if _, err := s.sqs.StartMessageMoveTask(s.t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: &source}); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, 30*time.Second, "the end of the redrive", func() bool { return s.depth(deadLetterQueue).all() == 0 })
}

// output collects what a process prints. Lines that only say what became of a message are kept as evidence alone.
type output struct {
	mu       sync.Mutex
	rest     []byte // of a line that has not ended
	text     bytes.Buffer
	evidence evidence
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rest = append(o.rest, p...)
	for {
		line, rest, ended := bytes.Cut(o.rest, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		if !o.evidence.take(line) {
			o.text.Write(line)
			o.text.WriteByte('\n')
		}
		o.rest = rest
	}
}

// heard returns what the stack has said of messages.
func (o *output) heard() evidence {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.evidence.clone()
}

// find returns the first group of the first match, "" if there is none.
func (o *output) find(pattern *regexp.Regexp) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if match := pattern.FindSubmatch(o.text.Bytes()); match != nil {
		return string(match[1])
	}
	return ""
}

// recursive returns how often messages were dropped that are part of a recursive loop. The template allows the loops there are.
func (o *output) recursive() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Count(o.text.Bytes(), []byte("RecursiveInvocationsDropped"))
}

// tail returns the end of what was printed.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text.Bytes()[max(0, o.text.Len()-2000):])
}
