// Package dynamodb is the emulated DynamoDB of the local stack, with its streams, in process and in memory.
//
// A table is an ordered tree of immutable rows under one lock, and so is each of its indexes, by
// encoded keys; a write replaces a row, updates the indexes and appends to the stream in one step. A
// query is a range of a tree: no operation but a scan takes longer in a large table than in a small one.
// What AWS refuses is refused, with its error codes and as near as possible its messages, before
// anything is changed.
//
// Limits of the emulation: no throttling and no adaptive capacity; a stream has a single shard, and new and
// old images; the legacy parameters (Expected, KeyConditions, …), what package expression says of
// expressions, PartiQL other than INSERT with parameters, TransactGetItems, parallel scans, and operations
// on tables other than describing them are refused; reads are always consistent, and only charged as asked.
package dynamodb

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// Options of a Database. The zero value has defaults for everything.
type Options struct {
	Region  string           // default us-east-1
	Account string           // default 000000000000
	Clock   func() time.Time // default time.Now
}

// Database is a set of tables. Many goroutines may use it at once.
type Database struct {
	region, account string
	clock           func() time.Time

	mu      sync.RWMutex // guards the maps
	tables  map[string]*table
	streams map[string]*Stream // by ARN

	tokens  tokens
	inserts sync.Map // *insertion by statement: programs write few of them, with other parameters each time
}

// New makes a database without tables.
func New(o Options) *Database {
	db := &Database{
		region:  cmp.Or(o.Region, "us-east-1"),
		account: cmp.Or(o.Account, "000000000000"),
		clock:   o.Clock,
		tables:  map[string]*table{},
		streams: map[string]*Stream{},
	}
	if db.clock == nil {
		db.clock = time.Now
	}
	return db
}

// CreateTable adds an empty table, which is at once active. Its schema must be one that AWS would accept.
func (db *Database) CreateTable(s Schema) error {
	if s.ARN == "" {
		s.ARN = db.tableARN(s.Name)
	}
	now := db.clock()
	if s.Stream && s.StreamARN == "" {
		s.StreamARN = s.ARN + "/stream/" + now.UTC().Format("2006-01-02T15:04:05.000")
	}
	t := &table{schema: s, key: keySchema{s.HashKey, s.RangeKey}, created: now}
	for _, x := range s.Indexes {
		t.indexes = append(t.indexes, &index{Index: x, keySchema: keySchema{x.HashKey, x.RangeKey}, table: t.key})
	}
	if s.Stream {
		t.stream = &Stream{arn: s.StreamARN, region: db.region, key: t.key, clock: db.clock}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.tables[s.Name] != nil {
		return fmt.Errorf("creating table %s: it exists", s.Name)
	}
	if t.stream != nil && db.streams[s.StreamARN] != nil {
		return fmt.Errorf("creating table %s: stream %s exists", s.Name, s.StreamARN)
	}
	db.tables[s.Name] = t
	if t.stream != nil {
		db.streams[s.StreamARN] = t.stream
	}
	return nil
}

// Stream returns the stream with an ARN, or nil.
func (db *Database) Stream(arn string) *Stream {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.streams[arn]
}

// Expire deletes the items of all tables whose time to live ended before now and returns how many
// they were. Nothing calls it by itself: AWS, too, shows expired items for up to days.
func (db *Database) Expire(now time.Time) int {
	db.mu.RLock()
	var tables []*table
	for _, t := range db.tables {
		tables = append(tables, t)
	}
	db.mu.RUnlock()
	n := 0
	for _, t := range tables {
		n += t.expire(now)
	}
	return n
}

func (db *Database) tableARN(name string) string {
	return fmt.Sprintf("arn:aws:dynamodb:%s:%s:table/%s", db.region, db.account, name)
}

// table finds a table by name or ARN for a caller who may do the action on it.
func (db *Database) table(name, action string, allow awsjson.Allow) (*table, error) {
	if name == "" {
		return nil, validation("The parameter 'TableName' is required but was not present in the request")
	}
	t, arn := db.lookup(name)
	if err := allow("dynamodb:"+action, arn); err != nil {
		return nil, err
	}
	if t == nil {
		return nil, awsjson.Errorf("ResourceNotFoundException", "Requested resource not found: Table: %s not found", name)
	}
	return t, nil
}

// lookup returns the table with a name or ARN, or nil, and the ARN that it has or would have.
func (db *Database) lookup(name string) (*table, string) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if t := db.tables[name]; t != nil {
		return t, t.schema.ARN
	}
	if !strings.HasPrefix(name, "arn:") {
		return nil, db.tableARN(name)
	}
	for _, t := range db.tables {
		if t.schema.ARN == name {
			return t, name
		}
	}
	return nil, name
}

