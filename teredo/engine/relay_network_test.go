package engine_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// relayNode is a relay with its socket, and a native node beyond it that
// answers pings: the server's native packets for it arrive there too.
type relayNode struct {
	l    *lab
	r    *engine.Relay
	port *sim.UDPPort
	out  engine.Output
	tick time.Time
	got  []wire.Packet
	down bool
}

// relay adds a relay: on the public network, or behind a NAT of a profile.
func (l *lab) relay(profile string) *relayNode {
	n := &relayNode{l: l}
	var host *sim.Host
	if profile == "public" {
		host = l.must(l.w.Host("relay", l.config(), relayOwn))
	} else {
		cfg, _ := nat.Profile(profile)
		cfg.External, cfg.Seed = []netip.Addr{relayOwn}, l.seed
		router, err := l.w.Router("relay NAT", cfg, l.config())
		if err != nil {
			l.t.Fatal(err)
		}
		host = l.must(router.Host("relay", link.Config{}, addr("192.168.99.2")))
	}
	n.restart(profile != "public")
	var err error
	if n.port, err = host.BindUDP(3545, func(now time.Time, from netip.AddrPort, b []byte) {
		n.r.Receive(now, from, b, &n.out)
		n.settle()
	}); err != nil {
		l.t.Fatal(err)
	}
	l.native = n.arrive
	return n
}

// restart gives the relay a fresh memory.
func (n *relayNode) restart(direct bool) {
	r, err := engine.NewRelay(engine.RelayConfig{
		Served: []netip.Prefix{netip.PrefixFrom(native, 128)}, Direct: direct,
		Rand: seeded(n.l.seed), Policy: engine.Policy{Own: []netip.Addr{relayOwn}},
	})
	if err != nil {
		n.l.t.Fatal(err)
	}
	n.r = r
}

// arrive is what the native node does with a packet.
func (n *relayNode) arrive(p []byte) {
	if e, err := wire.ParseEcho(p); err == nil && !e.Reply {
		b, _ := wire.AppendEcho(nil, &wire.Echo{Reply: true, Src: e.Dst, Dst: e.Src, HopLimit: 64, ID: e.ID, Seq: e.Seq, Data: e.Data})
		n.send(b)
		return
	}
	n.got = append(n.got, append(wire.Packet(nil), p...))
}

// send makes the native node send a packet.
func (n *relayNode) send(b []byte) {
	if !n.down {
		n.r.Send(n.l.w.Now(), b, &n.out)
		n.settle()
	}
}

func (n *relayNode) settle() {
	for _, t := range n.out.Transmit {
		n.port.SendTo(t.To, t.Payload)
	}
	deliver := n.out.Deliver
	n.out = engine.Output{}
	for _, p := range deliver {
		n.arrive(p)
	}
	next := n.r.Next()
	if next.IsZero() || next.Equal(n.tick) {
		return
	}
	n.tick = next
	n.l.w.At(next, func() {
		if n.tick.Equal(next) {
			n.tick = time.Time{}
			n.r.Tick(n.l.w.Now(), &n.out)
			n.settle()
		}
	})
}

// A client behind any NAT and a native node reach each other through a relay on
// the public network, whoever starts, within three round trips and a few
// packets.
func TestRelayReach(t *testing.T) {
	for _, profile := range []string{"public", "cone", "address-restricted", "port-restricted", "symmetric"} {
		for _, first := range []string{"client", "node"} {
			t.Run(profile+", "+first, func(t *testing.T) {
				l := newLab(t, 1, plain)
				relay, n := l.relay("public"), l.node(profile, nil)
				l.qualify(n)
				begin := l.w.Now()
				if first == "client" {
					n.send(native, 100)
				} else {
					relay.send(udp(native, n.addr(), 100))
				}
				ok := l.until(5*time.Second, func() bool { return len(n.got)+len(relay.got) > 0 })
				took := l.w.Now().Sub(begin)
				if !ok || took > 400*time.Millisecond {
					t.Fatalf("%v after %v: client %+v, relay %+v", ok, took, n.state().Drops, relay.r.Snapshot().Drops)
				}
				n.send(native, 101)
				relay.send(udp(native, n.addr(), 101))
				if !l.until(time.Second, func() bool { return len(n.got) > 0 && len(relay.got) > 0 }) {
					t.Errorf("one way only: client %+v, relay %+v", n.state().Drops, relay.r.Snapshot().Drops)
				}
				t.Logf("%v", took)
			})
		}
	}
}

