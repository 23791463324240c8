package attribute

import "github.com/cockroachdb/apd/v3"

// What follows the escape byte in an encoded string: its end, or that the byte was a 0 of the string
// itself. The end of a shorter string so sorts before anything that a longer one goes on with.
const (
	escape = 0x00
	ended  = 0x01
	zero   = 0xFF
)

// AppendKey appends an encoding of a key attribute (S, N or B) whose byte order is the order of
// the values: numbers by magnitude, strings by their UTF-8, binary by its bytes. No encoding of a
// type is a prefix of another, so encodings may be concatenated.
func AppendKey(dst []byte, v *Value) []byte {
	switch v.Type() {
	case String:
		return append(appendEscaped(dst, *v.S), escape, ended)
	case Binary:
		return append(appendEscaped(dst, string(v.B)), escape, ended)
	case Number:
		return appendNumber(dst, canonical(*v.N))
	}
	return dst
}

// AppendKeyPrefix appends what the encodings of all values that begin with v (S or B) have in common.
func AppendKeyPrefix(dst []byte, v *Value) []byte {
	if v.Type() == String {
		return appendEscaped(dst, *v.S)
	}
	return appendEscaped(dst, string(v.B))
}

func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		dst = append(dst, s[i])
		if s[i] == escape {
			dst = append(dst, zero)
		}
	}
	return dst
}

// appendNumber writes sign, exponent and digits; those of a negative number are inverted, since
// the larger it looks the smaller it is.
func appendNumber(dst []byte, d *apd.Decimal) []byte {
	sign := d.Sign()
	dst = append(dst, byte(sign+1))
	if sign == 0 {
		return dst
	}
	start := len(dst)
	exponent := leading(d) + 1000
	dst = append(dst, byte(exponent>>8), byte(exponent))
	dst = d.Coeff.Append(dst, 10)
	dst = append(dst, 0)
	if sign < 0 {
		for i := start; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

// AfterPrefix returns the smallest string that is greater than every string beginning with
// prefix, or "" if there is none.
func AfterPrefix(prefix string) string {
	b := []byte(prefix)
	for len(b) > 0 {
		if last := len(b) - 1; b[last] < 0xFF {
			b[last]++
			return string(b)
		}
		b = b[:len(b)-1]
	}
	return ""
}
