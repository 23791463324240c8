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
		{"a key is its organization", []string{key}, &valid, nil, true, true},
		{"an unknown key is denied", []string{key}, nil, nil, false, true},
		{"a revoked key is denied", []string{key}, with(func(k *apikey.Key) { k.RevokedAt = "2026-01-02T00:00:00.000Z" }), nil, false, true},
		{"a key without an organization is denied", []string{key}, with(func(k *apikey.Key) { k.OrganizationID = "" }), nil, false, true},
		{"another key's item is denied", []string{key}, with(func(k *apikey.Key) { k.Hash = apikey.Hash("other") }), nil, false, true},
		{"an empty key is denied unread", []string{""}, &valid, nil, false, false},
		{"no key is denied unread", nil, &valid, nil, false, false},
		{"two keys are denied unread", []string{key, key}, &valid, nil, false, false},
		{"a very long key is denied unread", []string{strings.Repeat("k", apikey.MaxLength+1)}, &valid, nil, false, false},
		{"a table that cannot be read is an error", []string{key}, nil, errors.New("throttled"), false, true},
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
