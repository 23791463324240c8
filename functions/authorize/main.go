// Command authorize is a Lambda function: it tells API Gateway the organization of an API key.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/docuhook/docuhook/shared/wiring"
)

func main() {
	env := wiring.New()
	lambda.Start(env.Authorize().Handle)
}
