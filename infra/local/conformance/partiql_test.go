package conformance

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const insertOrder = `INSERT INTO "orders" VALUE {'customer': ?, 'number': ?, 'note': ?}`

func inserts(customer string, numbers ...int) []types.BatchStatementRequest {
	var statements []types.BatchStatementRequest
	for _, n := range numbers {
		statements = append(statements, types.BatchStatementRequest{
			Statement: aws.String(insertOrder), Parameters: []types.AttributeValue{text(customer), number(fmt.Sprint(n)), text("new")},
			ReturnValuesOnConditionCheckFailure: "ALL_OLD",
		})
	}
	return statements
}

// insertBatch says what became of each statement: the table, or the error's code and message.
func insertBatch(ctx context.Context, s services, statements []types.BatchStatementRequest) string {
	out, err := s.dynamodb.BatchExecuteStatement(ctx, &dynamodb.BatchExecuteStatementInput{
		Statements: statements, ReturnConsumedCapacity: "TOTAL",
	})
	if err != nil {
		return says(err, "Provided list of item keys contains duplicates")
	}
	var parts []string
	for _, r := range out.Responses {
		part := aws.ToString(r.TableName)
		if r.Error != nil {
			message, _, _ := strings.Cut(aws.ToString(r.Error.Message), ":")
			part += fmt.Sprintf(" %s: %s (%s)", r.Error.Code, message, show(r.Error.Item))
		}
		parts = append(parts, strings.TrimSpace(part+" "+show(r.Item)))
	}
	return strings.Join(parts, ", ") + "; " + units(nil, out.ConsumedCapacity...)
}

func insertOne(ctx context.Context, s services, statement string, parameters ...types.AttributeValue) string {
	out, err := s.dynamodb.ExecuteStatement(ctx, &dynamodb.ExecuteStatementInput{
		Statement: &statement, Parameters: parameters, ReturnConsumedCapacity: "TOTAL",
	})
	if err != nil {
		return code(err)
	}
	return fmt.Sprint(len(out.Items), " items, ", counted(nil, out.ConsumedCapacity))
}

// partiQLBehaviours are of INSERT, the one statement that this system makes.
func partiQLBehaviours() []behaviour {
	return []behaviour{
		{"a batch inserts what is not there, and says of each what is", func(ctx context.Context, s services) string {
			if err := put(ctx, s, order("insert", 1, item{"note": text("old")})); err != nil {
				return code(err)
			}
			became := insertBatch(ctx, s, inserts("insert", 1, 2))
			out, err := s.dynamodb.Query(ctx, &dynamodb.QueryInput{
				TableName: aws.String(orders), KeyConditionExpression: aws.String("customer = :c"),
				ExpressionAttributeValues: item{":c": text("insert")},
			})
			if err != nil || len(out.Items) != 2 {
				return fmt.Sprint(became, " ", code(err), " ", out)
			}
			return became + "; " + show(out.Items[0]) + ", " + show(out.Items[1])
		}, "orders DuplicateItem: Duplicate primary key exists in table (), orders; 2; " +
			"customer=insert note=old number=1, customer=insert note=new number=2"},
		{"a batch of which nothing was inserted reports no units", func(ctx context.Context, s services) string {
			if err := put(ctx, s, order("insertnone", 1)); err != nil {
				return code(err)
			}
			return insertBatch(ctx, s, inserts("insertnone", 1))
		}, "orders DuplicateItem: Duplicate primary key exists in table (); 0"},
		{"a key twice in a batch of statements refuses them all", func(ctx context.Context, s services) string {
			got := insertBatch(ctx, s, inserts("inserttwice", 1, 2, 1))
			return got + "; " + insertBatch(ctx, s, inserts("inserttwice", 1, 2))
		}, "ValidationException: Provided list of item keys contains duplicates; orders, orders; 2"},
		{"a batch of 26 statements is refused", func(ctx context.Context, s services) string {
			numbers := make([]int, 26)
			for n := range numbers {
				numbers[n] = n
			}
			return insertBatch(ctx, s, inserts("insertmany", numbers...))
		}, "ValidationException"},
		{"a batch without statements is refused", func(ctx context.Context, s services) string {
			return insertBatch(ctx, s, []types.BatchStatementRequest{})
		}, "ValidationException"},
		{"a statement that cannot be done fails alone", func(ctx context.Context, s services) string {
			statements := inserts("insertalone", 1, 2, 3, 4, 5)
			statements[0].Statement = aws.String(`INSERT INTO "none" VALUE {'customer': ?, 'number': ?, 'note': ?}`)
			statements[1].Parameters = statements[1].Parameters[:2]
			statements[2].Statement = aws.String(`INSERT INTO "orders" VALUES {'customer': ?, 'number': ?, 'note': ?}`)
			statements[3].Parameters[0] = text("")
			outcome, _, _ := strings.Cut(insertBatch(ctx, s, statements), ";") // what a refused statement costs is not documented
			return outcome
		}, "none ResourceNotFound: Requested resource not found (), " +
			"ValidationError: Number of parameters in request and statement don't match. (), " +
			"ValidationError: Statement wasn't well formed, can't be processed (), " +
			"ValidationError: One or more parameter values are not valid. The AttributeValue for a key attribute " +
			"cannot contain an empty string value. Key (), orders"},
		{"a single insert costs what a put costs, and is refused where there is an item", func(ctx context.Context, s services) string {
			const statement = `insert into orders value { 'customer' : ?,'number':?, 'state': ?, 'it''s': ? }`
			parameters := []types.AttributeValue{text("insertone"), number("1"), text("open"), text(strings.Repeat("x", 1500))}
			return insertOne(ctx, s, statement, parameters...) + "; " + insertOne(ctx, s, statement, parameters...)
		}, "0 items, 3; DuplicateItemException"},
		{"a parameter too many is passed over", func(ctx context.Context, s services) string {
			return insertOne(ctx, s, insertOrder, text("insertparameters"), number("1"), text("a"), text("b"))
		}, "0 items, 1"},
		{"a whole item cannot be one parameter", func(ctx context.Context, s services) string {
			return insertOne(ctx, s, `INSERT INTO "orders" VALUE ?`, &types.AttributeValueMemberM{Value: order("insertwhole", 1)})
		}, "ValidationException"},
	}
}

// insertStreamBehaviours are of what inserts leave in the stream of orders.
func insertStreamBehaviours() []behaviour {
	return []behaviour{
		{"an insert is in the stream as a put is, and a duplicate is not", func(ctx context.Context, s services) string {
			became := []string{insertBatch(ctx, s, inserts("insertstream", 1)), insertBatch(ctx, s, inserts("insertstream", 1))}
			records, err := recordsOf(ctx, s, "insertstream")
			if err != nil {
				return code(err)
			}
			for _, r := range records {
				became = append(became, fmt.Sprintf("%s %s->%s", r.EventName, note(r.Dynamodb.OldImage), note(r.Dynamodb.NewImage)))
			}
			return strings.Join(became, ", ")
		}, "orders; 1, orders DuplicateItem: Duplicate primary key exists in table (); 0, INSERT ->new"},
	}
}
