// Command deliver is a Lambda function: it POSTs webhooks to the endpoints of organizations.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Deliver().Handle)
}
