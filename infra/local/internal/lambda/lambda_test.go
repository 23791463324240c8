package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/lineage"
)

const testARN = "arn:aws:lambda:eu-central-1:000000000000:function:Test"

// fixture is a Service with one function, this test binary.
type fixture struct {
	*Service
	t     *testing.T
	clock *fakeClock
	lines chan string // what the function prints
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func setUp(t *testing.T, change func(*Function, *Options)) *fixture {
	t.Helper()
	x := &fixture{t: t, clock: newFakeClock(), lines: make(chan string, 1000), log: &lockedBuffer{}}
	f := Function{
		Name: "Test", ARN: testARN, Path: os.Args[0], Dir: t.TempDir(), Timeout: time.Minute, MemoryMB: 256,
		Env: []string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256"},
	}
	o := Options{Clock: x.clock, Log: io.MultiWriter(x.log, lineWriter(x.lines))}
	if change != nil {
		change(&f, &o)
	}
	var err error
	if x.Service, err = New(o); err != nil {
		t.Fatal(err)
	}
	if err := x.Register(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whatever still runs is killed
		x.Close(ctx)
		if left := x.Instances(); len(left) != 0 {
			t.Errorf("processes left behind: %v", left)
		}
	})
	return x
}

// lineWriter takes lines, each in one Write, without the function's name.
type lineWriter chan<- string

func (l lineWriter) Write(line []byte) (int, error) {
	l <- strings.TrimPrefix(strings.TrimSuffix(string(line), "\n"), "[Test] ")
	return len(line), nil
}

func (x *fixture) awaitLine(want string) {
	x.t.Helper()
	for line := range x.lines {
		if line == want {
			return
		}
	}
}

// result is what became of an invocation; the request id in it is replaced by ID.
type result struct {
	Response string
	Err      string
	Payload  string
}

func (x *fixture) invoke(r request) result {
	response, err := x.Invoke(context.Background(), "Test", payloadOf(r))
	return resultOf(response, err)
}

func (x *fixture) begin(r request) <-chan result {
	c := make(chan result, 1)
	go func() { c <- x.invoke(r) }()
	return c
}

func resultOf(response []byte, err error) result {
	res := result{Response: string(response)}
	var failed *FunctionError
	switch {
	case errors.As(err, &failed):
		res.Err = failed.FunctionError()
		res.Payload = strings.ReplaceAll(string(failed.Payload), failed.RequestID, "ID")
	case err != nil:
		res.Err = err.Error()
	}
	return res
}

func (x *fixture) pid() int {
	x.t.Helper()
	return pidOf(x.t, x.invoke(request{Do: "pid"}))
}

func pidOf(t *testing.T, r result) int {
	t.Helper()
	var p struct{ PID int }
	if err := json.Unmarshal([]byte(r.Response), &p); err != nil || p.PID == 0 {
		t.Fatalf("no pid in %+v", r)
	}
	return p.PID
}

// gate is a server whose requests tell that they have come and end when the gate opens.
type gate struct {
	url     string
	entered chan struct{}
	open    chan struct{}
}

