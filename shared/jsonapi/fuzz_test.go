package jsonapi

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"testing"
	"unicode/utf8"
)

// statusOf returns the status of an error, which must be one of this package with a client's status.
func statusOf(t *testing.T, err error) int {
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

// FuzzReadRequest: nothing panics, every refusal is a client error with pointers into the
// document, and what is accepted is JSON that says the same when it is written again.
func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"type":"webhook_config","attributes":{
			"url":"https://a.example/","is_active":true,"subscribed_statuses":["failed"],"overlap_seconds":7}}}`,
		`{"data":{"type":"webhook_config","id":"7","attributes":{}}}`,
		`{"data":{"type":"webhook_config","attributes":{"url":null,"subscribed_statuses":[null,1],"x/y~z":[]}}}`,
		`{"data":{"type":"webhook_config","type":"other"}}`,
		`{"data":[]}`,
		`{"data":null}`,
		`[]`,
		`null`,
		`7`,
		`"`,
		``,
		"\ufeff{}",
		`{} {}`,
		`{"data":{"type":"webhook_config","relationships":{},"lid":"1"}}`,
		`[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]`,
		"{\"\xff\":1}",
		`{"data":{"type":"webhook_config","attributes":{"url":"\ud800","overlap_seconds":1e400}}}`,
		`{"data":{"type":"webhook_config","attributes":{"url":"\ud83d\ude00","overlap_seconds":7e0}}}`,
		`{"data":{"type":"webhook_config","attributes":{"url":"a\nb","overlap_seconds":-1e400}}}`,
		`{"data":{"type":"webhook_config","attributes":{"url":"","overlap_seconds":1e400}}}`,
		`{"data":{"type":"webhook_config","attributes":{"url":"","overlap_seconds":7.5}}}`,
		`{"data":{"attributes":{"created_at":7}}}`,
		`{"data":{"type":7}}`,
		`{"data":{"type":"other"}}`,
		`{}`,
		`{"data":{"type":"webhook_config","id":7}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, rule := range []IDRule{RefuseID(), AllowID("7"), RequireID("7")} {
			var text string
			var texts []string
			var number int64
			schema := Schema{Type: "webhook_config", ID: rule, Attributes: map[string]Attribute{
				"url": {Required: true, Text: func(value string) error {
					text = value
					return nil
				}},
				"subscribed_statuses": {Texts: func(values []string) error {
					texts = values
					return nil
				}},
				"is_active": {Bool: func(bool) error { return nil }},
				"overlap_seconds": {Integer: func(value int64) error {
					number = value
					return nil
				}},
				"created_at": {ReadOnly: true},
			}}
			request := ReadRequest(body, schema)
			if err := request.Err(); err != nil {
				statusOf(t, err)
				continue
			}
			if !json.Valid(body) {
				t.Fatalf("accepted what is no JSON: %q", body)
			}
			attributes := map[string]any{"url": text}
			if texts != nil {
				attributes["subscribed_statuses"] = texts
			}
			if request.Has("overlap_seconds") {
				attributes["overlap_seconds"] = number
			}
			again, err := json.Marshal(map[string]any{"data": map[string]any{
				"type":       "webhook_config",
				"attributes": attributes,
				"id":         "7",
			}})
			if err != nil {
				t.Fatal(err)
			}
			schema.ID = AllowID("7")
			if err := ReadRequest(again, schema).Err(); err != nil {
				t.Fatalf("accepted %q but not %q: %v", body, again, err)
			}
		}
	})
}

// FuzzParseQuery: nothing panics, every refusal is a client error, and what is accepted comes back
// from its own links.
func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		"", "page[size]=5", "page%5Bsize%5D=5&page[after]=abc", "filter[status]=failed&filter[status]=failed", "x=1", "a=%zz",
		"filter[status]=%ff", "page[size]=0", "page[size]=+5", "page[size]=05", "page[size]=99999999999999999999", ";", "&&&", "=",
		"filter%5bstatus%5d=%00", "include=x", "fields[a]=b",
		"x=1&page[size]=0&=7", "page[after]=AAAA", "page[after]=AAAAAAAAAAAAAAAAAAAAAAAA",
		PageAfter + "=" + Cursor{"evt_1", "config"}.Encode("scope"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var filter, again string
		given := Parameters{PageSize: nil, PageAfter: nil, "filter[status]": func(value string) error {
			filter = value
			return nil
		}}
		query := ParseQuery(raw, given)
		if size := query.Size(); size < 1 || size > MaxPageSize {
			t.Fatalf("page size %d", size)
		}
		if err := query.Err(); err != nil {
			if got := statusOf(t, err); got != 400 {
				t.Fatalf("status %d", got)
			}
			return
		}
		if cursor, err := query.Cursor(ofParts(2), "scope"); err == nil && cursor != nil && len(cursor) != 2 {
			t.Fatalf("cursor %q", cursor)
		}
		self, err := url.Parse(query.Links("/v1/x", "").Self)
		if err != nil {
			t.Fatalf("links.self is no URL: %v", err)
		}
		given["filter[status]"] = func(value string) error {
			again = value
			return nil
		}
		second := ParseQuery(self.RawQuery, given)
		if err := second.Err(); err != nil {
			t.Fatalf("links.self of %q is refused: %v", raw, err)
		}
		if again != filter || second.Size() != query.Size() || second.values[PageAfter] != query.values[PageAfter] {
			t.Fatalf("links.self of %q is %q", raw, self.RawQuery)
		}
	})
}

// FuzzCursor: a cursor comes back as it was in its own list, and is refused in every other.
func FuzzCursor(f *testing.F) {
	f.Add("evt_1", "config", "org", "failed", []byte("AAAA"))
	f.Add("", "", "", "", []byte{})
	f.Add("\x00", "\xff", "a\",\"b", "a", []byte("x"))
	f.Add("evt_1", "config", "org", "failed", []byte("\xff"))
	f.Add("evt_1", "config", "org", "failed", []byte(Cursor{"evt_2", "config"}.Encode("org", "failed")))
	f.Fuzz(func(t *testing.T, first, second, organization, filter string, noise []byte) {
		at := func(encoded string, n int, scope ...string) (Cursor, error) {
			query := ParseQuery(url.Values{PageAfter: {encoded}}.Encode(), parametersOf(PageAfter))
			if err := query.Err(); err != nil {
				return nil, err
			}
			return query.Cursor(ofParts(n), scope...)
		}
		cursor := Cursor{first, second}
		encoded := cursor.Encode(organization, filter)
		got, err := at(encoded, 2, organization, filter)
		valid := utf8.ValidString(first) && utf8.ValidString(second)
		if valid && (err != nil || !slices.Equal(got, cursor)) {
			t.Fatalf("%q came back as %q: %v", cursor, got, err)
		}
		for name, scope := range map[string][]string{
			"another organization's": {organization + "x", filter},
			"another filter's":       {organization, filter + "x"},
			"a shorter":              {organization},
			"a merged":               {organization + filter},
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

// ofParts accepts a cursor of n parts.
func ofParts(n int) func(Cursor) bool { return func(c Cursor) bool { return len(c) == n } }
