// Command cost computes what deliveries cost, from the list prices in prices.json and from what was measured and counted.
//
// It prints bills for deliveries that come one by one, evenly over a month, and for as many that come in bursts and so in
// full batches: what a stack really costs lies between them. Each is computed for deliveries that succeed at once, for
// some that fail once, for an endpoint that is dead for a day, and for events that go to ten configs; beside them stand
// EventBridge and SNS for the same traffic. The API and the documents table, which belongs to the document system, are left
// out.
//
// Usage:
//
//	go run ./infra/bench/cost [flags]
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// assumptions are the command's flags.
type assumptions struct {
	deliveries float64
	latency    time.Duration
	fanout     float64 // of the events that go to several configs
	once       float64
	dead       float64
	memory     float64
	days       float64
}

func main() {
	var a assumptions
	flag.Float64Var(&a.deliveries, "deliveries", usual.deliveries, "`number` of deliveries")
	flag.DurationVar(&a.latency, "latency", usual.latency, "average time that an endpoint takes")
	flag.Float64Var(&a.fanout, "fanout", usual.fanout, "`number` of configs that an event goes to, where it goes to several")
	flag.Float64Var(&a.once, "once", usual.once, "`share` of deliveries that fail once, where some do")
	flag.Float64Var(&a.dead, "dead", usual.dead, "`share` of deliveries to an endpoint that is dead for a day, where one is")
	flag.Float64Var(&a.memory, "memory", usual.memory, "`MB` of a function")
	flag.Float64Var(&a.days, "days", usual.days, "`days` for which events and log are kept")
	template := flag.String("template", "template.yaml", "the SAM template, `file`, whose metrics with alarms are counted")
	flag.Parse()
	if err := run(a, *template); err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

func run(a assumptions, template string) error {
	list, err := readPrices()
	if err != nil {
		return fmt.Errorf("reading the prices: %w", err)
	}
	source, err := os.ReadFile(template)
	if err != nil {
		return fmt.Errorf("counting what alarms look at: %w", err)
	}
	return write(os.Stdout, scenarios(a), alarmMetrics(source), list)
}

// usual is what is assumed where nothing else is said: of a hundred endpoints one is dead.
var usual = assumptions{
	deliveries: 1e6, latency: 200 * time.Millisecond, fanout: 10, once: 0.1, dead: 0.01, memory: 256, days: 90,
}

// alarmMetrics counts the metrics that the template's alarms look at. One on metric math looks at several.
func alarmMetrics(template []byte) int { return strings.Count(string(template), " MetricName: ") }

// scenarios returns what traffic can be like, from one end to the other.
func scenarios(a assumptions) []traffic {
	even := traffic{
		deliveries: a.deliveries, perSecond: a.deliveries / (minutesMonth * 60), latency: a.latency, fanout: 1,
		records: 1, messages: 1, memory: a.memory, days: a.days,
	}
	bursts := even
	bursts.perSecond, bursts.records, bursts.messages = 100, 100, 10
	var all []traffic
	for _, way := range []struct {
		name string
		traffic
	}{{"one by one", even}, {"bursts of 100 a second", bursts}} {
		add := func(name string, change func(t *traffic)) {
			t := way.traffic
			t.name, t.way = way.name+", "+name, way.name
			change(&t)
			all = append(all, t)
		}
		add("each succeeds", func(*traffic) {})
		add(fmt.Sprintf("%.0f %% fail once", a.once*100), func(t *traffic) { t.once = a.once })
		add(fmt.Sprintf("%.0f %% to an endpoint dead for a day", a.dead*100), func(t *traffic) { t.dead = a.dead })
		add(fmt.Sprintf("each event to %.0f configs", a.fanout), func(t *traffic) {
			t.fanout, t.messages = a.fanout, min(10, max(t.messages, a.fanout))
		})
	}
	return all
}
