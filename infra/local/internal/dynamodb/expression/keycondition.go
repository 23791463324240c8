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
	condition, err := ParseCondition(KeyConditionExpression, text, placeholders)
	if err != nil {
		return nil, err
	}
	terms, err := terms(condition.root)
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

// terms takes apart what is joined by AND: comparisons that a query can be made of.
func terms(n node) ([]comparison, error) {
	operator := "NOT"
	switch n := n.(type) {
	case and:
		left, err := terms(n.left)
		if err != nil {
			return nil, err
		}
		right, err := terms(n.right)
		return append(left, right...), err
	case comparison:
		if n.operator != "<>" {
			return []comparison{n}, nil
		}
		operator = n.operator
	case presence:
		operator = n.function
	case or:
		operator = "OR"
	}
	return nil, invalidf("Invalid operator used in KeyConditionExpression: %s", operator)
}
