package main

import (
	"context"
	"fmt"
	"time"
)

// neighbours are the endpoints of the other organization, by what they are like.
var neighbours = []struct{ name, path string }{
	{name: "alone"},
	{name: "beside a fast one", path: "/fast"},
	{name: "beside one that takes 2 s", path: "/slow"},
	{name: "beside one that hangs", path: "/hanging"},
}

// crowd is how many documents each of the two organizations has.
const crowd = 500

// measureNeighbours writes documents of two organizations in turn, and takes the time until all webhooks of the one whose
// endpoint is fast have come. What the other's endpoint is like is known to the system before.
func (b *bench) measureNeighbours(ctx context.Context) error {
	took := map[string][]time.Duration{}
	for _, neighbour := range neighbours {
		s, err := b.startWarm(ctx)
		if err != nil {
			return err
		}
		if neighbour.path != "" {
			if err := s.register(ctx, other, neighbour.path); err != nil {
				return err
			}
			if err := s.warm(ctx, other, 20); err != nil {
				return err
			}
		}
		if neighbour.path == "/hanging" { // until the deadline of the attempts that find it out
			select {
			case <-time.After(20 * time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for range b.rounds {
			d, err := s.beside(ctx, neighbour.path != "")
			if err != nil {
				return err
			}
			took[neighbour.name] = append(took[neighbour.name], d)
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	fast := median(took["beside a fast one"])
	for _, neighbour := range neighbours {
		b.compare(
			fmt.Sprintf("%d to a fast endpoint %s", crowd, neighbour.name), milli(median(took[neighbour.name])), "ms",
			"a fast one", milli(fast),
		)
	}
	return nil
}

// beside writes the documents and returns how long the fast organization's webhooks took in all.
func (s *stack) beside(ctx context.Context, crowded bool) (time.Duration, error) {
	const step = 10 // documents of one organization, then as many of the other
	var documents []written
	began := time.Now()
	for range crowd / step {
		mine, err := s.burst(ctx, organization, step)
		if err != nil {
			return 0, err
		}
		documents = append(documents, mine...)
		if crowded {
			if _, err := s.burst(ctx, other, step); err != nil {
				return 0, err
			}
		}
	}
	_, last, err := s.endpoint.latencies(ctx, documents)
	return last.Sub(began), err
}
