package expression

import (
	"bytes"
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// Condition is a parsed ConditionExpression or FilterExpression.
type Condition struct {
	root  node
	names []string
}

// node is a part of a condition that is true or false of an item.
type node interface {
	match(item attribute.Item) bool
}

type (
	and struct{ left, right node }
	or  struct{ left, right node }
	not struct{ inner node }

	// comparison is one of = <> < <= > >= BETWEEN begins_with, with two values for BETWEEN and else one.
	comparison struct {
		name     string
		operator string
		values   []*attribute.Value
	}

	// presence is attribute_exists or attribute_not_exists.
	presence struct {
		function string
		name     string
	}
)

// Match reports whether the condition is true of the item; nil stands for one that does not exist.
func (c *Condition) Match(item attribute.Item) bool { return c.root.match(item) }

// Attributes returns the names of the attributes that the condition looks at.
func (c *Condition) Attributes() []string { return c.names }

func (n and) match(item attribute.Item) bool { return n.left.match(item) && n.right.match(item) }
func (n or) match(item attribute.Item) bool  { return n.left.match(item) || n.right.match(item) }
func (n not) match(item attribute.Item) bool { return !n.inner.match(item) }

func (n presence) match(item attribute.Item) bool {
	return (item[n.name] != nil) == (n.function == "attribute_exists")
}

func (n comparison) match(item attribute.Item) bool {
	v := item[n.name]
	switch n.operator {
	case "BETWEEN":
		return compare(">=", v, n.values[0]) && compare("<=", v, n.values[1])
	case "begins_with":
		return v != nil && begins(v, n.values[0])
	}
	return compare(n.operator, v, n.values[0])
}

// compare is false if the attribute is missing or the types differ, except that then <> is true.
func compare(operator string, a, b *attribute.Value) bool {
	switch operator {
	case "=":
		return a != nil && attribute.Equal(a, b)
	case "<>":
		return a == nil || !attribute.Equal(a, b)
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

func begins(v, prefix *attribute.Value) bool {
	switch {
	case v.S != nil && prefix.S != nil:
		return strings.HasPrefix(*v.S, *prefix.S)
	case v.B != nil && prefix.B != nil:
		return bytes.HasPrefix(v.B, prefix.B)
	}
	return false
}

// ParseCondition parses a ConditionExpression or FilterExpression; label says which, for messages.
func ParseCondition(label, text string, placeholders *Placeholders) (*Condition, error) {
	p, err := newParser(label, text, placeholders)
	if err != nil {
		return nil, err
	}
	c := &conditionParser{parser: p}
	root, err := c.or()
	if err != nil {
		return nil, err
	}
	return &Condition{root: root, names: c.names}, p.finish()
}

type conditionParser struct {
	*parser
	names   []string
	grouped int // offset of the token after the last closing parenthesis of a group, to find redundant ones
}

func (c *conditionParser) or() (node, error) {
	return c.chain("OR", c.and, func(left, right node) node { return or{left, right} })
}

func (c *conditionParser) and() (node, error) {
	return c.chain("AND", c.not, func(left, right node) node { return and{left, right} })
}

// chain reads one condition, or several with the operator between them, of which the first ones belong together.
func (c *conditionParser) chain(operator string, read func() (node, error), join func(left, right node) node) (node, error) {
	left, err := read()
	for err == nil && c.accept(operator) {
		var right node
		right, err = read()
		left = join(left, right)
	}
	return left, err
}

func (c *conditionParser) not() (node, error) {
	if !c.accept("NOT") {
		return c.primary()
	}
	inner, err := c.not()
	return not{inner}, err
}

// primary is a condition in parentheses, a function or a comparison.
func (c *conditionParser) primary() (node, error) {
	switch {
	case c.accept("("):
		return c.group()
	case c.peek().kind == word && c.peekNext().is("("):
		return c.call()
	case c.peek().kind == value:
		return nil, c.notEmulated("conditions that begin with a value")
	}
	return c.comparison()
}

func (c *conditionParser) group() (node, error) {
	start := c.at
	inner, err := c.or()
	if err != nil {
		return nil, err
	}
	if err := c.expect(")"); err != nil {
		return nil, err
	}
	// ((a = :a)): the inner group ended where this one does and began where this one does.
	if c.tokens[start].is("(") && c.grouped == c.at-1 && c.matching(start) == c.at-2 {
		return nil, c.errorf("The expression has redundant parentheses;")
	}
	c.grouped = c.at
	return inner, nil
}

// matching returns the position of the parenthesis that closes the one at start.
func (c *conditionParser) matching(start int) int {
	depth := 0
	for at := start; at < len(c.tokens); at++ {
		switch {
		case c.tokens[at].is("("):
			depth++
		case c.tokens[at].is(")"):
			if depth--; depth == 0 {
				return at
			}
		}
	}
	return -1
}

// call is a function of an attribute's name and, if it is begins_with, a value.
func (c *conditionParser) call() (node, error) {
	function := c.next().text
	switch function {
	case "attribute_exists", "attribute_not_exists", "begins_with":
	case "attribute_type", "contains", "size":
		return nil, c.notEmulated("the function " + function)
	case "if_not_exists", "list_append":
		return nil, c.errorf("The function is not allowed in a condition expression; function: %s", function)
	default:
		return nil, c.errorf("Invalid function name; function: %s", function)
	}
	c.next() // the parenthesis
	if c.peek().kind == value {
		return nil, c.errorf("Operator or function requires a document path; operator or function: %s", function)
	}
	name, err := c.operand()
	if err != nil {
		return nil, err
	}
	if function != "begins_with" {
		return presence{function: function, name: name}, c.expect(")")
	}
	if err := c.expect(","); err != nil {
		return nil, err
	}
	prefix, err := c.comparand()
	if err != nil {
		return nil, err
	}
	if prefix.S == nil && prefix.B == nil {
		return nil, c.wrongOperand(function, prefix.Type())
	}
	return comparison{name: name, operator: function, values: []*attribute.Value{prefix}}, c.expect(")")
}

func (c *conditionParser) wrongOperand(operator string, t attribute.Type) error {
	return c.errorf("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", operator, t)
}

func (c *conditionParser) comparison() (node, error) {
	name, err := c.operand()
	if err != nil {
		return nil, err
	}
	n := comparison{name: name, operator: strings.ToUpper(c.peek().text)}
	switch {
	case c.peek().is("IN"):
		return nil, c.notEmulated("the operator IN")
	case c.accept("BETWEEN"):
		n.values, err = c.between()
	case c.peek().kind == sign && slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, n.operator):
		c.next()
		n.values = make([]*attribute.Value, 1)
		n.values[0], err = c.comparand()
	default:
		err = c.unexpected()
	}
	if err != nil {
		return nil, err
	}
	if n.operator == "=" || n.operator == "<>" {
		return n, nil
	}
	for _, v := range n.values {
		if _, ordered := attribute.Compare(v, v); !ordered {
			return nil, c.wrongOperand(n.operator, v.Type())
		}
	}
	return n, nil
}

func (c *conditionParser) between() ([]*attribute.Value, error) {
	low, err := c.comparand()
	if err != nil {
		return nil, err
	}
	if err := c.expect("AND"); err != nil {
		return nil, err
	}
	high, err := c.comparand()
	if err != nil {
		return nil, err
	}
	if low.Type() != high.Type() {
		return nil, c.errorf(
			"The BETWEEN operator requires same data type for lower and upper bounds; "+
				"lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s",
			low, high,
		)
	}
	if order, ok := attribute.Compare(low, high); ok && order > 0 {
		return nil, c.errorf(
			"The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "+
				"lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s",
			low, high,
		)
	}
	return []*attribute.Value{low, high}, nil
}

// operand reads the name of the attribute that a condition is about.
func (c *conditionParser) operand() (string, error) {
	name, err := c.attribute()
	if !slices.Contains(c.names, name) {
		c.names = append(c.names, name)
	}
	return name, err
}

// comparand reads the value that an attribute is compared with.
func (c *conditionParser) comparand() (*attribute.Value, error) {
	if k := c.peek().kind; k == word || k == name {
		return nil, c.notEmulated("comparisons with anything but a value")
	}
	return c.value()
}
