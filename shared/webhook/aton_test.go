package webhook

import (
	"net/netip"
	"strconv"
	"strings"
)

// aton reads what inet_aton and inet_pton read: IPv6, and IPv4 of one to four numbers in decimal,
// octal or hexadecimal, the last of which fills the rest.
func aton(host string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(host); err == nil {
		return address, true
	}
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		base, digits := 10, part
		switch lower := strings.ToLower(part); {
		case strings.HasPrefix(lower, "0x"):
			base, digits = 16, part[2:]
			if digits == "" {
				digits = "0" // some read a bare 0x as zero
			}
		case len(part) > 1 && part[0] == '0':
			base, digits = 8, part[1:]
		}
		n, err := strconv.ParseUint(digits, base, 64)
		if err != nil || strings.ContainsAny(digits, "_+-") {
			return netip.Addr{}, false
		}
		width := 8
		if i == len(parts)-1 {
			width = 8 * (4 - i)
		}
		if n >= 1<<width {
			return netip.Addr{}, false
		}
		value = value<<width | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}
