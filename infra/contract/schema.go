package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// schema is a JSON Schema (2020-12), as far as the contract needs it. A keyword that it does not
// know is an error when the contract is loaded, so that nothing is silently left unchecked.
type schema struct {
	at    string // where it is in the document
	never bool   // the schema false

	also       []*schema // $ref and allOf
	one        []*schema // oneOf
	types      []string
	constant   *json.RawMessage
	enum       []json.RawMessage
	pattern    *regexp.Regexp
	dateTime   bool
	minLength  *int
	maxLength  *int
	minimum    *float64
	maximum    *float64
	minItems   *int
	maxItems   *int
	unique     bool
	items      *schema
	required   []string
	properties map[string]*schema
	patterns   map[*regexp.Regexp]*schema
	// Without closed, other properties may be there. additionalProperties sees the properties of
	// this schema alone, unevaluatedProperties also those of $ref and allOf.
	closed, closedOverAll bool
}

// keywords is how a schema is written.
type keywords struct {
	Ref         string `json:"$ref"`
	Title       string `json:"title"`
	Description string `json:"description"`

	Default  json.RawMessage   `json:"default"`
	Examples []json.RawMessage `json:"examples"`

	AllOf []json.RawMessage `json:"allOf"`
	OneOf []json.RawMessage `json:"oneOf"`

	Type    json.RawMessage   `json:"type"`
	Const   *json.RawMessage  `json:"const"`
	Enum    []json.RawMessage `json:"enum"`
	Format  string            `json:"format"`
	Pattern string            `json:"pattern"`

	MinLength *int     `json:"minLength"`
	MaxLength *int     `json:"maxLength"`
	Minimum   *float64 `json:"minimum"`
	Maximum   *float64 `json:"maximum"`

	MinItems    *int            `json:"minItems"`
	MaxItems    *int            `json:"maxItems"`
	UniqueItems bool            `json:"uniqueItems"`
	Items       json.RawMessage `json:"items"`

	Required              []string                   `json:"required"`
	Properties            map[string]json.RawMessage `json:"properties"`
	PatternProperties     map[string]json.RawMessage `json:"patternProperties"`
	AdditionalProperties  *bool                      `json:"additionalProperties"`
	UnevaluatedProperties *bool                      `json:"unevaluatedProperties"`
}

// schema compiles a schema of the document. Referenced ones are compiled once.
func (l *loader) schema(raw json.RawMessage, at string) (*schema, error) {
	var always bool
	if json.Unmarshal(raw, &always) == nil {
		return &schema{at: at, never: !always}, nil
	}
	var k keywords
	if err := strictly(raw, &k); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	s := &schema{
		at: at, constant: k.Const, enum: k.Enum, minLength: k.MinLength, maxLength: k.MaxLength, minimum: k.Minimum, maximum: k.Maximum,
		minItems: k.MinItems, maxItems: k.MaxItems, unique: k.UniqueItems, required: k.Required,
		properties: map[string]*schema{}, patterns: map[*regexp.Regexp]*schema{},
	}
	for _, example := range append(k.Examples, k.Default) {
		if example != nil {
			l.examples = append(l.examples, sample{at, s, example})
		}
	}
	if err := errors.Join(l.scalars(s, &k), l.applicators(s, &k)); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return s, nil
}

// scalars reads the keywords that hold no schemas.
func (l *loader) scalars(s *schema, k *keywords) (err error) {
	if k.Type != nil {
		var single string
		if json.Unmarshal(k.Type, &single) == nil {
			s.types = []string{single}
		} else if err := json.Unmarshal(k.Type, &s.types); err != nil {
			return fmt.Errorf("type: %w", err)
		}
		for _, name := range s.types {
			if !slices.Contains([]string{"object", "array", "string", "integer", "boolean", "null"}, name) {
				return fmt.Errorf("the type %q is not supported", name)
			}
		}
	}
	switch k.Format {
	case "":
	case "date-time":
		s.dateTime = true
	default:
		return fmt.Errorf("the format %q is not supported", k.Format)
	}
	if k.Pattern != "" {
		if s.pattern, err = regexp.Compile(k.Pattern); err != nil {
			return fmt.Errorf("pattern: %w", err)
		}
	}
	for _, open := range []*bool{k.AdditionalProperties, k.UnevaluatedProperties} {
		if open != nil && *open {
			return errors.New("additionalProperties and unevaluatedProperties can only be false")
		}
	}
	s.closed, s.closedOverAll = k.AdditionalProperties != nil, k.UnevaluatedProperties != nil
	return nil
}

// applicators reads the keywords that hold schemas.
func (l *loader) applicators(s *schema, k *keywords) (err error) {
	if k.Ref != "" {
		referenced, err := l.reference(k.Ref)
		if err != nil {
			return err
		}
		s.also = append(s.also, referenced)
	}
	if k.Items != nil {
		if s.items, err = l.schema(k.Items, s.at+"/items"); err != nil {
			return err
		}
	}
	for keyword, target := range map[string]*[]*schema{"allOf": &s.also, "oneOf": &s.one} {
		list := k.AllOf
		if keyword == "oneOf" {
			list = k.OneOf
		}
		for i, raw := range list {
			one, err := l.schema(raw, fmt.Sprintf("%s/%s/%d", s.at, keyword, i))
			if err != nil {
				return err
			}
			*target = append(*target, one)
		}
	}
	for name, raw := range k.Properties {
		if s.properties[name], err = l.schema(raw, s.at+"/properties/"+name); err != nil {
			return err
		}
	}
	for pattern, raw := range k.PatternProperties {
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			return fmt.Errorf("patternProperties: %w", err)
		}
		if s.patterns[compiled], err = l.schema(raw, s.at+"/patternProperties/"+pattern); err != nil {
			return err
		}
	}
	return nil
}

