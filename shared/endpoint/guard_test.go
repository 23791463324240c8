package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"code.dny.dev/ssrf"

	"github.com/docuhook/docuhook/shared/webhook"
)

// TestCorpusHoldsTheRegistries: the library makes its lists from IANA's registries. A range that a new
// version of it adds has to show up in the corpus as well.
func TestCorpusHoldsTheRegistries(t *testing.T) {
	for _, prefix := range slices.Concat(ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes) {
		if _, ok := special[prefix.String()]; !ok {
			t.Errorf("%s is missing", prefix)
		}
	}
}

// special are the ranges of IANA's special-purpose registries and the others that are not for the
// public: multicast, the reserved rest of IPv4 and what once had a meaning.
var special = map[string]string{
	"0.0.0.0/8":          "this network",
	"10.0.0.0/8":         "private",
	"100.64.0.0/10":      "shared",
	"127.0.0.0/8":        "loopback",
	"169.254.0.0/16":     "link-local",
	"169.254.169.254/32": "metadata of instances",
	"169.254.170.2/32":   "metadata of containers",
	"169.254.170.23/32":  "metadata of pods",
	"172.16.0.0/12":      "private",
	"192.0.0.0/24":       "protocol assignments",
	"192.0.0.8/32":       "dummy address",
	"192.0.0.170/31":     "NAT64 discovery",
	"192.0.2.0/24":       "documentation",
	"192.31.196.0/24":    "AS112",
	"192.52.193.0/24":    "AMT",
	"192.88.99.0/24":     "6to4 relay",
	"192.168.0.0/16":     "private",
	"192.175.48.0/24":    "AS112",
	"198.18.0.0/15":      "benchmarking",
	"198.51.100.0/24":    "documentation",
	"203.0.113.0/24":     "documentation",
	"224.0.0.0/4":        "multicast",
	"240.0.0.0/4":        "reserved",
	"255.255.255.255/32": "broadcast",

	"::/128":               "unspecified",
	"::1/128":              "loopback",
	"::/96":                "IPv4-compatible",
	"::ffff:0:0/96":        "IPv4-mapped",
	"::ffff:127.0.0.1/128": "loopback, IPv4-mapped",
	"::ffff:8.8.8.8/128":   "even a public address, IPv4-mapped",
	"::ffff:0:0:0/96":      "IPv4-translated",
	"64:ff9b::/96":         "NAT64",
	"64:ff9b::7f00:1/128":  "loopback behind NAT64",
	"64:ff9b:1::/48":       "local NAT64",
	"100::/64":             "discard",
	"100:0:0:1::/64":       "dummy prefix",
	"2001::/23":            "protocol assignments",
	"2001::/32":            "Teredo",
	"2001:1::1/128":        "port control protocol",
	"2001:1::2/128":        "TURN",
	"2001:2::/48":          "benchmarking",
	"2001:3::/32":          "AMT",
	"2001:4:112::/48":      "AS112",
	"2001:10::/28":         "ORCHID",
	"2001:20::/28":         "ORCHIDv2",
	"2001:30::/28":         "drone identification",
	"2001:db8::/32":        "documentation",
	"2002::/16":            "6to4",
	"2002:7f00:1::/48":     "loopback behind 6to4",
	"2620:4f:8000::/48":    "AS112",
	"3fff::/20":            "documentation",
	"5f00::/16":            "segment routing",
	"fc00::/7":             "unique local",
	"fd00:ec2::254/128":    "metadata of instances",
	"fd00:ec2::23/128":     "metadata of pods",
	"fe80::/10":            "link-local",
	"fec0::/10":            "site-local",
	"ff00::/8":             "multicast",
}

// public are addresses that must work, many of them just outside of a special range.
var public = []string{
	"1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.167.255.255",
	"192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
	"2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700:4700::1111", "2620:4f:7fff:ffff::1", "2a00:1450:4001::1", "3ffe:ffff::1",
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address
}

// literal writes an address as the host of a URL.
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

func control(g *Guard, a netip.Addr) error {
	network := "tcp4"
	if a.Is6() {
		network = "tcp6"
	}
	return g.Control(network, netip.AddrPortFrom(a, 443).String(), nil)
}

func TestSpecialPurposeAddressIsRefused(t *testing.T) {
	guard := NewGuard(false)
	policy := webhook.URLPolicy{Address: guard.Check}
	for text, purpose := range special {
		prefix := netip.MustParsePrefix(text)
		for _, address := range []netip.Addr{prefix.Addr(), lastOf(prefix)} {
			t.Run(fmt.Sprintf("%s (%s)", address, purpose), func(t *testing.T) {
				if err := control(guard, address); !errors.Is(err, ErrBlockedAddress) {
					t.Errorf("when it is dialed: %v", err)
				}
				if diff := cmp.Diff([]string{"address_not_allowed"}, problems(policy, "https://"+literal(address)+"/hook")); diff != "" {
					t.Errorf("in a config (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestPublicAddressIsAllowed(t *testing.T) {
	guard := NewGuard(false)
	policy := webhook.URLPolicy{Address: guard.Check}
	for _, text := range public {
		t.Run(text, func(t *testing.T) {
			address := netip.MustParseAddr(text)
			if err := control(guard, address); err != nil {
				t.Errorf("when it is dialed: %v", err)
			}
			if got := problems(policy, "https://"+literal(address)+":8443/hook"); got != nil {
				t.Errorf("in a config: %v", got)
			}
		})
	}
}

func TestGuardRefusesWhatIsNoTCPAddress(t *testing.T) {
	guard := NewGuard(false)
	for _, c := range [][2]string{
		{"udp4", "8.8.8.8:53"}, {"unix", "/run/docker.sock"}, {"tcp", "8.8.8.8:443"}, {"ip4", "8.8.8.8"},
		{"tcp4", "localhost:443"}, {"tcp4", "8.8.8.8"}, {"tcp4", ""}, {"tcp6", "[fe80::1%eth0]:443"},
		{"tcp6", "[2606:4700::1111%eth0]:443"},
	} {
		if err := guard.Control(c[0], c[1], nil); !errors.Is(err, ErrBlockedAddress) {
			t.Errorf("%s %q: %v", c[0], c[1], err)
		}
	}
	for _, host := range []string{"", "localhost", "2606:4700::1111%eth0", "8.8.8.8:443", "0x8.8.8.8", "08.8.8.8"} {
		if err := guard.Check(host); !errors.Is(err, ErrBlockedAddress) {
			t.Errorf("Check(%q): %v", host, err)
		}
	}
}

func TestPrivateAddressIsAllowedOnRequest(t *testing.T) {
	guard := NewGuard(true)
	for _, text := range []string{"127.0.0.1", "::1", "10.0.0.1", "169.254.169.254"} {
		if err := errors.Join(control(guard, netip.MustParseAddr(text)), guard.Check(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
