package secretsmanager

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
)

// service is a Vault on the wire.
type service struct{ *Vault }

// Serve implements awsjson.Service.
func (s *service) Serve(_ context.Context, operation string, body []byte, allow awsjson.Allow) (any, error) {
	switch operation {
	case "GetSecretValue":
		return onSecret(s, operation, body, allow, s.getSecretValue)
	case "PutSecretValue":
		return onSecret(s, operation, body, allow, s.putSecretValue)
	}
	return nil, awsjson.Errorf("InvalidRequestException",
		"%s is not supported by the local stack: it has the secrets that its template declares, "+
			"and answers GetSecretValue and PutSecretValue.", operation)
}

// named is the part of a request that names its secret.
type named struct{ SecretId string }

func (n named) secretID() string { return n.SecretId }

// onSecret decodes a request about a secret, checks the caller's permission on it, and acts with the
// lock held.
func onSecret[In interface{ secretID() string }](
	s *service, operation string, body []byte, allow awsjson.Allow, act func(*secret, In) (any, error),
) (any, error) {
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, awsjson.Errorf("SerializationException", "The request is not what the operation takes: %v.", err)
	}
	if in.secretID() == "" {
		return nil, invalid("You must provide a value for the SecretId parameter.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.find(in.secretID())
	if found == nil {
		return nil, notFound("Secrets Manager can't find the specified secret.")
	}
	if err := allow("secretsmanager:"+operation, found.arn); err != nil {
		return nil, err
	}
	return act(found, in)
}

func invalid(format string, args ...any) *awsjson.Error {
	return awsjson.Errorf("InvalidParameterException", format, args...)
}

func notFound(format string, args ...any) *awsjson.Error {
	return awsjson.Errorf("ResourceNotFoundException", format, args...)
}

// epoch is a time as AWS JSON has it: seconds, with a fraction.
func epoch(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	return new(float64(t.UnixMilli()) / 1000)
}

type getValueRequest struct {
	named
	VersionId    string
	VersionStage string
}

type secretValue struct {
	ARN           string
	Name          string
	VersionID     string   `json:"VersionId"`
	SecretString  *string  `json:",omitempty"`
	VersionStages []string `json:",omitempty"`
	CreatedDate   *float64 `json:",omitempty"`
}

func (s *service) getSecretValue(from *secret, in getValueRequest) (any, error) {
	var found *version
	if in.VersionId != "" {
		if found = from.versions[in.VersionId]; found == nil {
			return nil, notFound("Secrets Manager can't find the specified secret value for VersionId: %s", in.VersionId)
		}
		if in.VersionStage != "" && !slices.Contains(found.stages, in.VersionStage) {
			return nil, awsjson.Errorf("InvalidRequestException",
				"You provided a VersionStage that is not associated to the provided VersionId.")
		}
	} else {
		stage := cmp.Or(in.VersionStage, current)
		if found = from.labelled(stage); found == nil {
			return nil, notFound("Secrets Manager can't find the specified secret value for staging label: %s", stage)
		}
	}
	return secretValue{
		ARN:           from.arn,
		Name:          from.name,
		VersionID:     found.id,
		SecretString:  &found.text,
		VersionStages: slices.Clone(found.stages),
		CreatedDate:   epoch(found.created),
	}, nil
}

type putValueRequest struct {
	named
	ClientRequestToken string // becomes the version's id
	SecretString       *string
	SecretBinary       json.RawMessage // refused, as is the next
	VersionStages      []string
}

// putSecretValue adds a version. The same request once more changes nothing.
func (s *service) putSecretValue(to *secret, in putValueRequest) (any, error) {
	switch length := len(in.ClientRequestToken); {
	case in.SecretBinary != nil:
		return nil, invalid("SecretBinary is not supported by the local stack: give SecretString.")
	case len(in.VersionStages) > 0:
		return nil, invalid("VersionStages are not supported by the local stack: a new value is AWSCURRENT.")
	case in.SecretString == nil:
		return nil, invalid("You must provide SecretString.")
	case len(*in.SecretString) > maxValue:
		return nil, invalid("The secret value is longer than %d bytes.", maxValue)
	case length > 0 && length < 32, length > 64:
		return nil, invalid("ClientRequestToken must be 32-64 characters long.")
	}
	id := cmp.Or(in.ClientRequestToken, uuid.NewString())
	put := to.versions[id]
	switch {
	case put == nil:
		put = &version{id: id, text: *in.SecretString, created: time.Now()}
		to.add(put)
	case put.text != *in.SecretString:
		return nil, awsjson.Errorf("ResourceExistsException",
			"You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", put.id, to.arn)
	}
	return secretValue{ARN: to.arn, Name: to.name, VersionID: put.id, VersionStages: slices.Clone(put.stages)}, nil
}
