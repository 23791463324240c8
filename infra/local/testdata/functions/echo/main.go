// Command echo tells what it was given, reads its secret, and tries what its policies do not allow.
package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

func main() {
	lambda.Start(func(ctx context.Context, e events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return events.APIGatewayV2HTTPResponse{}, err
		}
		secret, table := os.Getenv("SECRET"), os.Getenv("TABLE")
		value, err := secretsmanager.NewFromConfig(cfg).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &secret})
		if err != nil {
			return events.APIGatewayV2HTTPResponse{}, err
		}
		_, denied := dynamodb.NewFromConfig(cfg).PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &table,
			Item:      map[string]types.AttributeValue{"key_hash": &types.AttributeValueMemberS{Value: "forged"}},
		})
		answer := map[string]any{
			"id":              e.PathParameters["id"],
			"organization_id": e.RequestContext.Authorizer.Lambda["organization_id"],
			"secret":          *value.SecretString,
			"denied":          "",
			"environment":     names(os.Environ()),
		}
		if denied != nil {
			answer["denied"] = denied.Error()
		}
		body, err := json.Marshal(answer)
		return events.APIGatewayV2HTTPResponse{
			StatusCode: 200, Headers: map[string]string{"Content-Type": "application/json"}, Body: string(body),
		}, err
	})
}

func names(environment []string) []string {
	var result []string
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		result = append(result, name)
	}
	return result
}
