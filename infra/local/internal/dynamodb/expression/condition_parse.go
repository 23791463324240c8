package expression

import (
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// maxOperands is how many values an IN may have.
const maxOperands = 100

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
	if err := p.finish(); err != nil {
		return nil, err
	}
	return &Condition{root: root, paths: c.paths}, nil
}

type conditionParser struct {
	*parser
	paths   []Path
	grouped int // offset of the token after the last closing parenthesis of a group, to find redundant ones
}

func (c *conditionParser) or() (node, error) {
	left, err := c.and()
	for err == nil && c.accept("OR") {
		var right node
		right, err = c.and()
		left = or{left, right}
	}
	return left, err
}

func (c *conditionParser) and() (node, error) {
	left, err := c.not()
	for err == nil && c.accept("AND") {
		var right node
		right, err = c.not()
		left = and{left, right}
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
	if c.accept("(") {
		return c.group()
	}
	if c.peek().kind == word && c.peekNext().is("(") && !c.peek().is("size") {
		return c.call()
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

// operandCount returns how many operands a function of conditions has, and whether there is such a function.
func operandCount(function string) (int, bool) {
	switch function {
	case "attribute_exists", "attribute_not_exists", "size":
		return 1, true
	case "attribute_type", "begins_with", "contains":
		return 2, true
	}
	return 0, false
}

func (c *conditionParser) call() (node, error) {
	function := c.peek().text
	count, ok := operandCount(function)
	switch {
	case function == "if_not_exists" || function == "list_append":
		return nil, c.errorf("The function is not allowed in a condition expression; function: %s", function)
	case c.peek().is("AND") || c.peek().is("OR") || c.peek().is("NOT") || c.peek().is("BETWEEN") || c.peek().is("IN"):
		return nil, c.unexpected()
	case !ok:
		return nil, c.errorf("Invalid function name; function: %s", function)
	}
	operands, err := c.arguments(function, count)
	if err != nil {
		return nil, err
	}
	return call{function, operands}, c.checkCall(function, operands)
}

// arguments reads function(operand, …), of which the name is the next token.
func (c *conditionParser) arguments(function string, count int) ([]operand, error) {
	c.next()
	c.next() // the parenthesis
	var operands []operand
	for {
		o, err := c.operand()
		if err != nil {
			return nil, err
		}
		if operands = append(operands, o); !c.accept(",") {
			break
		}
	}
	if err := c.expect(")"); err != nil {
		return nil, err
	}
	if len(operands) != count {
		return nil, c.errorf(
			"Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", function,
			len(operands),
		)
	}
	return operands, nil
}

func (c *conditionParser) checkCall(function string, operands []operand) error {
	first := operands[0]
	switch function {
	case "attribute_exists", "attribute_not_exists", "attribute_type":
		if first.path == nil || first.size {
			return c.errorf("Operator or function requires a document path; operator or function: %s", function)
		}
	}
	switch function {
	case "attribute_type":
		return c.checkTypeName(operands[1].value)
	case "begins_with":
		for _, o := range operands {
			if o.size {
				return c.wrongOperand(function, attribute.Number)
			}
			if o.value != nil && o.value.S == nil && o.value.B == nil {
				return c.wrongOperand(function, o.value.Type())
			}
		}
	}
	return c.distinct(function, operands)
}

func (c *conditionParser) checkTypeName(v *attribute.Value) error {
	if v == nil || v.S == nil {
		return c.wrongOperand("attribute_type", v.Type())
	}
	switch attribute.Type(*v.S) {
	case attribute.String, attribute.Number, attribute.Binary, attribute.Boolean, attribute.Null,
		attribute.Map, attribute.List, attribute.StringSet, attribute.NumberSet, attribute.BinarySet:
		return nil
	}
	return c.errorf("Invalid attribute type name found; type: %s, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}", *v.S)
}

func (c *conditionParser) wrongOperand(operator string, t attribute.Type) error {
	return c.errorf("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", operator, t)
}

// distinct refuses to compare a path with itself.
func (c *conditionParser) distinct(operator string, operands []operand) error {
	first := operands[0]
	for _, o := range operands[1:] {
		if first.path != nil && first.size == o.size && slices.Equal(first.path, o.path) {
			return c.errorf(
				"The first operand must be distinct from the remaining operands for this operator or function; "+
					"operator: %s, first operand: %s",
				operator, first.path,
			)
		}
	}
	return nil
}

func (c *conditionParser) comparison() (node, error) {
	left, err := c.operand()
	if err != nil {
		return nil, err
	}
	n := comparison{left: left}
	t := c.peek()
	switch {
	case c.accept("BETWEEN"):
		n.operator = "BETWEEN"
		n.right, err = c.between()
	case c.accept("IN"):
		n.operator = "IN"
		n.right, err = c.list()
	case t.kind == sign && slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, t.text):
		c.next()
		n.operator = t.text
		n.right = make([]operand, 1)
		n.right[0], err = c.operand()
	default:
		err = c.unexpected()
	}
	if err != nil {
		return nil, err
	}
	return n, c.checkComparison(n)
}

func (c *conditionParser) between() ([]operand, error) {
	low, err := c.operand()
	if err != nil {
		return nil, err
	}
	if err := c.expect("AND"); err != nil {
		return nil, err
	}
	high, err := c.operand()
	if err != nil {
		return nil, err
	}
	if low.value == nil || high.value == nil || low.size || high.size {
		return []operand{low, high}, nil
	}
	if low.value.Type() != high.value.Type() {
		return nil, c.errorf(
			"The BETWEEN operator requires same data type for lower and upper bounds; "+
				"lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s",
			low.value, high.value,
		)
	}
	if order, ok := attribute.Compare(low.value, high.value); ok && order > 0 {
		return nil, c.errorf(
			"The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "+
				"lower bound operand: AttributeValue: %s, upper bound operand: AttributeValue: %s",
			low.value, high.value,
		)
	}
	return []operand{low, high}, nil
}

func (c *conditionParser) list() ([]operand, error) {
	if err := c.expect("("); err != nil {
		return nil, err
	}
	var operands []operand
	for {
		o, err := c.operand()
		if err != nil {
			return nil, err
		}
		if operands = append(operands, o); !c.accept(",") {
			break
		}
	}
	if len(operands) > maxOperands {
		return nil, c.errorf("The IN operator is provided with too many operands; number of operands: %d", len(operands))
	}
	return operands, c.expect(")")
}

// checkComparison refuses values that have no order where one is needed.
func (c *conditionParser) checkComparison(n comparison) error {
	operands := append([]operand{n.left}, n.right...)
	switch n.operator {
	case "<", "<=", ">", ">=", "BETWEEN":
		for _, o := range operands {
			if o.size || o.value == nil {
				continue
			}
			if _, ok := attribute.Compare(o.value, o.value); !ok {
				return c.wrongOperand(n.operator, o.value.Type())
			}
		}
	}
	return c.distinct(n.operator, operands)
}

func (c *conditionParser) operand() (operand, error) {
	t := c.peek()
	switch {
	case t.kind == value:
		v, err := c.value()
		return operand{value: v}, err
	case t.kind == word && c.peekNext().is("("):
		return c.sizeOf(t.text)
	}
	path, err := c.path()
	c.paths = append(c.paths, path)
	return operand{path: path}, err
}

func (c *conditionParser) sizeOf(function string) (operand, error) {
	if function != "size" {
		if _, ok := operandCount(function); ok || strings.EqualFold(function, "NOT") {
			return operand{}, c.errorf("The function is not allowed to be used this way in an expression; function: %s", function)
		}
		return operand{}, c.errorf("Invalid function name; function: %s", function)
	}
	operands, err := c.arguments(function, 1)
	if err != nil {
		return operand{}, err
	}
	o := operands[0]
	if o.size {
		return operand{}, c.errorf("The function is not allowed to be used this way in an expression; function: size")
	}
	if o.value != nil {
		if _, ok := length(o.value); !ok {
			return operand{}, c.wrongOperand("size", o.value.Type())
		}
	}
	o.size = true
	return o, nil
}
