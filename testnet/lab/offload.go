package lab

import (
	"encoding/binary"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
)

// What stands before each packet of a TUN device with IFF_VNET_HDR (Virtual
// I/O Device 1.2, 5.1.6: struct virtio_net_hdr), in the machine's byte order.
const (
	vnetHeaderLen = 10

	vnetNeedsChecksum = 1 // flag: the checksum field holds the pseudo header's sum only

	gsoNone = 0
	gsoTCP4 = 1
	gsoTCP6 = 4
	gsoUDP  = 5    // USO: a run of datagrams
	gsoECN  = 0x80 // on top of TCP's: CWR belongs to the first segment
)

// A vnetHeader says what a network card would still do to a packet that its
// sender left unfinished: fill in the checksum, cut it into segments.
type vnetHeader struct {
	flags         byte
	gsoType       byte
	headerLen     uint16 // of all headers, a hint
	segment       uint16 // payload bytes in each segment
	checksumStart uint16
	checksumAt    uint16 // from checksumStart
}

func (h *vnetHeader) parse(b []byte) {
	h.flags, h.gsoType = b[0], b[1]
	h.headerLen = binary.NativeEndian.Uint16(b[2:])
	h.segment = binary.NativeEndian.Uint16(b[4:])
	h.checksumStart = binary.NativeEndian.Uint16(b[6:])
	h.checksumAt = binary.NativeEndian.Uint16(b[8:])
}

func (h *vnetHeader) put(b []byte) {
	b[0], b[1] = h.flags, h.gsoType
	binary.NativeEndian.PutUint16(b[2:], h.headerLen)
	binary.NativeEndian.PutUint16(b[4:], h.segment)
	binary.NativeEndian.PutUint16(b[6:], h.checksumStart)
	binary.NativeEndian.PutUint16(b[8:], h.checksumAt)
}

// network returns a well-formed packet without link padding, and how long its
// IP header is. IPv6 with extension headers is none that anything is left to do
// to.
func network(b []byte) (pkt []byte, header int, ok bool) {
	if ip.Is6(b) {
		pkt, ok = ipv6.Check(b)
		return pkt, ipv6.HeaderLen, ok && (pkt[6] == ipv4.TCP || pkt[6] == ipv4.UDP)
	}
	return ipv4.Check(b)
}

// protocol is what a packet that passed network carries.
func protocol(pkt []byte) byte {
	if ip.Is6(pkt) {
		return pkt[6]
	}
	return ipv4.Proto(pkt)
}

// transport returns where the checksum of a well-formed TCP or UDP packet lies
// in its transport header, and how long the headers are together.
func transport(pkt []byte, header int) (checksumAt, headers int, ok bool) {
	if !ip.Is6(pkt) && ipv4.Fragment(pkt) {
		return 0, 0, false
	}
	switch body := pkt[header:]; {
	case protocol(pkt) == ipv4.TCP && len(body) >= 20:
		n := int(body[12]>>4) * 4
		return 16, header + n, n >= 20 && n <= len(body)
	case protocol(pkt) == ipv4.UDP && len(body) >= 8:
		return 6, header + 8, true
	}
	return 0, 0, false
}

// pseudoSum is the sum that a sender leaves in the checksum field for its card.
func pseudoSum(pkt []byte, header int) uint16 {
	acc, addresses := uint32(protocol(pkt))+uint32(len(pkt)-header), pkt[12:20]
	if ip.Is6(pkt) {
		addresses = pkt[8:40]
	}
	return ipv4.Fold(ipv4.Sum(addresses, acc))
}

// checksumMissing reports whether the packet of the header, nil for none, is
// yet to get its transport checksum.
func (h *vnetHeader) checksumMissing() bool {
	return h != nil && (h.flags&vnetNeedsChecksum != 0 || h.gsoType != gsoNone)
}

// unfinished returns the header for pkt, which has become of a packet with
// header h on its way through routers. A router that changes addresses and
// ports mends a whole checksum, not a pseudo header's: that one is made anew.
func (h *vnetHeader) unfinished(pkt []byte) vnetHeader {
	if h.flags&vnetNeedsChecksum == 0 {
		return vnetHeader{}
	}
	pkt, header, ok := network(pkt)
	if !ok {
		return vnetHeader{}
	}
	at, headers, ok := transport(pkt, header)
	if !ok {
		return vnetHeader{}
	}
	be.PutUint16(pkt[header+at:], pseudoSum(pkt, header))
	out := vnetHeader{flags: vnetNeedsChecksum, checksumStart: uint16(header), checksumAt: uint16(at)}
	if h.gsoType != gsoNone && len(pkt)-headers > int(h.segment) {
		out.gsoType, out.segment, out.headerLen = h.gsoType, h.segment, uint16(headers)
	}
	return out
}

var be = binary.BigEndian

// finish does to a packet what the sender's card would have done, and calls
// emit with each packet that would have been on the wire. They are built in
// space, which is returned for the next time. A packet whose header makes no
// sense is not emitted, and reported.
func (h *vnetHeader) finish(pkt, space []byte, emit func([]byte)) (_ []byte, ok bool) {
	if !h.checksumMissing() {
		emit(pkt)
		return space, true
	}
	pkt, header, ok := network(pkt)
	if !ok {
		return space, false
	}
	at, headers, ok := transport(pkt, header)
	if !ok {
		return space, false
	}
	segment := int(h.segment)
	switch h.gsoType &^ gsoECN {
	case gsoNone:
		segment = len(pkt)
	case gsoTCP4, gsoTCP6, gsoUDP:
	default:
		return space, false
	}
	if segment == 0 {
		return space, false
	}
	payload := pkt[headers:]
	for i := 0; i == 0 || i*segment < len(payload); i++ {
		from, to := i*segment, min((i+1)*segment, len(payload))
		space = append(append(space[:0], pkt[:headers]...), payload[from:to]...)
		setSegment(space, header, i, from, to == len(payload))
		if h.flags&vnetNeedsChecksum != 0 || h.gsoType != gsoNone {
			setChecksum(space, header, at)
		}
		emit(space)
	}
	return space, true
}

// setSegment makes p, a copy of the super-packet's headers with the payload
// from an offset, the i-th packet of its run.
func setSegment(p []byte, header, i, offset int, last bool) {
	if !ip.Is6(p) {
		be.PutUint16(p[4:], be.Uint16(p[4:])+uint16(i))
	}
	setLength(p, header)
	body := p[header:]
	if protocol(p) == ipv4.UDP {
		be.PutUint16(body[4:], uint16(len(body)))
		return
	}
	const fin, psh, cwr = 1, 8, 128
	be.PutUint32(body[4:], be.Uint32(body[4:])+uint32(offset))
	if !last {
		body[13] &^= fin | psh
	}
	if i > 0 {
		body[13] &^= cwr
	}
}

// setLength has the IP header say how long the packet is.
func setLength(p []byte, header int) {
	if ip.Is6(p) {
		be.PutUint16(p[4:], uint16(len(p)-header))
		return
	}
	be.PutUint16(p[2:], uint16(len(p)))
	be.PutUint16(p[10:], 0)
	be.PutUint16(p[10:], ^ipv4.Fold(ipv4.Sum(p[:header], 0)))
}

func setChecksum(p []byte, header, at int) {
	be.PutUint16(p[header+at:], 0)
	sum := ^ipv4.Fold(ipv4.Sum(p[header:], uint32(pseudoSum(p, header))))
	if sum == 0 && protocol(p) == ipv4.UDP {
		sum = 0xffff // zero would mean none (RFC 768)
	}
	be.PutUint16(p[header+at:], sum)
}
