// Package e2e is the end-to-end suite: a black box that needs only an API URL and the names of the
// tables and queues. Each test is an organization of its own, with an API key of its own.
//
// By default it builds and starts the local stack and runs against that. Tests that kill processes, let calls of AWS
// fail or look at permissions run only there. Beside the first one run two more: on one, tests take turns that need
// the queues and processes of a stack to themselves; on the other, tests wait for days, with a clock so fast that a
// day takes 9 s. Against a deployed stack the suite runs as
//
//	make e2e STACK=NAME RECEIVER=URL
//
// where URL is a public https address that reaches 127.0.0.1:8080 on this machine (-receiver-listen),
// for example a tunnel. Where no account is at hand,
//
//	make e2e STACK=emulated
//
// deploys the template with the SAM CLI to MiniStack, an emulation of AWS, and runs against that.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/wiring"
)

const (
	// timeScale is how much faster the clock of the local stack is: with RetryDelays=fast, retries after 10 s, 1, 5
	// and 15 minutes come after 0.05, 0.3, 1.5 and 4.5 s.
	timeScale = 200
	// aloneScale is the scale of the stack on which tests take turns: the retries come after 0.03, 0.15, 0.8 and 2.3 s, and
	// the sweep's message 2.3 s after one that is late: on a busy machine, too, that has been taken by then.
	aloneScale = 400
	// dayScale is the scale of the stack on which tests wait for days: with RetryDelays=day, the retry after 22 h
	// comes after 8 s. The 14 days for which queues keep a message take two minutes.
	dayScale = 10_000
)

// moduleRoot is the folder of the module.
const moduleRoot = "../.."

// localVersion is the release that the local stacks and their functions say they are: that of this test.
var localVersion = endpoint.Version

// quickRetries are the RetryDelays with which a deployed stack can be tested.
const quickRetries = "1,1,1,1"

// system is the running system under test.
type system struct {
	api      string
	dynamo   *dynamodb.Client
	sqs      *sqs.Client
	outputs  map[string]string
	patience time.Duration // how long a test waits for what must happen
	interval time.Duration // how often it looks
	scale    time.Duration // how much faster than the machine's its clock is, a factor
	tunnel   *tunnel       // to the receivers, nil for one address each
	faults   *faults       // nil when deployed
	local    *localStack   // nil when deployed
	emulator *emulator     // nil but for an emulated AWS
}

var (
	under       *system // set once, by TestMain
	undisturbed = &further{scale: aloneScale, delays: "fast"}
	overDays    = &further{scale: dayScale, delays: "day"}
)

// further is a local stack beside the first one. It starts with the first test that needs it.
type further struct {
	scale  int
	delays string

	once    sync.Once
	started *system
	err     error

	turn sync.Mutex // is held by the test that has the stack to itself
}

func (f *further) start(t *testing.T) *system {
	t.Helper()
	f.once.Do(func() { f.started, f.err = startLocal(f.scale, f.delays) })
	if f.err != nil {
		t.Fatal(f.err)
	}
	return f.started
}

// daysOf returns the stack for tests that wait for days.
func daysOf(t *testing.T) *system {
	t.Helper()
	if testing.Short() {
		t.Skip("a stack of its own, with a clock that is in a hurry, is for runs at full speed")
	}
	if under.local == nil {
		t.Skip("takes days with the clock of AWS")
	}
	return overDays.start(t)
}

// alone makes the test parallel to those on other stacks and returns a stack that it has to itself until it ends: the
// dead-letter queue, the functions' processes, the keyring. A deployed stack is one for all, so that there the test
// is not parallel.
func alone(t *testing.T) *system {
	t.Helper()
	if testing.Short() {
		t.Skip("a stack of its own, with a clock that is in a hurry, is for runs at full speed")
	}
	if under.local == nil {
		return under
	}
	t.Parallel()
	on := undisturbed.start(t)
	undisturbed.turn.Lock()
	t.Cleanup(undisturbed.turn.Unlock)
	return on
}

