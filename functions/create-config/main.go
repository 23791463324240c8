// Command create-config is a Lambda function: it creates a config and shows its credentials, once.
package main

import (
	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	env.ServeAPI(map[string]api.Operation{
		"POST /v1/webhooks/configs": api.CreateConfig{
			Configs: env.Configs(),
			Keyring: env.Keyring(),
			Policy:  env.URLPolicy(),
			Limit:   env.ConfigLimit(),
			Now:     env.Now,
			Random:  env.Random(),
		},
	})
}
