// Command authorize allows the API keys of its table.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func main() {
	lambda.Start(func(
		ctx context.Context, e events.APIGatewayV2CustomAuthorizerV2Request,
	) (events.APIGatewayV2CustomAuthorizerSimpleResponse, error) {
		var answer events.APIGatewayV2CustomAuthorizerSimpleResponse
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return answer, err
		}
		hash := sha256.Sum256([]byte(e.IdentitySource[0]))
		table := os.Getenv("TABLE")
		out, err := dynamodb.NewFromConfig(cfg).GetItem(ctx, &dynamodb.GetItemInput{
			TableName: &table,
			Key:       map[string]types.AttributeValue{"key_hash": &types.AttributeValueMemberS{Value: hex.EncodeToString(hash[:])}},
		})
		if err != nil {
			return answer, err
		}
		if organization, ok := out.Item["organization_id"].(*types.AttributeValueMemberS); ok {
			answer.IsAuthorized = true
			answer.Context = map[string]any{"organization_id": organization.Value}
		}
		return answer, nil
	})
}
