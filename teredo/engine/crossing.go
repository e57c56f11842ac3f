package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// openerTTL lets the first direct bubble leave the home and no more: it opens
// our NAT, and dies before a router at the other end sees a packet that nobody
// there asked for. Some routers answer such a packet themselves, and their
// connection tracking then moves the mapping that the peer is about to open.
const openerTTL = 2

// crossing is what is known of the way to a peer across two NATs, beyond the
// mapping in its address (RFC 6081, 5.2.1, 5.4.1, 5.5.1 and 5.6.1).
type crossing struct {
	// Of the peer, from its indirect bubbles.
	heard     bool    // one came
	announced bool    // with our announcement
	trailers  bool    // it knows those of RFC 6081
	nonce     [4]byte // Nonce Received; zero: none
	straight  [4]byte // of a direct bubble since; zero: none
	nat       wire.NAT
	mapped    bool   // peerPort is a port forward
	peerPort  uint16 // Peer Random Port; 0: none
	open      bool   // it opened many ports for us
	aim       uint16 // our port that peerPort was opened for
	echoed    bool   // it returned a nonce through the servers
	alternate [wire.MaxAlternates]netip.AddrPort
	sides     int // entries of alternate that may be sent to

	// Of ours.
	nonces nonces
	told   bool   // an indirect bubble of ours returned a nonce of the peer
	tokens bool   // link-local bubbles were sent
	port   uint16 // extra port, 0: none
	ports  int    // all extra ports of the peer
	// external is port as the peer must see it (Random Port), 0: not known.
	external  uint16
	target    netip.AddrPort // what port was opened for; its first bubble goes there
	test      echoTest
	renewed   int       // the try in which port was opened
	probed    time.Time // last birthday
	nagAt     time.Time // next invitation for one, if nags is not 0
	nags      int
	refreshes int // Connection Refresh Count
}

// across returns p's crossing, making it.
func (p *peer) across() *crossing {
	if p.x == nil {
		p.x = &crossing{}
	}
	return p.x
}

// embedded returns the mapping in p's address.
func (p *peer) embedded() netip.AddrPort {
	a, _ := wire.AddressFromAddr(p.ip())
	return a.Mapped()
}

// random returns p's address with its random port, invalid if there is none.
func (p *peer) random() netip.AddrPort {
	if p.x == nil || p.x.peerPort == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.embedded().Addr(), p.x.peerPort)
}

// extraPort makes p's extra port fit what is known (RFC 6081, 5.4 and 5.5), if
// our NAT is one whose mappings can be foretold. A port is of use for the first
// destination that it sends to: another one takes another port.
func (c *Client) extraPort(now time.Time, p *peer, out *Output) {
	x := p.x
	switch c.nat {
	case wire.NATPreserving:
		target := netip.AddrPort{} // until the peer has told where it waits
		switch {
		case x.nat == wire.NATSequential && (x.port == 0 || x.aim != x.external):
			// It foretold a mapping towards another port of ours.
		case x.peerPort != 0:
			target = p.random()
		case x.heard && x.nat != wire.NATSequential: // that one is yet to tell
			target = p.embedded()
		}
		if x.port != 0 && (!x.target.IsValid() || !target.IsValid() || x.target == target) {
			if target.IsValid() {
				x.target = target
			}
			return
		}
		if x.nat == wire.NATSequential {
			target = netip.AddrPort{} // it must foretell anew, for the new port
		}
		c.newPort(p, target, out)
		x.external = x.port
	case wire.NATSequential:
		target := p.embedded()
		if x.peerPort != 0 && !x.mapped {
			target = p.random()
		}
		// Halfway through the tries it is time for another prophecy.
		stale := x.test.next.IsZero() && (x.external == 0 || p.tries == bubbleTries-1 && x.renewed != p.tries && x.nat != wire.NATPreserving)
		if x.port != 0 && x.target == target && !stale {
			return
		}
		x.renewed = p.tries
		c.newPort(p, target, out)
		if x.port != 0 {
			c.startEcho(now, p, out)
		}
	}
}

// newPort opens p's extra port, in place of another.
func (c *Client) newPort(p *peer, target netip.AddrPort, out *Output) {
	x := p.x
	if x.port != 0 {
		c.ports.close(x.port)
	}
	x.port, x.external, x.target, x.test = c.openPort(p, out), 0, target, echoTest{}
}

// reach sends direct bubbles wherever p may be, from each port that it may
// expect: they open our NAT, and perhaps arrive.
func (c *Client) reach(now time.Time, p *peer, ttl uint8, kind trailerKind, out *Output) {
	ask := func(port uint16, to netip.AddrPort, ttl uint8) {
		c.bubbleTo(now, p, port, to, ttl, c.asking(now, p, kind, to), out)
	}
	ask(0, p.mapped, ttl)
	embedded := p.embedded()
	if embedded != p.mapped {
		ask(0, embedded, ttl)
	}
	x := p.x
	if x == nil {
		return
	}
	if random := p.random(); random.IsValid() && random != p.mapped {
		// A symmetric NAT has an extra port for it, unless anybody may send there.
		if !c.symmetric() || x.mapped || c.nat == wire.NATRandom {
			ask(0, random, ttl)
		}
	}
	if x.port != 0 && x.target.IsValid() && x.test.next.IsZero() {
		ask(x.port, x.target, ttl)
	}
	for _, side := range x.alternate[:x.sides] {
		ask(0, side, 0)
	}
}

