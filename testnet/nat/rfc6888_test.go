package nat_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

func inside(host byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, 0, host}), port)
}

func (b *bench) refused(in, to netip.AddrPort, want nat.Reason) nat.Verdict {
	b.t.Helper()
	v := b.outbound(b.udp(in, to))
	if v.Action != nat.Drop || v.Reason != want {
		b.t.Errorf("%v > %v: %v, %v; want %v", in, to, v.Action, v.Reason, want)
	}
	return v
}

// RFC 6888, 3, REQ-1: a carrier's NAT keeps to RFC 4787, 5382 and 5508, and can
// let DCCP through (RFC 5597).
func TestRFC6888_REQ1_OtherRFCs(t *testing.T) {
	c, _ := nat.Profile("cgn")
	c.OtherProtocols = true
	b := newBench(t, c)
	x := b.out(inside(1, 1), outX1)
	if again := b.out(inside(1, 1), outY1); again != x {
		t.Errorf("RFC 4787, REQ-1: %v, then %v", x, again)
	}
	if v := b.outbound(b.udp(inside(2, 1), x)); v.Action != nat.Back {
		t.Errorf("RFC 4787, REQ-9: %v", v.Reason)
	}
	pkt, _ := b.echo(true, ipv4.EchoRequest, inside(1, 1).Addr(), outX1.Addr(), 7)
	id := echoID(pkt)
	b.wait(nat.DefaultICMPLifetime - 1)
	if _, v := b.echo(false, ipv4.EchoReply, outX1.Addr(), b.nat.Config().External[0], id); v.Action != nat.Forward {
		t.Errorf("RFC 5508, REQ-2: %v", v.Reason)
	}
	b.wait(nat.DefaultLifetime - nat.DefaultICMPLifetime)
	if _, why := b.in(outX2, x); why != nat.Permitted {
		t.Errorf("RFC 4787, REQ-5: %v", why)
	}
	y := b.handshake(inside(1, 2), outX1)
	b.wait(established - 1)
	b.say(false, outX1, y, ack) // RFC 5382, REQ-5

	dccp := b.udp(inside(1, 1), outX1)
	dccp[9] = 33
	sumHeader(dccp)
	if v := b.outbound(dccp); v.Action != nat.Forward || ipv4.Addr(ipv4.Src(dccp)) != x.Addr() {
		t.Errorf("RFC 5597: %v", v.Reason)
	}
}

// RFC 6888, 3, REQ-2: pooling is paired whatever the protocol.
func TestRFC6888_REQ2_PairedOverProtocols(t *testing.T) {
	pool := []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2"), addr("203.0.113.3")}
	b := newBench(t, nat.Config{External: pool, OtherProtocols: true})
	for host := range byte(6) {
		in := inside(1+host, 5000)
		want := b.out(in, outX1).Addr()
		if x, _ := b.say(true, in, outX1, syn); x.Addr() != want {
			t.Errorf("host %d: UDP from %v, TCP from %v", host, want, x)
		}
		pkt, v := b.echo(true, ipv4.EchoRequest, in.Addr(), outX1.Addr(), 7)
		if got := ipv4.Addr(ipv4.Src(pkt)); v.Action != nat.Forward || got != want {
			t.Errorf("host %d: UDP from %v, ICMP from %v (%v)", host, want, got, v.Reason)
		}
	}
}

// RFC 6888, 3, REQ-3: the pool need not be contiguous.
func TestRFC6888_REQ3_AnyPool(t *testing.T) {
	pool := []netip.Addr{addr("203.0.113.9"), addr("192.0.2.1"), addr("198.18.200.77")}
	b := newBench(t, nat.Config{External: pool})
	for i, want := range pool {
		x := b.out(inside(byte(1+i), 1), outX1)
		if x.Addr() != want {
			t.Errorf("host %d has %v", i, x)
		}
		if to, why := b.in(outX1, x); to != inside(byte(1+i), 1) {
			t.Errorf("%v: %v", x, why)
		}
	}
}

