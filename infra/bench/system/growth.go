package main

import (
	"context"
	"fmt"
	"time"
)

// measureGrowth tells what a delivery takes when organizations have more configs, and a change when there are more organizations.
func (b *bench) measureGrowth(ctx context.Context) error {
	deliveries := b.changes / 2
	var one float64
	for _, configs := range []int{1, 10, 100} {
		s, err := b.startWarm(ctx)
		if err != nil {
			return err
		}
		for range configs - 1 {
			if err := s.register(ctx, organization, "/fast"); err != nil {
				return err
			}
		}
		if err := s.warm(ctx, organization, 20); err != nil {
			return err
		}
		cpu, err := s.settled(ctx, func() error {
			_, err := s.burst(ctx, organization, deliveries/configs)
			return err
		})
		if err != nil {
			return err
		}
		value := micro(cpu / time.Duration(deliveries))
		if configs == 1 {
			one = value
		}
		b.compare(fmt.Sprintf("processor time of all functions with %d configs, a delivery", configs), value, "µs", "1", one)
		if err := s.stop(); err != nil {
			return err
		}
	}
	for _, organizations := range []int{1, 100, 10_000} {
		s, err := b.startWarm(ctx)
		if err != nil {
			return err
		}
		cpu, err := s.settled(ctx, func() error {
			return s.spread(ctx, organizations, b.changes/2)
		})
		if err != nil {
			return err
		}
		value := micro(cpu / time.Duration(b.changes/2))
		if organizations == 1 {
			one = value
		}
		b.compare(fmt.Sprintf("processor time of all functions with %d organizations that have no config, a change", organizations),
			value, "µs", "1", one)
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}

// spread writes n documents of some organizations in turn.
func (s *stack) spread(ctx context.Context, organizations, n int) error {
	const step = 25
	for from := 0; from < n; from += step {
		if err := s.batch(ctx, from, min(from+step, n), func(i int) string { return fmt.Sprintf("org_%d", i%organizations) }); err != nil {
			return err
		}
	}
	return nil
}

// settled does something and returns the processor time that the functions took until they were idle again.
func (s *stack) settled(ctx context.Context, do func() error) (time.Duration, error) {
	before, err := usageOf(s.command.Process.Pid)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	const idle = 2 * time.Second
	ticks := time.NewTicker(idle)
	defer ticks.Stop()
	for last := before; ; {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		now, err := usageOf(s.command.Process.Pid)
		if err != nil {
			return 0, err
		}
		if now.functions()-last.functions() < 2*tick {
			return now.functions() - before.functions(), nil
		}
		last = now
	}
}
