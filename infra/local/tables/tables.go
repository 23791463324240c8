// Package tables is the door to the local stack's DynamoDB, for what needs nothing else of the stack: the
// tests of adapters and functions, and the command that measures what API calls read.
package tables

import (
	"fmt"
	"net/http"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/definition"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb"
	"github.com/docuhook/docuhook/infra/local/internal/template"
)

// New returns a DynamoDB with the tables that a SAM template declares, empty, with their logical ids as
// names. It answers any number of requests at once, and every caller is administrator.
func New(source []byte) (http.Handler, error) {
	read, err := template.Parse(source, template.Options{})
	if err != nil {
		return nil, fmt.Errorf("reading the template: %w", err)
	}
	database := dynamodb.New(dynamodb.Options{Region: template.Region, Account: template.Account})
	for _, table := range read.Tables {
		if err := database.CreateTable(definition.Table(table)); err != nil {
			return nil, err
		}
	}
	return &awsjson.Server{Services: map[string]awsjson.Service{"DynamoDB_20120810": database.Service()}}, nil
}
