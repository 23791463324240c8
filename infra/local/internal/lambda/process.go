package lambda

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// starter starts all processes from one thread that lives as long as they do: the signal that ends a child with
// its parent is sent when the parent's *thread* ends.
type starter struct {
	requests chan startRequest
	closing  sync.Once
}

type startRequest struct {
	cmd    *exec.Cmd
	result chan<- error
}

func newStarter() *starter {
	s := &starter{requests: make(chan startRequest)}
	go s.run()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.requests <- startRequest{cmd, result}
	return <-result
}

// close may be called again; start may not be called after it.
func (s *starter) close() { s.closing.Do(func() { close(s.requests) }) }

// run serves start requests until the starter is closed.
func (s *starter) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for r := range s.requests {
		r.result <- r.cmd.Start()
	}
}

// killGroup kills a process and everything in its process group, which it leads.
func killGroup(p *os.Process) {
	// The only error is that nothing is left of the group.
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
}
