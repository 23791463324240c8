package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
)

// parameter is a {parameter} of a route's path.
var parameter = regexp.MustCompile(`\{([^{}]*)\}`)

// registration is where in this program a mux says that a pattern comes from.
var registration = regexp.MustCompile(` \(registered at [^)]*\)`)

// newMux makes the routing of requests to handle, which gets each with its route. What no route matches is
// answered as API Gateway does.
func newMux(routes []Route, handle func(http.ResponseWriter, *http.Request, *Route)) (*http.ServeMux, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", notFound)
	for _, route := range routes {
		if err := register(mux, &route, handle); err != nil {
			return nil, fmt.Errorf("%s: the route %s %s: %w", route.Function, route.Method, route.Path, err)
		}
	}
	return mux, nil
}

// register adds a route. A path that the mux does not take, or a second time, is an error.
func register(mux *http.ServeMux, route *Route, handle func(http.ResponseWriter, *http.Request, *Route)) (err error) {
	pattern := route.Path
	switch {
	case !strings.HasPrefix(pattern, "/"):
		return errors.New("the path must begin with a slash")
	case strings.Contains(pattern, "+}") || strings.Contains(pattern, "...}") || strings.Contains(pattern, "{$}"):
		return errors.New("greedy parameters are not supported by the local stack")
	case strings.HasSuffix(pattern, "/"):
		pattern += "{$}" // the path itself, and not what is below
	}
	if route.Method != "ANY" {
		pattern = route.Method + " " + pattern
	}
	defer func() {
		if refused := recover(); refused != nil {
			err = errors.New(registration.ReplaceAllString(fmt.Sprint(refused), ""))
		}
	}()
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && route.Method == http.MethodGet {
			notFound(w, r) // API Gateway does not take the one for the other, as the mux does
			return
		}
		handle(w, r, route)
	})
	return nil
}

// parameters are the values of the route's parameters in a request that was routed to it.
func (route *Route) parameters(r *http.Request) map[string]string {
	values := map[string]string{}
	for _, match := range parameter.FindAllStringSubmatch(route.Path, -1) {
		values[match[1]] = r.PathValue(match[1])
	}
	return values
}

// canonical reports whether the mux would route a path as it is, and not redirect to another.
func canonical(p string) bool {
	return p == path.Clean(p) || p == path.Clean(p)+"/"
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	writeMessage(w, http.StatusNotFound, "Not Found")
}
