package dynamodb_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	insertOrder = `INSERT INTO "orders" VALUE {'customer': ?, 'number': ?, 'day': ?}`
	insertNote  = `INSERT INTO notes VALUE {'id': ?}`
)

func statement(text string, parameters ...types.AttributeValue) types.BatchStatementRequest {
	return types.BatchStatementRequest{Statement: &text, Parameters: parameters}
}

func (f *fixture) batch(statements ...types.BatchStatementRequest) (*dynamodb.BatchExecuteStatementOutput, error) {
	return f.BatchExecuteStatement(context.Background(), &dynamodb.BatchExecuteStatementInput{
		Statements: statements, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes,
	})
}

// outcomes says of each statement which table it reached and how it failed.
func outcomes(out *dynamodb.BatchExecuteStatementOutput) []string {
	var found []string
	for _, r := range out.Responses {
		one := aws.ToString(r.TableName)
		if r.Error != nil {
			one += " " + string(r.Error.Code)
		}
		if r.Item != nil || r.Error != nil && r.Error.Item != nil {
			one += " with an item"
		}
		found = append(found, one)
	}
	return found
}

func TestInsertWritesWhatIsNotThereYet(t *testing.T) {
	f := newFixture(t, nil)
	f.put(t, order("c", "1", item{"a": s("old")}))
	duplicate := statement(insertOrder, s("c"), n("1"), s("monday"))
	duplicate.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	out, err := f.batch(duplicate, statement(insertOrder, s("c"), n("2"), s("monday")), statement(insertNote, s("x")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []string{"orders DuplicateItem", "orders", "notes"}, outcomes(out))
	same(t, order("c", "1", item{"a": s("old")}), f.order(t, "c", "1"))
	same(t, order("c", "2", item{"day": s("monday")}), f.order(t, "c", "2"))
	same(t, []string{"INSERT 1 old=false new=true", "INSERT 2 old=false new=true"}, describe(f.records(t, "TRIM_HORIZON", "")))
	var units []string
	for _, c := range out.ConsumedCapacity {
		units = append(units, fmt.Sprintf("%s %v %v %d",
			*c.TableName, *c.CapacityUnits, *c.Table.CapacityUnits, len(c.GlobalSecondaryIndexes)))
	}
	same(t, []string{"orders 3 1 1", "notes 1 1 0"}, units) // the duplicate's unit is in the total alone
}

func TestOneOfManyInsertsOfAnItemSucceeds(t *testing.T) {
	f := newFixture(t, nil)
	results := make(chan string, 20)
	for i := range cap(results) {
		go func() {
			out, err := f.batch(statement(insertOrder, s("c"), n("1"), s(fmt.Sprint(i))))
			if err != nil {
				results <- err.Error()
				return
			}
			results <- outcomes(out)[0]
		}()
	}
	count := map[string]int{}
	for range cap(results) {
		count[<-results]++
	}
	same(t, map[string]int{"orders": 1, "orders DuplicateItem": cap(results) - 1}, count)
}

func TestStatementFailsAlone(t *testing.T) {
	tuple := `{'id': ?}`
	for _, c := range []struct {
		name, text, want string
		parameters       []types.AttributeValue
	}{
		{name: "a table that is not there", text: `INSERT INTO "none" VALUE ` + tuple, want: "none ResourceNotFound"},
		{name: "a key of the wrong type", text: insertNote, parameters: []types.AttributeValue{n("1")}, want: " ValidationError"},
		{name: "an empty key", text: insertNote, parameters: []types.AttributeValue{s("")}, want: " ValidationError"},
		{name: "no key", text: `INSERT INTO notes VALUE {'a': ?}`, want: " ValidationError"},
		{name: "a parameter too few", text: `INSERT INTO notes VALUE {'id': ?, 'a': ?}`, want: " ValidationError"},
		{name: "an attribute twice", text: `INSERT INTO notes VALUE {'id': ?, 'id': ?}`, parameters: []types.AttributeValue{s("a"), s("b")},
			want: " ValidationError"},
		{name: "a literal", text: `INSERT INTO notes VALUE {'id': ?, 'a': 'b'}`, want: " ValidationError"},
		{name: "a name without quotation marks", text: `INSERT INTO notes VALUE {id: ?}`, want: " ValidationError"},
		{name: "an empty tuple", text: `INSERT INTO notes VALUE {}`, want: " ValidationError"},
		{name: "a comma at the end", text: `INSERT INTO notes VALUE {'id': ?,}`, want: " ValidationError"},
		{name: "something after it", text: insertNote + ` IF NOT EXISTS`, want: " ValidationError"},
		{name: "a whole item as parameter", text: `INSERT INTO notes VALUE ?`, want: " ValidationError"},
		{name: "a selection", text: `SELECT * FROM notes WHERE id = ?`, want: " ValidationError"},
		{name: "an update", text: `UPDATE notes SET a = 1 WHERE id = ?`, want: " ValidationError"},
		{name: "a deletion", text: `DELETE FROM notes WHERE id = ?`, want: " ValidationError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.parameters == nil {
				c.parameters = []types.AttributeValue{s("a")}
			}
			out, err := newFixture(t, nil).batch(statement(c.text, c.parameters...), statement(insertNote, s("good")))
			if err != nil {
				t.Fatal(err)
			}
			same(t, []string{c.want, "notes"}, outcomes(out))
		})
	}
}

