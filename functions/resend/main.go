// Command resend is a Lambda function: it sends a delivery, a document's status, what failed of a
// config, or a test event again.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	configs, deliveries, queue := env.Configs(), env.Deliveries(), env.Queue()
	env.ServeAPI(map[string]api.Operation{
		"POST /v1/webhooks/deliveries/{id}/resend": api.ResendDelivery{Deliveries: deliveries, Configs: configs, Queue: queue, Now: env.Now},
		"POST /v1/webhooks/configs/{id}/test":      api.SendTest{Configs: configs, Queue: queue, Now: env.Now, Random: env.Random()},
		"POST /v1/webhooks/resend": api.Resend{
			Configs: configs, Documents: env.Documents(), Deliveries: deliveries, Queue: queue, Now: env.Now, Random: env.Random(),
		},
	})
}
