package deployed

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// alone takes away what the machine knows of AWS.
func alone(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, name := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_WEB_IDENTITY_TOKEN_FILE",
	} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

func TestConfig(t *testing.T) {
	id := map[string]string{"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "key"}
	for name, test := range map[string]struct {
		variables           map[string]string
		arguments           []string
		region, key, refuse string
		endpoint            string
	}{
		"an endpoint needs neither credentials nor region": {
			arguments: []string{"-endpoint", "http://127.0.0.1:1"},
			region:    "us-east-1",
			key:       "local",
			endpoint:  "http://127.0.0.1:1",
		},
		"an endpoint gets the credentials that there are": {
			variables: id,
			arguments: []string{"-endpoint", "http://127.0.0.1:1", "-region", "eu-west-1"},
			region:    "eu-west-1",
			key:       "mine",
			endpoint:  "http://127.0.0.1:1",
		},
		"AWS needs a region": {variables: id, refuse: "no AWS region"},
		"the flag names a region": {
			variables: id,
			arguments: []string{"-region", "eu-west-1"},
			region:    "eu-west-1",
			key:       "mine",
		},
		"the environment names a region": {
			variables: map[string]string{"AWS_REGION": "eu-west-2", "AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "key"},
			region:    "eu-west-2",
			key:       "mine",
		},
		"the flag goes before the environment": {
			variables: map[string]string{"AWS_REGION": "eu-west-2", "AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "key"},
			arguments: []string{"-region", "eu-west-1"},
			region:    "eu-west-1",
			key:       "mine",
		},
		"a profile that there is not is an error that says so": {variables: map[string]string{"AWS_PROFILE": "nobody"}, refuse: "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			alone(t, test.variables)
			var flags Flags
			set := flag.NewFlagSet("test", flag.ContinueOnError)
			flags.Register(set)
			if err := set.Parse(test.arguments); err != nil {
				t.Fatal(err)
			}
			loaded, err := flags.Config(t.Context())
			if test.refuse != "" {
				if err == nil || !strings.Contains(err.Error(), test.refuse) {
					t.Fatalf("got %v, want an error about %s", err, test.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			credentials, err := loaded.Credentials.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			endpoint := ""
			if loaded.BaseEndpoint != nil {
				endpoint = *loaded.BaseEndpoint
			}
			if loaded.Region != test.region || credentials.AccessKeyID != test.key || endpoint != test.endpoint {
				t.Errorf("got %s, %s, %s", loaded.Region, credentials.AccessKeyID, endpoint)
			}
		})
	}
}

func TestNames(t *testing.T) {
	outputs := func(pairs ...string) string {
		var members strings.Builder
		for i := 0; i < len(pairs); i += 2 {
			fmt.Fprintf(&members, "<member><OutputKey>%s</OutputKey><OutputValue>%s</OutputValue></member>", pairs[i], pairs[i+1])
		}
		return "<DescribeStacksResponse><DescribeStacksResult><Stacks><member>" +
			"<StackName>s</StackName><CreationTime>2026-03-14T15:09:26Z</CreationTime>" +
			"<StackStatus>CREATE_COMPLETE</StackStatus><Outputs>" + members.String() + "</Outputs>" +
			"</member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
	}
	for name, test := range map[string]struct {
		flags  Flags
		status int
		answer string
		asked  string // the stack that CloudFormation is asked for, "" if it is not
		want   map[string]string
		refuse string
	}{
		"a stack's outputs are the names": {
			flags:  Flags{Name: "hooks"},
			status: 200,
			answer: outputs("ApiKeysTable", "hooks-keys-1", "ApiUrl", "https://x"),
			asked:  "hooks",
			want:   map[string]string{"ApiKeysTable": "hooks-keys-1", "ApiUrl": "https://x"},
		},
		"locally the logical ids are the names": {want: map[string]string{"ApiKeysTable": "ApiKeysTable"}},
		"another stack lacks the output": {
			flags:  Flags{Name: "shop"},
			status: 200,
			answer: outputs("Url", "x"),
			asked:  "shop",
			refuse: "no output ApiKeysTable",
		},
		"a stack that there is not": {
			flags:  Flags{Name: "none"},
			status: 400,
			answer: "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>" +
				"<Message>Stack with id none does not exist</Message></Error></ErrorResponse>",
			asked:  "none",
			refuse: "Stack with id none does not exist",
		},
	} {
		t.Run(name, func(t *testing.T) {
			alone(t, nil)
			asked := ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.FormValue("StackName")
				w.Header().Set("Content-Type", "text/xml")
				w.WriteHeader(test.status)
				io.WriteString(w, test.answer)
			}))
			defer server.Close()
			test.flags.Endpoint = server.URL
			loaded, err := test.flags.Config(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := test.flags.Names(t.Context(), loaded, "ApiKeysTable")
			if test.refuse != "" && (err == nil || !strings.Contains(err.Error(), test.refuse)) || test.refuse == "" && err != nil {
				t.Errorf("got error %v, want one about %q", err, test.refuse)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if asked != test.asked {
				t.Errorf("CloudFormation was asked for %q, want %q", asked, test.asked)
			}
		})
	}
}

func TestHostOfLambda(t *testing.T) {
	for region, want := range map[string]string{"eu-central-1": "amazonaws.com", "cn-north-1": "amazonaws.com.cn"} {
		if got := suffix(region); got != want {
			t.Errorf("%s: %s, want %s", region, got, want)
		}
	}
}
