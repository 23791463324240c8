package endpoint

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"code.dny.dev/ssrf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

// tricks are hosts behind which a private address hides. What Go takes for a name is looked up, and the
// resolver of the test says 127.0.0.1 to everything: that is also what resolvers with inet_aton, search
// domains or rebinding do.
var tricks = []string{
	// Notations of 127.0.0.1.
	"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0X7F.0.0.0x1", "0x7f.1", "0x000000007f000001", "017700000001",
	"0177.0.0.1", "0177.0.0.01", "00000177.0.0.1", "127.000.000.001", "127.0.0.1.", "127.255.255.254", "6425673729", "4294967295.127.0.0.1",
	"127%2e0%2e0%2e1", "%31%32%37.0.0.1", "127.0.0.1%00.good.example", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "１２７.０.０.１", "①②⑦.⓪.⓪.①",
	"[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::FFFF:7F00:1]", "[0:0:0:0:0:ffff:127.0.0.1]",
	"[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::1]", "[2001:0:0:0:0:0:80ff:fffe]", "[fe80::5efe:127.0.0.1]",
	"[::1%25lo]", "[::1%25]", "[fe80::1%25lo]", "[fe80::1%25eth0]", "[fe80::1%251]",
	// 0.0.0.0, which Linux connects to itself.
	"0", "0.0.0.0", "0x0", "00", "0.0", "0.0.0.0.", "[::]", "[0:0:0:0:0:0:0:0]", "[::ffff:0.0.0.0]", "[::0.0.0.0]",
	// The metadata service.
	"169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "025177524776", "169.254.43518", "169.16689662",
	"[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[fd00:ec2::254]", "[fd00:0ec2:0:0:0:0:0:254]",
	// Names.
	"localhost", "LOCALHOST", "LocalHost.", "localhost.localdomain", "anything.localhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "intranet", "printer.local", "metadata.google.internal",
	"instance-data", "kubernetes.default.svc", "127.0.0.1.nip.example", "7f000001.rebind.example", "xn--127-0-0-1.example", "rebind.example", "rebind.example.",
}

// guarded returns a client that makes no connection at all, and which addresses the guard has let pass.
func guarded(resolver *net.Resolver) (*Client, *[]string) {
	guard := NewGuard(false)
	var passed []string
	dialer := &net.Dialer{
		Resolver: resolver,
		// One after the other, so that the list needs no lock.
		FallbackDelay: time.Hour,
		Control: func(network, address string, c syscall.RawConn) error {
			if err := guard.Control(network, address, c); err != nil {
				return err
			}
			passed = append(passed, address)
			return errors.New("far enough")
		},
	}
	return NewClient(ClientOptions{AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second, Dial: dialer.DialContext}), &passed
}

func TestTrickReachesNothing(t *testing.T) {
	hosts := slices.Clone(tricks)
	for text := range special {
		if text == "::ffff:8.8.8.8/128" {
			continue // refused in a config; when it is dialed, it is the public address
		}
		prefix := netip.MustParsePrefix(text)
		hosts = append(hosts, literal(prefix.Addr()), literal(last(prefix)))
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	for _, trick := range hosts {
		t.Run(trick, func(t *testing.T) {
			want := CodeBlockedAddress
			if slices.Contains([]string{"127%2e0%2e0%2e1", "%31%32%37.0.0.1", "127.0.0.1%00.good.example", "[::1%25]"}, trick) {
				want = CodeInvalidDestination
			} else if _, err := netip.ParseAddr(trick); err != nil && strings.Trim(trick, "0123456789.") == "" {
				want = CodeDNSFailure // to Go neither an address nor a name
			}
			client, passed := guarded((&names{answers: [][]string{{"127.0.0.1"}}}).resolver())
			if got := client.Post(t.Context(), request("http://"+trick+":8080/")); got.Code != want || len(*passed) > 0 {
				t.Errorf("%+v, want %s; passed %v", got, want, *passed)
			}
		})
	}
	if len(hosts) < 150 {
		t.Errorf("only %d tricks", len(hosts))
	}
}

// TestCorpusHoldsTheRegistries: the library makes its lists from IANA's registries. A range that a new
// version of it adds has to show up in the corpus as well.
func TestCorpusHoldsTheRegistries(t *testing.T) {
	for _, prefix := range slices.Concat(ssrf.IPv4DeniedPrefixes, ssrf.IPv6DeniedPrefixes) {
		if _, ok := special[prefix.String()]; !ok {
			t.Errorf("%s is missing", prefix)
		}
	}
}

// TestNameWithManyAddresses: of a name's addresses of both families, only the public ones are called, on
// the path of both at once as well.
func TestNameWithManyAddresses(t *testing.T) {
	cases := map[string]struct {
		addresses []string
		called    []string
		code      string
	}{
		"private and private":           {[]string{"10.0.0.1", "::1"}, nil, CodeBlockedAddress},
		"a private one first":           {[]string{"127.0.0.1", "93.184.216.34"}, []string{"93.184.216.34:80"}, ""},
		"a private one in the middle":   {[]string{"93.184.216.34", "169.254.169.254", "1.1.1.1"}, []string{"1.1.1.1:80", "93.184.216.34:80"}, ""},
		"public IPv4, private IPv6":     {[]string{"93.184.216.34", "::1"}, []string{"93.184.216.34:80"}, ""},
		"private IPv4, public IPv6":     {[]string{"10.0.0.1", "2606:4700::1"}, []string{"[2606:4700::1]:80"}, ""},
		"public of both, private among": {[]string{"93.184.216.34", "192.168.0.1", "2606:4700::1", "fd00:ec2::254"}, []string{"93.184.216.34:80", "[2606:4700::1]:80"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client, passed := guarded((&names{answers: [][]string{c.addresses}}).resolver())
			got := client.Post(t.Context(), request("http://many.example/"))
			called := slices.Sorted(slices.Values(*passed))
			if diff := cmp.Diff(c.called, called); diff != "" {
				t.Errorf("called (-want +got):\n%s", diff)
			}
			if c.code != "" && got.Code != c.code || got.Success() {
				t.Errorf("%+v", got)
			}
		})
	}
}

// family returns the addresses of one kind.
func family(kind dnsmessage.Type, addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool {
		return strings.Contains(a, ":") != (kind == dnsmessage.TypeAAAA)
	})
}
