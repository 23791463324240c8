// Package lambda runs Lambda functions as local processes, the way AWS Lambda runs them.
//
// Every instance of a function is one process with a Runtime API of its own on a loopback port, which
// says which process is asking without any path or header that the runtime clients do not send.
// An invocation takes the most recently used idle instance, or starts one while the function's and the
// account's concurrency allow, or is throttled; an instance works on one invocation at a time.
// A process that runs out of time or dies takes its invocation with it, is reported in Lambda's own
// words, and is replaced by the next cold start.
//
// What differs from AWS: memory is not limited (MemoryMB is a number that the function is told through its
// environment), a process is frozen between invocations only by a fault, and nothing is kept per availability zone.
//
// Sources: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and
// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
package lambda

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/lineage"
	"github.com/docuhook/docuhook/infra/local/internal/process"
	"github.com/google/uuid"
)

// Lambda's limits for a synchronous invocation.
const (
	MaxRequest  = 6 << 20     // bytes of an invocation's payload
	MaxResponse = 6<<20 + 100 // bytes of its answer; AWS allows these 100 more
	Account     = 1000        // concurrent invocations of an account
	idleAfter   = 5 * time.Minute
	initTimeout = 10 * time.Second
)

// Clock is where time comes from. A fake one makes timeouts testable.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d, unless stop is called before that.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// Options are what a Service needs: a Log, and nothing else.
type Options struct {
	// Log receives the output of the functions, one Write per line, each line prefixed with "[name] ". Writes
	// never overlap.
	Log io.Writer
	// Clock is the system's by default.
	Clock Clock
	// Concurrency is the account's limit over all functions; 1000 by default.
	Concurrency int
	// Env, if set, adds to the environment of a process that starts.
	Env func(function string) []string
	// Refuse, if set, decides whether an invocation is refused although the account is not full, and hears if it is.
	Refuse func(function string, full bool) bool
	// Strike, if set, decides whether an invocation's process is killed, or frozen after it; see the package fault.
	Strike func(function string) fault.Fault
}

// Function is a function as it is deployed.
type Function struct {
	Name        string        // what Invoke calls it
	ARN         string        // Lambda-Runtime-Invoked-Function-Arn
	Path        string        // the binary
	Dir         string        // its working directory; empty means this process's
	Env         []string      // its whole environment as KEY=value, except for what is different in every instance
	Timeout     time.Duration // of one invocation, more than zero
	MemoryMB    int           // not enforced
	Concurrency int           // the most instances at once; 0 means no limit but the account's
}

// Variables are its environment by name.
func (f Function) Variables() map[string]string {
	variables := map[string]string{}
	for _, pair := range f.Env {
		name, value, _ := strings.Cut(pair, "=")
		variables[name] = value
	}
	return variables
}

// Instance is a running process of a function.
type Instance struct {
	Function string `json:"-"`
	PID      int    `json:"pid"`
	Busy     bool   `json:"busy"` // starting, working on an invocation, or ending
}

// Service runs functions. Its methods may be called from several goroutines at once.
type Service struct {
	options Options
	output  output
	starter *process.Starter

	running   sync.WaitGroup     // invocations; Add only with mu held and closed false
	processes sync.WaitGroup     // one per started process, done once it is reaped
	ctx       context.Context    // ends when nothing may be started any more
	kill      context.CancelFunc // ends ctx

	mu        sync.Mutex // guards what follows
	closed    bool
	functions map[string]*function
	instances map[*instance]struct{} // every process not yet reaped
	busy      int                    // instances with work, over all functions
}

// function is a Function and its instances. Guarded by Service.mu.
type function struct {
	Function
	idle []*instance // least recently used first
	size int         // instances, idle, busy and starting
}

// New makes a Service without functions. It must be closed.
func New(o Options) (*Service, error) {
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	if o.Concurrency == 0 {
		o.Concurrency = Account
	}
	if o.Env == nil {
		o.Env = func(string) []string { return nil }
	}
	if o.Refuse == nil {
		o.Refuse = func(_ string, full bool) bool { return full }
	}
	if o.Strike == nil {
		o.Strike = func(string) fault.Fault { return fault.Fault{} }
	}
	ctx, kill := context.WithCancel(context.Background())
	return &Service{
		options:   o,
		output:    output{w: o.Log},
		starter:   process.NewStarter(),
		ctx:       ctx,
		kill:      kill,
		functions: map[string]*function{},
		instances: map[*instance]struct{}{},
	}, nil
}

