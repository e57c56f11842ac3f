package wire

import (
	"encoding/binary"
	"net/netip"
)

// HeaderSize is the length of an IPv6 header in bytes (RFC 8200, 3).
const HeaderSize = 40

// Next headers that Teredo has an opinion on (RFC 8200, 4; IANA).
const (
	ProtoHopByHop    = 0
	ProtoTCP         = 6
	ProtoUDP         = 17
	ProtoRouting     = 43
	ProtoFragment    = 44
	ProtoESP         = 50
	ProtoAH          = 51
	ProtoICMPv6      = 58
	ProtoNone        = 59
	ProtoDestination = 60
)

// maxExtensions is how many extension headers a packet may have. Honest ones
// have at most two; long chains only serve to slip past filters (RFC 7045).
const maxExtensions = 4

// Packet is an IPv6 packet. Its accessors need at least HeaderSize bytes,
// which every packet out of [Parse] or accepted by [CheckPacket] has.
type Packet []byte

// CheckPacket checks an IPv6 packet from outside, such as a device: version 6,
// payload length equal to what is there, an acceptable extension header chain.
func CheckPacket(b []byte) (Packet, error) {
	switch {
	case len(b) < HeaderSize:
		return nil, errPacketShort
	case b[0]>>4 != 6:
		return nil, errVersion
	case HeaderSize+int(binary.BigEndian.Uint16(b[4:6])) != len(b):
		return nil, errPacketLength
	}
	p := Packet(b)
	if _, _, err := p.Upper(); err != nil {
		return nil, err
	}
	return p, nil
}

// Source returns the source address.
func (p Packet) Source() netip.Addr { return netip.AddrFrom16([16]byte(p[8:24])) }

// Destination returns the destination address.
func (p Packet) Destination() netip.Addr { return netip.AddrFrom16([16]byte(p[24:40])) }

// NextHeader returns the next header field of the fixed header.
func (p Packet) NextHeader() byte { return p[6] }

// HopLimit returns the hop limit.
func (p Packet) HopLimit() byte { return p[7] }

// Payload returns what follows the fixed header, extension headers included.
func (p Packet) Payload() []byte { return p[HeaderSize:] }

// IsBubble reports whether p is a bubble: no payload, no next header
// (RFC 4380, 2.8).
func (p Packet) IsBubble() bool { return len(p) == HeaderSize && p[6] == ProtoNone }

// Upper walks the extension headers and returns the upper-layer protocol and
// the offset of its header in p. A fragment other than the first has no upper
// header: the protocol is then ProtoFragment, the offset that of the fragment
// header. It fails on a routing header of any type (RFC 6169, 2.3.3), a jumbo
// payload, more than four extension headers, a chain that does not end within
// the packet, and a first fragment that lacks its upper header (RFC 7112).
func (p Packet) Upper() (proto byte, offset int, err error) {
	proto, offset = p[6], HeaderSize
	if proto == ProtoUDP || proto == ProtoTCP {
		return proto, offset, nil
	}
	fragmented := false
	for n := 0; ; n++ {
		var size int
		rest := p[offset:]
		switch proto {
		case ProtoRouting:
			return 0, 0, errRouting
		case ProtoHopByHop, ProtoDestination:
			if len(rest) < 8 || (proto == ProtoHopByHop && n > 0) {
				return 0, 0, errExtension
			}
			size = 8 + 8*int(rest[1])
			if size <= len(rest) && proto == ProtoHopByHop && hasJumbo(rest[2:size]) {
				return 0, 0, errJumbo
			}
		case ProtoAH:
			if len(rest) < 8 {
				return 0, 0, errExtension
			}
			size = 8 + 4*int(rest[1])
		case ProtoFragment:
			if len(rest) < 8 || fragmented {
				return 0, 0, errExtension
			}
			if binary.BigEndian.Uint16(rest[2:4])&^7 != 0 {
				return ProtoFragment, offset, nil
			}
			fragmented, size = true, 8
		default:
			if fragmented && len(rest) < upperSize(proto) {
				return 0, 0, errFragment
			}
			return proto, offset, nil
		}
		if n == maxExtensions || size > len(rest) {
			return 0, 0, errExtension
		}
		proto, offset = rest[0], offset+size
	}
}

// Continues reports whether b is one whole packet, as Parse and CheckPacket
// want it, with the protocol, addresses and ports of p, and with UDP or TCP
// right behind the fixed header: what passes for p then passes for b.
func (p Packet) Continues(b []byte) bool {
	const ends = HeaderSize + 4
	if len(p) < ends || len(b) < ends || len(b) > MaxPacket || b[0]>>4 != 6 || HeaderSize+int(binary.BigEndian.Uint16(b[4:])) != len(b) {
		return false
	}
	if proto := b[6]; proto != p[6] || proto != ProtoTCP && proto != ProtoUDP {
		return false
	}
	// By words, since a comparison of 36 bytes is a call.
	x, y, le := (*[ends]byte)(p), (*[ends]byte)(b), binary.LittleEndian
	differ := (le.Uint64(x[8:]) ^ le.Uint64(y[8:])) | (le.Uint64(x[16:]) ^ le.Uint64(y[16:])) |
		(le.Uint64(x[24:]) ^ le.Uint64(y[24:])) | (le.Uint64(x[32:]) ^ le.Uint64(y[32:])) |
		uint64(le.Uint32(x[40:])^le.Uint32(y[40:]))
	return differ == 0
}

// upperSize is the least size of an upper-layer header, in bytes.
func upperSize(proto byte) int {
	switch proto {
	case ProtoTCP:
		return 20
	case ProtoNone:
		return 0
	}
	return 8
}

// hasJumbo reports whether hop-by-hop options hold a jumbo payload option
// (RFC 2675, 2).
func hasJumbo(options []byte) bool {
	const pad1, jumbo = 0x00, 0xc2
	for len(options) > 0 {
		if options[0] == jumbo {
			return true
		}
		n := 1
		if options[0] != pad1 {
			if len(options) < 2 {
				return false
			}
			n = 2 + int(options[1])
		}
		if n > len(options) {
			return false
		}
		options = options[n:]
	}
	return false
}

// appendHeader appends a fixed header whose traffic class and flow label are 0.
func appendHeader(b []byte, payload int, next, hopLimit byte, src, dst netip.Addr) []byte {
	s, d := src.As16(), dst.As16()
	b = append(b, 0x60, 0, 0, 0, byte(payload>>8), byte(payload), next, hopLimit)
	b = append(b, s[:]...)
	return append(b, d[:]...)
}

// AppendBubble appends a bubble: an IPv6 header and nothing else
// (RFC 4380, 2.8). Both addresses must be valid; IPv4 ones come out mapped.
func AppendBubble(b []byte, src, dst netip.Addr, hopLimit byte) []byte {
	return appendHeader(b, 0, ProtoNone, hopLimit, src, dst)
}
