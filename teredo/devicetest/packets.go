package devicetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Headers (RFC 8200, RFC 9293, RFC 768), spelled out again: the suite shares no
// arithmetic with what it tests.
const (
	ip6Header  = 40
	udpHeader  = ip6Header + 8
	tcpHeader  = ip6Header + 20 // without options
	fragHeader = ip6Header + 8

	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44

	fin, syn, rst, psh, ack, ece, cwr = 0x01, 0x02, 0x04, 0x08, 0x10, 0x40, 0x80
)

var be = binary.BigEndian

// ip6 makes an IPv6 packet; sumAt is where the checksum of the upper layer is,
// relative to it.
func ip6(proto byte, from, to netip.Addr, sumAt int, upper []byte) []byte {
	b := make([]byte, ip6Header, ip6Header+len(upper))
	b[0], b[6], b[7] = 0x60, proto, 64
	be.PutUint16(b[4:], uint16(len(upper)))
	copy(b[8:], from.AsSlice())
	copy(b[24:], to.AsSlice())
	b = append(b, upper...)
	be.PutUint16(b[ip6Header+sumAt:], 0)
	sum := ^checksum(b, proto)
	if sum == 0 && proto == protoUDP {
		sum = 0xffff
	}
	be.PutUint16(b[ip6Header+sumAt:], sum)
	return b
}

// checksum adds up pseudo-header and payload of a packet as RFC 1071 says it:
// 0xffff if there is a right checksum in it.
func checksum(b []byte, proto byte) uint16 {
	sum := uint32(proto) + uint32(len(b)-ip6Header)
	for i := 8; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		sum += w
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum&0xffff + sum>>16)
}

func udp6(from, to netip.AddrPort, payload []byte) []byte {
	b := be.AppendUint16(nil, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = be.AppendUint16(b, uint16(8+len(payload)))
	b = append(b, 0, 0)
	return ip6(protoUDP, from.Addr(), to.Addr(), 6, append(b, payload...))
}

// fragments cuts a packet to an MTU.
func fragments(p []byte, mtu int, id uint32) (out [][]byte) {
	size := (mtu - fragHeader) &^ 7
	for at := ip6Header; at < len(p); at += size {
		part := p[at:min(at+size, len(p))]
		field := uint16(at - ip6Header)
		if at+size < len(p) {
			field |= 1
		}
		b := append(append([]byte(nil), p[:ip6Header]...), p[6], 0)
		b[6] = protoFragment
		b = be.AppendUint16(b, field)
		b = be.AppendUint32(b, id)
		b = append(b, part...)
		be.PutUint16(b[4:], uint16(len(b)-ip6Header))
		out = append(out, b)
	}
	return out
}

// whole checks that b is a packet from the host to the suite, with a right
// checksum, and of at most mtu bytes.
func whole(b []byte, mtu int) error {
	switch {
	case len(b) < ip6Header || b[0]>>4 != 6 || int(be.Uint16(b[4:])) != len(b)-ip6Header:
		return errors.New("not one whole packet")
	case len(b) > mtu:
		return fmt.Errorf("longer than the MTU of %d", mtu)
	case netip.AddrFrom16([16]byte(b[8:24])) != Addr || netip.AddrFrom16([16]byte(b[24:40])) != Peer:
		return errors.New("not from the host to the peer")
	case b[6] == protoFragment:
		return nil
	case b[6] != protoUDP && b[6] != protoTCP:
		return fmt.Errorf("protocol %d", b[6])
	case b[6] == protoUDP && (len(b) < udpHeader || int(be.Uint16(b[44:])) != len(b)-ip6Header):
		return errors.New("a wrong length in the UDP header")
	case b[6] == protoTCP && (len(b) < tcpHeader || len(b) < ip6Header+dataOffset(b)):
		return errors.New("half a TCP header")
	case checksum(b, b[6]) != 0xffff:
		return fmt.Errorf("the checksum adds up to %04x", checksum(b, b[6]))
	}
	return nil
}

func dataOffset(b []byte) int { return int(b[52]>>4) * 4 }

// parseUDP takes a packet with UDP apart.
func parseUDP(b []byte) (from, to netip.AddrPort, payload []byte, err error) {
	if len(b) < udpHeader || b[0]>>4 != 6 || b[6] != protoUDP || int(be.Uint16(b[44:])) != len(b)-ip6Header || checksum(b, protoUDP) != 0xffff {
		return from, to, nil, errors.New("not a UDP packet")
	}
	from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), be.Uint16(b[40:]))
	to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), be.Uint16(b[42:]))
	return from, to, b[udpHeader:], nil
}
