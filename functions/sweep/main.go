// Command sweep is a Lambda function: each minute it sends a message for every attempt that is due.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Sweep().Handle)
}
