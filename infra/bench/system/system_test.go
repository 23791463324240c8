package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	got := []float64{quantile(values, 0), median(values), quantile(values, 0.99), quantile(values, 1), median([]float64{})}
	if diff := cmp.Diff([]float64{1, 3, 5, 5, 0}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUsageFindsChildren(t *testing.T) {
	if os.Getenv("ECHO") != "" { // in the child
		io.Copy(os.Stdout, os.Stdin)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestUsageFindsChildren$")
	child.Env = append(os.Environ(), "ECHO=yes")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	// Before it echoes it may not have come to where the kernel has counted its memory.
	echo := make([]byte, 1)
	if _, err := in.Write(echo); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, echo); err != nil {
		t.Fatal(err)
	}
	live, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	io.Copy(io.Discard, out)
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(live.count) != 1 || len(after.count) != 0 {
		t.Errorf("processes %v while a child lives, %v afterwards", live.count, after.count)
	}
	for name, bytes := range live.resident {
		if bytes <= 0 {
			t.Errorf("%s has %d bytes", name, bytes)
		}
	}
}

func TestEndpointKeepsTheFirstArrival(t *testing.T) {
	e, err := receive()
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	put := time.Now()
	e.note([]byte(`{"data":{"attributes":{"document_id":"doc_1"}}}`), put.Add(time.Second))
	e.note([]byte(`{"data":{"attributes":{"document_id":"doc_1"}}}`), put.Add(time.Minute))
	took, last, err := e.latencies(t.Context(), []written{{id: "doc_1", at: put}})
	if err != nil || took[0] != time.Second || !last.Equal(put.Add(time.Second)) {
		t.Errorf("took %v, the last at %v, %v", took, last, err)
	}
}

func TestTableShowsRatiosOfEachPartFirst(t *testing.T) {
	b := &bench{part: "start"}
	b.add("a thing", 3, "ms")
	b.compare("another", 6, "ms", "a thing", 3)
	b.part = "loop"
	b.add("what the rest is compared with", 1, "ms")
	var out strings.Builder
	if err := b.print(&out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		if fields := strings.Fields(line); len(fields) > 0 {
			got = append(got, strings.Join(fields, " "))
		}
	}
	want := []string{"ratio value what", "1 ms what the rest is compared with", "2.00 × 6 ms another, beside a thing", "3 ms a thing"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFiguresAreOneJSONObject(t *testing.T) {
	b := &bench{settings: settings{asJSON: true, rounds: 3, changes: 5}, part: "start"}
	b.compare("another", 6, "ms", "a thing", 3)
	var out bytes.Buffer
	if err := b.print(&out); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := report{
		Go: runtime.Version(), Processors: runtime.NumCPU(), Rounds: 3, Changes: 5,
		Figures: []figure{{Part: "start", Name: "another", Value: 6, Unit: "ms", Ratio: 2, To: "a thing"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBenchmarksAreReadForEachDelivery(t *testing.T) {
	names, runs := benchmarks([]byte(`goos: linux
BenchmarkSign/one_secret-2   	  100	 1000 ns/op	 64 B/op	 2 allocs/op
BenchmarkDeliver-2           	   10	 5000 ns/op	 500.0 ns/delivery	 1000 B/op	 70 allocs/op
BenchmarkDeliver-2           	   10	 7000 ns/op	 700.0 ns/delivery	 3000 B/op	 90 allocs/op
PASS
`))
	if diff := cmp.Diff([]string{"Sign/one secret", "Deliver, a delivery"}, names); diff != "" {
		t.Fatal(diff)
	}
	want := benchmarkRuns{nanoseconds: []float64{500, 700}, bytes: []float64{100, 300}, allocations: []float64{7, 9}}
	if diff := cmp.Diff(&want, runs[names[1]], cmp.AllowUnexported(benchmarkRuns{})); diff != "" {
		t.Error(diff)
	}
}

func TestLogOfFunctionsIsCountedWithoutTheirNames(t *testing.T) {
	var o output
	for _, line := range []string{"[DeliverFunction] {\"a\":1}\n", "Building [1] functions\n", "[SweepFunction] x\n"} {
		o.Write([]byte(line))
	}
	if got := o.functionBytes(); got != len("{\"a\":1}\n")+len("x\n") {
		t.Errorf("%d bytes", got)
	}
}

func TestIntervalIsOfEachDelivery(t *testing.T) {
	before := reading{
		usage: usage{cpu: map[string]time.Duration{"deliver": time.Second}, dead: time.Second},
		calls: map[string]int{"SQS": 100},
	}
	after := reading{
		usage: usage{cpu: map[string]time.Duration{"deliver": 2 * time.Second, "sweep": time.Second}, dead: 2 * time.Second},
		calls: map[string]int{"SQS": 110, "DynamoDB": 50},
	}
	want := interval{
		cpu:    30 * time.Millisecond,
		single: map[string]time.Duration{"dispatch": 0, "deliver": 10 * time.Millisecond},
		calls:  map[string]float64{"SQS": 100, "DynamoDB": 500, "Secrets Manager": 0},
	}
	if diff := cmp.Diff(want, after.since(before, 100), cmp.AllowUnexported(interval{})); diff != "" {
		t.Error(diff)
	}
}

func TestProductionHasItsPlaces(t *testing.T) {
	b := &bench{settings: settings{root: t.TempDir()}}
	template := "Mappings:\n  sandbox:\n    DispatchParallelization: 1\n"
	if err := os.WriteFile(filepath.Join(b.root, "template.yaml"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	flags, err := b.production()
	if err != nil {
		t.Fatal(err)
	}
	changed, err := os.ReadFile(flags[1])
	if err != nil || !strings.Contains(string(changed), "DispatchParallelization: 10\n") {
		t.Errorf("%v: %s", err, changed)
	}
	if err := os.WriteFile(filepath.Join(b.root, "template.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.production(); err == nil {
		t.Error("a template without the lanes of a sandbox is taken")
	}
}

func TestAFunctionStartsWithEachVariableOfTheTemplate(t *testing.T) {
	source, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	variables := regexp.MustCompile(`(?m)^ +([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*): `).FindAllSubmatch(source, -1)
	if len(variables) < 20 {
		t.Fatalf("%d variables found", len(variables))
	}
	for _, v := range variables {
		if !slices.ContainsFunc(environment, func(e string) bool { return strings.HasPrefix(e, string(v[1])+"=") }) {
			t.Errorf("a function is started without %s", v[1])
		}
	}
}

func TestUnknownPartIsRefused(t *testing.T) {
	err := run(t.Context(), settings{only: "speed"}, nil)
	if err == nil || !strings.Contains(err.Error(), partNames()) {
		t.Errorf("got %v, want the parts that there are", err)
	}
}
