package ipv4

import (
	"fmt"
	"net/netip"
	"strings"
)

// Summary describes a packet in one line for traces; it accepts any bytes.
func Summary(b []byte) string {
	pkt, h, ok := Check(b)
	if !ok {
		return fmt.Sprintf("not IPv4, %d B", len(b))
	}
	src, dst, body := Addr(Src(pkt)), Addr(Dst(pkt)), pkt[h:]
	if Fragment(pkt) {
		return fmt.Sprintf("fragment of protocol %d at %d, %v > %v, %d B", Proto(pkt), FragmentOffset(pkt), src, dst, len(pkt))
	}
	switch p := Proto(pkt); {
	case p == UDP && len(body) >= 8:
		return fmt.Sprintf("UDP %v > %v, %d B", port(src, body), port(dst, body[2:]), len(body)-8)
	case p == TCP && len(body) >= 20:
		return fmt.Sprintf("TCP %v > %v, %s, %d B", port(src, body), port(dst, body[2:]), FlagNames(body[13]), len(pkt))
	case p == ICMP && len(body) >= 8:
		return fmt.Sprintf("ICMP %s, %v > %v, %d B", icmpName(body), src, dst, len(pkt))
	default:
		return fmt.Sprintf("protocol %d, %v > %v, %d B", p, src, dst, len(pkt))
	}
}

// FlagNames spells the flags of a TCP segment: "SYN/ACK", or "no flags".
func FlagNames(flags byte) string {
	names := [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"}
	var set []string
	for _, i := range [...]int{1, 0, 2, 3, 4, 5, 6, 7} { // SYN/ACK, FIN/ACK, as everybody says
		if flags>>i&1 != 0 {
			set = append(set, names[i])
		}
	}
	if len(set) == 0 {
		return "no flags"
	}
	return strings.Join(set, "/")
}

func port(a netip.Addr, b []byte) netip.AddrPort { return netip.AddrPortFrom(a, be.Uint16(b)) }

func icmpName(b []byte) string {
	switch b[0] {
	case EchoRequest:
		return fmt.Sprintf("echo request %d/%d", be.Uint16(b[4:]), be.Uint16(b[6:]))
	case EchoReply:
		return fmt.Sprintf("echo reply %d/%d", be.Uint16(b[4:]), be.Uint16(b[6:]))
	case Unreachable:
		switch b[1] {
		case CodePort:
			return "port unreachable"
		case CodeFragNeeded:
			return "fragmentation needed"
		}
		return fmt.Sprintf("unreachable code %d", b[1])
	case TimeExceeded:
		return "time exceeded"
	}
	return fmt.Sprintf("type %d code %d", b[0], b[1])
}
