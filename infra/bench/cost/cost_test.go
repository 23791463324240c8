package main

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden file")

func list(t *testing.T) priceList {
	t.Helper()
	list, err := readPrices()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestTable(t *testing.T) {
	template, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := write(&got, scenarios(usual), alarmMetrics(template), list(t)); err != nil {
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

func TestEveryPriceHasItsSource(t *testing.T) {
	list := list(t)
	all := reflect.ValueOf(list.Prices)
	for i := range all.NumField() {
		p := all.Field(i).Interface().(price)
		if p.USD <= 0 || p.Per < 1 || p.Of == "" || !strings.HasPrefix(p.Source, "https://") {
			t.Errorf("%s is %+v", all.Type().Field(i).Name, p)
		}
	}
	if _, err := time.Parse("2006-01", list.AsOf); err != nil || list.Region == "" {
		t.Errorf("prices of %q, %v", list.Region, err)
	}
}

func TestPagesHaveTheAmountsOfTheTable(t *testing.T) {
	template, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := list(t).Prices
	traffics := scenarios(usual)
	half := len(traffics) / 2
	small, short, both := usual, usual, usual
	small.memory, short.days, both.memory, both.days = 128, 30, 128, 30
	first := func(a assumptions) float64 { return sum(bill(scenarios(a)[0], p)) }
	var rows []string
	for i := range half {
		even, full := traffics[i], traffics[half+i]
		_, what, _ := strings.Cut(even.name, ", ")
		rows = append(rows, fmt.Sprintf("| %s | %.2f | %.2f | %.2f | %.2f |", what, sum(bill(even, p)), sum(bill(full, p)),
			elsewhere(even, p)[0].amount, elsewhere(even, p)[1].amount))
	}
	fixed := sum(monthly(alarmMetrics(template), usual.memory, p))
	low, high := sum(bill(traffics[half], p)), sum(bill(traffics[0], p))
	for page, promises := range map[string][]string{
		"README.md": append(
			rows,
			fmt.Sprintf("| X-Ray more, with `Tracing=Active` | %.2f | %.2f |", tracing(traffics[0], p), tracing(traffics[half], p)),
			fmt.Sprintf("| changes that no config wants | %.2f | %.2f |", unwanted(traffics[0], p), unwanted(traffics[half], p)),
			fmt.Sprintf("A month costs %.2f more", fixed),
			fmt.Sprintf("`-memory 128` | %.2f |", first(small)),
			fmt.Sprintf("`-days 30` | %.2f |", first(short)),
			fmt.Sprintf("both | %.2f |", first(both)),
		),
		"../../../README.md": {
			fmt.Sprintf("$%.0f to $%.0f for a million deliveries, and $%.0f a month", low, high, fixed),
		},
		"../../alternatives.md": {
			fmt.Sprintf("| $%.0f to $%.0f, and $%.0f a month |", low, high, fixed),
			fmt.Sprintf("| $%.2f, [June 2026]", elsewhere(traffics[0], p)[0].amount),
			fmt.Sprintf("| $%.0f (Free plan), $%.0f (Professional)", services(1e6, p)[0].amount, services(1e6, p)[1].amount),
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
	one := traffic{
		deliveries: 1e6, perSecond: 0.4, fanout: 1, records: 1, messages: 1, latency: 70 * time.Millisecond, memory: 1769, days: 90,
	}
	full := one
	full.perSecond, full.fanout, full.records, full.messages, full.latency = 100, 2, 100, 10, 100*time.Millisecond
	once, dead, month := one, one, one
	once.once, dead.dead, month.days = 1, 1, 30
	const second = 1769.0 / 1024 * 0.0000133334
	tests := []struct {
		name    string
		traffic traffic
		line    int
		want    float64
	}{
		{
			name:    "a batch of one takes as long as its endpoint and deliver itself",
			traffic: one, line: 0, want: 0.20 + 1e6*(0.070+0.014+0.00337)*second,
		},
		{
			name:    "a full batch takes as long as the slowest of ten",
			traffic: full, line: 0, want: 0.02 + 1e5*(0.2928968+0.014+0.0058)*second,
		},
		{
			name:    "a dead endpoint takes the deadline to connect of five attempts, and four looks at the last message",
			traffic: dead, line: 0,
			want: 9*0.20 + 5e6*(10+0.01737)*second + 4e6*0.01737*second,
		},
		{name: "dispatch runs once for 100 events", traffic: full, line: 1, want: 5000 * (0.20/1e6 + (0.024+0.036+0.0191)*second)},
		{name: "two write units an event and one a delivery", traffic: one, line: 2, want: 3 * 0.625},
		{name: "six for one that fails once", traffic: once, line: 2, want: 8 * 0.625},
		{name: "twenty-seven for one that fails five times", traffic: dead, line: 2, want: 29 * 0.625},
		{name: "the event is written once for all its deliveries", traffic: full, line: 2, want: 2 * 0.625},
		{name: "two read units a delivery and one an event", traffic: full, line: 3, want: 2*0.125 + 0.0625},
		{name: "1.39 GB for three months", traffic: one, line: 4, want: 1.0425},
		{name: "and for one", traffic: month, line: 4, want: 0.3475},
		{name: "backups of 0.36 GB for three months", traffic: one, line: 5, want: 0.216},
		{name: "three requests for a message of its own", traffic: one, line: 6, want: 1.5},
		{name: "three for ten messages", traffic: full, line: 6, want: 0.15},
		{name: "three more for a second attempt", traffic: once, line: 6, want: 3},
		{name: "five sent, and nine received and given back", traffic: dead, line: 6, want: 11.5},
		{name: "a line and metrics for each batch", traffic: one, line: 7, want: 0.5 * (0.390 + 0.700 + 0.016)},
		{name: "a line for each failure", traffic: once, line: 7, want: 0.5 * (0.390 + 2*0.700 + 2*0.016 + 0.650)},
		{name: "3 GB to the endpoints", traffic: one, line: 8, want: 0.27},
		{name: "nothing to a dead one", traffic: dead, line: 8, want: 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := bill(test.traffic, list(t).Prices)[test.line]; !near(got.amount, test.want) {
				t.Errorf("%s %s: %.5f, want %.5f", got.service, got.what, got.amount, test.want)
			}
		})
	}
}

func TestElsewhereByHand(t *testing.T) {
	p := list(t).Prices
	got := elsewhere(traffic{deliveries: 1e6, fanout: 10, once: 0.1, dead: 0.01}, p)
	want := []float64{0.14 + 1.14*0.20 + 1.09*0.27, 0.09 + 1.14*0.60 + 1.09*0.27}
	for i, amount := range want {
		if !near(got[i].amount, amount) {
			t.Errorf("%s: %.5f, want %.5f", got[i].service, got[i].amount, amount)
		}
	}
}

func TestLessMemoryComputesForLonger(t *testing.T) {
	if got := (traffic{memory: 1769.0 / 4}).computed(time.Millisecond); got != 4*time.Millisecond {
		t.Errorf("a millisecond takes %v with a fourth of a processor", got)
	}
}

func TestASweepEachMinute(t *testing.T) {
	const runs = 43_800
	want := runs * (0.20/1e6 + 0.1*0.25*0.0000133334 + 9*0.125/1e6 + 700*0.50/1e9)
	if got := monthly(0, 256, list(t).Prices)[4].amount; !near(got, want) {
		t.Errorf("%.5f, want %.5f", got, want)
	}
}

func TestTraced(t *testing.T) {
	sparse := traffic{deliveries: 1e6, perSecond: 0.4, fanout: 1, records: 1, messages: 1}
	if got := tracing(sparse, list(t).Prices); !near(got, 10) {
		t.Errorf("%.5f for two invocations a delivery, every one traced, want 10", got)
	}
	for perSecond, want := range map[float64]float64{0: 1, 0.5: 1, 1: 1, 2: 0.525, 21: 2.0 / 21} {
		if got := traced(perSecond); !near(got, want) {
			t.Errorf("of %v invocations a second %.4f are traced, want %.4f", perSecond, got, want)
		}
	}
}
