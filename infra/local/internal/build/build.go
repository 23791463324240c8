// Package build compiles the functions for this machine, into a directory that is removed with the
// stack, or by the next one if this one was killed.
package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/process"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// patience is how long the compiler may take to end once it has been interrupted.
const patience = 5 * time.Second

// Directory makes a directory for the binaries, named after this process, and removes those of
// processes that were killed before they could do so themselves.
func Directory(parent string) (string, error) {
	const prefix = "docuhook-local-"
	entries, err := os.ReadDir(parent)
	if err != nil {
		return "", fmt.Errorf("looking for a place for the functions: %w; TMPDIR names another", err)
	}
	for _, entry := range entries {
		owner, ok := strings.CutPrefix(entry.Name(), prefix)
		owner, _, _ = strings.Cut(owner, "-")
		if pid, err := strconv.Atoi(owner); ok && err == nil && !alive(pid) {
			os.RemoveAll(filepath.Join(parent, entry.Name())) // if it is somebody else's, it stays
		}
	}
	directory, err := os.MkdirTemp(parent, fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("making a directory for the functions: %w; TMPDIR names another place", err)
	}
	return directory, nil
}

func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	return err == nil && !errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// Functions compiles the functions for this machine into directory, each under its folder's name. One
// call of the compiler for all is far quicker than one for each.
func Functions(ctx context.Context, functions []template.Function, root, directory string, race bool, stdout, stderr io.Writer) error {
	if len(functions) == 0 {
		return nil
	}
	args := []string{"build", "-tags", "lambda.norpc", "-o", directory + string(os.PathSeparator)}
	environment := append(os.Environ(), "GOOS=", "GOARCH=")
	if race {
		args = append(args, "-race")
	} else {
		environment = append(environment, "CGO_ENABLED=0") // as `sam build` does
	}
	folders := map[string]string{} // by binary
	for _, f := range functions {
		name := path.Base(f.Folder)
		if other, ok := folders[name]; ok && other != f.Folder {
			return fmt.Errorf("the folders %s and %s would be built as the same binary", other, f.Folder)
		} else if !ok {
			args = append(args, "./"+f.Folder)
		}
		folders[name] = f.Folder
	}
	fmt.Fprintf(stdout, "Building %d functions … ", len(folders))
	started := time.Now()
	var output bytes.Buffer
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	command.Env = environment
	command.Stdout, command.Stderr = &output, &output
	// Interrupted, the compiler removes what it has begun.
	command.Cancel = func() error { return process.Interrupt(command.Process) }
	command.WaitDelay = patience
	starter := process.NewStarter()
	defer starter.Close()
	err := starter.Start(command)
	if err == nil {
		err = command.Wait()
		process.Kill(command.Process) // what it has started, should any of it be left
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stdout, "stopped")
		return ctx.Err() // not the compiler's doing
	}
	if err != nil {
		fmt.Fprintln(stdout, "failed")
		stderr.Write(output.Bytes())
		for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
			if bytes.Contains(output.Bytes(), []byte(full.Error())) {
				return fmt.Errorf("there is no space left to build the functions (%w), either in %s (set TMPDIR to build elsewhere) or in Go's build cache (`go env GOCACHE`)", full, filepath.Dir(directory))
			}
		}
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return errors.New("the functions do not compile")
		}
		return fmt.Errorf("building the functions: %w", err)
	}
	fmt.Fprintf(stdout, "%.1f s\n", time.Since(started).Seconds())
	return nil
}
