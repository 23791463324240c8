package webhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of a config's custom headers.
const (
	MaxCustomHeaders      = 10
	MaxCustomHeaderName   = 64   // characters
	MaxCustomHeaderValue  = 1024 // bytes
	maxCustomHeadersTotal = 4096 // bytes, of all names and values: every attempt reads them
)

// CheckCustomHeaders returns every reason why custom headers are not acceptable, in the order of their names.
// No problem quotes a value.
func CheckCustomHeaders(headers map[string]string) []Problem {
	var problems []Problem
	add := func(name, code, format string, args ...any) {
		problems = append(problems, Problem{Attribute: "custom_headers" + name, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	if len(headers) > MaxCustomHeaders {
		add("", "too_many", "must be at most %d", MaxCustomHeaders)
		return problems // a request has room for thousands
	}
	total := 0
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, folded := headers[name], foldHeader(name)
		total += len(name) + len(value)
		switch {
		case name == "" || len(name) > MaxCustomHeaderName || strings.ContainsFunc(name, notToken):
			add("/"+name, "invalid_name", "must have a name of 1 to %d letters, digits and characters of !#$%%&'*+-.^_`|~",
				MaxCustomHeaderName)
		case reserved(folded):
			add("/"+name, "reserved_name", "is a header of Docuhook, of HTTP itself or of Standard Webhooks")
		case seen[folded]:
			add("/"+name, "duplicate_name", "is named twice; upper and lower case are the same, and so are all but letters and digits")
		case value == "" || len(value) > MaxCustomHeaderValue, strings.TrimSpace(value) != value, strings.ContainsFunc(value, notVisible):
			add("/"+name, "invalid_value", "must have a value of 1 to %d visible ASCII characters, with spaces and tabs only between them",
				MaxCustomHeaderValue)
		}
		seen[folded] = true
	}
	if total > maxCustomHeadersTotal {
		add("", "headers_too_large", "must have at most %d bytes of names and values together", maxCustomHeadersTotal)
	}
	return problems
}

// notToken reports whether a header's name cannot have a character.
//
// Source: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
func notToken(r rune) bool {
	return !strings.ContainsRune("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", r)
}

func notVisible(r rune) bool { return (r < ' ' && r != '\t') || r > '~' }

// foldHeader returns what the names of headers have in common that one of the interfaces between servers and
// applications may take for the same: CGI and its kin make WEBHOOK_ID of both webhook-id and Webhook_Id.
//
// Source: https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18
func foldHeader(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 'a' && (r < '0' || r > '9') || r > 'z' {
			return '-'
		}
		return r
	}, strings.ToLower(name))
}

// reserved reports whether a header, by its folded name, is one that a request has anyway, or that says how HTTP
// takes it: the length and coding of a body, the connection, conditions, and what proxies do.
func reserved(folded string) bool {
	for _, prefix := range []string{"webhook-", "x-webhook-", "accept-", "content-", "proxy-", "if-", "sec-"} {
		if strings.HasPrefix(folded, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"accept", "connection", "date", "expect", "forwarded", "host", "http2-settings", "idempotency-key", "keep-alive",
		"max-forwards", "range", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via",
	}, folded)
}
