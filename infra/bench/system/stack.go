package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// stack is a running local stack.
type stack struct {
	command  *exec.Cmd
	ended    chan error
	errors   output
	api      string
	table    string // name of DocumentsTable
	dynamo   *dynamodb.Client
	endpoint *endpoint
	written  int // documents
	stopped  bool
}

// output keeps what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts the local stack on free ports, and an endpoint.
func (b *bench) start(ctx context.Context, flags ...string) (*stack, error) {
	s := &stack{ended: make(chan error, 1)}
	s.command = exec.Command(b.stack, append([]string{
		"-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-demo=false",
		"-parameter", "ApiRateLimit=10000", "-parameter", "ApiBurstLimit=10000",
	}, flags...)...)
	s.command.Dir, s.command.Stderr = b.root, &s.errors
	stdout, err := s.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	b.stacks = append(b.stacks, s)
	found := make(chan string, 1)
	go func() {
		pattern := regexp.MustCompile(`API +(http://\S+)`)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			if match := pattern.FindStringSubmatch(scanner.Text()); match != nil {
				select {
				case found <- match[1]:
				default: // printed again
				}
			}
		}
		s.ended <- s.command.Wait()
	}()
	select {
	case s.api = <-found:
	case err := <-s.ended:
		s.stopped = true
		return nil, fmt.Errorf("the local stack has ended: %w\n%s", err, &s.errors)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s, s.connect(ctx)
}

// production are flags of a stack that has as many places as one in production has, which takes no endpoints on this machine.
// The lanes of the stream are no parameter: they are those of a template of its own, beside which the functions are built.
func (b *bench) production() ([]string, error) {
	source, err := os.ReadFile(filepath.Join(b.root, "template.yaml"))
	if err != nil {
		return nil, err
	}
	const lane = "DispatchParallelization: 1\n"
	if strings.Count(string(source), lane) != 1 {
		return nil, fmt.Errorf("the template does not say once that a sandbox has %q", lane)
	}
	changed := strings.Replace(string(source), lane, "DispatchParallelization: 10\n", 1)
	folder, err := filepath.Abs(filepath.Join(b.root, ".build", "bench"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for _, name := range []string{"go.mod", "go.sum", "functions", "shared", "infra"} {
		if err := os.Symlink(filepath.Join("..", "..", name), filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	file := filepath.Join(folder, "template.yaml")
	return []string{
		"-template", file, "-parameter", "DeliverConcurrency=50", "-parameter", "RetryConcurrency=20",
	}, os.WriteFile(file, []byte(changed), 0o644)
}

// connect makes what talks to the stack.
func (s *stack) connect(ctx context.Context) (err error) {
	var about struct {
		Endpoint string            `json:"endpoint"`
		Region   string            `json:"region"`
		Outputs  map[string]string `json:"outputs"`
	}
	if err := s.call(ctx, http.MethodGet, "/_local/config", "", nil, &about); err != nil {
		return err
	}
	s.table = about.Outputs["DocumentsTable"]
	s.dynamo = dynamodb.New(dynamodb.Options{
		Region: about.Region, BaseEndpoint: &about.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("administrator", "any", ""),
		HTTPClient:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: writers}},
	})
	s.endpoint, err = receive()
	return err
}

// stop ends the stack and its endpoint.
func (s *stack) stop() error {
	s.stopped = true
	s.command.Process.Signal(syscall.SIGTERM)
	err := <-s.ended
	if s.endpoint != nil {
		s.endpoint.close()
	}
	if err != nil {
		return fmt.Errorf("stopping the local stack: %w\n%s", err, &s.errors)
	}
	return nil
}

// call makes a request to the stack's API, with an organization's key.
func (s *stack) call(ctx context.Context, method, path, key string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, s.api+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	request.Header.Set("X-Api-Key", key)
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s %w %s", method, path, response.Status, err, raw)
	}
	return json.Unmarshal(raw, answer)
}

// register creates a config of an organization that leads to a path of the endpoint.
func (s *stack) register(ctx context.Context, organization, path string) error {
	_, err := s.config(ctx, organization, path)
	return err
}

// config is register, and returns the config's id.
func (s *stack) config(ctx context.Context, organization, path string) (string, error) {
	var answer struct{ Data struct{ ID string } }
	err := s.call(ctx, http.MethodPost, "/v1/webhooks/configs", keyOf(organization), map[string]any{"data": map[string]any{
		"type": "webhook_config", "attributes": map[string]any{
			"url": s.endpoint.url + path, "subscribed_statuses": []string{"processed"},
		},
	}}, &answer)
	return answer.Data.ID, err
}

func keyOf(organization string) string { return "key_" + organization }

// organizationFlags are the flags that give a stack its organizations.
func organizationFlags(organizations ...string) (flags []string) {
	for _, organization := range organizations {
		flags = append(flags, "-organization", organization+"="+keyOf(organization))
	}
	return flags
}

// written is a document that was written.
type written struct {
	id string
	at time.Time
}

// write writes a document of an organization as processed.
func (s *stack) write(ctx context.Context, organization string, n int) (written, error) {
	w := written{id: documentID(organization, n), at: time.Now()}
	_, err := s.dynamo.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.table, Item: document(organization, w.id)})
	return w, err
}

