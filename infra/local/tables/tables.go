// Package tables is the door to the local stack's DynamoDB, for what needs nothing else of the stack: the
// tests of adapters and functions, and the command that measures what API calls read.
package tables

import (
	"fmt"
	"net/http"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/definition"
	"github.com/docuhook/docuhook/infra/local/internal/sqs"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// New returns a DynamoDB with the tables that a SAM template declares, empty, with their logical ids as
// names. It answers any number of requests at once, and every caller is administrator.
func New(source []byte) (http.Handler, error) {
	read, err := template.Parse(source, template.Options{})
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	storage, err := definition.NewStorage(read, nil, sqs.Options{})
	if err != nil {
		return nil, err
	}
	return &awsjson.Server{Services: storage.Services()}, nil
}
