package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/demo"
	"github.com/docuhook/docuhook/infra/local/internal/stack"
	"github.com/docuhook/docuhook/shared/webhook"
)

// pageStatus is what the page shows beside the flows.
type pageStatus struct {
	Started       time.Time        `json:"started"` // of the stack's clock; tells one run from the next
	API           string           `json:"api"`
	Endpoint      string           `json:"endpoint"`
	TimeScale     float64          `json:"time_scale"`
	Organizations []string         `json:"organizations"`
	Statuses      []webhook.Status `json:"statuses"`
	Demo          *demoStatus      `json:"endpoint_demo"` // null without the demo
	Queues        []queueStatus    `json:"queues"`
	Functions     []functionStatus `json:"functions"`
	Denied        []string         `json:"denied"`
	PassedOver    int              `json:"passed_over"`
}

type demoStatus struct {
	URL       string         `json:"url"`
	Behaviour demo.Behaviour `json:"behaviour"`
}

type queueStatus struct {
	Name       string `json:"name"`
	DeadLetter bool   `json:"dead_letter"`
	depth
}

type functionStatus struct {
	Name      string `json:"name"`
	Processes int    `json:"processes"`
	Busy      int    `json:"busy"`
}

func (c *Control) pageStatus(ctx context.Context) (any, error) {
	depths, err := c.queueDepths(ctx)
	if err != nil {
		return nil, err
	}
	status := pageStatus{
		Started: c.Stack.Clock.Start(), API: c.Stack.APIURL(), Endpoint: c.Stack.Endpoint(), TimeScale: c.Stack.Clock.Scale(),
		Organizations: c.organizationIDs(), Statuses: webhook.Statuses(), Denied: []string{}, PassedOver: c.Journal.PassedOver(),
	}
	if endpoint := c.Demo.Endpoint(); endpoint != nil {
		status.Demo = &demoStatus{endpoint.URL, endpoint.Behaviour()}
	}
	dead := c.Stack.Template.DeadLetterQueues()
	for _, q := range c.Stack.Template.Queues {
		status.Queues = append(status.Queues, queueStatus{q.Name, slices.Contains(dead, q.Name), depths[q.Name]})
	}
	functions := map[string]*functionStatus{}
	for _, f := range c.Stack.Template.Functions {
		status.Functions = append(status.Functions, functionStatus{Name: f.Name})
	}
	for i := range status.Functions {
		functions[status.Functions[i].Name] = &status.Functions[i]
	}
	for _, instance := range c.Stack.Functions.Instances() {
		f := functions[instance.Function]
		f.Processes++
		if instance.Busy {
			f.Busy++
		}
	}
	for _, d := range c.Stack.Policies.Denied() {
		status.Denied = append(status.Denied, fmt.Sprintf("%s %s on %s", d.Function, d.Action, d.Resource))
	}
	return status, nil
}

// organizationIDs are the organizations with an API key, each once.
func (c *Control) organizationIDs() []string {
	var ids []string
	for _, o := range c.Stack.Organizations {
		if !slices.Contains(ids, o.ID) {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// depth is how many messages a queue has.
type depth struct {
	Visible  int `json:"visible"`
	InFlight int `json:"in_flight"`
	Delayed  int `json:"delayed"`
}

func (c *Control) queueDepths(ctx context.Context) (map[string]depth, error) {
	result := map[string]depth{}
	for _, queue := range c.Stack.Template.Queues {
		request, err := json.Marshal(map[string]any{"QueueUrl": c.Stack.QueueURL(queue.Name), "AttributeNames": []string{"All"}})
		if err != nil {
			return nil, err
		}
		response, err := c.Stack.Broker.Service().Serve(ctx, "GetQueueAttributes", request, stack.Administrator)
		if err != nil {
			return nil, fmt.Errorf("asking %s: %w", queue.Name, err)
		}
		raw, err := json.Marshal(response)
		if err != nil {
			return nil, err
		}
		var answer struct{ Attributes map[string]string }
		if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, err
		}
		var d depth
		for name, to := range map[string]*int{
			"ApproximateNumberOfMessages":           &d.Visible,
			"ApproximateNumberOfMessagesNotVisible": &d.InFlight,
			"ApproximateNumberOfMessagesDelayed":    &d.Delayed,
		} {
			if *to, err = strconv.Atoi(answer.Attributes[name]); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", name, queue.Name, err)
			}
		}
		result[queue.Name] = d
	}
	return result, nil
}
