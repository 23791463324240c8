package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// inFlight is how many POSTs the bare loop has under way, as deliver has in a full batch.
const inFlight = 10

// loopResult is what the bare loop tells of itself.
type loopResult struct {
	CPU time.Duration // of all POSTs
}

// loop is the least that delivers: it signs a body as deliver does and POSTs it, count times. With a pause it does so alone
// and rests before each POST.
func loop(ctx context.Context, url string, count int, pause time.Duration, out io.Writer) error {
	credentials, err := signature.NewCredentials(nil)
	if err != nil {
		return err
	}
	event := webhook.Event{
		Version: webhook.RenderVersion, ID: webhook.NewEventID(time.Now(), "loop"), DocumentID: "doc_loop",
		Status: webhook.Processed, PreviousStatus: webhook.Processing, OccurredAt: webhook.At(time.Now()),
	}
	body, err := event.Render("0197a1de-0000-7000-8000-000000000001")
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}}
	post := func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		if err := signature.Sign(request.Header, event.ID, body, time.Now(), credentials, nil); err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	workers := inFlight
	if pause > 0 {
		workers = 1
	}
	before := ownCPU()
	var left atomic.Int64
	left.Store(int64(count))
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for i := range workers {
		wait.Go(func() {
			for left.Add(-1) >= 0 && errs[i] == nil {
				time.Sleep(pause)
				errs[i] = post()
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(loopResult{CPU: ownCPU() - before})
}

// ownCPU is the processor time that this process has taken.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// measureLoop takes the processor time of the bare loop as fast as it can, which all others are compared with.
func (b *bench) measureLoop(ctx context.Context) (err error) {
	if b.loopCPU, err = b.loopTakes(ctx, b.changes, 0); err != nil {
		return err
	}
	b.add("processor time of the bare loop, a POST", micro(b.loopCPU), "µs")
	return nil
}

// pausedTime is for how long the bare loop is measured at a rate.
const pausedTime = 5 * time.Second

// measurePausedLoop takes it at a rate a second: the loop then sleeps before each POST, as the functions do before each request.
func (b *bench) measurePausedLoop(ctx context.Context, rate int) (time.Duration, error) {
	pause := time.Second / time.Duration(rate)
	cpu, err := b.loopTakes(ctx, int(pausedTime/pause), pause)
	if err == nil {
		name := fmt.Sprintf("processor time of the bare loop at %d a second, a POST", rate)
		b.compare(name, micro(cpu), "µs", "as fast as it can", micro(b.loopCPU))
	}
	return cpu, err
}

// loopTakes runs the bare loop as a process of its own and returns the processor time that a POST takes, the median of the rounds.
func (b *bench) loopTakes(ctx context.Context, count int, pause time.Duration) (time.Duration, error) {
	endpoint, err := receive()
	if err != nil {
		return 0, err
	}
	defer endpoint.close()
	var each []time.Duration
	for range b.rounds {
		command := exec.CommandContext(
			ctx, os.Args[0], "-loop", endpoint.url, "-count", strconv.Itoa(count), "-pause", pause.String(),
		)
		command.Stderr = os.Stderr
		answer, err := command.Output()
		if err != nil {
			return 0, err
		}
		var result loopResult
		if err := json.Unmarshal(answer, &result); err != nil {
			return 0, fmt.Errorf("the bare loop said %q: %w", answer, err)
		}
		each = append(each, result.CPU/time.Duration(count))
	}
	return median(each), nil
}
