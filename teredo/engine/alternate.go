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

// learnAlternates keeps those addresses of c.t that p may be sent to at: they
// are where an attached network is, or where its mapping is, and it shares our
// NAT. Anybody could name anybody's.
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
	if a.Addr() == mapped {
		return true
	}
	return a.Addr().IsPrivate() && slices.ContainsFunc(c.policy.Inside, func(n netip.Prefix) bool {
		return n.Bits() > 0 && n.Contains(a.Addr())
	})
}

// beside reports whether to is an alternate address of p.
func (p *peer) beside(to netip.AddrPort) bool {
	return p.x != nil && slices.Contains(p.x.alternate[:p.x.sides], to)
}
