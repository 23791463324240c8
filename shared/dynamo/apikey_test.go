package dynamo_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docuhook/docuhook/shared/apikey"
	"github.com/docuhook/docuhook/shared/dynamo"
	"github.com/docuhook/docuhook/shared/dynamo/dynamotest"
	"github.com/docuhook/docuhook/shared/webhook"
)

func TestAPIKeys(t *testing.T) {
	db := dynamotest.New(t)
	keys := &dynamo.APIKeys{Client: db.Client, Table: "ApiKeysTable"}
	one := apikey.Key{Hash: apikey.Hash("one"), OrganizationID: organization, Name: "production", CreatedAt: moment(0).String()}
	two := apikey.Key{Hash: apikey.Hash("two"), OrganizationID: foreign, Name: "", CreatedAt: moment(1).String()}
	for _, key := range []apikey.Key{one, two} {
		if err := keys.Add(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	get := func(hash string) *apikey.Key {
		t.Helper()
		key, err := keys.Get(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	list := func(organizationID string) []apikey.Key {
		t.Helper()
		all, err := keys.List(t.Context(), organizationID)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b apikey.Key) int { return strings.Compare(a.CreatedAt, b.CreatedAt) })
		return all
	}
	if diff := cmp.Diff(&one, get(one.Hash)); diff != "" {
		t.Errorf("a key is found by its hash: %s", diff)
	}
	if got := get(apikey.Hash("three")); got != nil {
		t.Errorf("an unknown key is nil, not %v", got)
	}
	if err := keys.Add(t.Context(), apikey.Key{Hash: one.Hash, OrganizationID: foreign}); !errors.Is(err, webhook.ErrConflict) {
		t.Errorf("a key that is there: got %v, want ErrConflict", err)
	}
	if diff := cmp.Diff([]apikey.Key{one, two}, list("")); diff != "" {
		t.Errorf("all keys: %s", diff)
	}
	if diff := cmp.Diff([]apikey.Key{two}, list(foreign)); diff != "" {
		t.Errorf("the keys of one organization: %s", diff)
	}
	for s := range 2 { // the first revocation counts
		if err := keys.Revoke(t.Context(), one.Hash, moment(100+s)); err != nil {
			t.Fatal(err)
		}
		if got := get(one.Hash).RevokedAt; got != moment(100).String() {
			t.Errorf("revoked at %q", got)
		}
	}
	if err := keys.Revoke(t.Context(), apikey.Hash("three"), moment(0)); !errors.Is(err, webhook.ErrNotFound) {
		t.Errorf("revoking an unknown key: got %v, want ErrNotFound", err)
	}
	if n := len(list("")); n != 2 {
		t.Errorf("%d keys in the end, want 2", n)
	}
	db.Intercept(func(string, []byte) *dynamotest.Fault { return down() })
	_, errGet := keys.Get(t.Context(), one.Hash)
	_, errList := keys.List(t.Context(), "")
	for name, err := range map[string]error{
		"Get":    errGet,
		"List":   errList,
		"Add":    keys.Add(t.Context(), one),
		"Revoke": keys.Revoke(t.Context(), one.Hash, moment(0)),
	} {
		if err == nil || errors.Is(err, webhook.ErrNotFound) || errors.Is(err, webhook.ErrConflict) {
			t.Errorf("%s while DynamoDB is away: %v", name, err)
		}
	}
}

func TestDocuments(t *testing.T) {
	for name, test := range map[string]struct {
		item string // "" for none
		want string // organization, status and updated_at, "" for nil
	}{
		"a document is what webhooks need of it": {
			item: `"organization_id":{"S":"org"},"status":{"S":"processed"},` +
				`"updated_at":{"S":"2026-01-01T00:00:00Z"},"secret":{"S":"x"}`,
			want: "org processed 2026-01-01T00:00:00Z",
		},
		"a document without updated_at lacks it": {`"organization_id":{"S":"org"},"status":{"S":"processed"}`, "org processed "},
		"a number is as good a time as any": {
			item: `"organization_id":{"S":"org"},"status":{"S":"processed"},"updated_at":{"N":"1700000000"}`,
			want: "org processed 1700000000",
		},
		"attributes of other types are as if absent":  {`"organization_id":{"N":"7"},"status":{"M":{}},"updated_at":{"BOOL":true}`, "  "},
		"a status that nobody knows is read as it is": {`"organization_id":{"S":"org"},"status":{"S":"archived"}`, "org archived "},
		"no document is nil":                          {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			db := dynamotest.New(t)
			db.Intercept(func(operation string, body []byte) *dynamotest.Fault {
				asked := string(body)
				if operation != "GetItem" || !strings.Contains(asked, `"ConsistentRead":true`) || strings.Contains(asked, "secret") {
					t.Errorf("%s of %s", operation, asked)
				}
				if test.item == "" {
					return nil
				}
				return &dynamotest.Fault{Status: 200, Body: `{"Item":{` + test.item + `}}`}
			})
			d, err := (&dynamo.Documents{Client: db.Client, Table: "DocumentsTable"}).Get(t.Context(), documentID)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if d != nil {
				got = d.OrganizationID + " " + string(d.Status) + " " + d.UpdatedAt
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	t.Run("an error is no missing document", func(t *testing.T) {
		db := dynamotest.New(t)
		always(db, "GetItem", down())
		if d, err := (&dynamo.Documents{Client: db.Client, Table: "DocumentsTable"}).Get(t.Context(), documentID); err == nil {
			t.Errorf("got %v and no error", d)
		}
	})
}
