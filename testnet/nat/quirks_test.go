package nat_test

import (
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// Linux: a stray packet that the router accepts leaves an entry; a later
// mapping to its sender moves, and the entry ends when it is left alone.
func TestEarlyInbound(t *testing.T) {
	for _, quirk := range []bool{false, true} {
		c, _ := nat.Profile("linux-open-input")
		c.EarlyInbound = quirk
		b := newBench(t, c)
		x := b.out(inA1, outX1)
		if _, why := b.in(outY1, x); why != nat.NoMapping {
			t.Fatal(why)
		}
		if n := len(b.nat.Mappings(b.now)); n != 1 {
			t.Errorf("%d mappings are shown", n)
		}
		if y := b.out(inA1, outY1); (y != x) != quirk {
			t.Errorf("quirk %v: %v to the stranger, %v else", quirk, y, x)
		} else if to, why := b.in(outY1, y); to != inA1 {
			t.Errorf("quirk %v: the answer to the moved mapping: %v", quirk, why)
		}
		want := nat.Permitted
		if quirk {
			want = nat.EarlyEntry
		}
		if _, why := b.in(outY1, x); why != want {
			t.Errorf("quirk %v: the stranger again: %v", quirk, why)
		}
	}
	c, _ := nat.Profile("linux-open-input")
	b := newBench(t, c)
	x := b.out(inA1, outX1)
	b.in(outY1, x)
	b.wait(20 * time.Second)
	b.in(outY1, x) // prolongs the entry
	b.wait(29 * time.Second)
	b.out(inA1, outX2)
	if y := b.out(inA1, outY1); y == x {
		t.Error("the entry ended too early")
	}
	b.wait(time.Hour)
	b.out(inA1, outX1)
	if y := b.out(inA1, outY1); y != x {
		t.Errorf("%v, after the entry ended", y)
	}
}

// Linux: on collision a source keeps what it got elsewhere, so it looks
// endpoint-independent all the same.
func TestReuseSource(t *testing.T) {
	c, _ := nat.Profile("linux")
	b := newBench(t, c)
	b.out(inA1, outX1)
	moved := b.out(inB1, outX1)
	if moved.Port() == 5000 {
		t.Fatal("no collision")
	}
	if y := b.out(inB1, outY1); y != moved {
		t.Errorf("%v to Y, %v to X", y, moved)
	}
}

// A NAT with the bug that REQ-12 forbids, and one that lets no error through.
func TestICMPBugs(t *testing.T) {
	b := newBench(t, nat.Config{ICMPEndsMapping: true})
	pkt := b.udp(inA1, outX1)
	b.outbound(pkt)
	x, _ := ends(pkt)
	if v := b.inbound(icmpError(outX1.Addr(), slices.Clone(pkt), len(pkt))); v.Reason != nat.QuotedFlow {
		t.Fatal(v.Reason)
	}
	if _, why := b.in(outX1, x); why != nat.NoMapping {
		t.Error(why)
	}
	b = newBench(t, nat.Config{DropICMPErrors: true})
	b.outbound(b.udp(inA1, outX1))
	if v := b.inbound(icmpError(outX1.Addr(), slices.Clone(pkt), len(pkt))); v.Reason != nat.ErrorsDropped {
		t.Error(v.Reason)
	}
	if v := b.outbound(icmpError(inA1.Addr(), b.udp(outX1, inA1), 28)); v.Reason != nat.ErrorsDropped {
		t.Error(v.Reason)
	}
}

// Networks that stop Teredo by its port, or 6in4 by its protocol.
func TestBlocks(t *testing.T) {
	teredo := ep("198.51.100.1:3544")
	b := newBench(t, nat.Config{BlockPorts: []uint16{3544}})
	b.refused(inA1, teredo, nat.BlockedPort)
	x := b.out(inA1, outX1)
	if _, why := b.in(teredo, x); why != nat.BlockedPort {
		t.Errorf("from port 3544: %v", why)
	}
	if _, _, v := b.segment(true, inA1, teredo, syn); v.Action != nat.Forward {
		t.Errorf("TCP: %v", v.Reason)
	}

	sixInFour := func(from, to string) []byte {
		p := ipv4.AppendUDP(nil, 1, ep(from), ep(to), []byte("an IPv6 packet"))
		p[9] = 41
		sumHeader(p)
		return p
	}
	for _, tc := range []struct {
		c    nat.Config
		want nat.Reason
	}{
		{nat.Config{}, nat.BadProtocol},
		{nat.Config{Block: 41, OtherProtocols: true}, nat.Blocked},
		{nat.Config{OtherProtocols: true}, nat.NewMapping},
	} {
		b := newBench(t, tc.c)
		p := sixInFour("192.168.1.2:0", "198.51.100.1:0")
		if v := b.outbound(p); v.Reason != tc.want {
			t.Errorf("protocol 41: %v, want %v", v.Reason, tc.want)
		}
	}
}

// Protocols without ports are translated by address, one inside host at a
// time, and one more where only the destinations differ and may.
func TestOtherProtocols(t *testing.T) {
	gre := func(from, to string) []byte {
		p := ipv4.AppendUDP(nil, 1, ep(from+":1"), ep(to+":2"), []byte("GRE"))
		p[9] = 47
		sumHeader(p)
		return p
	}
	for _, overlap := range []bool{false, true} {
		c := nat.Config{Mapping: ad, Filtering: ad, Overlap: overlap, OtherProtocols: true, OtherLifetime: time.Minute}
		b := newBench(t, c)
		p := gre("192.168.1.2", "198.51.100.1")
		if v := b.outbound(p); v.Action != nat.Forward || ipv4.Addr(ipv4.Src(p)) != addr("203.0.113.1") || string(p[28:]) != "GRE" || p[21] != 1 {
			t.Fatalf("%v: %x", v.Reason, p)
		}
		p = gre("198.51.100.1", "203.0.113.1")
		if v := b.inbound(p); v.Action != nat.Forward || ipv4.Addr(ipv4.Dst(p)) != inA1.Addr() {
			t.Errorf("%v: %s", v.Reason, ipv4.Summary(p))
		}
		if v := b.inbound(gre("198.51.100.9", "203.0.113.1")); v.Action != nat.Drop {
			t.Errorf("from a stranger: %v", v.Reason)
		}
		if v := b.outbound(gre("192.168.1.3", "198.51.100.1")); v.Reason != nat.PortsExhausted {
			t.Errorf("a second host, the same destination: %v", v.Reason)
		}
		if v := b.outbound(gre("192.168.1.3", "198.51.100.9")); (v.Action == nat.Forward) != overlap {
			t.Errorf("a second host, another destination: %v", v.Reason)
		}
		b.wait(time.Minute)
		if v := b.outbound(gre("192.168.1.3", "198.51.100.1")); v.Reason != nat.NewMapping {
			t.Errorf("after a minute: %v", v.Reason)
		}
	}
}

// The problems of the newer knobs are reported too.
func TestConfigKnobProblems(t *testing.T) {
	pool := nat.Config{External: everyone()}
	with := func(f func(*nat.Config)) nat.Config {
		c := pool
		f(&c)
		return c
	}
	for name, c := range map[string]nat.Config{
		"early inbound alone":       with(func(c *nat.Config) { c.EarlyInbound = true }),
		"reuse of one mapping":      with(func(c *nat.Config) { c.ReuseSource = true }),
		"contiguous and dependent":  with(func(c *nat.Config) { c.Contiguity, c.Mapping = true, apd }),
		"overlap and overload":      with(func(c *nat.Config) { c.Mapping, c.Overlap, c.Allocation = apd, true, nat.Overloading }),
		"TCP cannot overlap":        with(func(c *nat.Config) { c.Mapping, c.Overlap, c.TCPMapping = apd, true, nat.Only(ei) }),
		"blocks without size":       with(func(c *nat.Config) { c.MaxBlocks = 2 }),
		"block beyond the range":    with(func(c *nat.Config) { c.PortBlock, c.PortMin, c.PortMax = 100, 1, 50 }),
		"blocks in arbitrary pools": with(func(c *nat.Config) { c.PortBlock, c.ArbitraryPooling = 100, true }),
		"two lifetimes for a port": with(func(c *nat.Config) {
			c.PortLifetimes = []nat.PortLifetime{{Port: 1, Lifetime: 1}, {Port: 1, Lifetime: 2}}
		}),
		"no lifetime":           with(func(c *nat.Config) { c.PortLifetimes = []nat.PortLifetime{{Port: 1}} }),
		"a thousand lifetimes":  with(func(c *nat.Config) { c.PortLifetimes = make([]nat.PortLifetime, 1000) }),
		"negative quarantine":   with(func(c *nat.Config) { c.Quarantine = -1 }),
		"negative limit":        with(func(c *nat.Config) { c.HostLimits.TCP = -1 }),
		"no such policy":        with(func(c *nat.Config) { c.Refusal = 9 }),
		"no such override":      with(func(c *nat.Config) { c.TCPFiltering = 9 }),
		"no exempt prefix":      with(func(c *nat.Config) { c.Exempt = []nat.Exemption{{}} }),
		"an address twice":      {External: append(everyone(), everyone()...)},
		"independent protocols": with(func(c *nat.Config) { c.ProtocolIndependent, c.TCPMapping = true, nat.Only(apd) }),
	} {
		if _, err := nat.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A forward of an endpoint that is mapped already lets everybody in, and what
// the host sends leaves from the same endpoint as before.
func TestForwardOverMapping(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: nat.AddressAndPortDependent})
	outer := b.out(inA1, outX1)
	if _, why := b.in(outX2, outer); why != nat.FilteredPort {
		t.Fatalf("before the forward: %v", why)
	}
	if err := b.nat.AddForward(nat.PortForward{Protocol: 17, External: outer, Internal: inA1}); err != nil {
		t.Fatal(err)
	}
	if to, why := b.in(outX2, outer); to != inA1 {
		t.Errorf("through the forward: %v", why)
	}
}