// A host-specific relay may sit behind a NAT itself: its direct bubbles open it.
func TestRelayBehindNAT(t *testing.T) {
	for _, profile := range []string{"cone", "address-restricted", "port-restricted"} {
		for _, own := range []string{"cone", "port-restricted"} {
			t.Run(fmt.Sprintf("client %s, relay %s", profile, own), func(t *testing.T) {
				l := newLab(t, 1, plain)
				relay, n := l.relay(own), l.node(profile, nil)
				l.qualify(n)
				n.send(native, 100)
				if !l.until(5*time.Second, func() bool { return len(relay.got) > 0 }) {
					t.Errorf("client %+v, relay %+v", n.state().Drops, relay.r.Snapshot().Drops)
				}
			})
		}
	}
}

// At 10 % loss on every line, in each direction, 95 of 100 clients
// reach a native node within 8 s, although their test and the relay's bubble
// cross a dozen lines: both go through the server.
func TestRelayLoss(t *testing.T) {
	runs, failed := times(1000), 0
	for seed := range runs {
		l := newLab(t, uint64(seed+1), plain)
		l.relay("public")
		n := l.node("port-restricted", nil)
		l.qualify(n)
		l.lossy(link.Config{Delay: plain.Delay, Loss: 0.1})
		n.send(native, 100)
		if !l.until(8*time.Second, func() bool { p, _ := n.c.Peer(l.w.Now(), native); return p.Up }) {
			failed++
		}
	}
	t.Logf("%d of %d failed", failed, runs)
	if failed*20 > runs {
		t.Errorf("%d of %d failed", failed, runs)
	}
}

// A native node is reachable again after tests of it failed, because its relay
// was down: no entry of a failed attempt stays to block the next.
func TestRelayOutage(t *testing.T) {
	l := newLab(t, 1, plain)
	relay, n := l.relay("public"), l.node("port-restricted", nil)
	l.qualify(n)
	relay.down = true
	for range 60 { // the host pings each second
		n.send(native, 100)
		l.run(time.Second)
	}
	relay.down = false
	begin := l.w.Now()
	for range 60 {
		n.send(native, 100)
		if l.until(time.Second, func() bool { return len(relay.got) > 0 }) {
			break
		}
	}
	took := l.w.Now().Sub(begin)
	t.Logf("reached %v after the relay was back", took)
	if took > 10*time.Second {
		t.Errorf("not reached within %v: client %v, relay %v", took, n.state().Drops, relay.r.Snapshot().Drops)
	}
}

// A relay that restarts while a client uses it serves on within a second.
func TestRelayRestartInUse(t *testing.T) {
	l := newLab(t, 1, plain)
	relay, n := l.relay("public"), l.node("port-restricted", nil)
	l.qualify(n)
	n.send(native, 100)
	l.until(5*time.Second, func() bool { return len(relay.got) > 0 })
	l.run(time.Second)
	relay.restart(false)
	seen := len(relay.got)
	begin := l.w.Now()
	for range 10 {
		n.send(native, 100)
		if l.until(200*time.Millisecond, func() bool { return len(relay.got) > seen }) {
			t.Logf("after %v", l.w.Now().Sub(begin))
			return
		}
	}
	t.Errorf("client %v, relay %v", n.state().Drops, relay.r.Snapshot().Drops)
}
