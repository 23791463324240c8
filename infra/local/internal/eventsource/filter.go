package eventsource

import (
	"encoding/json"
	"fmt"
)

// Lambda's limits for filter criteria.
const (
	maxFilters = 10
	maxPattern = 4096 // characters
)

// filter is filter criteria: a record passes if it matches one of the patterns, or if there are none.
type filter []objectRule

// parseFilter reads patterns, each a JSON object. What Lambda would refuse, and what is not supported
// here, is an error.
func parseFilter(patterns []string) (filter, error) {
	if len(patterns) > maxFilters {
		return nil, fmt.Errorf("FilterCriteria: %d filters, at most %d are possible", len(patterns), maxFilters)
	}
	var f filter
	for i, p := range patterns {
		if len(p) > maxPattern {
			return nil, fmt.Errorf("FilterCriteria.Filters[%d]: longer than %d characters", i, maxPattern)
		}
		var value any
		if err := json.Unmarshal([]byte(p), &value); err != nil {
			return nil, fmt.Errorf("FilterCriteria.Filters[%d]: %w", i, err)
		}
		rule, err := parseObject("pattern", value)
		if err != nil {
			return nil, fmt.Errorf("FilterCriteria.Filters[%d]: %w", i, err)
		}
		f = append(f, rule)
	}
	return f, nil
}

// admits reports whether a stream record passes.
func (f filter) admits(record []byte) bool {
	if len(f) == 0 {
		return true
	}
	var v any
	if json.Unmarshal(record, &v) != nil {
		return false
	}
	for _, rule := range f {
		if rule.matches(v) {
			return true
		}
	}
	return false
}
