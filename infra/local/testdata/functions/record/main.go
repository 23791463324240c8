// Command record posts every message of a queue to a URL.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	lambda.Start(func(ctx context.Context, e events.SQSEvent) error {
		for _, message := range e.Records {
			fmt.Println("posting", message.MessageId)
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("CALLBACK_URL"), strings.NewReader(message.Body))
			if err != nil {
				return err
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			response.Body.Close()
		}
		return nil
	})
}
