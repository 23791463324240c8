package endpoint

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tricks are hosts behind which a private address hides. What Go takes for a name is looked up, and the
// resolver of the test says 127.0.0.1 to everything: that is also what resolvers with inet_aton, search
// domains or rebinding do.
var tricks = []string{
	// Notations of 127.0.0.1.
	"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0X7F.0.0.0x1", "0x7f.1", "0x000000007f000001",
	"017700000001", "0177.0.0.1", "0177.0.0.01", "00000177.0.0.1", "127.000.000.001", "127.0.0.1.", "127.255.255.254",
	"6425673729", "4294967295.127.0.0.1",
	"127%2e0%2e0%2e1", "%31%32%37.0.0.1", "127.0.0.1%00.good.example",
	"127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "１２７.０.０.１", "①②⑦.⓪.⓪.①",
	"[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::127.0.0.1]", "[::ffff:127.0.0.1]",
	"[::FFFF:7F00:1]", "[0:0:0:0:0:ffff:127.0.0.1]",
	"[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::1]",
	"[2001:0:0:0:0:0:80ff:fffe]", "[fe80::5efe:127.0.0.1]",
	"[::1%25lo]", "[::1%25]", "[fe80::1%25lo]", "[fe80::1%25eth0]", "[fe80::1%251]",
	// 0.0.0.0, which Linux connects to itself.
	"0", "0.0.0.0", "0x0", "00", "0.0", "0.0.0.0.", "[::]", "[0:0:0:0:0:0:0:0]", "[::ffff:0.0.0.0]", "[::0.0.0.0]",
	// The metadata service.
	"169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376", "025177524776",
	"169.254.43518", "169.16689662",
	"[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[fd00:ec2::254]",
	"[fd00:0ec2:0:0:0:0:0:254]",
	// Names.
	"localhost", "LOCALHOST", "LocalHost.", "localhost.localdomain", "anything.localhost",
	"ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "intranet", "printer.local",
	"metadata.google.internal",
	"instance-data", "kubernetes.default.svc", "127.0.0.1.nip.example", "7f000001.rebind.example", "xn--127-0-0-1.example",
	"rebind.example", "rebind.example.",
}

