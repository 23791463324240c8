package webhook

import (
	"errors"
	"net/url"
	"strings"
)

// Document is what webhooks need to know of a document, which the document system writes.
type Document struct {
	OrganizationID string
	Status         Status // as it stands in the table: it need not be Known
	UpdatedAt      string // as the document system wrote it; see ParseOccurred
}

// DocumentURL is where receivers can fetch a document: an https URL with documentPlace for its id, "" for nowhere.
type DocumentURL string

const (
	documentPlace = "{document_id}"
	// MaxDocumentURLLength is the limit of a DocumentURL, in bytes.
	MaxDocumentURLLength = 512
	// MaxRelatedLength is the limit of what becomes of it: every byte of an id may be percent-encoded.
	MaxRelatedLength = MaxDocumentURLLength - len(documentPlace) + 3*MaxDocumentIDLength
)

// ErrDocumentURL is returned for a template that is no DocumentURL.
var ErrDocumentURL = errors.New("must be empty or an https URL of at most 512 bytes with {document_id} once in its path or query")

// ParseDocumentURL reads a DocumentURL. It errors with ErrDocumentURL.
func ParseDocumentURL(template string) (DocumentURL, error) {
	if template == "" {
		return "", nil
	}
	policy := URLPolicy{Address: func(string) error { return nil }} // receivers fetch it, Docuhook does not
	place := strings.Index(template, documentPlace)
	sample := strings.Replace(template, documentPlace, "id", 1)
	u, err := url.Parse(sample)
	if code, _ := policy.check(sample); code != "" || err != nil || len(template) > MaxDocumentURLLength ||
		place < len(u.Scheme)+len("://")+len(u.Host) {
		return "", ErrDocumentURL
	}
	return DocumentURL(template), nil
}

// Of returns where a document can be fetched, "" for nowhere. Every character of its id that could mean something
// in a URL is percent-encoded. That does not help where an id is of dots alone: clients take . and .. in a path for a
// step to another place, encoded too, so that no link leads to such a document.
//
// Source: https://url.spec.whatwg.org/#double-dot-path-segment
func (t DocumentURL) Of(documentID string) string {
	if strings.Trim(documentID, ".") == "" {
		return ""
	}
	encoded := strings.ReplaceAll(url.QueryEscape(documentID), "+", "%20")
	return strings.Replace(string(t), documentPlace, encoded, 1)
}
