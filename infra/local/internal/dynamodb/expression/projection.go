package expression

import (
	"slices"

	"github.com/docuhook/docuhook/infra/local/internal/dynamodb/attribute"
)

// Projection is the names of the attributes to return of an item.
type Projection []string

// ParseProjection parses a ProjectionExpression.
func ParseProjection(text string, placeholders *Placeholders) (Projection, error) {
	p, err := newParser(ProjectionExpression, text, placeholders)
	if err != nil {
		return nil, err
	}
	var names Projection
	for {
		name, err := p.attribute()
		if err != nil {
			return nil, err
		}
		if names = append(names, name); !p.accept(",") {
			break
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return names, p.distinct(names)
}

// Apply returns an item with only what the projection names and the item has. It shares its values
// with the item.
func (p Projection) Apply(item attribute.Item) attribute.Item {
	result := make(attribute.Item, len(p))
	for _, name := range p {
		if v := item[name]; v != nil {
			result[name] = v
		}
	}
	return result
}

// distinct checks that no attribute is named twice.
func (p *parser) distinct(names []string) error {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return p.errorf(
				"Two document paths overlap with each other; must remove or rewrite one of these paths; "+
					"path one: [%s], path two: [%s]", name, name,
			)
		}
	}
	return nil
}
