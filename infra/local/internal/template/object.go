package template

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object reads the members of one mapping and remembers which it was asked for, so that done can
// report the ones that nobody knows.
type object struct {
	reader *reader
	node   *node
	where  string // of messages: "DeliverFunction"
	path   string // within where: "Properties.Events.Queue"; "" at its top
	known  map[string]bool
}

func (r *reader) object(n *node, where, path string) *object {
	o := &object{reader: r, node: n, where: where, path: path, known: map[string]bool{}}
	if n != nil && n.kind != mapping {
		r.problem(n.line, o.name(""), "must be an object, not %s", n.kind)
		o.node = nil
	}
	return o
}

// name is how messages call a member; "" is the object itself.
func (o *object) name(member string) string {
	path := o.path
	switch {
	case path == "":
		path = member
	case member != "":
		path += "." + member
	}
	if path == "" {
		return o.where
	}
	return o.where + ": " + path
}

func (o *object) line(member string) int {
	if o.node == nil {
		return 0
	}
	for _, f := range o.node.fields {
		if f.name == member {
			return f.line
		}
	}
	return o.node.line
}

func (o *object) fail(member, format string, args ...any) {
	o.reader.problem(o.line(member), o.name(member), format, args...)
}

// raw returns a member as it is, or nil.
func (o *object) raw(member string) *node {
	o.known[member] = true
	return o.node.get(member)
}

func (o *object) has(member string) bool { return o.node.get(member) != nil }

// text returns a text, or fallback where the member is absent.
func (o *object) text(member, fallback string) string {
	n := o.raw(member)
	if n == nil {
		return fallback
	}
	if n.kind != scalar {
		o.fail(member, "must be a text, not %s", n.kind)
		return fallback
	}
	return n.text
}

func (o *object) required(member string) string {
	if !o.has(member) {
		o.known[member] = true
		o.fail(member, "is required")
		return ""
	}
	return o.text(member, "")
}

// oneOf returns a text that must be one of the allowed ones; these have effect or are what the
// local stack does anyway.
func (o *object) oneOf(member, fallback string, allowed ...string) string {
	text := o.text(member, fallback)
	if text != fallback && !slices.Contains(allowed, text) {
		o.fail(member, "%q is not supported by the local stack, only %s", text, strings.Join(allowed, ", "))
	}
	return text
}

// must says that a member has to be there and which values are possible.
func (o *object) must(member string, allowed ...string) string {
	if o.required(member) == "" {
		return ""
	}
	return o.oneOf(member, "", allowed...)
}

// integer returns a number within [low, high], or fallback where the member is absent.
func (o *object) integer(member string, fallback, low, high int) int {
	n := o.raw(member)
	if n == nil {
		return fallback
	}
	value, err := strconv.Atoi(n.text)
	if err != nil || n.kind != scalar {
		o.fail(member, "must be a whole number")
		return fallback
	}
	if value < low || value > high {
		o.fail(member, "must be between %d and %d, got %d", low, high, value)
		return fallback
	}
	return value
}

func (o *object) seconds(member string, fallback, low, high int) time.Duration {
	return time.Duration(o.integer(member, fallback, low, high)) * time.Second
}

func (o *object) boolean(member string, fallback bool) bool {
	switch text := o.text(member, strconv.FormatBool(fallback)); text {
	case "true":
		return true
	case "false":
		return false
	default:
		o.fail(member, "must be true or false, got %q", text)
		return fallback
	}
}

// texts returns a list of texts; a single text is a list of one.
func (o *object) texts(member string) []string {
	n := o.raw(member)
	if n == nil {
		return nil
	}
	if n.kind == scalar {
		return []string{n.text}
	}
	var result []string
	for _, item := range n.items {
		if item.kind != scalar {
			o.fail(member, "must be a list of texts")
			return nil
		}
		result = append(result, item.text)
	}
	if n.kind == mapping {
		o.fail(member, "must be a list of texts")
	}
	return result
}

// child returns a member that is an object, or nil where it is absent.
func (o *object) child(member string) *object {
	n := o.raw(member)
	if n == nil {
		return nil
	}
	return o.reader.object(n, o.where, join(o.path, member))
}

// members returns a member that is an object of objects, in order.
func (o *object) members(member string) (names []string, objects []*object) {
	child := o.child(member)
	if child == nil || child.node == nil {
		return nil, nil
	}
	for _, f := range child.node.fields {
		names = append(names, f.name)
		objects = append(objects, o.reader.object(f.value, o.where, join(child.path, f.name)))
	}
	return names, objects
}

// list returns a member that is a list of objects.
func (o *object) list(member string) []*object {
	n := o.raw(member)
	if n == nil {
		return nil
	}
	if n.kind != sequence {
		o.fail(member, "must be a list, not %s", n.kind)
		return nil
	}
	var result []*object
	for i, item := range n.items {
		result = append(result, o.reader.object(item, o.where, fmt.Sprintf("%s[%d]", join(o.path, member), i)))
	}
	return result
}

// ignore says that members are knowingly without effect here, and why.
func (o *object) ignore(reason string, members ...string) {
	for _, member := range members {
		o.known[member] = true
		if o.has(member) {
			o.reader.result.Ignored = append(o.reader.result.Ignored, Ignored{Where: o.name(member), Line: o.line(member), Reason: reason})
		}
	}
}

// done reports every member that nothing has asked for.
func (o *object) done() {
	if o.node == nil {
		return
	}
	for _, f := range o.node.fields {
		if !o.known[f.name] {
			o.reader.problem(f.line, o.name(f.name), "is not supported by the local stack")
		}
	}
}

func join(path, member string) string {
	if path == "" {
		return member
	}
	return path + "." + member
}
