package nat

import "shipworm/testnet/internal/ipv4"

// A quote is the packet inside an ICMP error.
type quote struct {
	at       int // its offset in the outer packet
	header   int // length of its IPv4 header
	proto    byte
	src, dst endpoint
}

// parseQuote reads the quoted packet of an ICMP error whose checksums must be
// right (RFC 5508, 4.1, REQ-3); eight bytes of its transport header are enough
// (RFC 792). An echo's identifier stands for the port of the side that asked,
// which is the internal one. It returns Unspecified, or why not.
func parseQuote(pkt []byte, header int, askerIsSource bool, q *quote) Reason {
	if ipv4.Fold(ipv4.Sum(pkt[header:], 0)) != 0xffff {
		return BadChecksum
	}
	q.at = header + 8
	b := pkt[q.at:]
	if len(b) < ipv4.HeaderLen || b[0]>>4 != 4 {
		return BadICMP
	}
	q.header = int(b[0]&15) * 4
	if q.header < ipv4.HeaderLen || len(b) < q.header+8 || ipv4.FragmentOffset(b) != 0 {
		return BadICMP
	}
	if ipv4.Fold(ipv4.Sum(b[:q.header], 0)) != 0xffff {
		return BadChecksum
	}
	q.proto = ipv4.Proto(b)
	q.src.addr, q.dst.addr = ipv4.Src(b), ipv4.Dst(b)
	body := b[q.header:]
	switch q.proto {
	case protoUDP, protoTCP:
		q.src.port, q.dst.port = be.Uint16(body), be.Uint16(body[2:])
		return Unspecified
	case protoICMP:
		if body[0] != ipv4.EchoRequest && body[0] != ipv4.EchoReply {
			return BadICMP
		}
		if askerIsSource {
			q.src.port = be.Uint16(body[4:])
		} else {
			q.dst.port = be.Uint16(body[4:])
		}
		return Unspecified
	}
	return BadProtocol
}

// quotedMapping finds the mapping of a quoted packet that we once sent out,
// and asks whether its destination was one that the inside sent to.
func (n *NAT) quotedMapping(proto byte, outer, remote endpoint) (uint32, *mapping) {
	i := n.findOuter(proto, outer, remote)
	if i == 0 {
		return 0, nil
	}
	m := n.maps.at(i)
	if _, why := n.filter(i, m, remote); why != Permitted {
		return 0, nil
	}
	return i, m
}

// inboundError translates an error about a packet that we sent out: the quote
// is that packet as the outside saw it (RFC 5508, 4.2.1). It neither refreshes
// nor ends a mapping (RFC 4787, REQ-12; RFC 5508, 4.3; RFC 7857, 7).
func (n *NAT) inboundError(pkt []byte, f *flow, now int64) Verdict {
	var q quote
	if n.cfg.DropICMPErrors {
		return n.drop(ErrorsDropped)
	}
	if why := parseQuote(pkt, f.header, true, &q); why != Unspecified {
		return n.drop(why)
	}
	i, m := n.quotedMapping(q.proto, q.src, q.dst)
	if m == nil || q.src.addr != f.dst.addr {
		return n.drop(UnknownQuote)
	}
	if !n.cfg.NoTranslation {
		rewriteQuote(pkt, f, &q, true, m.inner)
		rewriteAddr(pkt, 16, m.inner.addr)
	}
	if n.cfg.ICMPEndsMapping && m.kind == live {
		n.endMapping(i, now)
	}
	return n.forward(QuotedFlow)
}

// outboundError translates an error about a packet that came in: the quote is
// that packet as the inside saw it. The source becomes ours whoever on the
// inside complained (RFC 5508, 4.2.2). If the packet had been turned back by
// us, so is the error (RFC 5508, 5).
func (n *NAT) outboundError(pkt []byte, f *flow) Verdict {
	var q quote
	if n.cfg.DropICMPErrors {
		return n.drop(ErrorsDropped)
	}
	if why := parseQuote(pkt, f.header, false, &q); why != Unspecified {
		return n.drop(why)
	}
	i := n.findInner(q.proto, q.dst, q.src)
	if i == 0 || q.src.addr != f.dst.addr {
		return n.drop(UnknownQuote)
	}
	m := n.maps.at(i)
	if n.cfg.NoTranslation {
		return n.forward(QuotedFlow)
	}
	var asker *mapping
	if n.isExternal(f.dst.addr) {
		if n.cfg.Hairpin == HairpinNone {
			return n.drop(NoHairpin)
		}
		if _, asker = n.quotedMapping(q.proto, q.src, m.outer); asker == nil {
			return n.drop(UnknownQuote)
		}
	}
	rewriteQuote(pkt, f, &q, false, m.outer)
	rewriteAddr(pkt, 12, m.outer.addr)
	if asker == nil {
		return n.forward(QuotedFlow)
	}
	rewriteQuote(pkt, f, &q, true, asker.inner)
	rewriteAddr(pkt, 16, asker.inner.addr)
	return n.back(QuotedFlow)
}

// rewriteQuote changes one endpoint of the quoted packet, the checksums in the
// quote as far as it reaches, and the ICMP checksum over all of it.
func rewriteQuote(pkt []byte, f *flow, q *quote, source bool, to endpoint) {
	b := pkt[q.at:]
	var outer ipv4.Delta // what changed in the ICMP message
	put := func(at int, v uint16) {
		outer.Replace16(be.Uint16(b[at:]), v)
		be.PutUint16(b[at:], v)
	}
	at, portAt := 16, q.header+dstPort
	if source {
		at, portAt = 12, q.header+srcPort
	}
	var addr ipv4.Delta
	addr.Replace32(be.Uint32(b[at:]), to.addr)
	put(at, uint16(to.addr>>16))
	put(at+2, uint16(to.addr))
	put(10, addr.Apply(be.Uint16(b[10:])))

	change, checkAt := addr, 0
	switch q.proto {
	case protoUDP:
		checkAt = q.header + 6
	case protoTCP:
		checkAt = q.header + 16
	case protoICMP:
		change, portAt, checkAt = 0, q.header+echoID, q.header+2
	}
	change.Replace16(be.Uint16(b[portAt:]), to.port)
	put(portAt, to.port)
	if checkAt+2 <= len(b) {
		old := be.Uint16(b[checkAt:])
		if q.proto == protoUDP {
			put(checkAt, change.ApplyUDP(old))
		} else {
			put(checkAt, change.Apply(old))
		}
	}
	mend(pkt, protoICMP, f.header, outer)
}
