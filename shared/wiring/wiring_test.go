package wiring

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/signature"
	"github.com/docuhook/docuhook/shared/webhook"
)

// variables are those of a function in production.
func variables() map[string]string {
	return map[string]string{
		"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "session",
		"ENVIRONMENT": "production", "METRICS_NAMESPACE": "docuhook",
		"CONFIGS_TABLE": "configs", "DELIVERIES_TABLE": "deliveries", "DOCUMENTS_TABLE": "documents", "API_KEYS_TABLE": "keys",
		"EVENTS_TABLE": "events", "DELIVERY_QUEUE_URL": "https://sqs.example/queue", "RETRY_QUEUE_URL": "https://sqs.example/retry",
		"DISPATCH_RETRY_QUEUE_URL": "https://sqs.example/held-up", "KEYRING_SECRET_ARN": "arn:secret",
		"CONFIG_LIMIT": "100", "RESENDS_PER_MINUTE": "60", "TESTS_PER_MINUTE": "30",
		"RETRY_DELAYS": "10,60,300,900", "ENDPOINT_FAILURE_THRESHOLD": "20",
		"LOG_ENDPOINT_ANSWERS": "true", "DOCUMENT_URL_TEMPLATE": "https://documents.example/{document_id}",
	}
}

// stopped is what exit panics with in tests.
type stopped string

// environment has variables() with changes; an empty value takes one away. What stops it panics with
// the line that is logged.
func environment(changes map[string]string) *Environment {
	all := variables()
	maps.Copy(all, changes)
	var out bytes.Buffer
	return On(Machine{
		Getenv: func(name string) string { return all[name] },
		Out:    &out,
		Exit:   func(int) { panic(stopped(out.String())) },
		Now:    time.Now,
		Random: rand.Reader,
		Jitter: func() float64 { return 0 },
	})
}

// stops returns the line that f logs when it stops, "" if it does not.
func stops(f func()) (message string) {
	defer func() {
		if p := recover(); p != nil {
			message = string(p.(stopped))
		}
	}()
	f()
	return ""
}

