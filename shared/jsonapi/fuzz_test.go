package jsonapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"testing"
)

// status returns the status of an error, which must be one of this package with a client's status.
func status(t *testing.T, err error) int {
	t.Helper()
	var problems Errors
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("not a JSON:API error: %v", err)
	}
	for _, problem := range problems {
		if problem.Status < 400 || problem.Status > 499 || problem.Code == "" || problem.Detail == "" {
			t.Fatalf("error object %+v", problem)
		}
	}
	return problems[0].Status
}

// FuzzParseRequest: nothing panics, every refusal is a client error with pointers into the
// document, and what is accepted is JSON that says the same when it is written again.
func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"type":"webhook_config","attributes":{"url":"https://a.example/","is_active":true,"subscribed_statuses":["failed"],"overlap_seconds":7}}}`,
		`{"data":{"type":"webhook_config","id":"7","attributes":{}}}`,
		`{"data":{"type":"webhook_config","attributes":{"url":null,"subscribed_statuses":[null,1],"x/y~z":[]}}}`,
		`{"data":{"type":"webhook_config","type":"other"}}`, `{"data":[]}`, `{"data":null}`, `[]`, `null`, `7`, `"`, ``, "\ufeff{}", `{} {}`,
		`{"data":{"type":"webhook_config","relationships":{},"lid":"1"}}`, `[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]`, "{\"\xff\":1}",
		`{"data":{"type":"webhook_config","attributes":{"url":"\ud800","overlap_seconds":1e400}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, rule := range []IDRule{RefuseID(), AllowID("7"), RequireID("7")} {
			request, err := ParseRequest(body, "webhook_config", rule)
			if err != nil {
				status(t, err)
				continue
			}
			var text string
			var texts []string
			var number int64
			problems := request.Read(map[string]Attribute{
				"url": {Text: func(s string) { text = s }, Required: true}, "subscribed_statuses": {Texts: func(s []string) { texts = s }},
				"is_active": {Bool: func(bool) {}}, "overlap_seconds": {Integer: func(n int64) { number = n }}, "created_at": {ReadOnly: true},
			})
			if len(problems) > 0 {
				status(t, problems)
				continue
			}
			if !json.Valid(body) {
				t.Fatalf("accepted what is no JSON: %q", body)
			}
			attributes := map[string]any{"url": text}
			if texts != nil {
				attributes["subscribed_statuses"] = texts
			}
			if _, said := request.Attributes["overlap_seconds"]; said {
				attributes["overlap_seconds"] = number
			}
			again, err := json.Marshal(map[string]any{"data": map[string]any{"type": "webhook_config", "attributes": attributes, "id": "7"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseRequest(again, "webhook_config", AllowID("7")); err != nil {
				t.Fatalf("accepted %q but not %q: %v", body, again, err)
			}
		}
	})
}

// FuzzParseQuery: nothing panics, every refusal is a client error, and what is accepted comes back
// from its own links.
func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		"", "page[size]=5", "page%5Bsize%5D=5&page[after]=abc", "filter[status]=failed&filter[status]=failed", "x=1", "a=%zz", "filter[status]=%ff",
		"page[size]=0", "page[size]=+5", "page[size]=05", "page[size]=99999999999999999999", ";", "&&&", "=", "filter%5bstatus%5d=%00", "include=x", "fields[a]=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		query := ParseQuery(raw, "filter[status]", PageSize, PageAfter)
		if size := query.Size(); size < 1 || size > MaxPageSize {
			t.Fatalf("page size %d", size)
		}
		if err := query.Err(); err != nil {
			if got := status(t, err); got != 400 {
				t.Fatalf("status %d", got)
			}
			return
		}
		if cursor, err := query.Cursor(parts(2), "scope"); err == nil && cursor != nil && len(cursor) != 2 {
			t.Fatalf("cursor %q", cursor)
		}
		self, err := url.Parse(query.Links("/v1/x", "").Self)
		if err != nil {
			t.Fatalf("links.self is no URL: %v", err)
		}
		again := ParseQuery(self.RawQuery, "filter[status]", PageSize, PageAfter)
		if err := again.Err(); err != nil {
			t.Fatalf("links.self of %q is refused: %v", raw, err)
		}
		for _, name := range []string{"filter[status]", PageSize, PageAfter} {
			want, given := query.Get(name)
			if got, ok := again.Get(name); got != want || ok != given {
				t.Fatalf("%s is %q in links.self, not %q", name, got, want)
			}
		}
	})
}

// FuzzCursor: a cursor comes back as it was in its own list, and is refused in every other.
func FuzzCursor(f *testing.F) {
	f.Add("evt_1", "config", "org", "failed", []byte("AAAA"))
	f.Add("", "", "", "", []byte{})
	f.Add("\x00", "\xff", "a\",\"b", "a", []byte("x"))
	f.Fuzz(func(t *testing.T, first, second, organization, filter string, noise []byte) {
		at := func(encoded string, n int, scope ...string) (Cursor, error) {
			query := ParseQuery(url.Values{PageAfter: {encoded}}.Encode(), PageAfter)
			if err := query.Err(); err != nil {
				return nil, err
			}
			return query.Cursor(parts(n), scope...)
		}
		cursor := Cursor{first, second}
		encoded := cursor.Encode(organization, filter)
		got, err := at(encoded, 2, organization, filter)
		valid := bytes.Equal([]byte(first), bytes.ToValidUTF8([]byte(first), nil)) && bytes.Equal([]byte(second), bytes.ToValidUTF8([]byte(second), nil))
		if valid && (err != nil || !slices.Equal(got, cursor)) {
			t.Fatalf("%q came back as %q: %v", cursor, got, err)
		}
		for name, scope := range map[string][]string{
			"another organization's": {organization + "x", filter}, "another filter's": {organization, filter + "x"}, "a shorter": {organization}, "a merged": {organization + filter},
		} {
			if got, err := at(encoded, 2, scope...); err == nil {
				t.Fatalf("accepted in %s list as %q", name, got)
			}
		}
		if _, err := at(encoded, 1, organization, filter); err == nil {
			t.Fatal("accepted with another number of parts")
		}
		if _, err := at(encoded[:len(encoded)-1], 2, organization, filter); err == nil {
			t.Fatal("accepted without its end")
		}
		if forged, err := at(string(noise), 2, organization, filter); err == nil && forged.Encode(organization, filter) != string(noise) {
			t.Fatalf("%q is not how %q is written", noise, forged)
		}
	})
}

// parts accepts a cursor of n parts.
func parts(n int) func(Cursor) bool { return func(c Cursor) bool { return len(c) == n } }
