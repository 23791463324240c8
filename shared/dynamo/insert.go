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
		for _, one := range group {
			input.Statements = append(input.Statements, insertStatement(table, one))
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

// insertStatement is INSERT INTO "table" VALUE {'name': ?, …}, with the names in their order, so that items with
// the same attributes make the same statement.
func insertStatement(table string, one item) types.BatchStatementRequest {
	names := slices.Sorted(maps.Keys(one))
	var parameters []types.AttributeValue
	for i, name := range names {
		parameters = append(parameters, one[name])
		names[i] = "'" + name + "': ?"
	}
	statement := fmt.Sprintf(`INSERT INTO "%s" VALUE {%s}`, table, strings.Join(names, ", "))
	return types.BatchStatementRequest{Statement: &statement, Parameters: parameters}
}
