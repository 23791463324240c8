package dynamodb

import (
	"strings"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/expression"
)

// writeInput is what all single writes have in common.
type writeInput struct {
	legacy
	TableName                           string
	ConditionExpression                 *string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           map[string]*attribute.Value
	ReturnValues                        string
	ReturnConsumedCapacity              string
	ReturnItemCollectionMetrics         string
	ReturnValuesOnConditionCheckFailure string
}

func (in *writeInput) check() error {
	if err := in.refuse(); err != nil {
		return err
	}
	if err := oneOf("returnValues", in.ReturnValues, "ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"); err != nil {
		return err
	}
	if err := oneOf("returnValuesOnConditionCheckFailure", in.ReturnValuesOnConditionCheckFailure, "ALL_OLD", "NONE"); err != nil {
		return err
	}
	return checkConsumed(in.ReturnConsumedCapacity)
}

type writeOutput struct {
	Attributes       attribute.Item    `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

// write is one change of one item, or only a check of it, parsed and as far as possible checked.
type write struct {
	table     *table
	key       string
	keyItem   attribute.Item
	row       *row               // to put or insert; nil for anything else
	update    *expression.Update // may be nil of an update, which then only makes sure that there is an item
	condition *expression.Condition
	kind      writeKind
	returnOld bool // with the error, if the condition is false
}

type writeKind int

const (
	put    writeKind = iota
	insert           // a put that fails where there is an item
	update
	remove
	check
)

const (
	putTooLarge    = "Item size has exceeded the maximum allowed size"
	updateTooLarge = "Item size to update has exceeded the maximum allowed size"
)

// newPut prepares to put an item, which it normalises.
func newPut(t *table, item attribute.Item) (*write, error) {
	if err := item.Normalize(); err != nil {
		return nil, err
	}
	r, err := t.newRow(item, putTooLarge)
	if err != nil {
		return nil, err
	}
	return &write{kind: put, table: t, key: r.key, keyItem: item, row: r}, nil
}

// newWrite prepares a write of another kind of the item with a key.
func newWrite(kind writeKind, t *table, key attribute.Item) (*write, error) {
	if err := key.Normalize(); err != nil {
		return nil, err
	}
	if err := t.key.checkKey(key); err != nil {
		return nil, err
	}
	return &write{kind: kind, table: t, key: t.keyOf(key), keyItem: key}, nil
}

// parse parses the write's expressions; nil stands for an absent one.
func (w *write) parse(condition, update *string, names map[string]string, values map[string]*attribute.Value) error {
	if condition == nil && update == nil && names == nil && values == nil {
		return nil
	}
	p, err := expression.NewPlaceholders(names, values, condition != nil || update != nil)
	if err != nil {
		return err
	}
	if update != nil {
		if w.update, err = expression.ParseUpdate(*update, p); err != nil {
			return err
		}
		for _, root := range w.update.Attributes() {
			if w.table.key.has(root) {
				return validation(
					"One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", root,
				)
			}
		}
	}
	if condition != nil {
		if w.condition, err = expression.ParseCondition(expression.ConditionExpression, *condition, p); err != nil {
			return err
		}
	}
	return p.Unused()
}

// evaluate checks the condition and computes what is to be stored, without storing it. The caller
// holds the table's lock.
func (w *write) evaluate() (old, r *row, err error) {
	old = w.table.at(w.key)
	if w.condition != nil && !w.condition.Match(old.itemOf()) {
		e := awsjson.Errorf("ConditionalCheckFailedException", "The conditional request failed")
		if w.returnOld && old != nil {
			e.Fields = map[string]any{"Item": old.item}
		}
		return old, nil, e
	}
	switch w.kind {
	case put:
		return old, w.row, nil
	case insert:
		if old != nil {
			return old, nil, awsjson.Errorf("DuplicateItemException", "Duplicate primary key exists in table")
		}
		return nil, w.row, nil
	case remove:
		return old, nil, nil
	case check:
		return old, old, nil
	}
	item := old.itemOf()
	if item == nil {
		item = w.keyItem
	}
	if w.update != nil {
		if item, err = w.update.Apply(item); err != nil {
			return old, nil, err
		}
	}
	r, err = w.table.newRow(item, updateTooLarge)
	return old, r, err
}

// run evaluates and stores.
func (w *write) run(clock func() time.Time) (old, r *row, c capacity, err error) {
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	if old, r, err = w.evaluate(); err != nil {
		return nil, nil, capacity{}, err
	}
	return old, r, w.table.apply(old, r, clock(), caller), nil
}

// do runs a prepared write and makes the response.
func (db *Database) do(w *write, in *writeInput) (*writeOutput, error) {
	w.returnOld = in.ReturnValuesOnConditionCheckFailure == "ALL_OLD"
	old, r, c, err := w.run(db.clock)
	if err != nil {
		return nil, err
	}
	out := &writeOutput{ConsumedCapacity: c.report(in.ReturnConsumedCapacity)}
	switch in.ReturnValues {
	case "ALL_OLD":
		out.Attributes = old.itemOf()
	case "ALL_NEW":
		out.Attributes = r.itemOf()
	case "UPDATED_OLD":
		if w.update != nil {
			out.Attributes = expression.Projection(w.update.Attributes()).Apply(old.itemOf())
		}
	case "UPDATED_NEW":
		if w.update != nil {
			out.Attributes = expression.Projection(w.update.Attributes()).Apply(r.itemOf())
		}
	}
	return out, nil
}

type putItemInput struct {
	writeInput
	Item attribute.Item
}

func (db *Database) putItem(in *putItemInput, allow awsjson.Allow) (*writeOutput, error) {
	t, err := db.table(in.TableName, "PutItem", allow)
	if err != nil {
		return nil, err
	}
	if err := in.checkOldOnly(); err != nil {
		return nil, err
	}
	if in.Item == nil {
		return nil, validation("The parameter 'Item' is required but was not present in the request")
	}
	w, err := newPut(t, in.Item)
	if err != nil {
		return nil, err
	}
	if err := w.parse(in.ConditionExpression, nil, in.ExpressionAttributeNames, in.ExpressionAttributeValues); err != nil {
		return nil, err
	}
	return db.do(w, &in.writeInput)
}

// checkOldOnly is check for writes that cannot return anything new.
func (in *writeInput) checkOldOnly() error {
	if err := in.check(); err != nil {
		return err
	}
	if strings.HasPrefix(in.ReturnValues, "UPDATED_") || in.ReturnValues == "ALL_NEW" {
		return validation("ReturnValues can only be ALL_OLD or NONE")
	}
	return nil
}

type keyInput struct {
	writeInput
	Key attribute.Item
}

func (db *Database) deleteItem(in *keyInput, allow awsjson.Allow) (*writeOutput, error) {
	t, err := db.table(in.TableName, "DeleteItem", allow)
	if err != nil {
		return nil, err
	}
	if err := in.checkOldOnly(); err != nil {
		return nil, err
	}
	return db.keyed(remove, t, in, nil)
}

type updateItemInput struct {
	keyInput
	UpdateExpression *string
}

func (db *Database) updateItem(in *updateItemInput, allow awsjson.Allow) (*writeOutput, error) {
	t, err := db.table(in.TableName, "UpdateItem", allow)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	return db.keyed(update, t, &in.keyInput, in.UpdateExpression)
}

// keyed runs an update or a removal.
func (db *Database) keyed(kind writeKind, t *table, in *keyInput, updateExpression *string) (*writeOutput, error) {
	if in.Key == nil {
		return nil, validation("The parameter 'Key' is required but was not present in the request")
	}
	w, err := newWrite(kind, t, in.Key)
	if err != nil {
		return nil, err
	}
	if err := w.parse(in.ConditionExpression, updateExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues); err != nil {
		return nil, err
	}
	return db.do(w, &in.writeInput)
}
