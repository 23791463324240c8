// Command get-delivery is a Lambda function: it shows a delivery with its attempts.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	env.ServeAPI(map[string]api.Operation{
		"GET /v1/webhooks/deliveries/{id}": api.GetDelivery{
			Deliveries: env.Deliveries(),
			Now:        env.Now,
		},
	})
}
