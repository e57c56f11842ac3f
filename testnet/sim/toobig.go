package sim

import (
	"net/netip"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
)

// The Internet has no routers of its own. These are where it reports packets
// from: the IPv4 dummy address (RFC 7600), and one for documentation.
var (
	internet4 = netip.AddrFrom4([4]byte{192, 0, 0, 8})
	internet6 = netip.MustParseAddr("2001:db8:ffff:ffff::1")
)

// appendTooBig appends what the network says about a packet that does not fit
// a line (RFC 1191, 4; RFC 8201, 3): nothing about one of IPv4 that may be cut.
func (n *network) appendTooBig(b []byte, mtu int, pkt []byte) []byte {
	if ip.Is6(pkt) {
		from := internet6
		if n.router != nil {
			if from = n.router.gateway6(); !from.IsValid() {
				return b
			}
		}
		return ipv6.AppendError(b, ipv6.PacketTooBig, 0, uint32(mtu), from, pkt)
	}
	if _, _, ok := ipv4.Check(pkt); !ok || !ipv4.DontFragment(pkt) {
		return b
	}
	from := uint32(0)
	if n.router != nil {
		from = n.router.address(true)
	}
	if from == 0 {
		from, _ = ipv4.Number(internet4)
	}
	return ipv4.AppendError(b, ipv4.Unreachable, ipv4.CodeFragNeeded, uint32(mtu), from, pkt)
}

// tooBig ends a packet that does not fit the line of its destination. The
// Internet reports it, or the router that it came through (from is nil); between
// two hosts of a LAN there is nobody who could.
func (n *network) tooBig(p *buffer, to, from *line) {
	var b []byte
	if n.router == nil || from == nil {
		b = n.appendTooBig(nil, to.down.Config().MTU, p.b)
	}
	n.world.drop(to.downName, p, reasonTooBig)
	if len(b) > 0 {
		n.report(b)
	}
}

// report sends an error of the network's own towards its destination. One of a
// router's LAN is about a translated packet, so that it goes through the NAT
// like one of a host.
func (n *network) report(pkt []byte) {
	switch r := n.router; {
	case r == nil:
		n.route(n.world.emit(n.name, pkt), nil)
	case ip.Is6(pkt):
		r.answer6(pkt)
	case n.routes[ipv4.Dst(pkt)] != nil: // about a hairpinned packet that kept its source
		r.answer(pkt, true)
	default:
		r.outbound(n.world.emit(r.name, pkt))
	}
}

// tooBig ends a packet that does not fit the uplink. It has been translated
// already, so the error goes through the NAT like one from outside.
func (r *Router) tooBig(p *buffer) {
	r.spare = r.lan.appendTooBig(r.spare[:0], r.line.up.Config().MTU, p.b)
	r.world.drop(r.line.upName, p, reasonTooBig)
	if len(r.spare) > 0 {
		r.arrive(r.world.buffers.copy(r.spare))
	}
}

// tooBig ends a packet that does not fit the host's own line, and tells the host.
func (h *Host) tooBig(p *buffer) {
	w, n := h.world, h.line.net
	name := n.name
	if n.router != nil {
		name = n.router.name
	}
	b := n.appendTooBig(nil, h.line.up.Config().MTU, p.b)
	w.drop(h.line.upName, p, reasonTooBig)
	if len(b) == 0 {
		return
	}
	if e := w.emit(name, b); !h.line.send(e, false) {
		w.drop(h.line.downName, e, reasonTooBig)
	}
}
