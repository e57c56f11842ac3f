package nat

import (
	"time"

	"shipworm/testnet/internal/ipv4"
)

// Outbound takes a packet from the inside. On Forward it has been rewritten in
// place for the outside; on Back for the inside; on Drop it is unchanged.
// Bytes after the packet's own length are ignored.
func (n *NAT) Outbound(now time.Time, pkt []byte) Verdict {
	t := n.tick(now)
	var f flow
	pkt, why := parse(pkt, true, &f)
	if pkt == nil {
		return n.drop(why)
	}
	if n.cfg.Block != 0 && f.proto == n.cfg.Block {
		return n.drop(Blocked)
	}
	open := n.cfg.NoTranslation && n.cfg.Filtering == EndpointIndependent
	switch {
	case open:
		return n.forward(Untranslated)
	case f.icmpErr:
		return n.outboundError(pkt, &f)
	case n.isExternal(f.dst.addr):
		return n.hairpin(pkt, &f, t)
	case f.proto == protoICMP && pkt[f.header] != ipv4.EchoRequest && !n.cfg.NoTranslation:
		return n.drop(NoMapping) // nobody can have asked
	}
	m, why := n.outboundMapping(&f, t)
	if m == nil {
		return n.drop(why)
	}
	if !n.cfg.NoTranslation {
		rewrite(pkt, &f, true, m.outer)
	}
	return n.forward(why)
}

// outboundMapping finds or makes the mapping of an outbound flow and prolongs
// it and the permission for its destination.
func (n *NAT) outboundMapping(f *flow, now int64) (*mapping, Reason) {
	m, why := n.out[n.outKey(f.proto, f.src, f.dst)], Mapped
	if m == nil {
		if m, why = n.create(f, now); m == nil {
			return nil, why
		}
	}
	if !n.permit(m, f, now) {
		if why == NewMapping {
			n.removeMapping(m)
		}
		return nil, TableFull
	}
	n.touch(m, now)
	return m, why
}

// hairpin turns a packet for one of our own external addresses back inside
// (RFC 4787, 6). Nothing is rewritten before everything is decided.
func (n *NAT) hairpin(pkt []byte, f *flow, now int64) Verdict {
	if f.proto == protoICMP {
		return n.drop(ToSelf)
	}
	if n.cfg.Hairpin == HairpinNone {
		return n.drop(NoHairpin)
	}
	m, why := n.outboundMapping(f, now)
	if m == nil {
		return n.drop(why)
	}
	back := flow{proto: f.proto, flags: f.flags, header: f.header, src: m.outer, dst: f.dst}
	to, why := n.inboundMapping(&back, now)
	if to == nil {
		return n.reject(why, pkt)
	}
	if n.cfg.Hairpin == HairpinExternalSource {
		rewrite(pkt, f, true, m.outer)
	}
	rewrite(pkt, f, false, to.inner)
	return n.back(Hairpinned)
}

// Inbound takes a packet from the outside. On Forward it has been rewritten in
// place for the inside; on Drop it is unchanged. Bytes after the packet's own
// length are ignored.
func (n *NAT) Inbound(now time.Time, pkt []byte) Verdict {
	t := n.tick(now)
	var f flow
	pkt, why := parse(pkt, false, &f)
	if pkt == nil {
		return n.drop(why)
	}
	if n.cfg.Block != 0 && f.proto == n.cfg.Block {
		return n.drop(Blocked)
	}
	if n.cfg.NoTranslation {
		if n.cfg.Filtering == EndpointIndependent {
			return n.forward(Untranslated)
		}
	} else {
		if !n.isExternal(f.dst.addr) {
			return n.drop(NotExternal)
		}
		if f.proto == protoICMP && pkt[f.header] == ipv4.EchoRequest {
			return n.drop(ToSelf)
		}
	}
	if f.icmpErr {
		return n.inboundError(pkt, &f)
	}
	m, why := n.inboundMapping(&f, t)
	if m == nil {
		return n.reject(why, pkt)
	}
	if !n.cfg.NoTranslation {
		rewrite(pkt, &f, false, m.inner)
	}
	return n.forward(Permitted)
}

// inboundMapping finds the mapping for a packet from the outside, asks the
// filter, and refreshes what inbound packets refresh. A packet that is refused
// refreshes nothing (RFC 7857, 7).
func (n *NAT) inboundMapping(f *flow, now int64) (*mapping, Reason) {
	m := n.in[n.inKey(f.proto, f.dst, f.src)]
	if m == nil {
		return nil, NoMapping
	}
	p, why := n.filter(m, f.src)
	if why != Permitted {
		return nil, why
	}
	if m.proto == protoTCP {
		if p = n.connect(m, f.src, f.flags, false, now); p == nil {
			return nil, TableFull
		}
		return m, Permitted
	}
	first := !m.answered
	m.answered = true
	// The first answer may lengthen the idle time, so it counts as a refresh
	// where the two differ.
	if n.cfg.Refresh == RefreshBoth || first && n.cfg.LifetimeAnswered > n.cfg.Lifetime {
		n.touch(m, now)
		if p != nil {
			n.start(&p.timer, m.timer.class, now)
		}
	}
	return m, Permitted
}
