// Package e2e is the end-to-end suite: a black box that needs only an API URL and the names of the
// tables and queues. Each test is an organization of its own, with an API key of its own.
//
// By default it builds and starts the local stack and runs against that; a few tests that kill
// processes or look at permissions run only there. Against a deployed stack it runs as
//
//	go test ./infra/e2e -stack NAME -receiver URL -receiver-listen ADDRESS
//
// where URL is a public https address that reaches ADDRESS on this machine, for example a tunnel.
package e2e

import (
	"bufio"
	"bytes"
	"cmp"
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

// timeScale is how much faster SQS times pass in the local stack: retries after 10 s, 1, 5 and 15
// minutes come after 0.05, 0.3, 1.5 and 4.5 s.
const timeScale = 200

// system is the running system under test.
type system struct {
	api              string
	dynamo           *dynamodb.Client
	sqs              *sqs.Client
	outputs          map[string]string
	receiverURL      string // public base URL of the receivers, "" for one address each
	receiverListener string
	local            *localStack // nil when deployed
}

var under *system // set once, by TestMain

func TestMain(m *testing.M) {
	stack := flag.String("stack", "", "name of a deployed CloudFormation `stack`; default: start the local stack")
	receiver := flag.String("receiver", "", "public https `URL` that reaches -receiver-listen")
	listen := flag.String("receiver-listen", "127.0.0.1:8080", "`address` on which the tests receive")
	api := flag.String("api", "", "`URL` of the deployed API, if it is not the stack's output ApiUrl")
	endpoint := flag.String("endpoint", "", "`URL` of the AWS services, for an emulated AWS")
	flag.Parse()
	var err error
	if *stack == "" {
		under, err = startLocal()
	} else {
		under, err = findDeployed(*stack, *endpoint, *api)
		if err == nil {
			under.receiverURL, under.receiverListener = strings.TrimSuffix(*receiver, "/"), *listen
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end:", err)
		os.Exit(1)
	}
	code := m.Run()
	if under.local != nil {
		if code != 0 && testing.Verbose() {
			fmt.Fprintf(os.Stderr, "The local stack has printed:\n%s\n", under.local.output)
		}
		if err := under.local.finish(code == 0 && wholeSuite()); err != nil {
			fmt.Fprintln(os.Stderr, "end-to-end:", err)
			code = 1
		}
	}
	os.Exit(code)
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

// startLocal builds and starts the local stack on free ports.
func startLocal() (*system, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	directory, err := os.MkdirTemp("", "docuhook-e2e-")
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(directory, "local")
	build := exec.Command("go", "build", "-o", binary, "./infra/local")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the local stack: %w\n%s", err, out)
	}
	arguments := []string{
		"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-demo=false", "-time-scale", fmt.Sprint(timeScale),
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
	return newSystem(found, stack), nil
}

// raceEnabled reports whether this test runs with the race detector; then the functions do as well.
func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func newSystem(found localConfig, stack *localStack) *system {
	configuration := aws.Config{
		Region: found.Region, BaseEndpoint: &found.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("administrator", "any", ""),
	}
	return &system{
		api:     found.API,
		dynamo:  dynamodb.NewFromConfig(configuration),
		sqs:     sqs.NewFromConfig(configuration),
		outputs: found.Outputs,
		local:   stack,
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
		Used    []grant           `json:"used"`
		Denied  []json.RawMessage `json:"denied"`
	} `json:"iam"`
	Processes map[string][]struct {
		PID  int  `json:"pid"`
		Busy bool `json:"busy"`
	} `json:"processes"`
}

type grant struct {
	Function string `json:"function"`
	Sid      string `json:"sid"`
	Action   string `json:"action"`
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
// nothing was denied, and nothing that is allowed was never used.
func (s *localStack) finish(whole bool) error {
	var after localConfig
	problem := s.config(&after)
	if problem == nil {
		for _, denied := range after.IAM.Denied {
			problem = errors.Join(problem, fmt.Errorf("the template's policies denied %s", denied))
		}
		for _, granted := range after.IAM.Granted {
			if whole && !slices.Contains(after.IAM.Used, granted) && !unusedLocally(granted) {
				problem = errors.Join(problem, fmt.Errorf("%s: %s allows %s, which nothing has used", granted.Function, granted.Sid, granted.Action))
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

// unusedLocally reports whether a permission is one that AWS itself uses in the function's name:
// to poll its event sources and to write its logs and traces.
func unusedLocally(g grant) bool {
	service, _, _ := strings.Cut(g.Action, ":")
	return service == "logs" || service == "xray" || slices.Contains([]string{"ReadStream", "ListStreams", "Consume", "ReportFailure"}, g.Sid)
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

// findDeployed reads the outputs of a CloudFormation stack.
func findDeployed(name, endpoint, api string) (*system, error) {
	ctx := context.Background()
	configuration, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	if endpoint != "" {
		configuration.BaseEndpoint = &endpoint
	}
	out, err := cloudformation.NewFromConfig(configuration).DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if err != nil {
		return nil, fmt.Errorf("reading stack %s: %w", name, err)
	}
	found := &system{outputs: map[string]string{}, dynamo: dynamodb.NewFromConfig(configuration), sqs: sqs.NewFromConfig(configuration)}
	for _, o := range out.Stacks[0].Outputs {
		found.outputs[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	if found.api = strings.TrimSuffix(cmp.Or(api, found.outputs["ApiUrl"]), "/"); found.api == "" {
		return nil, fmt.Errorf("stack %s has no output ApiUrl", name)
	}
	return found, nil
}
