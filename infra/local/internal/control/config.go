package control

import (
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/lambda"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// Configuration is what tests and tools need to know about a running stack.
type Configuration struct {
	API       string                       `json:"api"`
	Endpoint  string                       `json:"endpoint"`
	Docker    string                       `json:"docker_endpoint,omitzero"` // the same for containers
	Region    string                       `json:"region"`
	Started   time.Time                    `json:"started"` // when the stack's clock showed what the machine's did
	Outputs   map[string]string            `json:"outputs"`
	Tables    map[string]tableConfig       `json:"tables"`
	Queues    map[string]queueConfig       `json:"queues"`
	IAM       iamConfig                    `json:"iam"`
	Processes map[string][]lambda.Instance `json:"processes"` // by function
}

type tableConfig struct {
	ARN       string `json:"arn"`
	StreamARN string `json:"stream_arn,omitzero"`
}

type queueConfig struct {
	URL string `json:"url"`
	ARN string `json:"arn"`
}

type iamConfig struct {
	Enforced bool              `json:"enforced"`
	Granted  []identity.Grant  `json:"granted"`
	Needed   []identity.Grant  `json:"needed"` // granted, and a call would have been denied without
	Denied   []identity.Denial `json:"denied"`
}

func (c *Control) configuration() Configuration {
	is := Configuration{
		API:      c.Stack.APIURL(),
		Endpoint: c.Stack.Endpoint(),
		Region:   template.Region,
		Started:  c.Stack.Clock.Start(),
		Outputs:  map[string]string{},
		Tables:   map[string]tableConfig{},
		Queues:   map[string]queueConfig{},
		IAM: iamConfig{
			Enforced: c.Stack.Enforce,
			Granted:  c.Stack.Policies.Granted(),
			Needed:   c.Stack.Policies.Needed(),
			Denied:   c.Stack.Policies.Denied(),
		},
		Processes: map[string][]lambda.Instance{},
	}
	if c.Stack.Docker != nil {
		is.Docker = "http://" + c.Stack.Docker.Addr().String()
	}
	for _, o := range c.Stack.Template.Outputs {
		is.Outputs[o.Name] = o.Value
	}
	for _, t := range c.Stack.Template.Tables {
		config := tableConfig{ARN: template.TableARN(t.Name)}
		if t.Stream {
			config.StreamARN = template.StreamARN(t.Name)
		}
		is.Tables[t.Name] = config
	}
	for _, q := range c.Stack.Template.Queues {
		is.Queues[q.Name] = queueConfig{URL: c.Stack.QueueURL(q.Name), ARN: template.QueueARN(q.Name)}
	}
	for _, instance := range c.Stack.Functions.Instances() {
		is.Processes[instance.Function] = append(is.Processes[instance.Function], instance)
	}
	return is
}
