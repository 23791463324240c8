// Package wiring builds the parts of a function from its environment.
//
// It is the only place that reads environment variables and the clock of the machine. A variable
// that is missing or makes no sense stops the function before it serves, with a message that names
// it. The AWS configuration is put together by hand: in Lambda, region and credentials are
// variables, and the default chain would only add to the binary and so to the cold start.
package wiring

import (
	"crypto/rand"
	"fmt"
	"io"
	standardlog "log"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/queue"
	"github.com/docuhook/docuhook/shared/secrets"
	"github.com/docuhook/docuhook/shared/telemetry"
	"github.com/docuhook/docuhook/shared/webhook"
)

// Environment is what a function finds around it. It is for one goroutine at a time.
type Environment struct {
	getenv func(string) string
	exit   func(message string)
	log    *slog.Logger
	out    io.Writer

	tables *dynamodb.Client // of all tables, so that they share connections; nil until it is needed
}

// New returns the environment of this process.
func New() *Environment {
	e := newEnvironment(os.Getenv, os.Stdout, os.Exit)
	standardlog.SetFlags(0)
	standardlog.SetOutput(telemetry.StandardLog(e.log)) // net/http writes there
	return e
}

func newEnvironment(getenv func(string) string, out io.Writer, exit func(code int)) *Environment {
	level := slog.LevelInfo
	// Set by Lambda from LoggingConfig; anything else leaves the default.
	_ = level.UnmarshalText([]byte(getenv("AWS_LAMBDA_LOG_LEVEL")))
	log := telemetry.NewLogger(out, level)
	return &Environment{
		getenv: getenv,
		exit: func(message string) {
			log.Error("function cannot start", "error", message)
			exit(1)
		},
		log: log,
		out: out,
	}
}

// require returns a variable that must be there.
func (e *Environment) require(name string) string {
	value := e.getenv(name)
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
	return e.sandbox() && e.getenv("ALLOW_PRIVATE_ADDRESSES") == "true"
}

// guard returns the guard of the addresses that are called. OnlyLoopback can only make it stricter.
func (e *Environment) guard() *endpoint.Guard {
	guard := endpoint.NewGuard(e.allowPrivate())
	guard.OnlyLoopback = e.getenv("ONLY_LOOPBACK") == "true"
	return guard
}

func (e *Environment) aws() aws.Config {
	config := aws.Config{
		Region:      e.require("AWS_REGION"),
		Credentials: credentials.NewStaticCredentialsProvider(e.require("AWS_ACCESS_KEY_ID"), e.require("AWS_SECRET_ACCESS_KEY"), e.getenv("AWS_SESSION_TOKEN")),
	}
	if url := e.getenv("AWS_ENDPOINT_URL"); url != "" {
		config.BaseEndpoint = &url
	}
	return config
}

func (e *Environment) dynamo() *dynamodb.Client {
	if e.tables == nil {
		e.tables = dynamodb.NewFromConfig(e.aws())
	}
	return e.tables
}

// Configs returns the table of configs.
func (e *Environment) Configs() *dynamo.Configs {
	return &dynamo.Configs{Client: e.dynamo(), Table: e.require("CONFIGS_TABLE")}
}

// Deliveries returns the delivery log.
func (e *Environment) Deliveries() *dynamo.Deliveries {
	return &dynamo.Deliveries{Client: e.dynamo(), Table: e.require("DELIVERIES_TABLE")}
}

// Documents returns the table of documents.
func (e *Environment) Documents() *dynamo.Documents {
	return &dynamo.Documents{Client: e.dynamo(), Table: e.require("DOCUMENTS_TABLE")}
}

// APIKeys returns the table of API keys.
func (e *Environment) APIKeys() *dynamo.APIKeys {
	return &dynamo.APIKeys{Client: e.dynamo(), Table: e.require("API_KEYS_TABLE")}
}

// Queue returns the delivery queue.
func (e *Environment) Queue() *queue.Queue {
	return &queue.Queue{Client: sqs.NewFromConfig(e.aws()), URL: e.require("DELIVERY_QUEUE_URL"), Now: e.Now}
}

// Keyring returns the keyring.
func (e *Environment) Keyring() *keyring.Cache {
	return &keyring.Cache{
		Source: &secrets.Secret{Client: secretsmanager.NewFromConfig(e.aws()), ARN: e.require("KEYRING_SECRET_ARN")},
		Now:    e.Now,
	}
}

// URLPolicy returns which endpoints a config may have.
func (e *Environment) URLPolicy() webhook.URLPolicy {
	return webhook.URLPolicy{AllowHTTP: e.sandbox(), Address: endpoint.NewGuard(e.allowPrivate()).Check}
}

// ConfigLimit returns how many configs an organization may have.
func (e *Environment) ConfigLimit() int { return e.number("CONFIG_LIMIT", 1) }

// Now returns the time.
func (e *Environment) Now() time.Time { return time.Now() }

// Random returns a source of random bytes fit for secrets.
func (e *Environment) Random() io.Reader { return rand.Reader }

// Dispatcher returns the handler of the dispatch function.
func (e *Environment) Dispatcher() *dispatch.Dispatcher {
	return &dispatch.Dispatcher{Configs: e.Configs(), Queue: e.Queue(), Metrics: e.metrics(), Log: e.log}
}

// Deliverer returns the handler of the deliver function.
func (e *Environment) Deliverer() *delivery.Deliverer {
	schedule, err := delivery.ParseSchedule(e.require("RETRY_DELAYS"))
	if err != nil {
		e.exit("environment variable RETRY_DELAYS: " + err.Error())
	}
	configs := e.Configs()
	return &delivery.Deliverer{
		Store:       &dynamo.Log{Deliveries: e.Deliveries(), Configs: configs},
		Health:      configs,
		Queue:       e.Queue(),
		Credentials: e.Keyring(),
		Poster: endpoint.NewClient(endpoint.ClientOptions{
			Guard: e.guard(), AllowHTTP: e.sandbox(), Now: e.Now,
		}),
		Schedule:         schedule,
		FailureThreshold: e.number("ENDPOINT_FAILURE_THRESHOLD", 0),
		Metrics:          e.metrics(),
		Log:              e.log,
		Now:              e.Now,
		Random:           mathrand.Float64,
	}
}

func (e *Environment) metrics() *telemetry.Metrics {
	return &telemetry.Metrics{Out: e.out, Namespace: e.require("METRICS_NAMESPACE"), Now: e.Now}
}

// ServeAPI runs an API function with the operations of its routes. It does not return.
func (e *Environment) ServeAPI(operations map[string]api.Operation) {
	lambda.Start(api.Handler(e.log, operations))
}
