package expression

import (
	_ "embed"
	"strings"
)

// reservedList is the list of AWS's page on reserved words, one a line:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
//
//go:embed reserved.txt
var reservedList string

var reservedWords = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq(reservedList) {
		words[word] = true
	}
	return words
}()

// isReserved reports whether a word, in any case, cannot stand for an attribute in an expression.
func isReserved(word string) bool { return reservedWords[strings.ToUpper(word)] }
