package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/docuhook/docuhook/shared/signature"
)

const (
	// patience is how long the benchmark waits for a webhook.
	patience = time.Minute
	// burst is how many documents are written at once.
	burst = 2000
	// writers write them.
	writers = 8
)

// BenchmarkLocalStack writes documents to the local stack and takes the webhooks, each of which must
// verify. Everything runs on this machine, the stack that plays AWS included, so that the figures
// compare one revision with another; they are not those of a deployed stack.
func BenchmarkLocalStack(b *testing.B) {
	stack := startStack(b)
	b.Run("one at a time", func(b *testing.B) {
		var latencies []time.Duration
		for b.Loop() {
			latencies = append(latencies, stack.deliver(b, 1)...)
		}
		report(b, latencies)
	})
	b.Run(fmt.Sprintf("burst of %d", burst), func(b *testing.B) {
		var latencies []time.Duration
		for b.Loop() {
			latencies = append(latencies, stack.deliver(b, burst)...)
		}
		report(b, latencies)
	})
}

// report adds the deliveries per second and the latencies from writing a document to receiving its webhook.
func report(b *testing.B, latencies []time.Duration) {
	slices.Sort(latencies)
	milliseconds := func(share float64) float64 {
		return float64(latencies[min(len(latencies)-1, int(share*float64(len(latencies))))].Microseconds()) / 1000
	}
	b.ReportMetric(float64(len(latencies))/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(milliseconds(0.5), "p50-ms")
	b.ReportMetric(milliseconds(0.99), "p99-ms")
}

// stack is a running local stack with one config, whose endpoint is the benchmark's.
type stack struct {
	api, table  string // URL and name
	dynamo      *dynamodb.Client
	arrived     chan arrival
	credentials func() signature.Credentials // waits for the config to be created
	written     int                          // documents
}

// arrival is a verified webhook, or what is wrong with one.
type arrival struct {
	documentID string
	at         time.Time
	err        error
}

// startStack builds and starts the local stack on free ports until the benchmark ends.
func startStack(b *testing.B) *stack {
	b.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		b.Fatal(err)
	}
	binary := filepath.Join(b.TempDir(), "local")
	build := exec.Command("go", "build", "-o", binary, "./infra/local")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building the local stack: %v\n%s", err, out)
	}
	command := exec.Command(binary, "-addr", "127.0.0.1:0", "-aws-addr", "127.0.0.1:0", "-demo=false")
	command.Dir = root
	var complaints bytes.Buffer
	command.Stderr = &complaints
	stdout, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	found := make(chan string, 1)
	ended := make(chan error, 1)
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
		ended <- command.Wait()
	}()
	s := &stack{arrived: make(chan arrival, 10*burst)}
	select {
	case s.api = <-found:
	case err := <-ended:
		b.Fatalf("the local stack has ended: %v\n%s", err, &complaints)
	}
	b.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			b.Errorf("stopping the local stack: %v\n%s", err, &complaints)
		}
	})
	var config struct {
		Endpoint string            `json:"endpoint"`
		Region   string            `json:"region"`
		Outputs  map[string]string `json:"outputs"`
	}
	s.call(b, http.MethodGet, "/_local/config", nil, http.StatusOK, &config)
	s.table = config.Outputs["DocumentsTable"]
	s.dynamo = dynamodb.New(dynamodb.Options{
		Region:       config.Region,
		BaseEndpoint: &config.Endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("administrator", "any", ""),
		HTTPClient:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: writers}},
	})
	s.register(b)
	return s
}

func (s *stack) call(b *testing.B, method, path string, body any, want int, answer any) {
	b.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		b.Fatal(err)
	}
	request, err := http.NewRequestWithContext(b.Context(), method, s.api+path, bytes.NewReader(data))
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("X-Api-Key", "dk_test_local")
	request.Header.Set("Content-Type", "application/vnd.api+json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != want {
		b.Fatalf("%s %s: %s %v %s", method, path, response.Status, err, raw)
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		b.Fatal(err)
	}
}

// register starts an endpoint that verifies, and creates a config for it.
func (s *stack) register(b *testing.B) {
	b.Helper()
	known := make(chan signature.Credentials, 1)
	s.credentials = sync.OnceValue(func() signature.Credentials { return <-known })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		body, err := io.ReadAll(r.Body)
		var event struct {
			Data struct {
				Attributes struct {
					DocumentID string `json:"document_id"`
				} `json:"attributes"`
			} `json:"data"`
		}
		err = errors.Join(err, signature.Verify(r.Header, body, s.credentials()), json.Unmarshal(body, &event))
		s.arrived <- arrival{event.Data.Attributes.DocumentID, now, err}
		w.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(server.Close)
	var created struct {
		Data struct {
			Attributes struct {
				Token  string `json:"token"`
				Secret string `json:"secret"`
			} `json:"attributes"`
		} `json:"data"`
	}
	s.call(b, http.MethodPost, "/v1/webhooks/configs", map[string]any{"data": map[string]any{
		"type": "webhook_config", "attributes": map[string]any{"url": server.URL, "subscribed_statuses": []string{"processed"}},
	}}, http.StatusCreated, &created)
	shown := created.Data.Attributes
	known <- signature.Credentials{Token: signature.Secret(shown.Token), Secret: signature.Secret(shown.Secret)}
}

// deliver writes n documents and waits for the webhook of each. It returns their latencies.
func (s *stack) deliver(b *testing.B, n int) []time.Duration {
	b.Helper()
	first := s.written
	s.written += n
	began := make([]time.Time, n)
	errs := make([]error, writers)
	var wait sync.WaitGroup
	for w := range min(n, writers) {
		wait.Go(func() {
			for i := w; i < n && errs[w] == nil; i += writers {
				began[i] = time.Now()
				errs[w] = s.write(b.Context(), documentID(first+i))
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	latencies := make([]time.Duration, n)
	waiting := map[string]int{}
	for i := range n {
		waiting[documentID(first+i)] = i
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for len(waiting) > 0 {
		select {
		case a := <-s.arrived:
			if a.err != nil {
				b.Fatalf("a webhook does not verify: %v", a.err)
			}
			if i, ok := waiting[a.documentID]; ok { // any other is a duplicate
				latencies[i] = a.at.Sub(began[i])
				delete(waiting, a.documentID)
			}
		case <-timeout.C:
			b.Fatalf("%d of %d webhooks have not arrived after %s", len(waiting), n, patience)
		}
	}
	return latencies
}

func documentID(n int) string { return fmt.Sprintf("doc_%d", n) }

// write stores a document as processed.
func (s *stack) write(ctx context.Context, id string) error {
	_, err := s.dynamo.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.table, Item: map[string]types.AttributeValue{
		"id":              &types.AttributeValueMemberS{Value: id},
		"organization_id": &types.AttributeValueMemberS{Value: "org_local"},
		"status":          &types.AttributeValueMemberS{Value: "processed"},
		"updated_at":      &types.AttributeValueMemberS{Value: time.Now().UTC().Format(time.RFC3339Nano)},
	}})
	return err
}
