package engine

import (
	"net/netip"
	"time"

	"shipworm/teredo/wire"
)

// Send takes an IPv6 packet of the host into the tunnel (RFC 4380, 5.2.4). For
// a peer that is up the one datagram in out is the packet itself, uncopied;
// for another the packet waits, copied, while the peer is tried.
func (c *Client) Send(now time.Time, packet []byte, out *Output) {
	c.send(now, packet, out)
	c.ports.drain(out)
}

// SendRun is Send for packets laid end to end, all of size bytes but the last,
// which may be shorter. They are of one flow, and well-formed if the first is:
// a device made them of one. To a peer that is up they go as one Transmit.
func (c *Client) SendRun(now time.Time, run []byte, size int, out *Output) {
	if size <= 0 || size >= len(run) {
		c.Send(now, run, out)
		return
	}
	if p := c.ready(now, run[:size]); p != nil {
		c.peers.used(p)
		c.peers.want(now, p, c)
		c.transmitData(now, p, run, size, out)
		c.stats.sent += uint64((len(run) - 1) / size) // besides the first
		c.watch(now, p, out)
		c.ports.drain(out)
		return
	}
	for len(run) > 0 {
		n := min(size, len(run))
		c.Send(now, run[:n], out)
		run = run[n:]
	}
}

// SendReady is Send for a packet that goes to a peer that is up, at once, from
// the service port, and calls for nothing else: one Transmit, no sooner Next. If
// anything more is due, it does nothing and reports false.
func (c *Client) SendReady(now time.Time, packet []byte, out *Output) bool {
	p := c.ready(now, packet)
	if p == nil || !p.wanted || p.port != 0 || len(c.ports.closing) > 0 || now.Sub(p.lastRx) > peerRefresh ||
		!p.unanswered.IsZero() && now.Sub(p.unanswered) > silence {
		return false
	}
	c.peers.used(p)
	c.transmitData(now, p, packet, 0, out)
	return true
}

// ready returns the peer that a packet can go to at once, or nil.
func (c *Client) ready(now time.Time, packet []byte) *peer {
	ip, err := wire.CheckPacket(packet)
	if err != nil || !c.address.IsValid() || len(packet) > wire.MTU || [16]byte(ip[8:24]) != c.own.As16() {
		return nil
	}
	p := c.peers.get([16]byte(ip[24:40]))
	if p == nil || !p.usable(now) || now.Before(p.hold) || len(p.out.packets) > 0 || !p.proof.given {
		return nil
	}
	return p
}

func (c *Client) send(now time.Time, packet []byte, out *Output) {
	if !c.address.IsValid() {
		c.drop(DropNotQualified)
		return
	}
	ip, err := wire.CheckPacket(packet)
	switch {
	case err != nil:
		c.drop(DropSendMalformed)
		return
	case len(packet) > wire.MTU:
		c.drop(DropSendTooBig)
		return
	case [16]byte(ip[8:24]) != c.own.As16():
		c.drop(DropSendSource)
		return
	}
	key := [16]byte(ip[24:40])
	p := c.peers.get(key)
	if p != nil && p.usable(now) {
		c.peers.used(p)
		c.peers.want(now, p, c)
		if now.Before(p.hold) {
			c.push(now, &p.out, packet, netip.AddrPort{})
			return
		}
		if len(p.out.packets) > 0 {
			c.flush(now, p, out)
		}
		if !p.proof.given {
			c.demand(now, p, out)
		}
		if len(p.out.packets) > 0 || !p.proof.affords(len(packet)) {
			c.push(now, &p.out, packet, netip.AddrPort{})
			c.flush(now, p, out)
		} else {
			c.transmitData(now, p, packet, 0, out)
		}
		c.watch(now, p, out)
		return
	}
	if p == nil {
		if p = c.addTarget(now, key); p == nil {
			return
		}
	} else if why, ok := c.policy.permitsNew(p.mapped); p.teredo && p.trust != proven && !ok {
		c.drop(why) // only its own word says that it lives at a service's port
		return
	}
	c.peers.want(now, p, c)
	c.push(now, &p.out, packet, netip.AddrPort{})
	c.try(now, p, out)
}

// addTarget makes an entry for a peer that the host sends to, or counts why
// not and returns nil.
func (c *Client) addTarget(now time.Time, key [16]byte) *peer {
	dst := netip.AddrFrom16(key)
	if a, ok := wire.AddressFromAddr(dst); ok {
		if a == c.address || a.Mapped() == c.mapping {
			c.drop(DropLoop)
			return nil
		}
		if why, ok := c.policy.permitsNew(a.Mapped()); !ok {
			c.drop(why)
			return nil
		}
		if !c.permitsServer(a.Server()) {
			c.drop(DropDenied)
			return nil
		}
		return c.peers.add(now, key, a.Mapped(), true, true, c)
	}
	if !c.honest(dst) {
		c.drop(DropSendTarget)
		return nil
	}
	// Until the relay is known its place is taken by the server, which the
	// tests go through.
	return c.peers.add(now, key, c.server(0), false, true, c)
}

// transmitData sends a data packet to p, or with a size a run of them.
func (c *Client) transmitData(now time.Time, p *peer, packet []byte, size int, out *Output) {
	p.lastTx, p.lastData = now, now
	if p.unanswered.IsZero() {
		p.unanswered = now
	}
	p.proof.spend(len(packet))
	c.stats.sent++
	out.Transmit = append(out.Transmit, Transmit{To: p.mapped, Payload: packet, Segment: size, Port: p.port})
}

// watch looks after a peer that data is sent to: silence may mean that the
// mapping is gone, and an entry about to lapse needs a sign of life, or the
// packet after that would have to wait for one.
func (c *Client) watch(now time.Time, p *peer, out *Output) {
	silent := now.Sub(p.unanswered) > silence
	if silent {
		c.heedSilence(now, out)
	}
	if (now.Sub(p.lastRx) > peerRefresh || silent && p.doubtful(now)) && !p.trying {
		c.try(now, p, out)
	}
}
