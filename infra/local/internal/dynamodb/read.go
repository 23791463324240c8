package dynamodb

import (
	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/expression"
)

const (
	maxBatch     = 16 << 20 // bytes that a BatchGetItem answers at most
	maxBatchGets = 100
)

type getItemInput struct {
	legacy
	TableName                string
	Key                      attribute.Item
	ConsistentRead           bool
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ReturnConsumedCapacity   string
}

type getItemOutput struct {
	Item             attribute.Item    `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

func (db *Database) getItem(in *getItemInput, allow awsjson.Allow) (*getItemOutput, error) {
	t, err := db.table(in.TableName, "GetItem", allow)
	if err != nil {
		return nil, err
	}
	if err := in.refuse(); err != nil {
		return nil, err
	}
	if err := checkConsumed(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	projection, err := parseProjection(in.ProjectionExpression, in.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	key, err := t.readKey(in.Key)
	if err != nil {
		return nil, err
	}
	r := t.get(key)
	c := capacity{table: t}
	c.read(r.sizeOf(), in.ConsistentRead)
	return &getItemOutput{Item: project(r.itemOf(), projection), ConsumedCapacity: c.report(in.ReturnConsumedCapacity)}, nil
}

// readKey checks and encodes a key of a request.
func (t *table) readKey(key attribute.Item) (string, error) {
	if key == nil {
		return "", validation("The parameter 'Key' is required but was not present in the request")
	}
	if err := key.Normalize(); err != nil {
		return "", err
	}
	if err := t.key.checkKey(key); err != nil {
		return "", err
	}
	return t.keyOf(key), nil
}

// parseProjection parses an expression that stands alone; nil if it is absent.
func parseProjection(text *string, names map[string]string) (expression.Projection, error) {
	if text == nil && names == nil {
		return nil, nil
	}
	p, err := expression.NewPlaceholders(names, nil, text != nil)
	if err != nil {
		return nil, err
	}
	projection, err := expression.ParseProjection(*text, p)
	if err != nil {
		return nil, err
	}
	return projection, p.Unused()
}

func project(item attribute.Item, p expression.Projection) attribute.Item {
	if p == nil || item == nil {
		return item
	}
	return p.Apply(item)
}

type batchGetItemInput struct {
	RequestItems           map[string]*keysAndAttributes
	ReturnConsumedCapacity string
}

type keysAndAttributes struct {
	Keys                     []attribute.Item
	ConsistentRead           bool              `json:",omitempty"`
	ProjectionExpression     *string           `json:",omitempty"`
	ExpressionAttributeNames map[string]string `json:",omitempty"`
	AttributesToGet          []string          `json:",omitempty"`
}

type batchGetItemOutput struct {
	Responses        map[string][]attribute.Item
	UnprocessedKeys  map[string]*keysAndAttributes
	ConsumedCapacity []*consumedCapacity `json:",omitempty"`
}

// batchGet is one table of a batch, checked.
type batchGet struct {
	name       string // of the table, as requested
	request    *keysAndAttributes
	table      *table
	keys       []string
	projection expression.Projection
}

func (db *Database) batchGetItem(in *batchGetItemInput, allow awsjson.Allow) (*batchGetItemOutput, error) {
	if len(in.RequestItems) == 0 {
		return nil, validation("The batch get request list is empty: at least one table and key is required")
	}
	if err := checkConsumed(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	var gets []*batchGet
	total := 0
	for _, name := range sortedKeys(in.RequestItems) {
		get, err := db.newBatchGet(name, in.RequestItems[name], allow)
		if err != nil {
			return nil, err
		}
		gets = append(gets, get)
		if total += len(get.keys); total > maxBatchGets {
			return nil, validation("Too many items requested for the BatchGetItem call")
		}
	}
	out := &batchGetItemOutput{Responses: map[string][]attribute.Item{}, UnprocessedKeys: map[string]*keysAndAttributes{}}
	var b bill
	size := 0
	for _, get := range gets {
		out.Responses[get.name] = []attribute.Item{}
		c := capacity{table: get.table, reads: true}
		for i, key := range get.keys {
			r := get.table.get(key)
			if size += r.sizeOf(); size > maxBatch {
				out.unprocessed(get, i)
				size -= r.sizeOf()
				continue
			}
			c.read(r.sizeOf(), get.request.ConsistentRead)
			if r != nil {
				out.Responses[get.name] = append(out.Responses[get.name], project(r.item, get.projection))
			}
		}
		b.add(c)
	}
	out.ConsumedCapacity = b.report(in.ReturnConsumedCapacity)
	return out, nil
}

// unprocessed hands a key back, with everything else of the request for its table.
func (out *batchGetItemOutput) unprocessed(get *batchGet, i int) {
	rest := out.UnprocessedKeys[get.name]
	if rest == nil {
		again := *get.request
		again.Keys = nil
		rest = &again
		out.UnprocessedKeys[get.name] = rest
	}
	rest.Keys = append(rest.Keys, get.request.Keys[i])
}

func (db *Database) newBatchGet(name string, request *keysAndAttributes, allow awsjson.Allow) (*batchGet, error) {
	t, err := db.table(name, "BatchGetItem", allow)
	if err != nil {
		return nil, err
	}
	if request == nil || len(request.Keys) == 0 {
		return nil, validation(
			"1 validation error detected: Value '[]' at 'requestItems.%s.member.keys' failed to satisfy constraint: "+
				"Member must have length greater than or equal to 1",
			name,
		)
	}
	if len(request.Keys) > maxBatchGets {
		return nil, validation("Too many items requested for the BatchGetItem call")
	}
	if request.AttributesToGet != nil {
		return nil, validation("the local stack does not emulate the legacy parameter AttributesToGet; use an expression")
	}
	get := &batchGet{name: name, request: request, table: t}
	if get.projection, err = parseProjection(request.ProjectionExpression, request.ExpressionAttributeNames); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, k := range request.Keys {
		key, err := t.readKey(k)
		if err != nil {
			return nil, err
		}
		if seen[key] {
			return nil, validation("Provided list of item keys contains duplicates")
		}
		seen[key] = true
		get.keys = append(get.keys, key)
	}
	return get, nil
}
