package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// benchTime is how long each benchmark runs in each round.
const benchTime = "300ms"

// measureHandlers runs the benchmarks of the hot paths, whose services are stand-ins.
func (b *bench) measureHandlers(ctx context.Context) error {
	command := exec.CommandContext(
		ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", benchTime, "-count", strconv.Itoa(b.rounds),
		"./infra/bench",
	)
	command.Dir = b.root
	out, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	names, runs := benchmarks(out)
	if len(names) == 0 {
		return fmt.Errorf("no benchmark in %s", out)
	}
	for _, name := range names {
		r := runs[name]
		b.compare(name+", the handler alone", median(r.nanoseconds)/1e3, "µs", "the bare loop", micro(b.loopCPU))
		b.add(name+", allocations", median(r.allocations), "")
		b.add(name+", bytes allocated", median(r.bytes), "B")
	}
	return nil
}

// benchmarkRuns are what the runs of a benchmark took.
type benchmarkRuns struct{ nanoseconds, bytes, allocations []float64 }

var benchmarkPattern = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// benchmarks reads what go test prints. Where a benchmark tells what each of several things in an operation took, as
// ns/delivery, all figures are of one of these.
func benchmarks(out []byte) (names []string, runs map[string]*benchmarkRuns) {
	runs = map[string]*benchmarkRuns{}
	for scanner := bufio.NewScanner(bytes.NewReader(out)); scanner.Scan(); {
		match := benchmarkPattern.FindStringSubmatch(scanner.Text())
		if match == nil {
			continue
		}
		fields := strings.Fields(match[2])
		values, share, of := map[string]float64{}, 1.0, ""
		for i := 0; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				continue
			}
			values[fields[i+1]] = value
			if unit, ok := strings.CutPrefix(fields[i+1], "ns/"); ok && unit != "op" {
				share, of = value/values["ns/op"], ", a "+unit
			}
		}
		name := strings.ReplaceAll(match[1], "_", " ") + of
		if runs[name] == nil {
			runs[name] = &benchmarkRuns{}
			names = append(names, name)
		}
		r := runs[name]
		r.nanoseconds = append(r.nanoseconds, values["ns/op"]*share)
		r.bytes = append(r.bytes, values["B/op"]*share)
		r.allocations = append(r.allocations, values["allocs/op"]*share)
	}
	return names, runs
}