func TestMain(m *testing.M) {
	stack := flag.String("stack", "", "name of a deployed CloudFormation `stack`; default: start the local stack")
	receiver := flag.String("receiver", "", "public https `URL` that reaches -receiver-listen")
	listen := flag.String("receiver-listen", "127.0.0.1:8080", "`address` on which the tests receive")
	ministack := flag.String("ministack", "", "`path` of MiniStack, to deploy to and run against")
	sam := flag.String("sam", "sam", "`path` of the SAM CLI that deploys to MiniStack")
	flag.Parse()
	var err error
	switch {
	case *ministack != "":
		under, err = startEmulated(*ministack, *sam)
	case *stack == "":
		under, err = startLocal(timeScale, "fast")
	case *receiver == "":
		err = fmt.Errorf("the endpoints of stack %s need a receiver: make e2e STACK=%s RECEIVER=URL, a public https address "+
			"(a tunnel, for example) that reaches %s on this machine", *stack, *stack, *listen)
	default:
		under, err = findDeployed(*stack)
	}
	if err == nil && *receiver != "" {
		under.tunnel, err = newTunnel(*receiver, *listen)
	}
	if err == nil && under.local != nil {
		err = flag.Set("test.parallel", "40") // tests wait more than they work, and for their turn
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end:", err)
		os.Exit(1)
	}
	code := m.Run()
	if under.emulator != nil {
		under.emulator.stop()
	}
	var stacks []*system
	for _, stack := range []*system{under, undisturbed.started, overDays.started} {
		if stack == nil || stack.local == nil {
			continue
		}
		if code != 0 && testing.Verbose() {
			fmt.Fprintf(os.Stderr, "The local stack of scale %d has printed:\n%s\n", stack.scale, stack.local.output)
		}
		stacks = append(stacks, stack)
	}
	if err := endLocal(stacks, code == 0 && wholeSuite()); err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end:", err)
		code = 1
	}
	if len(stacks) > 0 {
		binary, _ := buildLocal()
		os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// endLocal looks for secrets in all that the local stacks keep and have printed, and stops them. It checks the
// permissions in both directions: nothing was denied and, after a whole suite, without any one of the allowed actions
// something would have been.
func endLocal(stacks []*system, whole bool) (problem error) {
	var granted, needed []grant
	for _, stack := range stacks {
		_, err := planted.everywhere(context.Background(), stack)
		after, ended := stack.local.finish()
		for _, denied := range after.IAM.Denied {
			problem = errors.Join(problem, fmt.Errorf("the template's policies denied %s", denied))
		}
		granted, needed = after.IAM.Granted, append(needed, after.IAM.Needed...)
		problem = errors.Join(problem, err, ended)
		if text := stack.local.output.String(); strings.Contains(text, "WARNING: DATA RACE") {
			problem = errors.Join(problem, fmt.Errorf("the race detector has found something in a function:\n%s", text))
		}
	}
	for _, g := range granted {
		if whole && !slices.Contains(needed, g) {
			problem = errors.Join(problem, fmt.Errorf("%s: %s allows %s on %s, which nothing has needed",
				g.Function, g.Sid, g.Action, g.Resource))
		}
	}
	return problem
}

// wholeSuite reports whether no test was left out, so that what was not used is telling.
func wholeSuite() bool {
	run, skip := flag.Lookup("test.run"), flag.Lookup("test.skip")
	return !testing.Short() && run.Value.String() == "" && skip.Value.String() == ""
}

// localStack is the local stack as a process of its own.
type localStack struct {
	command *exec.Cmd
	output  *output
	done    chan error
	api     string
}

// buildLocal builds the local stack and returns its binary, which TestMain removes.
var buildLocal = sync.OnceValues(func() (binary string, err error) {
	directory, err := os.MkdirTemp("", "docuhook-e2e-")
	if err != nil {
		return "", err
	}
	binary = filepath.Join(directory, "local")
	build := exec.Command("go", "build", "-o", binary, "./infra/local")
	build.Dir = moduleRoot
	if out, err := build.CombinedOutput(); err != nil {
		return binary, fmt.Errorf("building the local stack: %w\n%s", err, out)
	}
	return binary, nil
})

// startLocal starts a local stack on free ports, so many times faster and with the delays of a preset.
func startLocal(scale int, delays string) (*system, error) {
	binary, err := buildLocal()
	if err != nil {
		return nil, err
	}
	ca, err := authority(filepath.Dir(binary))
	if err != nil {
		return nil, err
	}
	arguments := []string{
		"-ca", ca,
		"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-demo=false",
		"-time-scale", fmt.Sprint(scale), "-parameter", "RetryDelays=" + delays,
		// All that there is to be printed, for the secrets that must not be in it.
		"-details", "-parameter", "LogLevel=DEBUG",
		// The suite makes more requests at once than one customer would.
		"-parameter", "ApiRateLimit=10000", "-parameter", "ApiBurstLimit=10000",
		// A minute of the stack is short, and no test but that of the budget sends several.
		"-parameter", "TestsPerMinute=2",
	}
	if raceEnabled() {
		arguments = append(arguments, "-race")
	}
	stack := &localStack{command: exec.Command(binary, arguments...), output: &output{}, done: make(chan error, 1)}
	stack.command.Dir = moduleRoot
	stack.command.Stderr = stack.output
	stdout, err := stack.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := stack.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		stack.output.copy(stdout)
		stack.done <- stack.command.Wait()
	}()
	api, err := stack.output.waitFor(regexp.MustCompile(`API +(http://\S+)`), stack.done)
	if err != nil {
		return nil, fmt.Errorf("starting the local stack: %w\n%s", err, stack.output)
	}
	stack.api = api
	var found localConfig
	if err := stack.config(&found); err != nil {
		return nil, err
	}
	return newSystem(found, stack, scale), nil
}

