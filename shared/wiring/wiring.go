// Package wiring builds the parts of a function from its environment.
//
// It is the only place that reads environment variables and the clock of the machine. An Environment
// has one method for each thing that a function serves, and a function's main says which of them it
// is; a test calls the same methods on a Machine of its own. A variable that is missing or makes no
// sense stops the function before it serves, with a message that names it. The AWS configuration is
// put together by hand: in Lambda, region and credentials are variables, and the default chain would
// only add to the binary and so to the cold start.
package wiring

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	standardlog "log"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/queue"
	"github.com/docuhook/docuhook/shared/secrets"
	"github.com/docuhook/docuhook/shared/telemetry"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Machine is what a function runs on. Of a process it is the process's own; a test has another.
type Machine struct {
	Getenv func(name string) string
	Out    io.Writer      // of log lines and metrics
	Exit   func(code int) // does not return
	Now    func() time.Time
	Random io.Reader      // fit for secrets
	Jitter func() float64 // at least 0 and below 1, safe for concurrent use
}

// Environment is what a function finds around it. It is for one goroutine at a time.
type Environment struct {
	machine Machine
	now     func() time.Time // the machine's clock, or that of the local stack
	log     *slog.Logger

	transport *http.Transport  // to all services; nil until it is needed, as those below
	tables    *dynamodb.Client // of all tables
	queues    *sqs.Client      // of all queues
}

// New returns the environment of this process.
func New() *Environment {
	e := On(Machine{
		Getenv: os.Getenv,
		Out:    os.Stdout,
		Exit:   os.Exit,
		Now:    time.Now,
		Random: rand.Reader,
		Jitter: mathrand.Float64,
	})
	standardlog.SetFlags(0)
	standardlog.SetOutput(telemetry.StandardLog(e.log)) // net/http writes there
	return e
}

// On returns the environment that a machine offers.
func On(machine Machine) *Environment {
	level := slog.LevelInfo
	// Set by Lambda from LoggingConfig; anything else leaves the default.
	_ = level.UnmarshalText([]byte(machine.Getenv("AWS_LAMBDA_LOG_LEVEL")))
	e := &Environment{machine: machine, now: machine.Now, log: telemetry.NewLogger(machine.Out, level)}
	if text := machine.Getenv("LOCAL_CLOCK"); text != "" {
		e.now = e.localClock(text)
	}
	return e
}

// localClock returns the clock of the local stack: the machine's at its start, from then on so many times
// faster, or 0 for one that stands still, and so far ahead. Only the local stack sets the variable.
func (e *Environment) localClock(text string) func() time.Time {
	var began, offset string
	var scale float64
	_, incomplete := fmt.Sscan(text, &began, &scale, &offset)
	start, noTime := time.Parse(time.RFC3339Nano, began)
	ahead, noDuration := time.ParseDuration(offset)
	if errors.Join(incomplete, noTime, noDuration) != nil || !(scale >= 0) {
		e.exit("environment variable LOCAL_CLOCK is not a time, how many times faster the clock is, and how far it is ahead")
	}
	return func() time.Time { return start.Add(time.Duration(float64(e.machine.Now().Sub(start))*scale) + ahead) }
}

// Handler returns the Lambda function that serves operations of the API.
func (e *Environment) Handler(operations ...api.Operation) *api.Handler {
	return api.NewHandler(e.log, operations...)
}

// exit stops the function before it serves.
func (e *Environment) exit(message string) {
	e.log.Error("function cannot start", "error", message)
	e.machine.Exit(1)
}

// require returns a variable that must be there.
func (e *Environment) require(name string) string {
	value := e.machine.Getenv(name)
	if value == "" {
		e.exit("environment variable " + name + " is not set")
	}
	return value
}

// number returns a variable that must be a number, at least least.
func (e *Environment) number(name string, least int) int {
	n, err := strconv.Atoi(e.require(name))
	if err != nil || n < least {
		e.exit(fmt.Sprintf("environment variable %s is not a number of %d or more", name, least))
	}
	return n
}