// RFC 6888, 3, REQ-4: a limit for each subscriber, (a) configurable, (b) by
// protocol, (c) and by rate.
func TestRFC6888_REQ4_SubscriberLimits(t *testing.T) {
	b := newBench(t, nat.Config{MaxPerHost: 3, Lifetime: time.Minute})
	for port := range uint16(3) {
		b.out(inside(1, 1+port), outX1)
	}
	b.refused(inside(1, 9), outX1, nat.HostLimitReached)
	b.out(inside(2, 9), outX1)
	b.wait(time.Minute)
	b.out(inside(1, 9), outX1)

	b = newBench(t, nat.Config{HostLimits: nat.Limits{UDP: 1, TCP: 2, ICMP: 1}})
	b.out(inside(1, 1), outX1)
	b.refused(inside(1, 2), outX1, nat.HostLimitReached)
	b.say(true, inside(1, 1), outX1, syn)
	b.say(true, inside(1, 2), outX1, syn)
	if _, _, v := b.segment(true, inside(1, 3), outX1, syn); v.Reason != nat.HostLimitReached {
		t.Errorf("a third TCP mapping: %v", v.Reason)
	}
	b.echo(true, ipv4.EchoRequest, inside(1, 0).Addr(), outX1.Addr(), 1)
	if _, v := b.echo(true, ipv4.EchoRequest, inside(1, 0).Addr(), outX1.Addr(), 2); v.Reason != nat.HostLimitReached {
		t.Errorf("a second echo: %v", v.Reason)
	}

	b = newBench(t, nat.Config{HostRate: 10})
	for port := range uint16(10) {
		b.out(inside(1, 1+port), outX1)
	}
	b.refused(inside(1, 11), outX1, nat.HostTooFast)
	b.out(inside(1, 1), outX1) // what exists does not count
	b.out(inside(2, 1), outX1)
	b.wait(100 * time.Millisecond)
	b.out(inside(1, 11), outX1)
	b.refused(inside(1, 12), outX1, nat.HostTooFast)
	b.wait(time.Hour)
	for port := range uint16(10) {
		b.out(inside(1, 100+port), outX1)
	}
	b.refused(inside(1, 110), outX1, nat.HostTooFast)
}

// RFC 6888, 3, REQ-5: the state of each subscriber is bounded.
func TestRFC6888_REQ5_SubscriberState(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, MaxPeersPerHost: 2, Lifetime: time.Minute})
	b.out(inside(1, 1), outX1)
	b.out(inside(1, 1), outX2)
	b.refused(inside(1, 1), outY1, nat.TableFull)
	b.out(inside(2, 1), outY1)
	b.wait(time.Minute)
	b.out(inside(1, 1), outY1)
}

// RFC 6888, 3, REQ-6: translation is off for some destinations.
func TestRFC6888_REQ6_Exempt(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Exempt: []nat.Exemption{
		{Prefix: netip.MustParsePrefix("10.9.0.0/16")},
		{Prefix: netip.MustParsePrefix("198.51.100.1/32"), Port: 2222},
	}})
	for _, to := range []netip.AddrPort{ep("10.9.1.2:53"), outX2} {
		pkt := b.udp(inA1, to)
		if v := b.outbound(pkt); v.Reason != nat.Untranslated {
			t.Errorf("to %v: %v", to, v.Reason)
		}
		if src, _ := ends(pkt); src != inA1 {
			t.Errorf("to %v: from %v", to, src)
		}
		if got, why := b.in(to, inA1); got != inA1 {
			t.Errorf("answer of %v: %v", to, why)
		}
	}
	if x := b.out(inA1, outX1); x.Addr() == inA1.Addr() {
		t.Error("not translated")
	}
	if _, why := b.in(outX1, inA1); why != nat.NotExternal {
		t.Errorf("from outside to an inside address: %v", why)
	}
	if n := len(b.nat.Mappings(b.now)); n != 1 {
		t.Errorf("%d mappings", n)
	}
}

