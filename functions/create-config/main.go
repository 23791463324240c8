// Command create-config is a Lambda function: it creates a config and shows its credentials, once.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Handler(env.CreateConfig()).Handle)
}
