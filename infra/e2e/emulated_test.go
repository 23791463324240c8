package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// emulator is a MiniStack into which `sam deploy` has put the template, as it would into an account:
// the template's transform, CloudFormation, the functions and what they talk to are MiniStack's. It
// runs the functions as processes of this machine, so they are built for it.
//
// What MiniStack lacks is made up for here, and never in the template:
//
//   - Alarms on metric math are refused: they are deployed as alarms on a metric.
//   - MaximumConcurrency from a parameter or a mapping stays a string, which stops its poller: it is a number.
//   - The body of an HTTP API is ignored: its routes and authorizer are created through its API.
//   - The output ApiUrl is an address of AWS: a proxy stands for it.
//   - StartMessageMoveTask is unknown: the messages are moved one by one, to RetryQueue, where fifth failures come from.
//   - In a stream's batch it passes over what the function reports as failed, and it never bisects one.
//     No test here relies on either; infra/local/internal/eventsource has those that do.
//   - Policies are not enforced, and recursion through queues is neither counted nor stopped. The local stack does both.
//   - Its functions cannot be killed, its services do not fail on demand and its clock cannot be hurried: the tests that
//     need that skip themselves and say so, and attempts follow each other after a second, by the parameter RetryDelays.
type emulator struct {
	command  *exec.Cmd
	output   *output
	endpoint string
	api      *httptest.Server
	folder   string
}

const (
	emulatedStack  = "docuhook"
	emulatedRegion = "us-east-1"
)

// emulatedParameters are those of the deployment.
var emulatedParameters = []string{
	"Environment=sandbox", "RetryDelays=" + quickRetries,
	"ApiRateLimit=10000", "ApiBurstLimit=10000",
}

// startEmulated starts MiniStack, deploys the template to it and finds the stack by its outputs.
func startEmulated(ministack, sam string) (found *system, err error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	e := &emulator{output: &output{}}
	if e.folder, err = os.MkdirTemp("", "docuhook-emulated-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.stop()
		}
	}()
	if err := e.lay(root); err != nil {
		return nil, err
	}
	if err := e.start(ministack); err != nil {
		return nil, err
	}
	if err := e.deploy(sam); err != nil {
		return nil, err
	}
	if err := e.createRoutes(); err != nil {
		return nil, fmt.Errorf("creating the routes of the API: %w", err)
	}
	if found, err = deployed(emulatedStack, e.config()); err != nil {
		return nil, err
	}
	found.api, found.emulator = e.api.URL, e
	return found, nil
}

func (e *emulator) config() aws.Config {
	return aws.Config{
		Region: emulatedRegion, BaseEndpoint: &e.endpoint, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

// lay puts the template and the functions where `sam deploy` finds them.
func (e *emulator) lay(root string) error {
	build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(e.folder, "built")+"/", "./functions/...")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the functions: %w\n%s", err, out)
	}
	binaries, err := os.ReadDir(filepath.Join(e.folder, "built"))
	if err != nil {
		return err
	}
	for _, binary := range binaries {
		folder := filepath.Join(e.folder, "functions", binary.Name())
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(e.folder, "built", binary.Name()), filepath.Join(folder, "bootstrap")); err != nil {
			return err
		}
	}
	template, err := os.ReadFile(filepath.Join(root, "template.yaml"))
	if err != nil {
		return err
	}
	for _, replace := range []struct{ what, pattern, with string }{
		{
			what: "alarms on metric math", pattern: `(?m)^      Metrics:\n(?:        .*\n)+`,
			with: "      Namespace: Emulated\n      MetricName: None\n      Statistic: Sum\n      Period: 60\n",
		},
		{what: "MaximumConcurrency", pattern: `MaximumConcurrency: !.*`, with: "MaximumConcurrency: 4"},
	} {
		pattern := regexp.MustCompile(replace.pattern)
		if !pattern.Match(template) {
			return fmt.Errorf("the template has no %s any more", replace.what)
		}
		template = pattern.ReplaceAll(template, []byte(replace.with))
	}
	return os.WriteFile(filepath.Join(e.folder, "template.yaml"), template, 0o644)
}