// guardedClient returns a client that makes no connection at all, and which addresses the guard has let pass.
func guardedClient(resolver *net.Resolver) (*Client, *[]string) {
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
		hosts = append(hosts, literal(prefix.Addr()), literal(lastOf(prefix)))
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
			client, passed := guardedClient((&names{answers: [][]string{{"127.0.0.1"}}}).resolver())
			if got := client.Post(t.Context(), requestTo("http://"+trick+":8080/")); got.Code != want || len(*passed) > 0 {
				t.Errorf("%+v, want %s; passed %v", got, want, *passed)
			}
		})
	}
	if len(hosts) < 150 {
		t.Errorf("only %d tricks", len(hosts))
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
		"private and private": {
			addresses: []string{"10.0.0.1", "::1"},
			code:      CodeBlockedAddress,
		},
		"a private one first": {
			addresses: []string{"127.0.0.1", "93.184.216.34"},
			called:    []string{"93.184.216.34:80"},
		},
		"a private one in the middle": {
			addresses: []string{"93.184.216.34", "169.254.169.254", "1.1.1.1"},
			called:    []string{"1.1.1.1:80", "93.184.216.34:80"},
		},
		"public IPv4, private IPv6": {
			addresses: []string{"93.184.216.34", "::1"},
			called:    []string{"93.184.216.34:80"},
		},
		"private IPv4, public IPv6": {
			addresses: []string{"10.0.0.1", "2606:4700::1"},
			called:    []string{"[2606:4700::1]:80"},
		},
		"public of both, private among": {
			addresses: []string{"93.184.216.34", "192.168.0.1", "2606:4700::1", "fd00:ec2::254"},
			called:    []string{"93.184.216.34:80", "[2606:4700::1]:80"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			client, passed := guardedClient((&names{answers: [][]string{c.addresses}}).resolver())
			got := client.Post(t.Context(), requestTo("http://many.example/"))
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

func TestPrivateEndpointIsNotCalled(t *testing.T) {
	port, calls := listen(t)
	nowhere := (&names{answers: [][]string{{}}}).resolver()
	hosts := map[string]*net.Resolver{
		"127.0.0.1": nil, "127.255.255.254": nil, "0.0.0.0": nil, "localhost": nil,
		"[::ffff:127.0.0.1]": nil, "[::ffff:7f00:1]": nil, "[::1]": nil, "[::]": nil,
		"rebind.example":       (&names{answers: [][]string{{"127.0.0.1"}}}).resolver(),
		"rebind.many.example":  (&names{answers: [][]string{{"127.0.0.1", "10.0.0.1", "169.254.169.254"}}}).resolver(),
		"rebind.dotted.test.":  (&names{answers: [][]string{{"127.0.0.1"}}}).resolver(),
		"metadata.aws.example": (&names{answers: [][]string{{"169.254.169.254"}}}).resolver(),
	}
	for host, resolver := range hosts {
		t.Run(host, func(t *testing.T) {
			client := NewClient(ClientOptions{
				Guard:     NewGuard(false),
				AllowHTTP: true,
				Now:       time.Now,
				Timeout:   5 * time.Second,
				Resolver:  resolver,
			})
			got := client.Post(t.Context(), requestTo("http://"+host+":"+port+"/"))
			if got.Code != CodeBlockedAddress || got.Error != "the endpoint's host has a special-purpose address" {
				t.Errorf("%+v", got)
			}
		})
	}
	// Notations that Go itself does not take for addresses are names, and there is no such name.
	for _, host := range []string{"2130706433", "0x7f000001", "0177.0.0.1", "127.1", "017700000001"} {
		t.Run(host, func(t *testing.T) {
			client := NewClient(ClientOptions{
				Guard:     NewGuard(false),
				AllowHTTP: true,
				Now:       time.Now,
				Timeout:   5 * time.Second,
				Resolver:  nowhere,
			})
			if got := client.Post(t.Context(), requestTo("http://"+host+":"+port+"/")); got.Code != CodeDNSFailure {
				t.Errorf("%+v", got)
			}
		})
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("the private endpoint was called %d times", n)
	}
	client := NewClient(ClientOptions{
		Guard: NewGuard(true), AllowHTTP: true, Now: time.Now, Timeout: 5 * time.Second,
		Resolver: (&names{answers: [][]string{{"127.0.0.1"}}}).resolver(),
	})
	if got := client.Post(t.Context(), requestTo("http://rebind.example:"+port+"/")); !got.Success() || calls.Load() != 1 {
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
		codes = append(codes, client.Post(t.Context(), requestTo("http://rebind.example/")).Code)
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
			got := client.Post(t.Context(), requestTo("https://missing.example/"))
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
		return client.Post(t.Context(), requestTo("http://"+host+":"+port+"/"))
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
		"hooks.example.com", "receiver", "localhost.example.com", "notlocalhost", "127.1", "2130706433", "10.0.0.1", "192.168.1.1",
		"169.254.169.254",
		"0.0.0.0", "8.8.8.8", "[::]", "[2606:4700:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::7f00:1]", "[fe80::1%25lo]",
	} {
		for _, guard := range []*Guard{NewGuard(true), NewGuard(false)} {
			got := post(guard, host)
			if got.Code != CodeBlockedAddress || !strings.HasPrefix(got.Error, "the local stack calls endpoints on this machine only") {
				t.Errorf("%s: %+v", host, got)
			}
		}
	}
	if lookups != 0 || calls.Load() != int64(len(near)) {
		t.Errorf("%d look-ups and %d calls, want none and %d", lookups, calls.Load(), len(near))
	}
}
