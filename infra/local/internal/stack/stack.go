// Package stack is the system that a template declares, running: the emulated services with what is in
// them, the functions, the event source mappings between them, and the servers of the API and of the
// AWS services. New makes it, Start serves, Stop ends it in the order in which work flows.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/definition"
	"github.com/docuhook/docuhook/infra/local/internal/eventsource"
	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/gateway"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/lambda"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Grace is how long running invocations may take to end once the stack stops.
const Grace = 5 * time.Second

// expireInterval is how often items that have lived their time are deleted. AWS takes up to days.
const expireInterval = 10 * time.Second

// Organization is a customer with an API key.
type Organization struct{ ID, Key string }

// Options are what a stack is made of.
type Options struct {
	Template      *template.Template
	Binaries      string       // directory of the built functions
	API, AWS      net.Listener // of the API and of the AWS services
	Docker        net.Listener // of the AWS services for containers; nil: none
	Organizations []Organization
	Clock         *clock.Clock
	Still         *clock.Clock    // of the functions, where nothing happens by itself: no source is read, no schedule kept, no item expires
	Faults        fault.Plan      // from the start on
	Concurrency   int             // of the account; 0: lambda.Account
	InFlightLimit int             // of every queue; 0: that of SQS
	Enforce       bool            // IAM policies; false: denials are only reported
	Details       bool            // metrics and batches, among the functions' log lines
	Sandbox       bool            // endpoints may have private addresses
	Public        bool            // endpoints may be on other machines
	CA            string          // file of certificates that endpoints may have, "" for the system's
	Observe       func(sqs.Event) // of every message; see sqs.Options
	Log           io.Writer       // of the functions and of what goes wrong
}

// Stack is the running system. Its fields do not change.
type Stack struct {
	Options
	definition.Storage
	Policies  *identity.Policies
	Functions *lambda.Service
	Injector  *fault.Injector // of faults
	Calls     *awsjson.Calls  // that reached the services

	mappings   []*eventsource.Mapping
	servers    map[*http.Server]net.Listener
	local      http.Handler       // of what is below /_local/; set by Start
	expiring   sync.WaitGroup     // the deletion of what has lived its time
	stopExpiry context.CancelFunc // set by Start
}

// New makes everything that the template declares. Nothing runs before Start.
func New(options Options) (*Stack, error) {
	options.Log = &lockedWriter{w: options.Log}
	s := &Stack{Options: options, Injector: fault.New(options.Clock.Real), servers: map[*http.Server]net.Listener{}}
	s.Injector.Follow(options.Faults)
	for _, step := range []func() error{s.makePolicies, s.makeStorage, s.makeFunctions, s.makeServers} {
		if err := step(); err != nil {
			if s.Functions != nil {
				err = errors.Join(err, s.Functions.Close(context.Background()))
			}
			return nil, err
		}
	}
	return s, nil
}

func (s *Stack) makePolicies() (err error) {
	s.Policies, err = identity.New(identity.Options{
		Principals: definition.Principals(s.Template.Functions),
		Enforce:    s.Enforce,
		OnDenied:   s.reportDenial,
	})
	return err
}

// Endpoint is the URL of the AWS services.
func (s *Stack) Endpoint() string { return "http://" + s.AWS.Addr().String() }

// APIURL is the URL of the API, without a path.
func (s *Stack) APIURL() string { return "http://" + s.API.Addr().String() }

// QueueURL is the URL of a queue.
func (s *Stack) QueueURL(queue string) string {
	return s.Endpoint() + "/" + template.Account + "/" + queue
}

// makeStorage makes tables, queues and secrets, and gives every organization its API key.
func (s *Stack) makeStorage() (err error) {
	s.Storage, err = definition.NewStorage(s.Template, s.Clock.Now, sqs.Options{
		BaseURL: s.Endpoint(), InFlightLimit: s.InFlightLimit, Clock: s.Clock, Observe: s.Observe, About: s.about(),
		Full: func(queue string) { s.Injector.Reached("", "queue", queue, fault.OverLimit, true) },
	})
	if err != nil {
		return err
	}
	return s.giveKeys()
}

// about tells what a message is about: its delivery. Only on a fast clock does anybody need to know.
func (s *Stack) about() func(body string) string {
	if s.Clock.Scale() <= 1 {
		return nil
	}
	return func(body string) string {
		message, err := webhook.ParseMessage(body, s.Clock.Now())
		if err != nil {
			return ""
		}
		return message.ConfigID + " " + message.Event.ID
	}
}

// checkNeeds asks, as AWS does when a function or an event source mapping is made, whether each
// function's role allows what is done in its name.
func checkNeeds(functions []template.Function, policies *identity.Policies) error {
	for _, f := range functions {
		for _, need := range f.Needs() {
			if policies.Allow(identity.AccessKey(f.Name), need.Action, need.Resource) != nil {
				return fmt.Errorf(
					"%s: %s: the function's role does not allow %s on %s, which this needs",
					f.Name, need.Property, need.Action, need.Resource,
				)
			}
		}
	}
	return nil
}

