package upnp

import (
	"context"
	"net"
	"net/netip"
)

// Gateway is a default router, as this host sees it.
type Gateway struct {
	Addr      netip.Addr   // with a zone if it is link-local
	Local     netip.Prefix // our address toward it, and its network's length
	Interface string
}

// onLink is the network that the router and the host share.
func (g *Gateway) onLink() netip.Prefix { return g.Local.Masked() }

// scoped gives a link-local address the zone that it needs.
func (g *Gateway) scoped(a netip.Addr) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() {
		return a.WithZone(g.Interface)
	}
	return a
}

// Host is what a Mapper needs of the host it runs on. It must be safe for
// concurrent use. [System] is the real one; tests bring their own.
type Host interface {
	// Gateway returns the default router for an address of ours, or for the
	// family of an unspecified one, or ErrNoGateway. It reads tables and sends
	// nothing.
	Gateway(local netip.Addr) (Gateway, error)
	// Dial connects from a local address; network is "udp" or "tcp". A "udp"
	// connection passes on what its one peer sends, nothing else.
	Dial(ctx context.Context, network string, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	// Listen opens a UDP socket toward the gateway's link, for a search.
	Listen(ctx context.Context, g Gateway) (net.PacketConn, error)
	// ListenGroup hears what is sent to a multicast group on the gateway's
	// link, and nothing else. Systems that cannot separate the two return
	// errors.ErrUnsupported.
	ListenGroup(ctx context.Context, g Gateway, group netip.AddrPort) (net.PacketConn, error)
	// Bound reports whether a socket of this host is bound to a port.
	Bound(p Protocol, local netip.AddrPort) bool
}
