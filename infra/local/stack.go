package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/eventsource"
	"github.com/docuhook/docuhook/infra/local/internal/gateway"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/journal"
	"github.com/docuhook/docuhook/infra/local/internal/lambda"
	"github.com/docuhook/docuhook/infra/local/internal/secretsmanager"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/apikey"
)

// grace is how long running invocations may take to end once the stack stops.
const grace = 5 * time.Second

// stackOptions are what a stack is made of beside the template.
type stackOptions struct {
	settings settings
	binaries string // directory of the built functions
	api, aws net.Listener
	stderr   io.Writer
}

// stack is the running system.
type stack struct {
	stackOptions
	declared  *template.Template
	policies  *identity.Policies
	database  *dynamodb.Database
	broker    *sqs.Broker
	secrets   *secretsmanager.Vault
	functions *lambda.Service
	mappings  []*eventsource.Mapping
	servers   map[*http.Server]net.Listener
	journal   *journal.Journal
	receiver  atomic.Pointer[receiver] // of the demo; nil without, and before it listens
	started   time.Time
	closing   chan struct{} // closed when stop begins
	watching  sync.WaitGroup
	unwatch   context.CancelFunc
}

// newStack makes everything that the template declares. Nothing runs before start.
func newStack(declared *template.Template, options stackOptions) (*stack, error) {
	options.stderr = &lockedWriter{w: options.stderr}
	s := &stack{stackOptions: options, declared: declared, servers: map[*http.Server]net.Listener{}, started: time.Now(), closing: make(chan struct{})}
	for _, step := range []func() error{s.makeJournal, s.makePolicies, s.makeStorage, s.makeFunctions, s.makeServers} {
		if err := step(); err != nil {
			if s.functions != nil {
				err = errors.Join(err, s.functions.Close(context.Background()))
			}
			return nil, err
		}
	}
	return s, nil
}

func (s *stack) makePolicies() (err error) {
	s.policies, err = identity.New(identity.Options{
		Principals: principals(s.declared.Functions),
		Enforce:    s.settings.enforceIAM,
		OnDenied:   s.reportDenial,
	})
	return err
}

func (s *stack) endpoint() string { return "http://" + s.aws.Addr().String() }
func (s *stack) apiURL() string   { return "http://" + s.api.Addr().String() }

func (s *stack) queueURL(queue string) string {
	return s.endpoint() + "/" + template.Account + "/" + queue
}

// makeStorage makes tables, queues and secrets, and gives every organization its API key.
func (s *stack) makeStorage() error {
	s.database = dynamodb.New(dynamodb.Options{Region: template.Region, Account: template.Account})
	for _, t := range s.declared.Tables {
		if err := s.database.CreateTable(tableSchema(t)); err != nil {
			return err
		}
	}
	s.broker = sqs.New(sqs.Options{Region: template.Region, Account: template.Account, BaseURL: s.endpoint(), TimeScale: s.settings.timeScale, Observe: s.journal.Queued})
	var queues []sqs.Definition
	for _, q := range s.declared.Queues {
		queues = append(queues, queueDefinition(q))
	}
	if err := s.broker.CreateQueue(queues...); err != nil {
		return err
	}
	s.secrets = secretsmanager.New(secretsmanager.Options{Region: template.Region, Account: template.Account})
	for _, secret := range s.declared.Secrets {
		if err := s.secrets.CreateSecret(secretDefinition(secret)); err != nil {
			return err
		}
	}
	return s.giveKeys()
}

// giveKeys gives every organization its API key, in the table that the API's authorizers are told of
// by their environment. An API without authorizers needs no keys.
func (s *stack) giveKeys() error {
	if s.declared.API == nil {
		return nil
	}
	for _, authorizer := range s.declared.API.Authorizers {
		table, ok := s.keyTable(authorizer.Function)
		if !ok {
			return fmt.Errorf("%s: Properties.Environment: names no table, so there is no place for the organizations' API keys", authorizer.Function)
		}
		for _, o := range s.settings.organizations {
			item := map[string]any{
				table.PartitionKey.Name: apikey.Hash(o.key),
				"organization_id":       o.id,
				"name":                  "local",
				"created_at":            time.Now().UTC().Format(time.RFC3339),
			}
			for name, value := range item {
				item[name] = attributeValue(value)
			}
			if err := s.putItem(context.Background(), table.Name, item); err != nil {
				return fmt.Errorf("giving %s its API key: %w", o.id, err)
			}
		}
	}
	return nil
}

