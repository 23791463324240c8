// Command dispatch is a Lambda function: it turns changes of documents into delivery messages.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Dispatch().Handle)
}
