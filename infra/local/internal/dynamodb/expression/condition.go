package expression

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// Condition is a parsed ConditionExpression or FilterExpression.
type Condition struct {
	root  node
	paths []Path
}

// node is a part of a condition that is true or false of an item.
type node interface {
	match(item attribute.Item) bool
}

type (
	and struct{ left, right node }
	or  struct{ left, right node }
	not struct{ inner node }

	// comparison is one of = <> < <= > >= BETWEEN IN, with one right operand, two, or any number.
	comparison struct {
		operator string
		left     operand
		right    []operand
	}

	// call is a function that is true or false.
	call struct {
		function string
		operands []operand
	}
)

// operand is a path, a value, or the size of either.
type operand struct {
	path  Path
	value *attribute.Value
	size  bool
}

// get returns the operand's value, or nil if the item has none.
func (o operand) get(item attribute.Item) *attribute.Value {
	v := o.value
	if o.path != nil {
		v = o.path.get(item)
	}
	if !o.size || v == nil {
		return v
	}
	n, ok := length(v)
	if !ok {
		return nil
	}
	return attribute.NewNumber(strconv.Itoa(n))
}

// length is the function size: bytes of a string or binary, members of anything that has members.
func length(v *attribute.Value) (int, bool) {
	switch v.Type() {
	case attribute.String:
		return len(*v.S), true
	case attribute.Binary:
		return len(v.B), true
	case attribute.Map, attribute.List, attribute.StringSet, attribute.NumberSet, attribute.BinarySet:
		return len(v.M) + len(v.L) + len(v.SS) + len(v.NS) + len(v.BS), true
	}
	return 0, false
}

// Match reports whether the condition is true of the item; nil stands for one that does not exist.
func (c *Condition) Match(item attribute.Item) bool { return c.root.match(item) }

// Roots returns the names of the attributes that the condition looks at.
func (c *Condition) Roots() []string { return roots(c.paths) }

func (n and) match(item attribute.Item) bool { return n.left.match(item) && n.right.match(item) }
func (n or) match(item attribute.Item) bool  { return n.left.match(item) || n.right.match(item) }
func (n not) match(item attribute.Item) bool { return !n.inner.match(item) }

func (n comparison) match(item attribute.Item) bool {
	left := n.left.get(item)
	switch n.operator {
	case "BETWEEN":
		return compare(">=", left, n.right[0].get(item)) && compare("<=", left, n.right[1].get(item))
	case "IN":
		return slices.ContainsFunc(n.right, func(o operand) bool { return compare("=", left, o.get(item)) })
	}
	return compare(n.operator, left, n.right[0].get(item))
}

// compare is false if an operand is missing or the types differ, except that then <> is true.
func compare(operator string, a, b *attribute.Value) bool {
	switch operator {
	case "=":
		return a != nil && b != nil && attribute.Equal(a, b)
	case "<>":
		return a == nil || b == nil || !attribute.Equal(a, b)
	}
	order, ok := attribute.Compare(a, b)
	if !ok {
		return false
	}
	switch operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

func (n call) match(item attribute.Item) bool {
	v := n.operands[0].get(item)
	switch n.function {
	case "attribute_exists":
		return v != nil
	case "attribute_not_exists":
		return v == nil
	case "attribute_type":
		return v != nil && string(v.Type()) == *n.operands[1].value.S
	}
	w := n.operands[1].get(item)
	if v == nil || w == nil {
		return false
	}
	if n.function == "begins_with" {
		return begins(v, w)
	}
	return contains(v, w)
}

func begins(v, prefix *attribute.Value) bool {
	switch {
	case v.S != nil && prefix.S != nil:
		return strings.HasPrefix(*v.S, *prefix.S)
	case v.B != nil && prefix.B != nil:
		return bytes.HasPrefix(v.B, prefix.B)
	}
	return false
}

func contains(v, w *attribute.Value) bool {
	switch v.Type() {
	case attribute.String:
		return w.S != nil && strings.Contains(*v.S, *w.S)
	case attribute.Binary:
		return w.B != nil && bytes.Contains(v.B, w.B)
	case attribute.List:
		return slices.ContainsFunc(v.L, func(member *attribute.Value) bool { return attribute.Equal(member, w) })
	case attribute.StringSet:
		return w.S != nil && slices.Contains(v.SS, *w.S)
	case attribute.NumberSet:
		return w.N != nil && slices.Contains(v.NS, *w.N)
	case attribute.BinarySet:
		return w.B != nil && slices.ContainsFunc(v.BS, func(member []byte) bool { return bytes.Equal(member, w.B) })
	}
	return false
}
