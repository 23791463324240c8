package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
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
	errors   bytes.Buffer
	api      string
	table    string // name of DocumentsTable
	dynamo   *dynamodb.Client
	endpoint *endpoint
	written  int // documents
}

// start starts the local stack on free ports, and an endpoint.
func (b *bench) start(ctx context.Context, flags ...string) (*stack, error) {
	s := &stack{ended: make(chan error, 1)}
	s.command = exec.Command(b.built.stack, append([]string{
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
		return nil, fmt.Errorf("the local stack has ended: %w\n%s", err, &s.errors)
	case <-ctx.Done():
		s.command.Process.Kill()
		return nil, ctx.Err()
	}
	return s, s.connect(ctx)
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
	s.endpoint, err = receive(map[string]time.Duration{"/slow": slow, "/hanging": hanging})
	return err
}

// stop ends the stack and its endpoint.
func (s *stack) stop() error {
	s.command.Process.Signal(syscall.SIGTERM)
	err := <-s.ended
	s.endpoint.close()
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

// register creates a config of an organization that leads to a path of the endpoint, and makes it known to be fast or slow.
func (s *stack) register(ctx context.Context, organization, path string) error {
	return s.call(ctx, http.MethodPost, "/v1/webhooks/configs", keyOf(organization), map[string]any{"data": map[string]any{
		"type": "webhook_config", "attributes": map[string]any{
			"url": s.endpoint.url + path, "subscribed_statuses": []string{"processed"},
		},
	}}, new(any))
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

const (
	// slow is how long a slow endpoint takes, and hanging is longer than any attempt.
	slow    = 2 * time.Second
	hanging = time.Minute
)

// endpoint takes webhooks and notes when the first one of each document came.
type endpoint struct {
	url    string
	server *http.Server

	mu      sync.Mutex
	arrived map[string]time.Time // by document
	changed chan struct{}        // closed at the next arrival
}

// receive starts an endpoint; some paths take their time before they answer.
func receive(delays map[string]time.Duration) (*endpoint, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &endpoint{url: "http://" + listener.Addr().String(), arrived: map[string]time.Time{}, changed: make(chan struct{})}
	e.server = &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now := time.Now()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			e.note(body, now)
			if delay := delays[r.URL.Path]; delay > 0 {
				select {
				case <-time.After(delay):
				case <-r.Context().Done():
				}
			}
			w.WriteHeader(http.StatusNoContent)
		}),
	}
	go e.server.Serve(listener)
	return e, nil
}

func (e *endpoint) close() { e.server.Close() }

var documentPattern = regexp.MustCompile(`"document_id":"([^"]*)"`)

func (e *endpoint) note(body []byte, now time.Time) {
	match := documentPattern.FindSubmatch(body)
	if match == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.arrived[string(match[1])]; !known {
		e.arrived[string(match[1])] = now
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// patience is how long the bench waits for webhooks.
const patience = 2 * time.Minute

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
