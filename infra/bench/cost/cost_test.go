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
	untraced := listPrices()
	untraced.trace = 0
	with := [2]float64{sum(bill(traffics[0], listPrices())), sum(bill(traffics[1], listPrices()))}
	without := [2]float64{sum(bill(traffics[0], untraced)), sum(bill(traffics[1], untraced))}
	fixed, elsewhere := sum(monthly(alarmMetrics(template), listPrices())), alternatives(1e6)
	for page, promises := range map[string][]string{
		"README.md": {
			fmt.Sprintf("| Lambda, DynamoDB, SQS, logs, traffic | %.2f | %.2f |", without[0], without[1]),
			fmt.Sprintf("the default) | %.2f | %.2f |", with[0]-without[0], with[1]-without[1]),
			fmt.Sprintf("| Sum | %.2f | %.2f |", with[0], with[1]),
			fmt.Sprintf("A month costs %.2f more", fixed),
		},
		"../../../README.md": {
			fmt.Sprintf("$%.0f to $%.0f for a million deliveries, and $%.0f a month", with[1], with[0], fixed),
		},
		"../../alternatives.md": {
			fmt.Sprintf("| $%.0f to $%.0f, and $%.0f a month |", with[1], with[0], fixed),
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
		{"a batch of one takes as long as its endpoint and deliver itself", one, 0, 0.20 + 1e6*0.1*0.25*0.0000133334},
		{"a full batch takes as long as the slowest of ten", full, 0, 0.02 + 1e5*0.322896*0.25*0.0000133334},
		{"dispatch runs once for 100 events", full, 1, 5000 * (0.20/1e6 + 0.12*0.25*0.0000133334)},
		{"two write units a delivery", one, 2, 1.25},
		{"five for one that is tried again", retried, 2, 3.125},
		{"two read units a delivery and one an event", full, 3, 2*0.125 + 0.0625},
		{"1.2 GB for three months", one, 4, 0.9},
		{"three requests for a message of its own", one, 5, 1.5},
		{"three for ten messages", full, 5, 0.15},
		{"two more and a visibility for a second attempt", retried, 5, 3},
		{"every invocation is traced below one a second", one, 7, 10},
		{"3 GB to the endpoints", one, 8, 0.27},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := bill(test.traffic, listPrices())[test.line]; !near(got.amount, test.want) {
				t.Errorf("%s %s: %.5f, want %.5f", got.service, got.what, got.amount, test.want)
			}
		})
	}
}

func TestTraced(t *testing.T) {
	for perSecond, want := range map[float64]float64{0: 1, 0.5: 1, 1: 1, 2: 0.525, 21: 2.0 / 21} {
		if got := traced(perSecond); !near(got, want) {
			t.Errorf("of %v invocations a second %.4f are traced, want %.4f", perSecond, got, want)
		}
	}
}
