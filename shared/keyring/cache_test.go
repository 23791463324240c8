package keyring_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/keyring"
)

// source is a keyring that can change and be away, and counts how often it is read.
type source struct {
	read func(ctx context.Context) ([]byte, error)

	reads atomic.Int64
}

func (s *source) Read(ctx context.Context) ([]byte, error) {
	s.reads.Add(1)
	return s.read(ctx)
}

func holding(data string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(data), nil }
}

var errAway = errors.New("secrets are away")

func away(context.Context) ([]byte, error) { return nil, errAway }

// step opens a value after a pause, and says what must come of it.
type step struct {
	after  time.Duration
	source func(context.Context) ([]byte, error) // from now on, nil for no change
	sealed string
	reads  int64 // since the beginning
	want   error
}

func TestCache(t *testing.T) {
	byFirst, bySecond := seal(t, parse(t, ring1)), seal(t, parse(t, ring2))
	cases := []struct {
		name  string
		steps []step
	}{
		{
			name: "reads once and again after five minutes",
			steps: []step{
				{source: holding(ring1), sealed: byFirst, reads: 1},
				{sealed: byFirst, reads: 1},
				{after: 5*time.Minute - 1, sealed: byFirst, reads: 1},
				{after: 1, sealed: byFirst, reads: 2},
				{after: 5*time.Minute - 1, sealed: byFirst, reads: 2},
			},
		},
		{
			name: "reads at once for a key that it lacks",
			steps: []step{
				{source: holding(ring1), sealed: byFirst, reads: 1},
				{after: 10 * time.Second, source: holding(ring12), sealed: bySecond, reads: 2},
				{sealed: byFirst, reads: 2},
			},
		},
		{
			name: "reads every ten seconds at most for a key that exists nowhere",
			steps: []step{
				{source: holding(ring1), sealed: bySecond, reads: 1, want: keyring.ErrUnknownKey},
				{after: 10*time.Second - 1, sealed: bySecond, reads: 1, want: keyring.ErrUnknownKey},
				{after: 1, sealed: bySecond, reads: 2, want: keyring.ErrUnknownKey},
				{after: 9 * time.Second, sealed: bySecond, reads: 2, want: keyring.ErrUnknownKey},
				{after: time.Second, source: holding(ring12), sealed: bySecond, reads: 3},
			},
		},
		{
			name: "reads again for a value that does not open, as somebody may have mended the key",
			steps: []step{
				{source: holding(ring1), sealed: byFirst, reads: 1},
				{after: time.Minute, sealed: byFirst + "AAAA", reads: 2, want: keyring.ErrSealed},
				{after: 9 * time.Second, sealed: byFirst + "AAAA", reads: 2, want: keyring.ErrSealed},
			},
		},
		{
			name: "goes on with what it has while the source is away, trying every ten seconds",
			steps: []step{
				{source: holding(ring1), sealed: byFirst, reads: 1},
				{after: time.Hour, source: away, sealed: byFirst, reads: 2},
				{sealed: byFirst, reads: 2},
				{after: 10 * time.Second, sealed: byFirst, reads: 3},
				{sealed: bySecond, reads: 3, want: keyring.ErrUnread},
				{after: 10 * time.Second, source: holding(ring12), sealed: bySecond, reads: 4},
			},
		},
		{
			name: "goes on with what it has while the source is unusable",
			steps: []step{
				{source: holding(ring1), sealed: byFirst, reads: 1},
				{after: time.Hour, source: holding(`{}`), sealed: byFirst, reads: 2},
			},
		},
		{
			name: "tries every time while it has nothing: an error is not kept",
			steps: []step{
				{source: away, sealed: byFirst, reads: 1, want: errAway},
				{sealed: byFirst, reads: 2, want: errAway},
				{source: holding(`{}`), sealed: byFirst, reads: 3, want: keyring.ErrKeyring},
				{source: holding(ring1), sealed: byFirst, reads: 4},
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			from := &source{}
			cache := &keyring.Cache{Source: from, Now: func() time.Time { return now }}
			for n, s := range c.steps {
				now = now.Add(s.after)
				if s.source != nil {
					from.read = s.source
				}
				got, err := cache.Open(t.Context(), s.sealed, "org_1", "config_1")
				if s.want == nil && (err != nil || !cmp.Equal(got, credentials)) || !errors.Is(err, s.want) {
					t.Errorf("step %d: %v, want %v", n+1, err, s.want)
				}
				if reads := from.reads.Load(); reads != s.reads {
					t.Errorf("step %d: %d reads, want %d", n+1, reads, s.reads)
				}
				if err != nil {
					quotes(t, err)
				}
			}
		})
	}
}

func TestCacheSealsWithThePrimaryKey(t *testing.T) {
	from := &source{read: holding(ring12)}
	cache := &keyring.Cache{Source: from, Now: time.Now}
	sealed, err := cache.Seal(t.Context(), credentials, "org_1", "config_1")
	if err != nil || !strings.HasPrefix(sealed, "k2.") {
		t.Fatalf("%s, %v", sealed, err)
	}
	if got, err := cache.Open(t.Context(), sealed, "org_1", "config_1"); err != nil || !cmp.Equal(got, credentials) {
		t.Error(err)
	}
	from.read = away
	cache = &keyring.Cache{Source: from, Now: time.Now} // it holds no keyring yet
	if _, err := cache.Seal(t.Context(), credentials, "org_1", "config_1"); !errors.Is(err, errAway) {
		t.Error(err)
	}
}

// TestManyCallersShareOneRead runs under the race detector.
func TestManyCallersShareOneRead(t *testing.T) {
	sealed := seal(t, parse(t, ring1))
	var arrived sync.WaitGroup
	arrived.Add(100)
	from := &source{read: func(context.Context) ([]byte, error) {
		arrived.Wait() // everybody is on the way
		return []byte(ring1), nil
	}}
	cache := &keyring.Cache{Source: from, Now: time.Now}
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			arrived.Done()
			if got, err := cache.Open(t.Context(), sealed, "org_1", "config_1"); err != nil || !cmp.Equal(got, credentials) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := from.reads.Load(); n != 1 {
		t.Errorf("%d reads", n)
	}
}

func TestCacheRemembersWhatItHasOpened(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	from := &source{read: holding(ring12)}
	cache := &keyring.Cache{Source: from, Now: func() time.Time { return now }}
	sealed := seal(t, parse(t, ring1))
	open := func(organizationID, configID string) error {
		got, err := cache.Open(t.Context(), sealed, organizationID, configID)
		if err == nil && !cmp.Equal(got, credentials) {
			t.Error("what is remembered is not what was sealed")
		}
		return err
	}
	if err := open("org_1", "config_1"); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if n := testing.AllocsPerRun(10, func() { cache.Open(ctx, sealed, "org_1", "config_1") }); n > 0 {
		t.Errorf("it is opened again, with %v allocations", n)
	}
	for _, other := range [][2]string{{"org_2", "config_1"}, {"org_1", "config_2"}} {
		if err := open(other[0], other[1]); !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("for %s and %s: %v", other[0], other[1], err)
		}
	}
	from.read = holding(ring2)
	now = now.Add(5 * time.Minute)
	if err := open("org_1", "config_1"); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("after its key was removed: %v", err)
	}
}
