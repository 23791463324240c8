// Package jsonapi reads and writes JSON:API 1.1 documents.
//
// Reading is strict: a request document is refused if it is not JSON to the letter, repeats a
// member, nests deeply or carries an attribute that nobody asked for, and every problem with its
// attributes is reported at once. Members that JSON:API does not know, and @-members, are ignored,
// as it demands. Writing is by plain structs. Query parameters and cursors, the
// other outside input of the API, are parsed here as well.
//
// Source: https://jsonapi.org/format/1.1/
package jsonapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MediaType is the media type of JSON:API.
const MediaType = "application/vnd.api+json"

// MaxBody is the limit of a request body, in bytes.
const MaxBody = 64 << 10

// maxDepth is how deeply a request document may nest; the deepest that means anything is 4.
const maxDepth = 16

// Error codes of this package.
const (
	CodeInvalidJSON      = "invalid_json"
	CodeInvalidType      = "invalid_type"
	CodeRequired         = "required"
	CodeUnknownAttribute = "unknown_attribute"
	CodeReadOnly         = "read_only_attribute"
	CodeTypeConflict     = "type_conflict"
	CodeIDConflict       = "id_conflict"
	CodeClientID         = "client_generated_id"
	CodeUnsupported      = "unsupported_member"
	CodeUnknownParameter = "unknown_parameter"
	CodeInvalidParameter = "invalid_parameter"
	CodeInvalidCursor    = "invalid_cursor"
	CodeTooLarge         = "body_too_large"
	CodeMediaType        = "unsupported_media_type"
	CodeNotAcceptable    = "not_acceptable"
)

// Document is a response document with primary data.
type Document struct {
	JSONAPI Version `json:"jsonapi"`
	Links   *Links  `json:"links,omitempty"`
	Data    any     `json:"data"`
	Meta    any     `json:"meta,omitempty"`
}

// Version is the jsonapi member of every document.
type Version struct {
	Version string `json:"version"`
}

// V11 is the version of JSON:API that is written.
func V11() Version { return Version{"1.1"} }

// Links are the links of a document or a resource.
type Links struct {
	Self  string  `json:"self"`
	First string  `json:"first,omitempty"`
	Next  *string `json:"next,omitempty"`
}

// Resource is a resource object.
type Resource struct {
	Type          string                  `json:"type"`
	ID            string                  `json:"id"`
	Attributes    any                     `json:"attributes,omitempty"`
	Relationships map[string]Relationship `json:"relationships,omitempty"`
	Links         *Links                  `json:"links,omitempty"`
}

// Relationship is a to-one relationship.
type Relationship struct {
	Data Identifier `json:"data"`
}

// Identifier is a resource identifier object.
type Identifier struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Source says what in the request caused an error. At most one field is set.
type Source struct {
	Pointer   *string `json:"pointer,omitempty"`
	Parameter string  `json:"parameter,omitempty"`
	Header    string  `json:"header,omitempty"`
}

// Error is an error object.
type Error struct {
	ID     string  `json:"id"`
	Status int     `json:"status,string"`
	Code   string  `json:"code"`
	Title  string  `json:"title"`
	Detail string  `json:"detail,omitempty"`
	Source *Source `json:"source,omitempty"`
}

// Errors are the errors of one request. All have the same status.
type Errors []Error

// Error implements error.
func (e Errors) Error() string {
	var texts []string
	for _, one := range e {
		texts = append(texts, one.Code+": "+one.Detail)
	}
	return strings.Join(texts, "; ")
}

// NewError returns a single error. Its title is the status text of code.
func NewError(status int, code, format string, args ...any) Errors {
	return Errors{{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}}
}

// AtPointer sets the JSON Pointer (RFC 6901) that caused the errors. "" is the whole document.
func (e Errors) AtPointer(pointer string) Errors {
	for i := range e {
		e[i].Source = &Source{Pointer: &pointer}
	}
	return e
}

// AtParameter sets the query parameter that caused the errors.
func (e Errors) AtParameter(name string) Errors {
	for i := range e {
		e[i].Source = &Source{Parameter: name}
	}
	return e
}

// AtHeader sets the header that caused the errors.
func (e Errors) AtHeader(name string) Errors {
	for i := range e {
		e[i].Source = &Source{Header: name}
	}
	return e
}

// Object is a JSON object whose members are yet to be read.
type Object map[string]json.RawMessage

// Request is a request document's resource object, apart from the type and id, which are checked.
type Request struct {
	Attributes Object
	// Pointer is the deepest of "", "/data" and "/data/attributes" that exists. A pointer must
	// point to something that exists, so a missing attribute is reported there.
	Pointer string
}

// IDRule says which id a request's resource object may have.
type IDRule struct {
	id       string
	required bool
}

// RefuseID is for creation: the client may not choose an id.
func RefuseID() IDRule { return IDRule{} }

