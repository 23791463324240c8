package stack

import (
	"context"
	"fmt"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/template"
	"github.com/docuhook/docuhook/shared/apikey"
)

// giveKeys gives every organization its API key, in the table that the API's authorizers are told of
// by their environment. An API without authorizers needs no keys.
func (s *Stack) giveKeys() error {
	if s.Template.API == nil {
		return nil
	}
	for _, authorizer := range s.Template.API.Authorizers {
		table, ok := s.keyTable(authorizer.Function)
		if !ok {
			return fmt.Errorf(
				"%s: Properties.Environment: names no table, so there is no place for the organizations' API keys", authorizer.Function,
			)
		}
		for _, o := range s.Organizations {
			item := map[string]any{
				table.PartitionKey.Name: apikey.Hash(o.Key),
				"organization_id":       o.ID,
				"name":                  "local",
				"created_at":            s.Clock.Now().UTC().Format(time.RFC3339),
			}
			for name, value := range item {
				item[name] = attributeValue(value)
			}
			if err := s.putItem(context.Background(), table.Name, item); err != nil {
				return fmt.Errorf("giving %s its API key: %w", o.ID, err)
			}
		}
	}
	return nil
}

// keyTable returns the table that a function's environment names.
func (s *Stack) keyTable(function string) (template.Table, bool) {
	for _, f := range s.Template.Functions {
		for _, t := range s.Template.Tables {
			for _, value := range f.Environment {
				if f.Name == function && value == t.Name {
					return t, true
				}
			}
		}
	}
	return template.Table{}, false
}