// keyTable returns the table that a function's environment names.
func (s *stack) keyTable(function string) (template.Table, bool) {
	for _, f := range s.declared.Functions {
		for _, t := range s.declared.Tables {
			for _, value := range f.Environment {
				if f.Name == function && value == t.Name {
					return t, true
				}
			}
		}
	}
	return template.Table{}, false
}

// documentsTable is the table whose changes the system follows; "" if it follows none.
func (s *stack) documentsTable() string {
	for _, f := range s.declared.Functions {
		for _, source := range f.Streams {
			return source.Table
		}
	}
	return ""
}

// makeFunctions registers the functions and their event sources.
func (s *stack) makeFunctions() error {
	if err := checkNeeds(s.declared.Functions, s.policies); err != nil {
		return err
	}
	var err error
	if s.functions, err = lambda.New(lambda.Options{Log: functionLog{w: s.stderr, metrics: s.settings.metrics}}); err != nil {
		return err
	}
	sandbox := s.declared.Parameters["Environment"] == "sandbox"
	for _, f := range s.declared.Functions {
		function, err := lambdaFunction(f, s.binaries, s.endpoint(), sandbox, s.settings.public)
		if err != nil {
			return err
		}
		if err := s.functions.Register(function); err != nil {
			return err
		}
		mappings, err := s.eventSources(f)
		if err != nil {
			return err
		}
		s.mappings = append(s.mappings, mappings...)
	}
	return nil
}

// makeServers makes the API's server and that of the AWS services.
func (s *stack) makeServers() error {
	options := gatewayOptions(s.declared)
	options.Invoker = s.functions
	options.Report = func(route, requestID, message string, err error) {
		fmt.Fprintf(s.stderr, "[gateway] %s (request %s): %s: %v\n", route, requestID, message, err)
	}
	api, err := gateway.New(options)
	if err != nil {
		return err
	}
	control := s.control()
	s.serve(s.api, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_local/") {
			control.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	}))
	s.serve(s.aws, &awsjson.Server{
		Policies: s.policies,
		Services: map[string]awsjson.Service{
			"DynamoDB_20120810":        s.database.Service(),
			"DynamoDBStreams_20120810": s.database.Streams(),
			"AmazonSQS":                s.broker.Service(),
			"secretsmanager":           s.secrets.Service(),
		},
	})
	return nil
}

func (s *stack) serve(listener net.Listener, handler http.Handler) {
	s.servers[&http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(s.stderr, "", 0),
	}] = listener
}

// start serves and polls until stop. A server that fails is reported on the channel.
func (s *stack) start(ctx context.Context) <-chan error {
	failed := make(chan error, len(s.servers)+len(s.mappings))
	for server, listener := range s.servers {
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving %s: %w", listener.Addr(), err)
			}
		}()
	}
	for _, mapping := range s.mappings {
		if err := mapping.Start(ctx); err != nil {
			failed <- err
		}
	}
	watching, unwatch := context.WithCancel(ctx)
	s.unwatch = unwatch
	s.watching.Go(func() { s.journal.Run(watching) })
	s.watching.Go(func() { s.expire(watching) })
	if stream := s.database.Stream(template.StreamARN(s.documentsTable())); stream != nil {
		s.watching.Go(func() { s.watchDocuments(watching, stream) })
	}
	return failed
}

// stop ends everything in the order in which work flows: no new work, then the running batches and
// invocations, then the services that these need. No process is left when it returns. What has to
// be cut short at the end of the grace is no error: the queues are gone with the stack anyway.
func (s *stack) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	close(s.closing) // a page would hold the API's server up
	s.unwatch()
	s.watching.Wait()
	var ending sync.WaitGroup
	for _, mapping := range s.mappings {
		ending.Go(func() { _ = mapping.Close(ctx) })
	}
	for server, listener := range s.servers {
		if listener == s.api {
			ending.Go(func() { _ = server.Shutdown(ctx) })
		}
	}
	ending.Wait()
	_ = s.functions.Close(ctx)
	var errs []error
	for server := range s.servers {
		if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *stack) reportDenial(d identity.Denial) {
	why := "no statement of its policies allows it"
	if d.Sid != "" {
		why = "the statement " + d.Sid + " of its policies denies it"
	}
	consequence := "ACCESS DENIED"
	if !s.settings.enforceIAM {
		consequence = "would be denied on AWS"
	}
	fmt.Fprintf(s.stderr, "[iam] %s: %s %s on %s: %s\n", consequence, d.Function, d.Action, d.Resource, why)
}

