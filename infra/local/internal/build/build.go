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
	"github.com/docuhook/docuhook/shared/endpoint"
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
	stale, err := os.FindProcess(pid)
	return err == nil && !errors.Is(stale.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// Functions puts the functions, compiled for this machine, into directory, each under its folder's name.
// They are compiled in .build beside go.mod, one call of the compiler for all: what has not changed since
// is not even linked again, which takes most of the time. The directory has files of its own, so that
// a running stack keeps its functions while another one is built.
func Functions(ctx context.Context, functions []template.Function, root, directory string, race bool, stdout, stderr io.Writer) error {
	if len(functions) == 0 {
		return nil
	}
	kept, err := keptDirectory(root, race)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, kept)
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeWork(kept); err != nil {
		return err
	}
	args := []string{
		"build", "-tags", "lambda.norpc", "-o", kept + string(os.PathSeparator),
		"-ldflags", "-X github.com/docuhook/docuhook/shared/endpoint.Version=" + endpoint.Version, // this stack's own
	}
	// The compiler works there as well: what it has finished it then moves, which is all or nothing.
	environment := append(os.Environ(), "GOOS=", "GOARCH=", "GOTMPDIR="+kept)
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
	err = starter.Start(command)
	if err == nil {
		err = command.Wait()
		process.Kill(command.Process) // ends the processes that the compiler started and left running
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stdout, "stopped")
		return ctx.Err() // the build was called off: what the compiler says is no error of the code
	}
	if err != nil {
		fmt.Fprintln(stdout, "failed")
		stderr.Write(output.Bytes())
		for _, full := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
			if bytes.Contains(output.Bytes(), []byte(full.Error())) {
				return fmt.Errorf(
					"there is no space left to build the functions (%w), in %s, "+
						"in %s (TMPDIR names another place) or in Go's build cache (`go env GOCACHE`)",
					full, kept, filepath.Dir(directory),
				)
			}
		}
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			return errors.New("the functions do not compile")
		}
		return fmt.Errorf("building the functions: %w", err)
	}
	for name := range folders {
		if err := place(filepath.Join(kept, name), filepath.Join(directory, name)); err != nil {
			fmt.Fprintln(stdout, "failed")
			return fmt.Errorf("putting the functions into %s: %w; TMPDIR names another place", directory, err)
		}
	}
	fmt.Fprintf(stdout, "%.1f s\n", time.Since(started).Seconds())
	return nil
}

// keptDirectory makes the directory in which the functions of a template are compiled: in .build beside
// go.mod, or beside the template where there is none.
func keptDirectory(root string, race bool) (string, error) {
	module := root
	for {
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(module) == module {
			module = root
			break
		}
		module = filepath.Dir(module)
	}
	within, err := filepath.Rel(module, root)
	if err != nil {
		return "", fmt.Errorf("finding a place for the functions: %w", err)
	}
	kind := "functions"
	if race {
		kind = "functions-race"
	}
	kept := filepath.Join(module, ".build", kind, within)
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return "", fmt.Errorf("making a directory to compile the functions in: %w", err)
	}
	return kept, nil
}

// removeWork removes what a compiler has left that was killed.
func removeWork(kept string) error {
	left, err := filepath.Glob(filepath.Join(kept, "go-build*"))
	for _, directory := range left {
		err = errors.Join(err, os.RemoveAll(directory))
	}
	return err
}

// lock waits until no other stack compiles in a directory.
func lock(ctx context.Context, directory string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(directory, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the compiled functions: %w", err)
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil // closing the file unlocks it
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("locking the compiled functions: %w", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		}
	}
}

// place puts a binary somewhere else: as a link where that is possible, because the compiler replaces
// its files and never writes into them, and else as a copy.
func place(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
