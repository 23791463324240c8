package template

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// readParameters gives every parameter its value: the override or the default, validated as
// CloudFormation does before it touches anything.
func (r *reader) readParameters(section *node) {
	declared := map[string]bool{}
	if section != nil {
		for _, f := range section.fields {
			declared[f.name] = true
			r.readParameter(f.name, r.object(f.value, "Parameters", f.name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.options.Parameters)) {
		if !declared[name] {
			r.problem(0, "parameter "+name, "the template has no such parameter")
		}
	}
}

func (r *reader) readParameter(name string, o *object) {
	o.ignore("it is text for people", "Description")
	o.ignore("parameters are not shown here", "NoEcho")
	kind := o.text("Type", "")
	value, given := r.options.Parameters[name]
	if fallback := o.text("Default", ""); !given {
		value, given = fallback, o.has("Default")
	}
	allowed := o.texts("AllowedValues")
	pattern := o.text("AllowedPattern", "")
	constraint := o.text("ConstraintDescription", "")
	lowest, highest := o.number("MinValue", math.Inf(-1)), o.number("MaxValue", math.Inf(1))
	o.done()

	fail := func(format string, args ...any) {
		if constraint != "" {
			format += " (%s)"
			args = append(args, constraint)
		}
		r.problem(o.line(""), "parameter "+name, format, args...)
	}
	if !given {
		fail("has no default and must be given")
		return
	}
	if kind != "String" && kind != "Number" {
		o.fail("Type", "%q is not supported by the local stack", kind)
		return
	}
	var matches *regexp.Regexp
	if pattern != "" {
		compiled, err := regexp.Compile(`^(?:` + pattern + `)$`)
		if err != nil {
			o.fail("AllowedPattern", "is not a regular expression that Go knows: %v", err)
			return
		}
		matches = compiled
	}
	r.parameters[name] = textNode(o.line(""), value)
	number, err := strconv.ParseFloat(value, 64)
	switch {
	case kind == "Number" && err != nil:
		fail("must be a number, got %q", value)
	case err == nil && (number < lowest || number > highest):
		fail("must be between %v and %v, got %s", lowest, highest, value)
	case len(allowed) > 0 && !slices.Contains(allowed, value):
		fail("must be one of %s, got %q", strings.Join(allowed, ", "), value)
	case matches != nil && !matches.MatchString(value):
		fail("must match %s, got %q", pattern, value)
	}
}

// number returns a number of any size, or fallback where the member is absent.
func (o *object) number(member string, fallback float64) float64 {
	if !o.has(member) {
		o.known[member] = true
		return fallback
	}
	value, err := strconv.ParseFloat(o.text(member, ""), 64)
	if err != nil {
		o.fail(member, "must be a number")
		return fallback
	}
	return value
}

func (r *reader) parameterTexts() map[string]string {
	result := map[string]string{}
	for name, value := range r.parameters {
		result[name] = value.text
	}
	return result
}

// assertRules evaluates the Rules section: what parameters must be like together.
func (r *reader) assertRules(section *node) {
	if section == nil {
		return
	}
	for _, f := range section.fields {
		o := r.object(f.value, "Rules", f.name)
		applies := true
		if condition := o.raw("RuleCondition"); condition != nil {
			applies = r.evalCondition(condition, o.name("RuleCondition"))
		}
		for _, assertion := range o.list("Assertions") {
			statement := assertion.raw("Assert")
			description := assertion.text("AssertDescription", "the assertion does not hold")
			assertion.done()
			if statement == nil {
				assertion.fail("Assert", "is required")
			} else if !r.evalCondition(statement, assertion.name("Assert")) && applies {
				r.problem(assertion.line(""), o.name(""), "%s", description)
			}
		}
		o.done()
	}
}
