package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/endpoint"
	"github.com/docuhook/docuhook/shared/keyring"
	"github.com/docuhook/docuhook/shared/secrets"
	"github.com/docuhook/docuhook/shared/webhook"
)

// An attempt's request is the same whenever it is made with the same credentials for the same second. So
// the page shows what any endpoint was sent without anybody having kept it, and signs it for now as well.

// attempted says which request is wanted.
type attempted struct {
	OrganizationID string    `json:"organization_id"`
	DeliveryID     string    `json:"delivery_id"`
	Attempt        int       `json:"attempt"`
	At             time.Time `json:"at"` // on the machine's clock
	Body           string    `json:"body"`
}

// sent is a request as an endpoint sees it.
type sent struct {
	URL     string      `json:"url"`
	Headers [][2]string `json:"headers"` // as they are written, in their order
	Body    string      `json:"body"`
}

// serveRequest answers with an attempt's request, signed with the credentials that its config has now.
func (c *Control) serveRequest(w http.ResponseWriter, r *http.Request) {
	var wanted attempted
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&wanted); err != nil {
		answerError(w, http.StatusBadRequest, err.Error())
		return
	}
	request, err := c.request(r.Context(), wanted)
	switch {
	case errors.Is(err, webhook.ErrDeliveryID), errors.Is(err, webhook.ErrNotFound):
		answerError(w, http.StatusNotFound, fmt.Sprintf("there is no config of a delivery %q any more", wanted.DeliveryID))
	case err != nil:
		answerError(w, http.StatusInternalServerError, err.Error())
	default:
		answer(w, http.StatusOK, request)
	}
}

func (c *Control) request(ctx context.Context, wanted attempted) (*sent, error) {
	configID, eventID, err := webhook.ParseDeliveryID(wanted.DeliveryID)
	if err != nil {
		return nil, err
	}
	service := aws.Config{
		Region: template.Region, BaseEndpoint: aws.String(c.Stack.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	}
	signs := func(f template.Function) bool { return f.Environment["KEYRING_SECRET_ARN"] != "" }
	at := slices.IndexFunc(c.Stack.Template.Functions, signs)
	if at < 0 {
		return nil, errors.New("no function of the template has a keyring")
	}
	environment := c.Stack.Template.Functions[at].Environment
	configs := dynamo.Configs{Client: dynamodb.NewFromConfig(service), Table: environment["CONFIGS_TABLE"]}
	secret := &secrets.Secret{Client: secretsmanager.NewFromConfig(service), ARN: environment["KEYRING_SECRET_ARN"]}
	keys := keyring.Cache{Source: secret, Now: c.Stack.Clock.Now}
	config, err := configs.Get(ctx, wanted.OrganizationID, configID)
	if err != nil {
		return nil, err
	}
	_, address, _ := strings.Cut(config.URL, ":")
	post := endpoint.Request{
		URL:     "http:" + address, // which is not called, so that there is nobody to agree on TLS with
		EventID: eventID, Key: wanted.DeliveryID, Body: []byte(wanted.Body), Attempt: wanted.Attempt,
	}
	if post.Current, err = keys.Open(ctx, config.Sealed, config.OrganizationID, config.ID); err != nil {
		return nil, err
	}
	if config.Overlapping(c.Stack.Clock.At(wanted.At)) {
		previous, err := keys.Open(ctx, config.PreviousSealed, config.OrganizationID, config.ID)
		if err != nil {
			return nil, err
		}
		post.Previous = &previous
	}
	headers := make(chan [][2]string, 1)
	client := endpoint.NewClient(endpoint.ClientOptions{
		AllowHTTP: true,
		Now:       func() time.Time { return wanted.At },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { headers <- accept(far, len(wanted.Body)) }()
			return near, nil
		},
	})
	if result := client.Post(ctx, post); !result.Success() {
		return nil, fmt.Errorf("making the request: %s", result.Error)
	}
	return &sent{URL: config.URL, Headers: <-headers, Body: wanted.Body}, nil
}

// accept reads one request with a body of so many bytes, answers 204 and returns the request's headers.
func accept(connection net.Conn, body int) (headers [][2]string) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	_, err := reader.ReadString('\n') // which says POST
	for err == nil {
		var line string
		if line, err = reader.ReadString('\n'); line == "\r\n" {
			break
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		headers = append(headers, [2]string{name, value})
	}
	io.CopyN(io.Discard, reader, int64(body))
	io.WriteString(connection, "HTTP/1.1 204 No Content\r\n\r\n")
	return headers
}
