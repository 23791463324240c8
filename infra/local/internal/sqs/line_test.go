package sqs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/clock"
)

// lineOf has messages of these groups, in this order, visible in a queue. Its clock stands still.
func lineOf(t testing.TB, groups ...string) (*Broker, *queue) {
	t.Helper()
	return lineAt(t, func() time.Time { return time.Unix(0, 0) }, groups...)
}

// lineAt is lineOf with a clock that moves.
func lineAt(t testing.TB, now func() time.Time, groups ...string) (*Broker, *queue) {
	t.Helper()
	b := New(Options{Clock: clock.New(1, now)})
	if err := b.CreateQueue(Definition{Name: "q"}); err != nil {
		t.Fatal(err)
	}
	q := b.byName["q"]
	for _, group := range groups {
		q.send(content{body: group, groupID: group}, nil)
	}
	return b, q
}

func repeat(n int, group string) []string {
	groups := make([]string, n)
	for i := range groups {
		groups[i] = group
	}
	return groups
}

func TestOrderOfService(t *testing.T) {
	tests := map[string]struct {
		visible  []string // groups, in the order of arrival
		inFlight map[string]int
		want     []string
	}{
		"is that of arrival without groups": {
			[]string{"", "", ""}, nil, []string{"", "", ""},
		},
		"is that of arrival while nobody is noisy": {
			[]string{"a", "a", "b", "a", "c"}, map[string]int{"a": 5}, []string{"a", "a", "b", "a", "c"},
		},
		"puts a noisy group last": {
			[]string{"a", "a", "b", "", "c"}, map[string]int{"a": 30}, []string{"b", "", "c", "a", "a"},
		},
		"leaves out a group with less than 30 in flight": {
			[]string{"a", "b"}, map[string]int{"a": 29}, []string{"a", "b"},
		},
		"leaves out a group with a tenth of what is in flight": {
			[]string{"a", "b"}, map[string]int{"a": 30, "": 270}, []string{"a", "b"},
		},
		"counts a share over a tenth as noisy": {
			[]string{"a", "b"}, map[string]int{"a": 30, "": 269}, []string{"b", "a"},
		},
		"never counts messages without a group as noisy": {
			[]string{"", "b"}, map[string]int{"": 300}, []string{"", "b"},
		},
		"prefers the least busy of noisy groups": {
			[]string{"a", "b", "c"}, map[string]int{"a": 50, "b": 40, "c": 30}, []string{"c", "b", "a"},
		},
		"evens out noisy groups": {
			[]string{"a", "a", "a", "b", "b", "b"}, map[string]int{"a": 40, "b": 41}, []string{"a", "a", "b", "a", "b", "b"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var flying []string
			for group, n := range test.inFlight {
				flying = append(flying, repeat(n, group)...)
			}
			b, q := lineOf(t, flying...)
			q.take(b.opts.Clock.Now(), intake{max: len(flying), visibility: time.Hour})
			for _, group := range test.visible {
				q.send(content{body: group, groupID: group}, nil)
			}
			var got []string
			for _, m := range q.take(b.opts.Clock.Now(), intake{max: len(test.visible), visibility: time.Hour}) {
				got = append(got, m.groupID)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLineAgreesWithASearchThroughEverything does random operations and compares every choice with
// what the rule says about all messages.
func TestLineAgreesWithASearchThroughEverything(t *testing.T) {
	slow := 0
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(0, 0)
		b := New(Options{Clock: clock.New(1, func() time.Time { return now })})
		if err := b.CreateQueue(Definition{Name: "q", DelaySeconds: new(1), VisibilityTimeout: new(2)}); err != nil {
			t.Fatal(err)
		}
		q := b.byName["q"]
		var inFlight []*message
		noisy := 0
		var past []span
		for step := range 3000 {
			switch random.IntN(10) {
			case 0, 1, 2, 3, 4:
				// Group 0 has no id; group 1 sends most.
				id := ""
				if n := random.IntN(8); n > 0 {
					id = fmt.Sprint(max(1, n-4))
				}
				q.send(content{body: "b", groupID: id}, new(random.IntN(2)))
			case 5, 6, 7:
				q.advance(now)
				want := search(q, now, past)
				if got := q.line.next(); want != got {
					t.Fatalf("seed %d: the line serves %v, want %v", seed, got, want)
				}
				if want != search(q, now, nil) {
					slow++
				}
				inFlight = append(inFlight, q.take(now, intake{max: 3, visibility: time.Duration(random.IntN(60)) * time.Second})...)
			case 8:
				if len(inFlight) > 0 {
					m := inFlight[random.IntN(len(inFlight))]
					q.erase(receipt{m.id, m.receipt}, now)
				}
			case 9:
				s := span{from: now, flying: inFlightByGroup(q)}
				now = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
				s.to = now
				past = append(past, s)
				q.advance(now)
			}
			if len(q.line.large.items.items) > 0 {
				noisy++
			}
			if step%50 == 0 {
				verify(t, q)
			}
		}
		if len(inFlight) < 1000 || noisy < 100 {
			t.Fatalf("seed %d: %d messages were received, in %d steps there was a large group: too few to tell", seed, len(inFlight), noisy)
		}
	}
	if slow < 100 {
		t.Errorf("processing time decided %d times: too few to tell", slow)
	}
}

// span is a time during which nothing changed.
type span struct {
	from, to time.Time
	flying   map[string]int // messages in flight, by group
}

// inFlightByGroup counts the messages in flight by their groups.
func inFlightByGroup(q *queue) map[string]int {
	count := map[string]int{}
	for _, m := range q.messages {
		if m.state == stateInFlight {
			count[m.groupID]++
		}
	}
	return count
}

// search finds the message to serve by the rule of the package comment, looking at all of the queue and of its past.
func search(q *queue, now time.Time, past []span) *message {
	seconds, total := map[string]float64{}, 0.0
	for _, s := range past {
		fades := func(at time.Time) float64 { return math.Exp(-now.Sub(at).Minutes()) }
		for group, n := range s.flying {
			seconds[group] += float64(n) * 60 * (fades(s.to) - fades(s.from))
			total += float64(n) * 60 * (fades(s.to) - fades(s.from))
		}
	}
	inFlight := inFlightByGroup(q)
	// Of the quiet ones with few in flight the first counts, of the others that with the fewest.
	var small, large, noisy *message
	fewest := func(of, m *message) *message {
		if n := inFlight[m.groupID]; of == nil || n < inFlight[of.groupID] || n == inFlight[of.groupID] && m.turn < of.turn {
			return m
		}
		return of
	}
	for _, m := range q.messages {
		n := inFlight[m.groupID]
		switch {
		case m.state != stateVisible:
		case m.groupID != "" && (seconds[m.groupID]*10 > total*(1+1e-9) || n >= 30 && n*10 > q.inFlight):
			noisy = fewest(noisy, m)
		case m.groupID != "" && n >= 30:
			large = fewest(large, m)
		case small == nil || m.turn < small.turn:
			small = m
		}
	}
	switch {
	case small != nil && (large == nil || small.turn < large.turn):
		return small
	case large != nil:
		return large
	}
	return noisy
}

// verify checks what must hold of a queue after every operation.
func verify(t *testing.T, q *queue) {
	t.Helper()
	count := map[state]int{}
	for _, m := range q.messages {
		count[m.state]++
	}
	want := map[state]int{stateVisible: q.line.size, stateDelayed: q.delayed, stateInFlight: q.inFlight}
	for state, n := range want {
		if count[state] != n {
			t.Fatalf("%d messages in state %d, counted %d", count[state], state, n)
		}
	}
	flying, hidden, expiring := q.line.all.inFlight, len(q.hidden.items.items), len(q.expiring.items.items)
	if flying != q.inFlight || hidden != q.inFlight+q.delayed || expiring != len(q.messages) {
		t.Fatalf("line %d, in flight %d, delayed %d, hidden %d, expiring %d, all %d",
			flying, q.inFlight, q.delayed, hidden, expiring, len(q.messages))
	}
}

// A tenant whose messages come one by one and take long has few in flight, but most of the time.
func TestSlowGroupComesLastUntilItHasBeenQuiet(t *testing.T) {
	now := time.Unix(0, 0)
	b, q := lineAt(t, func() time.Time { return now })
	work := func(group string, takes time.Duration) {
		q.send(content{body: group, groupID: group}, nil)
		for _, m := range q.take(now, intake{max: 1, visibility: time.Hour}) {
			now = now.Add(takes)
			q.erase(receipt{m.id, m.receipt}, now)
		}
	}
	order := func() (groups string) {
		for _, group := range []string{"slow", "fast"} {
			q.send(content{body: group, groupID: group}, nil)
		}
		for _, m := range q.take(b.opts.Clock.Now(), intake{max: 2, visibility: time.Hour}) {
			groups += m.groupID + " "
			q.erase(receipt{m.id, m.receipt}, now)
		}
		return groups
	}
	if got := order(); got != "slow fast " {
		t.Errorf("before any work the order is %s", got)
	}
	work("slow", 10*time.Second)
	work("fast", 100*time.Millisecond)
	if got := order(); got != "fast slow " {
		t.Errorf("after slow work the order is %s", got)
	}
	for range 5 {
		work("", time.Minute) // of many other tenants
	}
	if got := order(); got != "slow fast " {
		t.Errorf("long after slow work the order is %s", got)
	}
}

func TestGroupsWithoutMessagesAreForgottenInTime(t *testing.T) {
	now := time.Unix(0, 0)
	b, q := lineAt(t, func() time.Time { return now })
	for n := range 20 * idleGroups {
		q.send(content{body: "b", groupID: fmt.Sprint(n)}, nil)
		for _, m := range q.take(b.opts.Clock.Now(), intake{max: 1}) {
			now = now.Add(time.Second)
			q.erase(receipt{m.id, m.receipt}, now)
		}
	}
	// Of the last ones there is still some time that counts.
	if n := len(q.line.groups); n > 3*idleGroups || len(q.line.small.items.items) != 0 {
		t.Errorf("%d groups are left", n)
	}
}

func TestLimitOfMessagesInFlight(t *testing.T) {
	receive := func(t *testing.T, b *Broker, wait string) error {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := make(chan struct{})
		go func() { // once the receiver waits
			defer close(cancelled)
			for {
				b.mu.Lock()
				waiting := b.byName["q"].waiting.Len()
				b.mu.Unlock()
				if waiting > 0 || ctx.Err() != nil {
					cancel()
					return
				}
			}
		}()
		_, err := b.Service().Serve(ctx, "ReceiveMessage", []byte(`{"QueueUrl":"q","WaitTimeSeconds":`+wait+`}`),
			func(string, string) error { return nil })
		cancel()
		<-cancelled
		return err
	}
	full := func(t *testing.T) (*Broker, *queue) {
		b, q := lineOf(t, repeat(3, "")...)
		q.limit = 2
		if got := len(q.take(b.opts.Clock.Now(), intake{max: 3, visibility: time.Hour})); got != 2 {
			t.Fatalf("received %d messages, want the limit of 2", got)
		}
		return b, q
	}
	t.Run("is an error for a receive that does not wait", func(t *testing.T) {
		b, _ := full(t)
		e, ok := errors.AsType[*awsjson.Error](receive(t, b, "0"))
		if !ok || e.Query != "OverLimit" {
			t.Errorf("error %v, want OverLimit", e)
		}
	})
	t.Run("keeps a long poll waiting", func(t *testing.T) {
		b, _ := full(t)
		if err := receive(t, b, "20"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want only the cancellation", err)
		}
	})
	t.Run("frees a place with every delete", func(t *testing.T) {
		b, q := full(t)
		for _, m := range q.messages {
			if m.state == stateInFlight {
				q.erase(receipt{m.id, m.receipt}, b.opts.Clock.Now())
				break
			}
		}
		if err := receive(t, b, "0"); err != nil {
			t.Error(err)
		}
	})
}

func TestDigestOfTheTraceHeaderIsTheDocumentedOne(t *testing.T) {
	const documented = "\x00\x00\x00\x0eAWSTraceHeader\x00\x00\x00\x06String\x01\x00\x00\x00\x0aRoot=1-2-3"
	if got, want := md5OfTrace("Root=1-2-3"), md5Hex([]byte(documented)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if got := md5OfTrace(""); got != "" {
		t.Errorf("without the header the digest is %s", got)
	}
}