// start starts MiniStack on a free port of the loopback interface.
func (e *emulator) start(ministack string) error {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := free.Addr().String()
	free.Close()
	e.endpoint = "http://" + address
	_, port, _ := net.SplitHostPort(address)
	e.command = exec.Command(ministack)
	e.command.Env = append(e.environment(),
		"GATEWAY_PORT="+port, "BIND_HOST=127.0.0.1", "MINISTACK_HOST=127.0.0.1", "IOT_MTLS_ENABLED=0",
		"TMPDIR="+e.folder,             // it leaves the functions' code there
		"ALLOW_PRIVATE_ADDRESSES=true", // the functions inherit it; the receivers are on this machine
	)
	e.command.Dir = e.folder
	e.command.Stdout, e.command.Stderr = e.output, e.output
	e.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.command.Start(); err != nil {
		return fmt.Errorf("starting MiniStack: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.command.Wait() }()
	if _, err := e.output.waitFor(regexp.MustCompile(`(Running on http)`), ended); err != nil {
		return fmt.Errorf("starting MiniStack: %w\n%s", err, e.output)
	}
	return nil
}

// environment is that of MiniStack and of what talks to it: without this machine's account.
func (e *emulator) environment() []string {
	own := slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "AWS_") })
	return append(own, "AWS_ENDPOINT_URL="+e.endpoint, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
		"AWS_REGION="+emulatedRegion, "AWS_DEFAULT_REGION="+emulatedRegion, "SAM_CLI_TELEMETRY=0")
}

// stop ends MiniStack and the functions that it runs.
func (e *emulator) stop() {
	if e.api != nil {
		e.api.Close()
	}
	if e.command != nil && e.command.Process != nil {
		syscall.Kill(-e.command.Process.Pid, syscall.SIGKILL)
	}
	os.RemoveAll(e.folder)
}

// deploy runs `sam deploy`.
func (e *emulator) deploy(sam string) error {
	const bucket = "packages"
	if err := e.request("s3", http.MethodPut, "/"+bucket, nil, nil); err != nil {
		return fmt.Errorf("creating a bucket: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	deploy := exec.CommandContext(ctx, sam, append([]string{
		"deploy", "--template-file", filepath.Join(e.folder, "template.yaml"), "--stack-name", emulatedStack, "--s3-bucket", bucket,
		"--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar", "--parameter-overrides",
	}, emulatedParameters...)...)
	deploy.Dir = e.folder // away from samconfig.toml
	deploy.Env = e.environment()
	if out, err := deploy.CombinedOutput(); err != nil {
		return fmt.Errorf("sam deploy: %w\n%s\nMiniStack has printed:\n%s", err, out, e.output)
	}
	return nil
}