func TestEnvironment(t *testing.T) {
	aws := slices.Clip([]string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})
	for part, test := range map[string]struct {
		build func(*Environment)
		needs []string
	}{
		"authorize": {
			func(e *Environment) { e.Authorize() },
			append(aws, "API_KEYS_TABLE"),
		},
		"dispatch": {
			func(e *Environment) { e.Dispatch() },
			append(aws, "CONFIGS_TABLE", "EVENTS_TABLE", "DELIVERY_QUEUE_URL", "RETRY_QUEUE_URL", "DISPATCH_RETRY_QUEUE_URL",
				"METRICS_NAMESPACE"),
		},
		"deliver": {
			func(e *Environment) { e.Deliver() },
			append(aws, "CONFIGS_TABLE", "DELIVERIES_TABLE", "DELIVERY_QUEUE_URL", "RETRY_QUEUE_URL", "KEYRING_SECRET_ARN",
				"RETRY_DELAYS", "ENDPOINT_FAILURE_THRESHOLD", "LOG_ENDPOINT_ANSWERS", "ENVIRONMENT", "METRICS_NAMESPACE"),
		},
		"sweep": {
			func(e *Environment) { e.Sweep() },
			append(aws, "DELIVERIES_TABLE", "RETRY_QUEUE_URL", "METRICS_NAMESPACE"),
		},
		"list-events": {
			func(e *Environment) { e.ListEvents() },
			append(aws, "EVENTS_TABLE"),
		},
		"get-event": {
			func(e *Environment) { e.GetEvent() },
			append(aws, "EVENTS_TABLE", "DELIVERIES_TABLE"),
		},
		"create-config": {
			func(e *Environment) { e.CreateConfig() },
			append(aws, "CONFIGS_TABLE", "KEYRING_SECRET_ARN", "CONFIG_LIMIT", "ENVIRONMENT"),
		},
		"list-configs": {
			func(e *Environment) { e.ListConfigs() },
			append(aws, "CONFIGS_TABLE"),
		},
		"get-config": {
			func(e *Environment) { e.GetConfig() },
			append(aws, "CONFIGS_TABLE"),
		},
		"update-config": {
			func(e *Environment) { e.UpdateConfig() },
			append(aws, "CONFIGS_TABLE", "KEYRING_SECRET_ARN", "ENVIRONMENT"),
		},
		"delete-config": {
			func(e *Environment) { e.DeleteConfig() },
			append(aws, "CONFIGS_TABLE"),
		},
		"rotate-secret": {
			func(e *Environment) { e.RotateSecret() },
			append(aws, "CONFIGS_TABLE", "KEYRING_SECRET_ARN"),
		},
		"list-deliveries": {
			func(e *Environment) { e.ListDeliveries() },
			append(aws, "DELIVERIES_TABLE", "EVENTS_TABLE", "CONFIGS_TABLE"),
		},
		"get-delivery": {
			func(e *Environment) { e.GetDelivery() },
			append(aws, "DELIVERIES_TABLE"),
		},
		"a resend of a delivery": {
			func(e *Environment) { e.ResendDelivery() },
			append(aws, "DELIVERIES_TABLE", "CONFIGS_TABLE", "DELIVERY_QUEUE_URL", "RETRY_QUEUE_URL", "RESENDS_PER_MINUTE"),
		},
		"a test": {
			func(e *Environment) { e.SendTest() },
			append(aws, "CONFIGS_TABLE", "DELIVERY_QUEUE_URL", "RETRY_QUEUE_URL", "TESTS_PER_MINUTE"),
		},
		"a resend": {
			func(e *Environment) { e.Resend() },
			append(aws, "CONFIGS_TABLE", "DOCUMENTS_TABLE", "EVENTS_TABLE", "DELIVERIES_TABLE", "RETRY_QUEUE_URL", "RESENDS_PER_MINUTE"),
		},
	} {
		t.Run(part+" can be built", func(t *testing.T) {
			if message := stops(func() { test.build(environment(nil)) }); message != "" {
				t.Error(message)
			}
		})
		for name := range variables() {
			t.Run(part+" without "+name, func(t *testing.T) {
				message := stops(func() { test.build(environment(map[string]string{name: ""})) })
				needed := slices.Contains(test.needs, name)
				if needed && !strings.Contains(message, `"environment variable `+name+` is not set"`) {
					t.Errorf("got %q, want a stop that names the variable", message)
				}
				if !needed && message != "" {
					t.Errorf("stops with %q", message)
				}
			})
		}
	}
}

func TestEnvironmentInvalid(t *testing.T) {
	for name, test := range map[string]struct {
		variable, value string
		build           func(*Environment)
	}{
		"a limit that is no number":     {"CONFIG_LIMIT", "many", func(e *Environment) { e.CreateConfig() }},
		"a limit of nothing":            {"CONFIG_LIMIT", "0", func(e *Environment) { e.CreateConfig() }},
		"a threshold below nothing":     {"ENDPOINT_FAILURE_THRESHOLD", "-1", func(e *Environment) { e.Deliver() }},
		"a threshold that is no number": {"ENDPOINT_FAILURE_THRESHOLD", "1.5", func(e *Environment) { e.Deliver() }},
		"too few delays":                {"RETRY_DELAYS", "10,60,300", func(e *Environment) { e.Deliver() }},
		"a delay that is no number":     {"RETRY_DELAYS", "10,60,300,soon", func(e *Environment) { e.Deliver() }},
		"answers that are kept perhaps": {"LOG_ENDPOINT_ANSWERS", "yes", func(e *Environment) { e.Deliver() }},
		"documents of dispatch nowhere": {
			"DOCUMENT_URL_TEMPLATE", "https://documents.example/", func(e *Environment) { e.Dispatch() },
		},
		"documents of tests in the clear": {
			"DOCUMENT_URL_TEMPLATE", "http://a.example/{document_id}", func(e *Environment) { e.SendTest() },
		},
		"documents of resends nowhere":       {"DOCUMENT_URL_TEMPLATE", "{document_id}", func(e *Environment) { e.Resend() }},
		"an environment that nobody knows":   {"ENVIRONMENT", "staging", func(e *Environment) { e.urlPolicy() }},
		"an environment in other characters": {"ENVIRONMENT", "Sandbox", func(e *Environment) { e.Deliver() }},
	} {
		t.Run(name, func(t *testing.T) {
			message := stops(func() { test.build(environment(map[string]string{test.variable: test.value})) })
			if !strings.Contains(message, "environment variable "+test.variable) {
				t.Errorf("got %q, want a stop that names %s", message, test.variable)
			}
		})
	}
	t.Run("a threshold of nothing turns it off", func(t *testing.T) {
		if d := environment(map[string]string{"ENDPOINT_FAILURE_THRESHOLD": "0"}).Deliver(); d.FailureThreshold != 0 {
			t.Errorf("got %d", d.FailureThreshold)
		}
	})
}

