package nat

import (
	"slices"
	"time"

	"shipworm/testnet/internal/ipv4"
)

// Outbound takes a packet from the inside. On Forward it has been rewritten in
// place for the outside; on Back for the inside; else it is unchanged. Bytes
// after the packet's own length are ignored.
func (n *NAT) Outbound(now time.Time, pkt []byte) Verdict {
	t := n.tick(now)
	var f flow
	pkt, why := parse(pkt, true, &f)
	if pkt == nil {
		return n.drop(why)
	}
	if !f.first && !f.later {
		return n.outbound(pkt, &f, t)
	}
	return n.fragment(pkt, &f, true, t)
}

// Inbound takes a packet from the outside. On Forward it has been rewritten in
// place for the inside; else it is unchanged. Bytes after the packet's own
// length are ignored.
func (n *NAT) Inbound(now time.Time, pkt []byte) Verdict {
	t := n.tick(now)
	var f flow
	pkt, why := parse(pkt, false, &f)
	if pkt == nil {
		return n.drop(why)
	}
	if !f.first && !f.later {
		return n.inbound(pkt, &f, t)
	}
	return n.fragment(pkt, &f, false, t)
}

// fragment treats one piece of a datagram.
func (n *NAT) fragment(pkt []byte, f *flow, outbound bool, now int64) Verdict {
	if n.cfg.Fragments == FragmentsDropped && !(n.cfg.NoTranslation && n.cfg.Filtering == EndpointIndependent) {
		return n.drop(Fragmented)
	}
	k := f.key(pkt, outbound)
	if f.later {
		return n.laterFragment(k, pkt, now)
	}
	var v Verdict
	if outbound {
		v = n.outbound(pkt, f, now)
	} else {
		v = n.inbound(pkt, f, now)
	}
	return n.firstFragment(k, pkt, v, now)
}

func (n *NAT) outbound(pkt []byte, f *flow, now int64) Verdict {
	if why := n.blocked(f, f.dst); why != Unspecified {
		return n.drop(why)
	}
	open := n.cfg.NoTranslation && n.cfg.Filtering == EndpointIndependent
	switch {
	case open, len(n.cfg.Exempt) > 0 && n.exempt(f.dst):
		return n.forward(Untranslated)
	case f.other && !n.cfg.OtherProtocols:
		return n.drop(BadProtocol)
	case f.icmpErr:
		return n.outboundError(pkt, f)
	case n.isExternal(f.dst.addr):
		return n.hairpin(pkt, f, now)
	case f.proto == protoICMP && pkt[f.header] != ipv4.EchoRequest && !n.cfg.NoTranslation:
		return n.drop(NoMapping) // nobody can have asked
	}
	m, why := n.outboundMapping(f, now)
	if m == nil {
		return n.refuse(why, pkt)
	}
	if len(n.syns) > 0 && f.proto == protoTCP {
		n.meet(m.outer, f.dst)
	}
	if !n.cfg.NoTranslation {
		rewrite(pkt, f, true, m.outer)
		if n.cfg.RewriteID && (!ipv4.DontFragment(pkt) || f.first) {
			n.nextID++
			rewriteID(pkt, n.nextID)
		}
		if n.cfg.ALG {
			gateway(pkt, f, m.inner, m.outer)
		}
	}
	return n.forward(why)
}

// blocked returns why policy drops a packet to or from remote, or Unspecified.
func (n *NAT) blocked(f *flow, remote endpoint) Reason {
	switch {
	case n.cfg.Block != 0 && f.proto == n.cfg.Block:
		return Blocked
	case len(n.cfg.BlockPorts) > 0 && f.proto == protoUDP && slices.Contains(n.cfg.BlockPorts, remote.port):
		return BlockedPort
	}
	return Unspecified
}

// exempt reports whether a destination is reached without translation.
func (n *NAT) exempt(remote endpoint) bool {
	for _, e := range n.cfg.Exempt {
		if (e.Port == 0 || e.Port == remote.port) && e.Prefix.Contains(ipv4.Addr(remote.addr)) {
			return true
		}
	}
	return false
}

// outboundMapping finds or makes the mapping of an outbound flow and prolongs
// it and the permission for its destination.
func (n *NAT) outboundMapping(f *flow, now int64) (*mapping, Reason) {
	i, why := n.findInner(f.proto, f.src, f.dst), Mapped
	if i == 0 {
		if f.proto == protoTCP && f.flags&ipv4.RST != 0 {
			return nil, StrayReset // nothing to end, and nothing to begin
		}
		if i, why = n.create(f, now); i == 0 {
			return nil, why
		}
	}
	m := n.maps.at(i)
	if m.special != 0 && m.special != n.specialFor(f) {
		m.special = 0
	}
	if !n.permit(i, m, f, now) {
		if why == NewMapping {
			n.endMapping(i, now)
		}
		return nil, TableFull
	}
	if why == NewMapping || n.refreshedBySending(m.proto) {
		n.touch(i, m, now)
	}
	return m, why
}

// refreshedBySending reports whether what the inside sends prolongs a mapping.
func (n *NAT) refreshedBySending(proto byte) bool {
	return n.cfg.Refresh != RefreshInbound || proto != protoUDP
}

// specialFor is the timer class that Config.PortLifetimes has for a flow, or 0.
func (n *NAT) specialFor(f *flow) class {
	if f.proto != protoUDP {
		return 0
	}
	for i, p := range n.cfg.PortLifetimes {
		if p.Port == f.dst.port {
			return classes + class(i)
		}
	}
	return 0
}

