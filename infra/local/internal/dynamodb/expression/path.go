package expression

import (
	"slices"
	"strconv"
	"strings"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// Path is a document path. Its first step is always the name of an attribute.
type Path []step

type step struct {
	name    string
	index   int
	element bool // index counts, not name
}

// Root is the name of the attribute that the path begins with.
func (p Path) Root() string { return p[0].name }

// String shows the path as AWS's messages do: [a, b, [2]].
func (p Path) String() string {
	parts := make([]string, len(p))
	for i, s := range p {
		if parts[i] = s.name; s.element {
			parts[i] = "[" + strconv.Itoa(s.index) + "]"
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// get returns what the path leads to, or nil.
func (p Path) get(item attribute.Item) *attribute.Value {
	v := item[p.Root()]
	for _, s := range p[1:] {
		if v = s.of(v); v == nil {
			return nil
		}
	}
	return v
}

// of returns the member of a map or list that the step leads to, or nil.
func (s step) of(v *attribute.Value) *attribute.Value {
	switch {
	case v == nil:
		return nil
	case !s.element:
		return v.M[s.name]
	case s.index < len(v.L):
		return v.L[s.index]
	}
	return nil
}

// overlap checks that no path is or leads through another, and that none takes for a list what
// another takes for a map.
func (p *parser) overlap(paths []Path) error {
	for i, a := range paths {
		for _, b := range paths[i+1:] {
			same := 0
			for same < len(a) && same < len(b) && a[same] == b[same] {
				same++
			}
			switch {
			case same == len(a) || same == len(b):
				return p.errorf(
					"Two document paths overlap with each other; must remove or rewrite one of these paths; "+
						"path one: %s, path two: %s", a, b,
				)
			case a[same].element != b[same].element:
				return p.errorf(
					"Two document paths conflict with each other; must remove or rewrite one of these paths; "+
						"path one: %s, path two: %s", a, b,
				)
			}
		}
	}
	return nil
}

// Projection is a set of paths to return of an item.
type Projection struct {
	paths []Path
	whole bool // only attribute names: no need to take values apart
}

// ParseProjection parses a ProjectionExpression.
func ParseProjection(text string, placeholders *Placeholders) (*Projection, error) {
	p, err := newParser(ProjectionExpression, text, placeholders)
	if err != nil {
		return nil, err
	}
	var paths []Path
	for {
		path, err := p.path()
		if err != nil {
			return nil, err
		}
		if paths = append(paths, path); !p.accept(",") {
			break
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	if err := p.overlap(paths); err != nil {
		return nil, err
	}
	return newProjection(paths), nil
}

func newProjection(paths []Path) *Projection {
	whole := !slices.ContainsFunc(paths, func(p Path) bool { return len(p) > 1 })
	return &Projection{paths: paths, whole: whole}
}

// Roots returns the names of the attributes that the paths begin with.
func (p *Projection) Roots() []string { return roots(p.paths) }

func roots(paths []Path) []string {
	var names []string
	for _, path := range paths {
		if !slices.Contains(names, path.Root()) {
			names = append(names, path.Root())
		}
	}
	return names
}

// Apply returns an item with only what the projection names and the item has. It shares its values
// with the item. Chosen elements of a list follow each other, in their order.
func (p *Projection) Apply(item attribute.Item) attribute.Item {
	result := make(attribute.Item, len(p.paths))
	if p.whole {
		for _, path := range p.paths {
			if v := item[path.Root()]; v != nil {
				result[path.Root()] = v
			}
		}
		return result
	}
	for _, root := range p.Roots() {
		var rests []Path
		for _, path := range p.paths {
			if path.Root() == root {
				rests = append(rests, path[1:])
			}
		}
		if v := pick(item[root], rests); v != nil {
			result[root] = v
		}
	}
	return result
}

// pick returns of v only what the paths lead to, or nil if they lead to nothing.
func pick(v *attribute.Value, paths []Path) *attribute.Value {
	if v == nil || len(paths[0]) == 0 {
		return v
	}
	// The steps of different paths into the same member belong together.
	members := map[step][]Path{}
	for _, path := range paths {
		members[path[0]] = append(members[path[0]], path[1:])
	}
	result := &attribute.Value{}
	if paths[0][0].element {
		for i, element := range v.L {
			rests := members[step{index: i, element: true}]
			if rests == nil {
				continue
			}
			if chosen := pick(element, rests); chosen != nil {
				result.L = append(result.L, chosen)
			}
		}
		if result.L == nil {
			return nil
		}
		return result
	}
	for s, rests := range members {
		if chosen := pick(v.M[s.name], rests); chosen != nil {
			if result.M == nil {
				result.M = map[string]*attribute.Value{}
			}
			result.M[s.name] = chosen
		}
	}
	if result.M == nil {
		return nil
	}
	return result
}
