package sim

import "shipworm/testnet/internal/ipv4"

// hop takes one from the time to live, or drops the packet and reports it.
func (r *Router) hop(p *buffer) bool {
	if ipv4.TTL(p.b) > 1 {
		ipv4.DecrementTTL(p.b)
		return true
	}
	r.complain(p, ipv4.TimeExceeded, 0, 0)
	r.world.drop(r.name, p, reasonTTL)
	return false
}

// complain sends an ICMP error about p, which has not been translated, back
// to where it came from.
func (r *Router) complain(p *buffer, kind, code byte, rest uint32) {
	pkt, _, ok := ipv4.Check(p.b)
	if !ok {
		return
	}
	fromLAN := r.lan.routes[ipv4.Src(pkt)] != nil
	r.spare = ipv4.AppendError(r.spare[:0], kind, code, rest, r.address(fromLAN), pkt)
	if len(r.spare) > 0 {
		r.nextID++ // two errors about the same packet are two packets
		ipv4.SetID(r.spare, r.nextID)
		r.answer(r.spare, fromLAN)
	}
}

// address is the router's own on one side, or the nearest to it.
func (r *Router) address(lan bool) uint32 {
	if lan && r.gateway != 0 {
		return r.gateway
	}
	if ext := r.nat.Config().External; len(ext) > 0 {
		v, _ := ipv4.Number(ext[0])
		return v
	}
	return r.gateway
}

// answer sends a packet of the router's own.
func (r *Router) answer(pkt []byte, lan bool) {
	w := r.world
	p := w.emit(r.name, pkt)
	if lan {
		r.lan.route(p, nil)
	} else if !r.line.send(p, true) {
		w.drop(r.line.upName, p, reasonTooBig)
	}
}

// toSelf handles a packet for the router itself: it answers pings and drops
// the rest. It takes the packet only if self is true.
func (r *Router) toSelf(p *buffer, self bool) bool {
	if !self {
		return false
	}
	w := r.world
	pkt, h, ok := ipv4.Check(p.b)
	if !ok || ipv4.Proto(pkt) != ipv4.ICMP || len(pkt) < h+8 || pkt[h] != ipv4.EchoRequest || !ipv4.TransportOK(pkt, h) {
		w.drop(r.name, p, reasonNoPort)
		return true
	}
	w.deliver(r.name, p)
	b := pkt[h:]
	r.spare = ipv4.AppendEcho(r.spare[:0], ipv4.EchoReply, ipv4.Addr(ipv4.Dst(pkt)), ipv4.Addr(ipv4.Src(pkt)),
		be.Uint16(b[4:]), be.Uint16(b[6:]), b[8:])
	lan := r.lan.routes[ipv4.Src(pkt)] != nil
	w.buffers.release(p)
	r.answer(r.spare, lan)
	return true
}
