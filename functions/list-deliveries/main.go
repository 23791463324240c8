// Command list-deliveries is a Lambda function: it lists the deliveries of an organization.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	env.ServeAPI(map[string]api.Operation{
		"GET /v1/webhooks/deliveries": api.ListDeliveries{
			Deliveries: env.Deliveries(),
			Configs:    env.Configs(),
			Now:        env.Now,
		},
	})
}
