package dynamodb

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

const (
	maxTransactItems = 100
	maxTransaction   = 4 << 20          // bytes
	tokenLife        = 10 * time.Minute // of a ClientRequestToken
)

type transactWriteItemsInput struct {
	TransactItems               []transactWriteItem
	ClientRequestToken          string
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string
}

type transactWriteItem struct {
	Put            *transactWrite
	Update         *transactWrite
	Delete         *transactWrite
	ConditionCheck *transactWrite
}

type transactWrite struct {
	TableName                           string
	Item                                attribute.Item
	Key                                 attribute.Item
	UpdateExpression                    *string
	ConditionExpression                 *string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           map[string]*attribute.Value
	ReturnValuesOnConditionCheckFailure string
}

type transactWriteItemsOutput struct {
	ConsumedCapacity []*consumedCapacity `json:",omitempty"`
}

// reason says why one action of a transaction failed, or "None".
type reason struct {
	Code    string
	Message string         `json:",omitempty"`
	Item    attribute.Item `json:",omitempty"`
}

func canceled(reasons []reason) error {
	codes := make([]string, len(reasons))
	for i, r := range reasons {
		codes[i] = r.Code
	}
	e := awsjson.Errorf("TransactionCanceledException",
		"Transaction cancelled, please refer cancellation reasons for specific reasons [%s]", strings.Join(codes, ", "))
	e.Fields = map[string]any{"CancellationReasons": reasons}
	return e
}

func (db *Database) transactWriteItems(in *transactWriteItemsInput, allow awsjson.Allow) (*transactWriteItemsOutput, error) {
	if err := checkConsumed(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if n := len(in.TransactItems); n == 0 || n > maxTransactItems {
		return nil, validation("1 validation error detected: Value at 'transactItems' failed to satisfy constraint: "+
			"Member must have length less than or equal to 100 and greater than or equal to 1; it has length %d", n)
	}
	fingerprint, err := in.fingerprint()
	if err != nil {
		return nil, err
	}
	var writes []*write
	size := 0
	for _, item := range in.TransactItems {
		w, err := db.newTransactWrite(item, allow)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(writes, w.sameItem) {
			return nil, validation("Transaction request cannot include multiple operations on one item")
		}
		writes = append(writes, w)
		size += w.row.sizeOf()
	}
	if size > maxTransaction {
		return nil, validation("Collection size of items in the transaction exceeded: aggregate size %d is more than 4 MB", size)
	}
	return db.tokens.once(in.ClientRequestToken, fingerprint, db.clock, func() (*transactWriteItemsOutput, error) {
		b, err := db.commit(writes)
		if err != nil {
			return nil, err
		}
		return &transactWriteItemsOutput{ConsumedCapacity: b.report(in.ReturnConsumedCapacity)}, nil
	})
}

// fingerprint is equal for equal requests.
func (in *transactWriteItemsInput) fingerprint() ([sha256.Size]byte, error) {
	text, err := json.Marshal(in.TransactItems)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("encoding a transaction: %w", err)
	}
	return sha256.Sum256(text), nil
}

func (db *Database) newTransactWrite(item transactWriteItem, allow awsjson.Allow) (*write, error) {
	var given []func() (*write, error)
	prepare := func(request *transactWrite, action string, kind writeKind) {
		if request != nil {
			given = append(given, func() (*write, error) { return db.prepare(request, action, kind, allow) })
		}
	}
	prepare(item.Put, "PutItem", put)
	prepare(item.Update, "UpdateItem", update)
	prepare(item.Delete, "DeleteItem", remove)
	prepare(item.ConditionCheck, "ConditionCheckItem", check)
	if len(given) != 1 {
		return nil, validation("TransactItems can only contain one of Check, Put, Update or Delete")
	}
	return given[0]()
}

