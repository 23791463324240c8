// Command list-events is a Lambda function: it lists the events of an organization.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Handler(env.ListEvents()).Handle)
}