func TestAnswersAreKeptUnlessToldOtherwise(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Erika Mustermann is no customer of ours", http.StatusBadRequest)
	}))
	defer server.Close()
	credentials, err := signature.NewCredentials(nil)
	if err != nil {
		t.Fatal(err)
	}
	for kept, want := range map[string]string{"true": "Erika Mustermann is no customer of ours\n", "false": ""} {
		deliverer := environment(map[string]string{
			"ENVIRONMENT": "sandbox", "ALLOW_PRIVATE_ADDRESSES": "true", "LOG_ENDPOINT_ANSWERS": kept,
		}).Deliver()
		got := deliverer.Poster.Post(t.Context(), endpoint.Request{
			URL: server.URL, EventID: "evt_1", Key: "dlv_1", Attempt: 1, Current: credentials,
		})
		if got.Status != http.StatusBadRequest || got.Snippet != want {
			t.Errorf("LOG_ENDPOINT_ANSWERS=%s: status %d, kept %q, want %q", kept, got.Status, got.Snippet, want)
		}
	}
}

func TestURLPolicy(t *testing.T) {
	const (
		https     = "https://example.com/"
		http      = "http://example.com/"
		private   = "https://10.0.0.1/"
		loopback  = "http://127.0.0.1:8080/"
		localhost = "http://localhost/"
	)
	for name, test := range map[string]struct {
		variables map[string]string
		takes     []string
	}{
		"production takes https to public hosts": {
			variables: map[string]string{"ENVIRONMENT": "production"},
			takes:     []string{https},
		},
		"production does so even if asked for private addresses": {
			variables: map[string]string{"ENVIRONMENT": "production", "ALLOW_PRIVATE_ADDRESSES": "true"},
			takes:     []string{https},
		},
		"a sandbox takes http too, to public hosts": {
			variables: map[string]string{"ENVIRONMENT": "sandbox"},
			takes:     []string{https, http},
		},
		"a sandbox takes private addresses when asked": {
			variables: map[string]string{"ENVIRONMENT": "sandbox", "ALLOW_PRIVATE_ADDRESSES": "true"},
			takes:     []string{https, http, private, loopback, localhost},
		},
		"a sandbox asked in other words does not": {
			variables: map[string]string{"ENVIRONMENT": "sandbox", "ALLOW_PRIVATE_ADDRESSES": "yes"},
			takes:     []string{https, http},
		},
	} {
		t.Run(name, func(t *testing.T) {
			policy := environment(test.variables).urlPolicy()
			for _, raw := range []string{https, http, private, loopback, localhost} {
				c := validConfig(raw)
				if problems := c.Validate(policy); (len(problems) == 0) != slices.Contains(test.takes, raw) {
					t.Errorf("%s: %v", raw, problems)
				}
			}
		})
	}
}

