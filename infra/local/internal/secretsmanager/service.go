package secretsmanager

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
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
	case "UpdateSecret":
		return onSecret(s, operation, body, allow, s.updateSecret)
	case "DescribeSecret":
		return onSecret(s, operation, body, allow, s.describeSecret)
	case "ListSecrets":
		return free(s, operation, body, allow, s.listSecrets)
	case "GetRandomPassword":
		return free(s, operation, body, allow, s.getRandomPassword)
	}
	return nil, awsjson.Errorf("InvalidRequestException",
		"%s: the local stack has the secrets that its template declares; it can get, put, update, describe and list them.", operation)
}

// named is the part of a request that names its secret.
type named struct{ SecretId string }

func (n named) secretID() string { return n.SecretId }

// onSecret decodes a request about a secret, checks the caller's permission on it, and acts with the
// lock held.
func onSecret[In interface{ secretID() string }](s *service, operation string, body []byte, allow awsjson.Allow, act func(*secret, In) (any, error)) (any, error) {
	var in In
	if err := decode(body, &in); err != nil {
		return nil, err
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

// free decodes a request about no secret in particular and acts with the lock held.
func free[In any](s *service, operation string, body []byte, allow awsjson.Allow, act func(In) (any, error)) (any, error) {
	var in In
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	if err := allow("secretsmanager:"+operation, "*"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return act(in)
}

func decode(body []byte, in any) error {
	if err := json.Unmarshal(body, in); err != nil {
		return awsjson.Errorf("SerializationException", "The request is not what the operation takes: %v.", err)
	}
	return nil
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
	SecretBinary  []byte   `json:",omitempty"`
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
			return nil, awsjson.Errorf("InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId.")
		}
	} else {
		stage := cmp.Or(in.VersionStage, current)
		if found = from.labelled(stage); found == nil {
			return nil, notFound("Secrets Manager can't find the specified secret value for staging label: %s", stage)
		}
	}
	from.accessed = s.opts.Now().UTC().Truncate(24 * time.Hour) // AWS tells the day only
	return secretValue{
		ARN:           from.arn,
		Name:          from.name,
		VersionID:     found.id,
		SecretString:  found.text,
		SecretBinary:  found.binary,
		VersionStages: slices.Clone(found.stages),
		CreatedDate:   epoch(found.created),
	}, nil
}

type putValueRequest struct {
	named
	ClientRequestToken string // becomes the version's id
	SecretString       *string
	SecretBinary       []byte
	VersionStages      []string
}

func (s *service) putSecretValue(to *secret, in putValueRequest) (any, error) {
	if in.SecretString == nil && in.SecretBinary == nil {
		return nil, invalid("You must provide either SecretString or SecretBinary.")
	}
	put, err := s.put(to, in)
	if err != nil {
		return nil, err
	}
	return secretValue{ARN: to.arn, Name: to.name, VersionID: put.id, VersionStages: slices.Clone(put.stages)}, nil
}

// put adds a version. The same request once more changes nothing.
func (s *service) put(to *secret, in putValueRequest) (*version, error) {
	switch length := len(in.ClientRequestToken); {
	case in.SecretString != nil && in.SecretBinary != nil:
		return nil, invalid("You can't specify both a binary secret value and a string secret value in the same secret.")
	case in.SecretString != nil && len(*in.SecretString) > maxValue, len(in.SecretBinary) > maxValue:
		return nil, invalid("The secret value is longer than %d bytes.", maxValue)
	case length > 0 && length < 32, length > 64:
		return nil, invalid("ClientRequestToken must be 32-64 characters long.")
	case len(in.VersionStages) > 20:
		return nil, invalid("A version can have at most 20 staging labels.")
	case slices.ContainsFunc(in.VersionStages, func(stage string) bool { return stage == "" || len(stage) > 256 }):
		return nil, invalid("A staging label must have 1 to 256 characters.")
	}
	id := cmp.Or(in.ClientRequestToken, uuid.NewString())
	stages := in.VersionStages
	if len(stages) == 0 {
		stages = []string{current}
	}
	if there := to.versions[id]; there != nil {
		same := bytes.Equal(there.binary, in.SecretBinary) && (there.text == nil) == (in.SecretString == nil) &&
			(there.text == nil || *there.text == *in.SecretString)
		if !same {
			return nil, awsjson.Errorf("ResourceExistsException", "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", id, to.arn)
		}
		return there, nil
	}
	added := &version{id: id, text: in.SecretString, binary: in.SecretBinary, created: s.opts.Now()}
	to.add(added, stages)
	return added, nil
}

type updateRequest struct {
	putValueRequest
	Description *string
}

func (s *service) updateSecret(of *secret, in updateRequest) (any, error) {
	result := struct {
		ARN, Name string
		VersionID string `json:"VersionId,omitempty"`
	}{ARN: of.arn, Name: of.name}
	if in.SecretString != nil || in.SecretBinary != nil {
		in.VersionStages = nil
		added, err := s.put(of, in.putValueRequest)
		if err != nil {
			return nil, err
		}
		result.VersionID = added.id
	}
	if in.Description != nil {
		of.description = *in.Description
		of.changed = s.opts.Now()
	}
	return result, nil
}

// description is a secret without its values.
type description struct {
	ARN                    string
	Name                   string
	Description            string `json:",omitempty"`
	CreatedDate            *float64
	LastChangedDate        *float64
	LastAccessedDate       *float64            `json:",omitempty"`
	VersionIDsToStages     map[string][]string `json:"VersionIdsToStages,omitempty"`     // of DescribeSecret
	SecretVersionsToStages map[string][]string `json:"SecretVersionsToStages,omitempty"` // of ListSecrets
}

func describe(s *secret) description {
	return description{
		ARN:              s.arn,
		Name:             s.name,
		Description:      s.description,
		CreatedDate:      epoch(s.created),
		LastChangedDate:  epoch(s.changed),
		LastAccessedDate: epoch(s.accessed),
	}
}

func (s *service) describeSecret(of *secret, _ named) (any, error) {
	d := describe(of)
	d.VersionIDsToStages = of.stages()
	return d, nil
}

type listRequest struct {
	MaxResults *int
	NextToken  string
	SortOrder  string
	Filters    []filter
}

// filter admits secrets of which a value, or with "!" in front no such value, is the start of what
// Key names.
type filter struct {
	Key    string
	Values []string
}

func (f filter) admits(s *secret) (bool, error) {
	var texts []string
	switch f.Key {
	case "name":
		texts = []string{s.name}
	case "description":
		texts = []string{s.description}
	case "all":
		texts = []string{s.name, s.description}
	default:
		return false, invalid("The local stack filters secrets by name, description and all, not by %q.", f.Key)
	}
	for _, value := range f.Values {
		prefix, negated := strings.CutPrefix(value, "!")
		if negated != slices.ContainsFunc(texts, func(text string) bool { return strings.HasPrefix(text, prefix) }) {
			return true, nil
		}
	}
	return false, nil
}

func (s *service) listSecrets(in listRequest) (any, error) {
	size := 100
	if in.MaxResults != nil {
		size = *in.MaxResults
	}
	if size < 1 || size > 100 {
		return nil, invalid("MaxResults must be between 1 and 100.")
	}
	after, err := base64.URLEncoding.DecodeString(in.NextToken)
	if err != nil {
		return nil, awsjson.Errorf("InvalidNextTokenException", "The NextToken value is invalid.")
	}
	var found []*secret
	for _, candidate := range s.secrets {
		admitted := true
		for _, f := range in.Filters {
			ok, err := f.admits(candidate)
			if err != nil {
				return nil, err
			}
			admitted = admitted && ok
		}
		if admitted {
			found = append(found, candidate)
		}
	}
	// By name, which unlike AWS's order by creation makes tokens that last.
	order := func(x, y string) int { return strings.Compare(x, y) }
	if in.SortOrder == "desc" {
		order = func(x, y string) int { return strings.Compare(y, x) }
	}
	slices.SortFunc(found, func(x, y *secret) int { return order(x.name, y.name) })
	result := struct {
		SecretList []description
		NextToken  string `json:",omitempty"`
	}{SecretList: []description{}}
	for _, one := range found {
		if len(after) > 0 && order(one.name, string(after)) <= 0 {
			continue
		}
		if len(result.SecretList) == size {
			result.NextToken = base64.URLEncoding.EncodeToString([]byte(result.SecretList[size-1].Name))
			break
		}
		d := describe(one)
		d.SecretVersionsToStages = one.stages()
		result.SecretList = append(result.SecretList, d)
	}
	return result, nil
}

func (s *service) getRandomPassword(in Password) (any, error) {
	password, err := in.draw(s.opts.Random)
	if err != nil {
		return nil, invalid("%s.", err)
	}
	return struct{ RandomPassword string }{password}, nil
}
