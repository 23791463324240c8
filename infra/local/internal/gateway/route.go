package gateway

import (
	"fmt"
	"net/url"
	"strings"
)

// routes finds the route of a request. A fixed segment is preferred to a parameter, from left to
// right, and a route's own method to ANY.
type routes struct {
	root *branch
}

// branch is the set of routes that share their first segments.
type branch struct {
	fixed     map[string]*branch
	parameter *branch
	methods   map[string]*Route // routes that end here
}

func newRoutes(list []Route, fallback *Throttle) (*routes, error) {
	root := &branch{}
	for _, route := range list {
		if route.Timeout == 0 {
			route.Timeout = DefaultTimeout
		}
		if route.Throttle == nil {
			route.Throttle = fallback
		}
		if err := root.insert(&route); err != nil {
			return nil, fmt.Errorf("%s: the route %s %s: %w", route.Function, route.Method, route.Path, err)
		}
	}
	return &routes{root: root}, nil
}

func (b *branch) insert(route *Route) error {
	rest, ok := strings.CutPrefix(route.Path, "/")
	if !ok {
		return fmt.Errorf("the path must begin with a slash")
	}
	seen := map[string]bool{}
	for segment := range strings.SplitSeq(rest, "/") {
		name, isParameter, err := parameterName(segment)
		if err != nil {
			return err
		}
		if isParameter {
			if seen[name] {
				return fmt.Errorf("the parameter {%s} is there twice", name)
			}
			seen[name] = true
			if b.parameter == nil {
				b.parameter = &branch{}
			}
			b = b.parameter
			continue
		}
		if b.fixed == nil {
			b.fixed = map[string]*branch{}
		}
		if b.fixed[segment] == nil {
			b.fixed[segment] = &branch{}
		}
		b = b.fixed[segment]
	}
	if b.methods[route.Method] != nil {
		return fmt.Errorf("there is such a route already")
	}
	if b.methods == nil {
		b.methods = map[string]*Route{}
	}
	b.methods[route.Method] = route
	return nil
}

func parameterName(segment string) (name string, isParameter bool, err error) {
	inner, opened := strings.CutPrefix(segment, "{")
	name, closed := strings.CutSuffix(inner, "}")
	switch {
	case opened && closed && strings.HasSuffix(name, "+"):
		return "", false, fmt.Errorf("the greedy parameter %s is not supported", segment)
	case opened && closed && name != "" && !strings.ContainsAny(name, "{}"):
		return name, true, nil
	case strings.ContainsAny(segment, "{}"):
		return "", false, fmt.Errorf("%q is neither a fixed segment nor a parameter", segment)
	}
	return segment, false, nil
}

// find returns the route of a request and its decoded path parameters, or nil. The path is split
// before it is decoded, so that an encoded slash stays within its segment.
func (r *routes) find(method string, u *url.URL) (*Route, map[string]string) {
	segments := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	values := make([]string, len(segments))
	for i, segment := range segments {
		value, err := url.PathUnescape(segment)
		if err != nil {
			return nil, nil
		}
		values[i] = value
	}
	route := r.root.find(method, values)
	if route == nil {
		return nil, nil
	}
	parameters := map[string]string{}
	i := 0
	for segment := range strings.SplitSeq(strings.TrimPrefix(route.Path, "/"), "/") {
		if name, isParameter, _ := parameterName(segment); isParameter {
			parameters[name] = values[i]
		}
		i++
	}
	return route, parameters
}

func (b *branch) find(method string, segments []string) *Route {
	if b == nil {
		return nil
	}
	if len(segments) == 0 {
		if route := b.methods[method]; route != nil {
			return route
		}
		return b.methods["ANY"]
	}
	if route := b.fixed[segments[0]].find(method, segments[1:]); route != nil {
		return route
	}
	if segments[0] == "" {
		return nil // a parameter is never empty
	}
	return b.parameter.find(method, segments[1:])
}
