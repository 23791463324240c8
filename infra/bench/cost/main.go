// Command cost computes what deliveries cost, from list prices and the figures of the design.
//
// It prints two bills: for deliveries that come one by one, evenly over a month, and for as many that
// come in bursts and so in full batches. What a stack really costs lies between them. The API and the
// documents table, which belongs to the document system, are left out.
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

func main() {
	deliveries := flag.Float64("deliveries", 1e6, "`number` of deliveries")
	latency := flag.Duration("latency", 250*time.Millisecond, "average time that an endpoint takes")
	fanout := flag.Float64("fanout", 1, "`number` of configs that an event goes to")
	retried := flag.Float64("retried", 0.02, "`share` of deliveries that need a second attempt")
	template := flag.String("template", "template.yaml", "the SAM template, `file`, whose metrics with alarms are counted")
	flag.Parse()
	source, err := os.ReadFile(*template)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost: counting what alarms look at:", err)
		os.Exit(1)
	}
	if err := write(os.Stdout, scenarios(*deliveries, *latency, *fanout, *retried), alarmMetrics(source), listPrices()); err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

// alarmMetrics counts the metrics that the template's alarms look at. One on metric math looks at several.
func alarmMetrics(template []byte) int { return strings.Count(string(template), " MetricName: ") }

// scenarios returns the two ends of what traffic can be like.
func scenarios(deliveries float64, latency time.Duration, fanout, retried float64) []traffic {
	even := traffic{
		name: "one by one, evenly over a month", deliveries: deliveries, perSecond: deliveries / (minutesMonth * 60),
		latency: latency, fanout: fanout, retried: retried, records: 1, messages: 1,
	}
	bursts := even
	bursts.name, bursts.perSecond, bursts.records, bursts.messages = "in bursts of 100 a second, in full batches", 100, 100, 10
	return []traffic{even, bursts}
}
