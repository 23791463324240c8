package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"
)

// ErrBlockedAddress is returned for an address that must not be called.
var ErrBlockedAddress = errors.New("special-purpose address")

// errElsewhere is returned for an address that is not on this machine by a guard with OnlyLoopback.
var errElsewhere = fmt.Errorf("%w: not on this machine", ErrBlockedAddress)

// Guard refuses special-purpose addresses: those in the registries of IANA, IPv4-mapped and NAT64
// forms included. It looks at the address that is about to be dialed, so that nothing a resolver
// says between a check and its use can get around it.
//
// Sources: https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry
type Guard struct {
	// OnlyLoopback refuses, on top of everything else, what is not on this machine. All names but
	// localhost and those below it are then refused without being looked up.
	OnlyLoopback bool
	// Bridge counts as this machine too: its address for its containers, one of which a function may be in.
	Bridge netip.Addr

	allowPrivate bool
	guardian     *ssrf.Guardian
}

// NewGuard returns a guard. With allowPrivate it lets every address pass, which is for the local stack alone.
func NewGuard(allowPrivate bool) *Guard {
	return &Guard{allowPrivate: allowPrivate, guardian: ssrf.New(ssrf.WithAnyPort())}
}

// Control is a net.Dialer's Control function.
func (g *Guard) Control(network, address string, c syscall.RawConn) error {
	if g.OnlyLoopback {
		if to, err := netip.ParseAddrPort(address); err != nil || !to.Addr().IsLoopback() && to.Addr().Unmap() != g.Bridge {
			return errElsewhere
		}
	}
	if g.allowPrivate {
		return nil
	}
	if err := g.guardian.Safe(network, address, c); err != nil {
		return fmt.Errorf("%w: %w", ErrBlockedAddress, err)
	}
	return nil
}

// Check refuses a literal IP address, in any notation that netip understands, that must not be called.
func (g *Guard) Check(host string) error {
	address, err := netip.ParseAddr(host)
	if err != nil || address.Zone() != "" {
		return fmt.Errorf("%w: %q is not an IP address", ErrBlockedAddress, host)
	}
	network := "tcp6"
	if address.Is4() {
		network = "tcp4"
	}
	return g.Control(network, netip.AddrPortFrom(address, 443).String(), nil)
}

// dialer connects to addresses that the guard lets pass. resolver is nil for the system's.
func (g *Guard) dialer(resolver *net.Resolver) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: resolver, Control: g.Control}
	if !g.OnlyLoopback {
		return dialer.DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err != nil {
			if !localhost(host) {
				return nil, errElsewhere
			}
			address = net.JoinHostPort("localhost", port) // the hosts file does not know names below localhost
		}
		return dialer.DialContext(ctx, network, address)
	}
}

// localhost reports whether a name stands for this machine (RFC 6761, section 6.3).
func localhost(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
