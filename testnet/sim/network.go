package sim

import (
	"net/netip"

	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
)

// Reasons for drops by the network itself; those of NATs and lines are their
// own.
const (
	reasonBusy       = "too many packets in flight"
	reasonNoRoute    = "no host has this address"
	reasonMulticast  = "multicast does not leave a LAN"
	reasonAlone      = "nobody else is on this LAN"
	reasonMalformed  = "not a well-formed IPv4 packet"
	reasonMalformed6 = "not a well-formed IPv6 packet"
	reasonNoIPv6     = "no IPv6 prefix is delegated"
	reasonLinkLocal  = "a link-local address does not leave its link"
	reasonForeign    = "the source is on the other side of the router"
	reasonTTL        = "time to live exceeded"
	reasonTooBig     = "larger than the line's MTU"
	reasonRedirect   = "destination is on the network it came from"
	reasonNoPort     = "no socket on this port"
	reasonNotMine    = "delivered to a host that has not this address"
	reasonChecksum   = "wrong UDP checksum"
	reasonPieces     = "the other fragments did not come"
)

// routed is the reason of IPv6 packets that no firewall looked at.
const routed = "routed"

// flipped is the reason of Corrupted events: such a packet goes on.
const flipped = "a bit flipped on the line"

// A network delivers by destination address: the Internet, or the LAN of a
// router, which takes what is for elsewhere.
type network struct {
	world  *World
	name   string
	routes map[uint32]*line
	lines  []*line // in order of joining, for multicast
	router *Router // nil for the Internet

	routes6  map[netip.Addr]*line
	prefixes []delegation // longest first
}

func newNetwork(w *World, name string) *network {
	return &network{world: w, name: name, routes: make(map[uint32]*line)}
}

// join makes addresses reachable through a line: all of them, or none.
func (n *network) join(l *line, addrs ...netip.Addr) error {
	for i, a := range addrs {
		join := n.join4
		if a.Is6() {
			join = n.join6
		}
		if err := join(l, a); err != nil {
			n.leave(addrs[:i]...)
			return err
		}
	}
	return nil
}

// join4 makes an IPv4 address reachable on this network and, where its router
// does not translate, on the ones above.
func (n *network) join4(l *line, a netip.Addr) error {
	v, ok := ipv4.Number(a)
	if !ok || ipv4.Multicast(v) || v == 0 {
		return ErrBadAddress
	}
	for net := n; net != nil; net = net.above() {
		if net.routes[v] != nil || net.router != nil && net.router.gateway == v {
			return ErrAddressInUse
		}
	}
	for net := n; net != nil; net = net.above() {
		net.routes[v] = l
		if net.router != nil {
			l = net.router.line
		}
	}
	return nil
}

// leave undoes join.
func (n *network) leave(addrs ...netip.Addr) {
	for _, a := range addrs {
		if a.Is6() {
			delete(n.routes6, a)
			continue
		}
		v, _ := ipv4.Number(a)
		for net := n; net != nil; net = net.above() {
			delete(net.routes, v)
		}
	}
}

// above is the network that must know this one's addresses: only a router
// without translation shows them.
func (n *network) above() *network {
	if n.router == nil || !n.router.nat.Config().NoTranslation {
		return nil
	}
	return n.router.line.net
}

// route takes a packet that came out of a line at the network's end (from), or
// from the network's own router (from is nil).
func (n *network) route(p *buffer, from *line) {
	w := n.world
	if ip.Is6(p.b) {
		n.route6(p, from)
		return
	}
	pkt, _, ok := ipv4.Check(p.b)
	if !ok {
		w.drop(n.name, p, reasonMalformed)
		return
	}
	dst := ipv4.Dst(pkt)
	if ipv4.Multicast(dst) {
		n.flood(p, from)
		return
	}
	to := n.routes[dst]
	switch {
	case to != nil && to == from && n.router == nil:
		w.drop(n.name, p, reasonRedirect)
	case to != nil:
		if !to.send(p, false) {
			n.tooBig(p, to, from)
		}
	case n.router != nil && from != nil:
		n.router.outbound(p)
	default:
		w.drop(n.name, p, reasonNoRoute)
	}
}

// flood copies a multicast packet to everybody else on a LAN.
func (n *network) flood(p *buffer, from *line) {
	w := n.world
	if n.router == nil {
		w.drop(n.name, p, reasonMulticast)
		return
	}
	alone := true
	for _, l := range n.lines {
		if l != from {
			alone = false
			c := w.buffers.twin(p, p.b)
			if !l.send(c, false) {
				w.drop(l.downName, c, reasonTooBig)
			}
		}
	}
	if alone {
		w.drop(n.name, p, reasonAlone)
		return
	}
	w.buffers.release(p)
}
