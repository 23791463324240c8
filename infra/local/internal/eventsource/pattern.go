package eventsource

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// rule is a part of a pattern. absent stands for a value that the event does not have.
type rule interface {
	matches(v any) bool
}

// absent is the value of what is not there; JSON's null is nil.
type absent struct{}

// objectRule matches an object of which every named field matches and, for every $or, one of its alternatives.
type objectRule struct {
	fields map[string]rule
	or     []objectRule
}

func (o objectRule) matches(v any) bool {
	if list, ok := v.([]any); ok && len(list) > 0 {
		// Of a list, one element has to match.
		return slices.ContainsFunc(list, o.matches)
	}
	object, _ := v.(map[string]any)
	for name, r := range o.fields {
		value, ok := object[name]
		if !ok {
			value = absent{}
		}
		if !r.matches(value) {
			return false
		}
	}
	return len(o.or) == 0 || slices.ContainsFunc(o.or, func(alternative objectRule) bool { return alternative.matches(v) })
}

// leafRule matches if one of its tests does, on one of the values if there is a list of them.
type leafRule []test

// test is one alternative for a leaf.
type test struct {
	missing bool             // matches if there is no leaf, and only then
	value   func(v any) bool // else: v is nil, a bool, a json.Number or a string
}

func (l leafRule) matches(v any) bool {
	values := leaves(v, nil)
	for _, t := range l {
		if t.missing && len(values) == 0 || !t.missing && slices.ContainsFunc(values, t.value) {
			return true
		}
	}
	return false
}

// leaves appends the scalar values in v. An object is none: tests are for leaves only.
func leaves(v any, to []any) []any {
	switch v := v.(type) {
	case absent, map[string]any:
	case []any:
		for _, e := range v {
			to = leaves(e, to)
		}
	default:
		to = append(to, v)
	}
	return to
}

// parseObject reads a pattern or a part of one that is at path.
func parseObject(path string, v any) (objectRule, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return objectRule{}, fmt.Errorf("%s: not an object", at(path))
	}
	if len(object) == 0 {
		return objectRule{}, fmt.Errorf("%s: an empty object", at(path))
	}
	o := objectRule{fields: map[string]rule{}}
	for name, value := range object {
		below := strings.TrimPrefix(path+"."+name, ".")
		if name == "$or" {
			alternatives, ok := value.([]any)
			if !ok || len(alternatives) < 2 {
				return o, fmt.Errorf("%s: not a list of two objects or more", below)
			}
			for _, a := range alternatives {
				r, err := parseObject(below, a)
				if err != nil {
					return o, err
				}
				o.or = append(o.or, r)
			}
			continue
		}
		var r rule
		var err error
		switch value := value.(type) {
		case map[string]any:
			r, err = parseObject(below, value)
		case []any:
			r, err = parseLeaf(below, value)
		default:
			err = fmt.Errorf("%s: neither an object nor a list", below)
		}
		if err != nil {
			return o, err
		}
		o.fields[name] = r
	}
	return o, nil
}

func at(path string) string {
	if path == "" {
		return "pattern"
	}
	return path
}

func parseLeaf(path string, list []any) (leafRule, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: an empty list", path)
	}
	var l leafRule
	for _, e := range list {
		t, err := parseTest(e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		l = append(l, t)
	}
	return l, nil
}

// parseTest reads one alternative: a value, or an object with one operator.
func parseTest(v any) (test, error) {
	switch v := v.(type) {
	case []any:
		return test{}, errors.New("a list in a list")
	case map[string]any:
		if len(v) != 1 {
			return test{}, fmt.Errorf("%d operators where one is expected", len(v))
		}
		for operator, operand := range v {
			t, err := parseOperator(operator, operand)
			if err != nil {
				return test{}, fmt.Errorf("%s: %w", operator, err)
			}
			return t, nil
		}
	}
	return test{value: func(other any) bool { return equal(v, other) }}, nil
}

