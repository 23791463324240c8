package delivery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// ErrBlockedAddress is returned for an address that must not be called.
var ErrBlockedAddress = errors.New("special-purpose address")

// Guard refuses special-purpose addresses: those in the registries of IANA, IPv4-mapped and NAT64
// forms included. It looks at the address that is about to be dialed, so that nothing a resolver
// says between a check and its use can get around it.
//
// Sources: https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry
type Guard struct {
	allowPrivate bool
	guardian     *ssrf.Guardian
}

// NewGuard returns a guard. allowPrivate lets everything pass; it is for the local stack alone.
func NewGuard(allowPrivate bool) *Guard {
	return &Guard{allowPrivate, ssrf.New(ssrf.WithAnyPort())}
}

// Control is a net.Dialer's Control function.
func (g *Guard) Control(network, address string, c syscall.RawConn) error {
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
	return dialer.DialContext
}