// AllowID is for actions on the resource id: its id may be there.
func AllowID(id string) IDRule { return IDRule{id: id} }

// RequireID is for updates of the resource id: its id must be there.
func RequireID(id string) IDRule { return IDRule{id, true} }

// ParseRequest reads a request document with a single resource object of the given type.
func ParseRequest(body []byte, resourceType string, rule IDRule) (*Request, error) {
	if err := validate(body); err != nil {
		return nil, NewError(400, CodeInvalidJSON, "%s", err.Error())
	}
	var document Object
	if json.Unmarshal(body, &document) != nil || document == nil {
		return nil, NewError(422, CodeInvalidType, "the document must be an object").AtPointer("")
	}
	raw, ok := document["data"]
	if !ok {
		return nil, NewError(422, CodeRequired, "data is required").AtPointer("")
	}
	var data Object
	if json.Unmarshal(raw, &data) != nil || data == nil {
		return nil, NewError(422, CodeInvalidType, "data must be a resource object").AtPointer("/data")
	}
	r := &Request{Pointer: "/data"}
	var problems Errors
	switch value, present, ok := text(data, "type"); {
	case !present:
		problems = append(problems, NewError(422, CodeRequired, "type is required").AtPointer("/data")...)
	case !ok:
		problems = append(problems, NewError(422, CodeInvalidType, "type must be a string").AtPointer("/data/type")...)
	case value != resourceType:
		return nil, NewError(409, CodeTypeConflict, "type must be %q here", resourceType).AtPointer("/data/type")
	}
	switch value, present, ok := text(data, "id"); {
	case !present && rule.required:
		problems = append(problems, NewError(422, CodeRequired, "id is required").AtPointer("/data")...)
	case present && rule.id == "":
		return nil, NewError(403, CodeClientID, "the server chooses the id").AtPointer("/data/id")
	case present && !ok:
		problems = append(problems, NewError(422, CodeInvalidType, "id must be a string").AtPointer("/data/id")...)
	case present && value != rule.id:
		return nil, NewError(409, CodeIDConflict, "id must be the one in the path").AtPointer("/data/id")
	}
	for _, member := range []string{"lid", "relationships"} {
		if _, present := data[member]; present {
			problems = append(problems, NewError(422, CodeUnsupported, "%s is not supported here", member).AtPointer("/data/"+member)...)
		}
	}
	if raw, present := data["attributes"]; present {
		if json.Unmarshal(raw, &r.Attributes) != nil || r.Attributes == nil {
			problems = append(problems, NewError(422, CodeInvalidType, "attributes must be an object").AtPointer("/data/attributes")...)
		}
		r.Pointer = "/data/attributes"
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return r, nil
}

// text returns a string member: whether it is there, and whether it is a string.
func text(object Object, name string) (value string, present, ok bool) {
	raw, present := object[name]
	var s *string
	if !present || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", present, false
	}
	return *s, true, true
}

// validate checks that body is exactly one JSON value in valid UTF-8 whose objects repeat no
// member: parsers differ in which of two they take, and what differs can be abused.
func validate(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return fmt.Errorf("the request has no body")
	}
	if !json.Valid(body) {
		return fmt.Errorf("the body is not valid JSON")
	}
	if !utf8.Valid(body) {
		return fmt.Errorf("the body is not valid UTF-8")
	}
	if loneSurrogate(body) {
		return fmt.Errorf("the body has half a surrogate pair, which is no character")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a number that no float64 can hold is still JSON
	return walk(decoder, 0)
}

// loneSurrogate reports whether the strings of valid JSON escape half of a surrogate pair, which
// encoding/json would silently turn into U+FFFD.
func loneSurrogate(valid []byte) bool {
	for i := 0; i < len(valid); i++ {
		if valid[i] != '\\' {
			continue
		}
		i++ // only strings have backslashes, and something follows each
		first := escaped(valid[i-1:])
		if !utf16.IsSurrogate(first) {
			continue
		}
		if utf16.DecodeRune(first, escaped(valid[i+5:])) == utf8.RuneError {
			return true
		}
		i += 10
	}
	return false
}

// escaped returns the code unit of a \uXXXX escape at the beginning of text, -1 if there is none.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}

func walk(decoder *json.Decoder, depth int) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("the body is not valid JSON")
	}
	delimiter, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("the body nests deeper than %d levels", maxDepth)
	}
	seen := map[string]bool{}
	for decoder.More() {
		if delimiter == '{' {
			name, err := decoder.Token()
			if err != nil {
				return fmt.Errorf("the body is not valid JSON")
			}
			if key := name.(string); seen[key] {
				return fmt.Errorf("the body has the member %.40q twice in one object", key)
			} else {
				seen[key] = true
			}
		}
		if err := walk(decoder, depth+1); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}
