package expression

import (
	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// KeyCondition is what a query asks of the keys: one partition, and possibly a range within it.
type KeyCondition struct {
	Hash     *attribute.Value
	Operator string             // of the range key: = < <= > >= BETWEEN begins_with, or "" for all
	Range    []*attribute.Value // its operands: two for BETWEEN, else one
}

const notSupported = attribute.Invalid("Query key condition not supported")

// ParseKeyCondition parses a KeyConditionExpression for a table or index with these key attributes;
// rangeKey is "" if it has none. The types of the values are for the caller to check.
func ParseKeyCondition(text, hashKey, rangeKey string, placeholders *Placeholders) (*KeyCondition, error) {
	p, err := newParser(KeyConditionExpression, text, placeholders)
	if err != nil {
		return nil, err
	}
	c := &conditionParser{parser: p}
	root, err := c.or()
	if err != nil {
		return nil, err
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	terms, err := p.terms(root)
	if err != nil {
		return nil, err
	}
	result := &KeyCondition{}
	for _, t := range terms {
		switch {
		case t.name == hashKey && result.Hash != nil, rangeKey != "" && t.name == rangeKey && result.Operator != "":
			return nil, attribute.Invalid("KeyConditionExpressions must only contain one condition per key")
		case t.name == hashKey && t.operator == "=":
			result.Hash = t.values[0]
		case t.name == hashKey:
			return nil, notSupported
		case rangeKey != "" && t.name == rangeKey:
			result.Operator, result.Range = t.operator, t.values
		case len(terms) > 2:
			return nil, attribute.Invalid("Conditions can be of length 1 or 2 only")
		}
	}
	switch {
	case result.Hash == nil:
		return nil, invalidf("Query condition missed key schema element: %s", hashKey)
	case len(terms) == 2 && result.Operator == "" && rangeKey != "":
		return nil, invalidf("Query condition missed key schema element: %s", rangeKey)
	case len(terms) > 1 && result.Operator == "":
		return nil, notSupported
	}
	return result, nil
}

// term is one condition on one attribute.
type term struct {
	name     string
	operator string
	values   []*attribute.Value
}

// terms takes apart what is joined by AND.
func (p *parser) terms(n node) ([]term, error) {
	switch n := n.(type) {
	case and:
		left, err := p.terms(n.left)
		if err != nil {
			return nil, err
		}
		right, err := p.terms(n.right)
		return append(left, right...), err
	case comparison:
		t, err := p.term(n)
		return []term{t}, err
	case call:
		if n.function != "begins_with" {
			return nil, p.errorf("Invalid operator used in KeyConditionExpression: %s", n.function)
		}
		t, err := p.bound("begins_with", n.operands[0], n.operands[1:])
		return []term{t}, err
	case or:
		return nil, p.invalidOperator("OR")
	}
	return nil, p.invalidOperator("NOT")
}

func (p *parser) invalidOperator(operator string) error {
	return invalidf("Invalid operator used in KeyConditionExpression: %s", operator)
}

func (p *parser) term(n comparison) (term, error) {
	switch n.operator {
	case "<>", "IN":
		return term{}, p.invalidOperator(n.operator)
	case "BETWEEN":
		return p.bound(n.operator, n.left, n.right)
	}
	if n.left.value != nil { // :v < key
		operator := n.operator
		switch operator[0] {
		case '<':
			operator = ">" + operator[1:]
		case '>':
			operator = "<" + operator[1:]
		}
		return p.bound(operator, n.right[0], []operand{n.left})
	}
	return p.bound(n.operator, n.left, n.right)
}

// bound makes a term of an attribute's path and operands that are values.
func (p *parser) bound(operator string, left operand, right []operand) (term, error) {
	if left.size {
		return term{}, p.invalidOperator("size")
	}
	if left.path == nil {
		return term{}, p.errorf("Invalid condition in KeyConditionExpression: No key attribute specified")
	}
	if len(left.path) > 1 {
		return term{}, p.errorf("KeyConditionExpressions cannot have conditions on nested attributes")
	}
	t := term{name: left.path.Root(), operator: operator}
	for _, o := range right {
		switch {
		case o.size:
			return term{}, p.invalidOperator("size")
		case o.path != nil:
			return term{}, p.errorf("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
		}
		t.values = append(t.values, o.value)
	}
	return t, nil
}