func TestBatchOfStatementsIsRefused(t *testing.T) {
	const violation = "1 validation error detected: Value "
	many := make([]types.BatchStatementRequest, 26)
	for i := range many {
		many[i] = statement(insertNote, s(fmt.Sprint(i)))
	}
	const length = violation + "at 'statements' failed to satisfy constraint: " +
		"Member must have length less than or equal to 25 and greater than or equal to 1; it has length "
	other := statement(insertNote, s("a"))
	other.ReturnValuesOnConditionCheckFailure = "SOME"
	none := statement(insertNote)
	none.Parameters = []types.AttributeValue{}
	for _, c := range []struct {
		name, want string
		statements []types.BatchStatementRequest
	}{
		{name: "a key twice", want: "Provided list of item keys contains duplicates",
			statements: []types.BatchStatementRequest{
				many[0],
				many[1],
				statement(`insert into "notes" value {'a': ?, 'id': ?}`, s("x"), s("0")),
			}},
		{name: "none", want: length + "0", statements: []types.BatchStatementRequest{}},
		{name: "too many", want: length + "26", statements: many},
		{name: "an empty statement", want: violation + "at 'statement' failed to satisfy constraint: " +
			"Member must have length less than or equal to 8192 and greater than or equal to 1; it has length 0",
			statements: []types.BatchStatementRequest{many[0], statement("")}},
		{
			name:       "no parameters",
			want:       violation + "'[]' at 'parameters' failed to satisfy constraint: Member must have length greater than or equal to 1",
			statements: []types.BatchStatementRequest{many[0], none},
		},
		{
			name: "an unknown return value",
			want: violation + "'SOME' at 'returnValuesOnConditionCheckFailure' failed to satisfy constraint: " +
				"Member must satisfy enum value set: [ALL_OLD, NONE]",
			statements: []types.BatchStatementRequest{many[0], other},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, nil)
			_, err := f.batch(c.statements...)
			refused(t, err, "ValidationException", c.want)
			out, err := f.Scan(t.Context(), &dynamodb.ScanInput{TableName: ptr("notes")})
			if err != nil || len(out.Items) > 0 {
				t.Errorf("%d items were written, error %v", len(out.Items), err)
			}
		})
	}
}

func TestSingleInsert(t *testing.T) {
	f := newFixture(t, nil)
	insert := func(text string, parameters ...types.AttributeValue) (*dynamodb.ExecuteStatementOutput, error) {
		return f.ExecuteStatement(t.Context(), &dynamodb.ExecuteStatementInput{
			Statement: &text, Parameters: parameters, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
		})
	}
	out, err := insert("INSERT INTO \"notes\"\nVALUE\n{'it''s' : ?, 'id':?}", s("quoted"), s("a"), s("left over"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, 1.0, *out.ConsumedCapacity.CapacityUnits)
	got, err := f.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: ptr("notes"), Key: item{"id": s("a")}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, item{"id": s("a"), "it's": s("quoted")}, got.Item)
	_, err = insert(insertNote, s("a"))
	refused(t, err, "DuplicateItemException", "Duplicate primary key exists in table")
	_, err = insert("EXISTS(SELECT * FROM notes WHERE id = ?)", s("a"))
	refused(t, err, "ValidationException", `Statement wasn't well formed, can't be processed: of PartiQL the local stack emulates `+
		`INSERT INTO "table" VALUE {'attribute': ?, …} and nothing else`)
	_, err = insert(`INSERT INTO notes VALUE {'id': ?, 'a': ?}`, s("large"), s(strings.Repeat("x", 400<<10)))
	refused(t, err, "ValidationException", "Item size has exceeded the maximum allowed size")
}

func TestInsertNeedsPermissionForItsTable(t *testing.T) {
	f := newFixture(t, only{"dynamodb:PartiQLInsert", ordersARN})
	out, err := f.batch(statement(insertNote, s("a")), statement(insertOrder, s("c"), n("1"), s("monday")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, []string{"notes AccessDenied", "orders"}, outcomes(out))
}
