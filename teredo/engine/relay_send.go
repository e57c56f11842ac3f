package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// creditFactor is how many times the bytes that came from a client go back to
// it before it has proved that it is where its packets seem to come from.
const creditFactor = 3

// Send takes an IPv6 packet of a native node for a Teredo client
// (RFC 4380, 5.4.1) and changes it: it makes a hop. To a client that is up the
// packet goes at once, uncopied; for another a copy waits while it is tried.
func (r *Relay) Send(now time.Time, packet []byte, out *Output) {
	ip, err := wire.CheckPacket(packet)
	switch {
	case err != nil:
		r.drop(DropSendMalformed)
		return
	case len(packet) > wire.MTU:
		r.drop(DropSendTooBig)
		return
	}
	key := [16]byte(ip[24:40])
	p := r.peers.entries[key]
	if p == nil || !p.usable(now) {
		if why, ok := r.target(now, p, netip.AddrFrom16(key)); !ok {
			r.drop(why)
			return
		}
	}
	if src := ip.Source(); !r.serves(src) {
		r.drop(DropRelaySource)
		return
	} else if _, teredo := wire.AddressFromAddr(src); teredo || r.ownTunnel(src) {
		r.drop(DropRelayLoop)
		return
	}
	if !r.hop(packet) {
		return
	}
	if p == nil {
		a, _ := wire.AddressFromAddr(netip.AddrFrom16(key))
		p = r.add(key, a.Mapped())
	}
	r.peers.used(p)
	switch {
	case !p.usable(now):
		r.hold(now, p, packet)
		r.try(now, p, out)
	case p.trust == matched && p.credit < len(packet):
		r.drop(DropRelayCredit)
		r.try(now, p, out)
	default:
		r.transmit(p, packet, out)
		if now.Sub(p.lastRx) > peerRefresh {
			r.try(now, p, out)
		}
	}
}

// target reports whether dst is a client that may be tried, and if not, why. p
// is its entry, or nil.
func (r *Relay) target(now time.Time, p *relayPeer, dst netip.Addr) (Drop, bool) {
	a, teredo := wire.AddressFromAddr(dst)
	if !teredo {
		return DropSendTarget, false
	}
	if !r.policy.permits(a.Server()) {
		return DropDenied, false
	}
	if p == nil || !p.known(now) {
		if why, ok := r.policy.permitsNew(a.Mapped()); !ok {
			return why, false
		}
	}
	waits := p != nil && (p.trying() || p.known(now))
	if !waits && r.quota.retryAt(now, dst.As16()).Sub(now) > bubbleGap {
		return DropBubbleLimit, false
	}
	return 0, true
}

// hop has a packet make a hop, if it may.
func (r *Relay) hop(packet []byte) bool {
	const hopLimit = 7
	if packet[hopLimit] <= 1 {
		r.drop(DropRelayHopLimit)
		return false
	}
	packet[hopLimit]--
	return true
}

func (r *Relay) transmit(p *relayPeer, packet []byte, out *Output) {
	if p.trust == matched {
		p.credit -= len(packet)
	}
	r.state.Sent++
	out.Transmit = append(out.Transmit, Transmit{To: p.mapped, Payload: packet})
}

// flush sends what waits for p.
func (r *Relay) flush(now time.Time, p *relayPeer, out *Output) {
	for len(p.queue.packets) > 0 {
		switch w := r.release(&p.queue); {
		case now.Sub(w.since) > queueAge:
			r.drop(DropQueueOld)
		case p.trust == matched && p.credit < len(w.packet):
			r.drop(DropRelayCredit)
		default:
			r.transmit(p, w.packet, out)
		}
	}
	p.queue.packets = nil
}

// try starts an attempt to reach p, unless one is under way or the last one
// ended just now.
func (r *Relay) try(now time.Time, p *relayPeer, out *Output) {
	if p.trying() || now.Before(p.due) {
		return
	}
	p.tries = 0
	r.attempt(now, p, out)
}

// attempt makes the next try of p's attempt, or ends it. A try that a limit
// forbids counts as one: a flood is not to keep attempts alive.
func (r *Relay) attempt(now time.Time, p *relayPeer, out *Output) {
	r.peers.settle(p)
	if p.tries == bubbleTries {
		r.fail(now, p)
		return
	}
	p.tries++
	p.due = now.Add(bubbleGap)
	r.peers.trying.push(p)
	r.bubble(now, p, out)
}

// fail gives an attempt up. Who never answered is forgotten, but for the
// bubbles that it got.
func (r *Relay) fail(now time.Time, p *relayPeer) {
	switch {
	case p.usable(now): // only its sign of life failed to come
	case p.known(now):
		r.empty(p, DropPeerFailed)
	default:
		r.remove(p, DropPeerFailed)
	}
	p.due = now.Add(relayPause)
}

// bubble asks p for one, through its server and perhaps straight.
func (r *Relay) bubble(now time.Time, p *relayPeer, out *Output) {
	a, _ := wire.AddressFromAddr(p.ip())
	server := a.Server()
	if !p.known(now) && !r.quota.retryAt(now, p.key).IsZero() {
		r.drop(DropBubbleLimit)
		return
	}
	bound, fresh := &r.quota.old, !r.quota.known(now, server)
	if fresh {
		bound = &r.quota.new
	}
	switch {
	case !bound.take(now, 1):
		r.drop(DropRelayRate)
		return
	case fresh && !r.quota.spendAny(now, server.As16()):
		r.drop(DropRelayVictim)
		return
	case !p.known(now) && !r.quota.spend(now, p.key):
		return
	}
	r.transmitBubble(now, netip.AddrPortFrom(server, wire.Port), p, wire.NoDiscovery, out)
	switch to := a.Mapped(); {
	case !r.config.Direct:
	case p.known(now) || r.quota.spendAny(now, to.Addr().As16()):
		r.transmitBubble(now, to, p, wire.NoDiscovery, out)
	default:
		r.drop(DropRelayVictim)
	}
}

func (r *Relay) transmitBubble(now time.Time, to netip.AddrPort, p *relayPeer, d wire.Discovery, out *Output) {
	start := len(out.buf)
	out.buf = wire.AppendBubble(out.buf, r.token.source(p.key, r.token.epoch(now)), p.ip(), wire.BubbleHopLimit)
	out.buf = wire.AppendTrailers(out.buf, &wire.Trailers{Discovery: d})
	out.built(to, start)
	r.state.Bubbles++
}
