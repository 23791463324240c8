package attribute

import (
	"regexp"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// DynamoDB's numbers: up to 38 significant digits, magnitudes from 1E-130 to below 1E+126.
const (
	maxDigits   = 38
	maxExponent = 125 // of the first digit, as in 9.9E+125
	minExponent = -130
)

const (
	errTooPrecise = Invalid("Attempting to store more than 38 significant digits in a Number")
	errOverflow   = Invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	errUnderflow  = Invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
)

var wellFormed = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)

// ParseNumber returns the one canonical spelling of a number: plain digits, no exponent, no zeros
// that say nothing. Its errors are of type Invalid.
func ParseNumber(text string) (string, error) {
	d, err := parseDecimal(text)
	if err != nil {
		return "", err
	}
	return d.Text('f'), nil
}

func parseDecimal(text string) (*apd.Decimal, error) {
	switch {
	case text == "":
		return nil, Invalid("The parameter cannot be converted to a numeric value")
	case !wellFormed.MatchString(text):
		return nil, Invalid("The parameter cannot be converted to a numeric value: " + text)
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if strings.Trim(mantissa, "+-0.") == "" {
		return new(apd.Decimal), nil
	}
	d, _, err := apd.NewFromString(text)
	switch {
	case err == nil:
		return d, canonicalize(d)
	case strings.HasPrefix(exponent, "-"): // so small that even apd refuses it
		return nil, errUnderflow
	}
	return nil, errOverflow
}

// canonicalize drops the zeros that say nothing, and the sign of zero, and checks the range.
func canonicalize(d *apd.Decimal) error {
	if d.IsZero() {
		*d = apd.Decimal{}
		return nil
	}
	d.Reduce(d)
	switch exponent := leading(d); {
	case d.NumDigits() > maxDigits:
		return errTooPrecise
	case exponent > maxExponent:
		return errOverflow
	case exponent < minExponent:
		return errUnderflow
	}
	return nil
}

// leading is the power of ten that the first digit counts.
func leading(d *apd.Decimal) int { return int(d.Exponent) + int(d.NumDigits()) - 1 }

// canonical takes a canonical spelling apart.
func canonical(text string) *apd.Decimal {
	d, _ := parseDecimal(text) // cannot fail: it was parsed when it came in
	return d
}

// CompareNumbers orders two numbers in their canonical spelling.
func CompareNumbers(a, b string) int { return canonical(a).Cmp(canonical(b)) }

// Add returns a + b in the canonical spelling, exactly: the base context rounds nothing. Both must be in it.
func Add(a, b string) (string, error) {
	d := new(apd.Decimal)
	if _, err := apd.BaseContext.Add(d, canonical(a), canonical(b)); err != nil {
		return "", err
	}
	if err := canonicalize(d); err != nil {
		return "", err
	}
	return d.Text('f'), nil
}

// numberSize is about one byte for two significant digits, and one for exponent and sign.
func numberSize(text string) int {
	digits := len(strings.Trim(strings.Replace(strings.TrimLeft(text, "-"), ".", "", 1), "0"))
	n := 1 + (digits+1)/2
	if strings.HasPrefix(text, "-") {
		n++
	}
	return n
}
