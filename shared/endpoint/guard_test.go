package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/docuhook/docuhook/shared/webhook"
)

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

// last returns the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
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

// problems validates a config with the URL.
func problems(policy webhook.URLPolicy, url string) []string {
	config := webhook.Config{URL: url, SubscribedStatuses: []webhook.Status{webhook.Processed}}
	var codes []string
	for _, p := range config.Validate(policy) {
		codes = append(codes, p.Code)
	}
	return codes
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
		for _, address := range []netip.Addr{prefix.Addr(), last(prefix)} {
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
		{"tcp4", "localhost:443"}, {"tcp4", "8.8.8.8"}, {"tcp4", ""}, {"tcp6", "[fe80::1%eth0]:443"}, {"tcp6", "[2606:4700::1111%eth0]:443"},
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

func TestURLTrickIsRefusedInAConfig(t *testing.T) {
	production := webhook.URLPolicy{Address: NewGuard(false).Check}
	sandbox := webhook.URLPolicy{AllowHTTP: true, Address: NewGuard(false).Check}
	const address, invalid, characters, scheme = "address_not_allowed", "invalid_url", "invalid_characters", "scheme_not_allowed"
	cases := map[string]string{
		// Other notations of addresses.
		"https://127.1/":                  address,
		"https://127.0.1/":                address,
		"https://2130706433/":             address,
		"https://0x7f000001/":             address,
		"https://0x7f.0.0.1/":             address,
		"https://0X7F.0.0.0x1/":           address,
		"https://017700000001/":           address,
		"https://0177.0.0.1/":             address,
		"https://0177.0.0.01/":            address,
		"https://127.000.000.001/":        address,
		"https://0/":                      address,
		"https://0.0.0.0/":                address,
		"https://127.0.0.1./":             address,
		"https://127.0.0.1:8443/":         address,
		"https://3232235521/":             address,
		"https://2852039166/":             address, // metadata
		"https://0xa9fea9fe/":             address, // metadata
		"https://169.254.43518/":          address, // metadata
		"https://256.256.256.256/":        address,
		"https://1.2.3.4.5/":              address,
		"https://[::1]/":                  address,
		"https://[0:0:0:0:0:0:0:1]/":      address,
		"https://[::]/":                   address,
		"https://[::127.0.0.1]/":          address,
		"https://[::ffff:127.0.0.1]/":     address,
		"https://[::ffff:7f00:1]/":        address,
		"https://[0:0:0:0:0:ffff:7f00:1]": address,
		"https://[::FFFF:a9fe:a9fe]/":     address,
		"https://[64:ff9b::a9fe:a9fe]/":   address,
		"https://[2002:a9fe:a9fe::1]/":    address,
		"https://[fe80::1%25eth0]/":       address,
		"https://[::1%25lo]/":             address,
		"https://[fd00:ec2::254]/latest":  address,
		// Names that can only be private.
		"https://localhost/":                          address,
		"https://LocalHost/":                          address,
		"https://localhost./":                         address,
		"https://anything.localhost/":                 address,
		"https://printer.local/":                      address,
		"https://metadata.google.internal/":           address,
		"https://ip-10-0-0-1.eu-west-1.internal/":     address,
		"https://intranet/":                           address,
		"https://instance-data/latest/meta-data/":     address,
		"https://kubernetes.default.svc.local:6443/x": address,
		// What parsers disagree on.
		"https://good.example@127.0.0.1/":    "userinfo_not_allowed",
		"https://user:pass@good.example/":    "userinfo_not_allowed",
		"https://@good.example/":             "userinfo_not_allowed",
		"https://good.example#@127.0.0.1/":   "fragment_not_allowed",
		"https://127.0.0.1#.good.example/":   "fragment_not_allowed",
		"https://good.example/#":             "fragment_not_allowed",
		`https://good.example\@127.0.0.1/`:   characters,
		`https:\\127.0.0.1\`:                 characters,
		"https://127。0。0。1/":                 characters,
		"https://①②⑦.⓪.⓪.①/":                 characters,
		"https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/":                 characters,
		"https://good.example/\r\nHost: x":   characters,
		"https://good.example/\t":            characters,
		" https://good.example/":             characters,
		"https://good.example /":             characters,
		"https://good.example\x00.evil/":     characters,
		"https://%31%32%37.0.0.1/":           invalid,
		"https://127.0.0.1%2f@good.example/": "userinfo_not_allowed",
		"https://[::1/":                      invalid,
		"https://::1/":                       invalid,
		"https://good.example:0/":            invalid,
		"https://good.example:99999/":        invalid,
		"https://good.example:/":             invalid,
		"https://good..example/":             invalid,
		"https://-good.example/":             invalid,
		"https:///etc/passwd":                invalid,
		"https:127.0.0.1/":                   invalid,
		"https://":                           invalid,
		"//127.0.0.1/":                       scheme,
		"127.0.0.1":                          scheme,
		"file:///etc/passwd":                 scheme,
		"gopher://good.example/":             scheme,
		"ftp://good.example/":                scheme,
		"javascript:alert(1)":                scheme,
		"data:text/plain,x":                  scheme,
		"":                                   "empty",
	}
	for url, want := range cases {
		t.Run(url, func(t *testing.T) {
			for name, policy := range map[string]webhook.URLPolicy{"production": production, "sandbox": sandbox} {
				if diff := cmp.Diff([]string{want}, problems(policy, url)); diff != "" {
					t.Errorf("in %s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
	if len(cases)+2*len(special) < 150 {
		t.Errorf("only %d tricks", len(cases)+2*len(special))
	}
	if diff := cmp.Diff([]string{scheme}, problems(production, "http://good.example/")); diff != "" {
		t.Errorf("http in production (-want +got):\n%s", diff)
	}
	for _, url := range []string{
		"https://good.example/", "HTTPS://Good.Example:8443/a?b=c", "https://xn--bcher-kva.example", "https://127.0.0.1.nip.example/",
		"https://10.example/", "https://a_b.good.example./x%20y", "https://0xdead.beef.example/",
	} {
		if got := problems(production, url); got != nil {
			t.Errorf("%s: %v", url, got)
		}
	}
	if got := problems(sandbox, "http://good.example/"); got != nil {
		t.Errorf("http in a sandbox: %v", got)
	}
}

// names is a DNS server: every name has the addresses of the next answer, the last one for ever.
// An answer of no addresses is "no such host".
type names struct {
	mu      sync.Mutex
	answers [][]string
}

func (n *names) next(kind dnsmessage.Type) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	answer := n.answers[0]
	if len(n.answers) > 1 && kind == dnsmessage.TypeA {
		n.answers = n.answers[1:]
	}
	return answer
}

// resolver returns a resolver that asks n, over a pipe, in the form that DNS has over TCP.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for {
				length := make([]byte, 2)
				if _, err := io.ReadFull(server, length); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(length))
				if _, err := io.ReadFull(server, query); err != nil {
					return
				}
				var message dnsmessage.Message
				if err := message.Unpack(query); err != nil {
					return
				}
				n.answer(&message)
				packed, err := message.Pack()
				if err != nil {
					return
				}
				server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
			}
		}()
		return client, nil
	}}
}

// answer turns a query into its answer. A counts as the look-up; AAAA gets what comes with it.
func (n *names) answer(m *dnsmessage.Message) {
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	question := m.Questions[0]
	addresses := n.next(question.Type)
	if len(addresses) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range family(question.Type, addresses) {
		var body dnsmessage.ResourceBody
		if address := netip.MustParseAddr(text); address.Is4() {
			body = &dnsmessage.AResource{A: address.As4()}
		} else {
			body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: dnsmessage.ClassINET}, Body: body,
		})
	}
}

// listen returns a server on the loopback address, its port and how often it has been called.
func listen(t *testing.T) (port string, calls *atomic.Int64) {
	t.Helper()
	calls = &atomic.Int64{}
	_, port, err := net.SplitHostPort(serveRaw(t, nil, func(p *peer) {
		calls.Add(1)
		for p.next() != nil {
			p.write(ok)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return port, calls
}

func TestPrivateEndpointIsNotCalled(t *testing.T) {
	port, calls := listen(t)
	nowhere := (&names{answers: [][]string{{}}}).resolver()
	hosts := map[string]*net.Resolver{
		"127.0.0.1": nil, "127.255.255.254": nil, "0.0.0.0": nil, "localhost": nil, "[::ffff:127.0.0.1]": nil, "[::ffff:7f00:1]": nil, "[::1]": nil, "[::]": nil,
		"rebind.example":       (&names{answers: [][]string{{"127.0.0.1"}}}).resolver(),
		"rebind.many.example":  (&names{answers: [][]string{{"127.0.0.1", "10.0.0.1", "169.254.169.254"}}}).resolver(),
		"rebind.dotted.test.":  (&names{answers: [][]string{{"127.0.0.1"}}}).resolver(),
		"metadata.aws.example": (&names{answers: [][]string{{"169.254.169.254"}}}).resolver(),
	}
	for host, resolver := range hosts {
		t.Run(host, func(t *testing.T) {
			client := NewClient(ClientOptions{Guard: NewGuard(false), AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second, Resolver: resolver})
			got := client.Post(t.Context(), request("http://"+host+":"+port+"/"))
			if got.Code != CodeBlockedAddress || got.Error != "the endpoint's host has a special-purpose address" {
				t.Errorf("%+v", got)
			}
		})
	}
	// Notations that Go itself does not take for addresses are names, and there is no such name.
	for _, host := range []string{"2130706433", "0x7f000001", "0177.0.0.1", "127.1", "017700000001"} {
		t.Run(host, func(t *testing.T) {
			client := NewClient(ClientOptions{Guard: NewGuard(false), AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second, Resolver: nowhere})
			if got := client.Post(t.Context(), request("http://"+host+":"+port+"/")); got.Code != CodeDNSFailure {
				t.Errorf("%+v", got)
			}
		})
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("the private endpoint was called %d times", n)
	}
	client := NewClient(ClientOptions{
		Guard: NewGuard(true), AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second, Resolver: (&names{answers: [][]string{{"127.0.0.1"}}}).resolver(),
	})
	if got := client.Post(t.Context(), request("http://rebind.example:"+port+"/")); !got.Success() || calls.Load() != 1 {
		t.Errorf("the same endpoint, where private addresses are allowed: %+v, called %d times", got, calls.Load())
	}
}

// TestRebindingIsSeenAtEveryConnection: the first look-up gives a public address, the next one a
// private one. No packet goes out to the public one, because the test's Control stops there.
func TestRebindingIsSeenAtEveryConnection(t *testing.T) {
	guard := NewGuard(false)
	stop := errors.New("far enough")
	var let []string
	dns := &names{answers: [][]string{{"93.184.216.34"}, {"127.0.0.1"}, {"93.184.216.34"}, {"10.1.2.3"}}}
	client := NewClient(ClientOptions{
		Guard: guard, AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second,
		Dial: (&net.Dialer{Resolver: dns.resolver(), Control: func(network, address string, c syscall.RawConn) error {
			if err := guard.Control(network, address, c); err != nil {
				return err
			}
			let = append(let, address)
			return stop
		}}).DialContext,
	})
	var codes []string
	for range 4 {
		codes = append(codes, client.Post(t.Context(), request("http://rebind.example/")).Code)
	}
	want := []string{CodeConnectionFailed, CodeBlockedAddress, CodeConnectionFailed, CodeBlockedAddress}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"93.184.216.34:80", "93.184.216.34:80"}, let); diff != "" {
		t.Errorf("let pass (-want +got):\n%s", diff)
	}
}

func TestNameThatCannotBeLookedUp(t *testing.T) {
	hanging := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	cases := map[string]struct {
		resolver *net.Resolver
		want     string
	}{
		"does not exist": {(&names{answers: [][]string{{}}}).resolver(), "the endpoint's host could not be found"},
		"takes too long": {hanging, "looking up the endpoint's host took too long"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			// As the guard's dialer, which gives up before the attempt does, but sooner.
			dialer := &net.Dialer{Timeout: 100 * time.Millisecond, Resolver: c.resolver, Control: NewGuard(false).Control}
			client := NewClient(ClientOptions{Now: time.Now, Timeout: 5 * time.Second, Dial: dialer.DialContext})
			got := client.Post(t.Context(), request("https://missing.example/"))
			if got.Code != CodeDNSFailure || got.Error != c.want {
				t.Errorf("%+v, want %s", got, c.want)
			}
		})
	}
}

// TestOnlyLoopbackIsCalled: no name leaves the machine as a look-up, and no address is dialed but
// loopback ones.
func TestOnlyLoopbackIsCalled(t *testing.T) {
	port, calls := listen(t)
	lookups := 0
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		lookups++
		return nil, errors.New("nobody is to be asked")
	}}
	post := func(guard *Guard, host string) Result {
		guard.OnlyLoopback = true
		client := NewClient(ClientOptions{Guard: guard, AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second, Resolver: resolver})
		return client.Post(t.Context(), request("http://"+host+":"+port+"/"))
	}
	near := []string{"127.0.0.1", "localhost", "LocalHost.", "anything.localhost", "[::ffff:127.0.0.1]"}
	for _, host := range near {
		if got := post(NewGuard(true), host); !got.Success() {
			t.Errorf("%s: %+v", host, got)
		}
		if got := post(NewGuard(false), host); got.Code != CodeBlockedAddress {
			t.Errorf("%s, where private addresses are forbidden: %+v", host, got)
		}
	}
	for _, host := range []string{
		"hooks.example.com", "receiver", "localhost.example.com", "notlocalhost", "127.1", "2130706433", "10.0.0.1", "192.168.1.1", "169.254.169.254",
		"0.0.0.0", "8.8.8.8", "[::]", "[2606:4700:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::7f00:1]", "[fe80::1%25lo]",
	} {
		for _, guard := range []*Guard{NewGuard(true), NewGuard(false)} {
			if got := post(guard, host); got.Code != CodeBlockedAddress || got.Error != "the local stack calls endpoints on this machine only, unless it is started with -public" {
				t.Errorf("%s: %+v", host, got)
			}
		}
	}
	if lookups != 0 || calls.Load() != int64(len(near)) {
		t.Errorf("%d look-ups and %d calls, want none and %d", lookups, calls.Load(), len(near))
	}
}
