package api

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/docuhook/docuhook/shared/jsonapi"
	"github.com/docuhook/docuhook/shared/webhook"
)

// The functions of this file return readers of values that attributes and query parameters share.

func readConfigID(target *string) func(string) error {
	return func(value string) error {
		*target = value
		if !webhook.ValidConfigID(value) {
			return jsonapi.Invalidf("invalid_id", "must be the id of a config")
		}
		return nil
	}
}

// readDocumentID refuses only what the contract can tell: it counts characters. An id of more bytes than
// MaxDocumentIDLength may exist, but no webhook was ever sent for it.
func readDocumentID(target *string) func(string) error {
	return func(value string) error {
		*target = value
		if value == "" || utf8.RuneCountInString(value) > webhook.MaxDocumentIDLength {
			return jsonapi.Invalidf("invalid_length", "must have 1 to %d characters", webhook.MaxDocumentIDLength)
		}
		return nil
	}
}

// readMoment reads a time. The limits keep it clear of what cannot be an event's time.
func readMoment(target *webhook.Time) func(string) error {
	return func(value string) error {
		t, err := webhook.ParseTime(value)
		if err != nil || value < "1970" || value >= "3000" {
			return jsonapi.Invalidf("invalid_time", "must be an RFC 3339 time between 1970 and 2999, such as 2026-01-31T12:00:00Z")
		}
		*target = t
		return nil
	}
}

// readMomentParameter reads a time from a query string, where a plus sign stands for a space.
func readMomentParameter(target *webhook.Time) func(string) error {
	return func(value string) error {
		err := readMoment(target)(value)
		if err != nil && readMoment(target)(strings.ReplaceAll(value, " ", "+")) == nil {
			return jsonapi.Invalidf("invalid_time", "must have the + of its zone percent-encoded, as %%2B")
		}
		return err
	}
}

// readBoolean reads a query parameter that is true or false.
func readBoolean(target **bool) func(string) error {
	return func(value string) error {
		if value != "true" && value != "false" {
			return jsonapi.Invalidf(jsonapi.CodeInvalidParameter, "must be true or false")
		}
		is := value == "true"
		*target = &is
		return nil
	}
}

// validated returns what Validate finds wrong with one attribute of c.
func validated(c *webhook.Config, policy webhook.URLPolicy, attribute string) error {
	problems := c.Validate(policy)
	return invalid(slices.DeleteFunc(problems, func(p webhook.Problem) bool {
		name, _, _ := strings.Cut(p.Attribute, "/")
		return name != attribute
	}))
}

// invalid returns the problems of one attribute.
func invalid(problems []webhook.Problem) error {
	var errs []error
	for _, problem := range problems {
		one := &jsonapi.Invalid{Code: problem.Code, Detail: problem.Detail}
		if _, element, found := strings.Cut(problem.Attribute, "/"); found {
			one.At = "/" + jsonapi.Escape(element)
		}
		errs = append(errs, one)
	}
	return errors.Join(errs...)
}

// oneOf lists values as people do: a, b or c.
func oneOf[T ~string](values []T) string {
	var names []string
	for _, value := range values {
		names = append(names, string(value))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