// authority writes the certificate of all of httptest's servers into a folder and returns its path.
func authority(folder string) (string, error) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	path := filepath.Join(folder, "authority.pem")
	return path, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600)
}

// raceEnabled reports whether this test runs with the race detector; then the functions do as well.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func newSystem(found localConfig, stack *localStack, scale int) *system {
	configuration := aws.Config{
		Region: found.Region, BaseEndpoint: &found.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("administrator", "any", ""),
		HTTPClient:  wiring.Transport{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	return &system{
		api:     found.API,
		dynamo:  dynamodb.NewFromConfig(configuration),
		sqs:     sqs.NewFromConfig(configuration),
		outputs: found.Outputs,
		// A local stack answers at once, but the machine may be busy.
		patience: 2 * time.Minute, interval: 25 * time.Millisecond,
		scale: time.Duration(scale), faults: &faults{api: found.API}, local: stack,
	}
}

// localConfig is what the local stack tells about itself.
type localConfig struct {
	API      string            `json:"api"`
	Endpoint string            `json:"endpoint"`
	Region   string            `json:"region"`
	Outputs  map[string]string `json:"outputs"`
	IAM      struct {
		Granted []grant           `json:"granted"`
		Needed  []grant           `json:"needed"`
		Denied  []json.RawMessage `json:"denied"`
	} `json:"iam"`
	Processes map[string][]process `json:"processes"`
}

// process runs a function.
type process struct {
	PID  int  `json:"pid"`
	Busy bool `json:"busy"`
}

type grant struct {
	Function string `json:"function"`
	Sid      string `json:"sid"`
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

func (s *localStack) config(into *localConfig) error {
	response, err := http.Get(s.api + "/_local/config")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// finish stops the stack and returns what it told last about itself.
func (s *localStack) finish() (after localConfig, problem error) {
	problem = s.config(&after)
	s.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.done:
		return after, errors.Join(problem, err)
	case <-time.After(30 * time.Second):
		s.command.Process.Kill()
		return after, errors.Join(problem, errors.New("the local stack did not stop within 30 s"))
	}
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) copy(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		o.Write(line)
		if err != nil {
			return
		}
	}
}

// waitFor returns the first group of the pattern once it is printed.
func (o *output) waitFor(pattern *regexp.Regexp, done <-chan error) (string, error) {
	timeout := time.After(5 * time.Minute) // a first build on a slow machine
	for {
		o.mu.Lock()
		match := pattern.FindSubmatch(o.text.Bytes())
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		if match != nil {
			return string(match[1]), nil
		}
		select {
		case <-more:
		case err := <-done:
			return "", fmt.Errorf("it has ended: %v", err)
		case <-timeout:
			return "", errors.New("nothing for 5 minutes")
		}
	}
}

// findDeployed finds a stack in the account of the environment's credentials.
func findDeployed(name string) (*system, error) {
	configuration, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		return nil, err
	}
	return deployed(name, configuration)
}

// deployed reads the outputs of a CloudFormation stack.
func deployed(name string, configuration aws.Config) (*system, error) {
	stacks := cloudformation.NewFromConfig(configuration)
	out, err := stacks.DescribeStacks(context.Background(), &cloudformation.DescribeStacksInput{StackName: &name})
	if err != nil {
		return nil, fmt.Errorf("reading stack %s: %w", name, err)
	}
	for _, parameter := range out.Stacks[0].Parameters {
		key, value := aws.ToString(parameter.ParameterKey), aws.ToString(parameter.ParameterValue)
		if key == "RetryDelays" && value != quickRetries {
			return nil, fmt.Errorf("stack %s has RetryDelays=%s, which takes too long for a test: deploy it with "+
				"--parameter-overrides Environment=sandbox RetryDelays=%s", name, value, quickRetries)
		}
	}
	found := &system{
		dynamo: dynamodb.NewFromConfig(configuration), sqs: sqs.NewFromConfig(configuration), outputs: map[string]string{}, scale: 1,
		// The counts of messages in a queue are right after a while only, and the API limits its requests.
		patience: 2 * time.Minute, interval: 250 * time.Millisecond,
	}
	for _, o := range out.Stacks[0].Outputs {
		found.outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	if found.api = strings.TrimSuffix(found.outputs["ApiUrl"], "/"); found.api == "" {
		return nil, fmt.Errorf("stack %s has no output ApiUrl", name)
	}
	return found, nil
}
