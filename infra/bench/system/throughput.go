package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	organization = "org_bench"
	other        = "org_other"
)

// startWarm starts a stack with one config that is known to answer quickly.
func (b *bench) startWarm(ctx context.Context, flags ...string) (*stack, error) {
	s, err := b.start(ctx, append(organizationFlags(organization, other), flags...)...)
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

// measureThroughput writes documents faster than they can be delivered.
func (b *bench) measureThroughput(ctx context.Context) (err error) {
	var perSecond []float64
	var both []time.Duration
	single := map[string][]time.Duration{}
	var calls map[string]int
	var last usage
	for range b.rounds {
		s, err := b.startWarm(ctx)
		if err != nil {
			return err
		}
		callsBefore := s.calls(ctx)
		before, err := usageOf(s.command.Process.Pid)
		if err != nil {
			return err
		}
		began := time.Now()
		documents, err := s.burst(ctx, organization, b.changes)
		if err != nil {
			return err
		}
		_, end, err := s.endpoint.latencies(ctx, documents)
		if err != nil {
			return err
		}
		if last, err = usageOf(s.command.Process.Pid); err != nil {
			return err
		}
		calls = s.calls(ctx)
		for service, n := range callsBefore {
			calls[service] -= n
		}
		perSecond = append(perSecond, float64(b.changes)/end.Sub(began).Seconds())
		both = append(both, (last.functions()-before.functions())/time.Duration(b.changes))
		for _, name := range []string{"dispatch", "deliver"} {
			single[name] = append(single[name], (last.cpu[name]-before.cpu[name])/time.Duration(b.changes))
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	b.add(fmt.Sprintf("deliveries a second of %d changes at once", b.changes), median(perSecond), "/s")
	b.compare("processor time of all functions at full batches, a delivery", micro(median(both)), "µs", "the bare loop", micro(b.loopCPU))
	for _, name := range []string{"dispatch", "deliver"} {
		b.compare("processor time of "+name+" alone", micro(median(single[name])), "µs", "the bare loop", micro(b.loopCPU))
	}
	for _, service := range slices.Sorted(maps.Keys(calls)) {
		b.add("calls of "+service+", 1,000 deliveries", 1000*float64(calls[service])/float64(b.changes), "calls")
	}
	var resident int64
	var count int
	for name, bytes := range last.resident {
		resident += bytes
		count += last.count[name]
		if name == "deliver" || name == "dispatch" {
			b.add("resident memory of a process of "+name+" afterwards", float64(bytes)/float64(last.count[name])/(1<<20), "MiB")
		}
	}
	b.add(fmt.Sprintf("resident memory of all %d processes of functions", count), float64(resident)/(1<<20), "MiB")
	return nil
}

// rates of single changes a second at which latencies are measured, and for how long.
var rates = []int{20, 200, 500}

const latencyTime = 10 * time.Second

// measureLatency writes single documents at some rates.
func (b *bench) measureLatency(ctx context.Context) error {
	type round struct {
		p50, p90, p99 []time.Duration
		cpu           []time.Duration
	}
	measured := map[int]*round{}
	for range b.rounds {
		s, err := b.startWarm(ctx)
		if err != nil {
			return err
		}
		for _, rate := range rates {
			before, err := usageOf(s.command.Process.Pid)
			if err != nil {
				return err
			}
			n := rate * int(latencyTime/time.Second)
			took, err := s.paced(ctx, organization, n, rate)
			if err != nil {
				return err
			}
			after, err := usageOf(s.command.Process.Pid)
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
			r.cpu = append(r.cpu, (after.functions()-before.functions())/time.Duration(n))
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	for _, rate := range rates {
		r := measured[rate]
		b.add(fmt.Sprintf("put-item to POST at %d a second, p50", rate), milli(median(r.p50)), "ms")
		b.add(fmt.Sprintf("put-item to POST at %d a second, p90", rate), milli(median(r.p90)), "ms")
		b.add(fmt.Sprintf("put-item to POST at %d a second, p99", rate), milli(median(r.p99)), "ms")
		b.compare(
			fmt.Sprintf("processor time of all functions at %d a second, a delivery", rate), micro(median(r.cpu)), "µs",
			"the bare loop", micro(b.loopCPU),
		)
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
