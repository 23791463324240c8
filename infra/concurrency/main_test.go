package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lambda answers like Lambda in an account whose limits are known.
type lambda struct {
	limit, unreserved int
	status            int    // 0 for 200
	code              string // of an error
	asked             []string
}

func (l *lambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.asked = append(l.asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	if l.status != 0 {
		w.Header().Set("X-Amzn-Errortype", l.code+":http://internal.amazon.com/")
		w.WriteHeader(l.status)
		fmt.Fprint(w, `{"message":"no such thing"}`)
		return
	}
	fmt.Fprintf(w, `{"AccountLimit":{"TotalCodeSize":1,"ConcurrentExecutions":%d,"UnreservedConcurrentExecutions":%d},"AccountUsage":{}}`,
		l.limit, l.unreserved)
}

// serve returns the flag that makes the command ask the account of l.
func (l *lambda) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	return "-endpoint=" + server.URL
}

// result is what a run has left.
type result struct {
	code     int
	out, err string
}

// start runs the command with credentials and a region of its own, and with nothing else that the machine may know of AWS.
func start(t *testing.T, variables map[string]string, arguments ...string) result {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config")
	profile := "[profile other]\nregion = ap-south-1\naws_access_key_id = OTHER\naws_secret_access_key = key\n"
	if err := os.WriteFile(config, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{
		"AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": config + "-none", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "",
		"AWS_ACCESS_KEY_ID": "MINE", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "",
		"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
	}
	maps.Copy(known, variables)
	for name, value := range known {
		t.Setenv(name, value)
	}
	var out, err bytes.Buffer
	c := &command{out: &out, err: &err, now: func() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC) }}
	code := c.run(t.Context(), append([]string{"-template", "../../template.yaml"}, arguments...))
	return result{code: code, out: out.String(), err: err.String()}
}

func TestAccountHasRoom(t *testing.T) {
	for name, test := range map[string]struct {
		unreserved  int
		environment string
		deploy      []string // what sam deploy gets
		code        int
		says        []string
		saysNot     string
	}{
		"a new account has room for a sandbox": {
			unreserved: 10, environment: "sandbox", says: []string{"sandbox needs a concurrency of 10; the account has 10 in eu-central-1"},
		},
		"one less has none": {
			unreserved: 9, environment: "sandbox", code: exitFailure,
			says: []string{"can run 10 functions", ": 1 are missing"}, saysNot: "use less",
		},
		"a new account has no room for production, not even for the least": {
			unreserved: 10, environment: "production", code: exitFailure,
			says: []string{
				"can run 85 functions", "of DeliveryQueue (DeliverConcurrency)  50", "other functions have reserved 990: 75 are missing",
				"--region eu-central-1 ", "--service-code lambda --quota-code L-B99A9384 --desired-value 1075",
			},
			saysNot: "use less",
		},
		"half of it is enough for the least": {
			unreserved: 40, environment: "production", code: exitFailure,
			says: []string{": 45 are missing", "Environment=production DeliverConcurrency=2 RetryConcurrency=2"},
		},
		"an older account has room for production": {
			unreserved: 1000, environment: "production", says: []string{"production needs a concurrency of 85"},
		},
		"parameters count that are given": {
			unreserved: 100, environment: "production", says: []string{"needs a concurrency of 96"},
			deploy: []string{"--parameter-overrides", "Environment=production", "DeliverConcurrency=60", "RetryConcurrency=21"},
		},
		"a parameter of 0 is what fits the environment": {
			unreserved: 100, environment: "production", says: []string{"needs a concurrency of 85"},
			deploy: []string{"--parameter-overrides", "DeliverConcurrency=0"},
		},
		"the environment that is deployed counts": {
			unreserved: 10, environment: "production", says: []string{"sandbox needs a concurrency of 10"},
			deploy: []string{"--parameter-overrides", "Environment=sandbox"},
		},
		"an environment that there is not": {
			environment: "staging", code: exitUsage, says: []string{`no environment "staging", only production and sandbox`},
		},
		"a concurrency that is no number": {
			environment: "sandbox", code: exitUsage, says: []string{`"many" is no number`},
			deploy: []string{"--parameter-overrides", "DeliverConcurrency=many"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			account := &lambda{limit: 1000, unreserved: test.unreserved}
			got := start(t, nil, append([]string{account.serve(t), "-environment", test.environment, "--"}, test.deploy...)...)
			if got.code != test.code {
				t.Fatalf("exit code %d, want %d: %s%s", got.code, test.code, got.out, got.err)
			}
			for _, text := range test.says {
				if !strings.Contains(got.out+got.err, text) {
					t.Errorf("does not say %q:\n%s%s", text, got.out, got.err)
				}
			}
			if test.saysNot != "" && strings.Contains(got.err, test.saysNot) {
				t.Errorf("says %q:\n%s", test.saysNot, got.err)
			}
		})
	}
}

