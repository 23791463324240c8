package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// measureLog tells how many bytes the functions log for a delivery, which CloudWatch asks money for.
func (b *bench) measureLog(ctx context.Context) error {
	for _, kind := range []struct {
		name  string
		write func(s *stack) (int, error)
	}{
		{"batches of one", func(s *stack) (int, error) {
			const n = 100
			_, err := s.paced(ctx, organization, n, 20)
			return n, err
		}},
		{"full batches", func(s *stack) (int, error) {
			n := b.changes / 10
			documents, err := s.burst(ctx, organization, n)
			if err == nil {
				_, _, err = s.endpoint.latencies(ctx, documents)
			}
			return n, err
		}},
	} {
		s, err := b.startWarm(ctx, "-details")
		if err != nil {
			return err
		}
		if err := rest(ctx, time.Second); err != nil { // so that the lines of what came before are out
			return err
		}
		before := s.errors.functionBytes()
		n, err := kind.write(s)
		if err != nil {
			return err
		}
		if err := rest(ctx, time.Second); err != nil {
			return err
		}
		b.add("log of the functions in "+kind.name+", a delivery", float64(s.errors.functionBytes()-before)/float64(n), "B")
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}

// functionBytes returns how many bytes the functions have logged. Their lines come with their names in brackets before them.
func (o *output) functionBytes() (sum int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range bytes.Lines(o.text.Bytes()) {
		if _, logged, ok := bytes.Cut(line, []byte("] ")); ok && line[0] == '[' {
			sum += len(logged)
		}
	}
	return sum
}

// What of a processor Lambda gives a function.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
const (
	memory         = 256
	wholeProcessor = 1769 // MB
)

// measureSweep lets attempts come due that no delayed message brings, and tells what a sweep takes to send them.
func (b *bench) measureSweep(ctx context.Context) error {
	const hurry = 60 // a minute, and so a sweep, each second
	s, err := b.startWarm(ctx, "-time-scale", fmt.Sprint(hurry), "-parameter", "RetryDelays=1200,604800,604800,604800")
	if err != nil {
		return err
	}
	s.endpoint.answer(500)
	before := s.endpoint.requests()
	n := b.changes / 2
	began := time.Now()
	if _, err := s.burst(ctx, organization, n); err != nil {
		return err
	}
	if err := s.endpoint.awaitRequests(ctx, before+n); err != nil {
		return err
	}
	start, err := usageOf(s.command.Process.Pid)
	if err != nil {
		return err
	}
	startTime := time.Now()
	if err := s.endpoint.awaitRequests(ctx, before+2*n); err != nil {
		return fmt.Errorf("%w: of %d second attempts %d came in %v", err, n, s.endpoint.requests()-before-n, time.Since(began))
	}
	end, err := usageOf(s.command.Process.Pid)
	if err != nil {
		return err
	}
	endTime := time.Now()
	const idle = 10 * time.Second // during which nothing is due
	if err := rest(ctx, idle); err != nil {
		return err
	}
	after, err := usageOf(s.command.Process.Pid)
	if err != nil {
		return err
	}
	nothing := float64(after.cpu["sweep"]-end.cpu["sweep"]) / float64(idle)
	each := float64(end.cpu["sweep"]-start.cpu["sweep"]) - nothing*float64(endTime.Sub(startTime))
	each /= float64(n)
	b.compare("processor time of sweep, a message", each/1e3, "µs", "the bare loop", micro(b.loopCPU))
	b.add("processor time of a sweep that finds nothing", nothing*1e6/hurry*60, "µs")
	b.add(fmt.Sprintf("messages that sweep sends, by its processor time, with %d MB", memory), 1e9/each*memory/wholeProcessor, "/s")
	b.add("messages that sweep sends, by its processor time, with a whole processor", 1e9/each, "/s")
	return s.stop()
}
