// Package ip reads packets of either family, for what treats both alike. What
// it leaves out is in packages ipv4 and ipv6.
package ip

import (
	"net/netip"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
)

// Is6 reports whether b claims to be an IPv6 packet.
func Is6(b []byte) bool { return len(b) > 0 && b[0]>>4 == 6 }

// Summary describes a packet in one line for traces; it accepts any bytes.
func Summary(b []byte) string {
	if Is6(b) {
		return ipv6.Summary(b)
	}
	return ipv4.Summary(b)
}

// A Header is what both families have.
type Header struct {
	Src, Dst netip.Addr
	TTL      byte // or hop limit
	Proto    byte
	Piece    bool   // one piece of a larger packet
	Offset   int    // of the piece, in bytes
	Body     []byte // behind all headers of the network layer
}

// Parse reads a whole, well-formed packet and ignores link padding.
func Parse(b []byte) (h Header, ok bool) {
	if Is6(b) {
		pkt, ok := ipv6.Check(b)
		if !ok {
			return h, false
		}
		u, ok := ipv6.Find(pkt)
		if !ok {
			return h, false
		}
		return Header{ipv6.Src(pkt), ipv6.Dst(pkt), ipv6.HopLimit(pkt), u.Proto, u.Piece, u.Offset, pkt[u.At:]}, true
	}
	pkt, n, ok := ipv4.Check(b)
	if !ok {
		return h, false
	}
	return Header{
		ipv4.Addr(ipv4.Src(pkt)), ipv4.Addr(ipv4.Dst(pkt)), ipv4.TTL(pkt), ipv4.Proto(pkt),
		ipv4.Fragment(pkt), ipv4.FragmentOffset(pkt), pkt[n:],
	}, true
}

// ChecksumsOK reports whether a packet is well-formed and all its checksums
// are right, as far as can be said.
func ChecksumsOK(b []byte) bool {
	if Is6(b) {
		pkt, ok := ipv6.Check(b)
		return ok && ipv6.TransportOK(pkt)
	}
	pkt, n, ok := ipv4.Check(b)
	return ok && ipv4.TransportOK(pkt, n)
}

// AppendUDP appends a whole packet of the addresses' family; id is of IPv4.
func AppendUDP(b []byte, id uint16, from, to netip.AddrPort, payload []byte) []byte {
	if to.Addr().Is6() {
		return ipv6.AppendUDP(b, from, to, payload)
	}
	return ipv4.AppendUDP(b, id, from, to, payload)
}
