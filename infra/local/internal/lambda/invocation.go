package lambda

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/fault"
	"github.com/docuhook/docuhook/infra/local/internal/lineage"
)

// invocation is one event on its way through an instance.
type invocation struct {
	id       string
	function Function
	payload  []byte
	lineage  string    // the end of its tracing header
	tail     bool      // somebody wants the end of the log
	deadline time.Time // set before the event is handed over

	answered chan struct{} // closed when the runtime has reported a result
	released chan struct{} // closed when the runtime asks for the next event, that is when it is done
	done     chan struct{} // closed when log, response and err are final

	log []byte // the end of what the function has written, if tail

	once     sync.Once // the first result stands
	response []byte
	err      error
}

func newInvocation(id string, f Function, payload []byte, chain lineage.Lineage) *invocation {
	return &invocation{
		id: id, function: f, payload: payload, lineage: chain.Enter(f.Name),
		answered: make(chan struct{}),
		released: make(chan struct{}), done: make(chan struct{}),
	}
}

// answer sets the result and reports whether it was the first one.
func (inv *invocation) answer(response []byte, err error) bool {
	first := false
	inv.once.Do(func() {
		inv.response, inv.err = response, err
		close(inv.answered)
		first = true
	})
	return first
}

// traceID is a tracing header that tells X-Ray clients not to record anything: nothing here would receive it.
func (inv *invocation) traceID() string {
	sum := sha256.Sum256([]byte(inv.id))
	start := inv.deadline.Add(-inv.function.Timeout).Unix()
	return fmt.Sprintf("Root=1-%08x-%x;Parent=%x;Sampled=0;%s", start, sum[:12], sum[12:20], inv.lineage)
}

// run takes an invocation from start to end: on the given instance if it still lives, else on a new one.
func (s *Service) run(f *function, in *instance, inv *invocation) {
	defer close(inv.done)
	budget := s.newTimer(f.Timeout)
	defer func() { budget.stop() }()
	inv.deadline = s.options.Clock.Now().Add(f.Timeout)
	if in != nil && inv.tail { // what the invocations before have written is none of its log
		in.flush()
		in.takeTail()
	}
	if in == nil || !in.hand(inv, budget.fired) {
		if in != nil {
			// It died between two invocations, unseen by the function's callers.
			in.end()
		}
		budget.stop()
		if in, budget = s.coldStart(f, inv); in == nil {
			s.forget(f)
			return
		}
		if !in.hand(inv, budget.fired) {
			in.end()
			inv.log = in.takeTail()
			inv.answer(nil, in.exitFailure(inv.id))
			s.forget(f)
			return
		}
	}
	struck := s.options.Strike(f.Name)
	if struck.Kind == fault.Killed { // even if the invocation has ended before
		s.options.Clock.AfterFunc(struck.Delay, in.kill)
	}
	select {
	case <-inv.released:
		if inv.tail {
			in.flush()
		}
		inv.log = in.takeTail()
		s.release(f, in, struck.Kind == fault.Frozen)
		return
	case <-in.exited:
		// A result that it had already reported stands: a Go function reports a panic, then exits.
		inv.answer(nil, in.exitFailure(inv.id))
	case <-budget.fired:
		in.end()
		inv.answer(nil, timeoutFailure(inv))
	}
	inv.log = in.takeTail()
	s.forget(f)
}

// coldStart starts an instance and waits until it asks for work. As in Lambda, an initialization that fails or takes
// more than 10 s is repeated once, now as part of the invocation, so that its time counts. On failure the
// invocation has its result and the instance is nil. The timer is the invocation's, to be stopped by the caller.
func (s *Service) coldStart(f *function, inv *invocation) (*instance, *timer) {
	first := s.newTimer(initTimeout)
	in, err := s.start(f)
	if err == nil {
		select {
		case <-in.ready:
			first.stop()
			inv.deadline = s.options.Clock.Now().Add(f.Timeout)
			return in, s.newTimer(f.Timeout)
		case <-in.exited:
		case <-first.fired:
		}
		in.end()
	}
	first.stop()

	budget := s.newTimer(f.Timeout)
	inv.deadline = s.options.Clock.Now().Add(f.Timeout)
	if in, err = s.start(f); err != nil {
		inv.answer(nil, startFailure(inv.id, err))
		return nil, budget
	}
	select {
	case <-in.ready:
		return in, budget
	case <-in.exited:
		inv.answer(nil, in.exitFailure(inv.id))
	case <-budget.fired:
		in.end()
		inv.answer(nil, timeoutFailure(inv))
	}
	inv.log = in.takeTail()
	return nil, budget
}

func timeoutFailure(inv *invocation) error {
	return sandboxFailure(inv.id, "Sandbox.Timedout", "Task timed out after %.2f seconds", inv.function.Timeout.Seconds())
}

func startFailure(requestID string, err error) error {
	if errors.Is(err, ErrClosed) {
		return err
	}
	kind := "Runtime.Unknown"
	var pathError *fs.PathError
	if errors.As(err, &pathError) || errors.Is(err, exec.ErrNotFound) {
		kind = "Runtime.InvalidEntrypoint"
	}
	return sandboxFailure(requestID, kind, "%v", err)
}

// timer is a one-shot timer of the service's clock.
type timer struct {
	fired chan struct{}
	stop  func() bool
}

func (s *Service) newTimer(d time.Duration) *timer {
	fired := make(chan struct{})
	return &timer{fired: fired, stop: s.options.Clock.AfterFunc(d, func() { close(fired) })}
}
