package dynamodb

import (
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/awsjson"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/expression"
)

// maxPage is how much a query or scan reads at most before it answers, in bytes.
const maxPage = 1 << 20

// pageInput is what Query and Scan have in common.
type pageInput struct {
	legacy
	TableName                 string
	IndexName                 *string
	ConsistentRead            bool
	ExclusiveStartKey         attribute.Item
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]*attribute.Value
	FilterExpression          *string
	ProjectionExpression      *string
	Limit                     *int
	ReturnConsumedCapacity    string
	Select                    string
}

type queryInput struct {
	pageInput
	KeyConditionExpression *string
	ScanIndexForward       *bool
}

type scanInput struct {
	pageInput
	Segment       *int // refused, as is the next
	TotalSegments *int
}

type pageOutput struct {
	Items            *[]attribute.Item `json:",omitempty"` // absent for Select COUNT
	Count            int
	ScannedCount     int
	LastEvaluatedKey attribute.Item    `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

// page is one Query or Scan, parsed: a range of a tree, and what to make of the items in it.
type page struct {
	in         *pageInput
	table      *table
	index      *index // nil: the table itself
	key        keySchema
	filter     *expression.Condition
	projection expression.Projection
	low, high  string // low <= key < high; high "" for no end
	after      string // key to start after, or ""
	forward    bool
}

// found is an item as the tree that was read holds it.
type found struct {
	item attribute.Item
	size int
}

// newPage checks and parses what Query and Scan have in common, except the filter and projection.
func (db *Database) newPage(in *pageInput, action string, allow awsjson.Allow) (*page, error) {
	t, err := db.tableOrIndex(in, action, allow)
	if err != nil {
		return nil, err
	}
	p := &page{in: in, table: t, key: t.key, forward: true}
	if err := p.check(); err != nil {
		return nil, err
	}
	if in.IndexName == nil {
		return p, nil
	}
	i := slices.IndexFunc(t.indexes, func(x *index) bool { return x.Name == *in.IndexName })
	if i < 0 {
		return nil, validation("The table does not have the specified index: %s", *in.IndexName)
	}
	p.index = t.indexes[i]
	p.key = p.index.keySchema
	if in.ConsistentRead && !p.index.Local {
		return nil, validation("Consistent reads are not supported on global secondary indexes")
	}
	if in.Select == "ALL_ATTRIBUTES" && p.index.Projection != ProjectAll {
		return nil, validation("One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported "+
			"for global secondary index %s because its projection type is not ALL", p.index.Name)
	}
	return p, nil
}

// tableOrIndex finds the table; reading an index takes permission for the index, not for the table.
func (db *Database) tableOrIndex(in *pageInput, action string, allow awsjson.Allow) (*table, error) {
	if in.IndexName == nil {
		return db.table(in.TableName, action, allow)
	}
	return db.table(in.TableName, action, func(action, arn string) error {
		return allow(action, arn+"/index/"+*in.IndexName)
	})
}

func (p *page) check() error {
	in := p.in
	if err := in.refuse(); err != nil {
		return err
	}
	if err := checkConsumed(in.ReturnConsumedCapacity); err != nil {
		return err
	}
	if in.Limit != nil && *in.Limit < 1 {
		return validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: "+
			"Member must have value greater than or equal to 1", *in.Limit)
	}
	if err := oneOf("select", in.Select, "SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"); err != nil {
		return err
	}
	switch {
	case in.Select == "ALL_PROJECTED_ATTRIBUTES" && in.IndexName == nil:
		return validation("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
	case in.Select == "SPECIFIC_ATTRIBUTES" && in.ProjectionExpression == nil:
		return validation("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	case in.ProjectionExpression != nil && in.Select != "" && in.Select != "SPECIFIC_ATTRIBUTES":
		return validation("Cannot specify the ProjectionExpression when choosing to get %s", in.Select)
	}
	return nil
}

// placeholders returns the request's placeholders.
func (p *page) placeholders(keyCondition bool) (*expression.Placeholders, error) {
	in := p.in
	return expression.NewPlaceholders(in.ExpressionAttributeNames, in.ExpressionAttributeValues,
		keyCondition || in.FilterExpression != nil || in.ProjectionExpression != nil)
}

// parse parses filter and projection, after the key condition if there is one.
func (p *page) parse(placeholders *expression.Placeholders) (err error) {
	if p.in.FilterExpression != nil {
		if p.filter, err = expression.ParseCondition(expression.FilterExpression, *p.in.FilterExpression, placeholders); err != nil {
			return err
		}
	}
	if p.in.ProjectionExpression != nil {
		if p.projection, err = expression.ParseProjection(*p.in.ProjectionExpression, placeholders); err != nil {
			return err
		}
		if p.index != nil {
			for _, name := range p.projection {
				if !p.index.projects(name) {
					return validation(
						"One or more parameter values were invalid: Global secondary index %s does not project [%s]",
						p.index.Name, name,
					)
				}
			}
		}
	}
	return placeholders.Unused()
}

func (db *Database) query(in *queryInput, allow awsjson.Allow) (*pageOutput, error) {
	p, err := db.newPage(&in.pageInput, "Query", allow)
	if err != nil {
		return nil, err
	}
	if in.KeyConditionExpression == nil {
		return nil, validation("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	placeholders, err := p.placeholders(true)
	if err != nil {
		return nil, err
	}
	condition, err := expression.ParseKeyCondition(*in.KeyConditionExpression, p.key.hash.Name, p.key.rang.Name, placeholders)
	if err != nil {
		return nil, err
	}
	if err := p.parse(placeholders); err != nil {
		return nil, err
	}
	if err := p.checkCondition(condition); err != nil {
		return nil, err
	}
	if p.filter != nil {
		for _, name := range p.filter.Attributes() {
			if p.key.has(name) {
				return nil, validation("Filter Expression can only contain non-primary key attributes: Primary key attribute: %s", name)
			}
		}
	}
	p.bound(condition)
	p.forward = in.ScanIndexForward == nil || *in.ScanIndexForward
	if err := p.start(); err != nil {
		return nil, err
	}
	if p.after != "" && !strings.HasPrefix(p.after, string(attribute.AppendKey(nil, condition.Hash))) {
		return nil, validation("The provided starting key is outside query boundaries based on provided conditions")
	}
	if p.after != "" && (p.after < p.low || p.high != "" && p.after >= p.high) {
		return nil, validation("The provided starting key does not match the range key predicate")
	}
	return p.run(), nil
}

// checkCondition checks the values of a key condition against the types of the keys.
func (p *page) checkCondition(c *expression.KeyCondition) error {
	values := append([]*attribute.Value{c.Hash}, c.Range...)
	for i, v := range values {
		key := p.key.rang
		if i == 0 {
			key = p.key.hash
		}
		if c.Operator == "begins_with" && i > 0 && key.Type == attribute.Number {
			return validation("Invalid KeyConditionExpression: Incorrect operand type for operator or function; " +
				"operator or function: begins_with, operand type: N")
		}
		if v.Type() != key.Type {
			return validation("One or more parameter values were invalid: Condition parameter type does not match schema type")
		}
		empty := v.S != nil && *v.S == "" || v.B != nil && len(v.B) == 0
		if empty && (i == 0 || c.Operator == "=") {
			return validation("One or more parameter values are not valid. "+
				"The AttributeValue for a key attribute cannot contain an empty string value. Key: %s", key.Name)
		}
	}
	return nil
}

// bound turns the key condition into a range of encoded keys. An encoded key of an index goes on after
// the range key, so "up to and with v" ends after everything that begins with v.
func (p *page) bound(c *expression.KeyCondition) {
	hash := attribute.AppendKey(nil, c.Hash)
	with := func(v *attribute.Value) string { return string(attribute.AppendKey(slices.Clone(hash), v)) }
	p.low, p.high = string(hash), attribute.AfterPrefix(string(hash))
	switch c.Operator {
	case "=":
		p.low = with(c.Range[0])
		p.high = attribute.AfterPrefix(p.low)
	case "<":
		p.high = with(c.Range[0])
	case "<=":
		p.high = attribute.AfterPrefix(with(c.Range[0]))
	case ">":
		p.low = attribute.AfterPrefix(with(c.Range[0]))
	case ">=":
		p.low = with(c.Range[0])
	case "BETWEEN":
		p.low, p.high = with(c.Range[0]), attribute.AfterPrefix(with(c.Range[1]))
	case "begins_with":
		p.low = string(attribute.AppendKeyPrefix(slices.Clone(hash), c.Range[0]))
		p.high = attribute.AfterPrefix(p.low)
	}
}

// start checks the ExclusiveStartKey: the key attributes of the table, and of the index if one is read.
func (p *page) start() error {
	start := p.in.ExclusiveStartKey
	if start == nil {
		return nil
	}
	if err := start.Normalize(); err != nil {
		return err
	}
	keys := p.table.key.keys()
	if p.index != nil {
		for _, k := range p.index.keys() {
			if !p.table.key.has(k.Name) {
				keys = append(keys, k)
			}
		}
	}
	if len(start) != len(keys) {
		return validation("The provided starting key is invalid")
	}
	for _, k := range keys {
		if v := start[k.Name]; v == nil || v.Type() != k.Type {
			return validation("The provided starting key is invalid: The provided key element does not match the schema")
		}
	}
	encoded := p.key.encode(nil, start)
	if p.index != nil {
		encoded = p.table.key.encode(encoded, start)
	}
	p.after = string(encoded)
	return nil
}

func (db *Database) scan(in *scanInput, allow awsjson.Allow) (*pageOutput, error) {
	p, err := db.newPage(&in.pageInput, "Scan", allow)
	if err != nil {
		return nil, err
	}
	if in.Segment != nil || in.TotalSegments != nil {
		return nil, validation("Segment and TotalSegments are not supported by the local stack: scan the table as a whole")
	}
	placeholders, err := p.placeholders(false)
	if err != nil {
		return nil, err
	}
	if err := p.parse(placeholders); err != nil {
		return nil, err
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	return p.run(), nil
}

// run reads the page.
func (p *page) run() *pageOutput {
	examined, more := p.read()
	c := capacity{table: p.table, reads: true}
	size := 0
	items := []attribute.Item{}
	out := &pageOutput{ScannedCount: len(examined)}
	for _, f := range examined {
		size += f.size
		if p.filter != nil && !p.filter.Match(f.item) {
			continue
		}
		out.Count++
		if p.in.Select != "COUNT" {
			items = append(items, project(f.item, p.projection))
		}
	}
	if p.in.Select != "COUNT" {
		out.Items = &items
	}
	if more {
		out.LastEvaluatedKey = attribute.Item{}
		last := examined[len(examined)-1].item
		p.table.key.copyKeys(out.LastEvaluatedKey, last)
		p.key.copyKeys(out.LastEvaluatedKey, last)
	}
	if p.index == nil {
		c.read(size, p.in.ConsistentRead)
	} else {
		c.writeIndex(p.index, readUnits(size, p.in.ConsistentRead))
	}
	out.ConsumedCapacity = c.report(p.in.ReturnConsumedCapacity)
	return out
}

// read returns the items that the page examines, and whether it stopped at a limit: as with AWS,
// that does not promise that there are more.
func (p *page) read() (examined []found, stopped bool) {
	low, high := p.low, p.high
	if p.after != "" {
		if p.forward {
			low = p.after + "\x00"
		} else {
			high = p.after
		}
	}
	size := 0
	visit := func(item attribute.Item, itemSize int) bool {
		examined = append(examined, found{item, itemSize})
		size += itemSize
		stopped = size >= maxPage || p.in.Limit != nil && len(examined) >= *p.in.Limit
		return !stopped
	}
	p.table.mu.RLock()
	defer p.table.mu.RUnlock()
	if p.index != nil {
		p.index.rows.between(low, high, p.forward, func(_ string, e *entry) bool { return visit(e.item, e.size) })
	} else {
		p.table.rows.between(low, high, p.forward, func(_ string, r *row) bool { return visit(r.item, r.size) })
	}
	return examined, stopped
}
