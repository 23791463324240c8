package wiring

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/delivery"
	"github.com/docuhook/docuhook/shared/dispatch"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/endpoint"
)

// Authorize returns the authorizer of the API.
func (e *Environment) Authorize() api.Authorize {
	return api.Authorize{Keys: e.apiKeys()}
}

// Dispatch returns the handler of the dispatch function.
func (e *Environment) Dispatch() *dispatch.Dispatcher {
	return &dispatch.Dispatcher{
		Configs:            e.configs(),
		Events:             e.events(),
		DeliveryQueue:      e.deliveryQueue(),
		RetryQueue:         e.retryQueue(),
		DispatchRetryQueue: e.queue("DISPATCH_RETRY_QUEUE_URL"),
		DocumentURL:        e.documentURL(),
		Metrics:            e.metrics(),
		Log:                e.log,
		Now:                e.now,
	}
}

// Deliver returns the handler of the deliver function.
func (e *Environment) Deliver() *delivery.Deliverer {
	schedule, err := delivery.ParseSchedule(e.require("RETRY_DELAYS"))
	if err != nil {
		e.exit("environment variable RETRY_DELAYS: " + err.Error())
	}
	configs := e.configs()
	return &delivery.Deliverer{
		Store:         &dynamo.Log{Deliveries: e.deliveries(), Configs: configs},
		Health:        configs,
		DeliveryQueue: e.deliveryQueue(),
		RetryQueue:    e.retryQueue(),
		Credentials:   e.keyring(),
		Poster: endpoint.NewClient(endpoint.ClientOptions{
			Guard:       e.guard(),
			AllowHTTP:   e.sandbox(),
			OmitAnswers: !e.boolean("LOG_ENDPOINT_ANSWERS"),
			Now:         e.machine.Now, // receivers compare webhook-timestamp with their own clock
		}),
		Schedule:         schedule,
		FailureThreshold: e.number("ENDPOINT_FAILURE_THRESHOLD", 0),
		Metrics:          e.metrics(),
		Log:              e.log,
		Now:              e.now,
		MachineNow:       e.machine.Now,
		Random:           e.machine.Jitter,
	}
}

// Sweep returns the handler of the sweep function.
func (e *Environment) Sweep() *delivery.Sweeper {
	return &delivery.Sweeper{
		Waiting:    e.deliveries(),
		RetryQueue: e.onceQueue(),
		Metrics:    e.metrics(),
		Log:        e.log,
		Now:        e.now,
	}
}
