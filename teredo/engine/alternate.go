package engine

import (
	"net/netip"
	"slices"

	"shipworm/teredo/wire"
)

// addAlternates tells a peer behind the same NAT where else we are (RFC 6081,
// 5.6.4.1). No other peer could use it, and private addresses are nobody
// else's business.
func (c *Client) addAlternates(peer wire.Address, t *wire.Trailers) {
	if peer.Mapped().Addr() != c.mapping.Addr() {
		return
	}
	for _, a := range []netip.AddrPort{c.local, c.external} {
		if a.Addr().Is4() && !a.Addr().IsUnspecified() && a.Port() != 0 && a != c.mapping {
			t.Alternate[t.Alternates] = a
			t.Alternates++
		}
	}
}

// learnAlternates keeps those addresses of c.t that p may be sent to at: it
// shares our NAT, and they are on an attached network, on that of our router's
// outside, or at the NAT. Anybody could name anybody's.
func (c *Client) learnAlternates(p *peer) {
	x := p.x
	x.sides = 0
	if c.t.Alternates == 0 {
		return
	}
	shared := p.embedded().Addr() == c.mapping.Addr()
	for _, a := range c.t.Alternate[:c.t.Alternates] {
		if !shared || !c.near(a, p.embedded().Addr()) {
			c.drop(DropAlternate)
			continue
		}
		x.alternate[x.sides] = a
		x.sides++
	}
}

// near reports whether an alternate address of a peer behind our NAT may be
// sent to.
func (c *Client) near(a netip.AddrPort, mapped netip.Addr) bool {
	if !portPermitted(a.Port()) || slices.Contains(c.policy.Own, a.Addr()) || a.Addr().IsLoopback() {
		return false
	}
	if a.Addr() == mapped || c.betweenNATs(a.Addr()) {
		return true
	}
	return a.Addr().IsPrivate() && slices.ContainsFunc(c.policy.Inside, func(n netip.Prefix) bool {
		return n.Bits() > 0 && n.Contains(a.Addr())
	})
}

// betweenNATs reports whether ip is on the network between our router and the
// NAT that peers see, so far as our port forward tells: beside its outside end
// (RFC 6081, 3.5 and 6.5).
func (c *Client) betweenNATs(ip netip.Addr) bool {
	outside := c.external.Addr()
	if !outside.Is4() || outside == c.mapping.Addr() {
		return false
	}
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)
	network := netip.PrefixFrom(outside, 24)
	return (ip.IsPrivate() || shared.Contains(ip)) && network.Contains(ip) && ip != outside
}

// beside reports whether to is an alternate address of p.
func (p *peer) beside(to netip.AddrPort) bool {
	return p.x != nil && slices.Contains(p.x.alternate[:p.x.sides], to)
}
