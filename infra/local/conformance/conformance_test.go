// Package conformance is one black-box suite of how the AWS services behave, as far as this system and
// its tools depend on it. It runs against the local stack's services in every test run, and on demand
// against other implementations of the same services:
//
//	go test ./infra/local/conformance -moto moto_server -dynalite dynalite -dynoxide dynoxide
//
// Moto has all of them, dynalite and dynoxide have DynamoDB: dynalite was made beside AWS's own and counts
// capacity, dynoxide is compared with it to this day and knows PartiQL.
//
// A case does something and says in one line what came of it. The line that AWS documents is beside
// it. Where another implementation differs, differences_test.go says how and why, and the suite
// checks that it still does.
package conformance

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	localdynamodb "github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	localsecrets "github.com/docuhook/docuhook/infra/local/internal/secretsmanager"
	localsqs "github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/shared/wiring"
)

var (
	motoServer      = flag.String("moto", "", "run the suite against this moto_server `command`")
	dynaliteCommand = flag.String("dynalite", "", "run the suite against this dynalite `command`")
	dynoxideCommand = flag.String("dynoxide", "", "run the suite against this dynoxide `command`")
)

// Implementations of the services.
const (
	stack    = "the local stack"
	moto     = "moto"
	dynalite = "dynalite"
	dynoxide = "dynoxide"
)

// Names of what every implementation has. The queues are small: a message dies after one receive.
const (
	orders      = "orders" // customer (S), number (N); index by_state: state (S), number (N), keys only; stream of both images
	work, dead  = "work", "dead"
	secret      = "keyring"
	firstSecret = `{"primary":"k1"}`
)

// services are the clients of one implementation.
type services struct {
	dynamodb *dynamodb.Client
	streams  *dynamodbstreams.Client
	sqs      *sqs.Client
	secrets  *secretsmanager.Client
	shard    *string // the only one, of an implementation that does not describe its streams
}

// behaviour is one case. run returns what came of it, in one line.
type behaviour struct {
	name string
	run  func(context.Context, services) string
	want string
}

func connect(endpoint string) services {
	configuration := aws.Config{
		Region:           "us-east-1",
		BaseEndpoint:     &endpoint,
		RetryMaxAttempts: 1,
		Credentials:      credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient:       wiring.Transport{Transport: &http.Transport{}},
	}
	return services{
		dynamodb: dynamodb.NewFromConfig(configuration), streams: dynamodbstreams.NewFromConfig(configuration),
		sqs: sqs.NewFromConfig(configuration), secrets: secretsmanager.NewFromConfig(configuration),
	}
}

func TestLocalStack(t *testing.T) {
	database := localdynamodb.New(localdynamodb.Options{})
	key := func(name string, kind attribute.Type) localdynamodb.Key {
		return localdynamodb.Key{Name: name, Type: kind}
	}
	if err := database.CreateTable(localdynamodb.Schema{
		Name:     orders,
		HashKey:  key("customer", attribute.String),
		RangeKey: key("number", attribute.Number),
		Stream:   true,
		Indexes: []localdynamodb.Index{{
			Name:       "by_state",
			HashKey:    key("state", attribute.String),
			RangeKey:   key("number", attribute.Number),
			Projection: localdynamodb.ProjectKeysOnly,
		}},
	}); err != nil {
		t.Fatal(err)
	}
	broker := localsqs.New(localsqs.Options{})
	err := broker.CreateQueue(
		localsqs.Definition{
			Name:    work,
			Redrive: &localsqs.Redrive{DeadLetterTargetARN: "arn:aws:sqs:us-east-1:000000000000:" + dead, MaxReceiveCount: 1},
		},
		localsqs.Definition{Name: dead}, localsqs.Definition{Name: "plain"},
	)
	if err != nil {
		t.Fatal(err)
	}
	vault := localsecrets.New(localsecrets.Options{})
	if err := vault.CreateSecret(localsecrets.Definition{Name: secret, SecretString: firstSecret}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&awsjson.Server{Services: map[string]awsjson.Service{
		"DynamoDB_20120810": database.Service(), "DynamoDBStreams_20120810": database.Streams(),
		"AmazonSQS": broker.Service(), "secretsmanager": vault.Service(),
	}})
	t.Cleanup(server.Close)
	s := connect(server.URL)
	s.shard = aws.String(localdynamodb.ShardID)
	check(t, stack, s, dynamoDBBehaviours(), capacityBehaviours(), transactionBehaviours(),
		streamBehaviours(), partiQLBehaviours(), insertStreamBehaviours(), sqsBehaviours(), secretsBehaviours())
}

func TestMoto(t *testing.T) {
	if *motoServer == "" {
		t.Skip("needs -moto")
	}
	port := run(t, regexp.MustCompile(`Running on http://127\.0\.0\.1:(\d+)`), *motoServer, "-H", "127.0.0.1", "-p", "0")
	s := connect("http://127.0.0.1:" + port)
	createTable(t, s)
	createQueues(t, s)
	_, err := s.secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name:         aws.String(secret),
		SecretString: aws.String(firstSecret),
	})
	if err != nil {
		t.Fatal(err)
	}
	check(t, moto, s, dynamoDBBehaviours(), transactionBehaviours(), streamBehaviours(), sqsBehaviours(), secretsBehaviours())
}

