package eventsource

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rule is a part of a pattern. absent stands for a value that the event does not have.
type rule interface {
	matches(v any) bool
}

// absent is the value of what is not there; JSON's null is nil.
type absent struct{}

// objectRule matches an object of which every named field matches.
type objectRule map[string]rule

func (o objectRule) matches(v any) bool {
	if list, ok := v.([]any); ok && len(list) > 0 {
		// Of a list, one element has to match.
		return slices.ContainsFunc(list, o.matches)
	}
	object, _ := v.(map[string]any)
	for name, r := range o {
		value, ok := object[name]
		if !ok {
			value = absent{}
		}
		if !r.matches(value) {
			return false
		}
	}
	return true
}

// leafRule matches if one of its tests does, on one of the values if there is a list of them.
type leafRule []test

// test is one alternative for a leaf: that there is one, that there is none, or its value.
type test struct {
	exists *bool
	value  any // nil, a bool, a float64 or a string
}

func (l leafRule) matches(v any) bool {
	values := leaves(v, nil)
	for _, t := range l {
		if t.exists == nil && slices.Contains(values, t.value) || t.exists != nil && *t.exists == (len(values) > 0) {
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
		return nil, fmt.Errorf("%s: not an object", path)
	}
	if len(object) == 0 {
		return nil, fmt.Errorf("%s: an empty object", path)
	}
	o := objectRule{}
	for name, value := range object {
		below := strings.TrimPrefix(path+"."+name, "pattern.")
		if name == "$or" {
			return nil, fmt.Errorf("%s is not supported by the local stack: it takes several filters", below)
		}
		var err error
		switch value := value.(type) {
		case map[string]any:
			o[name], err = parseObject(below, value)
		case []any:
			o[name], err = parseLeaf(below, value)
		default:
			err = fmt.Errorf("%s: neither an object nor a list", below)
		}
		if err != nil {
			return nil, err
		}
	}
	return o, nil
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

// parseTest reads one alternative: a value, or {"exists": …}.
func parseTest(v any) (test, error) {
	switch v := v.(type) {
	case []any:
		return test{}, errors.New("a list in a list")
	case map[string]any:
		return parseOperator(v)
	}
	return test{value: v}, nil
}

func parseOperator(object map[string]any) (test, error) {
	if len(object) != 1 {
		return test{}, fmt.Errorf("an object of %d members, not of one operator", len(object))
	}
	operand, ok := object["exists"]
	if !ok {
		return test{}, fmt.Errorf(
			"the operator %s is not supported by the local stack: there is only exists", slices.Collect(maps.Keys(object))[0],
		)
	}
	exists, ok := operand.(bool)
	if !ok {
		return test{}, errors.New("exists: neither true nor false")
	}
	return test{exists: &exists}, nil
}
