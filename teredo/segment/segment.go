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

// A Splitter takes one super-packet apart. Its zero value has nothing left.
type Splitter struct {
	pkt     []byte
	size    int // of a packet's payload
	header  int
	payload []byte // what is left
	seq     uint32 // TCP: of what is left
	flags   byte   // TCP: of what is left, as if it were the last
	common  uint64 // sum of what all packets share
}

// Begin takes a super-packet, which it keeps until nothing is left, and the
// payload bytes of each packet but the last. Its checksum does not count.
func (s *Splitter) Begin(pkt []byte, size int) error {
	*s = Splitter{}
	h := header(pkt)
	if h == 0 && superUDP(pkt) {
		h = ip6Size + udpSize
	}
	if h == 0 || size <= 0 {
		return ErrNotSplittable
	}
	*s = Splitter{pkt: pkt, size: size, header: h, payload: pkt[h:]}
	t := pkt[ip6Size:]
	common := sum(pkt[8:ip6Size+4], uint64(pkt[6]))
	if pkt[6] == protoTCP {
		// Sequence number, flags and checksum are each packet's own.
		s.seq, s.flags = be.Uint32(t[4:]), t[13]
		common = sum(t[8:12], common+uint64(t[12])<<8)
		common = sum(t[14:tcpSum], common)
		common = sum(t[18:h-ip6Size], common)
	}
	s.common = fold(common)
	return nil
}

// superUDP tells a super-packet whose UDP length is that of its first segment.
func superUDP(pkt []byte) bool {
	return len(pkt) >= ip6Size+udpSize && pkt[0]>>4 == 6 && pkt[6] == protoUDP && int(be.Uint16(pkt[4:])) == len(pkt)-ip6Size
}

// More reports whether anything is left.
func (s *Splitter) More() bool { return s.pkt != nil }

// Next lays as many packets end to end in dst as fit, and returns how many
// bytes they are and the length of each; the last may be shorter. It fails with
// ErrNoRoom, and leaves everything where it is, if not even one fits.
func (s *Splitter) Next(dst []byte) (n, length int, err error) {
	length = s.header + min(s.size, len(s.payload))
	if len(dst) < length {
		return 0, 0, ErrNoRoom
	}
	for s.pkt != nil {
		part := s.payload[:min(s.size, len(s.payload))]
		if n+s.header+len(part) > len(dst) {
			break
		}
		p := dst[n : n+s.header+len(part)]
		n += len(p)
		s.payload = s.payload[len(part):]
		copy(p, s.pkt[:s.header])
		copy(p[s.header:], part)
		s.finish(p, part)
		if len(s.payload) == 0 {
			s.pkt = nil
		}
	}
	return n, length, nil
}

// finish writes the fields that are a packet's own. It reads nothing of p:
// what was only just written there, in other pieces, would have to be waited for.
func (s *Splitter) finish(p, part []byte) {
	length := len(p) - ip6Size
	be.PutUint16(p[4:], uint16(length))
	t := p[ip6Size:]
	if s.pkt[6] == protoTCP {
		flags := s.flags
		if len(s.payload) > 0 {
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
