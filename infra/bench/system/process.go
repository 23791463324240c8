package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// buildStack builds the local stack of the working copy, which builds the functions itself when it starts.
func (b *bench) buildStack(ctx context.Context) (path string, err error) {
	path = filepath.Join(b.folder, "local")
	return path, compile(ctx, b.root, "./infra/local", path)
}

// functionNames returns the names of the functions of the working copy.
func (b *bench) functionNames() (names []string, err error) {
	mains, err := filepath.Glob(filepath.Join(b.root, "functions", "*", "main.go"))
	for _, file := range mains {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	return names, err
}

// buildFunction builds a function of the working copy as it is deployed, for a kind of processor.
func (b *bench) buildFunction(ctx context.Context, name, architecture string) (path string, err error) {
	path = filepath.Join(b.folder, architecture, name)
	return path, compile(ctx, b.root, "./functions/"+name, path, "GOARCH="+architecture)
}

// compile compiles a command as the Makefile's target build does.
func compile(ctx context.Context, root, path, to string, environment ...string) error {
	command := exec.CommandContext(
		ctx, "go", "build", "-tags=lambda.norpc", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", to, path,
	)
	command.Dir, command.Env = root, append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), environment...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", path, err, out)
	}
	return nil
}

// tick is the unit in which the kernel counts processor time, USER_HZ.
//
// Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
const tick = 10 * time.Millisecond

// usage is what processes have taken.
type usage struct {
	cpu      map[string]time.Duration // of live processes, by the name of their binary
	dead     time.Duration            // of processes that have ended
	parent   time.Duration            // of the process whose children they are
	resident map[string]int64         // bytes, by the name of their binary
	count    map[string]int           // of processes, by the name of their binary
}

// functions is the processor time of all functions.
func (u usage) functions() time.Duration {
	sum := u.dead
	for _, cpu := range u.cpu {
		sum += cpu
	}
	return sum
}

// usageOf reads what a process and its children have taken.
func usageOf(parent int) (usage, error) {
	u := usage{cpu: map[string]time.Duration{}, resident: map[string]int64{}, count: map[string]int{}}
	fields, err := stat(parent)
	if err != nil {
		return u, err
	}
	u.parent, u.dead = fields.cpu, fields.children
	children, err := childrenOf(parent)
	if err != nil {
		return u, err
	}
	for _, c := range children {
		u.cpu[c.name] += c.cpu
		u.resident[c.name] += c.resident
		u.count[c.name]++
	}
	return u, nil
}

// child is a process and the name of its binary.
type child struct {
	status
	pid  int
	name string
}

func childrenOf(parent int) (children []child, err error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, folder := range processes {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		s, err := stat(pid)
		if err != nil || s.parent != parent { // an error: it has ended meanwhile
			continue
		}
		if binary, err := os.Readlink(filepath.Join(folder, "exe")); err == nil {
			children = append(children, child{status: s, pid: pid, name: filepath.Base(binary)})
		}
	}
	return children, nil
}

// status is what the kernel tells of a process.
type status struct {
	parent        int
	cpu, children time.Duration // its own, and that of children that it has waited for
	resident      int64         // bytes
}

func stat(pid int) (status, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return status{}, err
	}
	// The second field is a name in parentheses, which may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 22 {
		return status{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	number := func(field int) int64 { // as the manual page counts them
		n, _ := strconv.ParseInt(fields[field-3], 10, 64)
		return n
	}
	return status{
		parent:   int(number(4)),
		cpu:      time.Duration(number(14)+number(15)) * tick,
		children: time.Duration(number(16)+number(17)) * tick,
		resident: number(24) * int64(os.Getpagesize()),
	}, nil
}
