package process

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("BE_PARENT") != "" {
		command := exec.Command("sh", "-c", "echo started; exec sleep 600")
		command.Stdout = os.Stdout
		if err := NewStarter().Start(command); err != nil {
			panic(err)
		}
		select {}
	}
	os.Exit(m.Run())
}

func TestProcessesEndWithTheOneThatStartedThem(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "BE_PARENT=1")
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); line != "started\n" {
		t.Fatalf("it printed %q (%v)", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 { // only ends when the child is gone as well
		t.Errorf("the pipe gave %q (%v)", rest, err)
	}
	if err := parent.Wait(); err == nil {
		t.Error("the parent was not killed")
	}
}
