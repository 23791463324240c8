// Command update-config is a Lambda function: it changes a config.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	env.ServeAPI(map[string]api.Operation{
		"PATCH /v1/webhooks/configs/{id}": api.UpdateConfig{
			Configs: env.Configs(),
			Policy:  env.URLPolicy(),
			Now:     env.Now,
		},
	})
}
