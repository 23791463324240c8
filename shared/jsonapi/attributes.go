package jsonapi

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Attribute describes one attribute that a request may have. Exactly one of Text, Texts, Bool and
// Integer is set; it is called with the value if it has the right type.
type Attribute struct {
	Required bool
	ReadOnly bool // known, but not to be set by a request
	Text     func(string)
	Texts    func([]string)
	Bool     func(bool)
	Integer  func(int64) // 1.0 and 1e3 are integers too; what is out of range comes as the nearest int64
}

// Read hands the attributes to schema and returns all problems: attributes that are unknown, read-only,
// of the wrong type or missing. The order is that of the names, missing ones last.
func (r *Request) Read(schema map[string]Attribute) Errors {
	var problems Errors
	for _, name := range slices.Sorted(maps.Keys(r.Attributes)) {
		pointer := "/data/attributes/" + escape(name)
		attribute, known := schema[name]
		switch {
		case strings.HasPrefix(name, "@"):
			// JSON:API: @-members are ignored.
		case !known:
			problems = append(problems, NewError(422, CodeUnknownAttribute, "there is no such attribute").AtPointer(pointer)...)
		case attribute.ReadOnly:
			problems = append(problems, NewError(422, CodeReadOnly, "%s cannot be set", name).AtPointer(pointer)...)
		default:
			problems = append(problems, attribute.read(name, r.Attributes[name], pointer)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(schema)) {
		if _, present := r.Attributes[name]; schema[name].Required && !present {
			problems = append(problems, NewError(422, CodeRequired, "%s is required", name).AtPointer(r.Pointer)...)
		}
	}
	return problems
}

func (a Attribute) read(name string, raw json.RawMessage, pointer string) Errors {
	wrong := func(want string) Errors {
		return NewError(422, CodeInvalidType, "%s must be %s", name, want).AtPointer(pointer)
	}
	switch {
	case a.Text != nil:
		var value *string
		if json.Unmarshal(raw, &value) != nil || value == nil {
			return wrong("a string")
		}
		a.Text(*value)
	case a.Bool != nil:
		var value *bool
		if json.Unmarshal(raw, &value) != nil || value == nil {
			return wrong("true or false")
		}
		a.Bool(*value)
	case a.Integer != nil:
		value, ok := integer(string(raw))
		if !ok {
			return wrong("an integer")
		}
		a.Integer(value)
	case a.Texts != nil:
		var values []*string
		if json.Unmarshal(raw, &values) != nil || values == nil || slices.Contains(values, nil) {
			return wrong("a list of strings")
		}
		texts := make([]string, len(values))
		for i, value := range values {
			texts[i] = *value
		}
		a.Texts(texts)
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

// escape writes a name as a reference token of a JSON Pointer (RFC 6901, section 3).
func escape(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
