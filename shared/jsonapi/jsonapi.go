// Package jsonapi reads and writes JSON:API 1.1 documents.
//
// Reading is strict: a request document is refused if it is not JSON to the letter, repeats a
// member, nests deeply or carries an attribute that nobody asked for. Members that JSON:API does not
// know, and @-members, are ignored, as it demands. Query parameters and cursors, the other outside
// input of the API, are parsed here as well. Whoever describes an attribute or a parameter gives a
// reader that says with an Invalid what is wrong with a value; this package adds the name and where
// the value stands, and tells all problems of a request at once. Writing is by plain structs.
//
// Source: https://jsonapi.org/format/1.1/
package jsonapi

// MediaType is the media type of JSON:API.
const MediaType = "application/vnd.api+json"

// MaxBody is the limit of a request body, in bytes.
const MaxBody = 64 << 10

// Error codes of this package.
const (
	CodeInvalidJSON      = "invalid_json"
	CodeInvalidType      = "invalid_type"
	CodeRequired         = "required"
	CodeUnknownAttribute = "unknown_attribute"
	CodeReadOnly         = "read_only_attribute"
	CodeNotAllowed       = "not_allowed"
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

	Included []Resource `json:"included,omitempty"` // what relationships of Data lead to
	Meta     any        `json:"meta,omitempty"`
}

// Version is the jsonapi member of every document.
type Version struct {
	Version string `json:"version"`
}

// V11 is the version of JSON:API that is written.
func V11() Version { return Version{Version: "1.1"} }

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
	Data any `json:"data"` // an Identifier or, where there may be many, a slice of them
}

// Identifier is a resource identifier object.
type Identifier struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}
