package secretsmanager_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/secretsmanager"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

const keyringARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:keyring-AbC123"

// newVault has the secrets keyring, with the value "first", and api/token.
func newVault(t testing.TB) *secretsmanager.Vault {
	t.Helper()
	vault := secretsmanager.New(secretsmanager.Options{Region: "eu-west-1", Account: "123456789012"})
	for _, d := range []secretsmanager.Definition{
		{Name: "keyring", ARN: keyringARN, SecretString: "first"},
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
	server := httptest.NewServer(&awsjson.Server{
		Services: map[string]awsjson.Service{"secretsmanager": vault.Service()},
		Policies: allowed,
	})
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
		"nothing else":                 {"absent", "ResourceNotFoundException"},
		"no ARN of another random end": {strings.Replace(keyringARN, "AbC123", "xyz789", 1), "ResourceNotFoundException"},
		"no part of its name":          {"key", "ResourceNotFoundException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := connect(t, newVault(t), nil)
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
	c := connect(t, newVault(t), nil)
	id := aws.String("keyring")
	first := *mustGet(t, c, client.GetSecretValueInput{SecretId: id}).VersionId
	mustPut(t, c, client.PutSecretValueInput{SecretId: id, SecretString: aws.String("second")})

	stage := func(name string) string {
		return *mustGet(t, c, client.GetSecretValueInput{SecretId: id, VersionStage: &name}).SecretString
	}
	wantSame(t, []string{stage("AWSCURRENT"), stage("AWSPREVIOUS")}, []string{"second", "first"})

	mustPut(t, c, client.PutSecretValueInput{SecretId: id, SecretString: aws.String("third")})
	wantSame(t, []string{stage("AWSCURRENT"), stage("AWSPREVIOUS")}, []string{"third", "second"})
	// A version without labels can still be read by its id.
	wantSame(t, *mustGet(t, c, client.GetSecretValueInput{SecretId: id, VersionId: &first}).SecretString, "first")
}

func TestPutWithAToken(t *testing.T) {
	c := connect(t, newVault(t), nil)
	token := aws.String("0123456789abcdef0123456789abcdef")
	put := func(value string) (*client.PutSecretValueOutput, error) {
		return c.PutSecretValue(t.Context(), &client.PutSecretValueInput{
			SecretId: aws.String("keyring"), SecretString: &value, ClientRequestToken: token,
		})
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
		before := mustGet(t, c, client.GetSecretValueInput{SecretId: aws.String("keyring"), VersionStage: aws.String("AWSPREVIOUS")})
		wantSame(t, *before.SecretString, "first")
	})
	t.Run("is refused for another value", func(t *testing.T) {
		_, err := put("third")
		wantCode(t, err, "ResourceExistsException")
	})
}

func TestRequestsAreRefusedWithAWSsCodes(t *testing.T) {
	long := strings.Repeat("x", 65537)
	tests := map[string]struct{ operation, body, code, says string }{
		"no secret": {
			operation: "GetSecretValue", body: `{}`, code: "InvalidParameterException",
		},
		"an unknown version": {
			operation: "GetSecretValue", body: `{"SecretId":"keyring","VersionId":"absent"}`, code: "ResourceNotFoundException",
		},
		"a label that nothing has": {
			operation: "GetSecretValue", body: `{"SecretId":"keyring","VersionStage":"AWSPREVIOUS"}`, code: "ResourceNotFoundException",
		},
		"a label of another version": {
			operation: "GetSecretValue", body: `{"SecretId":"keyring","VersionId":"VERSION","VersionStage":"AWSPREVIOUS"}`,
			code: "InvalidRequestException",
		},
		"a request of another type": {
			operation: "GetSecretValue", body: `{"SecretId":1}`, code: "SerializationException",
		},
		"no value": {
			operation: "PutSecretValue", body: `{"SecretId":"keyring"}`, code: "InvalidParameterException",
		},
		"a binary value": {
			operation: "PutSecretValue", body: `{"SecretId":"keyring","SecretBinary":"AA=="}`,
			code: "InvalidParameterException", says: "SecretBinary is not supported by the local stack",
		},
		"a value over 64 KiB": {
			operation: "PutSecretValue", body: `{"SecretId":"keyring","SecretString":"` + long + `"}`, code: "InvalidParameterException",
		},
		"a short token": {
			operation: "PutSecretValue", body: `{"SecretId":"keyring","SecretString":"a","ClientRequestToken":"short"}`,
			code: "InvalidParameterException",
		},
		"a token that another value took": {
			operation: "PutSecretValue", body: `{"SecretId":"keyring","SecretString":"a","ClientRequestToken":"VERSION"}`,
			code: "ResourceExistsException",
		},
		"a label of one's own": {
			operation: "PutSecretValue", body: `{"SecretId":"keyring","SecretString":"a","VersionStages":["NEXT"]}`,
			code: "InvalidParameterException", says: "VersionStages are not supported by the local stack",
		},
		"an unknown secret": {
			operation: "GetSecretValue", body: `{"SecretId":"absent"}`, code: "ResourceNotFoundException",
		},
		"what the template does instead": {
			operation: "CreateSecret",
			body:      `{}`,
			code:      "InvalidRequestException",
			says:      "CreateSecret is not supported by the local stack",
		},
		"an update instead of a new value": {
			operation: "UpdateSecret", body: `{"SecretId":"keyring","SecretString":"a"}`,
			code: "InvalidRequestException", says: "UpdateSecret is not supported by the local stack",
		},
		"a list": {
			operation: "ListSecrets", body: `{}`, code: "InvalidRequestException", says: "ListSecrets is not supported by the local stack",
		},
		"a random password": {
			operation: "GetRandomPassword", body: `{}`, code: "InvalidRequestException", says: "GetRandomPassword is not supported by " +
				"the local stack",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			vault := newVault(t)
			version := *mustGet(t, connect(t, vault, nil), client.GetSecretValueInput{SecretId: aws.String("keyring")}).VersionId
			body := strings.ReplaceAll(test.body, "VERSION", version)
			_, err := vault.Service().Serve(context.Background(), test.operation, []byte(body), func(string, string) error { return nil })
			e, ok := errors.AsType[*awsjson.Error](err)
			if !ok || e.Code != test.code || !strings.Contains(e.Message, test.says) {
				t.Errorf("error %v, want %s that says %q", err, test.code, test.says)
			}
		})
	}
}

