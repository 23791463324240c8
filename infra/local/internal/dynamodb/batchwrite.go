package dynamodb

import (
	"maps"
	"slices"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

const maxBatchWrites = 25

type batchWriteItemInput struct {
	RequestItems                map[string][]writeRequest
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string
}

type writeRequest struct {
	PutRequest    *struct{ Item attribute.Item }
	DeleteRequest *struct{ Key attribute.Item }
}

type batchWriteItemOutput struct {
	UnprocessedItems map[string][]writeRequest
	ConsumedCapacity []*consumedCapacity `json:",omitempty"`
}

// batchWriteItem checks the whole batch before it writes any of it; then each write stands alone.
func (db *Database) batchWriteItem(in *batchWriteItemInput, allow awsjson.Allow) (*batchWriteItemOutput, error) {
	if err := checkConsumed(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if len(in.RequestItems) == 0 {
		return nil, validation("The batch write request list is empty: at least one table and one request is required")
	}
	var writes []*write
	total := 0
	for _, name := range sortedKeys(in.RequestItems) {
		t, err := db.table(name, "BatchWriteItem", allow)
		if err != nil {
			return nil, err
		}
		requests := in.RequestItems[name]
		if len(requests) == 0 {
			return nil, validation(
				"1 validation error detected: Value '{%s=[]}' at 'requestItems' failed to satisfy constraint: "+
					"Map value must satisfy constraint: [Member must have length less than or equal to 25, "+
					"Member must have length greater than or equal to 1]",
				name,
			)
		}
		if total += len(requests); total > maxBatchWrites {
			return nil, validation("Too many items requested for the BatchWriteItem call")
		}
		for _, request := range requests {
			w, err := newBatchWrite(t, request)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(writes, w.sameItem) {
				return nil, validation("Provided list of item keys contains duplicates")
			}
			writes = append(writes, w)
		}
	}
	var b bill
	for _, w := range writes {
		_, _, c, err := w.run(db.clock)
		if err != nil {
			return nil, err
		}
		b.add(c)
	}
	return &batchWriteItemOutput{UnprocessedItems: map[string][]writeRequest{}, ConsumedCapacity: b.report(in.ReturnConsumedCapacity)}, nil
}

func newBatchWrite(t *table, request writeRequest) (*write, error) {
	switch {
	case request.PutRequest != nil && request.DeleteRequest == nil:
		return newPut(t, request.PutRequest.Item)
	case request.DeleteRequest != nil && request.PutRequest == nil:
		return newWrite(remove, t, request.DeleteRequest.Key)
	}
	return nil, validation("A WriteRequest must have either a PutRequest or a DeleteRequest")
}

func (w *write) sameItem(other *write) bool { return w.table == other.table && w.key == other.key }

// sortedKeys makes the order of what a request says in a map the same every time.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
