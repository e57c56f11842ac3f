package sim

import (
	"fmt"
	"net/netip"
	"time"

	"shipworm/testnet/firewall"
	"shipworm/testnet/internal/ip"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// A Router joins a LAN to the network above through a NAT. It takes one from
// the time to live, answers pings to its own addresses, and reports time
// exceeded and packets too big for its uplink (RFC 1812, RFC 4443). IPv6 it
// routes, once it has a prefix.
type Router struct {
	world   *World
	name    string
	nat     *nat.NAT
	line    *line
	lan     *network
	gateway uint32 // its address on the LAN; 0 = none
	spare   []byte
	nextID  uint16    // of its ICMP errors
	poll    time.Time // when the NAT wants to send something

	prefix netip.Prefix // of the LAN's IPv6; zero = none
	hosted bool         // its IPv6 address is that of a GatewayHost
	fw     *firewall.Firewall
	fwPoll time.Time // when it wants to report something
}

// Router puts a NAT router on the Internet. Its external addresses are those
// of c; c.Seed is mixed with the world's seed and the name.
func (w *World) Router(name string, c nat.Config, uplink link.Config) (*Router, error) {
	return w.newRouter(name, c, uplink, w.internet)
}

// Router puts a NAT router behind this one: its external addresses belong to
// this router's LAN.
func (r *Router) Router(name string, c nat.Config, uplink link.Config) (*Router, error) {
	return r.world.newRouter(name, c, uplink, r.lan)
}

// Host puts a host on the router's LAN.
func (r *Router) Host(name string, l link.Config, addr netip.Addr, more ...netip.Addr) (*Host, error) {
	return r.world.newHost(name, l, r.lan, append([]netip.Addr{addr}, more...))
}

func (w *World) newRouter(name string, c nat.Config, uplink link.Config, net *network) (*Router, error) {
	c.Seed = w.seedFor(c.Seed, name+"/nat")
	n, err := nat.New(c)
	if err != nil {
		return nil, fmt.Errorf("sim: router %s: %w", name, err)
	}
	r := &Router{world: w, name: name, nat: n, lan: newNetwork(w, name+"/lan")}
	r.lan.router = r
	l, err := w.newLine(name, uplink, net, r)
	if err != nil {
		return nil, err
	}
	if err := w.claim(name); err != nil {
		return nil, err
	}
	if err := net.join(l, c.External...); err != nil {
		delete(w.names, name)
		return nil, fmt.Errorf("sim: router %s %v: %w", name, c.External, err)
	}
	r.line = l
	net.lines = append(net.lines, l)
	return r, nil
}

// Name returns the router's name.
func (r *Router) Name() string { return r.name }

// NAT returns the router's engine, to look at its tables or to Reset it as a
// reboot would. Its external addresses are changed with SetExternal of the
// router.
func (r *Router) NAT() *nat.NAT { return r.nat }

// SetLink changes the router's uplink; packets on it are not affected.
func (r *Router) SetLink(c link.Config) error { return r.line.setLink(c) }

// SetGateway gives the router an address on its LAN.
func (r *Router) SetGateway(a netip.Addr) error {
	v, ok := ipv4.Number(a)
	if !ok || r.lan.routes[v] != nil {
		return fmt.Errorf("sim: router %s gateway %v: %w", r.name, a, ErrBadAddress)
	}
	r.gateway = v
	return nil
}

// SetExternal replaces the external addresses, as a provider does; all
// mappings are lost.
func (r *Router) SetExternal(addrs ...netip.Addr) error {
	old := r.nat.Config().External
	net := r.line.net
	for _, a := range old {
		net.leave(a)
	}
	err := net.join(r.line, addrs...)
	if err == nil {
		if err = r.nat.SetExternal(addrs...); err == nil {
			return nil
		}
		for _, a := range addrs {
			net.leave(a)
		}
	}
	if back := net.join(r.line, old...); back != nil {
		err = back
	}
	return fmt.Errorf("sim: router %s %v: %w", r.name, addrs, err)
}

// outbound takes a packet from the LAN for elsewhere.
func (r *Router) outbound(p *buffer) {
	w := r.world
	if r.toSelf(p, ipv4.Dst(p.b) == r.gateway && r.gateway != 0) {
		return
	}
	if !r.hop(p) {
		return
	}
	v := r.nat.Outbound(w.Now(), p.b)
	late := r.late(v)
	r.plan()
	switch v.Action {
	case nat.Forward, nat.Back:
		r.pass(p, v, v.Action == nat.Forward)
		for _, q := range late {
			r.pass(q, v, v.Action == nat.Forward)
		}
	case nat.Hold:
		r.hold(p, v)
	default:
		r.refuse(p, v, true)
	}
}

// arrive takes a packet from the uplink.
func (r *Router) arrive(p *buffer) {
	w := r.world
	if ip.Is6(p.b) {
		r.arrive6(p)
		return
	}
	pkt, _, ok := ipv4.Check(p.b)
	if !ok {
		w.drop(r.name, p, reasonMalformed)
		return
	}
	if ipv4.Multicast(ipv4.Dst(pkt)) {
		w.drop(r.name, p, reasonMulticast)
		return
	}
	if !r.hop(p) {
		return
	}
	v := r.nat.Inbound(w.Now(), p.b)
	late := r.late(v)
	r.plan()
	switch v.Action {
	case nat.Forward:
		r.pass(p, v, false)
		for _, q := range late {
			r.pass(q, v, false)
		}
	case nat.Hold:
		r.hold(p, v)
	default:
		r.refuse(p, v, false)
	}
}

// pass sends a translated packet up the line, or into the LAN.
func (r *Router) pass(p *buffer, v nat.Verdict, up bool) {
	kind := Forwarded
	if v.Action == nat.Back {
		kind = Hairpinned
	}
	r.world.note(r.name, kind, v.Reason.String(), p)
	if !up {
		r.lan.route(p, nil)
	} else if !r.line.send(p, true) {
		r.tooBig(p)
	}
}

// late copies the packets that the NAT held until now: its next call, which
// passing the first of them may cause, overwrites them.
func (r *Router) late(v nat.Verdict) []*buffer {
	var late []*buffer
	for _, b := range v.Also {
		p := r.world.buffers.copy(b)
		r.world.number(p)
		late = append(late, p)
	}
	return late
}

// hold ends a packet of which the NAT keeps a copy.
func (r *Router) hold(p *buffer, v nat.Verdict) {
	r.world.note(r.name, Held, v.Reason.String(), p)
	r.world.buffers.release(p)
}

// plan makes sure that what the NAT sends later on its own is sent.
func (r *Router) plan() {
	next, ok := r.nat.Next()
	if !ok || next.Equal(r.poll) {
		return
	}
	r.poll = next
	r.world.At(next, func() {
		r.poll = time.Time{}
		for b := r.nat.Poll(r.world.Now()); b != nil; b = r.nat.Poll(r.world.Now()) {
			r.answer(b, false)
		}
		r.plan()
	})
}

// refuse ends a packet that the NAT dropped, with the answer it may deserve.
func (r *Router) refuse(p *buffer, v nat.Verdict, fromLAN bool) {
	if r.toSelf(p, v.Reason == nat.ToSelf) {
		return
	}
	r.world.drop(r.name, p, v.Reason.String())
	if len(v.Reply) > 0 {
		r.answer(v.Reply, fromLAN)
	}
}
