package eventsource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Lambda's limits for filter criteria.
const (
	maxFilters = 10
	maxPattern = 4096 // characters
)

// filter is filter criteria: an event passes if it matches one of the patterns, or if there are none.
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
		value, err := decode([]byte(p))
		if err != nil {
			return nil, fmt.Errorf("FilterCriteria.Filters[%d]: %w", i, err)
		}
		rule, err := parseObject("", value)
		if err != nil {
			return nil, fmt.Errorf("FilterCriteria.Filters[%d]: %w", i, err)
		}
		f = append(f, rule)
	}
	return f, nil
}

// decode decodes one JSON value and keeps numbers as they are written.
func decode(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

// admitsRecord reports whether a stream record passes.
func (f filter) admitsRecord(record []byte) bool {
	if len(f) == 0 {
		return true
	}
	v, err := decode(record)
	return err == nil && f.matches(v)
}

// admitsMessage reports whether an SQS record passes. If its body is a JSON object, patterns for body look into that
// object; else they see a text. A pattern of the one kind matches no body of the other.
func (f filter) admitsMessage(record []byte) bool {
	if len(f) == 0 {
		return true
	}
	v, err := decode(record)
	if err != nil {
		return false
	}
	if message, ok := v.(map[string]any); ok {
		if text, ok := message["body"].(string); ok {
			if body, err := decode([]byte(text)); err == nil {
				if object, ok := body.(map[string]any); ok {
					message["body"] = object
				}
			}
		}
	}
	return f.matches(v)
}

func (f filter) matches(v any) bool {
	for _, rule := range f {
		if rule.matches(v) {
			return true
		}
	}
	return false
}
