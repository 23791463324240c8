package conformance

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// units is what a call has consumed, or what came of it instead.
func units(err error, consumed ...types.ConsumedCapacity) string {
	if err != nil {
		return code(err)
	}
	sum := 0.0
	for _, c := range consumed {
		sum += aws.ToFloat64(c.CapacityUnits)
	}
	return fmt.Sprint(sum)
}

func counted(err error, consumed *types.ConsumedCapacity) string {
	if err != nil || consumed == nil {
		return units(err)
	}
	return units(err, *consumed)
}

// sized is an order of so many bytes and a few more.
func sized(customer string, n, bytes int, more ...item) item {
	return order(customer, n, append(more, item{"a": text(strings.Repeat("x", bytes))})...)
}

// A meter asks for the units of its calls and writes them one after the other.
type meter struct {
	services
	ctx   context.Context
	found []string
}

func (m *meter) String() string { return strings.Join(m.found, " ") }

func (m *meter) put(i item) {
	out, err := m.dynamodb.PutItem(m.ctx, &dynamodb.PutItemInput{TableName: aws.String(orders), Item: i, ReturnConsumedCapacity: "TOTAL"})
	if err != nil {
		out = &dynamodb.PutItemOutput{}
	}
	m.found = append(m.found, counted(err, out.ConsumedCapacity))
}

func (m *meter) get(key item, consistent bool) {
	out, err := m.dynamodb.GetItem(m.ctx, &dynamodb.GetItemInput{
		TableName: aws.String(orders), Key: key, ConsistentRead: &consistent, ReturnConsumedCapacity: "TOTAL",
	})
	if err != nil {
		out = &dynamodb.GetItemOutput{}
	}
	m.found = append(m.found, counted(err, out.ConsumedCapacity))
}

func (m *meter) update(key item, expression string, values item) {
	out, err := m.dynamodb.UpdateItem(m.ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(orders), Key: key, UpdateExpression: &expression,
		ExpressionAttributeValues: values, ReturnConsumedCapacity: "TOTAL",
	})
	if err != nil {
		out = &dynamodb.UpdateItemOutput{}
	}
	m.found = append(m.found, counted(err, out.ConsumedCapacity))
}

func (m *meter) remove(key item) {
	out, err := m.dynamodb.DeleteItem(m.ctx, &dynamodb.DeleteItemInput{
		TableName: aws.String(orders), Key: key, ReturnConsumedCapacity: "TOTAL",
	})
	if err != nil {
		out = &dynamodb.DeleteItemOutput{}
	}
	m.found = append(m.found, counted(err, out.ConsumedCapacity))
}

func (m *meter) query(in *dynamodb.QueryInput) {
	in.TableName, in.ReturnConsumedCapacity = aws.String(orders), "TOTAL"
	out, err := m.dynamodb.Query(m.ctx, in)
	if err != nil {
		out = &dynamodb.QueryOutput{}
	}
	m.found = append(m.found, counted(err, out.ConsumedCapacity))
}

func ofCustomer(customer string, change func(*dynamodb.QueryInput)) *dynamodb.QueryInput {
	in := &dynamodb.QueryInput{KeyConditionExpression: aws.String("customer = :c"), ExpressionAttributeValues: item{":c": text(customer)}}
	change(in)
	return in
}

// metered is a behaviour of which only the units count.
func metered(name, want string, measure func(*meter)) behaviour {
	return behaviour{name, func(ctx context.Context, s services) string {
		m := &meter{services: s, ctx: ctx}
		measure(m)
		return m.String()
	}, want}
}

// capacityBehaviours are what calls cost. The measurement of large tables and the cost of a delivery rest on them.
func capacityBehaviours() []behaviour {
	return []behaviour{
		metered("a write takes a unit for each KB, of what was there if that was more", "1 3 3 1", func(m *meter) {
			m.put(sized("write", 1, 0))
			m.put(sized("write", 1, 2500))
			m.put(sized("write", 1, 0))
			m.put(sized("write", 1, 0))
		}),
		metered("an update takes units for the whole item", "3 3 1", func(m *meter) {
			m.put(sized("update", 1, 2500))
			m.update(order("update", 1), "SET b = :b", item{":b": text("x")})
			m.update(order("update", 2), "REMOVE b", nil)
		}),
		metered("a deletion takes units for what was there, and one for nothing", "3 3 1", func(m *meter) {
			m.put(sized("delete", 1, 2500))
			m.remove(order("delete", 1))
			m.remove(order("delete", 1))
		}),
		metered("a read takes half a unit for each 4 KB, a whole one if consistent, also of nothing", "5 1 2 0.5 1", func(m *meter) {
			m.put(sized("read", 1, 4200))
			m.get(order("read", 1), false)
			m.get(order("read", 1), true)
			m.get(order("read", 2), false)
			m.get(order("read", 2), true)
		}),
		{name: "a batch read takes what its items would take one by one", run: func(ctx context.Context, s services) string {
			if err := cmpErr(put(ctx, s, sized("batchread", 1, 0)), put(ctx, s, sized("batchread", 2, 4200))); err != nil {
				return code(err)
			}
			out, err := s.dynamodb.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{
					orders: {
						Keys:           []item{order("batchread", 1), order("batchread", 2), order("batchread", 3)},
						ConsistentRead: aws.Bool(true),
					},
				},
				ReturnConsumedCapacity: "TOTAL",
			})
			if err != nil {
				return code(err)
			}
			return units(nil, out.ConsumedCapacity...)
		}, want: "4"},
		metered("a query adds up what it reads before it counts, whatever a filter leaves", "2 2 2 1 2 1", func(m *meter) {
			for n := range 3 {
				m.put(sized("querysize", n, 1500))
			}
			m.query(ofCustomer("querysize", func(*dynamodb.QueryInput) {}))
			m.query(ofCustomer("querysize", func(in *dynamodb.QueryInput) { in.ConsistentRead = aws.Bool(true) }))
			m.query(ofCustomer("querysize", func(in *dynamodb.QueryInput) { in.FilterExpression = aws.String("attribute_exists(gone)") }))
		}),
		metered("a query of nothing takes half a unit", "0.5", func(m *meter) {
			m.query(ofCustomer("querynothing", func(*dynamodb.QueryInput) {}))
		}),
		metered("a query of an index of keys counts only these", "0.5", func(m *meter) {
			for n := range 2 {
				if err := put(m.ctx, m.services, sized("queryindex", n, 4200, item{"state": text("counted")})); err != nil {
					m.found = append(m.found, code(err))
				}
			}
			m.query(&dynamodb.QueryInput{
				IndexName: aws.String("by_state"), KeyConditionExpression: aws.String("#s = :s"),
				ExpressionAttributeNames: map[string]string{"#s": "state"}, ExpressionAttributeValues: item{":s": text("counted")},
			})
		}),
		metered("an index entry that comes or goes takes a unit, one that moves two, one that stays none", "2 3 1 2", func(m *meter) {
			m.put(sized("move", 1, 0, item{"state": text("one")}))
			m.put(sized("move", 1, 0, item{"state": text("two")}))
			m.put(sized("move", 1, 10, item{"state": text("two")}))
			m.put(sized("move", 1, 0))
		}),
	}
}