// boolean returns a variable that must be true or false.
func (e *Environment) boolean(name string) bool {
	value := e.require(name)
	if value != "true" && value != "false" {
		e.exit("environment variable " + name + " is neither true nor false")
	}
	return value == "true"
}

// documentURL returns where receivers can fetch documents; the variable may be missing.
func (e *Environment) documentURL() webhook.DocumentURL {
	url, err := webhook.ParseDocumentURL(e.machine.Getenv("DOCUMENT_URL_TEMPLATE"))
	if err != nil {
		e.exit("environment variable DOCUMENT_URL_TEMPLATE: " + err.Error())
	}
	return url
}

// sandbox reports whether the stack is a sandbox and not in production.
func (e *Environment) sandbox() bool {
	switch e.require("ENVIRONMENT") {
	case "sandbox":
		return true
	case "production":
		return false
	}
	e.exit("environment variable ENVIRONMENT is neither sandbox nor production")
	return false
}

// allowPrivate reports whether endpoints may have private addresses: in a sandbox, when the local
// stack asks for it.
func (e *Environment) allowPrivate() bool {
	return e.sandbox() && e.machine.Getenv("ALLOW_PRIVATE_ADDRESSES") == "true"
}

// guard returns the guard of the addresses that are called. ONLY_LOOPBACK can only make it stricter: its value is true,
// or the one address that may be called beside those.
func (e *Environment) guard() *endpoint.Guard {
	guard := endpoint.NewGuard(e.allowPrivate())
	only := e.machine.Getenv("ONLY_LOOPBACK")
	bridge, notAddress := netip.ParseAddr(only)
	guard.OnlyLoopback, guard.Bridge = only == "true" || notAddress == nil, bridge
	return guard
}

func (e *Environment) configs() *dynamo.Configs {
	return &dynamo.Configs{Client: e.dynamo(), Table: e.require("CONFIGS_TABLE")}
}

func (e *Environment) deliveries() *dynamo.Deliveries {
	return &dynamo.Deliveries{Client: e.dynamo(), Table: e.require("DELIVERIES_TABLE")}
}

func (e *Environment) documents() *dynamo.Documents {
	return &dynamo.Documents{Client: e.dynamo(), Table: e.require("DOCUMENTS_TABLE")}
}

func (e *Environment) apiKeys() *dynamo.APIKeys {
	return &dynamo.APIKeys{Client: e.dynamo(), Table: e.require("API_KEYS_TABLE")}
}

func (e *Environment) events() *dynamo.Events {
	return &dynamo.Events{Client: e.dynamo(), Table: e.require("EVENTS_TABLE")}
}

// queue returns the queue whose URL a variable holds.
func (e *Environment) queue(name string) *queue.Queue {
	if e.queues == nil {
		e.queues = e.sqs()
	}
	return &queue.Queue{Client: e.queues, URL: e.require(name), Now: e.now}
}

func (e *Environment) deliveryQueue() *queue.Queue { return e.queue("DELIVERY_QUEUE_URL") }

func (e *Environment) retryQueue() *queue.Queue { return e.queue("RETRY_QUEUE_URL") }

// onceQueue is retryQueue for those who would rather lose a message than send it twice.
func (e *Environment) onceQueue() *queue.Queue {
	once := e.retryQueue()
	once.Client = e.sqs(func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	return once
}

func (e *Environment) keyring() *keyring.Cache {
	return &keyring.Cache{
		Source: &secrets.Secret{Client: e.secrets(), ARN: e.require("KEYRING_SECRET_ARN")},
		Now:    e.now,
	}
}

// urlPolicy returns which endpoints a config may have.
func (e *Environment) urlPolicy() webhook.URLPolicy {
	return webhook.URLPolicy{AllowHTTP: e.sandbox(), Address: endpoint.NewGuard(e.allowPrivate()).Check}
}

func (e *Environment) metrics() *telemetry.Metrics {
	return &telemetry.Metrics{Out: e.machine.Out, Namespace: e.require("METRICS_NAMESPACE"), Now: e.now}
}
