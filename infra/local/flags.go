package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/lambda"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/stack"
	"github.com/docuhook/docuhook/infra/samples"
)

// settings are the flags.
type settings struct {
	addr, awsAddr string
	template      string
	organizations []stack.Organization
	parameters    map[string]string
	timeScale     float64
	faults        fault.Plan
	concurrency   int
	inFlightLimit int
	demo          bool
	details       bool
	samples       bool
	docker        bool
	public        bool
	ca            string
	race          bool
	enforceIAM    bool
	ignored       bool
}

func parseFlags(args []string, stdout io.Writer) (settings, error) {
	s := settings{parameters: map[string]string{}}
	flags := flag.NewFlagSet("local", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run says what is wrong, in one line
	flags.StringVar(&s.addr, "addr", "127.0.0.1:3000", "loopback `address` of the API")
	flags.StringVar(&s.awsAddr, "aws-addr", "127.0.0.1:4566", "loopback `address` of the AWS services")
	flags.StringVar(&s.template, "template", "template.yaml", "the SAM template, `file`; functions are built beside it")
	flags.Float64Var(&s.timeScale, "time-scale", 1, "let the clock of stack and functions run `N` times faster; deadlines stay real")
	flags.IntVar(&s.concurrency, "account-concurrency", lambda.Account, "how many invocations the account may run at once, `N`")
	flags.IntVar(&s.inFlightLimit, "in-flight-limit", sqs.InFlightLimit, "how many messages of a queue may be in flight, `N`")
	flags.BoolVar(&s.demo, "demo", true, "start a receiver, register it, and send it one webhook")
	flags.BoolVar(&s.details, "details", false, "print every webhook in full, and the functions' lines of batches, idle sweeps and metrics")
	flags.BoolVar(&s.samples, "samples", false, "be the world of the sample events, in which nothing happens by itself")
	flags.BoolVar(&s.docker, "docker", false, "let the AWS services listen on Docker's bridge too, for containers on Linux")
	flags.BoolVar(&s.public, "public", false, "let webhooks leave this machine; without it only endpoints on loopback addresses are called")
	flags.StringVar(&s.ca, "ca", "", "trust the authorities of endpoints in this `file` of PEM certificates")
	flags.BoolVar(&s.race, "race", false, "build the functions with the race detector")
	flags.BoolVar(&s.enforceIAM, "enforce-iam", true, "refuse what a function's policies do not allow; false: only report it")
	flags.BoolVar(&s.ignored, "ignored", false, "list what of the template has no effect here, and why, and exit")
	flags.Func("faults", "plan of faults, `JSON` or a file's name; see the package fault", func(value string) error {
		text := []byte(value)
		if !strings.HasPrefix(value, "{") {
			var err error
			if text, err = os.ReadFile(value); err != nil {
				return err
			}
		}
		var err error
		s.faults, err = fault.ParsePlan(text)
		return err
	})
	flags.Func("organization", "`ID=API_KEY` of an organization; repeatable (default org_local=dk_test_local)", func(value string) error {
		id, key, _ := strings.Cut(value, "=")
		if id == "" || key == "" {
			return errors.New("must be ID=API_KEY")
		}
		for _, other := range s.organizations {
			if other.Key == key {
				return fmt.Errorf("has the same API key as %s", other.ID)
			}
		}
		s.organizations = append(s.organizations, stack.Organization{ID: id, Key: key})
		return nil
	})
	flags.Func("parameter", "`NAME=VALUE` of a template parameter; repeatable", func(value string) error {
		name, value, ok := strings.Cut(value, "=")
		if !ok || name == "" {
			return errors.New("must be NAME=VALUE")
		}
		if _, twice := s.parameters[name]; twice {
			return fmt.Errorf("%s is given twice", name)
		}
		s.parameters[name] = value
		return nil
	})
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, "Runs template.yaml on this machine, for development and tests.\n\n")
		flags.SetOutput(stdout)
		flags.PrintDefaults()
	}
	if err != nil {
		return settings{}, err
	}
	if flags.NArg() > 0 {
		return settings{}, fmt.Errorf("unknown argument %q; see -help", flags.Arg(0))
	}
	if !(s.timeScale > 0) {
		return settings{}, fmt.Errorf("-time-scale must be above 0, got %v", s.timeScale)
	}
	if s.concurrency < 1 || s.inFlightLimit < 1 {
		return settings{}, errors.New("-account-concurrency and -in-flight-limit must be above 0")
	}
	if len(s.organizations) == 0 {
		s.organizations = []stack.Organization{{ID: "org_local", Key: "dk_test_local"}}
	}
	if s.samples && s.faults.Rules == nil {
		// The sample events find one organization held up.
		s.faults.Rules = []fault.Rule{{Operation: "Query", Contains: samples.Foreign, Kind: fault.Throttled, Probability: 1}}
	}
	return s, nil
}
