package jsonapi

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parametersOf are known, and take any value.
func parametersOf(names ...string) Parameters {
	known := Parameters{}
	for _, name := range names {
		known[name] = nil
	}
	return known
}

func TestQueryTakesBracketsBothWays(t *testing.T) {
	for _, raw := range []string{"page[size]=7", "page%5Bsize%5D=7", "page%5bsize]=7", "&page[size]=7&"} {
		q := ParseQuery(raw, parametersOf(PageSize))
		if size := q.Size(); size != 7 || q.Err() != nil {
			t.Errorf("%s: size %d, %v", raw, size, q.Err())
		}
	}
}

func TestLinksKeepTheFilters(t *testing.T) {
	q := ParseQuery("page[size]=2&filter[a]=x%26y+z&page[after]=OLD", parametersOf(PageSize, PageAfter, "filter[a]"))
	if err := q.Err(); err != nil {
		t.Fatal(err)
	}
	next := "/things?filter%5Ba%5D=x%26y+z&page%5Bafter%5D=NEW&page%5Bsize%5D=2"
	want := &Links{
		Self:  "/things?filter%5Ba%5D=x%26y+z&page%5Bafter%5D=OLD&page%5Bsize%5D=2",
		First: "/things?filter%5Ba%5D=x%26y+z&page%5Bsize%5D=2",
		Next:  &next,
	}
	if diff := cmp.Diff(want, q.Links("/things", "NEW")); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	want.Next = nil
	if diff := cmp.Diff(want, q.Links("/things", "")); diff != "" {
		t.Errorf("links of the last page (-want +got):\n%s", diff)
	}
}

func TestScopeLeavesPagesOut(t *testing.T) {
	q := ParseQuery("page[size]=2&b=2&page[after]=x&a=1", parametersOf(PageSize, PageAfter, "a", "b"))
	if err := q.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "1", "b", "2"}, q.Scope()); diff != "" {
		t.Errorf("scope (-want +got):\n%s", diff)
	}
}

func TestScopesCannotBeConfused(t *testing.T) {
	c := Cursor{"a", "b"}
	scopes := [][]string{nil, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {`a","b`}, {"a", "b", ""}}
	for i, scope := range scopes {
		for j, other := range scopes {
			q := ParseQuery(PageAfter+"="+c.Encode(scope...), parametersOf(PageAfter))
			got, err := q.Cursor(func(Cursor) bool { return true }, other...)
			if (err == nil) != (i == j) {
				t.Errorf("a cursor of the scope %q in the scope %q: %q, %v", scope, other, got, err)
			}
		}
	}
}