// Service is the API of DynamoDB, for target prefix DynamoDB_20120810.
func (db *Database) Service() awsjson.Service { return service{db} }

type service struct{ db *Database }

// Serve implements awsjson.Service.
func (s service) Serve(_ context.Context, operation string, body []byte, allow awsjson.Allow) (any, error) {
	switch operation {
	case "PutItem":
		return serve(body, allow, s.db.putItem)
	case "GetItem":
		return serve(body, allow, s.db.getItem)
	case "UpdateItem":
		return serve(body, allow, s.db.updateItem)
	case "DeleteItem":
		return serve(body, allow, s.db.deleteItem)
	case "Query":
		return serve(body, allow, s.db.query)
	case "Scan":
		return serve(body, allow, s.db.scan)
	case "BatchGetItem":
		return serve(body, allow, s.db.batchGetItem)
	case "BatchWriteItem":
		return serve(body, allow, s.db.batchWriteItem)
	case "ExecuteStatement":
		return serve(body, allow, s.db.executeStatement)
	case "BatchExecuteStatement":
		return serve(body, allow, s.db.batchExecuteStatement)
	case "TransactWriteItems":
		return serve(body, allow, s.db.transactWriteItems)
	case "DescribeTable":
		return serve(body, allow, s.db.describeTable)
	case "ListTables":
		return serve(body, allow, s.db.listTables)
	}
	return nil, awsjson.Errorf("UnknownOperationException", "%s is not supported by the local stack", operation)
}

// serve decodes a request, and turns what the value and expression packages refuse into what AWS answers.
func serve[In, Out any](body []byte, allow awsjson.Allow, operation func(*In, awsjson.Allow) (Out, error)) (any, error) {
	in := new(In)
	if err := json.Unmarshal(body, in); err != nil {
		return nil, awsjson.Errorf("SerializationException", "%v", err)
	}
	out, err := operation(in, allow)
	if err != nil {
		return nil, answer(err)
	}
	return out, nil
}

func answer(err error) error {
	if invalid, ok := err.(attribute.Invalid); ok {
		return validation("%s", string(invalid))
	}
	return err
}

// legacy are the parameters that expressions replaced. Ignoring them would do something else than was asked.
type legacy struct {
	AttributesToGet     json.RawMessage
	AttributeUpdates    json.RawMessage
	ConditionalOperator json.RawMessage
	Expected            json.RawMessage
	KeyConditions       json.RawMessage
	QueryFilter         json.RawMessage
	ScanFilter          json.RawMessage
}

func (l legacy) refuse() error {
	for _, parameter := range [...]struct {
		name  string
		given json.RawMessage
	}{
		{"AttributesToGet", l.AttributesToGet}, {"AttributeUpdates", l.AttributeUpdates},
		{"ConditionalOperator", l.ConditionalOperator}, {"Expected", l.Expected},
		{"KeyConditions", l.KeyConditions}, {"QueryFilter", l.QueryFilter}, {"ScanFilter", l.ScanFilter},
	} {
		if parameter.given != nil && string(parameter.given) != "null" {
			return validation("the local stack does not emulate the legacy parameter %s; use an expression", parameter.name)
		}
	}
	return nil
}

// oneOf checks a parameter with a fixed set of values; "" stands for an absent one.
func oneOf(parameter, given string, accepted ...string) error {
	if given == "" || slices.Contains(accepted, given) {
		return nil
	}
	return validation("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: "+
		"Member must satisfy enum value set: [%s]", given, parameter, strings.Join(accepted, ", "))
}

func checkConsumed(detail string) error {
	return oneOf("returnConsumedCapacity", detail, "INDEXES", "TOTAL", "NONE")
}