// reference returns a schema of the components, which must be there.
func (l *loader) reference(ref string) (*schema, error) {
	if known, ok := l.schemas[ref]; ok {
		if known == nil {
			return nil, fmt.Errorf("%s refers to itself", ref)
		}
		return known, nil
	}
	l.schemas[ref] = nil
	raw, err := l.resolve(ref)
	if err != nil {
		return nil, err
	}
	s, err := l.schema(raw, ref)
	if err != nil {
		return nil, err
	}
	l.schemas[ref] = s
	return s, nil
}

// problem says what is wrong with a value and where.
func (s *schema) problem(at, format string, args ...any) error {
	if at == "" {
		at = "the value"
	}
	return fmt.Errorf("%s %s (%s)", at, fmt.Sprintf(format, args...), s.at)
}

// check returns what is wrong with value, which was decoded with numbers as json.Number.
func (s *schema) check(value any, at string) error {
	if s.never {
		return s.problem(at, "must not be there")
	}
	if err := errors.Join(s.checkAny(value, at), s.checkSchemas(value, at)); err != nil {
		return err
	}
	switch v := value.(type) {
	case string:
		return s.checkString(v, at)
	case json.Number:
		return s.checkNumber(v, at)
	case []any:
		return s.checkArray(v, at)
	case map[string]any:
		return s.checkObject(v, at)
	}
	return nil
}

func (s *schema) checkAny(value any, at string) error {
	if s.types != nil && !slices.ContainsFunc(s.types, func(name string) bool { return is(name, value) }) {
		return s.problem(at, "must be of type %s", strings.Join(s.types, " or "))
	}
	if s.constant != nil && !equal(value, *s.constant) {
		return s.problem(at, "must be %s", *s.constant)
	}
	if s.enum != nil && !slices.ContainsFunc(s.enum, func(raw json.RawMessage) bool { return equal(value, raw) }) {
		return s.problem(at, "must be one of %s", s.enum)
	}
	return nil
}

func (s *schema) checkSchemas(value any, at string) error {
	for _, one := range s.also {
		if err := one.check(value, at); err != nil {
			return err
		}
	}
	var problems []error
	for _, one := range s.one {
		if err := one.check(value, at); err != nil {
			problems = append(problems, err)
		}
	}
	if matched := len(s.one) - len(problems); len(s.one) > 0 && matched != 1 {
		return s.problem(at, "must match one of %d schemas, not %d: %v", len(s.one), matched, errors.Join(problems...))
	}
	return nil
}

func (s *schema) checkString(value, at string) error {
	length := utf8.RuneCountInString(value)
	switch {
	case s.minLength != nil && length < *s.minLength:
		return s.problem(at, "must have at least %d characters", *s.minLength)
	case s.maxLength != nil && length > *s.maxLength:
		return s.problem(at, "must have at most %d characters", *s.maxLength)
	case s.pattern != nil && !s.pattern.MatchString(value):
		return s.problem(at, "must match %s", s.pattern)
	}
	if _, err := time.Parse(time.RFC3339Nano, value); s.dateTime && err != nil {
		return s.problem(at, "must be an RFC 3339 time")
	}
	return nil
}

func (s *schema) checkNumber(value json.Number, at string) error {
	n, _ := strconv.ParseFloat(value.String(), 64) // beyond its range it is infinite, which will do
	switch {
	case s.minimum != nil && n < *s.minimum:
		return s.problem(at, "must be at least %v", *s.minimum)
	case s.maximum != nil && n > *s.maximum:
		return s.problem(at, "must be at most %v", *s.maximum)
	}
	return nil
}

func (s *schema) checkArray(values []any, at string) error {
	switch {
	case s.minItems != nil && len(values) < *s.minItems:
		return s.problem(at, "must have at least %d items", *s.minItems)
	case s.maxItems != nil && len(values) > *s.maxItems:
		return s.problem(at, "must have at most %d items", *s.maxItems)
	}
	seen := map[string]bool{}
	for i, value := range values {
		if text, err := json.Marshal(value); s.unique && (err != nil || seen[string(text)]) {
			return s.problem(at, "must not have an item twice")
		} else {
			seen[string(text)] = true
		}
		if s.items != nil {
			if err := s.items.check(value, fmt.Sprintf("%s/%d", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *schema) checkObject(object map[string]any, at string) error {
	for _, name := range s.required {
		if _, ok := object[name]; !ok {
			return s.problem(at, "must have the member %q", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		for _, one := range s.own(name) {
			if err := one.check(object[name], at+"/"+name); err != nil {
				return err
			}
		}
		if s.closed && len(s.own(name)) == 0 || s.closedOverAll && !s.knows(name) {
			return s.problem(at, "must not have the member %q", name)
		}
	}
	return nil
}

// own returns the schemas that s itself has for a property.
func (s *schema) own(name string) []*schema {
	var found []*schema
	if one, ok := s.properties[name]; ok {
		found = append(found, one)
	}
	for pattern, one := range s.patterns {
		if pattern.MatchString(name) {
			found = append(found, one)
		}
	}
	return found
}

// knows reports whether s, or a schema that it includes, has a property.
func (s *schema) knows(name string) bool {
	return len(s.own(name)) > 0 || slices.ContainsFunc(s.also, func(one *schema) bool { return one.knows(name) })
}

func is(name string, value any) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	case json.Number:
		n, _ := strconv.ParseFloat(v.String(), 64)
		return name == "integer" && n == math.Trunc(n)
	}
	return false
}

// equal compares a value with a scalar of the contract.
func equal(value any, raw json.RawMessage) bool {
	text, err := json.Marshal(value)
	return err == nil && bytes.Equal(text, raw)
}
