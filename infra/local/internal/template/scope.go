package template

import (
	"fmt"
	"strings"
)

// scope is what intrinsic functions can see, and the list of everything found wrong.
type scope struct {
	options    Options
	parameters map[string]*node
	mappings   *node // nil if there are none
	conditions map[string]*node
	decided    map[string]bool // conditions evaluated so far
	deciding   map[string]bool // conditions being evaluated, to find circles
	resources  map[string]*resource
	order      []string // logical ids in the template's order
	unused     int      // above 0 within what has no effect: the branch of an Fn::If that is not taken
	problems   []*Error
}

// resource is a declared resource whose condition holds or not.
type resource struct {
	id, kind   string
	line       int
	exists     bool // its condition holds
	node       *node
	properties *node // merged with Globals; nil: none
}

func newScope(options Options) *scope {
	return &scope{
		options:    options,
		parameters: map[string]*node{},
		conditions: map[string]*node{},
		decided:    map[string]bool{},
		deciding:   map[string]bool{},
		resources:  map[string]*resource{},
	}
}

func (s *scope) problem(line int, where, format string, args ...any) {
	s.problems = append(s.problems, &Error{Line: line, Where: where, Message: fmt.Sprintf(format, args...)})
}

// intrinsic returns the function and its argument if n is the call of one.
func intrinsic(n *node) (name string, argument *node, ok bool) {
	if n.kind != mapping || len(n.fields) != 1 {
		return "", nil, false
	}
	f := n.fields[0]
	if f.name == "Ref" || strings.HasPrefix(f.name, "Fn::") {
		return f.name, f.value, true
	}
	return "", nil, false
}

// eval resolves every intrinsic function within n. nil stands for AWS::NoValue, and for what could
// not be resolved, in which case the problem has been recorded.
func (s *scope) eval(n *node, where string) *node {
	if name, argument, ok := intrinsic(n); ok {
		return s.call(n.line, name, argument, where)
	}
	result := &node{line: n.line, kind: n.kind, text: n.text}
	for i, item := range n.items {
		if value := s.eval(item, fmt.Sprintf("%s[%d]", where, i)); value != nil {
			result.items = append(result.items, value)
		}
	}
	for _, f := range n.fields {
		if strings.HasPrefix(f.name, "Fn::") {
			s.problem(f.line, where, "%s must stand alone", f.name)
			continue
		}
		if value := s.eval(f.value, member(where, f.name)); value != nil {
			result.fields = append(result.fields, field{name: f.name, line: f.line, value: value})
		}
	}
	return result
}

// check finds what is wrong with something that has no effect now: names that are nothing's, and
// functions that are not supported. It may name resources whose condition does not hold.
func (s *scope) check(n *node, where string) {
	s.unused++
	s.eval(n, where)
	s.unused--
}

func member(where, name string) string {
	if strings.Contains(where, ": ") {
		return where + "." + name
	}
	return where + ": " + name
}

func (s *scope) call(line int, function string, argument *node, where string) *node {
	switch function {
	case "Ref":
		if argument.kind != scalar {
			s.problem(line, where, "Ref needs a name")
			return nil
		}
		return s.ref(argument.text, line, where)
	case "Fn::GetAtt":
		parts, ok := s.textList(argument, where)
		if !ok || len(parts) != 2 {
			s.problem(line, where, "Fn::GetAtt needs a logical id and an attribute")
			return nil
		}
		return s.getAtt(parts[0], parts[1], line, where)
	case "Fn::Sub":
		return s.sub(argument, line, where)
	case "Fn::If":
		if argument.kind != sequence || len(argument.items) != 3 || argument.items[0].kind != scalar {
			s.problem(line, where, "Fn::If needs a condition's name and two values")
			return nil
		}
		taken, other := argument.items[1], argument.items[2]
		if !s.condition(argument.items[0].text, line, where) {
			taken, other = other, taken
		}
		s.check(other, where)
		return s.eval(taken, where)
	case "Fn::FindInMap":
		keys, ok := s.textList(argument, where)
		if !ok || len(keys) != 3 {
			s.problem(line, where, "Fn::FindInMap needs the name of a mapping and two keys")
			return nil
		}
		value := s.mappings.at(keys...)
		if value == nil || value.kind != scalar {
			s.problem(line, where, "Mappings has no text at %s", strings.Join(keys, "."))
			return nil
		}
		return value
	case "Fn::Equals", "Fn::Not", "Fn::And", "Fn::Or":
		s.problem(line, where, "%s belongs into Conditions or Rules", function)
	default:
		s.problem(line, where, "%s is not supported by the local stack", function)
	}
	return nil
}

