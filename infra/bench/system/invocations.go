package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/docuhook/docuhook/shared/webhook"
)

// How long services and endpoints take where invocations are measured: DynamoDB and SQS by AWS's own word of single-digit
// and of tens of milliseconds.
const (
	dynamoTime   = 5 * time.Millisecond
	sqsTime      = 10 * time.Millisecond
	endpointTime = 200 * time.Millisecond
)

// invocations of each size in each round.
const invocations = 10

// measureInvocations invokes dispatch and deliver beside the local stack, with its services as far away as those of AWS are,
// and tells how long a batch takes: here, and by its processor time on Lambda.
func (b *bench) measureInvocations(ctx context.Context) error {
	const distant = "org_distant" // whose endpoint takes its time, too
	s, err := b.startWarm(ctx, organizationFlags(distant)...)
	if err != nil {
		return err
	}
	s.endpoint.delay("/distant", endpointTime)
	config, err := s.config(ctx, distant, "/distant")
	if err != nil {
		return err
	}
	if err := s.warm(ctx, distant, 20); err != nil {
		return err
	}
	for _, kind := range []struct {
		function string
		sizes    []int
		event    func(size, from int) (any, error)
	}{
		{"dispatch", []int{1, 100}, changes},
		{"deliver", []int{1, 10}, func(size, from int) (any, error) { return messages(distant, config, size, from) }},
	} {
		f, err := b.invoked(ctx, s, kind.function)
		if err != nil {
			return err
		}
		for _, size := range kind.sizes {
			var took, cpu []time.Duration
			for n := range invocations * b.rounds {
				if err := s.drained(ctx); err != nil {
					return err
				}
				event, err := kind.event(size, 1000*size+size*n)
				if err != nil {
					return err
				}
				wall, own, err := f.invoke(ctx, event)
				if err != nil {
					return fmt.Errorf("invoking %s: %w", kind.function, err)
				}
				took, cpu = append(took, wall), append(cpu, own)
			}
			name := fmt.Sprintf("a batch of %s, of %d", kind.function, size)
			wall, own := median(took), median(cpu)
			b.add(name+", services as far away as on AWS", milli(wall), "ms")
			b.add(name+", processor time", milli(own), "ms")
			// There it waits for as long, and computes with a share of a processor.
			b.add(name+fmt.Sprintf(", on Lambda with %d MB, by these", memory), milli(wall-own+own*wholeProcessor/memory), "ms")
		}
		f.close()
	}
	return s.stop()
}

// invoked is a process of a function whose Lambda is this process.
type invoked struct {
	command *exec.Cmd
	server  *http.Server
	proxy   *http.Server
	events  chan []byte
	answers chan []byte
}

// invoked starts a function with the environment that it has in a stack, with other ways to Lambda and to the services.
func (b *bench) invoked(ctx context.Context, s *stack, function string) (*invoked, error) {
	binary, err := b.buildFunction(ctx, function, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	environment, err := environmentOf(s.command.Process.Pid, function)
	if err != nil {
		return nil, err
	}
	f := &invoked{events: make(chan []byte), answers: make(chan []byte, 1)}
	target, err := url.Parse(environment["AWS_ENDPOINT_URL"])
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{MaxIdleConnsPerHost: 100},
	}
	var address string
	f.proxy, address, err = serve(func(w http.ResponseWriter, r *http.Request) {
		service, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		far := dynamoTime
		if services[service] == "SQS" {
			far = sqsTime
		}
		time.Sleep(far)
		proxy.ServeHTTP(w, r)
	})
	if err != nil {
		return nil, err
	}
	environment["AWS_ENDPOINT_URL"] = "http://" + address
	if f.server, address, err = serve(f.serveRuntime); err != nil {
		f.proxy.Close()
		return nil, err
	}
	environment["AWS_LAMBDA_RUNTIME_API"] = address
	f.command = exec.CommandContext(ctx, binary)
	for name, value := range environment {
		f.command.Env = append(f.command.Env, name+"="+value)
	}
	return f, f.command.Start()
}

func serve(handler http.HandlerFunc) (*http.Server, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)
	return server, listener.Addr().String(), nil
}