// eventSources makes the mappings of a function.
func (s *stack) eventSources(f template.Function) ([]*eventsource.Mapping, error) {
	options := eventsource.Options{
		Invoker:     s.functions,
		Destination: failureQueues{s.broker},
		Log:         slog.New(slog.NewTextHandler(s.stderr, nil)),
	}
	var mappings []*eventsource.Mapping
	for _, source := range f.Streams {
		stream := s.database.Stream(template.StreamARN(source.Table))
		definition := eventsource.StreamMapping{
			Function:                   f.Name,
			FunctionARN:                template.FunctionARN(f.Name),
			StreamARN:                  stream.ARN(),
			ShardID:                    stream.ShardID(),
			BatchSize:                  source.BatchSize,
			ParallelizationFactor:      source.Parallelization,
			MaximumBatchingWindow:      source.Window,
			StartingPosition:           source.StartingPosition,
			Filters:                    source.Filters,
			ReportBatchItemFailures:    source.ReportsBatchItems,
			BisectBatchOnFunctionError: source.Bisect,
			MaximumRetryAttempts:       source.MaxRetries,
			MaximumRecordAge:           source.MaxAge,
			Enabled:                    source.Enabled,
		}
		if source.FailureQueue != "" {
			definition.OnFailure = template.QueueARN(source.FailureQueue)
		}
		mapping, err := eventsource.NewStream(definition, tableStream{stream, s.partitionKey(source.Table)}, options)
		if err != nil {
			return nil, fmt.Errorf("%s: Properties.Events.%s.Properties: %w", f.Name, source.Event, err)
		}
		mappings = append(mappings, mapping)
	}
	for _, source := range f.QueueFeeds {
		mapping, err := eventsource.NewQueue(eventsource.QueueMapping{
			Function:                f.Name,
			BatchSize:               source.BatchSize,
			MaximumBatchingWindow:   source.Window,
			ReportBatchItemFailures: source.ReportsBatchItems,
			MaximumConcurrency:      source.MaxConcurrency,
			Filters:                 source.Filters,
			Enabled:                 source.Enabled,
		}, polledQueue{s.broker, template.QueueARN(source.Queue)}, options)
		if err != nil {
			return nil, fmt.Errorf("%s: Properties.Events.%s.Properties: %w", f.Name, source.Event, err)
		}
		mappings = append(mappings, mapping)
	}
	return mappings, nil
}

func (s *stack) partitionKey(table string) string {
	for _, t := range s.declared.Tables {
		if t.Name == table {
			return t.PartitionKey.Name
		}
	}
	return ""
}

// banner says what runs where.
func (s *stack) banner() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\nThe local stack of %s, for development and tests; everything is in memory.\n", s.settings.template)
	fmt.Fprintf(&out, "  API           %s\n  look at it    %s/_local/\n  AWS services  %s   region %s, any credentials\n", s.apiURL(), s.apiURL(), s.endpoint(), template.Region)
	fmt.Fprintf(&out, "  template      %d functions, %d tables, %d queues; -ignored lists what has no effect here\n", len(s.declared.Functions), len(s.declared.Tables), len(s.declared.Queues))
	for _, o := range s.settings.organizations {
		fmt.Fprintf(&out, "  organization  %s   X-Api-Key: %s\n", o.id, o.key)
	}
	if s.settings.timeScale != 1 {
		fmt.Fprintf(&out, "  clock         SQS times pass %g times faster\n", s.settings.timeScale)
	}
	if !s.settings.enforceIAM {
		out.WriteString("  IAM           not enforced, denials are only reported\n")
	}
	if !s.settings.demo {
		out.WriteString("Ctrl-C stops.\n")
	}
	return out.String() + "\n"
}

// functionLog takes the functions' lines, one in each Write. The documents that carry metrics are
// for CloudWatch and only clutter a terminal.
type functionLog struct {
	w       io.Writer
	metrics bool
}

func (l functionLog) Write(line []byte) (int, error) {
	if !l.metrics && bytes.Contains(line, []byte(`"CloudWatchMetrics":`)) {
		return len(line), nil
	}
	return l.w.Write(line)
}

// lockedWriter lets several writers share one.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
