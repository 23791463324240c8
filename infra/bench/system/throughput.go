package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

const organization = "org_bench"

// startWarm starts a stack with one config that is known to answer quickly.
func (b *bench) startWarm(ctx context.Context, flags ...string) (*stack, error) {
	s, err := b.start(ctx, append(organizationFlags(organization), flags...)...)
	if err != nil {
		return nil, err
	}
	if err := s.register(ctx, organization, "/fast"); err != nil {
		return nil, err
	}
	return s, s.warm(ctx, organization, 200)
}

// warm takes some webhooks of an organization, after which functions run and the endpoint's speed is known.
func (s *stack) warm(ctx context.Context, organization string, n int) error {
	for range 2 { // the first ones find the endpoint out
		documents, err := s.burst(ctx, organization, n)
		if err == nil {
			_, _, err = s.endpoint.latencies(ctx, documents)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// functions are those that a delivery goes through.
var functions = []string{"dispatch", "deliver"}

// reading is what has been taken until some time.
type reading struct {
	usage usage
	bench time.Duration // processor time of this process, which writes the documents and takes the webhooks
	calls map[string]int
}

func (s *stack) read(ctx context.Context) (r reading, err error) {
	r.calls, r.bench = s.calls(ctx), ownCPU()
	r.usage, err = usageOf(s.command.Process.Pid)
	return r, err
}

// interval is what was taken between two readings, for each of some deliveries.
type interval struct {
	cpu    time.Duration
	stack  time.Duration            // of the process that plays AWS
	bench  time.Duration            // of this process
	single map[string]time.Duration // of one function
	calls  map[string]float64       // of 1,000 deliveries, by service
}

func (r reading) since(before reading, deliveries int) interval {
	i := interval{
		cpu:    (r.usage.functions() - before.usage.functions()) / time.Duration(deliveries),
		stack:  (r.usage.parent - before.usage.parent) / time.Duration(deliveries),
		bench:  (r.bench - before.bench) / time.Duration(deliveries),
		single: map[string]time.Duration{}, calls: map[string]float64{},
	}
	for _, name := range functions {
		i.single[name] = (r.usage.cpu[name] - before.usage.cpu[name]) / time.Duration(deliveries)
	}
	for _, service := range services {
		i.calls[service] = 1000 * float64(r.calls[service]-before.calls[service]) / float64(deliveries)
	}
	return i
}

// addIntervals notes the medians of some intervals and returns the processor time of all functions for a delivery, in µs.
func (b *bench) addIntervals(what string, all []interval) float64 {
	pick := func(of func(i interval) time.Duration) float64 {
		values := make([]time.Duration, len(all))
		for n, i := range all {
			values[n] = of(i)
		}
		return micro(median(values))
	}
	const loop = "the bare loop"
	each := pick(func(i interval) time.Duration { return i.cpu })
	b.compare("processor time of all functions "+what+", a delivery", each, "µs", loop, micro(b.loopCPU))
	for _, name := range functions {
		alone := pick(func(i interval) time.Duration { return i.single[name] })
		b.compare("processor time of "+name+" alone "+what+", a delivery", alone, "µs", loop, micro(b.loopCPU))
	}
	b.add("processor time of what plays AWS "+what+", a delivery", pick(func(i interval) time.Duration { return i.stack }), "µs")
	b.add("processor time of who writes and receives "+what+", a delivery", pick(func(i interval) time.Duration { return i.bench }), "µs")
	for _, service := range slices.Sorted(maps.Values(services)) {
		values := make([]float64, len(all))
		for n, i := range all {
			values[n] = i.calls[service]
		}
		b.add("calls of "+service+" "+what+", 1,000 deliveries", median(values), "")
	}
	return each
}

// settledAfter is after how many deliveries the memory of functions is told.
const settledAfter = 10_000

// measureThroughput writes documents faster than they can be delivered.
func (b *bench) measureThroughput(ctx context.Context) error {
	var perSecond []float64
	var intervals []interval
	var settled usage
	for range b.rounds {
		s, err := b.startWarm(ctx)
		if err != nil {
			return err
		}
		before, err := s.read(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		documents, err := s.burst(ctx, organization, b.changes)
		if err != nil {
			return err
		}
		first := min(settledAfter, len(documents))
		_, end, err := s.endpoint.latencies(ctx, documents[:first])
		if err != nil {
			return err
		}
		if settled, err = usageOf(s.command.Process.Pid); err != nil {
			return err
		}
		_, last, err := s.endpoint.latencies(ctx, documents[first:])
		if err != nil {
			return err
		}
		after, err := s.read(ctx)
		if err != nil {
			return err
		}
		perSecond = append(perSecond, float64(b.changes)/latest(end, last).Sub(began).Seconds())
		intervals = append(intervals, after.since(before, b.changes))
		if err := s.stop(); err != nil {
			return err
		}
	}
	b.addIntervals("at full batches", intervals)
	b.add(fmt.Sprintf("deliveries a second of %d changes at once", b.changes), median(perSecond), "/s")
	var resident int64
	var count int
	after := fmt.Sprintf("after %d deliveries", min(settledAfter, b.changes))
	for name, bytes := range settled.resident {
		resident += bytes
		count += settled.count[name]
		if slices.Contains(functions, name) {
			b.add("resident memory of a process of "+name+" "+after, float64(bytes)/float64(settled.count[name])/(1<<20), "MiB")
		}
	}
	b.add(fmt.Sprintf("resident memory of all %d processes of functions %s", count, after), float64(resident)/(1<<20), "MiB")
	return nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// rates of single changes a second at which latencies are measured, and for how long. At the lowest, each is a batch of its own.
var rates = []int{20, 200, 500}

const latencyTime = 10 * time.Second

// measureLatency writes single documents at some rates.
func (b *bench) measureLatency(ctx context.Context) error {
	type round struct {
		p50, p90, p99 []time.Duration
		intervals     []interval
	}
	measured := map[int]*round{}
	for range b.rounds {
		s, err := b.startWarm(ctx)
		if err != nil {
			return err
		}
		for _, rate := range rates {
			before, err := s.read(ctx)
			if err != nil {
				return err
			}
			n := rate * int(latencyTime/time.Second)
			took, err := s.paced(ctx, organization, n, rate)
			if err != nil {
				return err
			}
			after, err := s.read(ctx)
			if err != nil {
				return err
			}
			if measured[rate] == nil {
				measured[rate] = &round{}
			}
			r := measured[rate]
			r.p50 = append(r.p50, quantile(took, 0.5))
			r.p90 = append(r.p90, quantile(took, 0.9))
			r.p99 = append(r.p99, quantile(took, 0.99))
			r.intervals = append(r.intervals, after.since(before, n))
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	for _, rate := range rates {
		paused, err := b.measurePausedLoop(ctx, rate)
		if err != nil {
			return err
		}
		r := measured[rate]
		b.add(fmt.Sprintf("put-item to POST at %d a second, p50", rate), milli(median(r.p50)), "ms")
		b.add(fmt.Sprintf("put-item to POST at %d a second, p90", rate), milli(median(r.p90)), "ms")
		b.add(fmt.Sprintf("put-item to POST at %d a second, p99", rate), milli(median(r.p99)), "ms")
		what := fmt.Sprintf("at %d a second", rate)
		each := b.addIntervals(what, r.intervals)
		b.compare("processor time of all functions "+what+", a delivery", each, "µs", "the bare loop "+what, micro(paused))
	}
	return nil
}

// paced writes n single documents at a rate and returns the latencies of their webhooks.
func (s *stack) paced(ctx context.Context, organization string, n, rate int) ([]time.Duration, error) {
	first := s.written
	s.written += n
	documents, errs := make([]written, n), make([]error, n)
	done := make(chan struct{}, n)
	ticks := time.NewTicker(time.Second / time.Duration(rate))
	defer ticks.Stop()
	for i := range n {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		go func() {
			documents[i], errs[i] = s.write(ctx, organization, first+i)
			done <- struct{}{}
		}()
	}
	for range n {
		<-done
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	took, _, err := s.endpoint.latencies(ctx, documents)
	return took, err
}
