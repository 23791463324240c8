package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
)

// tally is what a piece of work has asked of DynamoDB.
type tally struct {
	requests int
	reads    float64 // units
	writes   float64 // units
}

// usage counts. It is safe for concurrent use.
type usage struct {
	mu  sync.Mutex
	sum tally
}

// total returns what has been counted so far.
func (u *usage) total() tally {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sum
}

type usageKey struct{}

// metered returns a context whose requests are counted in the usage.
func metered(ctx context.Context) (context.Context, *usage) {
	u := &usage{}
	return context.WithValue(ctx, usageKey{}, u), u
}

// meter makes every request of a client ask for its consumed capacity, and counts it.
func meter(options *dynamodb.Options) {
	options.APIOptions = append(options.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Meter", count), middleware.Before)
	})
}

func count(
	ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
) (middleware.InitializeOutput, middleware.Metadata, error) {
	u, ok := ctx.Value(usageKey{}).(*usage)
	detail := types.ReturnConsumedCapacityTotal
	switch input := in.Parameters.(type) {
	case *dynamodb.GetItemInput:
		input.ReturnConsumedCapacity = detail
	case *dynamodb.BatchGetItemInput:
		input.ReturnConsumedCapacity = detail
	case *dynamodb.QueryInput:
		input.ReturnConsumedCapacity = detail
	case *dynamodb.PutItemInput:
		input.ReturnConsumedCapacity = detail
	case *dynamodb.UpdateItemInput:
		input.ReturnConsumedCapacity = detail
	case *dynamodb.BatchExecuteStatementInput:
		input.ReturnConsumedCapacity = detail
	default:
		if ok {
			return middleware.InitializeOutput{}, middleware.Metadata{}, fmt.Errorf("the meter does not count %T", input)
		}
	}
	out, metadata, err := next.HandleInitialize(ctx, in)
	if !ok {
		return out, metadata, err
	}
	reads, writes := consumed(out.Result)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sum.requests++
	u.sum.reads += units(reads)
	u.sum.writes += units(writes)
	return out, metadata, err
}

// consumed returns the consumed capacity that an answer tells. Statements only insert here.
func consumed(result any) (reads, writes []types.ConsumedCapacity) {
	one := func(c *types.ConsumedCapacity) []types.ConsumedCapacity {
		if c == nil {
			return nil
		}
		return []types.ConsumedCapacity{*c}
	}
	switch output := result.(type) {
	case *dynamodb.GetItemOutput:
		reads = one(output.ConsumedCapacity)
	case *dynamodb.QueryOutput:
		reads = one(output.ConsumedCapacity)
	case *dynamodb.BatchGetItemOutput:
		reads = output.ConsumedCapacity
	case *dynamodb.PutItemOutput:
		writes = one(output.ConsumedCapacity)
	case *dynamodb.UpdateItemOutput:
		writes = one(output.ConsumedCapacity)
	case *dynamodb.BatchExecuteStatementOutput:
		writes = output.ConsumedCapacity
	}
	return reads, writes
}

func units(all []types.ConsumedCapacity) (sum float64) {
	for _, c := range all {
		sum += aws.ToFloat64(c.CapacityUnits)
	}
	return sum
}