// request makes a request of one of MiniStack's services. It looks at the scope of a signature only.
func (e *emulator) request(service, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, e.endpoint+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	scope := "test/20260101/" + emulatedRegion + "/" + service + "/aws4_request"
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+scope+", SignedHeaders=host, Signature=0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// openAPI is what SAM makes of the routes of an HTTP API.
type openAPI struct {
	Paths map[string]map[string]struct {
		Integration struct {
			URI                  json.RawMessage `json:"uri"`
			PayloadFormatVersion string          `json:"payloadFormatVersion"`
		} `json:"x-amazon-apigateway-integration"`
		Security []map[string][]string `json:"security"`
	} `json:"paths"`
	Components struct {
		SecuritySchemes map[string]struct {
			Authorizer struct {
				URI                  json.RawMessage `json:"authorizerUri"`
				IdentitySource       []string        `json:"identitySource"`
				PayloadFormatVersion string          `json:"authorizerPayloadFormatVersion"`
				SimpleResponses      bool            `json:"enableSimpleResponses"`
			} `json:"x-amazon-apigateway-authorizer"`
		} `json:"securitySchemes"`
	} `json:"components"`
}

// createRoutes creates the routes that are in the API's body, and the proxy that stands for its URL.
func (e *emulator) createRoutes() error {
	ctx := context.Background()
	client := cloudformation.NewFromConfig(e.config())
	template, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{
		StackName: aws.String(emulatedStack), TemplateStage: types.TemplateStageProcessed,
	})
	if err != nil {
		return err
	}
	var processed struct {
		Resources struct {
			Api struct{ Properties struct{ Body openAPI } }
		}
	}
	if err := json.Unmarshal([]byte(aws.ToString(template.TemplateBody)), &processed); err != nil {
		return err
	}
	resources, err := client.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: aws.String(emulatedStack)})
	if err != nil {
		return err
	}
	physical := map[string]string{}
	for _, resource := range resources.StackResources {
		physical[aws.ToString(resource.LogicalResourceId)] = aws.ToString(resource.PhysicalResourceId)
	}
	// A URI is a call of Fn::Sub, in either of its forms, with the logical id of a function.
	function := regexp.MustCompile(`\b[A-Z]\w+Function\b`)
	resolve := func(uri json.RawMessage) string {
		arn := "arn:aws:lambda:" + emulatedRegion + ":000000000000:function:" + physical[string(function.Find(uri))]
		return "arn:aws:apigateway:" + emulatedRegion + ":lambda:path/2015-03-31/functions/" + arn + "/invocations"
	}

	api := "/v2/apis/" + physical["Api"]
	body := processed.Resources.Api.Properties.Body
	authorizers := map[string]string{}
	for name, scheme := range body.Components.SecuritySchemes {
		var created struct{ AuthorizerID string }
		err := e.request("apigateway", http.MethodPost, api+"/authorizers", map[string]any{
			"name": name, "authorizerType": "REQUEST", "authorizerUri": resolve(scheme.Authorizer.URI),
			"identitySource":                 scheme.Authorizer.IdentitySource,
			"authorizerPayloadFormatVersion": scheme.Authorizer.PayloadFormatVersion,
			"enableSimpleResponses":          scheme.Authorizer.SimpleResponses,
		}, &created)
		if err != nil {
			return err
		}
		authorizers[name] = created.AuthorizerID
	}
	routes := 0
	for path, methods := range body.Paths {
		for method, operation := range methods {
			var integration struct{ IntegrationID string }
			err := e.request("apigateway", http.MethodPost, api+"/integrations", map[string]any{
				"integrationType": "AWS_PROXY", "integrationMethod": "POST", "integrationUri": resolve(operation.Integration.URI),
				"payloadFormatVersion": operation.Integration.PayloadFormatVersion,
			}, &integration)
			if err != nil {
				return err
			}
			route := map[string]any{"routeKey": strings.ToUpper(method) + " " + path, "target": "integrations/" + integration.IntegrationID}
			for _, security := range operation.Security {
				for name := range security {
					route["authorizationType"], route["authorizerId"] = "CUSTOM", authorizers[name]
				}
			}
			if err := e.request("apigateway", http.MethodPost, api+"/routes", route, nil); err != nil {
				return err
			}
			routes++
		}
	}
	if routes == 0 || len(authorizers) == 0 {
		return fmt.Errorf("the processed template has %d routes and %d authorizers", routes, len(authorizers))
	}
	target, err := url.Parse(e.endpoint + "/_aws/execute-api/" + physical["Api"] + "/$default")
	if err != nil {
		return err
	}
	e.api = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	return nil
}

// moveDeadLetters does what a message move task does.
func (e *emulator) moveDeadLetters(t *testing.T) {
	t.Helper()
	from, to := under.outputs["DeliveryDeadLetterQueue"], under.outputs["RetryQueue"]
	for {
		received, err := under.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &from, MaxNumberOfMessages: 10,
			MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameMessageGroupId},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(received.Messages) == 0 {
			return
		}
		for _, message := range received.Messages {
			group := message.Attributes[string(sqstypes.MessageSystemAttributeNameMessageGroupId)]
			again := &sqs.SendMessageInput{QueueUrl: &to, MessageBody: message.Body, MessageGroupId: &group}
			if _, err := under.sqs.SendMessage(t.Context(), again); err != nil {
				t.Fatal(err)
			}
			done := &sqs.DeleteMessageInput{QueueUrl: &from, ReceiptHandle: message.ReceiptHandle}
			if _, err := under.sqs.DeleteMessage(t.Context(), done); err != nil {
				t.Fatal(err)
			}
		}
	}
}
