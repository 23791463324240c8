package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/docuhook/docuhook/shared/webhook"
)

// This file stands for the document system: it writes documents.

// DocumentsTable is the table whose changes the system follows; "" if it follows none.
func (s *Stack) DocumentsTable() string {
	for _, f := range s.Template.Functions {
		for _, source := range f.Streams {
			return source.Table
		}
	}
	return ""
}

// ParseDocument reads the JSON of a document. Numbers keep their digits.
func ParseDocument(body []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("the body must be a JSON object: %w", err)
	}
	if document == nil {
		return nil, errors.New("the body must be a JSON object, not null")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the body must be one JSON object and nothing after it")
	}
	return document, nil
}

// PutDocument writes a document and returns it as it is stored: with its id, with the first
// organization where it names none, and with the time of this change. It refuses what dispatch would pass over.
func (s *Stack) PutDocument(ctx context.Context, id string, document map[string]any) (map[string]any, error) {
	if other, ok := document["id"]; ok && other != id {
		return nil, fmt.Errorf("the body's id %v is not the path's id %s", other, id)
	}
	document["id"] = id
	if _, ok := document["organization_id"]; !ok {
		document["organization_id"] = s.Organizations[0].ID
	}
	for _, name := range []string{"organization_id", "status"} {
		if text, ok := document[name].(string); !ok || text == "" {
			return nil, fmt.Errorf("%s must be a text", name)
		}
	}
	if status := webhook.Status(document["status"].(string)); !status.Known() {
		return nil, fmt.Errorf("status %.40q is none of %v", status, webhook.Statuses())
	}
	document["updated_at"] = s.Clock.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	item := map[string]any{}
	for name, value := range document {
		item[name] = attributeValue(value)
	}
	table := s.DocumentsTable()
	if table == "" {
		return nil, errors.New("no function of the template follows a table's stream: there are no documents")
	}
	if err := s.putItem(ctx, table, item); err != nil {
		return nil, err
	}
	return document, nil
}

// putItem writes an item, in DynamoDB's JSON, as an administrator.
func (s *Stack) putItem(ctx context.Context, table string, item map[string]any) error {
	body, err := json.Marshal(map[string]any{"TableName": table, "Item": item})
	if err != nil {
		return fmt.Errorf("writing to %s: %w", table, err)
	}
	if _, err := s.Database.Service().Serve(ctx, "PutItem", body, Administrator); err != nil {
		return fmt.Errorf("writing to %s: %w", table, err)
	}
	return nil
}

// Administrator may do everything.
func Administrator(string, string) error { return nil }

// attributeValue turns a JSON value into DynamoDB's.
func attributeValue(value any) map[string]any {
	switch value := value.(type) {
	case string:
		return map[string]any{"S": value}
	case json.Number:
		return map[string]any{"N": value.String()}
	case bool:
		return map[string]any{"BOOL": value}
	case []any:
		list := make([]any, 0, len(value))
		for _, item := range value {
			list = append(list, attributeValue(item))
		}
		return map[string]any{"L": list}
	case map[string]any:
		members := map[string]any{}
		for name, member := range value {
			members[name] = attributeValue(member)
		}
		return map[string]any{"M": members}
	}
	return map[string]any{"NULL": true}
}
