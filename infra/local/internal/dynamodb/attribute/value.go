// Package attribute holds DynamoDB's attribute values: how they travel as JSON, what AWS accepts,
// how large they are, and how they compare.
//
// A Value that came from outside is normalised once, by Item.Normalize: numbers get their one
// canonical spelling and sets their one order, so that from then on equal values have equal fields.
// A normalised value is never changed again and may be shared by items, images and goroutines.
// Key encodings keep the order of the values they encode, so an ordered tree of byte strings is an
// ordered tree of keys.
package attribute

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Type is the name of a type on the wire: S, N, B, BOOL, NULL, M, L, SS, NS, BS.
type Type string

// The types of attribute values.
const (
	String    Type = "S"
	Number    Type = "N"
	Binary    Type = "B"
	Boolean   Type = "BOOL"
	Null      Type = "NULL"
	Map       Type = "M"
	List      Type = "L"
	StringSet Type = "SS"
	NumberSet Type = "NS"
	BinarySet Type = "BS"
)

// maxDepth is how deep AWS lets maps and lists nest.
const maxDepth = 32

// Invalid is an error that AWS answers as ValidationException with this message.
type Invalid string

func (e Invalid) Error() string { return string(e) }

// Value is one attribute value; exactly one field is set. It encodes as DynamoDB's JSON does.
type Value struct {
	S    *string           `json:"S,omitzero"`
	N    *string           `json:"N,omitzero"`
	B    []byte            `json:"B,omitzero"`
	BOOL *bool             `json:"BOOL,omitzero"`
	NULL *bool             `json:"NULL,omitzero"`
	M    map[string]*Value `json:"M,omitzero"`
	L    []*Value          `json:"L,omitzero"`
	SS   []string          `json:"SS,omitzero"`
	NS   []string          `json:"NS,omitzero"`
	BS   [][]byte          `json:"BS,omitzero"`
}

// Item is a set of named attributes.
type Item map[string]*Value

// NewNumber makes a number value of a number in its canonical spelling, as Add and ParseNumber return it.
func NewNumber(n string) *Value { return &Value{N: &n} }

// Type returns the value's type, or "" if no field is set.
func (v *Value) Type() Type {
	switch {
	case v == nil:
		return ""
	case v.S != nil:
		return String
	case v.N != nil:
		return Number
	case v.B != nil:
		return Binary
	case v.BOOL != nil:
		return Boolean
	case v.NULL != nil:
		return Null
	case v.M != nil:
		return Map
	case v.L != nil:
		return List
	case v.SS != nil:
		return StringSet
	case v.NS != nil:
		return NumberSet
	case v.BS != nil:
		return BinarySet
	}
	return ""
}

func (v *Value) fields() int {
	n := 0
	for _, set := range [...]bool{v.S != nil, v.N != nil, v.B != nil, v.BOOL != nil, v.NULL != nil,
		v.M != nil, v.L != nil, v.SS != nil, v.NS != nil, v.BS != nil} {
		if set {
			n++
		}
	}
	return n
}

// Normalize checks a value as AWS does and brings numbers and sets into their canonical form. It
// changes the value in place and so is only for values that nobody else holds yet. Its errors are
// of type Invalid.
func (v *Value) Normalize() error { return v.normalize(1) }

