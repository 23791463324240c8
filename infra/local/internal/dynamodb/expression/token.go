package expression

import "strings"

// A token is a word, a number, a placeholder or a sign of an expression.
type token struct {
	kind kind
	text string
	at   int // offset in the expression
}

type kind int

const (
	end         kind = iota // no more tokens
	word                    // status, AND, begins_with
	name                    // #status
	value                   // :status
	digits                  // 12
	sign                    // = <> < <= > >= ( ) [ ] , . + -
	unknownSign             // anything else
)

// is reports whether the token is this sign or, in any case, this keyword.
func (t token) is(text string) bool {
	return (t.kind == sign || t.kind == word) && strings.EqualFold(t.text, text)
}

// tokens splits an expression. Its last token is of kind end.
func tokens(text string) []token {
	result := make([]token, 0, len(text)/3+2)
	for at := 0; at < len(text); {
		c := text[at]
		start := at
		var k kind
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			at++
			continue
		case isLetter(c):
			k, at = word, wordEnd(text, at)
		case c == '#' || c == ':':
			if k = name; c == ':' {
				k = value
			}
			if at = wordEnd(text, at+1); at == start+1 {
				k = unknownSign
			}
		case isDigit(c):
			for k = digits; at < len(text) && isDigit(text[at]); {
				at++
			}
		case strings.HasPrefix(text[at:], "<>"), strings.HasPrefix(text[at:], "<="), strings.HasPrefix(text[at:], ">="):
			k, at = sign, at+2
		case strings.IndexByte("=<>()[],.+-", c) >= 0:
			k, at = sign, at+1
		default:
			k, at = unknownSign, at+1
		}
		result = append(result, token{kind: k, text: text[start:at], at: start})
	}
	return append(result, token{kind: end, text: "<EOF>", at: len(text)})
}

func wordEnd(text string, at int) int {
	for at < len(text) && (isLetter(text[at]) || isDigit(text[at]) || text[at] == '_') {
		at++
	}
	return at
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
