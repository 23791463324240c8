// Package expression parses and evaluates DynamoDB's expressions: condition, filter, key condition,
// projection and update.
//
// Parsing resolves the placeholders of names and values, notes which were used, and refuses what AWS
// refuses before it looks at an item; what is parsed is immutable and can be evaluated by many
// goroutines at once. Evaluating never changes an item: an update copies what it changes. Numbers are
// compared and added as decimals of 38 digits.
//
// Of what AWS has, this is refused: paths into maps and lists; the functions attribute_type, contains, size
// and list_append; IN; comparisons other than of an attribute with a value; and in updates the action
// DELETE, arithmetic, and copying one attribute to another.
package expression

import (
	"fmt"
	"slices"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// The names by which AWS's messages call the expressions.
const (
	ConditionExpression    = "ConditionExpression"
	FilterExpression       = "FilterExpression"
	KeyConditionExpression = "KeyConditionExpression"
	ProjectionExpression   = "ProjectionExpression"
	UpdateExpression       = "UpdateExpression"
)

const maxLength = 4096 // of an expression, in bytes

// Placeholders are the ExpressionAttributeNames and -Values of one request, and which of them its
// expressions have used. It is for one goroutine.
type Placeholders struct {
	names      map[string]string
	values     map[string]*attribute.Value
	usedNames  map[string]bool
	usedValues map[string]bool
}

// NewPlaceholders checks and normalises a request's placeholders. nil means that it has none;
// expressions says whether the request has any expression, without which AWS accepts no placeholders.
func NewPlaceholders(names map[string]string, values map[string]*attribute.Value, expressions bool) (*Placeholders, error) {
	switch {
	case !expressions && names != nil:
		return nil, attribute.Invalid("ExpressionAttributeNames can only be specified when using expressions")
	case !expressions && values != nil:
		return nil, attribute.Invalid("ExpressionAttributeValues can only be specified when using expressions")
	case names != nil && len(names) == 0:
		return nil, attribute.Invalid("ExpressionAttributeNames must not be empty")
	case values != nil && len(values) == 0:
		return nil, attribute.Invalid("ExpressionAttributeValues must not be empty")
	}
	for placeholder := range names {
		if !isPlaceholder(placeholder, '#') {
			return nil, invalidf("ExpressionAttributeNames contains invalid key: Syntax error; key: %q", placeholder)
		}
	}
	for placeholder, v := range values {
		if !isPlaceholder(placeholder, ':') {
			return nil, invalidf("ExpressionAttributeValues contains invalid key: Syntax error; key: %q", placeholder)
		}
		if err := v.Normalize(); err != nil {
			return nil, invalidf("ExpressionAttributeValues contains invalid value: %v for key %s", err, placeholder)
		}
	}
	return &Placeholders{names: names, values: values, usedNames: map[string]bool{}, usedValues: map[string]bool{}}, nil
}

func isPlaceholder(text string, mark byte) bool {
	return len(text) > 1 && text[0] == mark && wordEnd(text, 1) == len(text)
}

// Unused is the error that AWS answers if not every placeholder was used, for after all parsing.
func (p *Placeholders) Unused() error {
	if unused := missing(p.names, p.usedNames); unused != "" {
		return invalidf("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", unused)
	}
	if unused := missing(p.values, p.usedValues); unused != "" {
		return invalidf("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", unused)
	}
	return nil
}

func missing[V any](given map[string]V, used map[string]bool) string {
	var unused []string
	for placeholder := range given {
		if !used[placeholder] {
			unused = append(unused, placeholder)
		}
	}
	slices.Sort(unused)
	return strings.Join(unused, ", ")
}

func invalidf(format string, args ...any) error {
	return attribute.Invalid(fmt.Sprintf(format, args...))
}

// parser reads the tokens of one expression.
type parser struct {
	label        string // which expression, for messages
	text         string
	tokens       []token
	at           int
	placeholders *Placeholders
}

func newParser(label, text string, p *Placeholders) (*parser, error) {
	if strings.TrimSpace(text) == "" {
		return nil, invalidf("Invalid %s: The expression can not be empty;", label)
	}
	if len(text) > maxLength {
		return nil, invalidf("Invalid %s: Expression size has exceeded the maximum allowed size; expression size: %d", label, len(text))
	}
	return &parser{label: label, text: text, tokens: tokens(text), placeholders: p}, nil
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) peekNext() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != end {
		p.at++
	}
	return t
}

// accept takes the next token if it is this sign or keyword.
func (p *parser) accept(text string) bool {
	if !p.peek().is(text) {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.unexpected()
	}
	return nil
}

// finish refuses whatever is left.
func (p *parser) finish() error {
	if p.peek().kind != end {
		return p.unexpected()
	}
	return nil
}

func (p *parser) errorf(format string, args ...any) error {
	return invalidf("Invalid %s: %s", p.label, fmt.Sprintf(format, args...))
}

// unexpected is the syntax error at the next token, with the text around it as AWS shows it.
func (p *parser) unexpected() error {
	t := p.peek()
	from, to := t.at, min(t.at+len(t.text), len(p.text))
	if p.at > 0 {
		from = p.tokens[p.at-1].at
	}
	if t.kind != end && p.tokens[p.at+1].kind != end {
		next := p.tokens[p.at+1]
		to = next.at + len(next.text)
	}
	shown := t.text
	if t.kind != end {
		shown = `"` + shown + `"`
	}
	return p.errorf("Syntax error; token: %s, near: %q", shown, p.text[from:to])
}

// notEmulated is the error for what AWS has and this package has not.
func (p *parser) notEmulated(what string) error {
	return p.errorf("the local stack does not emulate %s", what)
}

// value resolves a value placeholder.
func (p *parser) value() (*attribute.Value, error) {
	t := p.peek()
	if t.kind != value {
		return nil, p.unexpected()
	}
	v, ok := p.placeholders.values[t.text]
	if !ok {
		return nil, p.errorf("An expression attribute value used in expression is not defined; attribute value: %s", t.text)
	}
	p.next()
	p.placeholders.usedValues[t.text] = true
	return v, nil
}

// attribute reads the name of an attribute, as it is or as a placeholder.
func (p *parser) attribute() (string, error) {
	full, err := p.attributeName()
	if err == nil && (p.peek().is(".") || p.peek().is("[")) {
		err = p.notEmulated("paths into maps and lists")
	}
	return full, err
}

func (p *parser) attributeName() (string, error) {
	t := p.peek()
	switch t.kind {
	case word:
		if isReserved(t.text) {
			return "", p.errorf("Attribute name is a reserved keyword; reserved keyword: %s", t.text)
		}
		p.next()
		return t.text, nil
	case name:
		full, ok := p.placeholders.names[t.text]
		if !ok {
			return "", p.errorf("An expression attribute name used in the document path is not defined; attribute name: %s", t.text)
		}
		p.next()
		p.placeholders.usedNames[t.text] = true
		return full, nil
	}
	return "", p.unexpected()
}
