package dynamotest

import (
	"cmp"
	"encoding/json"
	"strings"
)

type updateInput struct {
	TableName                string
	Key                      map[string]wire
	UpdateExpression         string
	ExpressionAttributeNames map[string]string
}

// removed returns the top-level attributes that the update removes. REMOVE is the last clause of
// all expressions of this product.
func (u *updateInput) removed() []string {
	_, clause, found := strings.Cut(" "+u.UpdateExpression, " REMOVE ")
	if !found {
		return nil
	}
	var names []string
	for one := range strings.SplitSeq(clause, ",") {
		if one = strings.TrimSpace(one); !strings.ContainsAny(one, "[.") {
			names = append(names, cmp.Or(u.ExpressionAttributeNames[one], one))
		}
	}
	return names
}

// remove does what the engine leaves undone of a successful request: it removes attributes.
func (db *DB) remove(operation string, body []byte) error {
	var updates []updateInput
	switch operation {
	case "UpdateItem":
		updates = make([]updateInput, 1)
		if err := json.Unmarshal(body, &updates[0]); err != nil {
			return err
		}
	case "TransactWriteItems":
		var transaction struct {
			TransactItems []struct{ Update updateInput }
		}
		if err := json.Unmarshal(body, &transaction); err != nil {
			return err
		}
		for _, one := range transaction.TransactItems {
			updates = append(updates, one.Update)
		}
	}
	for _, one := range updates {
		names := one.removed()
		if len(names) == 0 {
			continue
		}
		var read struct{ Item map[string]wire }
		if err := db.call("GetItem", map[string]any{"TableName": one.TableName, "Key": one.Key}, &read); err != nil {
			return err
		}
		for _, name := range names {
			delete(read.Item, name)
		}
		var written struct{}
		if err := db.call("PutItem", map[string]any{"TableName": one.TableName, "Item": read.Item}, &written); err != nil {
			return err
		}
	}
	return nil
}
