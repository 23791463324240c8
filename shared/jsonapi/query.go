package jsonapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
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

// Parameters are the query parameters that a request may have, by name, each with its reader, which is
// called with the value if the parameter is given. It returns an Invalid if that is wrong; any other
// error is not the client's fault. Those of pagination need none: Size and Cursor read them.
type Parameters map[string]func(value string) error

// Query holds the query parameters of a request, each known and given once, and what is wrong with
// the others. It is for one goroutine.
type Query struct {
	values   map[string]string
	size     int
	problems Errors
	failure  error // of a reader that returned something else than an Invalid
}

// ParseQuery reads a raw query string that may have the parameters, and calls their readers in the
// order of the names. Brackets may be percent-encoded or plain. What is wrong is for Err to tell.
func ParseQuery(raw string, parameters Parameters) *Query {
	q := &Query{values: map[string]string{}, size: DefaultPageSize}
	allowed := slices.Sorted(maps.Keys(parameters))
	values, err := url.ParseQuery(raw)
	if err != nil {
		q.problems = NewError(400, CodeInvalidParameter, "the query string is malformed")
		return q
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		shown := strings.ToValidUTF8(name, "\uFFFD")
		switch {
		case name == "":
			q.problems = append(q.problems, NewError(400, CodeUnknownParameter, "the query string has a value without a name")...)
		case !slices.Contains(allowed, name):
			q.problems = append(q.problems, NewError(400, CodeUnknownParameter, "%s", unknown(shown, allowed)).AtParameter(shown)...)
		case len(values[name]) > 1:
			q.refuse(name, fmt.Sprintf("is given %d times", len(values[name])))
		case !utf8.ValidString(values.Get(name)):
			q.refuse(name, "must be valid UTF-8")
		default:
			q.values[name] = values.Get(name)
			q.read(name, parameters[name])
		}
	}
	return q
}

// read calls the reader of a parameter that is given.
func (q *Query) read(name string, reader func(string) error) {
	switch {
	case reader != nil:
		found, other := invalids(reader(q.values[name]))
		if other != nil {
			q.failure = fmt.Errorf("reading %s: %w", name, other)
		}
		for _, one := range found {
			q.refuse(name, one.Detail)
		}
	case name == PageSize:
		size, err := strconv.Atoi(q.values[name])
		if err != nil || size < 1 || size > MaxPageSize || q.values[name] != strconv.Itoa(size) {
			q.refuse(name, fmt.Sprintf("must be a number from 1 to %d", MaxPageSize))
			return
		}
		q.size = size
	}
}

func (q *Query) refuse(name, detail string) {
	q.problems = append(q.problems, NewError(400, CodeInvalidParameter, "%s", detail).AtParameter(name)...)
}

// Err returns everything that is wrong with the query, by the names of the parameters, nil if
// nothing is. Whoever serves a request must ask, and must not use what the readers have set before.
func (q *Query) Err() error {
	if q.failure != nil {
		return q.failure
	}
	if len(q.problems) == 0 {
		return nil
	}
	return q.problems
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

// Size returns page[size], or its default.
func (q *Query) Size() int { return q.size }

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
	tied := string(check(place, scope)) == string(data[:checkLength])
	if !tied || json.Unmarshal(place, &c) != nil || c.Encode(scope...) != value || !valid(c) {
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
