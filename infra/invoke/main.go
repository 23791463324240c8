// Command invoke runs one function with a sample event: in the local stack, in SAM's container beside it, or against
// a deployed stack.
//
// It asks whoever has the function's environment for it (Lambda's GetFunctionConfiguration, which the local stack
// answers as well), so that the container has the variables that the function has there. What is missing is said
// before anything is installed or built.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docuhook/docuhook/infra/deployed"
)

const usage = `Runs a function with a sample event, in SAM's container if there is Docker, and else in the local stack.

    invoke -function deliver -event first-attempt [-- flags of sam local invoke]
    invoke -function start-api                    [-- flags of sam local start-api]

`

// startAPI stands for a function: all of them, behind sam local start-api.
const startAPI = "start-api"

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := &command{root: ".", out: os.Stdout, err: os.Stderr, now: time.Now, start: start}
	os.Exit(c.run(ctx, os.Args[1:]))
}

// command is one run of the program.
type command struct {
	root     string // of the repository
	out, err io.Writer
	now      func() time.Time
	start    func(cmd *exec.Cmd) error // runs a program to its end

	stack        deployed.Flags
	local        string // URL of the local stack's API
	function     string // its folder's name
	event        string // a file, or the name of one beside the function
	docker       string // yes, no or auto
	architecture string
	sam          string
	samFlags     []string
}

func start(cmd *exec.Cmd) error { return cmd.Run() }

// run returns the exit code.
func (c *command) run(ctx context.Context, arguments []string) int {
	set := flag.NewFlagSet("invoke", flag.ContinueOnError)
	set.SetOutput(c.err)
	set.Usage = func() {
		fmt.Fprint(c.err, usage)
		set.PrintDefaults()
	}
	set.StringVar(&c.function, "function", "deliver",
		"`name` of the function's folder, or start-api for all of them behind sam local start-api")
	set.StringVar(&c.event, "event", "", "`file` of the event, or its name among the function's events (default the first of them)")
	set.StringVar(&c.docker, "docker", "auto", "run it in SAM's container: `yes`, no, or auto, which is yes where there is Docker")
	set.StringVar(&c.local, "local", "http://127.0.0.1:3000", "`URL` of the local stack's API")
	set.StringVar(&c.stack.Name, "stack", "", "`name` of a deployed stack to use instead of the local one, with your credentials")
	set.StringVar(&c.stack.Endpoint, "endpoint", "", "`URL` to use instead of AWS, with -stack")
	set.StringVar(&c.architecture, "architecture", machine(), "of the container, arm64 or x86_64, a `name`")
	set.StringVar(&c.sam, "sam", ".build/aws-sam-cli/bin/sam", "SAM CLI, a `file` that make installs")
	if set.Parse(arguments) != nil {
		return exitUsage
	}
	c.samFlags = set.Args()
	event, err := c.read()
	if err == nil {
		err = c.decideDocker(ctx)
	}
	if err != nil {
		fmt.Fprintln(c.err, "invoke:", err)
		return exitUsage
	}
	if err := c.invoke(ctx, event); err != nil {
		fmt.Fprintln(c.err, "invoke:", err)
		return exitFailure
	}
	return 0
}

// invoke runs the function and shows what it answers.
func (c *command) invoke(ctx context.Context, event []byte) error {
	t, err := c.target(ctx)
	if err != nil {
		return err
	}
	if event, err = c.prepare(ctx, event); err != nil {
		return err
	}
	if c.docker == "yes" {
		return c.inContainer(ctx, t, event)
	}
	began := c.now()
	answer, err := t.invoke(ctx, c.function, event, c.now())
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "%s%s in %s, %s\n", answer.log, c.function, t, c.now().Sub(began).Round(time.Millisecond))
	fmt.Fprintf(c.out, "%s\n", pretty(answer.body))
	if answer.failed != "" {
		return fmt.Errorf("the function failed (%s)", answer.failed)
	}
	return nil
}

// read finds the function and its event, or says which ones there are.
func (c *command) read() ([]byte, error) {
	if c.function == startAPI {
		return nil, nil
	}
	functions := c.functions()
	if !slices.Contains(functions, c.function) {
		return nil, fmt.Errorf("there is no function %q (F); there are %s", c.function, strings.Join(functions, ", "))
	}
	folder := filepath.Join(c.root, "functions", c.function, "events")
	events := names(filepath.Join(folder, "*.json"), func(file string) string { return strings.TrimSuffix(filepath.Base(file), ".json") })
	if c.event == "" {
		c.event = events[0]
	}
	file := c.event
	if slices.Contains(events, c.event) {
		file = filepath.Join(folder, c.event+".json")
	}
	event, err := os.ReadFile(file)
	if err == nil && !json.Valid(event) {
		err = fmt.Errorf("%s is no JSON", file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the event (EVENT): %w; %s has %s, and any other file will do",
			err, c.function, strings.Join(events, ", "))
	}
	return event, nil
}

// functions are the names of their folders.
func (c *command) functions() []string {
	return names(filepath.Join(c.root, "functions", "*", "main.go"), func(file string) string { return filepath.Base(filepath.Dir(file)) })
}

// names returns what name makes of the files that a pattern matches.
func names(pattern string, name func(file string) string) []string {
	files, err := filepath.Glob(pattern)
	if err != nil {
		panic(err) // the patterns are those above
	}
	var all []string
	for _, file := range files {
		all = append(all, name(file))
	}
	return all
}

// decideDocker makes yes or no of auto.
func (c *command) decideDocker(ctx context.Context) error {
	if c.docker == "no" && c.function != startAPI {
		return nil
	}
	answers := c.start(exec.CommandContext(ctx, "docker", "info")) == nil
	switch {
	case answers:
		c.docker = "yes"
	case c.function == startAPI:
		return errors.New("sam local start-api needs Docker, and docker info does not answer; the API of make run needs none")
	case c.docker == "yes":
		return errors.New("docker info does not answer; DOCKER=no asks the local stack, which needs no Docker")
	default:
		c.docker = "no"
		fmt.Fprintln(c.err, "There is no Docker here: asking the stack itself.")
	}
	return nil
}

// logicalID is the function's in the template.
func logicalID(folder string) string {
	var id strings.Builder
	for word := range strings.SplitSeq(folder, "-") {
		id.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return id.String() + "Function"
}

// pretty indents JSON, and the JSON in the body of an answer of the API.
func pretty(answer []byte) []byte {
	var fields map[string]json.RawMessage
	var body string
	if json.Unmarshal(answer, &fields) == nil && json.Unmarshal(fields["body"], &body) == nil && json.Valid([]byte(body)) {
		fields["body"] = json.RawMessage(body)
		if unfolded, err := json.Marshal(fields); err == nil {
			answer = unfolded
		}
	}
	var out bytes.Buffer
	if json.Indent(&out, answer, "", "  ") != nil {
		return answer
	}
	return out.Bytes()
}
