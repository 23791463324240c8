package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/api"
	"github.com/docuhook/docuhook/shared/apikey"
)

type keys struct {
	get func(hash string) (*apikey.Key, error)
}

func (k keys) Get(_ context.Context, hash string) (*apikey.Key, error) { return k.get(hash) }

func TestAuthorize(t *testing.T) {
	const key = "dk_test_key"
	valid := apikey.Key{Hash: apikey.Hash(key), OrganizationID: ours, Name: "n", CreatedAt: "2026-01-01T00:00:00.000Z"}
	with := func(change func(*apikey.Key)) *apikey.Key {
		k := valid
		change(&k)
		return &k
	}
	for _, test := range []struct {
		name    string
		sources []string
		found   *apikey.Key
		err     error
		want    bool
		asked   bool
	}{
		{name: "a key is its organization", sources: []string{key}, found: &valid, want: true, asked: true},
		{name: "an unknown key is denied", sources: []string{key}, asked: true},
		{
			name: "a revoked key is denied", sources: []string{key}, asked: true,
			found: with(func(k *apikey.Key) { k.RevokedAt = "2026-01-02T00:00:00.000Z" }),
		},
		{
			name: "a key without an organization is denied", sources: []string{key}, asked: true,
			found: with(func(k *apikey.Key) { k.OrganizationID = "" }),
		},
		{
			name: "another key's item is denied", sources: []string{key}, asked: true,
			found: with(func(k *apikey.Key) { k.Hash = apikey.Hash("other") }),
		},
		{name: "an empty key is denied unread", sources: []string{""}, found: &valid},
		{name: "no key is denied unread", found: &valid},
		{name: "two keys are denied unread", sources: []string{key, key}, found: &valid},
		{name: "a very long key is denied unread", sources: []string{strings.Repeat("k", apikey.MaxLength+1)}, found: &valid},
		{name: "a table that cannot be read is an error", sources: []string{key}, err: errors.New("throttled"), asked: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := false
			authorize := api.Authorize{Keys: keys{func(hash string) (*apikey.Key, error) {
				asked = true
				if hash != apikey.Hash(test.sources[0]) || strings.Contains(hash, key) {
					t.Errorf("asked for %q", hash)
				}
				return test.found, test.err
			}}}
			got, err := authorize.Handle(t.Context(), events.APIGatewayV2CustomAuthorizerV2Request{IdentitySource: test.sources})
			want := events.APIGatewayV2CustomAuthorizerSimpleResponse{IsAuthorized: test.want}
			if test.want {
				want.Context = map[string]any{"organization_id": ours}
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if !errors.Is(err, test.err) || asked != test.asked {
				t.Errorf("error %v, table asked: %t", err, asked)
			}
		})
	}
}