// evalText resolves n to a text, or returns nil.
func (s *scope) evalText(n *node, where string) *node {
	if value := s.eval(n, where); value != nil && value.kind == scalar {
		return value
	}
	return nil
}

// textList resolves n to a list of texts.
func (s *scope) textList(n *node, where string) ([]string, bool) {
	list := s.eval(n, where)
	if list == nil || list.kind != sequence {
		return nil, false
	}
	var result []string
	for _, item := range list.items {
		if item.kind != scalar {
			return nil, false
		}
		result = append(result, item.text)
	}
	return result, true
}

// sub replaces ${Name}, ${Resource.Attribute} and ${!Literal}.
func (s *scope) sub(argument *node, line int, where string) *node {
	if argument.kind != scalar {
		s.problem(line, where, "Fn::Sub needs a text, the local stack does not support variables of its own")
		return nil
	}
	var out strings.Builder
	for rest := argument.text; ; {
		before, after, found := strings.Cut(rest, "${")
		out.WriteString(before)
		if !found {
			return textNode(line, out.String())
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed {
			s.problem(line, where, "Fn::Sub lacks a closing brace in %q", argument.text)
			return nil
		}
		rest = tail
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			out.WriteString("${" + literal + "}")
			continue
		}
		value := s.subVariable(name, line, where)
		if value == nil {
			return nil
		}
		if value.kind != scalar {
			s.problem(line, where, "${%s} is %s, Fn::Sub needs a text", name, value.kind)
			return nil
		}
		out.WriteString(value.text)
	}
}

func (s *scope) subVariable(name string, line int, where string) *node {
	if id, attribute, ok := strings.Cut(name, "."); ok {
		return s.getAtt(id, attribute, line, where)
	}
	return s.ref(name, line, where)
}

// condition returns the value of a named condition.
func (s *scope) condition(name string, line int, where string) bool {
	if value, ok := s.decided[name]; ok {
		return value
	}
	definition := s.conditions[name]
	if definition == nil {
		s.problem(line, where, "there is no condition %s", name)
		return false
	}
	if s.deciding[name] {
		s.problem(line, where, "the condition %s depends on itself", name)
		return false
	}
	s.deciding[name] = true
	value := s.evalCondition(definition, "Conditions: "+name)
	delete(s.deciding, name)
	s.decided[name] = value
	return value
}

func (r *reader) readConditions(section *node) {
	if section == nil {
		return
	}
	for _, f := range section.fields {
		r.conditions[f.name] = f.value
	}
	for _, f := range section.fields {
		r.condition(f.name, f.line, "Conditions")
	}
}

// evalCondition evaluates a function that is true or false. What it cannot evaluate is false and
// recorded as a problem.
func (s *scope) evalCondition(n *node, where string) bool {
	if n.kind != mapping || len(n.fields) != 1 {
		s.problem(n.line, where, "must be a condition function")
		return false
	}
	function, argument := n.fields[0].name, n.fields[0].value
	count := len(argument.items)
	switch function {
	case "Condition":
		return s.condition(argument.text, n.line, where)
	case "Fn::Equals":
		if count == 2 {
			a, b := s.evalText(argument.items[0], where), s.evalText(argument.items[1], where)
			if a != nil && b != nil {
				return a.text == b.text
			}
		}
		s.problem(n.line, where, "Fn::Equals needs two texts")
	case "Fn::Not":
		if count == 1 {
			return !s.evalCondition(argument.items[0], where)
		}
		s.problem(n.line, where, "Fn::Not needs a list of one condition")
	case "Fn::And", "Fn::Or":
		if count < 2 || count > 10 {
			s.problem(n.line, where, "%s needs between 2 and 10 conditions", function)
			return false
		}
		holding := 0
		for _, item := range argument.items {
			if s.evalCondition(item, where) {
				holding++
			}
		}
		return holding == count || function == "Fn::Or" && holding > 0
	default:
		s.problem(n.line, where, "%s is not supported by the local stack", function)
	}
	return false
}
