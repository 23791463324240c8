package secretsmanager_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/secretsmanager"
)

const keyringARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:keyring-AbC123"

// newVault has the secrets keyring, with the value "first", and api/token.
func newVault(t testing.TB, now func() time.Time) *secretsmanager.Vault {
	t.Helper()
	vault := secretsmanager.New(secretsmanager.Options{Region: "eu-west-1", Account: "123456789012", Now: now})
	for _, d := range []secretsmanager.Definition{
		{Name: "keyring", ARN: keyringARN, Description: "seals", SecretString: "first"},
		{Name: "api/token", SecretString: "token"},
	} {
		if err := vault.CreateSecret(d); err != nil {
			t.Fatal(err)
		}
	}
	return vault
}

// policies is awsjson.Policies as a function.
type policies func(action, arn string) error

func (p policies) Allow(_, action, arn string) error { return p(action, arn) }

func connect(t testing.TB, vault *secretsmanager.Vault, allowed awsjson.Policies) *client.Client {
	t.Helper()
	server := httptest.NewServer(&awsjson.Server{Services: map[string]awsjson.Service{"secretsmanager": vault.Service()}, Policies: allowed})
	t.Cleanup(server.Close)
	return client.New(client.Options{
		Region:           "eu-west-1",
		BaseEndpoint:     &server.URL,
		Credentials:      credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", ""),
		RetryMaxAttempts: 1,
	})
}

