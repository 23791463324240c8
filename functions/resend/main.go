// Command resend is a Lambda function: it sends a delivery, a document's status, what failed of a
// config, or a test event again.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Handler(env.ResendDelivery(), env.SendTest(), env.Resend()).Handle)
}