// prepare parses one action of a transaction.
func (db *Database) prepare(request *transactWrite, action string, kind writeKind, allow awsjson.Allow) (*write, error) {
	t, err := db.table(request.TableName, action, allow)
	if err != nil {
		return nil, err
	}
	if err := oneOf("returnValuesOnConditionCheckFailure", request.ReturnValuesOnConditionCheckFailure, "ALL_OLD", "NONE"); err != nil {
		return nil, err
	}
	required := func(parameter string) error {
		return validation("The parameter '%s' is required but was not present in the request", parameter)
	}
	switch {
	case kind == check && request.ConditionExpression == nil:
		return nil, required("ConditionExpression")
	case kind == update && request.UpdateExpression == nil:
		return nil, required("UpdateExpression")
	case kind == put && request.Item == nil:
		return nil, required("Item")
	case kind != put && request.Key == nil:
		return nil, required("Key")
	}
	var w *write
	if kind == put {
		w, err = newPut(t, request.Item)
	} else {
		w, err = newWrite(kind, t, request.Key)
	}
	if err != nil {
		return nil, err
	}
	w.returnOld = request.ReturnValuesOnConditionCheckFailure == "ALL_OLD"
	updateExpression := request.UpdateExpression
	if kind != update {
		updateExpression = nil
	}
	return w, w.parse(request.ConditionExpression, updateExpression, request.ExpressionAttributeNames, request.ExpressionAttributeValues)
}

// commit does all writes or none.
func (db *Database) commit(writes []*write) (*bill, error) {
	unlock := lock(writes)
	defer unlock()
	type change struct{ old, new *row }
	changes := make([]change, len(writes))
	reasons := make([]reason, len(writes))
	failed := false
	for i, w := range writes {
		old, r, err := w.evaluate()
		changes[i], reasons[i] = change{old, r}, reasonOf(err)
		failed = failed || err != nil
	}
	if failed {
		return nil, canceled(reasons)
	}
	b := &bill{}
	now := db.clock()
	for i, w := range writes {
		var c capacity
		if w.kind == check {
			c = capacity{table: w.table}
			c.write(changes[i].old.sizeOf())
		} else {
			c = w.table.apply(changes[i].old, changes[i].new, now, caller)
		}
		c.transaction = true
		b.add(c)
	}
	return b, nil
}

// reasonOf turns what evaluating a write returned into a cancellation reason.
func reasonOf(err error) reason {
	if err == nil {
		return reason{Code: "None"}
	}
	var e *awsjson.Error
	if errors.As(err, &e) && e.Code == "ConditionalCheckFailedException" {
		item, _ := e.Fields["Item"].(attribute.Item)
		return reason{Code: "ConditionalCheckFailed", Message: e.Message, Item: item}
	}
	if errors.As(answer(err), &e) {
		return reason{Code: "ValidationError", Message: e.Message}
	}
	return reason{Code: "ValidationError", Message: err.Error()}
}

// lock locks the tables of the writes, in the order of their names so that transactions cannot block
// each other, and returns what unlocks them.
func lock(writes []*write) (unlock func()) {
	var tables []*table
	for _, w := range writes {
		if !slices.Contains(tables, w.table) {
			tables = append(tables, w.table)
		}
	}
	slices.SortFunc(tables, func(a, b *table) int { return strings.Compare(a.schema.Name, b.schema.Name) })
	for _, t := range tables {
		t.mu.Lock()
	}
	return func() {
		for _, t := range tables {
			t.mu.Unlock()
		}
	}
}

// tokens remembers the ClientRequestTokens of transactions that were done, for as long as AWS does.
type tokens struct {
	mu   sync.Mutex
	done map[string]doneTransaction
	old  []string // tokens in the order in which they were used
}

type doneTransaction struct {
	fingerprint [sha256.Size]byte
	at          time.Time
	out         *transactWriteItemsOutput
}

// once runs a transaction unless one with this token was done. Transactions with tokens run one at
// a time, so that a token cannot be used by two of them at once.
func (t *tokens) once(
	token string, fingerprint [sha256.Size]byte, clock func() time.Time, run func() (*transactWriteItemsOutput, error),
) (*transactWriteItemsOutput, error) {
	if token == "" {
		return run()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := clock()
	for len(t.old) > 0 && now.Sub(t.done[t.old[0]].at) >= tokenLife {
		delete(t.done, t.old[0])
		t.old = t.old[1:]
	}
	if before, ok := t.done[token]; ok {
		if before.fingerprint != fingerprint {
			return nil, awsjson.Errorf("IdempotentParameterMismatchException",
				"The request uses the same client token as a previous, but non-identical request.")
		}
		return before.out, nil
	}
	out, err := run()
	if err != nil {
		return nil, err
	}
	if t.done == nil {
		t.done = map[string]doneTransaction{}
	}
	t.done[token] = doneTransaction{fingerprint, now, out}
	t.old = append(t.old, token)
	return out, nil
}
