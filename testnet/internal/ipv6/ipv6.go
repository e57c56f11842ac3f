// Package ipv6 reads and writes the few IPv6, UDP, TCP and ICMPv6 fields that
// the laboratory's engines touch. (RFC 8200, 768, 9293, 4443.)
//
// Packets are plain byte slices. Nothing here allocates but the builders and
// Summary. Extension headers are stepped over, never interpreted; jumbograms
// and reassembly are left out.
package ipv6

import (
	"encoding/binary"
	"net/netip"

	"shipworm/testnet/internal/ipv4"
)

// Protocol numbers (IANA); those of ipv4 otherwise.
const (
	ICMP = 58

	hopByHop    = 0
	routing     = 43
	fragment    = 44
	auth        = 51
	destination = 60
)

const (
	HeaderLen       = 40   // of the fixed header, in bytes
	MinMTU          = 1280 // that every line carries (RFC 8200, 5)
	DefaultHopLimit = 64   // of packets made by the builders
)

// maxExtensions bounds the extension headers that are stepped over: more than
// any honest sender uses (RFC 8200, 4.1).
const maxExtensions = 8

var be = binary.BigEndian

// Check reports whether b begins with a whole IPv6 packet, and returns that
// packet without link padding.
func Check(b []byte) (pkt []byte, ok bool) {
	if len(b) < HeaderLen || b[0]>>4 != 6 {
		return nil, false
	}
	total := HeaderLen + int(be.Uint16(b[4:]))
	if total > len(b) {
		return nil, false
	}
	return b[:total], true
}

// Src returns the source address of an IPv6 packet.
func Src(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[8:24])) }

// Dst returns the destination address of an IPv6 packet.
func Dst(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[24:40])) }

// HopLimit returns the hop limit of an IPv6 packet.
func HopLimit(b []byte) byte { return b[7] }

// An Upper says what a packet carries behind its extension headers.
type Upper struct {
	Proto  byte
	At     int  // offset of the upper-layer header, or of the data of a later fragment
	Piece  bool // the packet is one piece of a larger one
	Offset int  // of the piece in the original, in bytes
}

// Find steps over the extension headers of a packet that passed Check. It is
// false if they are malformed or too many.
func Find(pkt []byte) (u Upper, ok bool) {
	u.Proto, u.At = pkt[6], HeaderLen
	for range maxExtensions {
		length := 8
		switch u.Proto {
		case hopByHop, routing, destination:
			if len(pkt) < u.At+8 {
				return u, false
			}
			length += int(pkt[u.At+1]) * 8
		case auth: // RFC 4302, 2.2
			if len(pkt) < u.At+8 {
				return u, false
			}
			length += int(pkt[u.At+1]) * 4
		case fragment:
			if len(pkt) < u.At+8 {
				return u, false
			}
			field := be.Uint16(pkt[u.At+2:])
			u.Offset, u.Piece = int(field&^7), field&^6 != 0
		default:
			return u, true
		}
		u.Proto, u.At = pkt[u.At], u.At+length
		if u.At > len(pkt) {
			return u, false
		}
		if u.Offset > 0 {
			return u, true
		}
	}
	return u, false
}

// pseudo is the sum of the pseudo header that checksums cover (RFC 8200, 8.1).
func pseudo(pkt []byte, proto byte, length int) uint32 {
	return ipv4.Sum(pkt[8:40], uint32(proto)+uint32(length>>16)+uint32(length&0xffff))
}

// TransportOK reports whether the UDP, TCP or ICMPv6 checksum of a packet that
// passed Check is right; UDP must have one (RFC 8200, 8.1). Fragments and other
// protocols are reported as right, for nothing can be said about them.
func TransportOK(pkt []byte) bool {
	u, ok := Find(pkt)
	if !ok {
		return false
	}
	if u.Piece {
		return true
	}
	body, least := pkt[u.At:], 0
	switch u.Proto {
	case ipv4.UDP:
		if len(body) < 8 || int(be.Uint16(body[4:])) != len(body) || be.Uint16(body[6:]) == 0 {
			return false
		}
		least = 8
	case ipv4.TCP:
		least = 20
	case ICMP:
		least = 4
	default:
		return true
	}
	return len(body) >= least && ipv4.Fold(ipv4.Sum(body, pseudo(pkt, u.Proto, len(body)))) == 0xffff
}
