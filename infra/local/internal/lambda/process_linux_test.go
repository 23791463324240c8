package lambda

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestFunctionsEndWithTheStack(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	stack := exec.Command(os.Args[0])
	stack.Env = append(os.Environ(), "BE_SERVICE=1", "LINGER="+listener.Addr().String())
	if err := stack.Start(); err != nil {
		t.Fatal(err)
	}
	function, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := stack.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := stack.Wait(); err == nil {
		t.Error("the stack was not killed")
	}
	if n, err := io.Copy(io.Discard, function); n != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the function's connection gave %d bytes, %v", n, err)
	}
}