// RFC 6888, 3, REQ-7: endpoint-independent filtering is the default.
func TestRFC6888_REQ7_Filtering(t *testing.T) {
	c, _ := nat.Profile("cgn")
	b := newBench(t, c)
	x := b.out(inA1, outX1)
	if to, why := b.in(outY1, x); to != inA1 {
		t.Error(why)
	}
}

// RFC 6888, 3, REQ-8: a port rests before somebody else gets it, for a time
// and in a number that can be chosen; so do ports in use when state is lost.
func TestRFC6888_REQ8_Quarantine(t *testing.T) {
	c := nat.Config{PortMin: 4000, PortMax: 4001, Lifetime: time.Minute, Quarantine: 120 * time.Second}
	b := newBench(t, c)
	x := b.out(inside(1, 1), outX1)
	b.out(inside(1, 2), outX1)
	b.wait(time.Minute)
	if _, why := b.in(outX1, x); why != nat.PortHeld {
		t.Errorf("to a resting port: %v", why)
	}
	if n := len(b.nat.Mappings(b.now)); n != 0 {
		t.Errorf("%d mappings", n)
	}
	b.refused(inside(2, 1), outX1, nat.PortsExhausted)
	b.say(true, inside(2, 1), outX1, syn) // REQ-8a: TCP is not affected
	b.wait(120*time.Second - 1)
	b.refused(inside(2, 1), outX1, nat.PortsExhausted)
	b.wait(1)
	b.out(inside(2, 1), outX1)

	c.MaxQuarantined = 1
	b = newBench(t, c)
	b.out(inside(1, 1), outX1)
	b.out(inside(1, 2), outX1)
	b.wait(time.Minute)
	b.out(inside(2, 1), outX1)
	b.refused(inside(2, 2), outX1, nat.PortsExhausted)

	c.MaxQuarantined = 0
	b = newBench(t, c)
	b.out(inside(1, 1), outX1)
	b.out(inside(1, 2), outX1)
	b.nat.Reset()
	b.refused(inside(2, 1), outX1, nat.PortsExhausted)
	b.wait(120 * time.Second)
	b.out(inside(2, 1), outX1)
}

// RFC 6888, 3, REQ-11: without room the packet is dropped (a), the sender
// hears of it (b; RFC 5508, REQ-8 has another code), and nothing that exists
// makes room (d).
func TestRFC6888_REQ11_Refusal(t *testing.T) {
	for _, tc := range []struct {
		refusal nat.Refusal
		code    int
	}{
		{nat.RefuseSilently, -1},
		{nat.RefuseUnreachable, 1},
		{nat.RefuseProhibited, 13}, // RFC 5508, 6, REQ-8
	} {
		b := newBench(t, nat.Config{PortMin: 4000, PortMax: 4000, Refusal: tc.refusal})
		x := b.out(inside(1, 1), outX1)
		v := b.refused(inside(2, 1), outX1, nat.PortsExhausted)
		if tc.code < 0 {
			if v.Reply != nil {
				t.Errorf("reply %x", v.Reply)
			}
		} else if v.Reply == nil || v.Reply[20] != ipv4.Unreachable || int(v.Reply[21]) != tc.code ||
			ipv4.Addr(ipv4.Dst(v.Reply)) != inside(2, 1).Addr() {
			t.Errorf("%v: reply %x", tc.refusal, v.Reply)
		}
		if to, why := b.in(outX1, x); to != inside(1, 1) {
			t.Errorf("the mapping that was there: %v", why)
		}
		if v := b.outbound(ipv4.AppendTCP(nil, 1, inside(2, 1), outX1, rst, nil)); v.Reply != nil {
			t.Errorf("a stray reset is answered with %x", v.Reply)
		}
	}
}