func parseOperator(operator string, operand any) (test, error) {
	switch operator {
	case "exists":
		exists, ok := operand.(bool)
		if !ok {
			return test{}, errors.New("neither true nor false")
		}
		if !exists {
			return test{missing: true}, nil
		}
		return test{value: func(any) bool { return true }}, nil
	case "numeric":
		return parseNumeric(operand)
	case "anything-but":
		return parseAnythingBut(operand)
	}
	compare, ok := textOperator(operator)
	if !ok {
		return test{}, errors.New("not a supported operator")
	}
	text, ok := operand.(string)
	if !ok {
		return test{}, errors.New("not a text")
	}
	return test{value: func(v any) bool { s, ok := v.(string); return ok && compare(s, text) }}, nil
}

// textOperator is a comparison of a text in an event with one in a pattern.
func textOperator(name string) (compare func(s, operand string) bool, ok bool) {
	switch name {
	case "prefix":
		return strings.HasPrefix, true
	case "suffix":
		return strings.HasSuffix, true
	case "equals-ignore-case":
		return strings.EqualFold, true
	}
	return nil, false
}

// parseAnythingBut reads values, or one text operator with texts, none of which may match.
func parseAnythingBut(operand any) (test, error) {
	compare := equal
	if object, ok := operand.(map[string]any); ok {
		if len(object) != 1 {
			return test{}, fmt.Errorf("%d operators where one is expected", len(object))
		}
		for name, texts := range object {
			compareTexts, ok := textOperator(name)
			if !ok {
				return test{}, fmt.Errorf("%s: not a supported operator", name)
			}
			for _, text := range asList(texts) {
				if _, ok := text.(string); !ok {
					return test{}, fmt.Errorf("%s: not a text", name)
				}
			}
			operand = texts
			compare = func(forbidden, v any) bool {
				s, ok := v.(string)
				return ok && compareTexts(s, forbidden.(string))
			}
		}
	}
	forbidden := asList(operand)
	if len(forbidden) == 0 {
		return test{}, errors.New("an empty list")
	}
	for _, v := range forbidden {
		switch v.(type) {
		case string, json.Number:
		default:
			return test{}, errors.New("neither texts nor numbers")
		}
	}
	return test{value: func(v any) bool {
		return !slices.ContainsFunc(forbidden, func(f any) bool { return compare(f, v) })
	}}, nil
}

func asList(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

// parseNumeric reads one comparison, or a lower and an upper bound.
func parseNumeric(operand any) (test, error) {
	list, ok := operand.([]any)
	if !ok || len(list) != 2 && len(list) != 4 {
		return test{}, errors.New("not a list of one or two comparisons")
	}
	var tests []func(float64) bool
	var kinds string
	for i := 0; i < len(list); i += 2 {
		operator, _ := list[i].(string)
		bound, ok := number(list[i+1])
		if !ok {
			return test{}, fmt.Errorf("%v is not a number", list[i+1])
		}
		switch operator {
		case "=":
			tests = append(tests, func(f float64) bool { return f == bound })
		case "<":
			tests = append(tests, func(f float64) bool { return f < bound })
		case "<=":
			tests = append(tests, func(f float64) bool { return f <= bound })
		case ">":
			tests = append(tests, func(f float64) bool { return f > bound })
		case ">=":
			tests = append(tests, func(f float64) bool { return f >= bound })
		default:
			return test{}, fmt.Errorf("%v is not a comparison", list[i])
		}
		kinds += operator[:1]
	}
	if len(kinds) == 2 && kinds != "><" {
		return test{}, errors.New("two comparisons must be a lower and then an upper bound")
	}
	return test{value: func(v any) bool {
		f, ok := number(v)
		return ok && !slices.ContainsFunc(tests, func(t func(float64) bool) bool { return !t(f) })
	}}, nil
}

// number is the value of a JSON number. A text with digits in it, as DynamoDB has them, is none.
func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil
}

// equal compares two leaves: numbers by value, everything else exactly.
func equal(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return a == b
}
