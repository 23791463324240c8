package expression

import (
	"maps"
	"slices"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

const (
	errNoAttribute   = attribute.Invalid("The provided expression refers to an attribute that does not exist in the item")
	errInvalidPath   = attribute.Invalid("The document path provided in the update expression is invalid for update")
	errIncorrectType = attribute.Invalid("An operand in the update expression has an incorrect data type")
)

// Update is a parsed UpdateExpression.
type Update struct {
	actions []action
	paths   []Path
}

// action is what happens at one path.
type action struct {
	clause string // SET, REMOVE, ADD, DELETE
	path   Path
	set    expr             // of SET
	value  *attribute.Value // of ADD and DELETE
}

// expr is the right side of an assignment.
type expr interface {
	eval(item attribute.Item) (*attribute.Value, error)
}

type (
	pathExpr  struct{ path Path }
	valueExpr struct{ value *attribute.Value }
	// sum is left + right or left - right.
	sum struct {
		minus       bool
		left, right expr
	}
	ifNotExists struct {
		path     Path
		fallback expr
	}
	listAppend struct{ left, right expr }
)

func (e valueExpr) eval(attribute.Item) (*attribute.Value, error) { return e.value, nil }

func (e pathExpr) eval(item attribute.Item) (*attribute.Value, error) {
	if v := e.path.get(item); v != nil {
		return v, nil
	}
	return nil, errNoAttribute
}

func (e ifNotExists) eval(item attribute.Item) (*attribute.Value, error) {
	if v := e.path.get(item); v != nil {
		return v, nil
	}
	return e.fallback.eval(item)
}

func (e sum) eval(item attribute.Item) (*attribute.Value, error) {
	left, right, err := both(e.left, e.right, item)
	if err != nil {
		return nil, err
	}
	if left.N == nil || right.N == nil {
		return nil, errIncorrectType
	}
	operation := attribute.Add
	if e.minus {
		operation = attribute.Subtract
	}
	n, err := operation(*left.N, *right.N)
	if err != nil {
		return nil, err
	}
	return attribute.NewNumber(n), nil
}

func (e listAppend) eval(item attribute.Item) (*attribute.Value, error) {
	left, right, err := both(e.left, e.right, item)
	if err != nil {
		return nil, err
	}
	if left.L == nil || right.L == nil {
		return nil, errIncorrectType
	}
	joined := make([]*attribute.Value, 0, len(left.L)+len(right.L)) // never nil: an empty list is a list
	return &attribute.Value{L: append(append(joined, left.L...), right.L...)}, nil
}

func both(left, right expr, item attribute.Item) (a, b *attribute.Value, err error) {
	if a, err = left.eval(item); err != nil {
		return nil, nil, err
	}
	b, err = right.eval(item)
	return a, b, err
}

// Roots returns the names of the attributes that the update changes.
func (u *Update) Roots() []string { return roots(u.paths) }

// Touched is the projection on the paths that the update changes, for UPDATED_OLD and UPDATED_NEW.
func (u *Update) Touched() *Projection { return newProjection(u.paths) }

// Apply returns the updated item and leaves the given one (nil if there is none) as it is; what did
// not change is shared. All expressions see the item as it was before. Its errors are of type attribute.Invalid.
func (u *Update) Apply(item attribute.Item) (attribute.Item, error) {
	results := make([]*attribute.Value, len(u.actions))
	for i, a := range u.actions {
		var err error
		if results[i], err = a.eval(item); err != nil {
			return nil, err
		}
	}
	if item == nil {
		item = attribute.Item{}
	}
	root := &attribute.Value{M: item}
	copied := map[*attribute.Value]bool{}
	var removed []int
	for i, a := range u.actions {
		if results[i] == nil {
			removed = append(removed, i)
			continue
		}
		changed, err := put(root, a.path, results[i], copied)
		if err != nil {
			return nil, err
		}
		root = changed
	}
	// Indexes count in the list as it was, so the removals come last, and from each list's end.
	slices.SortStableFunc(removed, func(i, j int) int { return comparePaths(u.actions[j].path, u.actions[i].path) })
	for _, i := range removed {
		changed, err := remove(root, u.actions[i].path, copied)
		if err != nil {
			if u.actions[i].clause == "DELETE" {
				continue // of a set that is not there
			}
			return nil, err
		}
		root = changed
	}
	return root.M, nil
}

// comparePaths orders paths so that the elements of one list are in their order.
func comparePaths(a, b Path) int {
	return slices.CompareFunc(a, b, func(x, y step) int {
		if x.name != y.name {
			if x.name < y.name {
				return -1
			}
			return 1
		}
		return x.index - y.index
	})
}

// eval returns what the action puts at its path; nil removes what is there.
func (a action) eval(item attribute.Item) (*attribute.Value, error) {
	switch a.clause {
	case "SET":
		return a.set.eval(item)
	case "REMOVE":
		return nil, nil
	case "ADD":
		return a.add(a.path.get(item))
	}
	return a.subtract(a.path.get(item))
}

func (a action) add(old *attribute.Value) (*attribute.Value, error) {
	if old == nil {
		return a.value, nil
	}
	if old.Type() != a.value.Type() {
		return nil, errIncorrectType
	}
	if old.N != nil {
		n, err := attribute.Add(*old.N, *a.value.N)
		if err != nil {
			return nil, err
		}
		return attribute.NewNumber(n), nil
	}
	return attribute.Union(old, a.value), nil
}

func (a action) subtract(old *attribute.Value) (*attribute.Value, error) {
	if old == nil {
		return nil, nil
	}
	if old.Type() != a.value.Type() {
		return nil, errIncorrectType
	}
	return attribute.Difference(old, a.value), nil
}

// clone returns v, or a copy of it if this update has not copied it yet.
func clone(v *attribute.Value, copied map[*attribute.Value]bool) *attribute.Value {
	if copied[v] {
		return v
	}
	w := &attribute.Value{M: maps.Clone(v.M), L: slices.Clone(v.L)}
	copied[w] = true
	return w
}

// put returns v with the value at the path. All but the last step must exist.
func put(v *attribute.Value, path Path, value *attribute.Value, copied map[*attribute.Value]bool) (*attribute.Value, error) {
	if len(path) == 0 {
		return value, nil
	}
	s := path[0]
	if !s.fits(v) {
		return nil, errInvalidPath
	}
	member := s.of(v)
	if member == nil && len(path) > 1 {
		return nil, errInvalidPath
	}
	changed, err := put(member, path[1:], value, copied)
	if err != nil {
		return nil, err
	}
	v = clone(v, copied)
	switch {
	case !s.element:
		v.M[s.name] = changed
	case s.index < len(v.L):
		v.L[s.index] = changed
	default: // beyond the end: appended, wherever it points
		v.L = append(v.L, changed)
	}
	return v, nil
}

// remove returns v without what is at the path. Removing what is not there is no error, as long as
// the path leads through maps and lists.
func remove(v *attribute.Value, path Path, copied map[*attribute.Value]bool) (*attribute.Value, error) {
	s := path[0]
	if !s.fits(v) {
		return nil, errInvalidPath
	}
	member := s.of(v)
	if member == nil {
		if len(path) > 1 {
			return nil, errInvalidPath
		}
		return v, nil
	}
	if len(path) > 1 {
		changed, err := remove(member, path[1:], copied)
		if err != nil || changed == member {
			return v, err
		}
		v = clone(v, copied)
		if s.element {
			v.L[s.index] = changed
		} else {
			v.M[s.name] = changed
		}
		return v, nil
	}
	v = clone(v, copied)
	if s.element {
		v.L = slices.Delete(v.L, s.index, s.index+1)
	} else {
		delete(v.M, s.name)
	}
	return v, nil
}

// fits reports whether the step can lead into v: a name into a map, an index into a list.
func (s step) fits(v *attribute.Value) bool {
	if s.element {
		return v.L != nil
	}
	return v.M != nil
}
