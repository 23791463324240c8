package dynamodb

import (
	"errors"
	"regexp"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// Limits of AWS.
const (
	maxStatements = 25
	maxStatement  = 8192 // characters
)

// The one statement that is emulated, and a member of its tuple. A quotation mark within quotation marks is written twice.
var (
	insertForm = regexp.MustCompile(`(?is)^\s*INSERT\s+INTO\s+(?:"((?:[^"]|"")+)"|(\w+))\s+VALUE\s*\{(.*)\}\s*$`)
	memberForm = regexp.MustCompile(`^\s*'((?:[^']|'')+)'\s*:\s*\?\s*(,|$)`)
)

// statement is a PartiQL statement of a request.
type statement struct {
	Statement                           string
	Parameters                          []*attribute.Value
	ReturnValuesOnConditionCheckFailure string // without effect on an INSERT, which has no condition
}

func (s *statement) check() error {
	if n := len(s.Statement); n == 0 || n > maxStatement {
		return validation("1 validation error detected: Value at 'statement' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d and greater than or equal to 1; it has length %d", maxStatement, n)
	}
	if s.Parameters != nil && len(s.Parameters) == 0 {
		return validation("1 validation error detected: Value '[]' at 'parameters' failed to satisfy constraint: " +
			"Member must have length greater than or equal to 1")
	}
	return oneOf("returnValuesOnConditionCheckFailure", s.ReturnValuesOnConditionCheckFailure, "ALL_OLD", "NONE")
}

// insertion is an INSERT as it was read: a table and the names of attributes, in the order of their parameters.
type insertion struct {
	table string
	names []string
}

func parseInsert(text string) (*insertion, error) {
	refused := validation(`Statement wasn't well formed, can't be processed: of PartiQL the local stack emulates ` +
		`INSERT INTO "table" VALUE {'attribute': ?, …} and nothing else`)
	parts := insertForm.FindStringSubmatch(text)
	if parts == nil {
		return nil, refused
	}
	read := &insertion{table: strings.ReplaceAll(parts[1], `""`, `"`) + parts[2]}
	for rest, more := parts[3], true; more; {
		member := memberForm.FindStringSubmatch(rest)
		if member == nil {
			return nil, refused
		}
		read.names = append(read.names, strings.ReplaceAll(member[1], "''", "'"))
		rest, more = rest[len(member[0]):], member[2] == ","
	}
	return read, nil
}

// newInsert prepares an INSERT, and says which table it names as far as that could be read.
func (db *Database) newInsert(s *statement, allow awsjson.Allow) (w *write, table string, err error) {
	known, ok := db.inserts.Load(s.Statement)
	if !ok {
		if known, err = parseInsert(s.Statement); err != nil {
			return nil, "", err
		}
		db.inserts.Store(s.Statement, known)
	}
	table, names := known.(*insertion).table, known.(*insertion).names
	if len(names) > len(s.Parameters) { // AWS takes no notice of parameters that are left over
		return nil, "", validation("Number of parameters in request and statement don't match.")
	}
	t, err := db.table(table, "PartiQLInsert", allow)
	if err != nil {
		return nil, table, err
	}
	item := attribute.Item{}
	for i, name := range names {
		if item[name] != nil {
			return nil, table, validation("Statement wasn't well formed, can't be processed: it names the attribute %s twice", name)
		}
		item[name] = s.Parameters[i]
	}
	if w, err = newPut(t, item); err != nil {
		return nil, table, err
	}
	w.kind = insert
	return w, table, nil
}

type executeStatementInput struct {
	statement
	ReturnConsumedCapacity string
}

type executeStatementOutput struct {
	Items            []attribute.Item  // of an INSERT none
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

func (db *Database) executeStatement(in *executeStatementInput, allow awsjson.Allow) (*executeStatementOutput, error) {
	if err := errors.Join(in.check(), checkConsumed(in.ReturnConsumedCapacity)); err != nil {
		return nil, err
	}
	w, _, err := db.newInsert(&in.statement, allow)
	if err != nil {
		return nil, err
	}
	_, _, c, err := w.run(db.clock)
	if err != nil {
		return nil, err
	}
	return &executeStatementOutput{Items: []attribute.Item{}, ConsumedCapacity: c.report(in.ReturnConsumedCapacity)}, nil
}

type batchExecuteStatementInput struct {
	Statements             []statement
	ReturnConsumedCapacity string
}

type batchExecuteStatementOutput struct {
	Responses        []statementResponse
	ConsumedCapacity []*consumedCapacity `json:",omitempty"`
}

// statementResponse is what became of one statement of a batch.
type statementResponse struct {
	Error     *statementError `json:",omitempty"`
	TableName string          `json:",omitempty"`
}

// statementError never has the item: AWS brings it for a condition alone, and an INSERT has none.
type statementError struct{ Code, Message string }

// batchExecuteStatement runs each statement on its own, and none of them if two name the same item. A
// statement that cannot be read, or not be done as it is, fails alone and counts for neither.
func (db *Database) batchExecuteStatement(in *batchExecuteStatementInput, allow awsjson.Allow) (*batchExecuteStatementOutput, error) {
	if err := checkConsumed(in.ReturnConsumedCapacity); err != nil {
		return nil, err
	}
	if n := len(in.Statements); n == 0 || n > maxStatements {
		return nil, validation("1 validation error detected: Value at 'statements' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d and greater than or equal to 1; it has length %d", maxStatements, n)
	}
	for i := range in.Statements {
		if err := in.Statements[i].check(); err != nil {
			return nil, err
		}
	}
	writes := make([]*write, len(in.Statements))
	out := &batchExecuteStatementOutput{Responses: make([]statementResponse, len(in.Statements))}
	for i := range in.Statements {
		w, table, err := db.newInsert(&in.Statements[i], allow)
		if err != nil {
			out.Responses[i].fail(table, err)
			continue
		}
		for _, other := range writes[:i] {
			if other != nil && w.sameItem(other) {
				return nil, validation("Provided list of item keys contains duplicates")
			}
		}
		writes[i], out.Responses[i].TableName = w, table
	}
	var b bill
	inserted := false
	for i, w := range writes {
		if w == nil {
			continue
		}
		_, _, c, err := w.run(db.clock)
		if err != nil {
			out.Responses[i].fail(out.Responses[i].TableName, err)
			c = capacity{table: w.table, failedUnits: writeUnits(w.row.size)}
		}
		inserted = inserted || err == nil
		b.add(c)
	}
	if inserted { // AWS reports nothing of a batch that failed as a whole
		out.ConsumedCapacity = b.report(in.ReturnConsumedCapacity)
	}
	return out, nil
}

// fail fills in an error, for which AWS has shorter codes here. It leaves out the table of a statement that is itself at fault.
func (r *statementResponse) fail(table string, err error) {
	e, ok := errors.AsType[*awsjson.Error](answer(err))
	if !ok {
		e = awsjson.Errorf("InternalServerError", "%v", err)
	}
	*r = statementResponse{Error: &statementError{strings.TrimSuffix(e.Code, "Exception"), e.Message}, TableName: table}
	if r.Error.Code == "Validation" {
		r.Error.Code, r.TableName = "ValidationError", ""
	}
}
