package secrets

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

const arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:keyring-AbCdEf"

func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   string
		fails  string // part of the error, "" if there is none
	}{
		"the string of a secret is its value": {
			status: 200,
			body:   `{"SecretString":"{\"primary\":\"k1\"}","VersionId":"v"}`,
			want:   `{"primary":"k1"}`,
		},
		"an empty string is a value":  {status: 200, body: `{"SecretString":""}`},
		"a binary secret is an error": {status: 200, body: `{"SecretBinary":"c2VjcmV0"}`, fails: "no string value"},
		"a secret that is not there": {
			status: 400,
			body:   `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`,
			fails:  "ResourceNotFoundException",
		},
		"a secret that may not be read": {
			status: 400,
			body:   `{"__type":"AccessDeniedException","Message":"not authorized"}`,
			fails:  "AccessDeniedException",
		},
		"a service that is away":    {status: 500, body: `{"__type":"InternalServiceError"}`, fails: "InternalServiceError"},
		"an answer that is no JSON": {status: 200, body: `<html>`, fails: "reading the secret"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				target := r.Header.Get("X-Amz-Target")
				if target != "secretsmanager.GetSecretValue" || !strings.Contains(string(body), arn) {
					t.Errorf("%s of %s", target, body)
				}
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}))
			defer server.Close()
			secret := &Secret{ARN: arn, Client: secretsmanager.New(secretsmanager.Options{
				Region: "eu-central-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: server.Client(),
				Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""),
			})}
			value, err := secret.Read(t.Context())
			if string(value) != test.want {
				t.Errorf("got %q, want %q", value, test.want)
			}
			if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("got error %v, want one about %q", err, test.fails)
			}
			if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
				t.Error("the error quotes the secret")
			}
		})
	}
}
