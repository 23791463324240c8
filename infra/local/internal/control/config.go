package control

import (
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/identity"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// Configuration is what tests and tools need to know about a running stack.
type Configuration struct {
	API           string                   `json:"api"`
	Endpoint      string                   `json:"endpoint"`
	Docker        string                   `json:"docker_endpoint,omitzero"` // the same for containers
	Region        string                   `json:"region"`
	Account       string                   `json:"account"`
	Started       time.Time                `json:"started"` // when the stack's clock showed what the machine's did
	TimeScale     float64                  `json:"time_scale"`
	Organizations []string                 `json:"organizations"`
	Parameters    map[string]string        `json:"parameters"`
	Outputs       map[string]string        `json:"outputs"`
	Tables        map[string]tableConfig   `json:"tables"`
	Queues        map[string]queueConfig   `json:"queues"`
	Secrets       map[string]string        `json:"secrets"` // ARN by name
	IAM           iamConfig                `json:"iam"`
	Processes     map[string][]processInfo `json:"processes"` // by function
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

type processInfo struct {
	PID  int  `json:"pid"`
	Busy bool `json:"busy"`
}

func (c *Control) configuration() Configuration {
	is := Configuration{
		API:        c.Stack.APIURL(),
		Endpoint:   c.Stack.Endpoint(),
		Docker:     c.Stack.DockerEndpoint(),
		Region:     template.Region,
		Account:    template.Account,
		Started:    c.Stack.Clock.Start(),
		TimeScale:  c.Stack.Clock.Scale(),
		Parameters: c.Stack.Template.Parameters,
		Outputs:    map[string]string{},
		Tables:     map[string]tableConfig{},
		Queues:     map[string]queueConfig{},
		Secrets:    map[string]string{},
		IAM: iamConfig{
			Enforced: c.Stack.Enforce,
			Granted:  c.Stack.Policies.Granted(),
			Needed:   c.Stack.Policies.Needed(),
			Denied:   c.Stack.Policies.Denied(),
		},
		Processes: map[string][]processInfo{},
	}
	for _, o := range c.Stack.Organizations {
		is.Organizations = append(is.Organizations, o.ID)
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
	for _, secret := range c.Stack.Template.Secrets {
		is.Secrets[secret.Name] = template.SecretARN(secret.Name)
	}
	for _, instance := range c.Stack.Functions.Instances() {
		is.Processes[instance.Function] = append(is.Processes[instance.Function], processInfo{PID: instance.PID, Busy: instance.Busy})
	}
	return is
}
