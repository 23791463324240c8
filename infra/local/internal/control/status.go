package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
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
	Organizations []organization   `json:"organizations"`
	Statuses      []webhook.Status `json:"statuses"`
	Demo          *demoStatus      `json:"endpoint_demo"` // null without the demo
	Queues        []queueStatus    `json:"queues"`
	Functions     []functionStatus `json:"functions"`
	Denied        []string         `json:"denied"`
	PassedOver    int              `json:"passed_over"`
}

// organization is who the page calls the API as.
type organization struct {
	ID  string `json:"id"`
	Key string `json:"key"`
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
		Statuses: webhook.Statuses(), Denied: []string{}, PassedOver: c.Journal.PassedOver(),
	}
	for _, o := range c.Stack.Organizations {
		status.Organizations = append(status.Organizations, organization(o))
	}
	if endpoint := c.Demo.Endpoint(); endpoint != nil {
		status.Demo = &demoStatus{endpoint.URL, endpoint.Behaviour()}
	}
	dead := c.Stack.Template.DeadLetterQueues()
	for _, q := range c.Stack.Template.Queues {
		status.Queues = append(status.Queues, queueStatus{q.Name, slices.Contains(dead, q.Name), depths[q.Name]})
	}
	instances := c.Stack.Functions.Instances()
	for _, f := range c.Stack.Template.Functions {
		counted := functionStatus{Name: f.Name}
		for _, instance := range instances {
			if instance.Function == f.Name {
				counted.Processes++
				if instance.Busy {
					counted.Busy++
				}
			}
		}
		status.Functions = append(status.Functions, counted)
	}
	for _, d := range c.Stack.Policies.Denied() {
		status.Denied = append(status.Denied, fmt.Sprintf("%s %s on %s", d.Function, d.Action, d.Resource))
	}
	return status, nil
}

// ask makes a request to one of the stack's own services.
func ask(ctx context.Context, service awsjson.Service, operation string, request map[string]any, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	response, err := service.Serve(ctx, operation, body, stack.Administrator)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	raw, err := json.Marshal(response)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, answer)
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
		var answer struct {
			Attributes struct {
				Visible  int `json:"ApproximateNumberOfMessages,string"`
				InFlight int `json:"ApproximateNumberOfMessagesNotVisible,string"`
				Delayed  int `json:"ApproximateNumberOfMessagesDelayed,string"`
			}
		}
		err := ask(ctx, c.Stack.Broker.Service(), "GetQueueAttributes", map[string]any{
			"QueueUrl": c.Stack.QueueURL(queue.Name), "AttributeNames": []string{"All"},
		}, &answer)
		if err != nil {
			return nil, fmt.Errorf("queue %s: %w", queue.Name, err)
		}
		result[queue.Name] = depth(answer.Attributes)
	}
	return result, nil
}
