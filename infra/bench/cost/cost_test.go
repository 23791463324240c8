package main

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file")

func TestTable(t *testing.T) {
	template, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	alarms := alarmMetrics(template)
	traffics := scenarios(1e6, 250*time.Millisecond, 1, 0.02)
	var got bytes.Buffer
	if err := write(&got, traffics, alarms, listPrices()); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/million.txt"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestPagesHaveTheAmountsOfTheTable(t *testing.T) {
	template, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	traffics := scenarios(1e6, 250*time.Millisecond, 1, 0.02)
	sums := [2]float64{sum(bill(traffics[0], listPrices())), sum(bill(traffics[1], listPrices()))}
	fixed, elsewhere := sum(monthly(alarmMetrics(template), listPrices())), alternatives(1e6)
	for page, promises := range map[string][]string{
		"README.md": {
			fmt.Sprintf("| Lambda, DynamoDB, SQS, logs, traffic | %.2f | %.2f |", sums[0], sums[1]),
			fmt.Sprintf("| X-Ray more, with `Tracing=Active` | %.2f | %.2f |",
				tracing(traffics[0], listPrices()), tracing(traffics[1], listPrices())),
			fmt.Sprintf("A month costs %.2f more", fixed),
		},
		"../../../README.md": {
			fmt.Sprintf("$%.0f to $%.0f for a million deliveries, and $%.0f a month", sums[1], sums[0], fixed),
		},
		"../../alternatives.md": {
			fmt.Sprintf("| $%.0f to $%.0f, and $%.0f a month |", sums[1], sums[0], fixed),
			fmt.Sprintf("| $%.2f, [March 2026]", elsewhere[0].amount),
			fmt.Sprintf("| $%.0f (Free plan), $%.0f (Professional)", elsewhere[1].amount, elsewhere[2].amount),
		},
	} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, promise := range promises {
			if !strings.Contains(string(text), promise) {
				t.Errorf("%s does not say %q", page, promise)
			}
		}
	}
}

// near reports whether two amounts are the same to a hundredth of a cent.
func near(a, b float64) bool { return math.Abs(a-b) < 0.0001 }

func TestBillByHand(t *testing.T) {
	one := traffic{deliveries: 1e6, perSecond: 0.4, fanout: 1, records: 1, messages: 1, latency: 70 * time.Millisecond}
	full := traffic{deliveries: 1e6, perSecond: 100, fanout: 2, records: 100, messages: 10, latency: 100 * time.Millisecond}
	retried := one
	retried.retried = 1
	tests := []struct {
		name    string
		traffic traffic
		line    int
		want    float64
	}{
		{
			name:    "a batch of one takes as long as its endpoint and deliver itself",
			traffic: one, line: 0, want: 0.20 + 1e6*0.1*0.25*0.0000133334,
		},
		{
			name:    "a full batch takes as long as the slowest of ten",
			traffic: full, line: 0, want: 0.02 + 1e5*0.322896*0.25*0.0000133334,
		},
		{name: "dispatch runs once for 100 events", traffic: full, line: 1, want: 5000 * (0.20/1e6 + 0.12*0.25*0.0000133334)},
		{name: "two write units an event and one a delivery", traffic: one, line: 2, want: 3 * 0.625},
		{name: "six for one that is tried again", traffic: retried, line: 2, want: 8 * 0.625},
		{name: "the event is written once for all its deliveries", traffic: full, line: 2, want: 2 * 0.625},
		{name: "two read units a delivery and one an event", traffic: full, line: 3, want: 2*0.125 + 0.0625},
		{name: "1.4 GB for three months", traffic: one, line: 4, want: 1.05},
		{name: "backups of 0.4 GB for three months", traffic: one, line: 5, want: 0.24},
		{name: "three requests for a message of its own", traffic: one, line: 6, want: 1.5},
		{name: "three for ten messages", traffic: full, line: 6, want: 0.15},
		{name: "three more for a second attempt", traffic: retried, line: 6, want: 3},
		{name: "a line for each batch", traffic: one, line: 7, want: 2 * 1.3 * 0.5},
		{name: "3 GB to the endpoints", traffic: one, line: 8, want: 0.27},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := bill(test.traffic, listPrices())[test.line]; !near(got.amount, test.want) {
				t.Errorf("%s %s: %.5f, want %.5f", got.service, got.what, got.amount, test.want)
			}
		})
	}
}

func TestASweepEachMinute(t *testing.T) {
	const runs = 43_800
	want := runs * (0.20/1e6 + 0.1*0.25*0.0000133334 + 9*0.125/1e6 + 700*0.50/1e9)
	if got := monthly(0, listPrices())[4].amount; !near(got, want) {
		t.Errorf("%.5f, want %.5f", got, want)
	}
}

func TestTraced(t *testing.T) {
	if got := tracing(traffic{deliveries: 1e6, perSecond: 0.4, fanout: 1, records: 1, messages: 1}, listPrices()); !near(got, 10) {
		t.Errorf("%.5f for two invocations a delivery, every one traced, want 10", got)
	}
	for perSecond, want := range map[float64]float64{0: 1, 0.5: 1, 1: 1, 2: 0.525, 21: 2.0 / 21} {
		if got := traced(perSecond); !near(got, want) {
			t.Errorf("of %v invocations a second %.4f are traced, want %.4f", perSecond, got, want)
		}
	}
}
