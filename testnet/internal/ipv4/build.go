package ipv4

import "net/netip"

// ICMP message types (RFC 792).
const (
	EchoReply      = 0
	Unreachable    = 3
	SourceQuench   = 4
	EchoRequest    = 8
	TimeExceeded   = 11
	ParameterError = 12
)

// Codes of Unreachable (RFC 792, RFC 1191).
const (
	CodeHost         = 1
	CodePort         = 3
	CodeFragNeeded   = 4
	CodeAdminBlocked = 13 // RFC 1812, 5.2.7.1
)

// MaxPayload is the most a UDP datagram carries over IPv4, in bytes.
const MaxPayload = 65535 - HeaderLen - 8

// header appends a header without options; total is the length of the packet.
func header(b []byte, id uint16, proto byte, src, dst uint32, total int) []byte {
	n := len(b)
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, uint16(total))
	b = be.AppendUint16(b, id)
	b = append(b, 0, 0, DefaultTTL, proto, 0, 0)
	b = be.AppendUint32(b, src)
	b = be.AppendUint32(b, dst)
	be.PutUint16(b[n+10:], ^Fold(Sum(b[n:], 0)))
	return b
}

// atomic appends the header of a packet that is never cut up, and so needs no
// identification of its own (RFC 6864, 4.1).
func atomic(b []byte, proto byte, src, dst uint32, total int) []byte {
	n := len(b)
	b = header(b, 0, proto, src, dst, total)
	b[n+6], b[n+10], b[n+11] = 0x40, 0, 0
	be.PutUint16(b[n+10:], ^Fold(Sum(b[n:], 0)))
	return b
}

// AppendUDP appends a whole IPv4/UDP packet to b. Both addresses must be IPv4
// and the payload no longer than MaxPayload.
func AppendUDP(b []byte, id uint16, from, to netip.AddrPort, payload []byte) []byte {
	src, _ := Number(from.Addr())
	dst, _ := Number(to.Addr())
	length := 8 + len(payload)
	b = header(b, id, UDP, src, dst, HeaderLen+length)
	n := len(b)
	b = be.AppendUint16(b, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = be.AppendUint16(b, uint16(length))
	b = append(b, 0, 0)
	b = append(b, payload...)
	c := ^Fold(Sum(b[n:], pseudo(src, dst, UDP, length)))
	if c == 0 {
		c = 0xffff
	}
	be.PutUint16(b[n+6:], c)
	return b
}

// TCP flags (RFC 9293, 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	_
	ACK
)

// AppendTCP appends a TCP segment without options; it exists for tests and
// examples, so sequence numbers are zero.
func AppendTCP(b []byte, id uint16, from, to netip.AddrPort, flags byte, payload []byte) []byte {
	src, _ := Number(from.Addr())
	dst, _ := Number(to.Addr())
	length := 20 + len(payload)
	b = header(b, id, TCP, src, dst, HeaderLen+length)
	n := len(b)
	b = be.AppendUint16(b, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, payload...)
	be.PutUint16(b[n+16:], ^Fold(Sum(b[n:], pseudo(src, dst, TCP, length))))
	return b
}

// AppendEcho appends an ICMP echo message; kind is EchoRequest or EchoReply.
func AppendEcho(b []byte, kind byte, from, to netip.Addr, id, seq uint16, payload []byte) []byte {
	src, _ := Number(from)
	dst, _ := Number(to)
	b = header(b, seq, ICMP, src, dst, HeaderLen+8+len(payload))
	n := len(b)
	b = append(b, kind, 0, 0, 0)
	b = be.AppendUint16(b, id)
	b = be.AppendUint16(b, seq)
	b = append(b, payload...)
	be.PutUint16(b[n+2:], ^Fold(Sum(b[n:], 0)))
	return b
}

// quoteMax keeps an error within 576 bytes (RFC 1812, 4.3.2.3).
const quoteMax = 576 - HeaderLen - 8

// AppendError appends an ICMP error from the given source about pkt, quoting
// as much of pkt as RFC 1812 allows. rest is the second word of the ICMP
// header: the MTU for "fragmentation needed", else zero. It appends nothing
// where RFC 1122, 3.2.2 forbids an error: about an ICMP error, a later
// fragment, or a packet from or to an address that is not one host.
func AppendError(b []byte, kind, code byte, rest uint32, from uint32, pkt []byte) []byte {
	if !Answerable(pkt) {
		return b
	}
	quote := pkt[:min(len(pkt), quoteMax)]
	b = atomic(b, ICMP, from, Src(pkt), HeaderLen+8+len(quote))
	n := len(b)
	b = append(b, kind, code, 0, 0)
	b = be.AppendUint32(b, rest)
	b = append(b, quote...)
	be.PutUint16(b[n+2:], ^Fold(Sum(b[n:], 0)))
	return b
}

// AppendReset appends the TCP reset that a host without the connection sends
// in answer to a segment (RFC 9293, 3.10.7.1), and nothing for a segment that
// is itself a reset or is not whole. The sender's addresses are those of pkt.
func AppendReset(b []byte, pkt []byte) []byte {
	p, h, ok := Check(pkt)
	if !ok || Proto(p) != TCP || Fragment(p) || len(p) < h+20 || p[h+13]&RST != 0 || !unicast(Src(p)) || !unicast(Dst(p)) {
		return b
	}
	seg := p[h:]
	data := max(0, len(seg)-int(seg[12]>>4)*4)
	seq, ack, flags := be.Uint32(seg[8:]), uint32(0), byte(RST)
	if seg[13]&ACK == 0 {
		seq, flags = 0, RST|ACK
		ack = be.Uint32(seg[4:]) + uint32(data)
		if seg[13]&SYN != 0 {
			ack++
		}
		if seg[13]&FIN != 0 {
			ack++
		}
	}
	src, dst := Dst(p), Src(p)
	b = atomic(b, TCP, src, dst, HeaderLen+20)
	n := len(b)
	b = append(b, seg[2], seg[3], seg[0], seg[1])
	b = be.AppendUint32(b, seq)
	b = be.AppendUint32(b, ack)
	b = append(b, 5<<4, flags, 0, 0, 0, 0, 0, 0)
	be.PutUint16(b[n+16:], ^Fold(Sum(b[n:], pseudo(src, dst, TCP, 20))))
	return b
}

// Answerable reports whether an ICMP error may be sent about pkt, which passed
// Check (RFC 1122, 3.2.2).
func Answerable(pkt []byte) bool {
	if FragmentOffset(pkt) != 0 || !unicast(Src(pkt)) || !unicast(Dst(pkt)) {
		return false
	}
	if Proto(pkt) == ICMP {
		h := int(pkt[0]&15) * 4
		return len(pkt) > h && (pkt[h] == EchoRequest || pkt[h] == EchoReply)
	}
	return true
}

func unicast(a uint32) bool { return a>>24 != 0 && a>>28 < 14 }

// Multicast reports whether a is a multicast or the limited broadcast address.
func Multicast(a uint32) bool { return a>>28 == 14 || a == 0xffffffff }