// RFC 6888, 5, REQ-13 to REQ-15: blocks of ports for each subscriber, so that
// a line of log tells who had them, whose ports are hard to guess.
func TestRFC6888_REQ13_REQ14_REQ15_PortBlocks(t *testing.T) {
	c := nat.Config{Allocation: nat.Random, PortMin: 2000, PortMax: 2999, PortBlock: 100, MaxBlocks: 2, Lifetime: time.Minute, Seed: 1}
	b := newBench(t, c)
	owner := map[uint16]byte{} // block -> host
	use := func(host byte, flows int) (blocks map[uint16]bool) {
		blocks = map[uint16]bool{}
		for i := range flows {
			n := b.out(inside(host, uint16(1+i)), outX1).Port() / 100
			if o, taken := owner[n]; taken && o != host {
				t.Fatalf("hosts %d and %d share block %d", o, host, n)
			}
			owner[n], blocks[n] = host, true
		}
		return blocks
	}
	if n := len(use(1, 100)); n != 1 {
		t.Errorf("a hundred mappings in %d blocks", n)
	}
	if n := len(use(1, 200)); n != 2 {
		t.Errorf("two hundred mappings in %d blocks", n)
	}
	b.refused(inside(1, 300), outX1, nat.PortsExhausted)
	for host := byte(2); host < 10; host++ {
		use(host, 3)
	}
	b.refused(inside(77, 1), outX1, nat.PortsExhausted) // ten blocks are out
	if n := b.nat.Stats().Refused; n != 2 {
		t.Errorf("%d refused", n)
	}
	b.wait(time.Minute)
	clear(owner)
	use(77, 100)

	// TCP ports and ICMP identifiers come from the same block.
	b = newBench(t, c)
	u := b.out(inside(1, 1), outX1).Port()
	x, _ := b.say(true, inside(1, 1), outX1, syn)
	pkt, _ := b.echo(true, ipv4.EchoRequest, inside(1, 1).Addr(), outX1.Addr(), 7)
	if x.Port()/100 != u/100 || echoID(pkt)/100 != u/100 {
		t.Errorf("UDP %d, TCP %d, ICMP %d", u, x.Port(), echoID(pkt))
	}
	b2 := newBench(t, c)
	first, second := b2.out(inside(1, 1), outX1).Port(), b2.out(inside(1, 2), outX1).Port()
	if first == 2000 && second == 2001 {
		t.Error("REQ-15: ports are easy to guess")
	}
}

// RFC 7422, 2: the block is computed from the subscriber's address, so it is
// the same after everything was forgotten, and strangers have none.
func TestRFC7422_DeterministicBlocks(t *testing.T) {
	b := newBench(t, nat.Config{
		External: []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")}, Allocation: nat.Sequential,
		PortMin: 1024, PortMax: 65535, PortBlock: 1008, Subscribers: netip.MustParsePrefix("100.64.0.0/25"),
	})
	check := func() {
		t.Helper()
		for _, tc := range []struct {
			host byte
			addr string
			lo   uint16
		}{{0, "203.0.113.1", 1024}, {1, "203.0.113.1", 2032}, {63, "203.0.113.1", 64528}, {64, "203.0.113.2", 1024}, {127, "203.0.113.2", 64528}} {
			x := b.out(inside(tc.host, 4000), outX1)
			if x.Addr() != addr(tc.addr) || x.Port() < tc.lo || x.Port() > tc.lo+1007 {
				t.Errorf("subscriber %d has %v, want %s and %d-%d", tc.host, x, tc.addr, tc.lo, tc.lo+1007)
			}
		}
	}
	check()
	b.nat.Reset()
	b.out(inside(127, 1), outX1) // another order
	check()
	b.refused(inside(128, 1), outX1, nat.NotSubscriber)
	b.refused(inA1, outX1, nat.NotSubscriber)
}
