package nat

import "shipworm/testnet/internal/ipv4"

// A quote is the packet inside an ICMP error.
type quote struct {
	at       int // its offset in the outer packet
	header   int // length of its IPv4 header
	proto    byte
	src, dst endpoint
}

// parseQuote reads the quoted packet; eight bytes of its transport header are
// enough (RFC 792). An echo's identifier stands for the port of the side that
// asked, which is the internal side.
func parseQuote(pkt []byte, header int, askerIsSource bool, q *quote) bool {
	q.at = header + 8
	b := pkt[q.at:]
	if len(b) < ipv4.HeaderLen || b[0]>>4 != 4 {
		return false
	}
	q.header = int(b[0]&15) * 4
	if q.header < ipv4.HeaderLen || len(b) < q.header+8 || ipv4.Fragment(b) {
		return false
	}
	q.proto = ipv4.Proto(b)
	q.src.addr, q.dst.addr = ipv4.Src(b), ipv4.Dst(b)
	body := b[q.header:]
	switch q.proto {
	case protoUDP, protoTCP:
		q.src.port, q.dst.port = be.Uint16(body), be.Uint16(body[2:])
		return true
	case protoICMP:
		if body[0] != ipv4.EchoRequest && body[0] != ipv4.EchoReply {
			return false
		}
		if askerIsSource {
			q.src.port = be.Uint16(body[4:])
		} else {
			q.dst.port = be.Uint16(body[4:])
		}
		return true
	}
	return false
}

// inboundError translates an error about a packet that we sent out: the quote
// is that packet as the outside saw it (RFC 5508, 4.2). It neither refreshes
// nor ends a mapping (RFC 4787, REQ-12; RFC 7857, 7).
func (n *NAT) inboundError(pkt []byte, f *flow) Verdict {
	var q quote
	if !parseQuote(pkt, f.header, true, &q) {
		return n.drop(BadICMP)
	}
	m := n.in[n.inKey(q.proto, q.src, q.dst)]
	if m == nil || q.src.addr != f.dst.addr {
		return n.drop(UnknownQuote)
	}
	if _, why := n.filter(m, q.dst); why != Permitted {
		return n.drop(UnknownQuote)
	}
	if !n.cfg.NoTranslation {
		rewriteQuote(pkt, f, &q, true, m.inner)
		rewriteAddr(pkt, 16, m.inner.addr)
	}
	return n.forward(QuotedFlow)
}

// outboundError translates an error about a packet that came in: the quote is
// that packet as the inside saw it. The source becomes ours whoever on the
// inside complained (RFC 5508, 4.3).
func (n *NAT) outboundError(pkt []byte, f *flow) Verdict {
	var q quote
	if !parseQuote(pkt, f.header, false, &q) {
		return n.drop(BadICMP)
	}
	m := n.out[n.outKey(q.proto, q.dst, q.src)]
	if m == nil || q.src.addr != f.dst.addr {
		return n.drop(UnknownQuote)
	}
	if n.isExternal(f.dst.addr) {
		return n.drop(NoHairpin)
	}
	if !n.cfg.NoTranslation {
		rewriteQuote(pkt, f, &q, false, m.outer)
		rewriteAddr(pkt, 12, m.outer.addr)
	}
	return n.forward(QuotedFlow)
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

// rewriteAddr changes an address of the outer header, which no ICMP checksum
// covers.
func rewriteAddr(pkt []byte, at int, to uint32) {
	var d ipv4.Delta
	d.Replace32(be.Uint32(pkt[at:]), to)
	be.PutUint32(pkt[at:], to)
	be.PutUint16(pkt[10:], d.Apply(be.Uint16(pkt[10:])))
}
