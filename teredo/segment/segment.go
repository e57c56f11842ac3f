// Package segment takes super-packets apart and puts them together: one IPv6
// packet with a TCP or UDP payload of up to 64 KiB in place of forty that
// differ only in what a machine can count. The kernel and the userspace stack
// hand over and take such packets (TSO and GRO, for UDP USO), and what is done
// once for forty packets costs next to nothing for one.
//
// [Split] makes packets of a super-packet, laid end to end. A [Coalescer] finds
// in a batch the neighbours that Split would have made of one, and returns that
// one's header; it leaves the payloads where they are, since a scattered write
// gathers them for free. It takes nothing whose checksum is wrong, and Split of
// what it made is byte for byte what it was given.
//
// Left out: extension headers, IPv4, and the urgent pointer: such packets stay
// as they are.
//
//	n, size, err := segment.Split(arena, super, mss)
//
//	for rest := pkts; len(rest) > 0; {
//		n := c.Next(rest)
//		write(c.Header(), payloads(rest[:n])) // or rest[0] as it is, if n is 1
//		rest = rest[n:]
//	}
package segment

import (
	"encoding/binary"
	"errors"
)

// Sizes and offsets of headers. RFC 8200, 3; RFC 9293, 3.1; RFC 768.
const (
	ip6Size    = 40
	udpSize    = 8
	tcpMin     = 20
	tcpMax     = 60
	protoTCP   = 6
	protoUDP   = 17
	tcpSum     = 16 // of the checksum in the header
	udpSum     = 6
	flagFIN    = 0x01
	flagPSH    = 0x08
	flagURG    = 0x20
	flagCWR    = 0x80
	flagsOther = 0x02 | 0x04 // SYN, RST
)

// MaxHeader is the longest header of a super-packet, in bytes.
const MaxHeader = ip6Size + tcpMax

// MaxPayload bounds the IPv6 payload of a super-packet, in bytes: its length
// field has 16 bits.
const MaxPayload = 65535

// Errors of Split.
var (
	// ErrNotSplittable: not a complete IPv6 packet with TCP or UDP right
	// behind the header, or a segment size that is none.
	ErrNotSplittable = errors.New("segment: not a TCP or UDP packet over IPv6")
	// ErrNoRoom: the packets do not fit.
	ErrNoRoom = errors.New("segment: no room for the packets")
)

var be = binary.BigEndian

// header returns the length of the headers of a packet with TCP or UDP right
// behind IPv6; 0 for others.
func header(pkt []byte) int {
	if len(pkt) < ip6Size+udpSize || pkt[0]>>4 != 6 || int(be.Uint16(pkt[4:])) != len(pkt)-ip6Size {
		return 0
	}
	switch pkt[6] {
	case protoUDP:
		if int(be.Uint16(pkt[ip6Size+4:])) != len(pkt)-ip6Size {
			return 0
		}
		return ip6Size + udpSize
	case protoTCP:
		if len(pkt) < ip6Size+tcpMin {
			return 0
		}
		if n := int(pkt[ip6Size+12]>>4) * 4; n >= tcpMin && ip6Size+n <= len(pkt) {
			return ip6Size + n
		}
	}
	return 0
}

// Split lays the packets that a super-packet stands for end to end in dst, with
// size bytes of payload each but for the last, and returns how many bytes they
// are and the length of each. dst and pkt must not overlap. Every checksum is
// computed anew: that of the super-packet does not count.
func Split(dst, pkt []byte, size int) (n, length int, err error) {
	h := header(pkt)
	if h == 0 || size <= 0 {
		// A UDP super-packet may carry the length of its first segment.
		if size <= 0 || len(pkt) < ip6Size+udpSize || pkt[0]>>4 != 6 || pkt[6] != protoUDP || int(be.Uint16(pkt[4:])) != len(pkt)-ip6Size {
			return 0, 0, ErrNotSplittable
		}
		h = ip6Size + udpSize
	}
	payload := pkt[h:]
	count := max((len(payload)+size-1)/size, 1)
	if len(dst) < count*h+len(payload) {
		return 0, 0, ErrNoRoom
	}
	tcp := pkt[6] == protoTCP
	// What all of them have in common is summed once.
	fixed := sum(pkt[8:h], 0)
	if tcp {
		// Sequence number, flags and checksum are each packet's own.
		fixed = sum(pkt[8:ip6Size+4], 0)
		fixed = sum(pkt[ip6Size+8:ip6Size+12], fixed)
		fixed = sum(pkt[ip6Size+14:ip6Size+tcpSum], fixed)
		fixed = sum(pkt[ip6Size+18:h], fixed)
	} else {
		fixed = sum(pkt[8:ip6Size+4], 0)
	}
	fixed = fold(fixed + uint64(pkt[6]))
	for i := range count {
		part := payload[:min(size, len(payload))]
		payload = payload[len(part):]
		p := dst[n : n+h+len(part)]
		copy(p, pkt[:h])
		copy(p[h:], part)
		n += len(p)
		be.PutUint16(p[4:], uint16(len(p)-ip6Size))
		t := p[ip6Size:]
		acc := fixed + uint64(len(p)-ip6Size)
		if tcp {
			be.PutUint32(t[4:], be.Uint32(t[4:])+uint32(i*size))
			if i > 0 {
				t[13] &^= flagCWR
			}
			if i < count-1 {
				t[13] &^= flagFIN | flagPSH
			}
			acc += uint64(be.Uint16(t[4:])) + uint64(be.Uint16(t[6:])) + uint64(be.Uint16(t[12:]))
			be.PutUint16(t[tcpSum:], ^uint16(fold(sum(part, acc))))
			continue
		}
		be.PutUint16(t[4:], uint16(len(t)))
		acc += uint64(len(t))
		s := ^uint16(fold(sum(part, acc)))
		if s == 0 {
			s = 0xffff // RFC 768: zero means that there is none
		}
		be.PutUint16(t[udpSum:], s)
	}
	return n, h + min(size, len(pkt)-h), nil
}

// SetChecksum computes the transport checksum of a TCP or UDP packet, for those
// that come with a promise in place of one. It does nothing to others.
func SetChecksum(pkt []byte) {
	h := header(pkt)
	if h == 0 {
		return
	}
	at := ip6Size + tcpSum
	if pkt[6] == protoUDP {
		at = ip6Size + udpSum
	}
	pkt[at], pkt[at+1] = 0, 0
	s := ^uint16(fold(sum(pkt[8:], uint64(len(pkt)-ip6Size)+uint64(pkt[6]))))
	if s == 0 && pkt[6] == protoUDP {
		s = 0xffff
	}
	be.PutUint16(pkt[at:], s)
}
