package sim

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"shipworm/testnet/firewall"
	"shipworm/testnet/internal/ipv6"
)

// A delegation is a prefix that is routed to a line.
type delegation struct {
	prefix netip.Prefix
	line   *line
}

// join6 is join for an IPv6 address.
func (n *network) join6(l *line, a netip.Addr) error {
	switch {
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback(), a.Is4In6(), a.Zone() != "":
		return ErrBadAddress
	case n.routes6[a] != nil || n.router != nil && !n.router.hosted && n.router.gateway6() == a:
		return ErrAddressInUse
	case a.IsLinkLocalUnicast():
		if n.router == nil { // the Internet is no link
			return ErrBadAddress
		}
	case n.delegated(a) != nil:
		return ErrAddressInUse
	case n.router != nil && !n.router.prefix.Contains(a):
		return ErrBadAddress
	}
	if n.routes6 == nil {
		n.routes6 = make(map[netip.Addr]*line)
	}
	n.routes6[a] = l
	return nil
}

// delegated returns the line to which the longest prefix of an address is
// routed, or nil.
func (n *network) delegated(a netip.Addr) *line {
	for _, d := range n.prefixes {
		if d.prefix.Contains(a) {
			return d.line
		}
	}
	return nil
}

// route6 is route for IPv6.
func (n *network) route6(p *buffer, from *line) {
	w := n.world
	pkt, ok := ipv6.Check(p.b)
	if !ok {
		w.drop(n.name, p, reasonMalformed6)
		return
	}
	dst := ipv6.Dst(pkt)
	if dst.IsMulticast() {
		n.flood(p, from)
		return
	}
	to := n.routes6[dst]
	if to == nil && !dst.IsLinkLocalUnicast() {
		to = n.delegated(dst)
	}
	switch {
	case to != nil && to == from && n.router == nil:
		w.drop(n.name, p, reasonRedirect)
	case to != nil:
		if !to.send(p, false) {
			n.tooBig(p, to, from)
		}
	case n.router != nil && from != nil:
		n.router.outbound6(p)
	default:
		w.drop(n.name, p, reasonNoRoute)
	}
}

// Delegate has an IPv6 prefix, of 16 to 64 bits, routed to the router's LAN, in
// place of the one before; the zero prefix ends IPv6. The prefix's first
// address is the router's own. Addresses of hosts stay what they were, as when
// a provider gives out another prefix.
func (r *Router) Delegate(prefix netip.Prefix) error {
	old := r.prefix
	r.undelegate()
	if prefix == (netip.Prefix{}) {
		return nil
	}
	err := r.delegate(prefix)
	if err != nil && old.IsValid() {
		if back := r.delegate(old); back != nil {
			err = back
		}
	}
	if err != nil {
		return fmt.Errorf("sim: router %s %v: %w", r.name, prefix, err)
	}
	return nil
}

