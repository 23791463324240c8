// Command get-event is a Lambda function: it shows an event and what became of it.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Handler(env.GetEvent()).Handle)
}
