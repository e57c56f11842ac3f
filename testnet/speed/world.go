//go:build linux

package main

import (
	"context"
	"fmt"
)

// Addresses. The documentation ranges play the Internet, and the unique local
// ones what is private to the two ends of a path.
const (
	addrA, addrB    = "198.51.100.10", "198.51.100.20"
	addrR, addrM    = "198.51.100.52", "198.51.100.90"
	server, server2 = "203.0.113.1", "203.0.113.2" // ours
	miredoServer    = "203.0.113.5"                // and the next
	miredoServer2   = "203.0.113.6"

	nodePrefix     = "2001:db8:2::/64"
	nodeOurs       = "2001:db8:2::a" // reached through our relay
	nodeMiredo     = "2001:db8:2::b" // through Miredo's
	oursPrefix     = "2001:0:cb00:7101::/64"
	miredoPrefix   = "2001:0:cb00:7105::/64"
	plainA, plainB = "fd00:1::a", "fd00:1::b"
	vxlanA, vxlanB = "fd00:2::a", "fd00:2::b"
	naiveA, naiveB = "fd00:3::a", "fd00:3::b"
	sources        = "12.0.0.0/12" // of the load on a server, all at a
	innerMTU       = 1280
	innerPayload   = innerMTU - 40 - 20 - 12 // of a TCP segment with timestamps
	vxlanPort      = 4789
)

// A world is the network: two ends a and b, the servers' machine s, the relays' r,
// the native node n and a client m whose memory is looked at, with a veth pair
// between any two that talk. Every line is its own, so that nothing but the
// kernel's veth lies between two ends.
type world struct {
	a, b, s, r, n, m *netns
}

func newWorld(ctx context.Context) (*world, error) {
	w := &world{}
	for _, h := range []struct {
		name string
		ns   **netns
	}{{"a", &w.a}, {"b", &w.b}, {"s", &w.s}, {"r", &w.r}, {"n", &w.n}, {"m", &w.m}} {
		ns, err := newNetns(h.name)
		if err != nil {
			return nil, err
		}
		*h.ns = ns
		// Addresses serve at once, and nobody solicits routers.
		if err := ns.shell(ctx, `
			sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0
			ip link set lo up`); err != nil {
			return nil, err
		}
	}
	for _, pair := range [][2]*netns{{w.a, w.b}, {w.a, w.s}, {w.b, w.s}, {w.a, w.r}, {w.s, w.r}, {w.r, w.n}, {w.a, w.m}, {w.m, w.s}} {
		x, y := pair[0], pair[1]
		if err := x.shell(ctx, "ip link add to-%s type veth peer name to-%s netns %s; ip link set to-%[1]s up", y.name, x.name, y.path()); err != nil {
			return nil, err
		}
		if err := y.shell(ctx, "ip link set to-%s up", x.name); err != nil {
			return nil, err
		}
	}
	return w, w.configure(ctx)
}

// configure gives the machines their addresses and routes.
func (w *world) configure(ctx context.Context) error {
	end := func(own, plain, peer, peerAddr string) string {
		return fmt.Sprintf(`
			ip address add %[1]s/32 dev to-%[3]s
			ip address add %[2]s/64 dev to-%[3]s
			ip route add %[4]s dev to-%[3]s src %[1]s
			ip route add default dev to-s src %[1]s`, own, plain, peer, peerAddr)
	}
	vxlan := func(own, other, peer, inner string) string {
		return fmt.Sprintf(`
			ip link add vxlan0 type vxlan id 7 local %s remote %s dev to-%s dstport %d
			ip link set vxlan0 mtu %d up
			ip address add %s/64 dev vxlan0`, own, other, peer, vxlanPort, innerMTU, inner)
	}
	for _, h := range []struct {
		ns     *netns
		script string
	}{
		{w.a, end(addrA, plainA, "b", addrB) + vxlan(addrA, addrB, "b", vxlanA) + `
			ip route add ` + addrR + ` dev to-r src ` + addrA + `
			ip route add ` + addrM + ` dev to-m src ` + addrA + `
			ip route add local ` + sources + ` dev lo`},
		{w.b, end(addrB, plainB, "a", addrA) + vxlan(addrB, addrA, "a", vxlanB)},
		{w.s, `
			for a in ` + server + ` ` + server2 + ` ` + miredoServer + ` ` + miredoServer2 + `; do ip address add $a/32 dev to-a; done
			ip route add ` + addrA + ` dev to-a src ` + server + `
			ip route add ` + sources + ` via ` + addrA + ` src ` + server + `
			ip route add ` + addrB + ` dev to-b src ` + server + `
			ip route add ` + addrR + ` dev to-r src ` + server + `
			ip route add ` + addrM + ` dev to-m src ` + server + `
			ip address add 2001:db8:3::2/64 dev to-r
			ip route add default via 2001:db8:3::1`},
		{w.r, `
			sysctl -qw net.ipv6.conf.all.forwarding=1
			ip address add ` + addrR + `/32 dev to-a
			ip route add ` + addrA + ` dev to-a src ` + addrR + `
			ip route add default dev to-s src ` + addrR + `
			ip address add 2001:db8:3::1/64 dev to-s
			ip address add 2001:db8:2::1/64 dev to-n`},
		{w.m, `
			ip address add ` + addrM + `/32 dev to-s
			ip route add ` + addrA + ` dev to-a src ` + addrM + `
			ip route add ` + sources + ` via ` + addrA + ` src ` + addrM + `
			ip route add default dev to-s src ` + addrM},
		{w.n, `
			ip address add ` + nodeOurs + `/64 dev to-r
			ip address add ` + nodeMiredo + `/64 dev to-r
			ip route add default via 2001:db8:2::1`},
	} {
		if err := h.ns.shell(ctx, "%s", h.script); err != nil {
			return err
		}
	}
	return nil
}

// plug makes the lines that carry tunnels cables of a kind. That veth joins the
// datagrams of local sockets, rather than hand them over as they are, takes
// rx-udp-gro-forwarding; sockets without UDP_GRO receive single ones all the same.
func (w *world) plug(ctx context.Context, c cable) error {
	state := map[bool]string{true: "on", false: "off"}
	for _, l := range []struct {
		ns   *netns
		name string
	}{{w.a, "to-b"}, {w.b, "to-a"}, {w.a, "to-r"}, {w.r, "to-a"}} {
		if _, err := l.ns.run(ctx, "ethtool", "-K", l.name, "tx-udp-segmentation", state[c == uso], "gro", state[c == gro]); err != nil {
			return err
		}
		_, err := l.ns.run(ctx, "ethtool", "-K", l.name, "rx-udp-gro-forwarding", state[c == gro])
		if err != nil && c == gro { // a kernel before 5.12 does not have it
			return err
		}
	}
	return nil
}
