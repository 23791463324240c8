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

// at returns what the names lead to, one after the other, or nil.
func (n *node) at(names ...string) *node {
	for _, name := range names {
		n = n.get(name)
	}
	return n
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
	root, err := convert(file.Docs[0].Body, nil)
	if err != nil {
		return nil, err
	}
	if root.kind != mapping {
		return nil, &Error{Line: root.line, Where: "template", Message: "must be an object of sections"}
	}
	return root, nil
}

// place is how messages call what is at a path: "Queue: Properties.DelaySeconds" in a resource.
func place(path []string) string {
	if len(path) > 1 && path[0] == "Resources" {
		path = path[1:]
	}
	where := "template"
	if len(path) > 0 {
		where = path[0]
	}
	for i, name := range path[min(1, len(path)):] {
		switch {
		case i == 0:
			where += ": " + name
		case strings.HasPrefix(name, "["):
			where += name
		default:
			where += "." + name
		}
	}
	return where
}

func convert(n ast.Node, path []string) (*node, error) {
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
		return nil, &Error{Line: line, Where: place(path), Message: "a value is missing (null); CloudFormation accepts none"}
	case *ast.SequenceNode:
		result := &node{line: line, kind: sequence}
		for i, value := range n.Values {
			item, err := convert(value, below(path, fmt.Sprintf("[%d]", i)))
			if err != nil {
				return nil, err
			}
			result.items = append(result.items, item)
		}
		return result, nil
	case *ast.MappingNode:
		result := &node{line: line, kind: mapping}
		for _, value := range n.Values {
			if err := result.add(value, path); err != nil {
				return nil, err
			}
		}
		if len(n.Values) > 0 {
			result.line = result.fields[0].line
		}
		return result, nil
	case *ast.MappingValueNode:
		result := &node{line: line, kind: mapping}
		if err := result.add(n, path); err != nil {
			return nil, err
		}
		result.line = result.fields[0].line
		return result, nil
	case *ast.TagNode:
		return convertTag(n, line, path)
	}
	return nil, &Error{
		Line: line, Where: place(path),
		Message: fmt.Sprintf("a YAML %s is not supported by the local stack", strings.ToLower(n.Type().String())),
	}
}

// below returns the path of a member. It shares no memory with the path of another one.
func below(path []string, name string) []string { return append(path[:len(path):len(path)], name) }

func (n *node) add(value *ast.MappingValueNode, path []string) error {
	key, err := convert(value.Key, path)
	if err != nil {
		return err
	}
	if key.kind != scalar {
		return &Error{Line: key.line, Where: place(path), Message: "a name must be a text"}
	}
	member, err := convert(value.Value, below(path, key.text))
	if err != nil {
		return err
	}
	n.fields = append(n.fields, field{name: key.text, line: key.line, value: member})
	return nil
}

// convertTag rewrites a short form.
func convertTag(n *ast.TagNode, line int, path []string) (*node, error) {
	tag := n.Start.Value
	if n.Value == nil {
		return nil, &Error{Line: line, Where: place(path), Message: tag + " needs a value"}
	}
	argument, err := convert(n.Value, path)
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
				return nil, &Error{
					Line: line, Where: place(path),
					Message: fmt.Sprintf("!GetAtt %s must be a logical id, a dot and an attribute", argument.text),
				}
			}
			argument = &node{line: line, kind: sequence, items: []*node{textNode(line, id), textNode(line, attribute)}}
		}
		return call(line, "Fn::GetAtt", argument), nil
	}
	if strings.HasPrefix(tag, "!!") {
		return nil, &Error{Line: line, Where: place(path), Message: "the YAML tag " + tag + " is not supported by the local stack"}
	}
	return call(line, "Fn::"+tag[1:], argument), nil
}
