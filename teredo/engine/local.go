package engine

import (
	"net/netip"
	"slices"
	"time"

	"shipworm/teredo/wire"
)

// Local client discovery (RFC 4380, 5.2.8).
const (
	localPeers    = 16
	localHeard    = 600 * time.Second // a peer is local so long after its announcement
	localEvery    = 300 * time.Second // announcements, at the latest; 200 s at the earliest
	localHopLimit = 1

	// Announcements a second that those of others cause.
	localRate, localBurst = 0.1, 4
)

// LocalGroup is where clients on one link announce themselves: 224.0.0.253 and
// the port of servers.
func LocalGroup() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 253}), wire.Port)
}

// locals are the clients that announced themselves on our link.
type locals struct {
	peers   map[[16]byte]localPeer
	next    time.Time // our next announcement; zero for none
	answers bucket
}

type localPeer struct {
	at    netip.AddrPort
	heard time.Time
}

// at reports whether the peer announced itself from ap not long ago.
func (l *locals) at(now time.Time, key [16]byte, ap netip.AddrPort) bool {
	p, ok := l.peers[key]
	return ok && p.at == ap && now.Sub(p.heard) < localHeard
}

// keep notes an announcement, and reports whether the peer is new.
func (l *locals) keep(now time.Time, key [16]byte, ap netip.AddrPort) bool {
	fresh := !l.at(now, key, ap)
	if l.peers == nil {
		l.peers = map[[16]byte]localPeer{}
	}
	if _, ok := l.peers[key]; !ok && len(l.peers) >= localPeers {
		var oldest [16]byte
		for k, p := range l.peers {
			if o, ok := l.peers[oldest]; !ok || p.heard.Before(o.heard) {
				oldest = k
			}
		}
		delete(l.peers, oldest)
	}
	l.peers[key] = localPeer{ap, now}
	return fresh
}

// ReceiveLocal takes in a datagram that arrived at LocalGroup, which only
// counts with ClientConfig.LocalDiscovery: the announcement of a client behind
// our NAT on one of our links. It gets a bubble, and if it is new an
// announcement of ours, so that it takes that bubble for ours.
func (c *Client) ReceiveLocal(now time.Time, from netip.AddrPort, payload []byte, out *Output) {
	d := &c.d
	if err := wire.Parse(payload, d); err != nil {
		c.drop(parseDrop(err))
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	a, teredo := wire.AddressFromAddr(d.IPv6.Source())
	onLink := slices.ContainsFunc(c.policy.Inside, func(n netip.Prefix) bool { return n.Bits() > 0 && n.Contains(from.Addr()) })
	switch {
	case !c.config.LocalDiscovery || !c.address.IsValid():
		c.drop(DropNotQualified)
		return
	case a == c.address:
		return // our own, come back
	case !d.IPv6.IsBubble() || d.IPv6.Destination() != wire.AllNodes() || len(d.Trailers) != 0,
		!teredo || a.Mapped() == c.mapping || a.Mapped().Addr() != c.mapping.Addr() || !portPermitted(a.Mapped().Port()),
		!onLink || slices.Contains(c.policy.Own, from.Addr()) || !portPermitted(from.Port()):
		c.drop(DropLocal)
		return
	case !c.answers.take(now, 1):
		c.drop(DropAnswerLimit)
		return
	}
	fresh := c.locals.keep(now, a.Addr().As16(), from)
	c.bubble(from, c.own, a.Addr(), &wire.Trailers{}, out)
	if fresh && c.locals.answers.take(now, 1) {
		c.announce(now, out)
	}
}

// announce tells the link that we are here.
func (c *Client) announce(now time.Time, out *Output) {
	c.locals.next = now.Add(c.between(2.0/3, 1, localEvery))
	start := len(out.buf)
	out.buf = wire.AppendBubble(out.buf, c.own, wire.AllNodes(), localHopLimit)
	out.builtFrom(0, LocalGroup(), 1, start)
}

func (c *Client) tickLocal(now time.Time, out *Output) {
	l := &c.locals
	switch {
	case l.next.IsZero() || now.Before(l.next):
	case !c.address.IsValid():
		l.peers, l.next = nil, time.Time{} // those who heard us knew another address
	default:
		c.announce(now, out)
	}
}

// startLocal begins to announce, if that is asked for, now that there is an
// address.
func (c *Client) startLocal(now time.Time) {
	if c.config.LocalDiscovery {
		c.locals.next = now
		c.locals.answers = bucket{rate: localRate, burst: localBurst}
	}
}

// reachLocal sends a bubble to p where it announced itself, if it did.
func (c *Client) reachLocal(now time.Time, p *peer, out *Output) {
	if l, ok := c.locals.peers[p.key]; ok && now.Sub(l.heard) < localHeard {
		c.bubble(l.at, c.own, p.ip(), &wire.Trailers{}, out)
	}
}
