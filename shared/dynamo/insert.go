package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// maxStatements is DynamoDB's limit of statements in one request.
const maxStatements = 25

// errDuplicate is returned for an item whose key is there already.
var errDuplicate = errors.New("there already")

// insertItems writes items that are not there yet, each on its own, with as few requests as possible. No two of
// them may have the same key: DynamoDB then refuses all. It returns nil or errDuplicate or another error for each.
//
// Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.batching.html
func insertItems(ctx context.Context, client *dynamodb.Client, table string, items []item) []error {
	errs := make([]error, len(items))
	for from := 0; from < len(items); from += maxStatements {
		group := items[from:min(from+maxStatements, len(items))]
		input := &dynamodb.BatchExecuteStatementInput{}
		var last insert
		for _, one := range group {
			if !last.fits(one) {
				last = newInsert(table, one)
			}
			input.Statements = append(input.Statements, last.of(one))
		}
		out, err := client.BatchExecuteStatement(ctx, input)
		for i := range group {
			errs[from+i] = err
			if err == nil {
				errs[from+i] = statementError(out.Responses, i)
			}
		}
	}
	return errs
}

func statementError(responses []types.BatchStatementResponse, i int) error {
	if i >= len(responses) {
		return errors.New("the answer does not mention it")
	}
	failed := responses[i].Error
	switch {
	case failed == nil:
		return nil
	case failed.Code == types.BatchStatementErrorCodeEnumDuplicateItem:
		return errDuplicate
	}
	return fmt.Errorf("%s: %s", failed.Code, aws.ToString(failed.Message))
}

// insert is INSERT INTO "table" VALUE {'name': ?, …} for items with some attributes.
type insert struct {
	names     []string // in their order, so that the same attributes make the same statement
	statement *string
}

func newInsert(table string, one item) insert {
	names := slices.Sorted(maps.Keys(one))
	var members strings.Builder
	for i, name := range names {
		if i > 0 {
			members.WriteString(", ")
		}
		members.WriteString("'" + name + "': ?")
	}
	return insert{names: names, statement: aws.String(fmt.Sprintf(`INSERT INTO "%s" VALUE {%s}`, table, &members))}
}

// fits reports whether an item has the attributes of i and no others.
func (i *insert) fits(one item) bool {
	return len(i.names) == len(one) && !slices.ContainsFunc(i.names, func(name string) bool { return one[name] == nil })
}

// of returns the statement that inserts an item that i fits.
func (i *insert) of(one item) types.BatchStatementRequest {
	parameters := make([]types.AttributeValue, len(i.names))
	for n, name := range i.names {
		parameters[n] = one[name]
	}
	return types.BatchStatementRequest{Statement: i.statement, Parameters: parameters}
}
