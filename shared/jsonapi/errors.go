package jsonapi

import (
	"errors"
	"fmt"
	"strings"
)

// Source says what in the request caused an error. At most one field is set.
type Source struct {
	Pointer   *string `json:"pointer,omitempty"`
	Parameter string  `json:"parameter,omitempty"`
	Header    string  `json:"header,omitempty"`
}

// Error is an error object.
type Error struct {
	ID     string  `json:"id"`
	Status int     `json:"status,string"`
	Code   string  `json:"code"`
	Title  string  `json:"title"`
	Detail string  `json:"detail,omitempty"`
	Source *Source `json:"source,omitempty"`
}

// Errors are all errors of one request, which may differ in their status.
type Errors []Error

// Error implements error.
func (e Errors) Error() string {
	var texts []string
	for _, one := range e {
		texts = append(texts, one.Code+": "+one.Detail)
	}
	return strings.Join(texts, "; ")
}

// Status returns the status of the answer: that of the errors if they agree, else 400, which fits
// several different mistakes of a client (https://jsonapi.org/format/1.1/#errors-processing).
func (e Errors) Status() int {
	for _, one := range e {
		if one.Status != e[0].Status {
			return 400
		}
	}
	return e[0].Status
}

// Join returns all problems of a request as one error, nil if there are none. An error that is not
// Errors is no problem of the request, and is returned alone.
func Join(errs ...error) error {
	var all Errors
	for _, err := range errs {
		var problems Errors
		switch {
		case errors.As(err, &problems):
			all = append(all, problems...)
		case err != nil:
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// NewError returns a single error. Its title is the status text of code.
func NewError(status int, code, format string, args ...any) Errors {
	return Errors{{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}}
}

// AtPointer sets the JSON Pointer (RFC 6901) that caused the errors. "" is the whole document.
func (e Errors) AtPointer(pointer string) Errors {
	for i := range e {
		e[i].Source = &Source{Pointer: &pointer}
	}
	return e
}

// AtParameter sets the query parameter that caused the errors.
func (e Errors) AtParameter(name string) Errors {
	for i := range e {
		e[i].Source = &Source{Parameter: name}
	}
	return e
}

// AtHeader sets the header that caused the errors.
func (e Errors) AtHeader(name string) Errors {
	for i := range e {
		e[i].Source = &Source{Header: name}
	}
	return e
}

// Invalid says what is wrong with the value of an attribute or a query parameter. It knows neither
// the name nor the place of the value: Request and Query add them.
type Invalid struct {
	At     string // which element of the value it is about, as the end of a JSON Pointer: "/1"; "" for all of it
	Code   string // stable, for programs; a query parameter's is always CodeInvalidParameter
	Detail string // for people; goes on after the name: "must be …"
}

// Error implements error.
func (i *Invalid) Error() string { return i.Detail }

// Invalidf returns an Invalid about a whole value.
func Invalidf(code, format string, args ...any) error {
	return &Invalid{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// invalids returns every Invalid that a reader's error is made of; errors.Join makes one of several.
// other is an error that is not an Invalid, so that the fault is not the client's.
func invalids(err error) (all []*Invalid, other error) {
	if err == nil {
		return nil, nil
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range several.Unwrap() {
			found, other := invalids(one)
			if other != nil {
				return nil, other
			}
			all = append(all, found...)
		}
		return all, nil
	}
	var one *Invalid
	if !errors.As(err, &one) {
		return nil, err
	}
	return []*Invalid{one}, nil
}
