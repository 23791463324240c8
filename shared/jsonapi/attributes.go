package jsonapi

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Attribute describes one attribute that a request may have: either it is read-only, or exactly one of
// Text, Texts, TextMap, Bool and Integer is its reader. A reader is called with the value if that has the right
// type, and returns an Invalid, or several joined by errors.Join, if it is wrong all the same. Any
// other error is not the client's fault.
type Attribute struct {
	Required bool
	Unless   string // another attribute; beside it this one is not required
	NotWith  string // another attribute; beside it this one is refused, so not required either

	// ReadOnly attributes are shown and cannot be set. A request may repeat the value that one has, so
	// that what was read can be sent back.
	ReadOnly bool
	Value    json.RawMessage // of a read-only attribute; nil if it has none that could be repeated

	Text    func(string) error
	Texts   func([]string) error
	TextMap func(map[string]string) error
	Bool    func(bool) error
	Integer func(int64) error // 1.0 and 1e3 are integers too; what is out of range comes as the nearest int64
}

func (a Attribute) read(raw json.RawMessage) error {
	switch {
	case a.ReadOnly && a.Value == nil:
		return Invalidf(CodeReadOnly, "cannot be set")
	case a.ReadOnly:
		return repeats(raw, a.Value)
	case a.Text != nil:
		return readAs("a string", raw, a.Text)
	case a.TextMap != nil:
		var texts map[string]*string
		if json.Unmarshal(raw, &texts) != nil || texts == nil || slices.Contains(slices.Collect(maps.Values(texts)), nil) {
			return Invalidf(CodeInvalidType, "must be an object of strings")
		}
		return readAs("an object of strings", raw, a.TextMap)
	case a.Bool != nil:
		return readAs("true or false", raw, a.Bool)
	case a.Integer != nil:
		value, ok := integer(string(raw))
		if !ok {
			return Invalidf(CodeInvalidType, "must be an integer")
		}
		return a.Integer(value)
	}
	var texts []*string
	if json.Unmarshal(raw, &texts) != nil || texts == nil || slices.Contains(texts, nil) {
		return Invalidf(CodeInvalidType, "must be a list of strings")
	}
	return readAs("a list of strings", raw, a.Texts)
}

// readAs calls a reader with a value of its type; what names the type.
func readAs[T any](what string, raw json.RawMessage, reader func(T) error) error {
	var value *T
	if json.Unmarshal(raw, &value) != nil || value == nil {
		return Invalidf(CodeInvalidType, "must be %s", what)
	}
	return reader(*value)
}

// repeats refuses a value that is not the one that a read-only attribute has.
func repeats(raw, has json.RawMessage) error {
	var got, want any
	if json.Unmarshal(raw, &got) != nil || json.Unmarshal(has, &want) != nil || !reflect.DeepEqual(got, want) {
		return Invalidf(CodeReadOnly, "cannot be changed; it may be left out, or be as it was read")
	}
	return nil
}

// integer reads a JSON number that has no fraction.
func integer(raw string) (n int64, ok bool) {
	if strings.Trim(raw, "+-.eE0123456789") != "" {
		return 0, false // not a number at all; ParseFloat would also take infinity
	}
	if n, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(raw, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), f != math.Trunc(f):
		return 0, false
	case f >= math.MaxInt64:
		return math.MaxInt64, true
	case f <= math.MinInt64:
		return math.MinInt64, true
	}
	return int64(f), true
}
