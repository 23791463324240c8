package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// starts of each function.
const starts = 21

// measureStarts starts each function as Lambda does, until it asks for its first event, in turn with the one that says hello.
func (b *bench) measureStarts(ctx context.Context) error {
	greeter := filepath.Join(b.folder, "hello")
	if err := compile(ctx, ".", "./infra/bench/system/hello", greeter); err != nil {
		return err
	}
	names, err := b.functionNames()
	if err != nil {
		return err
	}
	binaries, sizes := map[string]string{}, map[string]int64{}
	for _, name := range names {
		if binaries[name], err = b.buildFunction(ctx, name, runtime.GOARCH); err != nil {
			return err
		}
		deployed, err := b.buildFunction(ctx, name, "arm64")
		if err != nil {
			return err
		}
		info, err := os.Stat(deployed)
		if err != nil {
			return err
		}
		sizes[name] = info.Size()
	}
	hello := make([]time.Duration, 0, starts)
	took := map[string][]time.Duration{}
	for range starts {
		d, err := startOnce(ctx, greeter)
		if err != nil {
			return err
		}
		hello = append(hello, d)
		for _, name := range names {
			d, err := startOnce(ctx, binaries[name])
			if err != nil {
				return fmt.Errorf("starting %s: %w", name, err)
			}
			took[name] = append(took[name], d)
		}
	}
	base := median(hello)
	b.add("start of a function that says hello", milli(base), "ms")
	for _, name := range names {
		b.compare("start of "+name, milli(median(took[name])), "ms", "hello", milli(base))
	}
	for _, name := range names {
		b.add("binary of "+name+", arm64", float64(sizes[name])/1e6, "MB")
	}
	return nil
}

// environment is what a function finds on Lambda; services are where nobody answers, as none is called at a start.
var environment = []string{
	"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any", "AWS_ENDPOINT_URL=http://127.0.0.1:1",
	"AWS_LAMBDA_FUNCTION_NAME=any", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256",
	"API_KEYS_TABLE=any", "CONFIGS_TABLE=any", "DELIVERIES_TABLE=any", "DOCUMENTS_TABLE=any", "EVENTS_TABLE=any",
	"DELIVERY_QUEUE_URL=http://127.0.0.1:1/any", "RETRY_QUEUE_URL=http://127.0.0.1:1/any",
	"DISPATCH_RETRY_QUEUE_URL=http://127.0.0.1:1/any", "KEYRING_SECRET_ARN=any", "CONFIG_LIMIT=100", "LOG_ENDPOINT_ANSWERS=true",
	"TESTS_PER_MINUTE=10", "RESENDS_PER_MINUTE=100",
	"ENDPOINT_FAILURE_THRESHOLD=20", "ENVIRONMENT=sandbox", "METRICS_NAMESPACE=any", "RETRY_DELAYS=10,60,300,900",
	"DOCUMENT_URL_TEMPLATE=", "LOG_ENDPOINT_ANSWERS=true", "RESENDS_PER_MINUTE=60", "TESTS_PER_MINUTE=30",
	"GOGC=800", "GOMEMLIMIT=160MiB", "GOMAXPROCS=1",
}

// startOnce starts a function and returns how long it took to ask for its first event.
func startOnce(ctx context.Context, binary string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	asked := make(chan time.Time, 1)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		if r.Method == http.MethodPost { // it could not be initialised
			io.Copy(os.Stderr, r.Body)
			return
		}
		select {
		case asked <- now:
		default:
		}
		<-r.Context().Done()
	})}
	go server.Serve(listener)
	defer server.Close()
	command := exec.CommandContext(ctx, binary)
	command.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String()}, environment...)
	began := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case at := <-asked:
		command.Process.Kill()
		<-ended
		return at.Sub(began), nil
	case err := <-ended:
		return 0, fmt.Errorf("it ended before it asked for an event: %w", err)
	}
}