func TestGuard(t *testing.T) {
	const loopback, private, public = "127.0.0.1", "10.0.0.1", "8.8.8.8"
	for name, test := range map[string]struct {
		variables map[string]string
		called    []string
	}{
		"production calls public addresses": {
			variables: map[string]string{"ENVIRONMENT": "production"},
			called:    []string{public},
		},
		"production asked for private ones still does": {
			variables: map[string]string{"ENVIRONMENT": "production", "ALLOW_PRIVATE_ADDRESSES": "true"},
			called:    []string{public},
		},
		"production restricted to this machine calls nothing": {
			variables: map[string]string{"ENVIRONMENT": "production", "ALLOW_PRIVATE_ADDRESSES": "true", "ONLY_LOOPBACK": "true"},
			called:    nil,
		},
		"a sandbox calls public addresses": {
			variables: map[string]string{"ENVIRONMENT": "sandbox"},
			called:    []string{public},
		},
		"a sandbox restricted to this machine, but not to private": {
			variables: map[string]string{"ENVIRONMENT": "sandbox", "ONLY_LOOPBACK": "true"},
			called:    nil,
		},
		"a sandbox asked for private addresses calls all": {
			variables: map[string]string{"ENVIRONMENT": "sandbox", "ALLOW_PRIVATE_ADDRESSES": "true"},
			called:    []string{loopback, private, public},
		},
		"a sandbox asked for them on this machine calls only that": {
			variables: map[string]string{"ENVIRONMENT": "sandbox", "ALLOW_PRIVATE_ADDRESSES": "true", "ONLY_LOOPBACK": "true"},
			called:    []string{loopback},
		},
		"and the one address that counts as this machine's": {
			variables: map[string]string{"ENVIRONMENT": "sandbox", "ALLOW_PRIVATE_ADDRESSES": "true", "ONLY_LOOPBACK": private},
			called:    []string{loopback, private},
		},
		"which counts for nothing in production": {
			variables: map[string]string{"ENVIRONMENT": "production", "ALLOW_PRIVATE_ADDRESSES": "true", "ONLY_LOOPBACK": private},
			called:    nil,
		},
		"a sandbox restricted in other words is not, and not loosened": {
			variables: map[string]string{"ENVIRONMENT": "sandbox", "ONLY_LOOPBACK": "false"},
			called:    []string{public},
		},
	} {
		t.Run(name, func(t *testing.T) {
			guard := environment(test.variables).guard()
			var called []string
			for _, address := range []string{loopback, private, public} {
				if guard.Control("tcp4", address+":443", nil) == nil {
					called = append(called, address)
				}
			}
			if !slices.Equal(called, test.called) {
				t.Errorf("calls %v, want %v", called, test.called)
			}
		})
	}
}

func TestTablesShareConnections(t *testing.T) {
	e := environment(nil)
	if e.configs().Client != e.deliveries().Client {
		t.Error("two tables have two clients")
	}
}

func TestEndpoint(t *testing.T) {
	if got := environment(nil).aws().BaseEndpoint; got != nil {
		t.Errorf("without AWS_ENDPOINT_URL requests go to %s", *got)
	}
	got := environment(map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}).aws()
	if got.BaseEndpoint == nil || *got.BaseEndpoint != "http://127.0.0.1:4566" {
		t.Errorf("AWS_ENDPOINT_URL is passed over")
	}
	credentials, err := got.Credentials.Retrieve(t.Context())
	if err != nil || credentials.AccessKeyID != "id" || credentials.SecretAccessKey != "key" || credentials.SessionToken != "session" {
		t.Errorf("credentials %v, %v", credentials.AccessKeyID, err)
	}
}

func TestExitNamesWhatIsWrong(t *testing.T) {
	var out bytes.Buffer
	code := 0
	e := On(Machine{Getenv: func(string) string { return "" }, Out: &out, Exit: func(c int) {
		code = c
		panic(stopped("exit"))
	}})
	if stops(func() { e.GetConfig() }) != "exit" || code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, part := range []string{`"environment variable AWS_REGION is not set"`, `"level":"ERROR"`} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the log says %s, not %s", out.String(), part)
		}
	}
}

func TestLogLevelIsLambdas(t *testing.T) {
	for level, want := range map[string]bool{"DEBUG": true, "INFO": false, "": false, "nonsense": false} {
		if got := environment(map[string]string{"AWS_LAMBDA_LOG_LEVEL": level}).log.Enabled(t.Context(), slog.LevelDebug); got != want {
			t.Errorf("%q: debug lines %t, want %t", level, got, want)
		}
	}
}

func validConfig(url string) webhook.Config {
	return webhook.Config{URL: url, SubscribedStatuses: []webhook.Status{webhook.Processed}}
}