// invite sends p an indirect bubble with all that it needs to know of us.
func (c *Client) invite(now time.Time, p *peer, out *Output) {
	a, _ := wire.AddressFromAddr(p.ip())
	if !c.permitsServer(a.Server()) {
		c.drop(DropDenied) // a stranger's address may hold anything there
		return
	}
	x := p.across()
	says := c.says(x)
	nonce, err := x.nonces.draw(now, c.rand, netip.AddrPort{}, says)
	if err != nil {
		c.drop(DropRandom)
		return
	}
	echo := x.nonce
	if echo == [4]byte{} {
		echo = x.straight // its indirect bubbles were lost
	}
	x.told = x.told || echo != [4]byte{}
	t := wire.Trailers{HasNonce: true, Nonce: nonce}
	t.Announce = wire.Announcement{Present: true, NAT: c.nat, Echo: echo, Aim: says.aim, Open: says.open, Mapped: c.forward() != 0}
	t.RandomPort = says.port
	c.addAlternates(a, &t)
	server := netip.AddrPortFrom(a.Server(), wire.Port)
	p.lastTx = now
	c.bubble(server, c.own, p.ip(), &t, out)
}

// said is what an indirect bubble says that may change while a peer is tried.
type said struct {
	port uint16 // Random Port: a port forward, or what is known of the extra port
	aim  uint16 // the peer's port that it is for
	open bool   // many ports wait for the peer
}

func (c *Client) says(x *crossing) said {
	s := said{x.external, x.peerPort, c.nat == wire.NATRandom && !x.probed.IsZero()}
	if f := c.forward(); f != 0 {
		s.port = f
	}
	return s
}

// trailerKind says what a direct bubble asks for.
type trailerKind uint8

const (
	noTrailers trailerKind = iota
	solicits               // an answer (RFC 6081, 4.4)
	advertises             // it is one
)

// trailersOf returns the trailers of a direct bubble to p.
func trailersOf(p *peer, kind trailerKind) wire.Trailers {
	t := wire.Trailers{}
	switch kind {
	case solicits:
		t.Discovery = wire.DiscoverySolicitation
	case advertises:
		t.Discovery = wire.DiscoveryAdvertisement
	}
	if p.x != nil {
		t.Nonce = p.x.nonce
		if p.x.straight != [4]byte{} {
			t.Nonce = p.x.straight
		}
		t.HasNonce = t.Nonce != [4]byte{}
	}
	return t
}

// asking returns the trailers of a direct bubble to a peer that may not have
// got our indirect ones, or has not proved itself: it is given a nonce. Where
// it was not heard, that is one of those that went through its server.
func (c *Client) asking(now time.Time, p *peer, kind trailerKind, to netip.AddrPort) wire.Trailers {
	t := trailersOf(p, kind)
	if kind != solicits {
		return t
	}
	t.Announce = wire.Announcement{Present: true, NAT: c.nat}
	if x := p.across(); to.Addr() == p.source.Addr() {
		if x.trailers {
			p.proof.next = later(p.proof.next, now.Add(proofGap)) // that was a question
		}
		var err error
		if t.Announce.Echo, err = x.nonces.straight(now, c.rand, to); err != nil {
			c.drop(DropRandom)
		}
	} else {
		t.Announce.Echo = x.nonces.latest()
	}
	return t
}

// permitsBubble reports whether a bubble for p may go to to, and counts if not.
func (c *Client) permitsBubble(now time.Time, p *peer, to netip.AddrPort) bool {
	why, ok := c.policy.permitsNew(to)
	if !ok && (why == DropDenied || p.trust != proven) && !p.beside(to) && !c.locals.at(now, p.key, to) {
		c.drop(why)
		return false
	}
	return true
}

// bubbleTo sends p a direct bubble, if its destination may be sent to.
func (c *Client) bubbleTo(now time.Time, p *peer, port uint16, to netip.AddrPort, ttl uint8, t wire.Trailers, out *Output) {
	if !c.permitsBubble(now, p, to) {
		return
	}
	if port != 0 && c.ports.open[port] != nil && c.nat == wire.NATPreserving {
		t.RandomPort = port // RFC 6081, 5.4.4.3
	}
	p.lastTx = now
	start := len(out.buf)
	out.buf = wire.AppendBubble(out.buf, c.own, p.ip(), wire.BubbleHopLimit)
	out.buf = wire.AppendTrailers(out.buf, &t)
	p.proof.spend(len(out.buf) - start)
	out.builtFrom(port, to, ttl, start)
}

// bubble sends a bubble from the service port.
func (c *Client) bubble(to netip.AddrPort, src, dst netip.Addr, t *wire.Trailers, out *Output) {
	start := len(out.buf)
	out.buf = wire.AppendBubble(out.buf, src, dst, wire.BubbleHopLimit)
	out.buf = wire.AppendTrailers(out.buf, t)
	out.built(to, start)
}

// learn takes in the trailers of p's indirect bubble, and reports whether it
// shows that the peer lacks what our last one said.
func (c *Client) learn(now time.Time, p *peer) (lacks bool) {
	t, x := &c.t, p.across()
	x.heard, x.nonce, x.straight = true, [4]byte{}, [4]byte{}
	if t.HasNonce {
		x.nonce = t.Nonce
	}
	x.announced = t.Announce.Present
	x.trailers = x.trailers || t.HasNonce
	x.peerPort, x.nat, x.mapped, x.open, x.aim = 0, t.Announce.NAT, t.Announce.Mapped, t.Announce.Open, t.Announce.Aim
	if to := netip.AddrPortFrom(p.embedded().Addr(), t.RandomPort); t.RandomPort != 0 {
		if why, ok := c.policy.permitsNew(to); ok {
			x.peerPort = t.RandomPort
		} else {
			c.drop(why)
		}
	}
	c.learnAlternates(p)
	known := x.nonces.find(now, t.Announce.Echo)
	if known != nil {
		x.echoed = true
	}
	return known == nil || known.says != c.says(x) || c.chance(x) && !x.told
}