// Register adds a function. Nothing is started before its first invocation.
func (s *Service) Register(f Function) error {
	switch {
	case f.Name == "" || f.Path == "":
		return errors.New("lambda: a function needs a name and a path")
	case f.Timeout <= 0:
		return fmt.Errorf("lambda: function %s needs a timeout", f.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.functions[f.Name] != nil {
		return fmt.Errorf("lambda: function %s is registered already", f.Name)
	}
	f.Env = slices.Clone(f.Env)
	s.functions[f.Name] = &function{Function: f}
	return nil
}

// Invoke runs a function and returns its answer, which is JSON if the function follows the contract but is not
// checked, as in Lambda. An empty payload is {}. The error is a *FunctionError if the function ran
// and failed, else one of this package's Err… values if it did not run, or ctx's. When ctx ends first, the
// invocation goes on without its caller.
func (s *Service) Invoke(ctx context.Context, name string, payload []byte) ([]byte, error) {
	inv, err := s.invoke(ctx, name, payload, false)
	if err != nil {
		return nil, err
	}
	return inv.response, inv.err
}

// invoke is Invoke for who also wants to know the invocation's id and, if tail says so, the end of its log. An error is
// that there was no invocation, or ctx's; what the function answered is in the invocation.
func (s *Service) invoke(ctx context.Context, name string, payload []byte, tail bool) (*invocation, error) {
	if len(payload) > MaxRequest {
		return nil, fmt.Errorf("invoking %s: %w: %d bytes, limit %d", name, ErrRequestTooLarge, len(payload), MaxRequest)
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if !json.Valid(payload) {
		return nil, fmt.Errorf("invoking %s: %w", name, ErrInvalidRequest)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, in, err := s.acquire(name)
	if err != nil {
		return nil, fmt.Errorf("invoking %s: %w", name, err)
	}
	inv := newInvocation(uuid.NewString(), f.Function, slices.Clone(payload), lineage.FromContext(ctx))
	inv.tail = tail
	go func() {
		defer s.running.Done()
		s.run(f, in, inv)
	}()
	select {
	case <-inv.done:
		return inv, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// acquire takes an idle instance of a function, or a place for a new one (a nil instance).
// The caller owes a release or a forget, and running.Done.
func (s *Service) acquire(name string) (*function, *instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.functions[name]
	switch {
	case s.closed:
		return nil, nil, ErrClosed
	case f == nil:
		return nil, nil, ErrNotFound
	case s.options.Refuse(name, s.busy >= s.options.Concurrency):
		return nil, nil, ErrThrottled
	}
	var in *instance
	if n := len(f.idle); n > 0 {
		in, f.idle = f.idle[n-1], f.idle[:n-1]
		in.stopReaper()
	} else {
		if f.Concurrency > 0 && f.size >= f.Concurrency {
			return nil, nil, ErrThrottled
		}
		f.size++
	}
	s.busy++
	s.running.Add(1)
	return f, in, nil
}

// release makes an instance idle, unless it has ended or the service closes. A frozen one is taken again last of all.
func (s *Service) release(f *function, in *instance, frozen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	select {
	case <-in.exited:
		f.size--
		return
	default:
	}
	if s.closed {
		f.size--
		in.kill()
		return
	}
	if frozen {
		in.signal(process.Freeze)
		f.idle = slices.Insert(f.idle, 0, in)
	} else {
		f.idle = append(f.idle, in)
	}
	in.stopReaper = s.options.Clock.AfterFunc(idleAfter, func() {
		if s.removeIdle(in) {
			in.kill()
		}
	})
}

// forget gives the place of an instance that has ended to others.
func (s *Service) forget(f *function) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	f.size--
}

// removeIdle reports whether the instance was idle, which it then no longer is.
func (s *Service) removeIdle(in *instance) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := in.function
	i := slices.Index(f.idle, in)
	if i < 0 {
		return false
	}
	f.idle = slices.Delete(f.idle, i, i+1)
	f.size--
	in.stopReaper()
	return true
}

// Instances lists the running processes by function and process id.
func (s *Service) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Instance
	for in := range s.instances {
		list = append(list, Instance{
			Function: in.function.Name,
			PID:      in.pid(),
			Busy:     !slices.Contains(in.function.idle, in),
		})
	}
	slices.SortFunc(list, func(a, b Instance) int {
		return cmp.Or(strings.Compare(a.Function, b.Function), cmp.Compare(a.PID, b.PID))
	})
	return list
}

// Close refuses new invocations, lets the running ones finish until ctx ends, then kills what is left. No process is
// left when it returns. The error is ctx's if invocations were cut short. It may be called again, to cut them shorter.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for _, f := range s.functions {
		for _, in := range f.idle {
			in.stopReaper()
			in.kill()
		}
		f.size -= len(f.idle)
		f.idle = nil
	}
	s.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		s.running.Wait()
		close(finished)
	}()
	var err error
	select {
	case <-finished:
	case <-ctx.Done():
		err = fmt.Errorf("lambda: closing before all invocations had ended: %w", ctx.Err())
	}
	s.kill()
	s.mu.Lock()
	for in := range s.instances {
		in.kill()
	}
	s.mu.Unlock()
	<-finished
	s.processes.Wait()
	s.starter.Close()
	return err
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
