// Command relay sends every change of a table to a queue.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

func main() {
	lambda.Start(func(ctx context.Context, e events.DynamoDBEvent) error {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return err
		}
		queue := os.Getenv("QUEUE_URL")
		for _, record := range e.Records {
			body, err := json.Marshal(record.Change.NewImage)
			if err != nil {
				return err
			}
			text := string(body)
			if _, err := sqs.NewFromConfig(cfg).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &text}); err != nil {
				return err
			}
		}
		return nil
	})
}
