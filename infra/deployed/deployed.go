// Package deployed tells the commands of an operator where a stack's tables and queues are.
//
// A deployed stack says so in its outputs. With an endpoint the commands talk to that instead of
// AWS: to the local stack, where everything answers to its logical id and any credentials will do.
package deployed

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
)

// DefaultName is the name of the stack unless -stack says another.
const DefaultName = "docuhook"

// Flags say which stack to work on.
type Flags struct {
	Name     string
	Endpoint string
	Region   string
	Profile  string // of the AWS configuration, "" for that of the environment
}

// Register adds the flags to a set.
func (f *Flags) Register(set *flag.FlagSet) {
	set.StringVar(&f.Name, "stack", "", "CloudFormation `name` of the stack (default "+DefaultName+")")
	set.StringVar(&f.Endpoint, "endpoint", "", "`URL` to use instead of AWS, such as http://127.0.0.1:4566 of the local stack")
	set.StringVar(&f.Region, "region", "", "AWS `region` (default from the environment or the profile)")
}

// Config returns the AWS configuration: as the AWS CLI finds it, and with an endpoint also without
// any credentials and region.
func (f *Flags) Config(ctx context.Context) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{}
	if f.Region != "" {
		options = append(options, config.WithRegion(f.Region))
	}
	if f.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(f.Profile))
	}
	if f.Endpoint != "" {
		// Credentials of the machine are none of an endpoint's business, and looking for them takes long.
		options = append(options, config.WithEC2IMDSClientEnableState(imds.ClientDisabled), config.WithBaseEndpoint(f.Endpoint))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	if f.Endpoint == "" {
		if loaded.Region == "" {
			return aws.Config{}, errors.New("no AWS region: give -region, set AWS_REGION, or configure a profile")
		}
		return loaded, nil
	}
	if loaded.Region == "" {
		loaded.Region = "us-east-1"
	}
	if _, err := loaded.Credentials.Retrieve(ctx); err != nil {
		loaded.Credentials = credentials.NewStaticCredentialsProvider("local", "local", "")
	}
	return loaded, nil
}

// Names returns the names of tables and the URLs of queues by their outputs, which are named like
// the resources. With an endpoint and without -stack a resource answers to its logical id.
func (f *Flags) Names(ctx context.Context, loaded aws.Config, outputs ...string) (map[string]string, error) {
	names := map[string]string{}
	if f.Endpoint != "" && f.Name == "" {
		for _, output := range outputs {
			names[output] = output
		}
		return names, nil
	}
	stack := f.Name
	if stack == "" {
		stack = DefaultName
	}
	described, err := cloudformation.NewFromConfig(loaded).DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
	if err != nil {
		return nil, fmt.Errorf("reading the outputs of stack %s in %s: %w", stack, loaded.Region, err)
	}
	for _, one := range described.Stacks {
		for _, output := range one.Outputs {
			names[aws.ToString(output.OutputKey)] = aws.ToString(output.OutputValue)
		}
	}
	for _, output := range outputs {
		if names[output] == "" {
			return nil, fmt.Errorf("stack %s in %s has no output %s: is it Docuhook?", stack, loaded.Region, output)
		}
	}
	return names, nil
}
