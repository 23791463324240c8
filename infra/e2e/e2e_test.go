// Package e2e is the end-to-end suite: a black box that needs only an API URL and the names of the
// tables and queues. Each test is an organization of its own, with an API key of its own.
//
// By default it builds and starts the local stack and runs against that. Tests that kill processes, let calls of AWS
// fail or look at permissions run only there, and those that wait for days on a second one, whose clock is so fast
// that a day takes 17 s. Against a deployed stack it runs as
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
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
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
)

const (
	// timeScale is how much faster the clock of the local stack is: with RetryDelays=fast, retries after 10 s, 1, 5
	// and 15 minutes come after 0.05, 0.3, 1.5 and 4.5 s.
	timeScale = 200
	// dayScale is the scale of the stack on which a test waits for days: with RetryDelays=day, the retry after 22 h
	// comes after 16 s.
	dayScale = 5000
)

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
	under *system // set once, by TestMain

	// overDays is a local stack of its own for tests that wait for days. It starts with the first of them.
	overDays = sync.OnceValues(func() (started *system, err error) {
		days, err = startLocal(dayScale, "day")
		return days, err
	})
	days *system // what overDays has started, for TestMain to end
)

// daysOf returns the stack for tests that wait for days.
func daysOf(t *testing.T) *system {
	t.Helper()
	if under.local == nil {
		t.Skip("takes days with the clock of AWS")
	}
	started, err := overDays()
	if err != nil {
		t.Fatal(err)
	}
	return started
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
		err = flag.Set("test.parallel", "16") // tests wait more than they work
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end:", err)
		os.Exit(1)
	}
	code := m.Run()
	if under.emulator != nil {
		under.emulator.stop()
	}
	for _, stack := range []*system{under, days} {
		if stack == nil || stack.local == nil {
			continue
		}
		if code != 0 && testing.Verbose() {
			fmt.Fprintf(os.Stderr, "The local stack of scale %d has printed:\n%s\n", stack.scale, stack.local.output)
		}
		// What is allowed must be needed by the tests on the first stack; the other one sees few of them.
		if err := stack.end(code == 0 && stack == under && wholeSuite()); err != nil {
			fmt.Fprintln(os.Stderr, "end-to-end:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// end looks for secrets in all that a local stack keeps and has printed, and stops it.
func (s *system) end(whole bool) error {
	_, err := planted.everywhere(context.Background(), s)
	return errors.Join(err, s.local.finish(whole))
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

// localVersion is the release that the local stack is built as; the functions that it builds have it too.
const localVersion = "0.0.0-e2e"

// startLocal builds and starts a local stack on free ports, so many times faster and with the delays of a preset.
func startLocal(scale int, delays string) (*system, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	directory, err := os.MkdirTemp("", "docuhook-e2e-")
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(directory, "local")
	version := "-X github.com/docuhook/docuhook/shared/endpoint.Version=" + localVersion
	build := exec.Command("go", "build", "-ldflags", version, "-o", binary, "./infra/local")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the local stack: %w\n%s", err, out)
	}
	arguments := []string{
		"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-demo=false",
		"-time-scale", fmt.Sprint(scale), "-parameter", "RetryDelays=" + delays,
		// All that there is to be printed, for the secrets that must not be in it.
		"-metrics", "-parameter", "LogLevel=DEBUG",
		// The suite makes more requests at once than one customer would.
		"-parameter", "ApiRateLimit=10000", "-parameter", "ApiBurstLimit=10000",
	}
	if raceEnabled() {
		arguments = append(arguments, "-race")
	}
	stack := &localStack{command: exec.Command(binary, arguments...), output: &output{}, done: make(chan error, 1)}
	stack.command.Dir = root
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
		os.RemoveAll(directory)
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

// raceEnabled reports whether this test runs with the race detector; then the functions do as well.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func newSystem(found localConfig, stack *localStack, scale int) *system {
	configuration := aws.Config{
		Region: found.Region, BaseEndpoint: &found.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("administrator", "any", ""),
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

// finish stops the stack. After a whole suite it also checks the permissions in both directions:
// nothing was denied, and without any one of the allowed actions something would have been.
func (s *localStack) finish(whole bool) error {
	var after localConfig
	problem := s.config(&after)
	if problem == nil {
		for _, denied := range after.IAM.Denied {
			problem = errors.Join(problem, fmt.Errorf("the template's policies denied %s", denied))
		}
		for _, granted := range after.IAM.Granted {
			if whole && !slices.Contains(after.IAM.Needed, granted) {
				problem = errors.Join(problem, fmt.Errorf("%s: %s allows %s on %s, which nothing has needed",
					granted.Function, granted.Sid, granted.Action, granted.Resource))
			}
		}
	}
	s.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.done:
		return errors.Join(problem, err)
	case <-time.After(30 * time.Second):
		s.command.Process.Kill()
		return errors.Join(problem, errors.New("the local stack did not stop within 30 s"))
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
