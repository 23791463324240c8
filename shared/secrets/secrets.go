// Package secrets reads one secret of Secrets Manager.
package secrets

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

// Secret is one secret. It is safe for concurrent use.
type Secret struct {
	Client *secretsmanager.Client
	ARN    string
}

// Read returns the current value of the secret.
func (s *Secret) Read(ctx context.Context) ([]byte, error) {
	out, err := s.Client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.ARN})
	if err != nil {
		return nil, fmt.Errorf("reading the secret: %w", err)
	}
	if out.SecretString == nil {
		return nil, errors.New("the secret has no string value")
	}
	return []byte(*out.SecretString), nil
}
