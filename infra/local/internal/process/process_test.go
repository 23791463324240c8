package process

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
)

// family starts a command that says so. It and its children hold the returned pipe open.
func family(t *testing.T, s *Starter, command *exec.Cmd) *bufio.Reader {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	command.Stdout = writer
	err = s.Start(command)
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(reader)
	if line, err := out.ReadString('\n'); line != "started\n" {
		t.Fatalf("it printed %q (%v)", line, err)
	}
	return out
}

func TestKillEndsTheWholeGroup(t *testing.T) {
	s := NewStarter()
	defer s.Close()
	command := exec.Command("sh", "-c", "sleep 600 & echo started; wait")
	out := family(t, s, command)
	Kill(command.Process)
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 { // only ends when nobody holds the pipe
		t.Errorf("the pipe gave %q (%v)", rest, err)
	}
	if err := command.Wait(); err == nil {
		t.Error("the process was not killed")
	}
}

func TestInterruptedProcessesEndInTheirOwnWay(t *testing.T) {
	s := NewStarter()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, "sh", "-c", "trap 'exit 3' INT; echo started; while :; do sleep 0.01; done")
	command.Cancel = func() error { return Interrupt(command.Process) }
	out := family(t, s, command)
	cancel()
	var ended *exec.ExitError
	if err := command.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 3 {
		t.Errorf("the process ended with %v, want its own exit code", err)
	}
	if _, err := io.ReadAll(out); err != nil {
		t.Error(err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	s := NewStarter()
	defer s.Close()
	if err := s.Start(exec.Command("./none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("starting what is not there: %v", err)
	}
}