func TestNow(t *testing.T) {
	for name, test := range map[string]struct {
		variable string
		want     time.Duration // since the bubble's time began, an hour after it did
		stops    bool
	}{
		"is the machine's time":                      {variable: "", want: time.Hour},
		"is that of the local stack's faster clock":  {variable: "2000-01-01T00:00:00Z 60 0s", want: 60 * time.Hour},
		"may have begun later than the machine's":    {variable: "2000-01-01T00:30:00Z 3 0s", want: 2 * time.Hour},
		"may be ahead of the local stack's":          {variable: "2000-01-01T00:00:00Z 1 1m30s", want: time.Hour + 90*time.Second},
		"may be behind it":                           {variable: "2000-01-01T00:00:00Z 2 -1h", want: time.Hour},
		"is not guessed without how far it is ahead": {variable: "2000-01-01T00:00:00Z 60", stops: true},
		"is not guessed without a scale":             {variable: "2000-01-01T00:00:00Z 0s", stops: true},
		"is not guessed without a start":             {variable: "60 0s", stops: true},
		"may stand still":                            {variable: "2000-01-01T00:00:00Z 0 0s", want: 0},
		"is not that of a clock that runs backwards": {variable: "2000-01-01T00:00:00Z -1 0s", stops: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				time.Sleep(time.Hour)
				var e *Environment
				message := stops(func() { e = environment(map[string]string{"LOCAL_CLOCK": test.variable}) })
				if (message != "") != test.stops {
					t.Fatalf("stops with %q, want that it does: %t", message, test.stops)
				}
				if test.stops {
					return
				}
				if got := e.now().Sub(began); got != test.want {
					t.Errorf("it is %s after the beginning, want %s", got, test.want)
				}
			})
		})
	}
}

// TestServices calls each service twice, as AWS would be called and where AWS_ENDPOINT_URL says, and looks who is asked.
func TestServices(t *testing.T) {
	for name, test := range map[string]struct {
		url, tables, queues string
	}{
		"those of the region":       {tables: "dynamodb.eu-central-1.amazonaws.com", queues: "sqs.eu-central-1.amazonaws.com"},
		"those of AWS_ENDPOINT_URL": {url: "http://127.0.0.1:4566", tables: "127.0.0.1:4566", queues: "127.0.0.1:4566"},
	} {
		t.Run(name, func(t *testing.T) {
			e := environment(map[string]string{"AWS_ENDPOINT_URL": test.url})
			tables, queues := e.dynamo(), e.sqs()
			var asked []string
			e.transport.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err == nil && port != "443" {
					host = address
				}
				asked = append(asked, host)
				return nil, errors.Join(err, errors.New("nobody is there"))
			}
			for range 2 {
				once, onceToo := func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 }, func(o *sqs.Options) { o.RetryMaxAttempts = 1 }
				if _, err := tables.ListTables(t.Context(), &dynamodb.ListTablesInput{}, once); err == nil {
					t.Error("tables were listed")
				}
				if _, err := queues.ListQueues(t.Context(), &sqs.ListQueuesInput{}, onceToo); err == nil {
					t.Error("queues were listed")
				}
			}
			if want := []string{test.tables, test.queues, test.tables, test.queues}; !slices.Equal(asked, want) {
				t.Errorf("asked %v, want %v", asked, want)
			}
		})
	}
}

// TestStartBuildsNoSchemas keeps out what took a third of every cold start: go.mod says more.
func TestStartBuildsNoSchemas(t *testing.T) {
	packages, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/docuhook/docuhook/functions/deliver").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(string(packages)) {
		if strings.HasSuffix(name, "/schemas\n") {
			t.Errorf("deliver builds the schemas of %s", name)
		}
	}
}

func TestBodiesThatTheSDKHasClosedAreAtTheirEnd(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	sdk, err := smithyhttp.NewStackRequest().(*smithyhttp.Request).SetStream(strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	sdk.Method = http.MethodPost
	if sdk.URL, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	request := sdk.Build(t.Context())
	sent := request.Body
	answer, err := Transport{http.DefaultTransport.(*http.Transport)}.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	request.Body.Close() // as the SDK does
	if _, err := sent.(io.WriterTo).WriteTo(io.Discard); err != io.EOF {
		t.Errorf("the SDK's body says %v, so it is open, and net/http may read what the SDK sends with another try", err)
	}
	if n, err := io.Copy(io.Discard, request.Body); n != 0 || err != nil {
		t.Errorf("net/http, which looks for more, finds %d bytes, %v", n, err)
	}
}
