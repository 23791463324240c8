package attribute

import (
	"bytes"
	"slices"
)

// Union returns the set with the members of both, which must be sets of one type.
func Union(a, b *Value) *Value {
	v := &Value{SS: slices.Concat(a.SS, b.SS), NS: slices.Concat(a.NS, b.NS), BS: slices.Concat(a.BS, b.BS)}
	v.sortSet()
	return v
}

// Difference returns the set a without the members of b, which must be a set of its type; nil if
// nothing is left, since there are no empty sets.
func Difference(a, b *Value) *Value {
	v := &Value{
		SS: slices.DeleteFunc(slices.Clone(a.SS), func(s string) bool { return slices.Contains(b.SS, s) }),
		NS: slices.DeleteFunc(slices.Clone(a.NS), func(s string) bool { return slices.Contains(b.NS, s) }),
		BS: slices.DeleteFunc(slices.Clone(a.BS), func(s []byte) bool {
			return slices.ContainsFunc(b.BS, func(other []byte) bool { return bytes.Equal(s, other) })
		}),
	}
	if len(v.SS)+len(v.NS)+len(v.BS) == 0 {
		return nil
	}
	return v
}