func TestDynalite(t *testing.T) {
	if *dynaliteCommand == "" {
		t.Skip("needs -dynalite")
	}
	port := run(t, regexp.MustCompile(`^Dynalite listening at: http://127\.0\.0\.1:(\d+)`), *dynaliteCommand,
		"--host", "127.0.0.1", "--port", freePort(t), "--createTableMs", "0")
	s := connect("http://127.0.0.1:" + port)
	createTable(t, s)
	check(t, dynalite, s, dynamoDBBehaviours(), capacityBehaviours())
}

func TestDynoxide(t *testing.T) {
	if *dynoxideCommand == "" {
		t.Skip("needs -dynoxide")
	}
	port := run(t, regexp.MustCompile(`listening on http://127\.0\.0\.1:(\d+)`), *dynoxideCommand,
		"serve", "--host", "127.0.0.1", "--port", freePort(t))
	s := connect("http://127.0.0.1:" + port)
	createTable(t, s)
	check(t, dynoxide, s, dynamoDBBehaviours(), capacityBehaviours(), transactionBehaviours(),
		streamBehaviours(), partiQLBehaviours(), insertStreamBehaviours())
}

// freePort returns a port that was free a moment ago, for servers that choose none themselves.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// check runs the cases against an implementation, one after the other.
func check(t *testing.T, implementation string, s services, groups ...[]behaviour) {
	known := map[string]difference{}
	for _, d := range differences() {
		if d.implementation == implementation {
			known[d.behaviour] = d
		}
	}
	for _, group := range groups {
		for _, b := range group {
			t.Run(b.name, func(t *testing.T) {
				got := b.run(t.Context(), s)
				d, differs := known[b.name]
				delete(known, b.name)
				switch {
				case !differs && got != b.want:
					t.Errorf("%s answers\n\t%s, AWS\n\t%s", implementation, got, b.want)
				case differs && got == b.want:
					t.Errorf("%s now does as AWS does; the difference is to be struck off (%s)", implementation, d.why)
				case differs && got != d.got:
					t.Errorf("%s differs in another way than is known: it answers\n\t%s, known is\n\t%s", implementation, got, d.got)
				}
			})
		}
	}
	if flag.Lookup("test.run").Value.String() == "" {
		for name := range known {
			t.Errorf("there is no behaviour %q of which a difference is known", name)
		}
	}
}

// run starts a server and returns the port that it prints. The server ends with the test.
func run(t *testing.T, ready *regexp.Regexp, name string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, name, arguments...)
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		command.Wait() // an error says that it was killed
	})
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		if match := ready.FindStringSubmatch(lines.Text()); match != nil {
			go io.Copy(io.Discard, reader)
			return match[1]
		}
	}
	t.Fatalf("%s did not start", name)
	return ""
}

func createTable(t *testing.T, s services) {
	t.Helper()
	key := func(name string, kind dynamodbtypes.KeyType) dynamodbtypes.KeySchemaElement {
		return dynamodbtypes.KeySchemaElement{AttributeName: &name, KeyType: kind}
	}
	definition := func(name string, kind dynamodbtypes.ScalarAttributeType) dynamodbtypes.AttributeDefinition {
		return dynamodbtypes.AttributeDefinition{AttributeName: &name, AttributeType: kind}
	}
	_, err := s.dynamodb.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String(orders), BillingMode: dynamodbtypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamodbtypes.AttributeDefinition{
			definition("customer", "S"),
			definition("number", "N"),
			definition("state", "S"),
		},
		KeySchema: []dynamodbtypes.KeySchemaElement{key("customer", "HASH"), key("number", "RANGE")},
		GlobalSecondaryIndexes: []dynamodbtypes.GlobalSecondaryIndex{{
			IndexName: aws.String("by_state"), KeySchema: []dynamodbtypes.KeySchemaElement{key("state", "HASH"), key("number", "RANGE")},
			Projection: &dynamodbtypes.Projection{ProjectionType: "KEYS_ONLY"},
		}},
		StreamSpecification: &dynamodbtypes.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: "NEW_AND_OLD_IMAGES"},
	})
	if err != nil {
		t.Fatal(err)
	}
	waiter := dynamodb.NewTableExistsWaiter(s.dynamodb, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 10 * time.Millisecond })
	if err := waiter.Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String(orders)}, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func createQueues(t *testing.T, s services) {
	t.Helper()
	for _, queue := range []struct{ name, redrive string }{{dead, ""}, {"plain", ""}, {work, dead}} {
		in := &sqs.CreateQueueInput{QueueName: &queue.name}
		if queue.redrive != "" {
			in.Attributes = map[string]string{
				"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":1}`, arn(t.Context(), s, queue.redrive)),
			}
		}
		if _, err := s.sqs.CreateQueue(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
}

// code is what came of a call: "ok", or the error's code, or what there is in its place.
func code(err error) string {
	if err == nil {
		return "ok"
	}
	if known, ok := errors.AsType[smithy.APIError](err); ok {
		return known.ErrorCode()
	}
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return fmt.Sprint("HTTP ", answer.HTTPStatusCode(), " without a code")
	}
	return err.Error()
}

// says is the code and, where the error's message has it, that part of the message.
func says(err error, part string) string {
	if known, ok := errors.AsType[smithy.APIError](err); ok && strings.Contains(known.ErrorMessage(), part) {
		return code(err) + ": " + part
	}
	return code(err)
}
