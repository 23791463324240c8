// Package definition translates what the template declares into what the services take.
package definition

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/docuhook/docuhook/infra/local/internal/clock"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/gateway"
	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/lambda"
	"github.com/docuhook/docuhook/infra/local/internal/secretsmanager"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// Table is a table's schema.
func Table(t template.Table) dynamodb.Schema {
	key := func(k template.Key) dynamodb.Key {
		return dynamodb.Key{Name: k.Name, Type: attribute.Type(k.Type)}
	}
	schema := dynamodb.Schema{
		Name:         t.Name,
		ARN:          template.TableARN(t.Name),
		HashKey:      key(t.PartitionKey),
		RangeKey:     key(t.SortKey),
		Stream:       t.Stream,
		TTLAttribute: t.TTLAttribute,
	}
	if t.Stream {
		schema.StreamARN = template.StreamARN(t.Name)
	}
	add := func(indexes []template.Index, local bool) {
		for _, index := range indexes {
			schema.Indexes = append(schema.Indexes, dynamodb.Index{
				Name: index.Name, Local: local, HashKey: key(index.PartitionKey), RangeKey: key(index.SortKey),
				Projection: index.Projection, NonKeyAttributes: index.NonKeyAttributes,
			})
		}
	}
	add(t.Global, false)
	add(t.Local, true)
	return schema
}

// Queue is a queue with everything said, defaults too.
func Queue(q template.Queue) sqs.Definition {
	seconds := func(d time.Duration) *int {
		n := int(d / time.Second)
		return &n
	}
	definition := sqs.Definition{
		Name:                          q.Name,
		ARN:                           template.QueueARN(q.Name),
		VisibilityTimeout:             seconds(q.Visibility),
		MessageRetentionPeriod:        seconds(q.Retention),
		DelaySeconds:                  seconds(q.Delay),
		ReceiveMessageWaitTimeSeconds: seconds(q.ReceiveWait),
		MaximumMessageSize:            &q.MaxMessageBytes,
	}
	if q.DeadLetterQueue != "" {
		definition.Redrive = &sqs.Redrive{DeadLetterTargetARN: template.QueueARN(q.DeadLetterQueue), MaxReceiveCount: q.MaxReceiveCount}
	}
	return definition
}

// reserved says whether a function's variable may not be set: Lambda reserves the name, or it is how
// the function finds the services of this stack.
func reserved(name string) bool {
	switch name {
	case "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV", "AWS_ENDPOINT_URL", clock.Variable,
		"AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR":
		return true
	}
	return strings.HasPrefix(name, "AWS_LAMBDA_")
}

// Options are what a function is told, or not, beside what the template says.
type Options struct {
	Binaries string       // directory of the built functions
	Endpoint string       // of the AWS services
	Sandbox  bool         // endpoints may have private addresses
	Public   bool         // endpoints may be on other machines
	Bridge   string       // this machine's address in the network of its containers; "": they are not served
	CA       string       // file of certificates that endpoints may have, "" for the system's
	Clock    *clock.Clock // nil: the machine's
}

// Function is a function with the environment that Lambda gives it, and nothing of this
// process's own.
func Function(f template.Function, o Options) (lambda.Function, error) {
	environment := map[string]string{
		"AWS_REGION":                      template.Region,
		"AWS_DEFAULT_REGION":              template.Region,
		"AWS_ACCESS_KEY_ID":               identity.AccessKey(f.Name),
		"AWS_SECRET_ACCESS_KEY":           "local",
		"AWS_ENDPOINT_URL":                o.Endpoint,
		"AWS_LAMBDA_FUNCTION_NAME":        f.Name,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       f.LogGroup,
		"AWS_LAMBDA_LOG_FORMAT":           f.LogFormat,
		"_HANDLER":                        "bootstrap",
		"LAMBDA_TASK_ROOT":                o.Binaries,
		"LAMBDA_RUNTIME_DIR":              "/var/runtime",
		"LANG":                            "en_US.UTF-8",
		"TZ":                              ":UTC",
		"PATH":                            "/usr/local/bin:/usr/bin:/bin",
	}
	if f.LogLevel != "" {
		environment["AWS_LAMBDA_LOG_LEVEL"] = f.LogLevel
	}
	for name, value := range f.Environment {
		if reserved(name) {
			return lambda.Function{}, fmt.Errorf("%s: Environment: the variable %s is reserved", f.Name, name)
		}
		environment[name] = value
	}
	if o.Sandbox {
		// Endpoints of a developer are on this machine. A deployed function is never told so.
		environment["ALLOW_PRIVATE_ADDRESSES"] = "true"
	}
	if o.Clock != nil && o.Clock.Scale() != 1 {
		environment[clock.Variable] = o.Clock.String()
	}
	if !o.Public {
		// What is made up for a test may be somebody's host. The variable can only make a function stricter.
		environment["ONLY_LOOPBACK"] = cmp.Or(o.Bridge, "true")
	}
	if o.CA != "" {
		environment["SSL_CERT_FILE"] = o.CA // which crypto/x509 reads
	}
	result := lambda.Function{
		Name:     f.Name,
		ARN:      template.FunctionARN(f.Name),
		Path:     filepath.Join(o.Binaries, path.Base(f.Folder)),
		Dir:      o.Binaries,
		Timeout:  f.Timeout,
		MemoryMB: f.MemoryMB,
	}
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		result.Env = append(result.Env, name+"="+environment[name])
	}
	if f.Reserved != nil {
		if *f.Reserved == 0 {
			return lambda.Function{}, fmt.Errorf(
				"%s: ReservedConcurrentExecutions: 0, a function that is switched off, is not supported by the local stack", f.Name,
			)
		}
		result.Concurrency = *f.Reserved
	}
	return result, nil
}

// Gateway are the options of the API, but for what it needs to run.
func Gateway(t *template.Template) gateway.Options {
	options := gateway.Options{Account: template.Account, Region: template.Region}
	authorizers := map[string]*gateway.Authorizer{}
	if t.API != nil {
		options.API = t.API.Name
		if limit := t.API.Default; limit != nil {
			options.Throttle = rate.NewLimiter(rate.Limit(limit.RatePerSecond), limit.Burst)
		}
		for name, a := range t.API.Authorizers {
			authorizers[name] = &gateway.Authorizer{Name: name, Function: a.Function, Headers: a.Headers, Cache: a.Cache}
		}
	}
	for _, f := range t.Functions {
		for _, route := range f.Routes {
			options.Routes = append(options.Routes, gateway.Route{
				Method:     route.Method,
				Path:       route.Path,
				Function:   f.Name,
				Authorizer: authorizers[route.Authorizer],
			})
		}
	}
	return options
}

// Principals are the functions with their policies.
func Principals(functions []template.Function) []identity.Principal {
	var result []identity.Principal
	for _, f := range functions {
		result = append(result, identity.Principal{Function: f.Name, Statements: f.Statements})
	}
	return result
}

// Secret is a secret with its value, or how to make it.
func Secret(s template.Secret) secretsmanager.Definition {
	return secretsmanager.Definition{
		Name:                 s.Name,
		ARN:                  template.SecretARN(s.Name),
		SecretString:         s.Value,
		GenerateSecretString: s.Generate,
	}
}
