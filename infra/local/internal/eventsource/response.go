package eventsource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// errResponse means that a function's answer is not one: the whole batch has failed.
var errResponse = errors.New("the answer does not say which items failed")

// reportedFailures reads which items a function reports as failed. Nothing at all, null, and an object without
// batchItemFailures (or with null or an empty list there) report none. An answer that is not JSON, and an identifier
// that is missing, null, empty or not in the batch, fail the whole batch: errResponse.
func reportedFailures(response []byte, inBatch func(id string) bool) ([]string, error) {
	response = bytes.TrimSpace(response)
	if len(response) == 0 {
		return nil, nil
	}
	// Maps, because struct fields would also match keys in another case, which Lambda refuses.
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(response, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", errResponse, err)
	}
	var items []map[string]json.RawMessage
	if list := answer["batchItemFailures"]; list != nil {
		if err := json.Unmarshal(list, &items); err != nil {
			return nil, fmt.Errorf("%w: batchItemFailures: %w", errResponse, err)
		}
	}
	var ids []string
	for i, item := range items {
		var id string
		raw, ok := item["itemIdentifier"]
		if !ok {
			return nil, fmt.Errorf("%w: batchItemFailures[%d] has no itemIdentifier", errResponse, i)
		}
		if err := json.Unmarshal(raw, &id); err != nil {
			return nil, fmt.Errorf("%w: batchItemFailures[%d]: %w", errResponse, i, err)
		}
		if id == "" {
			return nil, fmt.Errorf("%w: batchItemFailures[%d] has an empty itemIdentifier", errResponse, i)
		}
		if !inBatch(id) {
			return nil, fmt.Errorf("%w: batchItemFailures[%d]: %q is not in the batch", errResponse, i, id)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
