package segment

import "bytes"

// maxPackets bounds the packets of a super-packet, and with it what a taker has
// to gather.
const maxPackets = 128

// A Coalescer finds the packets of a batch that can go as one. Its zero value
// is ready; it keeps the header of the last super-packet.
type Coalescer struct {
	// UDP lets UDP be coalesced as well, where the taker knows it.
	UDP bool

	buf    [MaxHeader]byte
	header int
	size   int
}

// Next returns how many packets at the beginning of pkts, at least one, go as
// one super-packet. For more than one, Header and Size then describe
// it, and its payload is the payloads of the packets, each behind HeaderLen
// bytes. All of pkts must be complete IPv6 packets, and pkts not empty.
func (c *Coalescer) Next(pkts [][]byte) int {
	first := pkts[0]
	h := header(first)
	tcp := h != 0 && first[6] == protoTCP
	if h == 0 || len(first) == h || !tcp && !c.UDP || len(pkts) == 1 || !valid(first) {
		return 1
	}
	flags := byte(0)
	if tcp {
		flags = first[ip6Size+13]
		// CWR as well: it is for one packet alone (RFC 3168), or, in a
		// connection with accurate ECN, part of a number.
		if flags&(flagFIN|flagPSH|flagURG|flagCWR|flagsOther) != 0 {
			return 1
		}
	} else if first[ip6Size+udpSum] == 0 && first[ip6Size+udpSum+1] == 0 {
		return 1
	}
	size := len(first) - h
	total := len(first) - ip6Size
	n := 1
	last := first
	for n < min(len(pkts), maxPackets) {
		p := pkts[n]
		part := len(p) - h
		if part <= 0 || part > size || total+part > MaxPayload || !c.follows(first, p, h, n*size) || !valid(p) {
			break
		}
		last = p
		total += part
		n++
		// Nothing follows the last.
		if part < size || tcp && p[ip6Size+13]&(flagFIN|flagPSH) != 0 {
			break
		}
	}
	if n == 1 {
		return 1
	}
	copy(c.buf[:], first[:h])
	c.header, c.size = h, size
	be.PutUint16(c.buf[4:], uint16(total))
	t := c.buf[ip6Size:h]
	if tcp {
		t[13] |= last[ip6Size+13] & (flagFIN | flagPSH)
	} else {
		be.PutUint16(t[4:], uint16(total))
	}
	return n
}

// follows reports whether p is what a Splitter would have put behind first, at an
// offset of its payload; checksums aside. first has headers of h bytes, and p is
// no shorter.
func (c *Coalescer) follows(first, p []byte, h, offset int) bool {
	x, y := (*[ip6Size + udpSize]byte)(first), (*[ip6Size + udpSize]byte)(p)
	differ := (le.Uint64(x[8:]) ^ le.Uint64(y[8:])) | (le.Uint64(x[16:]) ^ le.Uint64(y[16:])) |
		(le.Uint64(x[24:]) ^ le.Uint64(y[24:])) | (le.Uint64(x[32:]) ^ le.Uint64(y[32:])) | // addresses
		uint64(le.Uint32(x[0:])^le.Uint32(y[0:])) | // version, traffic class with ECN, flow label
		uint64(le.Uint16(x[6:])^le.Uint16(y[6:])) | // next header, hop limit
		uint64(le.Uint32(x[40:])^le.Uint32(y[40:])) // ports
	if differ != 0 || int(be.Uint16(y[4:])) != len(p)-ip6Size {
		return false
	}
	a, b := first[ip6Size:h], p[ip6Size:h]
	if y[6] == protoUDP {
		return int(be.Uint16(b[4:])) == len(p)-ip6Size && (b[udpSum] != 0 || b[udpSum+1] != 0)
	}
	const mayEnd = flagFIN | flagPSH
	return be.Uint32(b[4:]) == be.Uint32(a[4:])+uint32(offset) &&
		a[12] == b[12] && b[13]&^mayEnd == a[13] &&
		le.Uint32(a[8:]) == le.Uint32(b[8:]) && // acknowledgement
		le.Uint16(a[14:]) == le.Uint16(b[14:]) && // window
		bytes.Equal(a[18:], b[18:]) // urgent pointer, options
}

// valid reports whether the transport checksum is right.
func valid(p []byte) bool {
	return fold(sum(p[8:], uint64(len(p)-ip6Size)+uint64(p[6]))) == 0xffff
}

// Header returns the headers of the super-packet, valid until the next call of
// Next. In place of a checksum they have the sum that a taker wants who is to
// finish it (virtio's VIRTIO_NET_HDR_F_NEEDS_CSUM): that of the pseudo-header.
func (c *Coalescer) Header() []byte {
	h := c.buf[:c.header]
	s := uint16(fold(sum(h[8:ip6Size], uint64(be.Uint16(h[4:]))+uint64(h[6]))))
	if h[6] == protoTCP {
		be.PutUint16(h[ip6Size+tcpSum:], s)
	} else {
		be.PutUint16(h[ip6Size+udpSum:], s)
	}
	return h
}

// HeaderLen returns the length of the headers of each packet and of the
// super-packet.
func (c *Coalescer) HeaderLen() int { return c.header }

// Size returns the payload bytes of each packet but the last.
func (c *Coalescer) Size() int { return c.size }

// TCP reports whether the super-packet is TCP, and not UDP.
func (c *Coalescer) TCP() bool { return c.buf[6] == protoTCP }

// ChecksumAt returns where the checksum is, from the beginning of the transport
// header.
func (c *Coalescer) ChecksumAt() int {
	if c.TCP() {
		return tcpSum
	}
	return udpSum
}
