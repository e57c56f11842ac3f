// Package segment takes super-packets apart and puts them together: one IPv6
// packet with a TCP or UDP payload of up to 64 KiB in place of forty that
// differ only in what a machine can count. The kernel and the userspace stack
// hand over and take such packets (TSO and GRO, for UDP USO), and what is done
// once for forty packets costs next to nothing for one.
//
// A [Splitter] makes packets of a super-packet, laid end to end. A [Coalescer]
// finds in a batch the neighbours that a Splitter would have made of one, and
// returns that one's header; it leaves the payloads where they are, since a scattered write
// gathers them for free. It takes nothing whose checksum is wrong, and what it
// made splits into what it was given, byte for byte.
//
// Left out: extension headers, IPv4, and the urgent pointer: such packets stay
// as they are.
//
//	err := s.Begin(super, mss)
//	n, length, err := s.Next(arena) // while s.More()
//
//	for rest := pkts; len(rest) > 0; {
//		n := c.Next(rest)
//		write(c.Header(), payloads(rest[:n])) // or rest[0] as it is, if n is 1
//		rest = rest[n:]
//	}
package segment

import (
	"bytes"
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

// TransportAt is where the transport header of a super-packet begins.
const TransportAt = ip6Size

// MaxPayload bounds the IPv6 payload of a super-packet, in bytes: its length
// field has 16 bits.
const MaxPayload = 65535

// Errors of a Splitter.
var (
	// ErrNotSplittable: not a complete IPv6 packet with TCP or UDP right
	// behind the header, or a segment size that is none.
	ErrNotSplittable = errors.New("segment: not a TCP or UDP packet over IPv6")
	// ErrNoRoom: the packets do not fit.
	ErrNoRoom = errors.New("segment: no room for the packets")
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian // where the order does not matter
)

// HeaderLen returns how many bytes of a packet come before its payload: IPv6 and
// TCP or UDP right behind it; 0 for other packets.
func HeaderLen(pkt []byte) int { return header(pkt) }

// header returns the length of the headers of a packet with TCP or UDP right
// behind IPv6; 0 for others.
func header(pkt []byte) int { return headerOf(pkt, len(pkt)) }

// headerOf is header for a packet of length bytes that begins with begin, which
// has all of them, or MaxHeader.
func headerOf(begin []byte, length int) int {
	if length < ip6Size+udpSize || begin[0]>>4 != 6 || int(be.Uint16(begin[4:])) != length-ip6Size {
		return 0
	}
	switch begin[6] {
	case protoUDP:
		if int(be.Uint16(begin[ip6Size+4:])) != length-ip6Size {
			return 0
		}
		return ip6Size + udpSize
	case protoTCP:
		if length < ip6Size+tcpMin {
			return 0
		}
		if n := int(begin[ip6Size+12]>>4) * 4; n >= tcpMin && ip6Size+n <= length {
			return ip6Size + n
		}
	}
	return 0
}

// A Splitter takes one super-packet apart. Its zero value has nothing left.
type Splitter struct {
	more   bool
	head   [MaxHeader]byte
	header int // of head
	size   int // of a packet's payload
	parts  [][]byte
	one    [1][]byte
	at     int    // in the first of parts
	left   int    // bytes of payload
	seq    uint32 // TCP: of what is left
	flags  byte   // TCP: of what is left, as if it were the last
	common uint64 // sum of what all packets share
}

// Begin takes a super-packet, which it keeps until nothing is left, and the
// payload bytes of each packet but the last. Its checksum does not count.
func (s *Splitter) Begin(pkt []byte, size int) error {
	s.one[0] = pkt
	return s.BeginParts(s.one[:], size)
}

// BeginParts is Begin for a super-packet in pieces.
func (s *Splitter) BeginParts(parts [][]byte, size int) error {
	s.more = false
	length, n := 0, 0
	for _, p := range parts {
		length += len(p)
		n += copy(s.head[n:], p)
	}
	h := headerOf(s.head[:n], length)
	if h == 0 && superUDP(s.head[:n], length) {
		h = ip6Size + udpSize
	}
	if h == 0 || size <= 0 {
		return ErrNotSplittable
	}
	s.more, s.header, s.size, s.parts, s.at, s.left = true, h, size, parts, h, length-h
	t := s.head[ip6Size:h]
	common := sum(s.head[8:ip6Size+4], uint64(s.head[6]))
	if s.head[6] == protoTCP {
		// Sequence number, flags and checksum are each packet's own.
		s.seq, s.flags = be.Uint32(t[4:]), t[13]
		common = sum(t[8:12], common+uint64(t[12])<<8)
		common = sum(t[14:tcpSum], common)
		common = sum(t[18:], common)
	}
	s.common = fold(common)
	return nil
}

// superUDP tells a super-packet whose UDP length is that of its first segment.
func superUDP(begin []byte, length int) bool {
	return length >= ip6Size+udpSize && begin[0]>>4 == 6 && begin[6] == protoUDP && int(be.Uint16(begin[4:])) == length-ip6Size
}

// More reports whether anything is left.
func (s *Splitter) More() bool { return s.more }

// Follows reports whether the next packet may stand behind last, a whole TCP or
// UDP packet, in one run: the length, the flow and the traffic class are the same,
// and TCP goes on where last ended without ending the flow.
func (s *Splitter) Follows(last []byte) bool {
	h := &s.head
	if !s.more || len(last) != s.header+s.size || !bytes.Equal(last[:4], h[:4]) || last[6] != h[6] || !bytes.Equal(last[8:ip6Size+4], h[8:ip6Size+4]) {
		return false
	}
	return h[6] == protoUDP || last[ip6Size+13]&flagFIN == 0 && be.Uint32(last[ip6Size+4:])+uint32(s.size) == s.seq
}

// Next lays as many packets end to end in dst as fit, and returns how many
// bytes they are and the length of each; the last may be shorter. It fails with
// ErrNoRoom, and leaves everything where it is, if not even one fits.
func (s *Splitter) Next(dst []byte) (n, length int, err error) {
	length = s.header + min(s.size, s.left)
	if len(dst) < length {
		return 0, 0, ErrNoRoom
	}
	for s.more {
		part := min(s.size, s.left)
		if n+s.header+part > len(dst) {
			break
		}
		p := dst[n : n+s.header+part]
		n += len(p)
		s.left -= part
		s.more = s.left > 0
		copy(p, s.head[:s.header])
		s.finish(p, s.take(p[s.header:]))
	}
	return n, length, nil
}

// take fills b with what comes next, and returns it, from where it can best be
// read: there, if it was in one piece.
func (s *Splitter) take(b []byte) []byte {
	for n := 0; n < len(b); {
		if s.at >= len(s.parts[0]) {
			s.at -= len(s.parts[0])
			s.parts = s.parts[1:]
			continue
		}
		from := s.parts[0][s.at:]
		k := copy(b[n:], from)
		s.at += k
		if k == len(b) {
			return from[:k]
		}
		n += k
	}
	return b
}

// finish writes the fields that are a packet's own. It reads nothing of p's
// header: what was only just written there, in other pieces, would have to be
// waited for.
func (s *Splitter) finish(p, part []byte) {
	length := len(p) - ip6Size
	be.PutUint16(p[4:], uint16(length))
	t := p[ip6Size:]
	if s.head[6] == protoTCP {
		flags := s.flags
		if s.more {
			flags &^= flagFIN | flagPSH
		}
		be.PutUint32(t[4:], s.seq)
		t[13] = flags
		acc := s.common + uint64(length) + uint64(s.seq>>16) + uint64(s.seq&0xffff) + uint64(flags)
		be.PutUint16(t[tcpSum:], ^uint16(fold(sum(part, acc))))
		s.seq += uint32(len(part))
		s.flags &^= flagCWR // the first's alone
		return
	}
	be.PutUint16(t[4:], uint16(length))
	c := ^uint16(fold(sum(part, s.common+2*uint64(length))))
	if c == 0 {
		c = 0xffff // RFC 768: zero means that there is none
	}
	be.PutUint16(t[udpSum:], c)
}

// Finish computes a checksum that a packet carries a promise of: its field, at
// bytes into the transport header at start, holds the sum of the pseudo-header
// (virtio's csum_start and csum_offset). It reports whether they lie within the
// packet, which is left alone otherwise. Whatever stands between the IPv6 header
// and start does not matter.
func Finish(pkt []byte, start, at int) bool {
	if start < ip6Size || at < 0 || start+at+2 > len(pkt) {
		return false
	}
	s := ^uint16(fold(sum(pkt[start:], 0)))
	if s == 0 {
		s = 0xffff // the same to TCP; zero means none to UDP
	}
	be.PutUint16(pkt[start+at:], s)
	return true
}

// SetChecksum computes the transport checksum of a TCP or UDP packet. It does
// nothing to others.
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

// Checked reports whether a TCP or UDP packet right behind the IPv6 header is
// well-formed and has the checksum that it should have; others pass. A UDP
// datagram may be shorter than its packet (RFC 9868): the checksum covers it
// alone.
func Checked(pkt []byte) bool {
	if len(pkt) < ip6Size || pkt[6] != protoTCP && pkt[6] != protoUDP {
		return true
	}
	if pkt[6] == protoUDP && len(pkt) >= ip6Size+udpSize {
		if n := int(be.Uint16(pkt[ip6Size+4:])); n >= udpSize && ip6Size+n < len(pkt) {
			return valid(pkt[:ip6Size+n])
		}
	}
	return header(pkt) != 0 && valid(pkt)
}
