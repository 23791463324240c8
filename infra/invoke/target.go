package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/docuhook/docuhook/infra/deployed"
)

// target is a stack whose functions are run.
type target struct {
	name     string // of a deployed stack; "" for the local one
	aws      aws.Config
	bridge   string // URL at which containers reach the local stack's services; "" if it does not listen for them
	endpoint string // URL of the local stack's services
}

func (t *target) String() string {
	if t.name == "" {
		return "the local stack"
	}
	return t.name
}

// target finds the stack.
func (c *command) target(ctx context.Context) (*target, error) {
	if c.stack.Name != "" {
		loaded, err := c.stack.Config(ctx)
		if err != nil {
			return nil, err
		}
		return &target{name: c.stack.Name, aws: loaded}, nil
	}
	var local struct {
		Endpoint       string `json:"endpoint"`
		DockerEndpoint string `json:"docker_endpoint"`
		Region         string `json:"region"`
	}
	answer, status, err := ask(ctx, http.MethodGet, c.local+"/_local/config", nil)
	if err == nil && (status != http.StatusOK || json.Unmarshal(answer, &local) != nil) {
		err = fmt.Errorf("%s is no local stack: it answered %d", c.local, status)
	}
	if err != nil {
		return nil, fmt.Errorf("no local stack: start one with make run, in another terminal (%w)", err)
	}
	return &target{
		aws: aws.Config{
			Region:       local.Region,
			BaseEndpoint: &local.Endpoint,
			Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
		},
		bridge:   local.DockerEndpoint,
		endpoint: local.Endpoint,
	}, nil
}

// prepare lets a local stack with the world of the sample events begin that anew, and returns the event as it is then:
// with messages that are in the queues. For all other stacks the event is what it is.
func (c *command) prepare(ctx context.Context, event []byte) ([]byte, error) {
	if c.stack.Name != "" || event == nil {
		return event, nil
	}
	answer, status, err := ask(ctx, http.MethodPost, c.local+"/_local/samples", event)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return event, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("beginning the world of the sample events anew: %s", answer)
	}
	return answer, nil
}

// ask makes a request of the local stack.
func ask(ctx context.Context, method, url string, body []byte) (answer []byte, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return answer, response.StatusCode, err
}

// physical is the name of a function in the stack.
func (t *target) physical(ctx context.Context, folder string) (string, error) {
	id := logicalID(folder)
	if t.name == "" {
		return id, nil
	}
	described, err := cloudformation.NewFromConfig(t.aws).DescribeStackResource(ctx, &cloudformation.DescribeStackResourceInput{
		StackName: &t.name, LogicalResourceId: &id,
	})
	if err != nil {
		return "", fmt.Errorf("looking for %s in stack %s in %s: %w", id, t.name, t.aws.Region, err)
	}
	return aws.ToString(described.StackResourceDetail.PhysicalResourceId), nil
}

// answer is what a function has answered.
type answer struct {
	body   []byte
	log    []byte // its end
	failed string // how; "" if it has not
}

// invoke runs a function where the stack is.
func (t *target) invoke(ctx context.Context, folder string, event []byte, now time.Time) (answer, error) {
	name, err := t.physical(ctx, folder)
	if err != nil {
		return answer{}, err
	}
	body, header, err := deployed.AskLambda(ctx, t.aws, deployed.Question{
		Method: http.MethodPost,
		Path:   "/2015-03-31/functions/" + name + "/invocations",
		Header: http.Header{"X-Amz-Log-Type": {"Tail"}, "Content-Type": {"application/json"}},
		Body:   event,
		Now:    now,
	})
	if err != nil {
		return answer{}, fmt.Errorf("invoking %s: %w", name, err)
	}
	log, err := base64.StdEncoding.DecodeString(header.Get("X-Amz-Log-Result"))
	if err != nil {
		return answer{}, fmt.Errorf("reading the log of %s: %w", name, err)
	}
	return answer{body: body, log: log, failed: header.Get("X-Amz-Function-Error")}, nil
}

// environment returns the variables of a function in the stack.
func (t *target) environment(ctx context.Context, folder string, now time.Time) (map[string]string, error) {
	name, err := t.physical(ctx, folder)
	if err != nil {
		return nil, err
	}
	body, _, err := deployed.AskLambda(ctx, t.aws, deployed.Question{
		Method: http.MethodGet,
		Path:   "/2015-03-31/functions/" + name + "/configuration",
		Now:    now,
	})
	var configuration struct {
		Environment struct{ Variables map[string]string }
	}
	if err == nil && (json.Unmarshal(body, &configuration) != nil || len(configuration.Environment.Variables) == 0) {
		err = errors.New("there are none in the answer")
	}
	if err != nil {
		return nil, fmt.Errorf("the variables of %s: %w", name, err)
	}
	return configuration.Environment.Variables, nil
}
