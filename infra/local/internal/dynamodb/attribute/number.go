package attribute

import (
	"math/big"
	"strings"
)

// DynamoDB's numbers: up to 38 significant digits, magnitudes from 1E-130 to below 1E+126.
const (
	maxDigits   = 38
	maxExponent = 126
	minExponent = -129
)

const (
	errTooPrecise = Invalid("Attempting to store more than 38 significant digits in a Number")
	errOverflow   = Invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	errUnderflow  = Invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
)

// decimal is 0.digits × 10^exponent. Its digits neither begin nor end with 0; zero has none.
type decimal struct {
	negative bool
	digits   string
	exponent int
}

// ParseNumber returns the one canonical spelling of a number: plain digits, no exponent, no zeros
// that say nothing. Its errors are of type Invalid.
func ParseNumber(text string) (string, error) {
	if isCanonicalInteger(text) {
		return text, nil
	}
	d, err := parseDecimal(text)
	if err != nil {
		return "", err
	}
	return d.String(), nil
}

// isCanonicalInteger recognises most numbers without taking them apart.
func isCanonicalInteger(text string) bool {
	if text == "0" {
		return true
	}
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || len(digits) > maxDigits || digits[0] == '0' {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

func parseDecimal(text string) (decimal, error) {
	malformed := Invalid("The parameter cannot be converted to a numeric value: " + text)
	if text == "" {
		return decimal{}, Invalid("The parameter cannot be converted to a numeric value")
	}
	var d decimal
	mantissa := text
	switch text[0] {
	case '-':
		d.negative = true
		mantissa = text[1:]
	case '+':
		mantissa = text[1:]
	}
	exponent := 0
	if at := strings.IndexAny(mantissa, "eE"); at >= 0 {
		var ok bool
		if exponent, ok = parseExponent(mantissa[at+1:]); !ok {
			return decimal{}, malformed
		}
		mantissa = mantissa[:at]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return decimal{}, malformed
	}
	d.exponent = len(whole) + exponent
	trimmed := strings.TrimLeft(digits, "0")
	d.exponent -= len(digits) - len(trimmed)
	d.digits = strings.TrimRight(trimmed, "0")
	if d.digits == "" {
		return decimal{}, nil
	}
	return d, d.check()
}

// parseExponent reads a signed exponent; one beyond all bounds is cut to 1,000,000, which is beyond
// the range of numbers with any mantissa that fits into an item.
func parseExponent(text string) (int, bool) {
	negative := strings.HasPrefix(text, "-")
	digits := strings.TrimLeft(text, "+-")
	if len(text)-len(digits) > 1 || digits == "" {
		return 0, false
	}
	n := 0
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = min(n*10+int(digits[i]-'0'), 1_000_000)
	}
	if negative {
		n = -n
	}
	return n, true
}

func (d decimal) check() error {
	switch {
	case len(d.digits) > maxDigits:
		return errTooPrecise
	case d.exponent > maxExponent:
		return errOverflow
	case d.exponent < minExponent:
		return errUnderflow
	}
	return nil
}

// String returns the canonical spelling.
func (d decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	var b strings.Builder
	if d.negative {
		b.WriteByte('-')
	}
	switch n := len(d.digits); {
	case d.exponent <= 0:
		b.WriteString("0.")
		b.WriteString(strings.Repeat("0", -d.exponent))
		b.WriteString(d.digits)
	case d.exponent >= n:
		b.WriteString(d.digits)
		b.WriteString(strings.Repeat("0", d.exponent-n))
	default:
		b.WriteString(d.digits[:d.exponent])
		b.WriteByte('.')
		b.WriteString(d.digits[d.exponent:])
	}
	return b.String()
}

// canonical takes a canonical spelling apart.
func canonical(text string) decimal {
	d, _ := parseDecimal(text) // it was parsed when it came in
	return d
}

// sign is -1, 0 or 1.
func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// CompareNumbers orders two numbers in their canonical spelling.
func CompareNumbers(a, b string) int {
	if a == b {
		return 0
	}
	x, y := canonical(a), canonical(b)
	if x.sign() != y.sign() {
		return x.sign() - y.sign()
	}
	order := x.exponent - y.exponent
	if order == 0 {
		order = strings.Compare(x.digits, y.digits)
	}
	return order * x.sign()
}

// Add returns a + b in the canonical spelling. Both must be in it.
func Add(a, b string) (string, error) { return combine(a, b, (*big.Int).Add) }

// Subtract returns a - b in the canonical spelling. Both must be in it.
func Subtract(a, b string) (string, error) { return combine(a, b, (*big.Int).Sub) }

func combine(a, b string, operation func(z, x, y *big.Int) *big.Int) (string, error) {
	x, y := canonical(a), canonical(b)
	// Both as integers of the smaller unit in which either is written.
	unit := min(x.exponent-len(x.digits), y.exponent-len(y.digits))
	sum := operation(new(big.Int), x.scaled(unit), y.scaled(unit))
	text := sum.String()
	d := decimal{negative: sum.Sign() < 0}
	text = strings.TrimPrefix(text, "-")
	d.exponent = len(text) + unit
	if d.digits = strings.TrimRight(text, "0"); d.digits == "" {
		return "0", nil
	}
	if err := d.check(); err != nil {
		return "", err
	}
	return d.String(), nil
}

// scaled returns the number as a multiple of 10^unit.
func (d decimal) scaled(unit int) *big.Int {
	n := new(big.Int)
	if d.digits == "" {
		return n
	}
	n.SetString(d.digits+strings.Repeat("0", d.exponent-len(d.digits)-unit), 10)
	if d.negative {
		n.Neg(n)
	}
	return n
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