// makeFunctions registers the functions and their event sources.
func (s *Stack) makeFunctions() error {
	if err := checkNeeds(s.Template.Functions, s.Policies); err != nil {
		return err
	}
	var err error
	log := functionLog{w: s.Log, details: s.Details}
	if s.Functions, err = lambda.New(lambda.Options{
		Log: log, Concurrency: s.Concurrency, Env: s.skew,
		Refuse: func(function string, full bool) bool {
			return s.Injector.Reached(function, "process", "Invoke", fault.Refused, full)
		},
		Strike: func(function string) fault.Fault {
			return s.Injector.Strike(function, "process", "Invoke", fault.Killed, fault.Frozen)
		},
	}); err != nil {
		return err
	}
	told := definition.Options{Binaries: s.Binaries, Endpoint: s.Endpoint(), Sandbox: s.Sandbox, Public: s.Public, CA: s.CA, Clock: s.Clock}
	if s.Still != nil {
		told.Clock = s.Still
	}
	if s.Docker != nil {
		told.Bridge, _, _ = net.SplitHostPort(s.Docker.Addr().String())
	}
	for _, f := range s.Template.Functions {
		function, err := definition.Function(f, told)
		if err != nil {
			return err
		}
		if err := s.Functions.Register(function); err != nil {
			return err
		}
		mappings, err := s.eventSources(f)
		if err != nil {
			return err
		}
		s.mappings = append(s.mappings, mappings...)
	}
	return nil
}

// skew is what a process of a function is told whose clock is off.
func (s *Stack) skew(function string) []string {
	struck := s.Injector.Strike(function, "process", "Init", fault.Skewed)
	if struck.Kind == "" {
		return nil
	}
	return []string{clock.Variable + "=" + s.Clock.Ahead(struck.Ahead).String()}
}

// makeServers makes the API's server and that of the AWS services.
func (s *Stack) makeServers() error {
	options := definition.Gateway(s.Template)
	options.Invoker, options.Throttled = s.Functions, lambda.ErrThrottled
	options.Report = func(route, requestID, message string, err error) {
		fmt.Fprintf(s.Log, "[gateway] %s (request %s): %s: %v\n", route, requestID, message, err)
	}
	api, err := gateway.New(options)
	if err != nil {
		return err
	}
	s.serve(s.API, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_local/") {
			s.local.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
	functions := map[string]string{}
	for _, f := range s.Template.Functions {
		functions[identity.AccessKey(f.Name)] = f.Name
	}
	s.Calls = &awsjson.Calls{Functions: functions}
	services := s.Injector.Handler(&awsjson.Server{Policies: s.Policies, Calls: s.Calls, Services: s.Services()}, functions)
	aws := http.NewServeMux()
	aws.Handle(lambda.Paths, s.Functions.API(s.Policies))
	aws.Handle("/", services)
	s.serve(s.AWS, aws)
	if s.Docker != nil {
		s.serve(s.Docker, aws)
	}
	return nil
}

func (s *Stack) serve(listener net.Listener, handler http.Handler) {
	s.servers[&http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(s.Log, "", 0),
	}] = listener
}

// Start serves and polls until Stop; what is below /_local/ on the API's server is local's. A server
// that fails is reported on the channel. Polling ends with ctx.
func (s *Stack) Start(ctx context.Context, local http.Handler) <-chan error {
	s.local = local
	failed := make(chan error, len(s.servers)+len(s.mappings))
	for server, listener := range s.servers {
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving %s: %w", listener.Addr(), err)
			}
		}()
	}
	expiring, stop := context.WithCancel(ctx)
	s.stopExpiry = stop
	if s.Still != nil {
		return failed
	}
	for _, mapping := range s.mappings {
		if err := mapping.Start(ctx); err != nil {
			failed <- err
		}
	}
	s.expiring.Go(func() { s.expire(expiring) })
	return failed
}

// Stop ends everything in the order in which work flows: no new work, then the running batches and
// invocations, then the services that these need. No process is left when it returns. What has to
// be cut short at the end of the grace is no error: the queues are gone with the stack anyway.
func (s *Stack) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), Grace)
	defer cancel()
	s.stopExpiry()
	s.expiring.Wait()
	var ending sync.WaitGroup
	for _, mapping := range s.mappings {
		ending.Go(func() { _ = mapping.Close(ctx) })
	}
	for server, listener := range s.servers {
		if listener == s.API {
			ending.Go(func() { _ = server.Shutdown(ctx) })
		}
	}
	ending.Wait()
	_ = s.Functions.Close(ctx)
	var errs []error
	for server := range s.servers {
		if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// expire deletes what has lived its time, now and then, until ctx ends.
func (s *Stack) expire(ctx context.Context) {
	ticker := time.NewTicker(expireInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.Database.Expire(s.Clock.Now())
		}
	}
}