func mustGet(t testing.TB, c *client.Client, in client.GetSecretValueInput) *client.GetSecretValueOutput {
	t.Helper()
	out, err := c.GetSecretValue(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustPut(t testing.TB, c *client.Client, in client.PutSecretValueInput) *client.PutSecretValueOutput {
	t.Helper()
	out, err := c.PutSecretValue(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantSame(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func TestSecretIsFoundBy(t *testing.T) {
	tests := map[string]struct {
		id   string
		code string
	}{
		"its name":                     {"keyring", ""},
		"its ARN":                      {keyringARN, ""},
		"its ARN without random end":   {strings.TrimSuffix(keyringARN, "-AbC123"), ""},
		"nothing else":                 {"absent", "ResourceNotFoundException"},
		"no ARN of another random end": {strings.Replace(keyringARN, "AbC123", "xyz789", 1), "ResourceNotFoundException"},
		"no part of its name":          {"key", "ResourceNotFoundException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := connect(t, newVault(t, nil), nil)
			out, err := c.GetSecretValue(t.Context(), &client.GetSecretValueInput{SecretId: &test.id})
			if test.code != "" {
				wantCode(t, err, test.code)
				if _, ok := errors.AsType[*types.ResourceNotFoundException](err); !ok {
					t.Errorf("error %v is not the SDK's type", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantSame(t, *out.SecretString, "first")
			wantSame(t, *out.ARN, keyringARN)
			wantSame(t, *out.Name, "keyring")
			wantSame(t, out.VersionStages, []string{"AWSCURRENT"})
		})
	}
}

func TestNewValuesMoveTheLabels(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := connect(t, newVault(t, func() time.Time { return now }), nil)
	id := aws.String("keyring")
	first := *mustGet(t, c, client.GetSecretValueInput{SecretId: id}).VersionId
	second := *mustPut(t, c, client.PutSecretValueInput{SecretId: id, SecretString: aws.String("second")}).VersionId

	stage := func(name string) string {
		return *mustGet(t, c, client.GetSecretValueInput{SecretId: id, VersionStage: &name}).SecretString
	}
	wantSame(t, []string{stage("AWSCURRENT"), stage("AWSPREVIOUS")}, []string{"second", "first"})

	now = now.Add(time.Hour)
	updated, err := c.UpdateSecret(t.Context(), &client.UpdateSecretInput{SecretId: id, SecretString: aws.String("third"), Description: aws.String("changed")})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, []string{stage("AWSCURRENT"), stage("AWSPREVIOUS")}, []string{"third", "second"})
	// A version without labels can still be read by its id.
	wantSame(t, *mustGet(t, c, client.GetSecretValueInput{SecretId: id, VersionId: &first}).SecretString, "first")

	described, err := c.DescribeSecret(t.Context(), &client.DescribeSecretInput{SecretId: id})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, described.VersionIdsToStages, map[string][]string{*updated.VersionId: {"AWSCURRENT"}, second: {"AWSPREVIOUS"}})
	wantSame(t, *described.Description, "changed")
	wantSame(t, described.LastChangedDate.Sub(*described.CreatedDate), time.Hour)
	wantSame(t, described.LastAccessedDate.UTC(), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
}

func TestOwnLabelLeavesTheCurrentValue(t *testing.T) {
	c := connect(t, newVault(t, nil), nil)
	id := aws.String("keyring")
	put := mustPut(t, c, client.PutSecretValueInput{SecretId: id, SecretBinary: []byte{0, 255}, VersionStages: []string{"NEXT"}})
	wantSame(t, put.VersionStages, []string{"NEXT"})
	wantSame(t, *mustGet(t, c, client.GetSecretValueInput{SecretId: id}).SecretString, "first")
	next := mustGet(t, c, client.GetSecretValueInput{SecretId: id, VersionStage: aws.String("NEXT"), VersionId: put.VersionId})
	wantSame(t, next.SecretBinary, []byte{0, 255})
	wantSame(t, next.SecretString, (*string)(nil))
}

func TestPutWithAToken(t *testing.T) {
	c := connect(t, newVault(t, nil), nil)
	token := aws.String("0123456789abcdef0123456789abcdef")
	put := func(value string) (*client.PutSecretValueOutput, error) {
		return c.PutSecretValue(t.Context(), &client.PutSecretValueInput{SecretId: aws.String("keyring"), SecretString: &value, ClientRequestToken: token})
	}
	t.Run("makes it the version's id", func(t *testing.T) {
		out, err := put("second")
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, *out.VersionId, *token)
	})
	t.Run("does nothing the second time", func(t *testing.T) {
		if _, err := put("second"); err != nil {
			t.Fatal(err)
		}
		wantSame(t, *mustGet(t, c, client.GetSecretValueInput{SecretId: aws.String("keyring"), VersionStage: aws.String("AWSPREVIOUS")}).SecretString, "first")
	})
	t.Run("is refused for another value", func(t *testing.T) {
		_, err := put("third")
		wantCode(t, err, "ResourceExistsException")
	})
}

func TestListSecrets(t *testing.T) {
	tests := map[string]struct {
		in   client.ListSecretsInput
		want []string
		code string
	}{
		"lists all by name":          {client.ListSecretsInput{}, []string{"api/token", "keyring"}, ""},
		"lists them the other way":   {client.ListSecretsInput{SortOrder: "desc"}, []string{"keyring", "api/token"}, ""},
		"goes on after a page":       {client.ListSecretsInput{MaxResults: aws.Int32(1)}, []string{"api/token", "keyring"}, ""},
		"goes on the other way":      {client.ListSecretsInput{MaxResults: aws.Int32(1), SortOrder: "desc"}, []string{"keyring", "api/token"}, ""},
		"filters by name":            {client.ListSecretsInput{Filters: []types.Filter{{Key: "name", Values: []string{"key"}}}}, []string{"keyring"}, ""},
		"filters by what is not":     {client.ListSecretsInput{Filters: []types.Filter{{Key: "name", Values: []string{"!key"}}}}, []string{"api/token"}, ""},
		"filters by description":     {client.ListSecretsInput{Filters: []types.Filter{{Key: "description", Values: []string{"seals"}}}}, []string{"keyring"}, ""},
		"needs every filter":         {client.ListSecretsInput{Filters: []types.Filter{{Key: "all", Values: []string{"seals"}}, {Key: "name", Values: []string{"api"}}}}, nil, ""},
		"refuses an unknown filter":  {client.ListSecretsInput{Filters: []types.Filter{{Key: "tag-key", Values: []string{"x"}}}}, nil, "InvalidParameterException"},
		"refuses a page of nothing":  {client.ListSecretsInput{MaxResults: aws.Int32(0)}, nil, "InvalidParameterException"},
		"refuses a token of its own": {client.ListSecretsInput{NextToken: aws.String("?")}, nil, "InvalidNextTokenException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := connect(t, newVault(t, nil), nil)
			var got []string
			for {
				out, err := c.ListSecrets(t.Context(), &test.in)
				if test.code != "" {
					wantCode(t, err, test.code)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, entry := range out.SecretList {
					got = append(got, *entry.Name)
					if len(entry.SecretVersionsToStages) != 1 {
						t.Errorf("%s has the versions %v", *entry.Name, entry.SecretVersionsToStages)
					}
				}
				if out.NextToken == nil {
					break
				}
				test.in.NextToken = out.NextToken
			}
			wantSame(t, got, test.want)
		})
	}
}

func TestRequestsAreRefusedWithAWSsCodes(t *testing.T) {
	long := strings.Repeat("x", 65537)
	tests := map[string]struct{ operation, body, code string }{
		"no secret":                       {"GetSecretValue", `{}`, "InvalidParameterException"},
		"an unknown version":              {"GetSecretValue", `{"SecretId":"keyring","VersionId":"absent"}`, "ResourceNotFoundException"},
		"a label that nothing has":        {"GetSecretValue", `{"SecretId":"keyring","VersionStage":"AWSPREVIOUS"}`, "ResourceNotFoundException"},
		"no value":                        {"PutSecretValue", `{"SecretId":"keyring"}`, "InvalidParameterException"},
		"two values":                      {"PutSecretValue", `{"SecretId":"keyring","SecretString":"a","SecretBinary":"AA=="}`, "InvalidParameterException"},
		"a value over 64 KiB":             {"PutSecretValue", `{"SecretId":"keyring","SecretString":"` + long + `"}`, "InvalidParameterException"},
		"an update over 64 KiB":           {"UpdateSecret", `{"SecretId":"keyring","SecretString":"` + long + `"}`, "InvalidParameterException"},
		"a short token":                   {"PutSecretValue", `{"SecretId":"keyring","SecretString":"a","ClientRequestToken":"short"}`, "InvalidParameterException"},
		"an empty label":                  {"PutSecretValue", `{"SecretId":"keyring","SecretString":"a","VersionStages":[""]}`, "InvalidParameterException"},
		"too many labels":                 {"PutSecretValue", `{"SecretId":"keyring","SecretString":"a","VersionStages":["1"` + strings.Repeat(`,"1"`, 20) + `]}`, "InvalidParameterException"},
		"an unknown secret described":     {"DescribeSecret", `{"SecretId":"absent"}`, "ResourceNotFoundException"},
		"a password of nothing":           {"GetRandomPassword", `{"ExcludeLowercase":true,"ExcludeUppercase":true,"ExcludeNumbers":true,"ExcludePunctuation":true}`, "InvalidParameterException"},
		"a request of another type":       {"GetSecretValue", `{"SecretId":1}`, "SerializationException"},
		"a list that is no request":       {"ListSecrets", `[]`, "SerializationException"},
		"what the template does instead":  {"CreateSecret", `{}`, "InvalidRequestException"},
		"a label of another version":      {"GetSecretValue", `{"SecretId":"keyring","VersionId":"VERSION","VersionStage":"AWSPREVIOUS"}`, "InvalidRequestException"},
		"a token that another value took": {"PutSecretValue", `{"SecretId":"keyring","SecretString":"a","ClientRequestToken":"VERSION"}`, "ResourceExistsException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			vault := newVault(t, nil)
			version := *mustGet(t, connect(t, vault, nil), client.GetSecretValueInput{SecretId: aws.String("keyring")}).VersionId
			body := strings.ReplaceAll(test.body, "VERSION", version)
			_, err := vault.Service().Serve(context.Background(), test.operation, []byte(body), func(string, string) error { return nil })
			e, ok := errors.AsType[*awsjson.Error](err)
			if !ok || e.Code != test.code {
				t.Errorf("error %v, want %s", err, test.code)
			}
		})
	}
}

func TestPermissionsAreAskedForEveryOperation(t *testing.T) {
	tests := map[string]struct{ body, want string }{
		"GetSecretValue":    {`{"SecretId":"keyring"}`, keyringARN},
		"PutSecretValue":    {`{"SecretId":"keyring","SecretString":"a"}`, keyringARN},
		"UpdateSecret":      {`{"SecretId":"keyring","SecretString":"a"}`, keyringARN},
		"DescribeSecret":    {`{"SecretId":"keyring"}`, keyringARN},
		"ListSecrets":       {`{}`, "*"},
		"GetRandomPassword": {`{}`, "*"},
	}
	for operation, test := range tests {
		t.Run(operation, func(t *testing.T) {
			vault := newVault(t, nil)
			denied := errors.New("denied")
			_, err := vault.Service().Serve(t.Context(), operation, []byte(test.body), func(action, arn string) error {
				wantSame(t, action+" on "+arn, "secretsmanager:"+operation+" on "+test.want)
				return denied
			})
			if !errors.Is(err, denied) {
				t.Errorf("error %v, want the refusal", err)
			}
			wantSame(t, *mustGet(t, connect(t, vault, nil), client.GetSecretValueInput{SecretId: aws.String("keyring")}).SecretString, "first")
		})
	}
}

func TestRefusalReachesTheClient(t *testing.T) {
	deny := policies(func(action, arn string) error { return awsjson.AccessDenied("deliver", action, arn) })
	_, err := connect(t, newVault(t, nil), deny).GetSecretValue(t.Context(), &client.GetSecretValueInput{SecretId: aws.String("keyring")})
	wantCode(t, err, "AccessDeniedException")
}

func TestGeneratedSecret(t *testing.T) {
	vault := newVault(t, nil)
	err := vault.CreateSecret(secretsmanager.Definition{
		Name: "generated",
		GenerateSecretString: &secretsmanager.GenerateSecretString{
			SecretStringTemplate: `{"primary":"k1"}`,
			GenerateStringKey:    "k1",
			Password:             secretsmanager.Password{PasswordLength: new(64), ExcludePunctuation: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := mustGet(t, connect(t, vault, nil), client.GetSecretValueInput{SecretId: aws.String("generated")})
	if !strings.HasPrefix(*out.ARN, "arn:aws:secretsmanager:eu-west-1:123456789012:secret:generated-") || len(*out.ARN) != len("arn:aws:secretsmanager:eu-west-1:123456789012:secret:generated-")+6 {
		t.Errorf("ARN %s does not end in six random characters", *out.ARN)
	}
	var keyring map[string]string
	if err := json.Unmarshal([]byte(*out.SecretString), &keyring); err != nil {
		t.Fatal(err)
	}
	wantSame(t, len(keyring), 2)
	wantSame(t, keyring["primary"], "k1")
	wantSame(t, len(keyring["k1"]), 64)
	if strings.ContainsFunc(keyring["k1"], func(r rune) bool { return strings.ContainsRune("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ", r) }) {
		t.Errorf("%q has punctuation", keyring["k1"])
	}
}

func TestCreateSecretRefuses(t *testing.T) {
	tests := map[string]secretsmanager.Definition{
		"no name":                    {SecretString: "s"},
		"a name with a space":        {Name: "a b", SecretString: "s"},
		"no value":                   {Name: "s"},
		"two values":                 {Name: "s", SecretString: "s", GenerateSecretString: &secretsmanager.GenerateSecretString{}},
		"a name that exists":         {Name: "keyring", SecretString: "s"},
		"an ARN that exists":         {Name: "s", ARN: keyringARN, SecretString: "s"},
		"a value over 64 KiB":        {Name: "s", SecretString: strings.Repeat("x", 65537)},
		"a template without key":     {Name: "s", GenerateSecretString: &secretsmanager.GenerateSecretString{SecretStringTemplate: "{}"}},
		"a key without template":     {Name: "s", GenerateSecretString: &secretsmanager.GenerateSecretString{GenerateStringKey: "k"}},
		"a template that is no JSON": {Name: "s", GenerateSecretString: &secretsmanager.GenerateSecretString{SecretStringTemplate: "k1", GenerateStringKey: "k"}},
		"a template that is null":    {Name: "s", GenerateSecretString: &secretsmanager.GenerateSecretString{SecretStringTemplate: "null", GenerateStringKey: "k"}},
		"a length of nothing":        {Name: "s", GenerateSecretString: &secretsmanager.GenerateSecretString{Password: secretsmanager.Password{PasswordLength: new(0)}}},
	}
	for name, definition := range tests {
		t.Run(name, func(t *testing.T) {
			if err := newVault(t, nil).CreateSecret(definition); !errors.Is(err, secretsmanager.ErrDefinition) {
				t.Errorf("error %v, want ErrDefinition", err)
			}
		})
	}
}

func TestRandomPasswordOverTheWire(t *testing.T) {
	out, err := connect(t, newVault(t, nil), nil).GetRandomPassword(t.Context(), &client.GetRandomPasswordInput{PasswordLength: aws.Int64(48)})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, len(*out.RandomPassword), 48)
}
