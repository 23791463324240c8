// Command rotate-secret is a Lambda function: it gives a config new credentials.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	env.ServeAPI(map[string]api.Operation{
		"POST /v1/webhooks/configs/{id}/rotate-secret": api.RotateSecret{
			Configs: env.Configs(),
			Keyring: env.Keyring(),
			Now:     env.Now,
			Random:  env.Random(),
		},
	})
}
