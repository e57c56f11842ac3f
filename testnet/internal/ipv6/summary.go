package ipv6

import (
	"fmt"
	"net/netip"

	"shipworm/testnet/internal/ipv4"
)

// Summary describes a packet in one line for traces, in the words of package
// ipv4; it accepts any bytes.
func Summary(b []byte) string {
	pkt, ok := Check(b)
	if !ok {
		return fmt.Sprintf("not IPv6, %d B", len(b))
	}
	src, dst := Src(pkt), Dst(pkt)
	u, ok := Find(pkt)
	if !ok {
		return fmt.Sprintf("IPv6 with malformed extension headers, %v > %v, %d B", src, dst, len(pkt))
	}
	if u.Piece {
		return fmt.Sprintf("fragment of protocol %d at %d, %v > %v, %d B", u.Proto, u.Offset, src, dst, len(pkt))
	}
	switch body := pkt[u.At:]; {
	case u.Proto == ipv4.UDP && len(body) >= 8:
		return fmt.Sprintf("UDP %v > %v, %d B", port(src, body), port(dst, body[2:]), len(body)-8)
	case u.Proto == ipv4.TCP && len(body) >= 20:
		return fmt.Sprintf("TCP %v > %v, %s, %d B", port(src, body), port(dst, body[2:]), ipv4.FlagNames(body[13]), len(pkt))
	case u.Proto == ICMP && len(body) >= 8:
		return fmt.Sprintf("ICMPv6 %s, %v > %v, %d B", icmpName(body), src, dst, len(pkt))
	}
	return fmt.Sprintf("protocol %d, %v > %v, %d B", u.Proto, src, dst, len(pkt))
}

func port(a netip.Addr, b []byte) netip.AddrPort { return netip.AddrPortFrom(a, be.Uint16(b)) }

func icmpName(b []byte) string {
	switch b[0] {
	case EchoRequest:
		return fmt.Sprintf("echo request %d/%d", be.Uint16(b[4:]), be.Uint16(b[6:]))
	case EchoReply:
		return fmt.Sprintf("echo reply %d/%d", be.Uint16(b[4:]), be.Uint16(b[6:]))
	case PacketTooBig:
		return fmt.Sprintf("packet too big, MTU %d", be.Uint32(b[4:]))
	case TimeExceeded:
		return "time exceeded"
	case Unreachable:
		switch b[1] {
		case CodeProhibited:
			return "administratively prohibited"
		case CodePort:
			return "port unreachable"
		}
		return fmt.Sprintf("unreachable code %d", b[1])
	}
	return fmt.Sprintf("type %d code %d", b[0], b[1])
}
