package jsonapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deeply a request document may nest; the deepest that means anything is 4.
const maxDepth = 16

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
func RequireID(id string) IDRule { return IDRule{id: id, required: true} }

// Schema describes the resource object that a request must have.
type Schema struct {
	Type       string
	ID         IDRule
	Attributes map[string]Attribute // by name
}

// object is a JSON object whose members are yet to be read.
type object map[string]json.RawMessage

// Request is a request document with a single resource object, and what is wrong with it. It is for
// one goroutine.
type Request struct {
	attributes object
	// pointer is the deepest of "", "/data" and "/data/attributes" that exists. A pointer must point
	// to something that exists, so a missing attribute is reported there.
	pointer  string
	problems Errors
	failure  error // of a reader that returned something else than an Invalid
}

// ReadRequest reads a request document and calls the readers of its attributes, in the order of their
// names. What is wrong with the document is for Err to tell.
func ReadRequest(body []byte, schema Schema) *Request {
	r := &Request{}
	if err := validate(body); err != nil {
		r.problems = NewError(400, CodeInvalidJSON, "%s", err.Error())
		return r
	}
	var document object
	if json.Unmarshal(body, &document) != nil || document == nil {
		r.refuse(422, CodeInvalidType, "", "the document must be an object")
		return r
	}
	raw, ok := document["data"]
	if !ok {
		r.refuse(422, CodeRequired, "", "data is required")
		return r
	}
	var data object
	if json.Unmarshal(raw, &data) != nil || data == nil {
		r.refuse(422, CodeInvalidType, "/data", "data must be a resource object")
		return r
	}
	r.pointer = "/data"
	r.readType(data, schema.Type)
	r.readID(data, schema.ID)
	r.readUnused(data)
	if raw, ok := data["attributes"]; ok {
		r.pointer = "/data/attributes"
		if json.Unmarshal(raw, &r.attributes) != nil || r.attributes == nil {
			r.refuse(422, CodeInvalidType, "/data/attributes", "attributes must be an object")
			return r
		}
	}
	r.readAttributes(schema.Attributes)
	return r
}

// Err returns everything that is wrong with the document, nil if nothing is. Whoever serves a request
// must ask, and must not use what the readers have set before.
func (r *Request) Err() error {
	if r.failure != nil {
		return r.failure
	}
	if len(r.problems) == 0 {
		return nil
	}
	return r.problems
}

// Has reports whether the request has an attribute, whatever its value is.
func (r *Request) Has(name string) bool {
	_, ok := r.attributes[name]
	return ok
}

// Refuse adds what is wrong with the value of an attribute that the request has, nothing if err is nil.
func (r *Request) Refuse(name string, err error) {
	found, other := invalids(err)
	if other != nil {
		r.failure = fmt.Errorf("reading %s: %w", name, other)
	}
	for _, one := range found {
		r.refuse(422, one.Code, "/data/attributes/"+Escape(name)+one.At, "%s %s", name+one.At, one.Detail)
	}
}

func (r *Request) refuse(status int, code, pointer, format string, args ...any) {
	r.problems = append(r.problems, NewError(status, code, format, args...).AtPointer(pointer)...)
}

func (r *Request) readType(data object, want string) {
	switch value, present, ok := member(data, "type"); {
	case !present:
		r.refuse(422, CodeRequired, "/data", "type is required")
	case !ok:
		r.refuse(422, CodeInvalidType, "/data/type", "type must be a string")
	case value != want:
		r.refuse(409, CodeTypeConflict, "/data/type", "type must be %q here", want)
	}
}

func (r *Request) readID(data object, rule IDRule) {
	switch value, present, ok := member(data, "id"); {
	case !present && rule.required:
		r.refuse(422, CodeRequired, "/data", "id is required")
	case present && rule.id == "":
		r.refuse(403, CodeClientID, "/data/id", "the server chooses the id")
	case present && !ok:
		r.refuse(422, CodeInvalidType, "/data/id", "id must be a string")
	case present && value != rule.id:
		r.refuse(409, CodeIDConflict, "/data/id", "id must be the one in the path")
	}
}

// readUnused reads the members that JSON:API has and no operation needs: a local id, which nothing can
// refer to in a document with one resource, and relationships, of which there may be none.
func (r *Request) readUnused(data object) {
	if _, present, ok := member(data, "lid"); present && !ok {
		r.refuse(422, CodeInvalidType, "/data/lid", "lid must be a string")
	}
	raw, present := data["relationships"]
	var relationships object
	switch {
	case !present:
	case json.Unmarshal(raw, &relationships) != nil || relationships == nil:
		r.refuse(422, CodeInvalidType, "/data/relationships", "relationships must be an object")
	case len(relationships) > 0:
		r.refuse(422, CodeUnsupported, "/data/relationships", "relationships are not supported here")
	}
}

// readAttributes calls the readers and adds all problems: attributes that are unknown, of the wrong
// type, invalid, beside another that excludes them, or missing.
func (r *Request) readAttributes(schema map[string]Attribute) {
	for _, name := range slices.Sorted(maps.Keys(r.attributes)) {
		attribute, known := schema[name]
		switch {
		case strings.HasPrefix(name, "@"):
			// JSON:API: @-members are ignored.
		case !known:
			r.refuse(422, CodeUnknownAttribute, "/data/attributes/"+Escape(name), "there is no such attribute")
		case attribute.NotWith != "" && r.Has(attribute.NotWith):
			r.Refuse(name, Invalidf(CodeNotAllowed, "does not go with %s", attribute.NotWith))
		default:
			r.Refuse(name, attribute.read(r.attributes[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		attribute := schema[name]
		switch other := cmp.Or(attribute.Unless, attribute.NotWith); {
		case !attribute.Required || r.Has(name):
		case other != "" && r.Has(other):
		case other != "":
			r.refuse(422, CodeRequired, r.pointer, "%s is required without %s", name, other)
		default:
			r.refuse(422, CodeRequired, r.pointer, "%s is required", name)
		}
	}
}

// Escape writes a name as a reference token of a JSON Pointer (RFC 6901, section 3).
func Escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// member returns a string member: whether it is there, and whether it is a string.
func member(of object, name string) (value string, present, ok bool) {
	raw, present := of[name]
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
