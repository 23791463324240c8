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

// binaries are what is measured, as it is deployed but for this machine's processor.
type binaries struct {
	stack     string
	hello     string
	functions map[string]string // by name
	deployed  map[string]int64  // bytes of a function's binary as it is deployed, by name
}

// build builds the local stack and the functions of a working copy, and the function that says hello of this one.
func build(ctx context.Context, root, folder string) (*binaries, error) {
	built := &binaries{
		stack: filepath.Join(folder, "local"), hello: filepath.Join(folder, "hello"),
		functions: map[string]string{}, deployed: map[string]int64{},
	}
	if err := compile(ctx, root, "./infra/local", built.stack); err != nil {
		return nil, err
	}
	if err := compile(ctx, ".", "./infra/bench/system/hello", built.hello); err != nil {
		return nil, err
	}
	mains, err := filepath.Glob(filepath.Join(root, "functions", "*", "main.go"))
	if err != nil {
		return nil, err
	}
	for _, file := range mains {
		name := filepath.Base(filepath.Dir(file))
		built.functions[name] = filepath.Join(folder, "functions", name)
		if err := compile(ctx, root, "./functions/"+name, built.functions[name]); err != nil {
			return nil, err
		}
		deployed := filepath.Join(folder, "deployed", name)
		if err := compile(ctx, root, "./functions/"+name, deployed, "GOARCH=arm64"); err != nil {
			return nil, err
		}
		info, err := os.Stat(deployed)
		if err != nil {
			return nil, err
		}
		built.deployed[name] = info.Size()
	}
	return built, nil
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
	own      time.Duration            // of their parent
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
	u.own, u.dead = fields.cpu, fields.children
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return u, err
	}
	for _, folder := range processes {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			continue
		}
		child, err := stat(pid)
		if err != nil || child.parent != parent { // an error: it has ended meanwhile
			continue
		}
		binary, err := os.Readlink(filepath.Join(folder, "exe"))
		if err != nil {
			continue
		}
		name := filepath.Base(binary)
		u.cpu[name] += child.cpu
		u.resident[name] += child.resident
		u.count[name]++
	}
	return u, nil
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
