// Command rotate-secret is a Lambda function: it gives a config new credentials.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Handler(env.RotateSecret()).Handle)
}
