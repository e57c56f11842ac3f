package nat

import (
	"encoding/binary"

	"shipworm/testnet/internal/ipv4"
)

const (
	protoICMP = ipv4.ICMP
	protoTCP  = ipv4.TCP
	protoUDP  = ipv4.UDP
)

var be = binary.BigEndian

// A flow is what the tables look at in one packet.
type flow struct {
	proto    byte
	flags    byte // TCP
	header   int  // length of the IPv4 header
	src, dst endpoint
	icmpErr  bool // an ICMP error: src and dst have no ports
	other    bool // a protocol without ports
	first    bool // the first piece of a datagram
	later    bool // another piece: src and dst have no ports
}

// parse checks a packet and reads its flow. outbound says on which side the
// identifier of an ICMP echo stands for the port. It returns the packet
// without link padding, or nil and why.
func parse(b []byte, outbound bool, f *flow) ([]byte, Reason) {
	pkt, h, ok := ipv4.Check(b)
	if !ok {
		return nil, Malformed
	}
	f.proto, f.header = ipv4.Proto(pkt), h
	f.src.addr, f.dst.addr = ipv4.Src(pkt), ipv4.Dst(pkt)
	if ipv4.Fragment(pkt) {
		f.later = ipv4.FragmentOffset(pkt) > 0
		if f.first = !f.later; f.later {
			return pkt, Unspecified
		}
	}
	body := pkt[h:]
	switch f.proto {
	case protoUDP:
		if len(body) < 8 {
			return nil, Malformed
		}
		if n := int(be.Uint16(body[4:])); n < 8 || n > len(body) && !f.first {
			return nil, Malformed
		}
	case protoTCP:
		if len(body) < 20 {
			return nil, Malformed // as a first piece, one that hides its flags (RFC 1858, 3)
		}
		f.flags = body[13]
	case protoICMP:
		if len(body) < 8 {
			return nil, Malformed
		}
		switch body[0] {
		case ipv4.EchoRequest, ipv4.EchoReply:
			if outbound {
				f.src.port = be.Uint16(body[4:])
			} else {
				f.dst.port = be.Uint16(body[4:])
			}
		case ipv4.Unreachable, ipv4.TimeExceeded, ipv4.ParameterError:
			if f.first {
				return nil, Fragmented
			}
			f.icmpErr = true
		default:
			return nil, BadICMP
		}
		return pkt, Unspecified
	default:
		f.other = true
		return pkt, Unspecified
	}
	f.src.port, f.dst.port = be.Uint16(body), be.Uint16(body[2:])
	return pkt, Unspecified
}

// Offsets from the start of the transport header.
const (
	srcPort = 0
	dstPort = 2
	echoID  = 4
)

// rewrite changes one endpoint of a packet: the source if source is set, else
// the destination. An ICMP identifier changes whichever side it stands for.
func rewrite(pkt []byte, f *flow, source bool, to endpoint) {
	at, portAt := 16, f.header+dstPort
	if source {
		at, portAt = 12, f.header+srcPort
	}
	var addr, all ipv4.Delta
	addr.Replace32(be.Uint32(pkt[at:]), to.addr)
	be.PutUint32(pkt[at:], to.addr)
	be.PutUint16(pkt[10:], addr.Apply(be.Uint16(pkt[10:])))
	if f.other {
		return
	}
	if f.proto == protoICMP {
		portAt = f.header + echoID
	} else {
		all = addr // the pseudo header covers addresses
	}
	all.Replace16(be.Uint16(pkt[portAt:]), to.port)
	be.PutUint16(pkt[portAt:], to.port)
	mend(pkt, f.proto, f.header, all)
}

// rewriteAddr changes an address of a header whose transport checksum does
// not cover it, or is not in this packet.
func rewriteAddr(pkt []byte, at int, to uint32) {
	var d ipv4.Delta
	d.Replace32(be.Uint32(pkt[at:]), to)
	be.PutUint32(pkt[at:], to)
	be.PutUint16(pkt[10:], d.Apply(be.Uint16(pkt[10:])))
}

// mend applies a change to the transport checksum.
func mend(pkt []byte, proto byte, header int, d ipv4.Delta) {
	switch proto {
	case protoUDP:
		c := pkt[header+6:]
		be.PutUint16(c, d.ApplyUDP(be.Uint16(c)))
	case protoTCP:
		c := pkt[header+16:]
		be.PutUint16(c, d.Apply(be.Uint16(c)))
	case protoICMP:
		c := pkt[header+2:]
		be.PutUint16(c, d.Apply(be.Uint16(c)))
	}
}
