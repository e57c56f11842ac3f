package nat_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// RFC 7857, 4: "soft-APP" goes on with another address; RFC 7857, 4 without
// it is TestRFC7857_4_PairedPoolRunsOut.
func TestRFC7857_4_SoftPairing(t *testing.T) {
	b := newBench(t, nat.Config{External: []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")}, PortMin: 4000, PortMax: 4001, SoftPairing: true})
	for i, want := range []string{"203.0.113.1", "203.0.113.1", "203.0.113.2", "203.0.113.2"} {
		if x := b.out(inside(1, uint16(1+i)), outX1); x.Addr() != addr(want) {
			t.Errorf("mapping %d is %v", i, x)
		}
	}
	b.refused(inside(1, 9), outX1, nat.PortsExhausted)
}

// RFC 7857, 5 and 6: mappings and filters are those of one protocol, unless
// asked for otherwise.
func TestRFC7857_5and6_ProtocolIndependence(t *testing.T) {
	b := newBench(t, nat.Config{Allocation: nat.Random, Seed: 1})
	x, _ := b.say(true, inA1, outX1, syn)
	if _, why := b.in(outX1, x); why != nat.NoMapping {
		t.Errorf("UDP to a mapping of TCP: %v", why)
	}
	if u := b.out(inA1, outX1); u == x {
		t.Errorf("by chance or not, both have %v", u)
	}

	b = newBench(t, nat.Config{Allocation: nat.Random, ProtocolIndependent: true, Seed: 1})
	x, _ = b.say(true, inA1, outX1, syn)
	if to, why := b.in(outX1, x); to != inA1 {
		t.Errorf("UDP to a mapping of TCP: %v", why)
	}
	if u := b.out(inA1, outX1); u != x {
		t.Errorf("UDP has %v, TCP %v", u, x)
	}
	u := b.out(inB1, outX1)
	if _, dst := b.say(false, outX1, u, syn); dst != inB1 {
		t.Errorf("TCP to a mapping of UDP went to %v", dst)
	}
	if x, _ := b.say(true, inB1, outX1, syn); x != u {
		t.Errorf("TCP has %v, UDP %v", x, u)
	}
	// Nobody else gets the port for the other protocol.
	b = newBench(t, nat.Config{PortMin: 4000, PortMax: 4000, ProtocolIndependent: true})
	b.out(inA1, outX1)
	if _, _, v := b.segment(true, inB1, outX1, syn); v.Reason != nat.PortsExhausted {
		t.Errorf("another host: %v", v.Reason)
	}
}

// RFC 7857, 7: what the filter refuses refreshes nothing; 7.1: nor do ICMP
// errors from the inside.
func TestRFC7857_7_RefusedRefreshesNothing(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Refresh: nat.RefreshBoth})
	x := b.out(inA1, outX1)
	b.wait(4 * time.Minute)
	if _, why := b.in(outY1, x); why != nat.FilteredAddress {
		t.Error(why)
	}
	b.livesFor(time.Minute)

	b = newBench(t, nat.Config{Refresh: nat.RefreshOutbound})
	x = b.out(inA1, outX1)
	b.wait(4 * time.Minute)
	pkt := b.udp(outX1, x)
	b.inbound(pkt)
	if v := b.outbound(icmpError(inA1.Addr(), pkt, len(pkt))); v.Reason != nat.QuotedFlow {
		t.Error(v.Reason)
	}
	b.livesFor(time.Minute)
}

// RFC 7857, 8: parity is off by default, and can be had.
func TestRFC7857_8_Parity(t *testing.T) {
	odd := 0
	b := newBench(t, nat.Config{Allocation: nat.Random, Seed: 1})
	for i := range byte(50) {
		odd += int(b.out(inside(i, 4000), outX1).Port() & 1)
	}
	if odd == 0 || odd == 50 {
		t.Errorf("%d of 50 ports are odd", odd)
	}
}

// RFC 7857, 9: ports that are changed are hard to guess: a preserving NAT
// throws dice on collision, a random one always.
func TestRFC7857_9_Randomization(t *testing.T) {
	for _, alloc := range []nat.Allocation{nat.Preserving, nat.Random} {
		b := newBench(t, nat.Config{Allocation: alloc, Seed: 1})
		var low, high, near, last int
		for i := range 200 {
			p := int(b.out(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), 5000), outX1).Port())
			if p < 33280 {
				low++
			} else {
				high++
			}
			if d := p - last; d > -1000 && d < 1000 {
				near++
			}
			last = p
		}
		// 200 throws of a fair coin lie between 70 and 130 but once in 50,000.
		if low < 70 || high < 70 || near > 20 {
			t.Errorf("%v: %d low, %d high, %d near the one before", alloc, low, high, near)
		}
	}
}

// RFC 7857, 11: an ICMP mapping ends with its last session; sessions to
// several hosts share it (RFC 5508, 3.1, REQ-1a).
func TestRFC7857_11_ICMPQueryMapping(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Allocation: nat.Random})
	px, _ := b.echo(true, ipv4.EchoRequest, inA1.Addr(), outX1.Addr(), 7)
	b.wait(40 * time.Second)
	py, _ := b.echo(true, ipv4.EchoRequest, inA1.Addr(), outY1.Addr(), 7)
	if echoID(px) != echoID(py) {
		t.Errorf("identifiers %d and %d", echoID(px), echoID(py))
	}
	b.wait(30 * time.Second)
	ext := ipv4.Addr(ipv4.Src(py))
	if _, v := b.echo(false, ipv4.EchoReply, outX1.Addr(), ext, echoID(px)); v.Reason != nat.FilteredAddress {
		t.Errorf("70 s after the last request: %v", v.Reason)
	}
	if _, v := b.echo(false, ipv4.EchoReply, outY1.Addr(), ext, echoID(py)); v.Action != nat.Forward {
		t.Errorf("30 s after the last request: %v", v.Reason)
	}
	b.livesFor(30 * time.Second)
}
