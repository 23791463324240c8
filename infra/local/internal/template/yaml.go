package template

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// kind is the shape of a node.
type kind int

const (
	scalar kind = iota
	sequence
	mapping
)

func (k kind) String() string {
	return [...]string{"a text", "a list", "an object"}[k]
}

// node is a piece of the template. Short forms of intrinsic functions have been rewritten to the
// long ones. Scalars are texts: CloudFormation, too, knows 5 and "5" as the same.
type node struct {
	line   int
	kind   kind
	text   string
	items  []*node
	fields []field
}

// field is one member of a mapping, in the template's order.
type field struct {
	name  string
	line  int
	value *node
}

// get returns the member of that name, or nil.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, f := range n.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

func textNode(line int, text string) *node {
	return &node{line: line, kind: scalar, text: text}
}

func call(line int, function string, argument *node) *node {
	return &node{line: line, kind: mapping, fields: []field{{name: function, line: line, value: argument}}}
}

func parseYAML(source []byte) (*node, error) {
	file, err := parser.ParseBytes(source, 0)
	if err != nil {
		return nil, fmt.Errorf("the template is not valid YAML: %w", err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, &Error{Where: "template", Message: "must be exactly one YAML document"}
	}
	root, err := convert(file.Docs[0].Body)
	if err != nil {
		return nil, err
	}
	if root.kind != mapping {
		return nil, &Error{Line: root.line, Where: "template", Message: "must be an object of sections"}
	}
	return root, nil
}

func convert(n ast.Node) (*node, error) {
	line := 0
	if token := n.GetToken(); token != nil {
		line = token.Position.Line
	}
	switch n := n.(type) {
	case *ast.StringNode:
		return textNode(line, n.Value), nil
	case *ast.LiteralNode:
		return textNode(line, n.Value.Value), nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return textNode(line, n.GetToken().Value), nil
	case *ast.NullNode:
		return nil, &Error{Line: line, Where: "template", Message: "a value is missing (null); CloudFormation accepts none"}
	case *ast.SequenceNode:
		result := &node{line: line, kind: sequence}
		for _, value := range n.Values {
			item, err := convert(value)
			if err != nil {
				return nil, err
			}
			result.items = append(result.items, item)
		}
		return result, nil
	case *ast.MappingNode:
		result := &node{line: line, kind: mapping}
		for _, value := range n.Values {
			if err := result.add(value); err != nil {
				return nil, err
			}
		}
		if len(n.Values) > 0 {
			result.line = result.fields[0].line
		}
		return result, nil
	case *ast.MappingValueNode:
		result := &node{line: line, kind: mapping}
		if err := result.add(n); err != nil {
			return nil, err
		}
		result.line = result.fields[0].line
		return result, nil
	case *ast.TagNode:
		return convertTag(n, line)
	}
	return nil, &Error{Line: line, Where: "template", Message: fmt.Sprintf("a YAML %s is not supported by the local stack", strings.ToLower(n.Type().String()))}
}

func (n *node) add(value *ast.MappingValueNode) error {
	key, err := convert(value.Key)
	if err != nil {
		return err
	}
	if key.kind != scalar {
		return &Error{Line: key.line, Where: "template", Message: "a name must be a text"}
	}
	member, err := convert(value.Value)
	if err != nil {
		return err
	}
	n.fields = append(n.fields, field{name: key.text, line: key.line, value: member})
	return nil
}

// convertTag rewrites a short form.
func convertTag(n *ast.TagNode, line int) (*node, error) {
	tag := n.Start.Value
	if n.Value == nil {
		return nil, &Error{Line: line, Where: "template", Message: tag + " needs a value"}
	}
	argument, err := convert(n.Value)
	if err != nil {
		return nil, err
	}
	switch tag {
	case "!Ref", "!Condition":
		return call(line, tag[1:], argument), nil
	case "!GetAtt":
		if argument.kind == scalar {
			id, attribute, ok := strings.Cut(argument.text, ".")
			if !ok {
				return nil, &Error{Line: line, Where: "template", Message: fmt.Sprintf("!GetAtt %s must be a logical id, a dot and an attribute", argument.text)}
			}
			argument = &node{line: line, kind: sequence, items: []*node{textNode(line, id), textNode(line, attribute)}}
		}
		return call(line, "Fn::GetAtt", argument), nil
	}
	if strings.HasPrefix(tag, "!!") {
		return nil, &Error{Line: line, Where: "template", Message: "the YAML tag " + tag + " is not supported by the local stack"}
	}
	return call(line, "Fn::"+tag[1:], argument), nil
}
