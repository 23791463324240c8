// Command dispatch is a Lambda function: it turns changes of documents into events and the messages that deliver them.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Dispatch().Handle)
}
