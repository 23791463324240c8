package wiring

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
)

// Transport sends the requests of the SDK's clients without an http.Client around it, which would copy each of them to look
// for redirects and cookies that no service has.
type Transport struct{ *http.Transport }

// Do implements aws.HTTPClient.
func (t Transport) Do(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		request.Body = body{request.Body}
	}
	return t.RoundTrip(request)
}

// body is a request's body without the WriteTo of the SDK's. The SDK closes a body when the answer begins, so that what
// net/http has not read of it by then can be sent with another try. net/http looks whether more follows what it has written,
// and may do so late, as on a busy machine: Read then tells the end, but WriteTo an error, for which net/http would close
// the connection under the answer.
type body struct{ io.ReadCloser }

// fixed is where a service is, found out at the first request: the SDK would evaluate the rules for each, and what they
// depend on, the region, does not change. P are the service's EndpointParameters.
type fixed[P any] struct {
	resolver interface {
		ResolveEndpoint(ctx context.Context, parameters P) (smithyendpoints.Endpoint, error)
	}

	once     sync.Once
	endpoint smithyendpoints.Endpoint
	err      error
}

// ResolveEndpoint implements the service's EndpointResolverV2.
func (f *fixed[P]) ResolveEndpoint(ctx context.Context, parameters P) (smithyendpoints.Endpoint, error) {
	f.once.Do(func() { f.endpoint, f.err = f.resolver.ResolveEndpoint(ctx, parameters) })
	return f.endpoint, f.err
}

func (e *Environment) aws() aws.Config {
	if e.transport == nil {
		e.transport = awshttp.NewBuildableClient().GetTransport()
		e.transport.MaxIdleConnsPerHost = 32 // as many calls as a batch of dispatch has under way
	}
	config := aws.Config{
		Region: e.require("AWS_REGION"),
		Credentials: credentials.NewStaticCredentialsProvider(
			e.require("AWS_ACCESS_KEY_ID"),
			e.require("AWS_SECRET_ACCESS_KEY"),
			e.machine.Getenv("AWS_SESSION_TOKEN"),
		),
		HTTPClient: Transport{e.transport},
	}
	if url := e.machine.Getenv("AWS_ENDPOINT_URL"); url != "" {
		config.BaseEndpoint = &url
	}
	return config
}

func (e *Environment) dynamo() *dynamodb.Client {
	if e.tables == nil {
		e.tables = dynamodb.NewFromConfig(e.aws(), func(o *dynamodb.Options) {
			o.EndpointResolverV2 = &fixed[dynamodb.EndpointParameters]{resolver: dynamodb.NewDefaultEndpointResolverV2()}
		})
	}
	return e.tables
}

func (e *Environment) sqs(options ...func(*sqs.Options)) *sqs.Client {
	return sqs.NewFromConfig(e.aws(), append(options, func(o *sqs.Options) {
		o.EndpointResolverV2 = &fixed[sqs.EndpointParameters]{resolver: sqs.NewDefaultEndpointResolverV2()}
	})...)
}

func (e *Environment) secrets() *secretsmanager.Client { return secretsmanager.NewFromConfig(e.aws()) }