func (f *invoked) close() {
	f.command.Process.Kill()
	f.command.Wait()
	f.server.Close()
	f.proxy.Close()
}

// serveRuntime is Lambda's runtime API.
//
// Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
func (f *invoked) serveRuntime(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		answer, err := io.ReadAll(r.Body)
		if err == nil {
			f.answers <- answer
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	select {
	case event := <-f.events:
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", "0197a1de-0000-7000-8000-000000000001")
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
		w.Write(event)
	case <-r.Context().Done():
	}
}

// invoke invokes the function and returns how long that took and what of a processor.
func (f *invoked) invoke(ctx context.Context, event any) (wall, cpu time.Duration, err error) {
	data, err := json.Marshal(event)
	if err != nil {
		return 0, 0, err
	}
	before, err := processorTime(f.command.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	select {
	case f.events <- data:
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	select {
	case answer := <-f.answers:
		wall = time.Since(began)
		if !bytes.Equal(answer, []byte(`{"batchItemFailures":[]}`)) {
			return 0, 0, fmt.Errorf("it answered %s", answer)
		}
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	after, err := processorTime(f.command.Process.Pid)
	return wall, after - before, err
}

// processorTime is what the threads of a process have taken, to the nanosecond.
func processorTime(pid int) (sum time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		on, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(on, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += time.Duration(n)
	}
	if sum == 0 && err == nil {
		err = fmt.Errorf("the kernel does not tell what process %d has taken", pid)
	}
	return sum, err
}

// environmentOf returns the environment of a child that runs a binary.
func environmentOf(parent int, binary string) (map[string]string, error) {
	children, err := childrenOf(parent)
	if err != nil {
		return nil, err
	}
	for _, c := range children {
		if c.name != binary {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.pid))
		if err != nil {
			return nil, err
		}
		environment := map[string]string{}
		for variable := range strings.SplitSeq(strings.TrimRight(string(text), "\x00"), "\x00") {
			name, value, _ := strings.Cut(variable, "=")
			environment[name] = value
		}
		return environment, nil
	}
	return nil, fmt.Errorf("no process runs %s", binary)
}

// changes is an event of dispatch: documents of the organization were processed.
func changes(size, from int) (any, error) {
	now := time.Now()
	records := []any{}
	for n := from; n < from+size; n++ {
		text := func(s string) any { return map[string]string{"S": s} }
		image := func(status string) any {
			return map[string]any{"id": text(documentID(organization, n)), "organization_id": text(organization), "status": text(status)}
		}
		records = append(records, map[string]any{
			"eventID": fmt.Sprintf("%032d", n), "eventName": "MODIFY", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
			"awsRegion": "us-east-1", "dynamodb": map[string]any{
				"ApproximateCreationDateTime": now.Unix(), "Keys": map[string]any{"id": text(documentID(organization, n))},
				"OldImage": image("processing"), "NewImage": image("processed"), "SequenceNumber": fmt.Sprintf("%021d", n),
			},
		})
	}
	return map[string]any{"Records": records}, nil
}

// messages is an event of deliver: first attempts at deliveries to a config.
func messages(organization, config string, size, from int) (any, error) {
	now := time.Now()
	records := []any{}
	for n := from; n < from+size; n++ {
		body, err := json.Marshal(webhook.NewFirst(organization, config, webhook.Event{
			Version: webhook.RenderVersion, ID: webhook.NewEventID(now, strconv.Itoa(n)), DocumentID: documentID(organization, n),
			Status: webhook.Processed, PreviousStatus: webhook.Processing, Sequence: fmt.Sprintf("%040d", n), OccurredAt: webhook.At(now),
		}, webhook.At(now), now))
		if err != nil {
			return nil, err
		}
		records = append(records, map[string]any{
			"messageId": fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n), "receiptHandle": strconv.Itoa(n), "body": string(body),
			"eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:DeliveryQueue",
			"attributes": map[string]string{
				"ApproximateReceiveCount": "1", "SentTimestamp": strconv.FormatInt(now.UnixMilli(), 10),
			},
		})
	}
	return map[string]any{"Records": records}, nil
}
