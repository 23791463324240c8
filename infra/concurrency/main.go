// Command concurrency says, before anything is built and deployed, whether the account may run as many functions at
// once as the stack can use. Where it may not, Lambda turns batches away, and what is turned away five times ends in
// the dead-letter queue without one POST.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/docuhook/docuhook/infra/deployed"
)

const usage = `Says whether the account has the concurrency that a stack of an environment needs.

    concurrency -environment sandbox [-- what sam deploy gets]

Of what sam deploy gets, it heeds --region, --profile, and the parameters of --parameter-overrides.

`

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// What the stack needs beside what the template declares: the sweep runs once a minute, and somebody who calls the
// API needs authorize and one more function.
const (
	sweepNeeds = 1
	apiNeeds   = 2
)

// leastConcurrency is the least that Lambda takes for a queue.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
const leastConcurrency = 2

// usualQuota is what accounts have that are no longer new. Less is not worth asking for.
const usualQuota = 1000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := &command{out: os.Stdout, err: os.Stderr, now: time.Now}
	os.Exit(c.run(ctx, os.Args[1:]))
}

// command is one run of the program.
type command struct {
	out, err io.Writer
	now      func() time.Time

	stack       deployed.Flags
	template    string
	environment string
	overrides   map[string]string // parameters by name
}

// run returns the exit code.
func (c *command) run(ctx context.Context, arguments []string) int {
	set := flag.NewFlagSet("concurrency", flag.ContinueOnError)
	set.SetOutput(c.err)
	set.Usage = func() {
		fmt.Fprint(c.err, usage)
		set.PrintDefaults()
	}
	set.StringVar(&c.environment, "environment", "",
		"the stack's parameter Environment, a `name`, unless --parameter-overrides has another")
	set.StringVar(&c.template, "template", "template.yaml", "the SAM template, `file`")
	set.StringVar(&c.stack.Region, "region", "", "AWS `region` (default from the environment or the profile)")
	set.StringVar(&c.stack.Endpoint, "endpoint", "", "`URL` to use instead of AWS")
	if set.Parse(arguments) != nil {
		return exitUsage
	}
	c.readDeployFlags(set.Args())
	needs, err := c.needs()
	if err != nil {
		fmt.Fprintln(c.err, "concurrency:", err)
		return exitUsage
	}
	loaded, err := c.stack.Config(ctx)
	if err != nil {
		fmt.Fprintln(c.err, "concurrency:", err)
		return exitFailure
	}
	limits, err := readAccount(ctx, loaded, c.now())
	switch {
	case isDenied(err):
		fmt.Fprintf(c.err, "concurrency: not checked, whether the account has room for %d: %v\n", total(needs), err)
		return 0
	case err != nil:
		fmt.Fprintln(c.err, "concurrency:", err)
		return exitFailure
	case limits.Unreserved < total(needs):
		c.explain(needs, limits, loaded.Region)
		return exitFailure
	}
	fmt.Fprintf(c.out, "%s needs a concurrency of %d; the account has %d in %s\n",
		c.environment, total(needs), limits.Unreserved, loaded.Region)
	return 0
}

// readDeployFlags picks what matters here from the arguments of sam deploy.
func (c *command) readDeployFlags(arguments []string) {
	c.overrides = map[string]string{}
	for i, argument := range arguments {
		name, value, assigned := strings.Cut(argument, "=")
		if !assigned && i+1 < len(arguments) {
			value = arguments[i+1]
		}
		switch {
		case name == "--region":
			c.stack.Region = value
		case name == "--profile":
			c.stack.Profile = value
		case assigned && !strings.HasPrefix(name, "-"):
			c.overrides[name] = value
		}
	}
	if other := c.overrides["Environment"]; other != "" {
		c.environment = other
	}
}

// need is what a part of the stack can use at once.
type need struct {
	what string
	n    int
}

func total(needs []need) int {
	sum := 0
	for _, one := range needs {
		sum += one.n
	}
	return sum
}

// needs reads what the template declares for the environment.
func (c *command) needs() ([]need, error) {
	source, err := os.ReadFile(c.template)
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	var template struct {
		Mappings struct {
			Concurrency map[string]map[string]int `yaml:"Concurrency"`
		} `yaml:"Mappings"`
	}
	if err := yaml.Unmarshal(source, &template); err != nil {
		return nil, fmt.Errorf("reading %s: %w", c.template, err)
	}
	declared, ok := template.Mappings.Concurrency[c.environment]
	if !ok {
		known := slices.Sorted(maps.Keys(template.Mappings.Concurrency))
		return nil, fmt.Errorf("there is no environment %q, only %s", c.environment, strings.Join(known, " and "))
	}
	needs := []need{
		{what: "deliver, of DeliveryQueue (DeliverConcurrency)", n: declared["DeliveryQueue"]},
		{what: "deliver, of RetryQueue (RetryConcurrency)", n: declared["RetryQueue"]},
		{what: "dispatch, of DispatchRetryQueue", n: declared["DispatchRetryQueue"]},
		{what: "dispatch, of a shard of the documents' stream", n: declared["DispatchParallelization"]},
		{what: "sweep", n: sweepNeeds},
		{what: "the API", n: apiNeeds},
	}
	for i, parameter := range []string{"DeliverConcurrency", "RetryConcurrency"} {
		n, err := strconv.Atoi(c.overrides[parameter])
		if c.overrides[parameter] != "" && err != nil {
			return nil, fmt.Errorf("%s: %q is no number", parameter, c.overrides[parameter])
		}
		if n > 0 { // 0 takes what fits the environment
			needs[i].n = n
		}
	}
	return needs, nil
}

// explain says what is missing, and how to get it.
func (c *command) explain(needs []need, limits account, region string) {
	missing := total(needs) - limits.Unreserved
	fmt.Fprintf(c.err, "concurrency: a stack with Environment=%s can run %d functions at once:\n\n", c.environment, total(needs))
	table := tabwriter.NewWriter(c.err, 0, 0, 2, ' ', 0)
	for _, one := range needs {
		fmt.Fprintf(table, "    %s\t%d\n", one.what, one.n)
	}
	table.Flush()
	fmt.Fprintf(c.err, `
The account may run %d in %s, of which other functions have reserved %d: %d are missing.
Ask for more (Service Quotas, AWS Lambda, "Concurrent executions"), which may take a day:

    aws service-quotas request-service-quota-increase --region %s \
      --service-code lambda --quota-code L-B99A9384 --desired-value %d
`, limits.Limit, region, limits.Limit-limits.Unreserved, missing, region, max(usualQuota, limits.Limit+missing))
	needs[0].n, needs[1].n = leastConcurrency, leastConcurrency
	if total(needs) <= limits.Unreserved {
		fmt.Fprintf(c.err, `
Or let the stack use less, and deliver less at once:

    FLAGS='--parameter-overrides Environment=%s DeliverConcurrency=%d RetryConcurrency=%d'
`, c.environment, leastConcurrency, leastConcurrency)
	}
}
