// Package process starts processes that do not outlive this one, however it ends.
//
// Each is the leader of a process group of its own: a Ctrl-C at the terminal does not reach it, and Kill
// ends it together with what it has started. On Linux the kernel ends it when this process is killed.
package process

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Starter starts all processes from one thread that lives as long as they do: the signal that ends a
// child with its parent is sent when the parent's *thread* ends.
type Starter struct {
	requests chan request
	closing  sync.Once
}

type request struct {
	command *exec.Cmd
	result  chan<- error
}

// NewStarter makes a Starter. It must be closed once its processes have ended.
func NewStarter() *Starter {
	s := &Starter{requests: make(chan request)}
	go s.run()
	return s
}

// Start starts a command that has not been started before, with attributes of its own.
func (s *Starter) Start(command *exec.Cmd) error {
	command.SysProcAttr = attributes()
	result := make(chan error, 1)
	s.requests <- request{command, result}
	return <-result
}

// Close may be called again; Start may not be called after it.
func (s *Starter) Close() { s.closing.Do(func() { close(s.requests) }) }

// run serves requests until the starter is closed.
func (s *Starter) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for r := range s.requests {
		r.result <- r.command.Start()
	}
}

// Interrupt asks a process that a Starter has started, and everything in its group, to end.
func Interrupt(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGINT) }

// Freeze stops a process that a Starter has started, and everything in its group, until Thaw.
func Freeze(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGSTOP) } // the only error is that nothing is left of the group

// Thaw lets a process go on that Freeze has stopped, and everything in its group. To others it does nothing.
func Thaw(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGCONT) } // likewise

// Kill ends a process that a Starter has started, and everything in its group.
func Kill(p *os.Process) {
	// The only error is that nothing is left of the group.
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
}
