// Command delete-config is a Lambda function: it deletes a config.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	env.ServeAPI(map[string]api.Operation{
		"DELETE /v1/webhooks/configs/{id}": api.DeleteConfig{
			Configs: env.Configs(),
			Now:     env.Now,
		},
	})
}