// hairpin turns a packet for one of our own external addresses back inside
// (RFC 4787, 6). Nothing is rewritten before everything is decided.
func (n *NAT) hairpin(pkt []byte, f *flow, now int64) Verdict {
	if f.proto == protoICMP || f.other {
		return n.drop(ToSelf)
	}
	if n.cfg.Hairpin == HairpinNone {
		return n.drop(NoHairpin)
	}
	m, why := n.outboundMapping(f, now)
	if m == nil {
		return n.refuse(why, pkt)
	}
	outer := m.outer
	back := flow{proto: f.proto, flags: f.flags, header: f.header, src: outer, dst: f.dst}
	to, why := n.inboundMapping(&back, now)
	if to == nil {
		return n.reject(why, pkt, f, now)
	}
	if n.cfg.Hairpin == HairpinExternalSource {
		rewrite(pkt, f, true, outer)
	}
	rewrite(pkt, f, false, to.inner)
	return n.back(Hairpinned)
}

func (n *NAT) inbound(pkt []byte, f *flow, now int64) Verdict {
	if why := n.blocked(f, f.src); why != Unspecified {
		return n.drop(why)
	}
	external := n.cfg.NoTranslation || n.isExternal(f.dst.addr)
	switch {
	case n.cfg.NoTranslation && n.cfg.Filtering == EndpointIndependent,
		!external && len(n.cfg.Exempt) > 0 && n.exempt(f.src):
		return n.forward(Untranslated)
	case f.other && !n.cfg.OtherProtocols:
		return n.drop(BadProtocol)
	case !external:
		return n.drop(NotExternal)
	case f.proto == protoICMP && pkt[f.header] == ipv4.EchoRequest && !n.cfg.NoTranslation:
		return n.drop(ToSelf)
	case f.icmpErr:
		return n.inboundError(pkt, f, now)
	}
	m, why := n.inboundMapping(f, now)
	if m == nil {
		if n.cfg.EarlyInbound && f.proto == protoUDP && !f.other {
			n.strayEntry(f, why, now)
		}
		return n.reject(why, pkt, f, now)
	}
	if !n.cfg.NoTranslation {
		rewrite(pkt, f, false, m.inner)
		if n.cfg.ALG {
			gateway(pkt, f, m.outer, m.inner)
		}
	}
	return n.forward(Permitted)
}

// strayEntry makes or prolongs the entry that an unsolicited packet leaves.
func (n *NAT) strayEntry(f *flow, why Reason, now int64) {
	switch i := n.findOuter(f.proto, f.dst, f.src); {
	case why == EarlyEntry:
		n.start(mappingTimer(i), &n.maps.at(i).timer, udpFresh, now)
	case i == 0 && n.live < n.cfg.MaxMappings:
		i = n.insert(mapping{proto: f.proto, kind: early, outer: f.dst, remote: f.src, born: now})
		n.start(mappingTimer(i), &n.maps.at(i).timer, udpFresh, now)
	}
}

// inboundMapping finds the mapping for a packet from the outside, asks the
// filter, and refreshes what inbound packets refresh. A packet that is refused
// refreshes nothing (RFC 7857, 7).
func (n *NAT) inboundMapping(f *flow, now int64) (*mapping, Reason) {
	i := n.findOuter(f.proto, f.dst, f.src)
	if i == 0 && n.cfg.ProtocolIndependent {
		i = n.fromSibling(f, now)
	}
	if i == 0 {
		return nil, NoMapping
	}
	m := n.maps.at(i)
	p, why := n.filter(i, m, f.src)
	if why != Permitted {
		// A mapping made before the forward of the same endpoint stands beside it.
		e := n.forwards[forwardKey{f.proto, f.dst}]
		if m.kind != live || e.id == 0 || f.src.addr&e.mask != e.from {
			return nil, why
		}
		i, m, p = e.id, n.maps.at(e.id), 0
	}
	if m.proto == protoTCP {
		if n.cfg.TCPOutboundOnly && f.flags&(ipv4.SYN|ipv4.ACK) == ipv4.SYN && m.kind == live && !n.opens(i, m, f.src) {
			return nil, Unopened
		}
		if n.connect(i, m, f.src, f.flags, false, now) == 0 {
			if m.kind == live && m.peers == 0 { // made by fromSibling
				n.endMapping(i, now)
			}
			return nil, TableFull
		}
		return m, Permitted
	}
	if m.kind == static {
		return m, Permitted
	}
	first := !m.answered
	m.answered = true
	// The first answer may lengthen the idle time, so it counts as a refresh
	// where the two differ.
	if n.cfg.Refresh != RefreshOutbound || first && n.cfg.LifetimeAnswered > n.cfg.Lifetime {
		n.touch(i, m, now)
		if p != 0 {
			n.start(peerTimer(p), &n.peers.at(p).timer, m.timer.class, now)
		}
	}
	return m, Permitted
}

// fromSibling makes the mapping that an inbound packet has because its
// destination is mapped for the other of TCP and UDP (RFC 7857, 6).
func (n *NAT) fromSibling(f *flow, now int64) uint32 {
	if n.cfg.filtering(f.proto) != EndpointIndependent || n.cfg.Mapping != EndpointIndependent {
		return 0
	}
	i := n.findOuter(sibling(f.proto), f.dst, f.src)
	if i == 0 || n.maps.at(i).kind != live {
		return 0
	}
	m := *n.maps.at(i)
	h := n.hosts[m.inner.addr]
	if n.findInner(f.proto, m.inner, f.src) != 0 || n.admit(h, f.proto, now) != NewMapping {
		return 0
	}
	h.tokens -= 1e9
	id := n.adopt(h, mapping{proto: f.proto, kind: live, inner: m.inner, outer: m.outer, born: now})
	n.touch(id, n.maps.at(id), now)
	return id
}
