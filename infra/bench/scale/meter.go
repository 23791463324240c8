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

// usage is what a piece of work has asked of DynamoDB. It is safe for concurrent use.
type usage struct {
	mu       sync.Mutex
	requests int
	units    float64 // of reads or of writes, whichever the work does
}

// total returns what has been counted so far.
func (u *usage) total() (requests int, units float64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.requests, u.units
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

func count(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	u, ok := ctx.Value(usageKey{}).(*usage)
	switch input := in.Parameters.(type) {
	case *dynamodb.GetItemInput:
		input.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *dynamodb.BatchGetItemInput:
		input.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *dynamodb.QueryInput:
		input.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *dynamodb.PutItemInput:
		input.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	default:
		if ok {
			return middleware.InitializeOutput{}, middleware.Metadata{}, fmt.Errorf("the meter does not count %T", input)
		}
	}
	out, metadata, err := next.HandleInitialize(ctx, in)
	if !ok {
		return out, metadata, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.requests++
	for _, consumed := range capacity(out.Result) {
		u.units += aws.ToFloat64(consumed.CapacityUnits)
	}
	return out, metadata, err
}

// capacity returns the consumed capacity that an answer tells.
func capacity(result any) []types.ConsumedCapacity {
	var one *types.ConsumedCapacity
	switch output := result.(type) {
	case *dynamodb.GetItemOutput:
		one = output.ConsumedCapacity
	case *dynamodb.QueryOutput:
		one = output.ConsumedCapacity
	case *dynamodb.PutItemOutput:
		one = output.ConsumedCapacity
	case *dynamodb.BatchGetItemOutput:
		return output.ConsumedCapacity
	}
	if one == nil {
		return nil
	}
	return []types.ConsumedCapacity{*one}
}
