package ipv6

import (
	"net/netip"

	"shipworm/testnet/internal/ipv4"
)

// ICMPv6 message types (RFC 4443, 2.1).
const (
	Unreachable    = 1
	PacketTooBig   = 2
	TimeExceeded   = 3
	ParameterError = 4
	EchoRequest    = 128
	EchoReply      = 129
)

// Codes of Unreachable (RFC 4443, 3.1).
const (
	CodeNoRoute    = 0
	CodeProhibited = 1
	CodeAddress    = 3
	CodePort       = 4
)

// MaxPayload is the most a UDP datagram carries over IPv6, in bytes.
const MaxPayload = 65535 - 8

// header appends a fixed header; length is that of what follows.
func header(b []byte, proto byte, src, dst netip.Addr, length int) []byte {
	b = append(b, 0x60, 0, 0, 0)
	b = be.AppendUint16(b, uint16(length))
	b = append(b, proto, DefaultHopLimit)
	s, d := src.As16(), dst.As16()
	return append(append(b, s[:]...), d[:]...)
}

// seal fills in the checksum, which is at an offset, of the packet that begins
// at n of b and has no extension header.
func seal(b []byte, n, at int) []byte {
	pkt := b[n:]
	body := pkt[HeaderLen:]
	c := ^ipv4.Fold(ipv4.Sum(body, pseudo(pkt, pkt[6], len(body))))
	if c == 0 && pkt[6] == ipv4.UDP {
		c = 0xffff
	}
	be.PutUint16(body[at:], c)
	return b
}

// AppendUDP appends a whole IPv6/UDP packet to b. Both addresses must be IPv6
// and the payload no longer than MaxPayload.
func AppendUDP(b []byte, from, to netip.AddrPort, payload []byte) []byte {
	n := len(b)
	b = header(b, ipv4.UDP, from.Addr(), to.Addr(), 8+len(payload))
	b = be.AppendUint16(b, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = be.AppendUint16(b, uint16(8+len(payload)))
	b = append(b, 0, 0)
	return seal(append(b, payload...), n, 6)
}

// AppendTCP appends a TCP segment without options; it exists for tests and
// examples, so sequence numbers are zero. Flags are those of package ipv4.
func AppendTCP(b []byte, from, to netip.AddrPort, flags byte, payload []byte) []byte {
	n := len(b)
	b = header(b, ipv4.TCP, from.Addr(), to.Addr(), 20+len(payload))
	b = be.AppendUint16(b, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return seal(append(b, payload...), n, 16)
}

// AppendEcho appends an echo message; kind is EchoRequest or EchoReply.
func AppendEcho(b []byte, kind byte, from, to netip.Addr, id, seq uint16, payload []byte) []byte {
	n := len(b)
	b = header(b, ICMP, from, to, 8+len(payload))
	b = append(b, kind, 0, 0, 0)
	b = be.AppendUint16(b, id)
	b = be.AppendUint16(b, seq)
	return seal(append(b, payload...), n, 2)
}

// AppendError appends an ICMPv6 error from an address about pkt, quoting as
// much of pkt as fits the least MTU (RFC 4443, 2.4). rest is the second word of
// the header: the MTU for PacketTooBig. It appends nothing where RFC 4443, 2.4
// forbids an error: about an ICMPv6 error, or a packet whose source is not one
// host, and, but for PacketTooBig, about a multicast.
func AppendError(b []byte, kind, code byte, rest uint32, from netip.Addr, pkt []byte) []byte {
	src, dst := Src(pkt), Dst(pkt)
	if src.IsUnspecified() || src.IsMulticast() || dst.IsMulticast() && kind != PacketTooBig {
		return b
	}
	u, ok := Find(pkt)
	if !ok || u.Proto == ICMP && u.Offset == 0 && (len(pkt) <= u.At || pkt[u.At] < 128) {
		return b
	}
	n := len(b)
	quote := pkt[:min(len(pkt), MinMTU-HeaderLen-8)]
	b = header(b, ICMP, from, src, 8+len(quote))
	b = append(b, kind, code, 0, 0)
	b = be.AppendUint32(b, rest)
	return seal(append(b, quote...), n, 2)
}