func newGate(t *testing.T) *gate {
	g := &gate{entered: make(chan struct{}, 100), open: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		g.entered <- struct{}{}
		select {
		case <-g.open:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func TestInvoke(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	exit := func(what string) result {
		return result{
			Err:     "Unhandled",
			Payload: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited ` + what + `"}`,
		}
	}
	for _, tc := range []struct {
		name    string
		request request
		want    result
	}{
		{"the answer comes back", request{Do: "echo"}, result{Response: `{"do":"echo"}`}},
		{"an error comes back as the function words it", request{Do: "fail"}, result{
			Err: "Unhandled", Payload: `{"errorMessage":"no luck","errorType":"errorString"}`,
		}},
		{"an exit is an exit error", request{Do: "exit", Size: 1}, exit("with error: exit status 1")},
		{"an exit without a status has no reason", request{Do: "exit", Size: 0}, exit("without providing a reason")},
		{"an answer that is not JSON passes, as in Lambda", request{Do: "bytes"}, result{Response: "not JSON"}},
		{"an answer that is too large is an error", request{Do: "large", Size: MaxResponse + 1}, result{
			Err: "Unhandled",
			Payload: `{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed ` +
				`payload size (6291556 bytes)."}`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, x.invoke(tc.request)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a panic comes back with its stack, and the process is replaced", func(t *testing.T) {
		before := x.pid()
		got := x.invoke(request{Do: "panic"})
		for _, part := range []string{`"errorMessage":"lost my head"`, `"errorType":"string"`, `"stackTrace":[{`} {
			if !strings.Contains(got.Payload, part) {
				t.Errorf("no %s in %s", part, got.Payload)
			}
		}
		if x.pid() == before {
			t.Error("the process that panicked is still used")
		}
	})
	t.Run("the largest answer passes", func(t *testing.T) {
		if got := x.invoke(request{Do: "large", Size: MaxResponse}); len(got.Response) != MaxResponse || got.Err != "" {
			t.Errorf("got %d bytes and error %q", len(got.Response), got.Err)
		}
	})
}

func TestInvokeRefuses(t *testing.T) {
	t.Parallel()
	x := setUp(t, func(f *Function, _ *Options) { f.Path = "/no/such/binary" })
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tc := range []struct {
		name    string
		ctx     context.Context
		to      string
		payload string
		want    error
	}{
		{"an unknown function", context.Background(), "Other", "{}", ErrNotFound},
		{"a payload that is not JSON", context.Background(), "Test", "{", ErrInvalidRequest},
		{"a payload over 6 MB", context.Background(), "Test", `"` + strings.Repeat("x", MaxRequest-1) + `"`, ErrRequestTooLarge},
		{"a caller who has gone", canceled, "Test", "{}", context.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := x.Invoke(tc.ctx, tc.to, []byte(tc.payload)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	t.Run("a binary that is not there", func(t *testing.T) {
		want := result{
			Err: "Unhandled",
			Payload: `{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: ID Error: fork/exec /no/such/binary: ` +
				`no such file or directory"}`,
		}
		if diff := cmp.Diff(want, x.invoke(request{Do: "echo"})); diff != "" {
			t.Error(diff)
		}
	})
}

func TestContextOfFunction(t *testing.T) {
	t.Parallel()
	var dir string
	x := setUp(t, func(f *Function, _ *Options) { dir = f.Dir })
	var got map[string]any
	if err := json.Unmarshal([]byte(x.invoke(request{Do: "context"}).Response), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"arn": testARN, "id": true, "deadline": float64(x.clock.Now().Add(time.Minute).UnixMilli()),
		"dir": dir, "memory": "256", "home": "", "trace": float64(
			len("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0;Lineage=f3d4aa5c:1"),
		),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestInstancesAreReused(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	first := x.pid()
	if second := x.pid(); second != first {
		t.Errorf("a second process %d although %d is idle", second, first)
	}

	// Two at once need two processes; then the one that worked last is used.
	one, two := newGate(t), newGate(t)
	a := x.begin(request{Do: "get", URL: one.url})
	<-one.entered
	b := x.begin(request{Do: "get", URL: two.url})
	<-two.entered
	if diff := cmp.Diff([]bool{true, true}, busy(x)); diff != "" {
		t.Error(diff)
	}
	close(two.open)
	pidOf(t, <-b)
	close(one.open)
	last := pidOf(t, <-a)
	if got := x.pid(); got != last {
		t.Errorf("process %d was used, want %d, the last one to work", got, last)
	}
	if diff := cmp.Diff([]bool{false, false}, busy(x)); diff != "" {
		t.Error(diff)
	}
}

func busy(x *fixture) []bool {
	var b []bool
	for _, in := range x.Instances() {
		b = append(b, in.Busy)
	}
	return b
}

func TestConcurrencyIsLimited(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*Function, *Options)
	}{
		{"to what the function reserves", func(f *Function, _ *Options) { f.Concurrency = 1 }},
		{"to what the account has", func(_ *Function, o *Options) { o.Concurrency = 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := setUp(t, tc.change)
			g := newGate(t)
			running := x.begin(request{Do: "get", URL: g.url})
			<-g.entered
			if _, err := x.Invoke(context.Background(), "Test", nil); !errors.Is(err, ErrThrottled) {
				t.Errorf("got %v, want throttling", err)
			}
			close(g.open)
			pidOf(t, <-running)
			x.pid() // there is room again
		})
	}
}

func TestTimeoutKillsTheProcessAndWhatItStarted(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	running := x.begin(request{Do: "spawn", URL: listener.Addr().String()})
	child, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	x.clock.advance(time.Minute)
	want := result{
		Err:     "Unhandled",
		Payload: `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ID Error: Task timed out after 60.00 seconds"}`,
	}
	if diff := cmp.Diff(want, <-running); diff != "" {
		t.Error(diff)
	}
	if n, err := io.Copy(io.Discard, child); n != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the child's connection gave %d bytes, %v", n, err)
	}
	x.pid() // the next invocation starts cold
}

func TestKilledProcessFailsItsInvocation(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	g := newGate(t)
	running := x.begin(request{Do: "get", URL: g.url})
	<-g.entered
	killed := x.Instances()[0].PID
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	want := result{
		Err:     "Unhandled",
		Payload: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited with error: signal: killed"}`,
	}
	if diff := cmp.Diff(want, <-running); diff != "" {
		t.Error(diff)
	}
	if next := x.pid(); next == killed {
		t.Error("the killed process answered")
	}
}

func TestIdleProcessThatDiesIsReplacedUnseen(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	first := x.pid()
	var in *instance
	x.mu.Lock()
	for in = range x.instances {
	}
	x.mu.Unlock()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-in.exited
	if next := x.pid(); next == first {
		t.Error("the killed process answered")
	}
}

func TestInitialization(t *testing.T) {
	t.Parallel()
	set := func(value string) func(*Function, *Options) {
		return func(f *Function, _ *Options) {
			f.Env = append(f.Env, "INIT="+value, "MARK="+filepath.Join(f.Dir, "mark"))
			f.Timeout = 3 * time.Second
		}
	}
	for _, tc := range []struct {
		name, init string
		time       []time.Duration
		want       result
	}{
		{"that exits twice fails the invocation", "exit", nil, result{
			Err:     "Unhandled",
			Payload: `{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited with error: exit status 3"}`,
		}},
		{"that reports an error fails the invocation with it", "report", nil, result{
			Err: "Unhandled", Payload: `{"errorMessage":"no settings","errorType":"Function.NoSettings"}`,
		}},
		{"that works when repeated goes unnoticed", "second time", nil, result{Response: `{"do":"echo"}`}},
		{"that hangs has 10 s, then the invocation's time", "hang", []time.Duration{10 * time.Second, 3 * time.Second}, result{
			Err:     "Unhandled",
			Payload: `{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: ID Error: Task timed out after 3.00 seconds"}`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			x := setUp(t, set(tc.init))
			running := x.begin(request{Do: "echo"})
			for _, d := range tc.time {
				x.awaitLine("initializing")
				x.clock.advance(d)
			}
			if diff := cmp.Diff(tc.want, <-running); diff != "" {
				t.Error(diff)
			}
			if tc.want.Err != "" && len(x.Instances()) != 0 {
				t.Errorf("left: %v", x.Instances())
			}
		})
	}
}

func TestIdleInstancesEnd(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	first := x.pid()
	var in *instance
	x.mu.Lock()
	for in = range x.instances {
	}
	x.mu.Unlock()
	x.clock.advance(idleAfter)
	<-in.exited
	if left := x.Instances(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if second := x.pid(); second == first {
		t.Error("the ended process answered")
	}
}

func TestCallerMayLeave(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	g := newGate(t)
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() {
		_, err := x.Invoke(ctx, "Test", payloadOf(request{Do: "get", URL: g.url}))
		left <- err
	}()
	<-g.entered
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]bool{true}, busy(x)); diff != "" {
		t.Errorf("the invocation does not go on: %s", diff)
	}
	close(g.open)
	if err := x.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	t.Run("lets invocations finish", func(t *testing.T) {
		x := setUp(t, nil)
		g := newGate(t)
		running := x.begin(request{Do: "get", URL: g.url})
		<-g.entered
		closed := make(chan error, 1)
		go func() { closed <- x.Close(context.Background()) }()
		for err := error(nil); !errors.Is(err, ErrClosed); { // until Close has begun
			_, err = x.Invoke(context.Background(), "Other", nil)
		}
		close(g.open)
		pid := pidOf(t, <-running)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: %v", pid, err)
		}
	})
	t.Run("kills what does not finish in time", func(t *testing.T) {
		x := setUp(t, nil)
		running := x.begin(request{Do: "hang"})
		x.awaitLine("hanging")
		pid := x.Instances()[0].PID
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := x.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if got := <-running; !strings.Contains(got.Payload, "signal: killed") {
			t.Errorf("got %+v", got)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: %v", pid, err)
		}
		if _, err := x.Invoke(context.Background(), "Test", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after closing: %v", err)
		}
	})
}

func TestOutputIsPassedOn(t *testing.T) {
	t.Parallel()
	x := setUp(t, nil)
	x.invoke(request{Do: "print"})
	x.awaitLine("to stderr")
	if diff := cmp.Diff("[Test] to stdout\n[Test] to stderr\n", x.log.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTracingHeaderCountsTheInvocationsOfItsChain(t *testing.T) {
	chain := lineage.Parse("Lineage=0123abcd:7")
	inv := newInvocation("r1", Function{Name: "Test"}, nil, chain)
	again := newInvocation("r2", Function{Name: "Test"}, nil, lineage.Parse(inv.traceID()))
	got := lineage.Parse(again.traceID())
	if got.Count("Test") != 2 || got["0123abcd"] != 7 {
		t.Errorf("the header of the second invocation is %q", again.traceID())
	}
}
