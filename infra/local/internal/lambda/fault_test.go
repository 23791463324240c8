package lambda

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/fault"
)

// struckBy lets invocations be struck by these faults, one after the other, and then by none.
func struckBy(faults ...fault.Fault) func(*Function, *Options) {
	struck := make(chan fault.Fault, len(faults))
	for _, f := range faults {
		struck <- f
	}
	return func(_ *Function, o *Options) {
		o.Strike = func(string) fault.Fault {
			select {
			case f := <-struck:
				return f
			default:
				return fault.Fault{}
			}
		}
	}
}

func TestProcessIsKilledWhenItIsTime(t *testing.T) {
	t.Parallel()
	x := setUp(t, struckBy(fault.Fault{Kind: fault.Killed, Delay: 7 * time.Second}))
	g := newGate(t)
	running := x.begin(request{Do: "get", URL: g.url})
	<-g.entered
	x.clock.advance(7 * time.Second)
	if got := <-running; got.Err != "Unhandled" || !strings.Contains(got.Payload, "Runtime exited with error: signal: killed") {
		t.Errorf("the invocation ended with %+v, want it killed", got)
	}
	x.pid() // in another process
}

func TestRefusedInvocationRunsNothing(t *testing.T) {
	t.Parallel()
	var full []bool
	x := setUp(t, func(_ *Function, o *Options) {
		o.Concurrency = 1
		o.Refuse = func(_ string, is bool) bool {
			full = append(full, is)
			return is || len(full) == 1
		}
	})
	if _, err := x.Invoke(t.Context(), "Test", nil); !errors.Is(err, ErrThrottled) {
		t.Errorf("an invocation that was refused ended with %v", err)
	}
	g := newGate(t)
	running := x.begin(request{Do: "get", URL: g.url})
	<-g.entered
	if _, err := x.Invoke(t.Context(), "Test", nil); !errors.Is(err, ErrThrottled) {
		t.Errorf("one for which the account had no place ended with %v", err)
	}
	close(g.open)
	<-running
	if !slices.Equal(full, []bool{false, false, true}) {
		t.Errorf("the account was said to be full %v", full)
	}
}

func TestFrozenProcessGoesOnWhenNoOtherIsIdle(t *testing.T) {
	t.Parallel()
	x := setUp(t, struckBy(fault.Fault{}, fault.Fault{Kind: fault.Frozen}))
	one, two := newGate(t), newGate(t)
	a := x.begin(request{Do: "get", URL: one.url})
	<-one.entered
	b := x.begin(request{Do: "get", URL: two.url})
	<-two.entered
	close(one.open)
	other := pidOf(t, <-a)
	close(two.open)
	frozen := pidOf(t, <-b)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(frozen, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("after its invocation the process has the status %x (%v), want it stopped", status, err)
	}
	if got := x.pid(); got != other {
		t.Errorf("process %d was used, want %d, which is not frozen", got, other)
	}
	three := newGate(t)
	c := x.begin(request{Do: "get", URL: three.url})
	<-three.entered
	if got := x.pid(); got != frozen {
		t.Errorf("process %d was used beside the one that is busy, want the frozen one %d", got, frozen)
	}
	close(three.open)
	pidOf(t, <-c)
}

func TestEnvironmentOfAProcess(t *testing.T) {
	t.Parallel()
	x := setUp(t, func(_ *Function, o *Options) {
		o.Env = func(function string) []string { return []string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + function} }
	})
	if got := x.invoke(request{Do: "context"}); !strings.Contains(got.Response, `"memory":"Test"`) {
		t.Errorf("the process answered %+v, want that its variable has what was added last", got)
	}
}