// Normalize is Value.Normalize for every attribute of an item.
func (i Item) Normalize() error {
	for name, v := range i {
		if name == "" {
			return Invalid("One or more parameter values were invalid: An AttributeValue may not contain an empty attribute name")
		}
		if err := v.normalize(1); err != nil {
			return err
		}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return Invalid("One or more parameter values were invalid: " + fmt.Sprintf(format, args...))
}

func (v *Value) normalize(depth int) error {
	if v == nil || v.fields() == 0 {
		return Invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	}
	if v.fields() > 1 {
		return Invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
	if depth > maxDepth {
		return Invalid("Nesting Levels have exceeded supported limits: Attributes and nested attributes have exceeded 32 levels")
	}
	switch v.Type() {
	case Number:
		n, err := ParseNumber(*v.N)
		if err != nil {
			return err
		}
		v.N = &n
	case Null:
		if !*v.NULL {
			return invalid("Null attribute value types must have the value of true")
		}
	case Map:
		for name, member := range v.M {
			if name == "" {
				return invalid("An AttributeValue may not contain an empty attribute name")
			}
			if err := member.normalize(depth + 1); err != nil {
				return err
			}
		}
	case List:
		for _, member := range v.L {
			if err := member.normalize(depth + 1); err != nil {
				return err
			}
		}
	case StringSet, NumberSet, BinarySet:
		return v.normalizeSet()
	}
	return nil
}

func (v *Value) normalizeSet() error {
	switch {
	case v.SS != nil && len(v.SS) == 0:
		return invalid("An string set  may not be empty")
	case v.NS != nil && len(v.NS) == 0:
		return invalid("An number set  may not be empty")
	case v.BS != nil && len(v.BS) == 0:
		return invalid("Binary sets should not be empty")
	}
	given := v.describeSet()
	for i, text := range v.NS {
		n, err := ParseNumber(text)
		if err != nil {
			return err
		}
		v.NS[i] = n
	}
	n := len(v.SS) + len(v.NS) + len(v.BS)
	v.sortSet()
	if len(v.SS)+len(v.NS)+len(v.BS) < n {
		return invalid("Input collection %s contains duplicates.", given)
	}
	return nil
}

// sortSet brings the members of a set into order and removes duplicates.
func (v *Value) sortSet() {
	slices.Sort(v.SS)
	v.SS = slices.Compact(v.SS)
	slices.SortFunc(v.NS, CompareNumbers)
	v.NS = slices.Compact(v.NS)
	slices.SortFunc(v.BS, bytes.Compare)
	v.BS = slices.CompactFunc(v.BS, bytes.Equal)
}

// Union returns the set with the members of both, which must be sets of one type.
func Union(a, b *Value) *Value {
	v := &Value{SS: slices.Concat(a.SS, b.SS), NS: slices.Concat(a.NS, b.NS), BS: slices.Concat(a.BS, b.BS)}
	v.sortSet()
	return v
}

func (v *Value) describeSet() string {
	switch v.Type() {
	case StringSet:
		return "[" + strings.Join(v.SS, ", ") + "]"
	case NumberSet:
		return "[" + strings.Join(v.NS, ", ") + "]"
	}
	return "of binary values"
}

// String describes a scalar as AWS does in its messages: {S:abc}.
func (v *Value) String() string {
	switch v.Type() {
	case String:
		return "{S:" + *v.S + "}"
	case Number:
		return "{N:" + *v.N + "}"
	case Binary:
		return fmt.Sprintf("{B:%x}", v.B)
	}
	return "{" + string(v.Type()) + "}"
}

// Equal reports whether two normalised values are the same.
func Equal(a, b *Value) bool {
	if a == b {
		return true
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Type() {
	case String:
		return *a.S == *b.S
	case Number:
		return *a.N == *b.N
	case Binary:
		return bytes.Equal(a.B, b.B)
	case Boolean:
		return *a.BOOL == *b.BOOL
	case Map:
		return EqualItems(a.M, b.M)
	case List:
		return slices.EqualFunc(a.L, b.L, Equal)
	case StringSet:
		return slices.Equal(a.SS, b.SS)
	case NumberSet:
		return slices.Equal(a.NS, b.NS)
	case BinarySet:
		return slices.EqualFunc(a.BS, b.BS, bytes.Equal)
	}
	return true
}

// EqualItems reports whether two normalised items have the same attributes.
func EqualItems(a, b Item) bool {
	if len(a) != len(b) {
		return false
	}
	for name, v := range a {
		w, ok := b[name]
		if !ok || !Equal(v, w) {
			return false
		}
	}
	return true
}

// Compare orders two values. ok is false unless both are strings, both numbers or both binary:
// nothing else has an order.
func Compare(a, b *Value) (order int, ok bool) {
	if a.Type() != b.Type() {
		return 0, false
	}
	switch a.Type() {
	case String:
		return strings.Compare(*a.S, *b.S), true
	case Number:
		return CompareNumbers(*a.N, *b.N), true
	case Binary:
		return bytes.Compare(a.B, b.B), true
	}
	return 0, false
}

// Size is what AWS counts for a value, in bytes: strings their UTF-8, numbers about a byte for two
// digits, maps and lists three bytes and one more for each member.
//
// Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func (v *Value) Size() int {
	n := 0
	switch v.Type() {
	case String:
		n = len(*v.S)
	case Number:
		n = numberSize(*v.N)
	case Binary:
		n = len(v.B)
	case Boolean, Null:
		n = 1
	case Map:
		n = 3 + len(v.M) + Item(v.M).Size()
	case List:
		n = 3 + len(v.L)
		for _, member := range v.L {
			n += member.Size()
		}
	case StringSet:
		for _, s := range v.SS {
			n += len(s)
		}
	case NumberSet:
		for _, s := range v.NS {
			n += numberSize(s)
		}
	case BinarySet:
		for _, b := range v.BS {
			n += len(b)
		}
	}
	return n
}

// Size is the sum over all attributes of name and value, in bytes.
func (i Item) Size() int {
	n := 0
	for name, v := range i {
		n += len(name) + v.Size()
	}
	return n
}