func (r *Router) delegate(prefix netip.Prefix) error {
	if !prefix.IsValid() || !prefix.Addr().Is6() || prefix.Bits() < 16 || prefix.Bits() > 64 || prefix != prefix.Masked() ||
		prefix.Addr().IsMulticast() || prefix.Addr().IsLinkLocalUnicast() {
		return ErrBadPrefix
	}
	for net := r.line.net; net != nil; net = net.upstream() {
		for _, d := range net.prefixes {
			if d.prefix == prefix {
				return ErrAddressInUse
			}
		}
		for a := range net.routes6 {
			if prefix.Contains(a) {
				return ErrAddressInUse
			}
		}
	}
	via := r.line
	for net := r.line.net; net != nil; net = net.upstream() {
		net.prefixes = append(net.prefixes, delegation{prefix, via})
		slices.SortStableFunc(net.prefixes, func(a, b delegation) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
		if net.router != nil {
			via = net.router.line
		}
	}
	r.prefix = prefix
	return nil
}

func (r *Router) undelegate() {
	for net := r.line.net; net != nil; net = net.upstream() {
		net.prefixes = slices.DeleteFunc(net.prefixes, func(d delegation) bool { return d.prefix == r.prefix })
	}
	r.prefix = netip.Prefix{}
}

// upstream is the network above, which routes this one's prefixes.
func (n *network) upstream() *network {
	if n.router == nil {
		return nil
	}
	return n.router.line.net
}

// Prefix returns the delegated prefix, or the zero prefix.
func (r *Router) Prefix() netip.Prefix { return r.prefix }

// SetFirewall puts a firewall before the LAN's IPv6, instead of the one before;
// nil lets everything pass. Whoever holds the firewall may open pinholes in it
// inside Do or from callbacks.
func (r *Router) SetFirewall(f *firewall.Firewall) { r.fw, r.fwPoll = f, time.Time{} }

// Firewall returns the firewall, or nil.
func (r *Router) Firewall() *firewall.Firewall { return r.fw }

// gateway6 is the router's own address, or the zero one.
func (r *Router) gateway6() netip.Addr {
	if !r.prefix.IsValid() {
		return netip.Addr{}
	}
	return r.prefix.Addr().Next()
}

// outbound6 takes a packet from the LAN for elsewhere.
func (r *Router) outbound6(p *buffer) {
	w := r.world
	src, dst := ipv6.Src(p.b), ipv6.Dst(p.b)
	switch {
	case !r.prefix.IsValid():
		w.drop(r.name, p, reasonNoIPv6)
	case dst == r.gateway6():
		r.toSelf6(p)
	case src.IsLinkLocalUnicast() || dst.IsLinkLocalUnicast():
		w.drop(r.name, p, reasonLinkLocal)
	case !r.prefix.Contains(src): // RFC 6092, REC-5
		w.drop(r.name, p, reasonForeign)
	case r.prefix.Contains(dst): // RFC 7084, WPD-5: no loop with the provider
		w.drop(r.name, p, reasonNoRoute)
	case r.hop6(p):
		why := routed
		if r.fw != nil {
			v := r.fw.Outbound(w.Now(), p.b)
			if why = v.String(); !v.Pass() {
				w.drop(r.name, p, why)
				return
			}
		}
		w.note(r.name, Forwarded, why, p)
		if !r.line.send(p, true) {
			r.report6(p, ipv6.PacketTooBig, 0, uint32(r.line.up.Config().MTU))
			w.drop(r.line.upName, p, reasonTooBig)
		}
	}
}

// arrive6 takes a packet from the uplink.
func (r *Router) arrive6(p *buffer) {
	w := r.world
	pkt, ok := ipv6.Check(p.b)
	if !ok {
		w.drop(r.name, p, reasonMalformed6)
		return
	}
	src, dst := ipv6.Src(pkt), ipv6.Dst(pkt)
	switch {
	case dst.IsMulticast():
		w.drop(r.name, p, reasonMulticast)
	case r.prefix.IsValid() && dst == r.gateway6():
		r.toSelf6(p)
	case !r.prefix.Contains(dst) && r.lan.delegated(dst) == nil:
		w.drop(r.name, p, reasonNoRoute)
	case r.prefix.Contains(src): // RFC 6092, REC-6
		w.drop(r.name, p, reasonForeign)
	case r.hop6(p):
		why := routed
		if r.fw != nil {
			v := r.fw.Inbound(w.Now(), p.b)
			r.plan6()
			if why = v.String(); !v.Pass() {
				w.drop(r.name, p, why)
				return
			}
		}
		w.note(r.name, Forwarded, why, p)
		r.lan.route6(p, nil)
	}
}

// plan6 makes sure that what the firewall reports later is reported.
func (r *Router) plan6() {
	next, ok := r.fw.Next()
	if !ok || next.Equal(r.fwPoll) {
		return
	}
	r.fwPoll = next
	f := r.fw
	r.world.At(next, func() {
		if r.fw != f {
			return
		}
		r.fwPoll = time.Time{}
		for b := f.Poll(r.world.Now()); b != nil; b = f.Poll(r.world.Now()) {
			if e := ipv6.AppendError(nil, ipv6.Unreachable, ipv6.CodeProhibited, 0, r.gateway6(), b); len(e) > 0 {
				r.answer6(e)
			}
		}
		r.plan6()
	})
}

// hop6 is hop for IPv6.
func (r *Router) hop6(p *buffer) bool {
	if p.b[7] > 1 {
		p.b[7]--
		return true
	}
	r.report6(p, ipv6.TimeExceeded, 0, 0)
	r.world.drop(r.name, p, reasonTTL)
	return false
}

// report6 sends an ICMPv6 error about p to where it came from.
func (r *Router) report6(p *buffer, kind, code byte, rest uint32) {
	r.spare = ipv6.AppendError(r.spare[:0], kind, code, rest, r.gateway6(), p.b)
	if len(r.spare) > 0 {
		r.answer6(r.spare)
	}
}

// answer6 sends a packet of the router's own.
func (r *Router) answer6(pkt []byte) {
	w := r.world
	p := w.emit(r.name, pkt)
	if dst := ipv6.Dst(pkt); r.prefix.Contains(dst) || r.lan.routes6[dst] != nil || r.lan.delegated(dst) != nil {
		r.lan.route6(p, nil)
	} else if !r.line.send(p, true) {
		w.drop(r.line.upName, p, reasonTooBig)
	}
}

// toSelf6 answers pings and drops the rest of what is for the router itself.
func (r *Router) toSelf6(p *buffer) {
	w := r.world
	if r.spare = appendPong6(r.spare[:0], p.b); len(r.spare) == 0 {
		w.drop(r.name, p, reasonNoPort)
		return
	}
	w.deliver(r.name, p)
	w.buffers.release(p)
	r.answer6(r.spare)
}

// appendPong6 appends the answer to an ICMPv6 echo request, and nothing for any
// other packet.
func appendPong6(b, pkt []byte) []byte {
	pkt, ok := ipv6.Check(pkt)
	if !ok || !ipv6.TransportOK(pkt) {
		return b
	}
	u, _ := ipv6.Find(pkt)
	if u.Proto != ipv6.ICMP || u.Piece || len(pkt) < u.At+8 || pkt[u.At] != ipv6.EchoRequest {
		return b
	}
	echo := pkt[u.At:]
	return ipv6.AppendEcho(b, ipv6.EchoReply, ipv6.Dst(pkt), ipv6.Src(pkt), be.Uint16(echo[4:]), be.Uint16(echo[6:]), echo[8:])
}
