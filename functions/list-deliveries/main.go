// Command list-deliveries is a Lambda function: it lists the deliveries of an organization.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Handler(env.ListDeliveries()).Handle)
}
