// Command get-delivery is a Lambda function: it shows a delivery with its attempts.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Handler(env.GetDelivery()).Handle)
}
