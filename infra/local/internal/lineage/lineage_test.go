package lineage_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/lineage"
)

func TestEveryInvocationOfAChainCounts(t *testing.T) {
	header := "Root=1-0-a;Parent=b;Sampled=0"
	for n := range 3 {
		l := lineage.Parse(header)
		if got := l.Count("Deliver"); got != n {
			t.Errorf("%q counts %d invocations, want %d", header, got, n)
		}
		header = "Root=1-0-a;" + l.Enter("Deliver")
	}
	header = "Root=1-0-a;" + lineage.Parse(header).Enter("Sweep")
	l := lineage.Parse(header)
	if l.Count("Deliver") != 3 || l.Count("Sweep") != 1 || l.Count("Dispatch") != 0 {
		t.Errorf("%q counts %v", header, l)
	}
}

func TestBatchHasTheHighestCountOfItsMessages(t *testing.T) {
	all := lineage.Parse("Lineage=a:3,b:1")
	all.Merge(lineage.Parse("Lineage=a:2,c:5"))
	if diff := cmp.Diff(lineage.Lineage{"a": 3, "b": 1, "c": 5}, all); diff != "" {
		t.Errorf("lineage (-want +got):\n%s", diff)
	}
}

func TestMalformedHeadersCountAsNothing(t *testing.T) {
	for _, header := range []string{
		"", "Root=1", "Lineage=", "Lineage=a", "Lineage=a:b", "Lineage=a:-1", "Lineage=a:0", "lineage=a:1", ";;=:,",
	} {
		if l := lineage.Parse(header); len(l) != 0 {
			t.Errorf("%q counts as %v", header, l)
		}
	}
}

func TestContextCarriesTheChain(t *testing.T) {
	if l := lineage.FromContext(context.Background()); l != nil {
		t.Errorf("a context without one has %v", l)
	}
	want := lineage.Lineage{"a": 1}
	if diff := cmp.Diff(want, lineage.FromContext(lineage.NewContext(context.Background(), want))); diff != "" {
		t.Error(diff)
	}
}
