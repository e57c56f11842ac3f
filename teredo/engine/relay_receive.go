package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Receive takes in a datagram that arrived at the relay's UDP port
// (RFC 4380, 5.4.2). Delivered packets, for native nodes, alias payload, which
// is changed: they make a hop.
func (r *Relay) Receive(now time.Time, from netip.AddrPort, payload []byte, out *Output) {
	d := &r.d
	if err := wire.Parse(payload, d); err != nil {
		r.drop(parseDrop(err))
		return
	}
	if d.IPv6.IsBubble() && wire.ParseTrailers(d.Trailers, &r.t) != nil {
		r.drop(DropTrailer)
		return
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	p := r.peers.entries[[16]byte(d.IPv6[8:24])]
	if p == nil || p.mapped != from || !p.usable(now) && !p.known(now) || p.trust == matched && d.IPv6.IsBubble() {
		if why, ok := r.identify(now, from, p); !ok {
			r.drop(why)
			if p == nil && why == DropRelayUnknown {
				r.challenge(now, from, out)
			}
			return
		}
	}
	r.heard(now, p, len(payload), out)
	if d.IPv6.IsBubble() {
		r.acknowledge(now, p, out)
		return
	}
	dst := d.IPv6.Destination()
	if _, teredo := wire.AddressFromAddr(dst); teredo || r.ownTunnel(dst) {
		r.drop(DropRelayLoop)
		return
	}
	if !r.serves(dst) {
		r.drop(DropRelayTarget)
		return
	}
	if proto, at, err := d.IPv6.Upper(); err != nil || (proto == wire.ProtoICMPv6 && discovery(d.IPv6[at:])) {
		r.drop(DropDiscovery)
		return
	}
	if !r.hop(d.IPv6) {
		return
	}
	r.state.Received++
	out.Deliver = append(out.Deliver, d.IPv6)
}

// identify settles the trust of p, the entry of the source of r.d or nil, now
// that a packet of its came from from. Where a bubble went to matters for
// that, and for nothing else: an answer to one of ours proves that it arrived,
// whatever port it comes from. Another IPv4 address could be that of a victim.
func (r *Relay) identify(now time.Time, from netip.AddrPort, p *relayPeer) (Drop, bool) {
	d := &r.d
	a, teredo := wire.AddressFromAddr(d.IPv6.Source())
	switch {
	case !teredo:
		return DropInnerSource, false
	case !r.policy.permits(from.Addr()) || from.Port() == 0:
		return DropDenied, false
	case p == nil && a.Mapped() != from:
		return DropMismatch, false
	case p == nil:
		return DropRelayUnknown, false
	}
	if p.trust == proven && !p.known(now) {
		p.trust = unknown // too long ago
	}
	switch {
	case a.Mapped().Addr() == from.Addr() && d.IPv6.IsBubble() && r.token.valid(now, p.key, d.IPv6.Destination()):
		r.prove(now, from, p, a)
		return 0, true
	case a.Mapped() != from, p.usable(now) && p.mapped != from:
		return DropMismatch, false
	case p.trust == unknown:
		if why, ok := r.policy.permitsNew(from); !ok {
			return why, false
		}
		p.trust, p.credit = matched, 0
	}
	p.mapped = from
	return 0, true
}

// prove notes that p answered a bubble, from from.
func (r *Relay) prove(now time.Time, from netip.AddrPort, p *relayPeer, a wire.Address) {
	p.mapped, p.trust = from, proven
	r.promote(p)
	r.quota.learn(now, a.Server())
	r.quota.forgive(now, p.key)
	r.quota.forgive(now, a.Mapped().Addr().As16())
}

// challenge tries the unknown client that sent r.d from the mapping in its
// address, if a node is served that the packet is for. A relay that restarted
// is found again that way, before the clients' own tests say that it is gone.
func (r *Relay) challenge(now time.Time, from netip.AddrPort, out *Output) {
	key := [16]byte(r.d.IPv6[8:24])
	if r.d.IPv6.IsBubble() || !r.serves(r.d.IPv6.Destination()) {
		return
	}
	if _, ok := r.target(now, nil, netip.AddrFrom16(key)); ok && r.quota.strangers.take(now, 1) {
		r.try(now, r.add(key, from), out)
	}
}

// heard notes a packet of so many bytes that came from p.
func (r *Relay) heard(now time.Time, p *relayPeer, size int, out *Output) {
	p.lastRx = now
	r.peers.used(p)
	if p.trust == matched {
		p.credit = min(p.credit+creditFactor*size, creditFactor*queueBytes)
	} else {
		r.peers.settle(p)
		p.due = time.Time{}
	}
	r.flush(now, p, out)
}

// acknowledge answers a bubble that asks for one (RFC 6081, 3.6).
func (r *Relay) acknowledge(now time.Time, p *relayPeer, out *Output) {
	if p.trust != proven || r.t.Discovery != wire.DiscoverySolicitation || now.Sub(p.told) < bubbleGap {
		return
	}
	p.told = now
	r.transmitBubble(now, p.mapped, p, wire.DiscoveryAdvertisement, out)
}
