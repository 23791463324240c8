package main

import (
	"context"
	"fmt"
	"time"
)

// neighbour is the other organization, by what its endpoint is like.
type neighbour struct {
	name    string
	delay   time.Duration // before its endpoint answers
	alone   bool          // nobody is there
	turning bool          // the endpoint has been quick, and only now begins to take its time
	last    bool          // its messages wait for so long that nothing else is measured afterwards
}

// neighbours in the order in which they are measured, round by round.
var neighbours = []neighbour{
	{name: "no neighbour", alone: true},
	{name: "a fast neighbour"},
	{name: "a neighbour known to take 2 s", delay: slow},
	{name: "a neighbour that begins to take 2 s", delay: slow, turning: true},
	{name: "a neighbour known to hang", delay: hanging, last: true},
}

const (
	// slow is how long a slow endpoint takes, and hanging is longer than any attempt.
	slow    = 2 * time.Second
	hanging = time.Minute
	// attemptLimit is how long deliver waits for an answer.
	attemptLimit = 15 * time.Second
)

// crowd is how many documents each of the two organizations has.
const crowd = 500

// organization returns the neighbour's name in a round: one whose endpoint has turned is known, and has served.
func (n neighbour) organization(kind, round int) string {
	if !n.turning {
		round = 0
	}
	return fmt.Sprintf("org_neighbour_%d_%d", kind, round)
}

// measureNeighbours writes documents of two organizations in turn, and takes the time until all webhooks of the one whose
// endpoint is fast have come. The stack has the places of production: five batches of a queue at once at first and 300 more a
// minute, as Lambda has them, so that a batch that mixes both organizations holds one of five places for as long as the
// slower endpoint takes.
func (b *bench) measureNeighbours(ctx context.Context) error {
	flags, err := b.production()
	if err != nil {
		return err
	}
	organizations := []string{}
	for kind, n := range neighbours {
		for round := range b.rounds {
			if n.turning || round == 0 {
				organizations = append(organizations, n.organization(kind, round))
			}
		}
	}
	s, err := b.startWarm(ctx, append(organizationFlags(organizations...), flags...)...)
	if err != nil {
		return err
	}
	for kind, n := range neighbours {
		if !n.alone && !n.last {
			if err := b.acquaint(ctx, s, kind); err != nil {
				return err
			}
		}
	}
	took := make([][]time.Duration, len(neighbours))
	measure := func(kind, round int) error {
		if err := s.drained(ctx); err != nil {
			return err
		}
		if n := neighbours[kind]; n.turning {
			s.endpoint.delay("/"+n.organization(kind, round), n.delay)
		}
		d, err := s.beside(ctx, neighbours[kind], neighbours[kind].organization(kind, round))
		took[kind] = append(took[kind], d)
		return err
	}
	for round := range b.rounds {
		for kind, n := range neighbours {
			if n.last {
				continue
			}
			if err := measure(kind, round); err != nil {
				return err
			}
		}
	}
	for kind, n := range neighbours {
		if !n.last {
			continue
		}
		if err := b.acquaint(ctx, s, kind); err != nil {
			return err
		}
		for range b.rounds { // what hangs of the rounds before is still there, as it is of an endpoint that hangs for long
			d, err := s.beside(ctx, n, n.organization(kind, 0))
			if err != nil {
				return err
			}
			took[kind] = append(took[kind], d)
		}
	}
	for kind, n := range neighbours {
		b.compare(
			fmt.Sprintf("%d to a fast endpoint, with %s", crowd, n.name), milli(median(took[kind])), "ms",
			neighbours[1].name, milli(median(took[1])),
		)
	}
	return s.stop()
}

// acquaint registers a kind of neighbour and delivers to it, so that the system knows what its endpoint is like.
func (b *bench) acquaint(ctx context.Context, s *stack, kind int) error {
	n := neighbours[kind]
	for round := range b.rounds {
		organization := n.organization(kind, round)
		if round > 0 && !n.turning {
			break
		}
		if !n.turning {
			s.endpoint.delay("/"+organization, n.delay)
		}
		if err := s.register(ctx, organization, "/"+organization); err != nil {
			return err
		}
		if err := s.warm(ctx, organization, 20); err != nil {
			return err
		}
	}
	if n.delay > attemptLimit { // only then is it known
		return rest(ctx, attemptLimit+5*time.Second)
	}
	return nil
}

// beside writes the documents and returns how long the fast organization's webhooks took in all.
func (s *stack) beside(ctx context.Context, n neighbour, other string) (time.Duration, error) {
	const step = 10 // documents of one organization, then as many of the other
	var documents []written
	began := time.Now()
	for range crowd / step {
		mine, err := s.burst(ctx, organization, step)
		if err != nil {
			return 0, err
		}
		documents = append(documents, mine...)
		if !n.alone {
			if _, err := s.burst(ctx, other, step); err != nil {
				return 0, err
			}
		}
	}
	_, last, err := s.endpoint.latencies(ctx, documents)
	return last.Sub(began), err
}

// drained waits until no message is in the hands of a function or about to be.
func (s *stack) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for idle := 0; idle < 3; {
		var queues map[string]struct {
			Visible  int `json:"visible"`
			InFlight int `json:"in_flight"`
		}
		if err := s.call(ctx, "GET", "/_local/queues", "", nil, &queues); err != nil {
			return err
		}
		busy := 0
		for _, q := range queues {
			busy += q.Visible + q.InFlight
		}
		if idle++; busy > 0 {
			idle = 0
		}
		if err := rest(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
