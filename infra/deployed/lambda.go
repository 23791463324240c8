package deployed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxAnswer is more bytes than Lambda answers with.
const maxAnswer = 7 << 20

// Refusal is an answer of Lambda that is no success.
type Refusal struct {
	Status  int
	Code    string // the exception's name
	Message string
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s (%d): %s", r.Code, r.Status, r.Message) }

// Question is a request to Lambda's API.
type Question struct {
	Method, Path string
	Header       http.Header // beside that of the signature
	Body         []byte
	Now          time.Time
}

// AskLambda makes a request to Lambda's API and returns the body of the answer and its header. What is no success is
// a *Refusal. The commands ask too little to depend on the SDK's client of Lambda for.
//
// Source: https://docs.aws.amazon.com/lambda/latest/api/API_Operations.html
func AskLambda(ctx context.Context, loaded aws.Config, q Question) (answer []byte, header http.Header, err error) {
	endpoint := aws.ToString(loaded.BaseEndpoint)
	if endpoint == "" {
		endpoint = "https://lambda." + loaded.Region + "." + suffix(loaded.Region)
	}
	request, err := http.NewRequestWithContext(ctx, q.Method, endpoint+q.Path, bytes.NewReader(q.Body))
	if err != nil {
		return nil, nil, fmt.Errorf("asking Lambda: %w", err)
	}
	maps.Copy(request.Header, q.Header)
	credentials, err := loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("no credentials of an AWS account: %w", err)
	}
	sum := sha256.Sum256(q.Body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, request, hex.EncodeToString(sum[:]), "lambda", loaded.Region, q.Now); err != nil {
		return nil, nil, fmt.Errorf("signing: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("asking Lambda: %w", err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("reading Lambda's answer: %w", err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		code, _, _ := strings.Cut(response.Header.Get("X-Amzn-Errortype"), ":")
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(answer, &said) // without a message the status has to do
		return nil, nil, &Refusal{Status: response.StatusCode, Code: code, Message: said.Message}
	}
	return answer, response.Header, nil
}

// suffix returns the end of the names of AWS's hosts in a region.
func suffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}
