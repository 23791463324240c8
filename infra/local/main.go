// Command local runs the whole system on this machine, without AWS and without Docker.
//
// It reads template.yaml and runs what the template declares: the HTTP API with its authorizer,
// every function as the binary that would be deployed, DynamoDB with streams, SQS, Secrets Manager
// and the event source mappings between them, with each function's IAM policies enforced. Because
// nothing is said twice, it cannot drift from the template: what it does not support is an error at
// start. It is for development and tests, keeps everything in memory, and listens on loopback only.
//
// Usage:
//
//	go run ./infra/local [flags]
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/docuhook/docuhook/infra/local/internal/template"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal a second one ends the process at once, and the functions' processes with it.
	context.AfterFunc(ctx, stop)
	// Everything is in memory and most of it stays, so collecting half as often costs little and makes
	// the services a tenth faster.
	debug.SetGCPercent(200)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are the flags.
type settings struct {
	addr, awsAddr string
	template      string
	organizations []organization
	parameters    map[string]string
	timeScale     float64
	demo          bool
	public        bool
	race          bool
	enforceIAM    bool
	metrics       bool
	ignored       bool
}

// organization is a customer with an API key.
type organization struct{ id, key string }

func parseFlags(args []string, stdout io.Writer) (settings, error) {
	s := settings{parameters: map[string]string{}}
	flags := flag.NewFlagSet("local", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run says what is wrong, in one line
	flags.StringVar(&s.addr, "addr", "127.0.0.1:3000", "loopback `address` of the API")
	flags.StringVar(&s.awsAddr, "aws-addr", "127.0.0.1:4566", "loopback `address` of the AWS services")
	flags.StringVar(&s.template, "template", "template.yaml", "the SAM template, `file`; functions are built beside it")
	flags.Float64Var(&s.timeScale, "time-scale", 1, "let all SQS times pass `N` times faster")
	flags.BoolVar(&s.demo, "demo", true, "start a receiver, register it, and send it one webhook")
	flags.BoolVar(&s.public, "public", false, "let webhooks leave this machine; without it only endpoints on loopback addresses are called")
	flags.BoolVar(&s.race, "race", false, "build the functions with the race detector")
	flags.BoolVar(&s.enforceIAM, "enforce-iam", true, "refuse what a function's policies do not allow; false: only report it")
	flags.BoolVar(&s.metrics, "metrics", false, "show the metrics among the functions' log lines")
	flags.BoolVar(&s.ignored, "ignored", false, "list what of the template has no effect here, and why, and exit")
	flags.Func("organization", "`ID=API_KEY` of an organization; repeatable (default org_local=dk_test_local)", func(value string) error {
		id, key, _ := strings.Cut(value, "=")
		if id == "" || key == "" {
			return errors.New("must be ID=API_KEY")
		}
		for _, other := range s.organizations {
			if other.key == key {
				return fmt.Errorf("has the same API key as %s", other.id)
			}
		}
		s.organizations = append(s.organizations, organization{id, key})
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
	if len(s.organizations) == 0 {
		s.organizations = []organization{{"org_local", "dk_test_local"}}
	}
	return s, nil
}

// run is the command; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = serve(ctx, s, stdout, stderr)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "local:", err)
		return 1
	}
	return 0
}

// serve runs the stack until ctx ends.
func serve(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	source, err := os.ReadFile(s.template)
	if err != nil {
		return fmt.Errorf("reading the template: %w", err)
	}
	api, err := listen("-addr", s.addr)
	if err != nil {
		return err
	}
	defer api.Close()
	aws, err := listen("-aws-addr", s.awsAddr)
	if err != nil {
		return err
	}
	defer aws.Close()
	declared, err := template.Parse(source, template.Options{Parameters: s.parameters, Endpoint: "http://" + aws.Addr().String()})
	if err != nil {
		return fmt.Errorf("%s:\n%w", s.template, err)
	}
	if s.ignored {
		for _, i := range declared.Ignored {
			fmt.Fprintf(stdout, "%s:%d: %s: %s\n", s.template, i.Line, i.Where, i.Reason)
		}
		return nil
	}

	binaries, err := makeDirectory(os.TempDir())
	if err != nil {
		return err
	}
	defer os.RemoveAll(binaries)
	root, err := filepath.Abs(filepath.Dir(s.template))
	if err != nil {
		return fmt.Errorf("finding the functions: %w", err)
	}
	stack, err := newStack(declared, stackOptions{settings: s, binaries: binaries, api: api, aws: aws, stderr: stderr})
	if err != nil {
		return err
	}
	if err := build(ctx, declared.Functions, root, binaries, s.race, stdout, stderr); err != nil {
		return errors.Join(err, stack.functions.Close(ctx))
	}

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := stack.start(running)
	fmt.Fprint(stdout, stack.banner())
	var demo sync.WaitGroup
	if s.demo {
		demo.Go(func() { runDemo(running, stack, stdout) })
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	demo.Wait()
	fmt.Fprintln(stdout, "\nStopping.")
	return errors.Join(err, stack.stop())
}

// listen opens a loopback address; it refuses every other one, because nothing here is protected.
func listen(flagName, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flagName, address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s %s: the local stack listens on loopback only, such as 127.0.0.1", flagName, address)
	}
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use; choose another address with %s", address, flagName)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flagName, err)
	}
	return listener, nil
}

// sortedKeys returns a map's keys in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