func document(organization, id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"id":              &types.AttributeValueMemberS{Value: id},
		"organization_id": &types.AttributeValueMemberS{Value: organization},
		"status":          &types.AttributeValueMemberS{Value: "processed"},
		"updated_at":      &types.AttributeValueMemberS{Value: time.Now().UTC().Format(time.RFC3339Nano)},
	}
}

// writers write at the same time, so that writing is faster than delivering.
const writers = 8

// burst writes n documents of an organization with BatchWriteItem, as fast as it can.
func (s *stack) burst(ctx context.Context, organization string, n int) ([]written, error) {
	const step = 25
	all := make([]written, n)
	first := s.written
	s.written += n
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for from := w * step; from < n && errs[w] == nil; from += writers * step {
				to := min(from+step, n)
				for i := from; i < to; i++ {
					all[i] = written{id: documentID(organization, first+i), at: time.Now()}
				}
				errs[w] = s.batch(ctx, first+from, first+to, func(int) string { return organization })
			}
		})
	}
	wait.Wait()
	return all, errors.Join(errs...)
}

// batch writes the documents with some numbers, at most 25, each of an organization.
func (s *stack) batch(ctx context.Context, from, to int, organization func(i int) string) error {
	var puts []types.WriteRequest
	for i := from; i < to; i++ {
		puts = append(puts, types.WriteRequest{
			PutRequest: &types.PutRequest{Item: document(organization(i), documentID(organization(i), i))},
		})
	}
	_, err := s.dynamo.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
		RequestItems: map[string][]types.WriteRequest{s.table: puts},
	})
	return err
}

func documentID(organization string, n int) string { return fmt.Sprintf("doc_%s_%d", organization, n) }

// calls returns how often the functions called each service since the stack's start; nothing of a stack that does not tell.
func (s *stack) calls(ctx context.Context) map[string]int {
	var answer struct {
		Calls []struct {
			Function, Target string
			Count            int
		}
	}
	if err := s.call(ctx, http.MethodGet, "/_local/calls", "", nil, &answer); err != nil {
		return nil
	}
	counts := map[string]int{}
	for _, c := range answer.Calls {
		if service := services[strings.Split(c.Target, ".")[0]]; c.Function != "" && service != "" {
			counts[service] += c.Count
		}
	}
	return counts
}

// services are the names of AWS services by those that they have in requests.
var services = map[string]string{"DynamoDB_20120810": "DynamoDB", "AmazonSQS": "SQS", "secretsmanager": "Secrets Manager"}

// endpoint takes webhooks and notes when the first one of each document came.
type endpoint struct {
	url    string
	server *http.Server

	mu      sync.Mutex
	delays  map[string]time.Duration // before it answers, by path
	status  int                      // that it answers with
	posts   int                      // that came
	arrived map[string]time.Time     // by document
	changed chan struct{}            // closed at the next arrival
}

// delay lets a path take some time from now on.
func (e *endpoint) delay(path string, delay time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.delays[path] = delay
}

// answer lets all paths answer with a status from now on.
func (e *endpoint) answer(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status = status
}

// receive starts an endpoint.
func receive() (*endpoint, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &endpoint{
		url: "http://" + listener.Addr().String(), delays: map[string]time.Duration{}, status: http.StatusNoContent,
		arrived: map[string]time.Time{}, changed: make(chan struct{}),
	}
	e.server = &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now := time.Now()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			e.note(body, now)
			e.mu.Lock()
			delay, status := e.delays[r.URL.Path], e.status
			e.mu.Unlock()
			if delay > 0 {
				select {
				case <-time.After(delay):
				case <-r.Context().Done():
				}
			}
			w.WriteHeader(status)
		}),
	}
	go e.server.Serve(listener)
	return e, nil
}

func (e *endpoint) close() { e.server.Close() }

var documentPattern = regexp.MustCompile(`"document_id":"([^"]*)"`)

func (e *endpoint) note(body []byte, now time.Time) {
	match := documentPattern.FindSubmatch(body)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.posts++
	if match == nil {
		return
	}
	if _, known := e.arrived[string(match[1])]; !known {
		e.arrived[string(match[1])] = now
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// requests returns how many POSTs came.
func (e *endpoint) requests() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.posts
}

// awaitRequests waits until n POSTs have come in all.
func (e *endpoint) awaitRequests(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for e.requests() < n {
		if err := rest(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d POSTs came: %w", e.requests(), n, err)
		}
	}
	return nil
}

// patience is how long the bench waits for webhooks: longer than a message stays invisible whose function was cut off, as happens
// where a machine has no time for it.
const patience = 8 * time.Minute

// latencies waits for the webhooks of some documents and returns how long each took, and when the last one came.
func (e *endpoint) latencies(ctx context.Context, documents []written) (took []time.Duration, last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, d := range documents {
		at, err := e.await(ctx, d.id)
		if err != nil {
			return nil, last, fmt.Errorf("the webhook of %s did not come: %w", d.id, err)
		}
		took = append(took, at.Sub(d.at))
		if at.After(last) {
			last = at
		}
	}
	return took, last, nil
}

func (e *endpoint) await(ctx context.Context, id string) (time.Time, error) {
	for {
		e.mu.Lock()
		at, ok := e.arrived[id]
		changed := e.changed
		e.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return at, ctx.Err()
		}
	}
}
