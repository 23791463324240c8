package lambda

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/process"
	"github.com/google/uuid"
)

// instance is one process of a function and the Runtime API that it talks to.
type instance struct {
	function   *function
	stopReaper func() bool // guarded by Service.mu

	cmd    *exec.Cmd
	server *http.Server
	ready  chan struct{}    // closed when the runtime first asks for work
	events chan *invocation // unbuffered, to the runtime's request for work
	exited chan struct{}    // closed once the process is reaped and its output is through
	state  *os.ProcessState // set before exited is closed

	mu        sync.Mutex // guards what follows
	reaped    bool
	isReady   bool
	current   *invocation // handed over and not yet released
	initError []byte      // reported by the runtime before it was ready
	tail      []byte      // the end of what it has written since its last invocation

	output  *os.File      // the end of its output that it writes to
	flushed chan struct{} // for every mark of flush that has come out at the other end
}

// start starts a process for the function. It does not wait until the process is ready.
func (s *Service) start(f *function) (*instance, error) {
	if s.ctx.Err() != nil {
		return nil, ErrClosed
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a runtime API: %w", err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("opening a pipe for the output: %w", err)
	}
	in := &instance{
		function:   f,
		stopReaper: func() bool { return false },
		ready:      make(chan struct{}),
		events:     make(chan *invocation),
		exited:     make(chan struct{}),
		output:     writer,
		flushed:    make(chan struct{}, 1),
	}
	in.server = &http.Server{Handler: in.runtimeAPI(), ReadHeaderTimeout: time.Minute}
	in.cmd = exec.Command(f.Path)
	in.cmd.Dir = f.Dir
	in.cmd.Env = append(f.Env[:len(f.Env):len(f.Env)],
		"AWS_LAMBDA_RUNTIME_API="+listener.Addr().String(),
		"AWS_LAMBDA_LOG_STREAM_NAME="+s.options.Clock.Now().UTC().Format("2006/01/02/")+"[$LATEST]"+uuid.NewString(),
	)
	in.cmd.Env = append(in.cmd.Env, s.options.Env(f.Name)...)
	// One pipe for both keeps their order.
	in.cmd.Stdout, in.cmd.Stderr = writer, writer

	// Whoever closes the service sees the instance in the map, or this sees that it may no longer start.
	s.mu.Lock()
	if s.ctx.Err() != nil {
		err = ErrClosed
	} else if err = s.starter.Start(in.cmd); err == nil {
		s.instances[in] = struct{}{}
		s.processes.Add(1)
	}
	s.mu.Unlock()
	if err != nil {
		writer.Close()
		reader.Close()
		listener.Close()
		return nil, err
	}
	go in.server.Serve(listener)
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		s.output.copy(f.Name, reader, in.keep)
	}()
	go func() {
		defer s.processes.Done()
		in.wait()
		// What it started and did not wait for goes with it, as a Lambda sandbox would. Then the pipe has no writer
		// left, unless one has left the process group.
		process.Kill(in.cmd.Process)
		writer.Close()
		reader.SetReadDeadline(time.Now().Add(10 * time.Second)) // what is still in the pipe takes a busy machine a while
		<-copied
		reader.Close()
		in.server.Close()
		s.mu.Lock()
		delete(s.instances, in)
		s.mu.Unlock()
		close(in.exited)
		s.removeIdle(in)
	}()
	return in, nil
}

// wait reaps the process.
func (in *instance) wait() {
	state, err := in.cmd.Process.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reaped = true
	if err == nil {
		in.state = state
	}
}

func (in *instance) pid() int { return in.cmd.Process.Pid }

// kill ends the process and what it has started, and does not wait for it.
func (in *instance) kill() { in.signal(process.Kill) }

// signal sends a signal to the process and what it has started.
func (in *instance) signal(send func(*os.Process)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.reaped { // once it is reaped, its id may be another process's
		send(in.cmd.Process)
	}
}

// end kills the process and waits until it is gone.
func (in *instance) end() {
	in.kill()
	<-in.exited
}

// hand gives an event to the process. False means that it ended, or that the time was up, before it took the event.
func (in *instance) hand(inv *invocation, timeUp <-chan struct{}) bool {
	select {
	case <-in.exited:
		return false
	default:
	}
	in.signal(process.Thaw)
	select {
	case in.events <- inv:
		return true
	case <-in.exited:
	case <-timeUp:
	}
	return false
}

// exitFailure says how the process ended. Only after exited.
func (in *instance) exitFailure(requestID string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.initError != nil:
		return &FunctionError{Type: "Unhandled", RequestID: requestID, Payload: in.initError}
	case in.state == nil || in.state.Success():
		return sandboxFailure(requestID, "Runtime.ExitError", "Runtime exited without providing a reason")
	default:
		return sandboxFailure(requestID, "Runtime.ExitError", "Runtime exited with error: %s", in.state)
	}
}

// maxTail is how much of a log an invocation can answer with.
const maxTail = 4 << 10

// mark ends what a process has written before the mark. No line of JSON or text has one.
const mark = "\x00"

// flush waits until everything that the process has written is through, unless the process ends before that.
func (in *instance) flush() {
	if _, err := in.output.WriteString(mark + "\n"); err != nil {
		return // the process has ended
	}
	select {
	case <-in.flushed:
	case <-in.exited:
	}
}

// keep adds a line to the tail, and returns it without the mark of flush and whether it is a line then.
func (in *instance) keep(line []byte) ([]byte, bool) {
	line, marked := bytes.CutSuffix(line, []byte(mark))
	if marked {
		defer func() { in.flushed <- struct{}{} }()
	}
	if marked && len(line) == 0 {
		return nil, false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.tail = append(append(in.tail, line...), '\n')
	in.tail = in.tail[max(0, len(in.tail)-maxTail):]
	return line, true
}

// takeTail returns the end of the log since it was taken last.
func (in *instance) takeTail() []byte {
	in.mu.Lock()
	defer in.mu.Unlock()
	tail := in.tail
	in.tail = nil
	return tail
}
