package dynamotest

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
)

// bring does what the engine leaves undone when the condition of a PutItem does not hold: the answer
// brings the item along, if the request asks for it.
func (db *DB) bring(body []byte, answer *httptest.ResponseRecorder) error {
	var put struct {
		TableName                           string
		Item                                map[string]wire
		ReturnValuesOnConditionCheckFailure string
	}
	var refusal map[string]any
	if err := json.Unmarshal(body, &put); err != nil {
		return err
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &refusal); err != nil {
		return err
	}
	exception, _ := refusal["__type"].(string)
	if put.ReturnValuesOnConditionCheckFailure != "ALL_OLD" || !strings.HasSuffix(exception, "ConditionalCheckFailedException") {
		return nil
	}
	key := map[string]wire{}
	for _, name := range db.tables[put.TableName].KeySchema.names() {
		key[name] = put.Item[name]
	}
	var read struct{ Item map[string]wire }
	if err := db.call("GetItem", map[string]any{"TableName": put.TableName, "Key": key}, &read); err != nil {
		return err
	}
	if read.Item != nil {
		refusal["Item"] = read.Item
	}
	changed, err := json.Marshal(refusal)
	answer.Body = bytes.NewBuffer(changed)
	return err
}