func TestPermissionsAreAskedForEveryOperation(t *testing.T) {
	for operation, body := range map[string]string{
		"GetSecretValue": `{"SecretId":"keyring"}`,
		"PutSecretValue": `{"SecretId":"keyring","SecretString":"a"}`,
	} {
		t.Run(operation, func(t *testing.T) {
			vault := newVault(t)
			denied := errors.New("denied")
			_, err := vault.Service().Serve(t.Context(), operation, []byte(body), func(action, arn string) error {
				wantSame(t, action+" on "+arn, "secretsmanager:"+operation+" on "+keyringARN)
				return denied
			})
			if !errors.Is(err, denied) {
				t.Errorf("error %v, want the refusal", err)
			}
			wantSame(t, *mustGet(t, connect(t, vault, nil), client.GetSecretValueInput{
				SecretId: aws.String("keyring"),
			}).SecretString, "first")
		})
	}
}

func TestRefusalReachesTheClient(t *testing.T) {
	deny := policies(func(action, arn string) error { return awsjson.AccessDenied("deliver", action, arn) })
	_, err := connect(t, newVault(t), deny).GetSecretValue(t.Context(), &client.GetSecretValueInput{SecretId: aws.String("keyring")})
	wantCode(t, err, "AccessDeniedException")
}

func TestGeneratedSecret(t *testing.T) {
	vault := newVault(t)
	err := vault.CreateSecret(secretsmanager.Definition{
		Name: "generated",
		GenerateSecretString: &template.Generate{
			Template:           `{"primary":"k1"}`,
			Key:                "k1",
			Length:             64,
			ExcludePunctuation: true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := mustGet(t, connect(t, vault, nil), client.GetSecretValueInput{SecretId: aws.String("generated")})
	if want := "arn:aws:secretsmanager:eu-west-1:123456789012:secret:generated"; *out.ARN != want {
		t.Errorf("ARN %s, want %s", *out.ARN, want)
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
	generated := func(g template.Generate) secretsmanager.Definition {
		if g.Length == 0 {
			g.Length = 32
		}
		return secretsmanager.Definition{Name: "s", GenerateSecretString: &g}
	}
	tests := map[string]secretsmanager.Definition{
		"no name":             {SecretString: "s"},
		"a name with a space": {Name: "a b", SecretString: "s"},
		"no value":            {Name: "s"},
		"two values": {
			Name: "s", SecretString: "s", GenerateSecretString: &template.Generate{Length: 32},
		},
		"a name that exists":         {Name: "keyring", SecretString: "s"},
		"an ARN that exists":         {Name: "s", ARN: keyringARN, SecretString: "s"},
		"a value over 64 KiB":        {Name: "s", SecretString: strings.Repeat("x", 65537)},
		"a template without key":     generated(template.Generate{Template: "{}"}),
		"a key without template":     generated(template.Generate{Key: "k"}),
		"a template that is no JSON": generated(template.Generate{Template: "k1", Key: "k"}),
		"a template that is null":    generated(template.Generate{Template: "null", Key: "k"}),
		"a length of nothing":        generated(template.Generate{Length: -1}),
	}
	for name, definition := range tests {
		t.Run(name, func(t *testing.T) {
			if err := newVault(t).CreateSecret(definition); !errors.Is(err, secretsmanager.ErrDefinition) {
				t.Errorf("error %v, want ErrDefinition", err)
			}
		})
	}
}
