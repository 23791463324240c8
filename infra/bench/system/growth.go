package main

import (
	"context"
	"fmt"
	"time"
)

// measureGrowth tells what a delivery takes when organizations have more configs, and a change when there are more organizations.
func (b *bench) measureGrowth(ctx context.Context) error {
	n := b.changes / 2
	grow := func(sizes []int, name string, prepare func(s *stack, size int) error, write func(s *stack, size int) error) error {
		var one float64
		for _, size := range sizes {
			s, err := b.startWarm(ctx)
			if err != nil {
				return err
			}
			if err := prepare(s, size); err != nil {
				return err
			}
			cpu, err := s.settled(ctx, func() error { return write(s, size) })
			if err != nil {
				return err
			}
			value := micro(cpu / time.Duration(n))
			if size == 1 {
				one = value
			}
			b.compare(fmt.Sprintf(name, size), value, "µs", "1", one)
			if err := s.stop(); err != nil {
				return err
			}
		}
		return nil
	}
	err := grow(
		[]int{1, 10, 100}, "processor time of all functions with %d configs, a delivery",
		func(s *stack, configs int) error {
			for range configs - 1 {
				if err := s.register(ctx, organization, "/fast"); err != nil {
					return err
				}
			}
			if err := s.warm(ctx, organization, 20); err != nil {
				return err
			}
			return s.drained(ctx)
		},
		func(s *stack, configs int) error {
			_, err := s.burst(ctx, organization, n/configs)
			return err
		},
	)
	if err != nil {
		return err
	}
	return grow(
		[]int{1, 100, 10_000}, "processor time of all functions with %d organizations that have no config, a change",
		func(s *stack, _ int) error { return s.drained(ctx) },
		func(s *stack, organizations int) error {
			return s.spread(ctx, n, func(i int) string { return fmt.Sprintf("org_%d", i%organizations) })
		},
	)
}

// spread writes n documents, each of an organization.
func (s *stack) spread(ctx context.Context, n int, organization func(i int) string) error {
	const step = 25
	for from := 0; from < n; from += step {
		if err := s.batch(ctx, from, min(from+step, n), organization); err != nil {
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
	for last := before; ; {
		if err := rest(ctx, 2*time.Second); err != nil {
			return 0, err
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
