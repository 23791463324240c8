// Command get-config is a Lambda function: it shows a config.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	env.ServeAPI(map[string]api.Operation{
		"GET /v1/webhooks/configs/{id}": api.GetConfig{
			Configs: env.Configs(),
			Now:     env.Now,
		},
	})
}
