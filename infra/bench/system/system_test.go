package main

import (
	"os"
	"os/exec"
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
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	live, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// A shell's cat may be a link to a binary of another name.
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

func TestTableShowsRatiosFirst(t *testing.T) {
	b := &bench{}
	b.add("a thing", 3, "ms")
	b.compare("another", 6, "ms", "a thing", 3)
	var out strings.Builder
	if err := b.print(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if got := strings.Fields(lines[2]); len(got) < 4 || got[0] != "2.00" || got[2] != "6" {
		t.Errorf("%q", lines)
	}
}

func TestUnknownPartIsRefused(t *testing.T) {
	err := run(t.Context(), settings{only: "speed"}, nil)
	if err == nil || !strings.Contains(err.Error(), partNames()) {
		t.Errorf("got %v, want the parts that there are", err)
	}
}
