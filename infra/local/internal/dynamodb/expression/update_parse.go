package expression

import (
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// ParseUpdate parses an UpdateExpression.
func ParseUpdate(text string, placeholders *Placeholders) (*Update, error) {
	p, err := newParser(UpdateExpression, text, placeholders)
	if err != nil {
		return nil, err
	}
	u := &Update{}
	var seen []string
	for p.peek().kind != end {
		clause := strings.ToUpper(p.peek().text)
		if p.peek().kind != word || !slices.Contains([]string{"SET", "REMOVE", "ADD", "DELETE"}, clause) {
			return nil, p.unexpected()
		}
		if slices.Contains(seen, clause) {
			return nil, p.errorf("The %q section can only be used once in an update expression;", clause)
		}
		seen = append(seen, clause)
		p.next()
		for {
			a, err := p.action(clause)
			if err != nil {
				return nil, err
			}
			u.actions = append(u.actions, a)
			u.paths = append(u.paths, a.path)
			if !p.accept(",") {
				break
			}
		}
	}
	return u, p.overlap(u.paths)
}

func (p *parser) action(clause string) (action, error) {
	a := action{clause: clause}
	var err error
	if a.path, err = p.path(); err != nil || clause == "REMOVE" {
		return a, err
	}
	if clause == "SET" {
		if err := p.expect("="); err != nil {
			return a, err
		}
		a.set, err = p.sum()
		return a, err
	}
	if p.peek().kind != value {
		return a, p.unexpected()
	}
	if a.value, err = p.value(); err != nil {
		return a, err
	}
	switch a.value.Type() {
	case attribute.StringSet, attribute.NumberSet, attribute.BinarySet:
		return a, nil
	case attribute.Number:
		if clause == "ADD" {
			return a, nil
		}
	}
	return a, p.errorf(
		"Incorrect operand type for operator or function; operator: %s, operand type: %s, typeSet: ALLOWED_FOR_%s_OPERAND", clause,
		longName(a.value.Type()), clause,
	)
}

// longName is what some of AWS's messages call a type.
func longName(t attribute.Type) string {
	switch t {
	case attribute.String:
		return "STRING"
	case attribute.Number:
		return "NUMBER"
	case attribute.Binary:
		return "BINARY"
	case attribute.Boolean:
		return "BOOLEAN"
	case attribute.Map:
		return "MAP"
	case attribute.List:
		return "LIST"
	}
	return string(t)
}

// sum is one operand, or two with + or - between them.
func (p *parser) sum() (expr, error) {
	left, err := p.addend()
	if err != nil {
		return nil, err
	}
	minus := p.peek().is("-")
	if !minus && !p.peek().is("+") {
		return left, nil
	}
	operator := p.next().text
	right, err := p.addend()
	if err != nil {
		return nil, err
	}
	for _, side := range []expr{left, right} {
		if v, ok := side.(valueExpr); ok && v.value.N == nil {
			return nil, p.errorf(
				"Incorrect operand type for operator or function; operator or function: %s, operand type: %s", operator, v.value.Type(),
			)
		}
	}
	return sum{minus: minus, left: left, right: right}, nil
}

// addend is a path, a value, a function, or a sum in parentheses.
func (p *parser) addend() (expr, error) {
	t := p.peek()
	switch {
	case p.accept("("):
		inner, err := p.sum()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	case t.kind == value:
		v, err := p.value()
		return valueExpr{v}, err
	case t.kind == word && p.peekNext().is("("):
		return p.function(t.text)
	}
	path, err := p.path()
	return pathExpr{path}, err
}

func (p *parser) function(name string) (expr, error) {
	if name != "if_not_exists" && name != "list_append" {
		if _, ok := operandCount(name); ok {
			return nil, p.errorf("The function is not allowed in an update expression; function: %s", name)
		}
		return nil, p.errorf("Invalid function name; function: %s", name)
	}
	p.next()
	p.next() // the parenthesis
	var operands []expr
	for {
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		if operands = append(operands, e); !p.accept(",") {
			break
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	if len(operands) != 2 {
		return nil, p.errorf(
			"Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", name,
			len(operands),
		)
	}
	if name == "if_not_exists" {
		first, ok := operands[0].(pathExpr)
		if !ok {
			return nil, p.errorf("Operator or function requires a document path; operator or function: if_not_exists")
		}
		return ifNotExists{path: first.path, fallback: operands[1]}, nil
	}
	for _, side := range operands {
		if v, ok := side.(valueExpr); ok && v.value.L == nil {
			return nil, p.errorf(
				"Incorrect operand type for operator or function; operator or function: list_append, operand type: %s", v.value.Type(),
			)
		}
	}
	return listAppend{left: operands[0], right: operands[1]}, nil
}
