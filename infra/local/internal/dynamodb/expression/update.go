package expression

import (
	"maps"
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

const errIncorrectType = attribute.Invalid("An operand in the update expression has an incorrect data type")

// Update is a parsed UpdateExpression.
type Update struct {
	actions []action
	names   []string
}

// action is what happens to one attribute.
type action struct {
	clause   string // SET, REMOVE, ADD
	name     string
	value    *attribute.Value // of SET and ADD
	existing string           // of SET name = if_not_exists(existing, value), else ""
}

// Attributes returns the names of the attributes that the update changes.
func (u *Update) Attributes() []string { return u.names }

// Apply returns the updated item and leaves the given one (nil if there is none) as it is; what did
// not change is shared. All actions see the item as it was before. Its errors are of type attribute.Invalid.
func (u *Update) Apply(item attribute.Item) (attribute.Item, error) {
	updated := attribute.Item{}
	maps.Copy(updated, item)
	for _, a := range u.actions {
		switch v, err := a.eval(item); {
		case err != nil:
			return nil, err
		case v == nil:
			delete(updated, a.name)
		default:
			updated[a.name] = v
		}
	}
	return updated, nil
}

// eval returns the attribute's new value; nil removes it.
func (a action) eval(item attribute.Item) (*attribute.Value, error) {
	switch old := item[a.name]; {
	case a.clause == "REMOVE":
		return nil, nil
	case a.existing != "" && item[a.existing] != nil:
		return item[a.existing], nil
	case a.clause == "SET", old == nil:
		return a.value, nil
	case old.Type() != a.value.Type():
		return nil, errIncorrectType
	case old.N != nil:
		n, err := attribute.Add(*old.N, *a.value.N)
		return attribute.NewNumber(n), err
	default:
		return attribute.Union(old, a.value), nil
	}
}

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
		switch {
		case p.peek().is("DELETE"):
			return nil, p.notEmulated("the action DELETE")
		case p.peek().kind != word || !slices.Contains([]string{"SET", "REMOVE", "ADD"}, clause):
			return nil, p.unexpected()
		case slices.Contains(seen, clause):
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
			u.names = append(u.names, a.name)
			if !p.accept(",") {
				break
			}
		}
	}
	return u, p.distinct(u.names)
}

func (p *parser) action(clause string) (action, error) {
	a := action{clause: clause}
	var err error
	if a.name, err = p.attribute(); err != nil || clause == "REMOVE" {
		return a, err
	}
	if clause == "SET" {
		return p.assignment(a)
	}
	if a.value, err = p.value(); err != nil {
		return a, err
	}
	switch a.value.Type() {
	case attribute.Number, attribute.StringSet, attribute.NumberSet, attribute.BinarySet:
		return a, nil
	}
	return a, p.errorf(
		"Incorrect operand type for operator or function; operator: ADD, operand type: %s, typeSet: ALLOWED_FOR_ADD_OPERAND",
		longName(a.value.Type()),
	)
}

// longName is what some of AWS's messages call a type.
func longName(t attribute.Type) string {
	switch t {
	case attribute.String:
		return "STRING"
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

// assignment reads what comes after the name in a SET: = :value or = if_not_exists(name, :value)
func (p *parser) assignment(a action) (action, error) {
	if err := p.expect("="); err != nil {
		return a, err
	}
	var err error
	switch t := p.peek(); {
	case t.text == "if_not_exists" && p.peekNext().is("("):
		a, err = p.ifNotExists(a)
	case t.kind == word && p.peekNext().is("("):
		return a, p.notEmulated("the function " + t.text + " in an update")
	case t.kind == word, t.kind == name, t.is("("):
		return a, p.notEmulated("SET to anything but a value or if_not_exists")
	default:
		a.value, err = p.value()
	}
	if err == nil && (p.peek().is("+") || p.peek().is("-")) {
		err = p.notEmulated("arithmetic; ADD counts")
	}
	return a, err
}

func (p *parser) ifNotExists(a action) (action, error) {
	p.next()
	p.next() // the parenthesis
	if p.peek().kind == value {
		return a, p.errorf("Operator or function requires a document path; operator or function: if_not_exists")
	}
	var err error
	if a.existing, err = p.attribute(); err != nil {
		return a, err
	}
	if err := p.expect(","); err != nil {
		return a, err
	}
	if a.value, err = p.value(); err != nil {
		return a, err
	}
	return a, p.expect(")")
}
