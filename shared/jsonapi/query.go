package jsonapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Page sizes.
const (
	DefaultPageSize = 15
	MaxPageSize     = 100
)

// Names of the pagination parameters.
const (
	PageSize  = "page[size]"
	PageAfter = "page[after]"
)

// Query holds the query parameters of a request, each known and given once.
type Query struct{ values map[string]string }

// ParseQuery reads a raw query string that may have the allowed parameters. Brackets may be
// percent-encoded or plain.
func ParseQuery(raw string, allowed ...string) (*Query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, NewError(400, CodeInvalidParameter, "the query string is malformed")
	}
	var problems Errors
	q := &Query{map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		shown := strings.ToValidUTF8(name, "\uFFFD")
		if name == "" {
			problems = append(problems, NewError(400, CodeUnknownParameter, "the query string has a value without a name")...)
			continue
		}
		switch {
		case !slices.Contains(allowed, name):
			problems = append(problems, NewError(400, CodeUnknownParameter, "%s", unknown(shown, allowed)).AtParameter(shown)...)
		case len(values[name]) > 1:
			problems = append(problems, NewError(400, CodeInvalidParameter, "is given %d times", len(values[name])).AtParameter(shown)...)
		case !utf8.ValidString(values.Get(name)):
			problems = append(problems, NewError(400, CodeInvalidParameter, "must be valid UTF-8").AtParameter(shown)...)
		default:
			q.values[name] = values.Get(name)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return q, nil
}

func unknown(name string, allowed []string) string {
	switch family, _, _ := strings.Cut(name, "["); family {
	case "include", "sort", "fields":
		return family + " is not supported here"
	}
	if len(allowed) == 0 {
		return "no query parameters are supported here"
	}
	return "is none of the parameters supported here: " + strings.Join(allowed, ", ")
}

// Get returns a parameter and whether it was given.
func (q *Query) Get(name string) (string, bool) {
	value, ok := q.values[name]
	return value, ok
}

// Size returns page[size].
func (q *Query) Size() (int, error) {
	value, ok := q.values[PageSize]
	if !ok {
		return DefaultPageSize, nil
	}
	size, err := strconv.Atoi(value)
	if err != nil || size < 1 || size > MaxPageSize || value != strconv.Itoa(size) {
		return 0, NewError(400, CodeInvalidParameter, "must be a number from 1 to %d", MaxPageSize).AtParameter(PageSize)
	}
	return size, nil
}

// Cursor is a place in a list. It is tied to the list: its scope is everything that decides what
// the list holds, such as the organization and the filters.
type Cursor []string

// checkLength is the length of a cursor's checksum, in bytes. It is no secret: a cursor says
// nothing that its owner may not know and opens nothing but the owner's own list.
const checkLength = 12

// Encode returns the cursor as an opaque string.
func (c Cursor) Encode(scope ...string) string {
	place, _ := json.Marshal([]string(c)) // strings always marshal
	return base64.RawURLEncoding.EncodeToString(append(check(place, scope), place...))
}

// Cursor returns page[after], or nil if there is none. valid looks at what it says: whoever knows
// all of the scope can make up a cursor for it.
func (q *Query) Cursor(valid func(Cursor) bool, scope ...string) (Cursor, error) {
	value, ok := q.values[PageAfter]
	if !ok {
		return nil, nil
	}
	invalid := NewError(400, CodeInvalidCursor, "is not a cursor of this list; begin again without it").AtParameter(PageAfter)
	data, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(data) < checkLength {
		return nil, invalid
	}
	var c Cursor
	place := data[checkLength:]
	if string(check(place, scope)) != string(data[:checkLength]) || json.Unmarshal(place, &c) != nil || c.Encode(scope...) != value || !valid(c) {
		return nil, invalid
	}
	return c, nil
}

func check(place []byte, scope []string) []byte {
	tied, _ := json.Marshal(append([]string{string(place)}, scope...))
	sum := sha256.Sum256(tied)
	return sum[:checkLength]
}

// Scope returns what ties a cursor to the filters of q.
func (q *Query) Scope() []string {
	var scope []string
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		if name != PageSize && name != PageAfter {
			scope = append(scope, name, q.values[name])
		}
	}
	return scope
}

// Links returns the links of a page of the list at path. next is the cursor of the next page, "" on the last.
func (q *Query) Links(path, next string) *Links {
	at := func(after string, first bool) string {
		values := url.Values{}
		for name, value := range q.values {
			if name != PageAfter || !first {
				values.Set(name, value)
			}
		}
		if after != "" {
			values.Set(PageAfter, after)
		}
		if len(values) == 0 {
			return path
		}
		return path + "?" + values.Encode()
	}
	links := &Links{Self: at("", false), First: at("", true)}
	if next != "" {
		link := at(next, false)
		links.Next = &link
	}
	return links
}
