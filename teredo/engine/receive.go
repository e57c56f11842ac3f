package engine

import (
	"errors"
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Receive takes in a datagram that arrived at the service port
// (RFC 4380, 5.2.3). Delivered packets alias payload.
func (c *Client) Receive(now time.Time, from netip.AddrPort, payload []byte, out *Output) {
	c.ReceiveOn(now, 0, from, payload, out)
}

// ReceiveOn takes in a datagram that arrived at one of the ports of Output.Open,
// or, if port is 0, at the service port.
func (c *Client) ReceiveOn(now time.Time, port uint16, from netip.AddrPort, payload []byte, out *Output) {
	c.receive(now, port, from, payload, out)
	c.ports.drain(out)
}

func (c *Client) receive(now time.Time, port uint16, from netip.AddrPort, payload []byte, out *Output) {
	d := &c.d
	if err := wire.Parse(payload, d); err != nil {
		c.drop(parseDrop(err))
		return
	}
	if from.Addr().Is4In6() {
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	}
	// The packets of a peer that is up, first: they pass no test but these.
	p := c.peers.get([16]byte(d.IPv6[8:24]))
	if p != nil && p.trust != unknown && p.source == from && p.port == port {
		c.receiveFrom(now, p, out)
		return
	}
	switch {
	case port != 0 && port == c.cone.side.port:
		c.receiveCone(from)
		return
	case port != 0 && port == c.interval.side.port:
		c.receiveInterval(now, from, out)
		return
	case isAdvertisement(d.IPv6) && port == 0:
		c.receiveAdvertisement(now, from, out)
		return
	case isAdvertisement(d.IPv6):
		c.receiveEcho(now, port, from, out)
		return
	case port != 0 && (p == nil || c.ports.open[port] != p):
		c.drop(DropMismatch) // closed by now, or another peer's
		return
	}
	src := d.IPv6.Source()
	switch {
	case !c.address.IsValid():
		c.drop(DropNotQualified)
		return
	case d.IPv6.IsBubble() && c.returned(now, p, d.IPv6) && c.policy.permits(from.Addr()) && from.Port() != 0:
		c.answered(now, p, port, from, out)
		return
	case d.IPv6.Destination() != c.own:
		c.drop(DropNotOurs)
		return
	case src == c.own || from == c.mapping:
		c.drop(DropLoop)
		return
	case d.IPv6.IsBubble() && c.badTrailers():
		return
	}
	if port == 0 && c.fromServer(from) >= 0 && (d.IPv6.IsBubble() || d.Origin.IsValid()) {
		c.receiveIndirect(now, src, from, out)
		return
	}
	a, teredo := wire.AddressFromAddr(src)
	seq, reply := c.testReply(now, d.IPv6)
	switch {
	case teredo:
		c.receiveTeredo(now, a, port, from, out)
	case d.IPv6.IsBubble():
		c.drop(DropLinkLocal)
	case !c.honest(src):
		c.drop(DropInnerSource)
	case reply:
		c.proved(now, from, seq, out)
	default:
		if why, ok := c.policy.permitsNew(from); !ok {
			c.drop(why)
			return
		}
		c.testSource(now, from, d.IPv6, out)
	}
}

func parseDrop(err error) Drop {
	switch {
	case errors.Is(err, wire.ErrHeader):
		return DropHeader
	case errors.Is(err, wire.ErrRouting):
		return DropRouting
	case errors.Is(err, wire.ErrExtension), errors.Is(err, wire.ErrJumbo), errors.Is(err, wire.ErrFragment):
		return DropExtension
	}
	return DropMalformed
}

func isAdvertisement(p wire.Packet) bool {
	return p.NextHeader() == wire.ProtoICMPv6 && len(p) > wire.HeaderSize && p[wire.HeaderSize] == wire.TypeAdvertisement
}

// badTrailers reads the trailers of a bubble into c.t, and reports whether they
// ask for it to be discarded.
func (c *Client) badTrailers() bool {
	if wire.ParseTrailers(c.d.Trailers, &c.t) == nil {
		return false
	}
	c.drop(DropTrailer)
	return true
}

// receiveFrom takes in a packet from a known peer whose UDP source is the
// right one (cases 1 and 3).
func (c *Client) receiveFrom(now time.Time, p *peer, out *Output) {
	d := &c.d
	bubble := d.IPv6.IsBubble()
	if d.IPv6.Destination() != c.own && !(bubble && c.returned(now, p, d.IPv6)) {
		c.drop(DropNotOurs)
		return
	}
	if bubble && c.badTrailers() {
		return
	}
	fresh, waiting := !p.usable(now), len(p.out.packets) > 0
	seq, reply := uint16(0), false
	if !p.teredo || !p.proof.given {
		if seq, reply = c.testReply(now, d.IPv6); reply && p.tests.answer(seq) { // used up: nobody else is to prove himself with it
			p.proof.given = true
		}
	}
	p.proof.earn(len(d.IPv6) + len(d.Trailers))
	c.heard(now, p, out)
	if bubble && c.t.Announce.Echo != [4]byte{} {
		p.across().straight = c.t.Announce.Echo // its indirect bubbles may be lost
	}
	if bubble && (c.t.HasNonce || c.t.Discovery != wire.NoDiscovery) {
		p.across().trailers = true
	}
	switch {
	case p.proof.given:
	case bubble && d.IPv6.Destination() != c.own: // it returned a token
		p.proof.given = c.vouched(p)
	case bubble && c.t.HasNonce:
		c.believe(now, p, c.t.Nonce)
	}
	// A peer that gave us a nonce may know us by nothing else: before the data
	// that waits for it.
	told := p.x != nil && (p.x.nonce != [4]byte{} || p.x.straight != [4]byte{})
	if fresh && waiting && bubble && !told && c.symmetric() && p.x != nil {
		// Only a nonce makes it accept our packets, and that is on its way.
		p.hold = now.Add(holdData)
	} else {
		p.hold = time.Time{}
	}
	switch {
	case reply, bubble && !p.teredo:
		// The answer to our own test is not the host's.
	case !bubble:
		c.deliver(d.IPv6, out)
	case c.t.Discovery == wire.DiscoverySolicitation:
		c.acknowledge(now, p, advertises, out)
	case bubble && d.IPv6.Destination() != c.own:
		c.acknowledge(now, p, solicits, out) // all it knows of us is that token
	case fresh && (!waiting || told):
		c.acknowledge(now, p, noTrailers, out)
	}
	c.flush(now, p, out)
}

// receiveTeredo takes in a packet from a Teredo source that is not known, or
// not at this UDP source (case 3; RFC 6081, 5.2.4.4 and 5.4.4.5).
func (c *Client) receiveTeredo(now time.Time, a wire.Address, port uint16, from netip.AddrPort, out *Output) {
	key := a.Addr().As16()
	p := c.peers.get(key)
	local := c.locals.at(now, key, from)
	switch {
	case a.Mapped() == c.mapping:
		c.drop(DropLoop)
		return
	case from.Port() == 0 || !c.policy.permits(from.Addr()) && !local && (p == nil || !p.beside(from)):
		c.drop(DropDenied)
		return
	case a.Mapped() != from && !local:
		if !c.d.IPv6.IsBubble() {
			c.drop(DropMismatch)
			c.correct(now, p, out)
			c.ask(now, p, port, from, out)
			return
		}
		if p == nil || p.x == nil || !c.t.HasNonce || !p.x.nonces.accept(now, c.t.Nonce, port != 0) {
			c.drop(DropNonce)
			return
		}
		c.answered(now, p, port, from, out)
		return
	}
	if p == nil {
		p = c.peers.add(now, key, from, true, false, c)
	}
	if p.usable(now) && !(p.port != 0 && port == 0) && !p.trying {
		c.drop(DropMismatch) // it has a better way, on which it was heard just now
		c.correct(now, p, out)
		return
	}
	c.settle(now, p, port, from)
	c.receiveFrom(now, p, out)
}

// answered takes in a direct bubble of p that showed that it got a bubble of
// ours.
func (c *Client) answered(now time.Time, p *peer, port uint16, from netip.AddrPort, out *Output) {
	if p.usable(now) && !p.trying && (port != 0 || p.port == 0) && !p.doubtful(now) {
		c.drop(DropMismatch)
		return
	}
	c.settle(now, p, port, from)
	c.receiveFrom(now, p, out)
}

// settle makes a way to p the one to use.
func (c *Client) settle(now time.Time, p *peer, port uint16, from netip.AddrPort) {
	p.port = port
	c.ports.keep(p, port)
	c.peers.move(now, p, c.destination(now, p, port, from), from, c)
}

// destination returns where packets to p go once it was heard from from: there,
// but for two symmetric NATs and a port forward at ours (RFC 6081, 5.3.4.2 and
// 5.3.4.3). To a forward of the peer's own, then, if it told of one, and who tells
// of none by the RFC alone may have it where its address says: what it sends from
// lets nobody in but the one forward of ours. The nonce that it returned knows
// better, if it went straight to one place.
func (c *Client) destination(now time.Time, p *peer, port uint16, from netip.AddrPort) netip.AddrPort {
	embedded := p.embedded()
	if port != 0 || !c.symmetric() || c.forward() == 0 || from == embedded || from.Addr() != embedded.Addr() || p.x == nil {
		return from
	}
	if n := p.x.nonces.find(now, c.t.Nonce); n != nil && n.to.IsValid() {
		return n.to
	}
	switch {
	case p.x.mapped && p.x.peerPort != 0:
		return p.random()
	case p.x.heard && !p.x.announced:
		return embedded
	}
	return from
}

// correct answers a packet of a peer that came another way than the one in use:
// the peer may not have learnt of that.
func (c *Client) correct(now time.Time, p *peer, out *Output) {
	if p != nil && p.trust == proven && p.usable(now) {
		c.acknowledge(now, p, noTrailers, out)
	}
}

// receiveIndirect takes in a bubble, or any packet with an origin indication,
// that came through our server: somebody wants us to open our NAT.
func (c *Client) receiveIndirect(now time.Time, src netip.Addr, from netip.AddrPort, out *Output) {
	d := &c.d
	a, teredo := wire.AddressFromAddr(src)
	origin := d.Origin
	if !origin.IsValid() && teredo {
		origin = a.Mapped() // some servers leave it out
	}
	switch {
	case !origin.IsValid():
		c.drop(DropInnerSource)
		return
	case teredo && a.Mapped() != origin:
		c.drop(DropMismatch)
		return
	case origin == c.mapping || c.fromServer(origin) >= 0:
		c.drop(DropLoop)
		return
	case !teredo && !src.IsLinkLocalUnicast() && !c.honest(src):
		c.drop(DropInnerSource)
		return
	case d.IPv6.IsBubble() && c.t.BadAlternate: // RFC 6081, 5.6.4.2
		c.drop(DropTrailer)
		return
	}
	if why, ok := c.policy.permitsNew(origin); !ok {
		c.drop(why)
		return
	}
	if !teredo {
		// A relay, or a client that hides behind a link-local address: all it
		// waits for is a bubble with the addresses swapped.
		if c.answers.take(now, 1) {
			c.bubble(origin, c.own, src, &wire.Trailers{}, out)
			c.inviteBack(now, origin, out)
		} else {
			c.drop(DropAnswerLimit)
		}
		return
	}
	key := src.As16()
	p := c.peers.get(key)
	if p == nil {
		p = c.peers.add(now, key, origin, true, false, c)
	}
	c.peers.used(p)
	lacks := true
	if d.IPv6.IsBubble() {
		lacks = c.learn(now, p)
		if p.trust != unknown && !p.x.announced {
			c.peers.move(now, p, c.destination(now, p, p.port, p.source), p.source, c)
		}
	}
	if !p.usable(now) && !p.trying {
		// Not heard directly yet: punch as well, which answers the bubble.
		c.try(now, p, out)
		if p.trying && p.tries <= 1 {
			c.nag(now, p)
			c.congratulate(now, p, out)
			return
		}
	}
	if p.trying && !p.usable(now) {
		c.nag(now, p)
		c.congratulate(now, p, out)
		c.plan(p)
	}
	if !p.answers.take(now, 1) || (!p.wanted && !c.answers.take(now, 1)) {
		c.drop(DropAnswerLimit)
		return
	}
	if p.usable(now) {
		c.bubbleTo(now, p, p.port, p.mapped, 0, trailersOf(p, noTrailers), out)
		if now.Sub(p.lastRx) > bubbleGap {
			c.reach(now, p, 0, solicits, out) // it may have lost that way
		}
		p.hold = time.Time{}
		c.flush(now, p, out)
		return
	}
	if p.waiting {
		c.reach(now, p, 0, noTrailers, out)
		return
	}
	tested := p.x.external
	c.extraPort(now, p, out)
	c.reach(now, p, 0, solicits, out)
	if (lacks || p.x.external != tested) && p.x.test.next.IsZero() {
		c.invite(now, p, out)
	}
	if p.trying {
		c.plan(p)
	}
}

// ask has a peer that we try, and whose data comes from where its address does not
// say, prove that it is there: it knows us already, so its nonce got lost. One that
// is up needs a new nonce for that.
func (c *Client) ask(now time.Time, p *peer, port uint16, from netip.AddrPort, out *Output) {
	switch {
	case p == nil || p.x == nil || !p.trying && !p.doubtful(now) || !p.answers.take(now, 1):
	case !p.trying:
		c.invite(now, p, out)
	case from.Addr() == p.embedded().Addr():
		c.bubbleTo(now, p, port, from, 0, c.asking(now, p, solicits, from), out)
	}
}

// inviteBack sends another indirect bubble to the peer that we try at origin:
// it hides, because it did not hear of us yet.
func (c *Client) inviteBack(now time.Time, origin netip.AddrPort, out *Output) {
	for _, p := range c.peers.due {
		if p.trying && !p.waiting && p.teredo && p.embedded() == origin && (p.x == nil || p.x.test.next.IsZero() && (!p.x.heard || p.x.announced)) && p.answers.take(now, 1) {
			c.invite(now, p, out)
			return
		}
	}
}

// proved takes in the answer to connectivity test seq: from is the relay nearest
// to the node (case 2). Whoever saw an answer can send it again from anywhere,
// so that only the first one to a test that waits counts.
func (c *Client) proved(now time.Time, from netip.AddrPort, seq uint16, out *Output) {
	if !c.policy.permits(from.Addr()) || from.Port() == 0 {
		c.drop(DropDenied)
		return
	}
	key := [16]byte(c.d.IPv6[8:24])
	p := c.peers.get(key)
	if p == nil || !p.tests.answer(seq) {
		c.drop(DropPingToken)
		return
	}
	c.peers.move(now, p, from, from, c)
	c.heard(now, p, out)
	c.flush(now, p, out)
}

// deliver hands a packet to the host, unless it is one of the messages that
// configure a host's network.
func (c *Client) deliver(packet wire.Packet, out *Output) {
	if proto, at, err := packet.Upper(); err != nil || (proto == wire.ProtoICMPv6 && discovery(packet[at:])) {
		c.drop(DropDiscovery)
		return
	}
	c.stats.received++
	out.Deliver = append(out.Deliver, packet)
}

// discovery reports whether an ICMPv6 message belongs to Neighbor or Listener
// Discovery: types 130 to 137, 143 and 151 to 153.
func discovery(message []byte) bool {
	if len(message) == 0 {
		return true
	}
	t := message[0]
	return (t >= 130 && t <= 137) || t == 143 || (t >= 151 && t <= 153)
}

// honest reports whether ip can be the address of a node on the IPv6
// Internet: not unspecified, loopback, multicast, link-local, unique local or
// with an embedded IPv4 address that is no address of the Internet.
func (c *Client) honest(ip netip.Addr) bool { return honest(&c.policy, ip) }

func honest(policy *Policy, ip netip.Addr) bool {
	b := ip.As16()
	switch {
	case ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip.Is4In6(), ip.IsPrivate():
		return false
	case [12]byte(b[:12]) == [12]byte{}: // ::, ::1 and ::/96
		return false
	case b[0] == 0x20 && b[1] == 0x02:
		return policy.permits(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return true
}
