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
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/build"
	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/control"
	"github.com/docuhook/docuhook/infra/local/internal/demo"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/stack"
	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/infra/samples"
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
	if s.ignored {
		s.addr, s.awsAddr = "127.0.0.1:0", "127.0.0.1:0" // also while a stack runs
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
	var bridge net.Listener
	if s.docker {
		if bridge, err = listenOnBridge(aws); err != nil {
			return err
		}
		defer bridge.Close()
	}
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

	binaries, err := build.Directory(os.TempDir())
	if err != nil {
		return err
	}
	defer os.RemoveAll(binaries)
	root, err := filepath.Abs(filepath.Dir(s.template))
	if err != nil {
		return fmt.Errorf("finding the functions: %w", err)
	}
	functions := map[string]string{}
	for _, f := range declared.Functions {
		functions[identity.AccessKey(f.Name)] = f.Name
	}
	stackClock := clock.New(s.timeScale, nil)
	var still *clock.Clock
	if s.samples {
		still = clock.New(0, samples.Now)
	}
	told := journal.New(journal.Options{Clock: stackClock, DeadLetterQueues: declared.DeadLetterQueues(), Functions: functions})
	running, err := stack.New(stack.Options{
		Template: declared, Binaries: binaries, API: api, AWS: aws, Docker: bridge, Organizations: s.organizations,
		Clock: stackClock, Still: still, Faults: s.faults, Concurrency: s.concurrency, InFlightLimit: s.inFlightLimit,
		Enforce: s.enforceIAM, Details: s.details, Sandbox: declared.Parameters["Environment"] == "sandbox", Public: s.public, CA: s.ca,
		Observe: told.Queued, Log: stderr,
	})
	if err != nil {
		return err
	}
	if err := build.Functions(ctx, declared.Functions, root, binaries, s.race, stdout, stderr); err != nil {
		return errors.Join(err, running.Functions.Close(ctx))
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	page := &control.Control{Stack: running, Journal: told, Closing: ctx.Done()}
	var world *samples.World
	if s.samples {
		host, _, _ := net.SplitHostPort(cmp.Or(bridge, aws).Addr().String())
		keyring := template.SecretARN(declared.Secrets[0].Name)
		if world, err = samples.Serve(running.Endpoint(), template.Region, host, keyring, running.QueueURL("")); err != nil {
			return errors.Join(err, running.Functions.Close(ctx))
		}
		page.Samples = world
	} else if s.demo {
		page.Demo = &demo.Demo{Stack: running, Journal: told, Out: stdout, Details: s.details}
	}
	failed := running.Start(ctx, page.Handler())
	if err := world.Begin(ctx); err != nil {
		return errors.Join(err, running.Stop())
	}
	fmt.Fprint(stdout, banner(s, running))
	var beside sync.WaitGroup
	beside.Go(func() { told.Run(ctx, running) })
	beside.Go(func() { page.Watch(ctx) })
	if page.Demo != nil {
		beside.Go(func() { page.Demo.Run(ctx) })
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	beside.Wait()
	fmt.Fprintln(stdout, "\nStopping.")
	return errors.Join(err, running.Stop())
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
		return nil, fmt.Errorf("%s is in use%s; choose another address with %s", address, byStack(address), flagName)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flagName, err)
	}
	return listener, nil
}

// byStack says so if it is a local stack that listens on an address as its API.
func byStack(address string) string {
	answer, err := (&http.Client{Timeout: 2 * time.Second}).Get("http://" + address + "/_local/config")
	if err == nil {
		defer answer.Body.Close()
	}
	if err != nil || answer.StatusCode != http.StatusOK {
		return ""
	}
	return fmt.Sprintf(" by a local stack: look at http://%s/_local/, or end it with Ctrl-C where it runs; for another one beside it"+
		" there is -addr 127.0.0.1:0 -aws-addr 127.0.0.1:0", address)
}

// listenOnBridge opens the port of another listener on Docker's bridge: this machine's address among its containers.
func listenOnBridge(other net.Listener) (net.Listener, error) {
	var addresses []net.Addr
	docker, err := net.InterfaceByName("docker0")
	if err == nil {
		addresses, err = docker.Addrs()
	}
	if err != nil || len(addresses) == 0 {
		return nil, errors.New("-docker: there is no network interface docker0 with an address: is Docker running, and on this machine? " +
			"Docker Desktop needs no -docker, as its containers reach loopback addresses; neither does make invoke without Docker")
	}
	host, _, _ := strings.Cut(addresses[0].String(), "/")
	_, port, _ := net.SplitHostPort(other.Addr().String())
	return net.Listen("tcp", net.JoinHostPort(host, port))
}

// banner says what runs where.
func banner(s settings, running *stack.Stack) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\nThe local stack of %s, for development and tests; everything is in memory.\n", s.template)
	fmt.Fprintf(
		&out, "  API           %s\n  look at it    %s/_local/\n  AWS services  %s   region %s, any credentials\n", running.APIURL(),
		running.APIURL(), running.Endpoint(), template.Region,
	)
	fmt.Fprintf(
		&out, "  template      %d functions, %d tables, %d queues; -ignored lists what has no effect here\n",
		len(running.Template.Functions), len(running.Template.Tables), len(running.Template.Queues),
	)
	for _, o := range s.organizations {
		fmt.Fprintf(&out, "  organization  %s   X-Api-Key: %s\n", o.ID, o.Key)
	}
	if s.timeScale != 1 {
		fmt.Fprintf(&out, "  clock         %g times faster than this machine's\n", s.timeScale)
	}
	if !s.enforceIAM {
		out.WriteString("  IAM           not enforced, denials are only reported\n")
	}
	if running.Docker != nil {
		fmt.Fprintf(&out, "  containers    http://%s: all of this machine's may do everything there\n", running.Docker.Addr())
	}
	if !s.demo || s.samples {
		out.WriteString("Ctrl-C stops.\n")
	}
	return out.String() + "\n"
}
