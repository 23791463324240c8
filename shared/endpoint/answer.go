package endpoint

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/docuhook/docuhook/shared/signature"
)

// judge reads an answer and says in result what it means.
func (c *Client) judge(answer *http.Response, r Request, result *Result) {
	status := answer.StatusCode
	if status < 100 {
		result.Code, result.Error = CodeProtocolError, fmt.Sprintf("the endpoint answered %03d, which is no status", status)
		return
	}
	result.Status = status
	var body []byte
	var err error
	if status != http.StatusSwitchingProtocols {
		// After 101 the body is the connection itself, which no deadline ends.
		body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	}
	switch {
	case status >= 200 && status <= 299:
		if isTimeout(err) {
			result.Code, result.Error = CodeBodyTooSlow, "the answer did not end in time"
		} else if err != nil {
			result.Code, result.Error = CodeAnswerTruncated, "the connection ended within the answer"
		}
		return
	case status >= 300 && status <= 399:
		result.Code, result.Error = CodeRedirect, "redirects are not followed"
		if target := target(answer); target != "" && !c.omitAnswers {
			result.Error += "; this one leads to " + target
		}
	default:
		result.Code, result.Error = CodeHTTPStatus, fmt.Sprintf("the endpoint answered %d", status)
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		result.RetryAfter = retryAfter(answer.Header, c.now())
	}
	if isText(answer.Header, body) && !c.omitAnswers {
		result.Snippet = redact(strings.ToValidUTF8(string(body), "\uFFFD"), r, maxSnippet)
	}
}

// target returns where a redirect leads: scheme, host and path alone, since a query may hold secrets. It is ""
// for an answer that does not say.
func target(answer *http.Response) string {
	location, err := answer.Location() // absolute, if it was relative to the URL of the request
	if err != nil || location.Host == "" {
		return ""
	}
	bare := url.URL{Scheme: location.Scheme, Host: location.Host, Path: location.Path, RawPath: location.RawPath}
	return strings.ToValidUTF8(bare.String(), "\uFFFD")
}

// isText reports whether people can read an answer's body: it is not compressed, and has none of the bytes that
// the rules for telling text from other data take for a sign of the latter.
//
// Source: https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type
func isText(header http.Header, body []byte) bool {
	encoding := strings.TrimSpace(header.Get("Content-Encoding"))
	if encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	kind := http.DetectContentType(body)
	return strings.HasPrefix(kind, "text/") && !strings.Contains(kind, "utf-16")
}

// minRedacted is the length from which on the value of a custom header is redacted wherever it stands. A shorter one, such
// as "eu", is in every other word and can be no secret; it is redacted after the header's name.
const minRedacted = 4

// redacted stands in the place of a secret.
var redacted = signature.Secret("").String()

// redact returns at most limit bytes of what an endpoint sent back, without the credentials, custom headers included.
func redact(s string, r Request, limit int) string {
	if s == "" {
		return ""
	}
	var secrets []string
	var short []*regexp.Regexp
	for _, credentials := range []*signature.Credentials{&r.Current, r.Previous} {
		if credentials == nil {
			continue
		}
		for _, secret := range []signature.Secret{credentials.Token, credentials.Secret} {
			_, bare, _ := strings.Cut(secret.Reveal(), "_") // as some receivers keep it
			secrets = append(secrets, secret.Reveal(), bare)
		}
		for name, value := range credentials.Headers {
			if len(value) < minRedacted {
				short = append(short, afterName(name, value.Reveal()))
				continue
			}
			secrets = append(secrets, value.Reveal())
			if scheme, rest, found := strings.Cut(value.Reveal(), " "); found && strings.Trim(scheme, letters) == "" {
				secrets = append(secrets, strings.TrimSpace(rest)) // of "Bearer …", which some receivers take apart
			}
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	for _, secret := range secrets {
		if len(secret) < minRedacted {
			continue
		}
		for _, text := range spellings(secret) {
			s = strings.ReplaceAll(s, text, redacted)
		}
	}
	// What follows is slow, so it takes no more than it may need: it leaves more than half of a text, an escaped value being
	// shorter than two of what replaces it, and finds no value that begins before twice the limit cut off.
	s = cut(s, 2*limit+6*minRedacted)
	for _, value := range short {
		s = value.ReplaceAllString(s, "${1}"+redacted)
	}
	return cut(s, limit)
}

// afterName matches the value of a header after its name, as servers list headers: in text, JSON, HTML, a URL, or the
// variables of CGI. The first group is what stands before the value.
func afterName(name, value string) *regexp.Regexp {
	const (
		before  = `(?:^|[^0-9A-Za-z]|%[0-9A-Fa-f]{2}|\\[nrt])`
		between = `(?:&#?\w+;|%[0-9A-Fa-f]{2}|</?\w[^>]*>|value|[^0-9A-Za-z])+?`
	)
	var values []string
	for _, text := range spellings(value) {
		values = append(values, regexp.QuoteMeta(text))
	}
	end := `\b` // "eu" is not the value in "x-region: europe"
	if notAlphanumeric.MatchString(value[max(0, len(value)-1):]) {
		end = ""
	}
	name = notAlphanumeric.ReplaceAllLiteralString(name, notAlphanumeric.String())
	return regexp.MustCompile(`(` + before + `(?i:` + name + `)` + between + `)(?:` + strings.Join(values, "|") + `)` + end)
}

var notAlphanumeric = regexp.MustCompile(`[^0-9A-Za-z]`)

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// spellings returns how an answer may write a text of ASCII: as it is, in JSON, in HTML and in a URL.
func spellings(text string) []string {
	inJSON := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
	careful, _ := json.Marshal(text) // a string, so it cannot fail
	return []string{
		text, inJSON, strings.ReplaceAll(inJSON, "/", `\/`), string(careful[1 : len(careful)-1]),
		html.EscapeString(text), url.QueryEscape(text), url.PathEscape(text),
	}
}

// cut returns at most n bytes of s without cutting a character in two.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