func TestAccountIsAskedAsTheOneWhoDeploys(t *testing.T) {
	for name, test := range map[string]struct {
		variables map[string]string
		deploy    []string
		scope     string
	}{
		"the environment": {scope: "MINE/20260314/eu-central-1/lambda/aws4_request"},
		"the region of the CLI": {
			variables: map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "sa-east-1"},
			scope:     "MINE/20260314/sa-east-1/lambda/aws4_request",
		},
		"the region that sam gets":      {deploy: []string{"--region", "us-west-2"}, scope: "MINE/20260314/us-west-2/lambda/aws4_request"},
		"the same, written in one word": {deploy: []string{"--region=us-west-2"}, scope: "MINE/20260314/us-west-2/lambda/aws4_request"},
		"the profile that sam gets": {
			variables: map[string]string{"AWS_REGION": "", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
			deploy:    []string{"--profile", "other"},
			scope:     "OTHER/20260314/ap-south-1/lambda/aws4_request",
		},
	} {
		t.Run(name, func(t *testing.T) {
			account := &lambda{limit: 1000, unreserved: 1000}
			got := start(t, test.variables, append([]string{account.serve(t), "-environment", "sandbox", "--"}, test.deploy...)...)
			if got.code != 0 || len(account.asked) != 1 {
				t.Fatalf("exit code %d after %d requests: %s", got.code, len(account.asked), got.err)
			}
			want := "GET /2016-08-19/account-settings AWS4-HMAC-SHA256 Credential=" + test.scope
			if !strings.HasPrefix(account.asked[0], want) {
				t.Errorf("asked %s\nwant %s", account.asked[0], want)
			}
		})
	}
}

func TestDeployingDoesNotBeginWithoutAnAccount(t *testing.T) {
	for name, test := range map[string]struct {
		variables map[string]string
		says      string
	}{
		"no region": {variables: map[string]string{"AWS_REGION": ""}, says: "no AWS region"},
		"no credentials": {
			variables: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, says: "no credentials",
		},
		"a profile that there is not": {variables: map[string]string{"AWS_PROFILE": "nobody"}, says: "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			got := start(t, test.variables, "-environment", "sandbox")
			if got.code != exitFailure || !strings.Contains(got.err, test.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", got.code, exitFailure, test.says, got.err)
			}
		})
	}
}

func TestLambdaDoesNotAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		account lambda
		code    int
		says    string
	}{
		"credentials that are not valid": {
			account: lambda{status: http.StatusForbidden, code: "UnrecognizedClientException"},
			code:    exitFailure, says: "UnrecognizedClientException (403)",
		},
		"a service that is away": {
			account: lambda{status: http.StatusServiceUnavailable, code: "ServiceException"},
			code:    exitFailure,
			says:    "ServiceException (503)",
		},
		"an answer without limits": {code: exitFailure, says: "there is no limit in it"},
		"who may deploy and not ask goes on": {
			account: lambda{status: http.StatusForbidden, code: "AccessDeniedException"},
			says:    "not checked, whether the account has room for 10",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := start(t, nil, test.account.serve(t), "-environment", "sandbox")
			if got.code != test.code || !strings.Contains(got.err, test.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", got.code, test.code, test.says, got.err)
			}
		})
	}
}
