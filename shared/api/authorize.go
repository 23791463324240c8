package api

import (
	"context"
	"crypto/subtle"
	"fmt"

	"github.com/aws/aws-lambda-go/events"

	"github.com/docuhook/docuhook/shared/apikey"
)

// organizationKey is where the authorizer puts the organization in the request's context.
const organizationKey = "organization_id"

// Keys finds API keys.
type Keys interface {
	// Get returns the key with this hash, nil if there is none.
	Get(ctx context.Context, hash string) (*apikey.Key, error)
}

// Authorize is the authorizer: it tells the organization of an API key. Unknown, revoked and
// malformed keys get the same answer. API Gateway caches the answer, so a revoked key works until its
// entry in that cache ends.
type Authorize struct {
	Keys Keys
}

// The event and the answer of a Lambda authorizer with simple responses.
type (
	authorizerRequest  = events.APIGatewayV2CustomAuthorizerV2Request
	authorizerResponse = events.APIGatewayV2CustomAuthorizerSimpleResponse
)

// Handle says whether the request's key is valid, and whose it is. An error is a 500 to the client.
func (a Authorize) Handle(ctx context.Context, event authorizerRequest) (authorizerResponse, error) {
	denied := authorizerResponse{IsAuthorized: false}
	if len(event.IdentitySource) != 1 || event.IdentitySource[0] == "" || len(event.IdentitySource[0]) > apikey.MaxLength {
		return denied, nil
	}
	hash := apikey.Hash(event.IdentitySource[0])
	key, err := a.Keys.Get(ctx, hash)
	if err != nil {
		return denied, fmt.Errorf("reading the API key: %w", err)
	}
	if key == nil || key.RevokedAt != "" || key.OrganizationID == "" {
		return denied, nil
	}
	if subtle.ConstantTimeCompare([]byte(key.Hash), []byte(hash)) != 1 {
		return denied, nil
	}
	return authorizerResponse{
		IsAuthorized: true,
		Context:      map[string]any{organizationKey: key.OrganizationID},
	}, nil
}
