package nat_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

const (
	ei  = nat.EndpointIndependent
	ad  = nat.AddressDependent
	apd = nat.AddressAndPortDependent
)

// RFC 4787, 4.1, REQ-1: endpoint-independent mapping is the default; the other
// two behaviours differ exactly where the RFC says.
func TestRFC4787_REQ1_Mapping(t *testing.T) {
	if new(nat.Config).Mapping != ei {
		t.Error("endpoint-independent mapping is not the default")
	}
	for _, tc := range []struct {
		mapping           nat.Behavior
		sameAddr, another bool // equal external endpoint for another port, another address
	}{
		{ei, true, true},
		{ad, true, false},
		{apd, false, false},
	} {
		for _, alloc := range []nat.Allocation{nat.Preserving, nat.Sequential, nat.Random} {
			t.Run(tc.mapping.String()+" "+alloc.String(), func(t *testing.T) {
				b := newBench(t, nat.Config{Mapping: tc.mapping, Allocation: alloc, Seed: 1})
				x1 := b.out(inA1, outX1)
				if again := b.out(inA1, outX1); again != x1 {
					t.Errorf("same destination: %v then %v", x1, again)
				}
				if x2 := b.out(inA1, outX2); (x2 == x1) != tc.sameAddr {
					t.Errorf("other port: %v and %v", x1, x2)
				}
				if y1 := b.out(inA1, outY1); (y1 == x1) != tc.another {
					t.Errorf("other address: %v and %v", x1, y1)
				}
				if other := b.out(inA2, outX1); other == x1 {
					t.Errorf("two internal ports share %v", x1)
				}
			})
		}
	}
}

// RFC 4787, 4.1, REQ-2: pooling is paired unless arbitrary is asked for.
func TestRFC4787_REQ2_Pooling(t *testing.T) {
	pool := []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2"), addr("203.0.113.3")}
	used := func(c nat.Config) map[netip.Addr]bool {
		c.External, c.Seed = pool, 1
		b := newBench(t, c)
		seen := map[netip.Addr]bool{}
		for port := uint16(2000); port < 2050; port++ {
			seen[b.out(netip.AddrPortFrom(inA1.Addr(), port), outX1).Addr()] = true
		}
		return seen
	}
	if got := used(nat.Config{}); len(got) != 1 {
		t.Errorf("paired: one host got %v", got)
	}
	if got := used(nat.Config{ArbitraryPooling: true}); len(got) != 3 {
		t.Errorf("arbitrary: 50 flows of a host used only %v", got)
	}
	b := newBench(t, nat.Config{External: pool})
	seen := map[netip.Addr]bool{}
	for _, h := range []string{"10.0.0.1:9", "10.0.0.2:9", "10.0.0.3:9"} {
		seen[b.out(ep(h), outX1).Addr()] = true
	}
	if len(seen) != 3 {
		t.Errorf("paired: three hosts share %v", seen)
	}
}

// RFC 7857, 4: a host whose paired address has no port left gets no other.
func TestRFC7857_4_PairedPoolRunsOut(t *testing.T) {
	b := newBench(t, nat.Config{External: []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")}, PortMin: 4000, PortMax: 4001})
	b.out(ep("10.0.0.1:1"), outX1)
	b.out(ep("10.0.0.1:2"), outX1)
	if v := b.outbound(b.udp(ep("10.0.0.1:3"), outX1)); v.Reason != nat.PortsExhausted {
		t.Errorf("third flow: %v", v.Reason)
	}
	b.out(ep("10.0.0.2:1"), outX1)
}

// RFC 4787, 4.2.1, REQ-3: no two internal endpoints share an external one,
// whatever the allocation.
func TestRFC4787_REQ3_NoOverloading(t *testing.T) {
	for _, alloc := range []nat.Allocation{nat.Preserving, nat.Sequential, nat.Random} {
		t.Run(alloc.String(), func(t *testing.T) {
			b := newBench(t, nat.Config{Allocation: alloc, PortMin: 5000, PortMax: 5015, Seed: 3})
			seen := map[netip.AddrPort]bool{}
			for i := range 16 {
				in := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 5000)
				x := b.out(in, outX1)
				if seen[x] || x.Port() < 5000 || x.Port() > 5015 {
					t.Errorf("%v got %v", in, x)
				}
				seen[x] = true
			}
			if v := b.outbound(b.udp(inA1, outX1)); v.Action != nat.Drop || v.Reason != nat.PortsExhausted {
				t.Errorf("a 17th host on 16 ports: %v, %v", v.Action, v.Reason)
			}
		})
	}
}

// RFC 4787, 4.2.1, REQ-3a: ports stay in their class, well-known or not.
func TestRFC4787_REQ3a_PortClasses(t *testing.T) {
	for _, alloc := range []nat.Allocation{nat.Preserving, nat.Sequential, nat.Random} {
		b := newBench(t, nat.Config{Allocation: alloc, Seed: 1})
		for i := range 200 {
			host := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			if x := b.out(netip.AddrPortFrom(host, 123), outX1); x.Port() == 0 || x.Port() > 1023 {
				t.Fatalf("%v: port 123 became %d", alloc, x.Port())
			}
			if x := b.out(netip.AddrPortFrom(host, 40000), outX1); x.Port() < 1024 {
				t.Fatalf("%v: port 40000 became %d", alloc, x.Port())
			}
		}
	}
}

// RFC 4787, 4.2.1: the three ways to choose a port.
func TestAllocation(t *testing.T) {
	hosts := []netip.AddrPort{ep("10.0.0.1:7000"), ep("10.0.0.2:7000"), ep("10.0.0.3:7000"), ep("10.0.0.4:7001")}
	ports := func(c nat.Config) (p [4]uint16) {
		b := newBench(t, c)
		for i, h := range hosts {
			p[i] = b.out(h, outX1).Port()
		}
		return p
	}
	p := ports(nat.Config{Seed: 1})
	if p[0] != 7000 || p[1] == 7000 || p[3] != 7001 {
		t.Errorf("preserving: 7000, 7000, 7000, 7001 became %v", p)
	}
	if p := ports(nat.Config{Allocation: nat.Sequential, PortMin: 6000, PortMax: 6002 + 1}); p != [4]uint16{6000, 6001, 6002, 6003} {
		t.Errorf("sequential from 6000: %v", p)
	}
	a, b := ports(nat.Config{Allocation: nat.Random, Seed: 1}), ports(nat.Config{Allocation: nat.Random, Seed: 1})
	if c := ports(nat.Config{Allocation: nat.Random, Seed: 2}); a != b || a == c {
		t.Errorf("random: seed 1 gave %v and %v, seed 2 %v", a, b, c)
	}
}

// A sequential NAT goes on where it stopped, skips what is in use and starts
// over at the end of its range.
func TestSequentialWrapsAndSkips(t *testing.T) {
	b := newBench(t, nat.Config{Allocation: nat.Sequential, PortMin: 6000, PortMax: 6002, Lifetime: time.Minute})
	first, second := b.out(ep("10.0.0.1:1"), outX1), b.out(ep("10.0.0.2:1"), outX1)
	b.wait(59 * time.Second)
	b.out(ep("10.0.0.1:1"), outX1) // keeps 6000
	b.out(ep("10.0.0.3:1"), outX1) // 6002
	b.wait(2 * time.Second)        // 6001 is free again
	if got := b.out(ep("10.0.0.4:1"), outX1); first.Port() != 6000 || second.Port() != 6001 || got.Port() != 6001 {
		t.Errorf("got %v, %v and after wrapping %v", first, second, got)
	}
}

// RFC 4787, 4.2.2, REQ-4: parity is kept where asked for.
func TestRFC4787_REQ4_Parity(t *testing.T) {
	for _, alloc := range []nat.Allocation{nat.Preserving, nat.Sequential, nat.Random} {
		b := newBench(t, nat.Config{Allocation: alloc, Parity: true, PortMin: 4001, PortMax: 4400, Seed: 1})
		for i := range 100 {
			for port := uint16(5000); port < 5002; port++ {
				in := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), port)
				if x := b.out(in, outX1); x.Port()%2 != port%2 {
					t.Fatalf("%v: %d became %d", alloc, port, x.Port())
				}
			}
		}
	}
}

// RFC 4787, 4.3, REQ-5: five minutes by default, configurable, exact.
func TestRFC4787_REQ5_Lifetime(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  time.Duration
		want time.Duration
	}{
		{"default", 0, 5 * time.Minute},
		{"two minutes", 2 * time.Minute, 2 * time.Minute},
		{"thirty seconds", 30 * time.Second, 30 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nat.Config{Lifetime: tc.set})
			x := b.out(inA1, outX1)
			b.wait(tc.want - 1)
			if _, why := b.in(outX1, x); why != nat.Permitted {
				t.Errorf("1 ns before its end: %v", why)
			}
			b.wait(1)
			if _, why := b.in(outX1, x); why != nat.NoMapping {
				t.Errorf("at its end: %v", why)
			}
			if n := len(b.nat.Mappings(b.now)); n != 0 {
				t.Errorf("%d mappings left", n)
			}
		})
	}
}

// A NAT may keep a mapping longer once it was answered, as Linux does.
func TestLifetimeAnswered(t *testing.T) {
	c, _ := nat.Profile("linux")
	b := newBench(t, c)
	x := b.out(inA1, outX1)
	b.wait(29 * time.Second)
	if _, why := b.in(outX1, x); why != nat.Permitted {
		t.Fatal(why)
	}
	b.wait(119 * time.Second)
	if _, why := b.in(outX1, x); why != nat.Permitted {
		t.Fatalf("119 s after an answer: %v", why)
	}
	b.wait(120 * time.Second)
	if _, why := b.in(outX1, x); why != nat.NoMapping {
		t.Fatalf("120 s idle: %v", why)
	}
}

// A permission is prolonged by what the inside sends to that endpoint, and one
// that ended lets nothing in although it was the last one used.
func TestFilterEntriesAreRefreshed(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Lifetime: time.Minute})
	x := b.out(inA1, outX1)
	b.wait(40 * time.Second)
	b.out(inA1, outX1)
	b.out(inA1, outX2)
	b.wait(40 * time.Second)
	if _, why := b.in(outX1, x); why != nat.Permitted {
		t.Errorf("40 s after the last packet to it: %v", why)
	}
	b.out(inA1, outX2)
	if _, why := b.in(outX1, x); why != nat.Permitted {
		t.Fatal(why)
	}
	b.wait(20 * time.Second)
	if _, why := b.in(outX1, x); why != nat.FilteredPort {
		t.Errorf("60 s after the last packet to it: %v", why)
	}
}

// RFC 4787, 4.3, REQ-6: outbound packets refresh, unless the NAT is made to
// forget who only sends; inbound ones where configured; refused ones never (RFC
// 7857, 7).
func TestRFC4787_REQ6_Refresh(t *testing.T) {
	const step = 4 * time.Minute
	t.Run("outbound refreshes", func(t *testing.T) {
		for _, r := range []nat.Refresh{nat.RefreshOutbound, nat.RefreshBoth} {
			b := newBench(t, nat.Config{Refresh: r, Filtering: apd})
			x := b.out(inA1, outX1)
			for range 10 {
				b.wait(step)
				if again := b.out(inA1, outX1); again != x {
					t.Fatalf("%v: mapping changed from %v to %v", r, x, again)
				}
				if _, why := b.in(outX1, x); why != nat.Permitted {
					t.Fatalf("%v: %v", r, why)
				}
			}
		}
	})
	t.Run("inbound", func(t *testing.T) {
		for _, f := range []nat.Behavior{ei, ad, apd} {
			for r, want := range map[nat.Refresh]nat.Reason{nat.RefreshOutbound: nat.NoMapping, nat.RefreshBoth: nat.Permitted, nat.RefreshInbound: nat.Permitted} {
				b := newBench(t, nat.Config{Refresh: r, Filtering: f})
				x := b.out(inA1, outX1)
				b.wait(step)
				if _, why := b.in(outX1, x); why != nat.Permitted {
					t.Fatal(why)
				}
				b.wait(step)
				if _, why := b.in(outX1, x); why != want {
					t.Errorf("%v filtering, refresh %v: %v, want %v", f, r, why, want)
				}
			}
		}
	})
	t.Run("only inbound", func(t *testing.T) {
		for _, f := range []nat.Behavior{ei, ad, apd} {
			b := newBench(t, nat.Config{Refresh: nat.RefreshInbound, Filtering: f, Allocation: nat.Random})
			x := b.out(inA1, outX1)
			b.wait(step)
			if again := b.out(inA1, outX1); again != x {
				t.Fatalf("%v filtering: %v became %v at once", f, x, again)
			}
			b.wait(step)
			if _, why := b.in(outX1, x); why != nat.NoMapping {
				t.Errorf("%v filtering: kept alive by sending: %v", f, why)
			}
		}
	})
	t.Run("refused packets do not", func(t *testing.T) {
		b := newBench(t, nat.Config{Refresh: nat.RefreshBoth, Filtering: apd})
		x := b.out(inA1, outX1)
		b.wait(step)
		if _, why := b.in(outY1, x); why != nat.FilteredAddress {
			t.Fatal(why)
		}
		b.wait(step)
		if _, why := b.in(outX1, x); why != nat.NoMapping {
			t.Errorf("kept alive by a stranger: %v", why)
		}
	})
}

// Each permission of the filter has the idle time of its own traffic.
func TestFilterEntriesExpire(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Lifetime: time.Minute})
	x := b.out(inA1, outX1)
	b.wait(40 * time.Second)
	b.out(inA1, outX2)
	b.wait(40 * time.Second)
	if _, why := b.in(outX1, x); why != nat.FilteredPort {
		t.Errorf("80 s after the last packet to it: %v", why)
	}
	if _, why := b.in(outX2, x); why != nat.Permitted {
		t.Errorf("40 s after the last packet to it: %v", why)
	}
}

// RFC 4787, 4.4, REQ-7 (2): numbers that occur on both sides are kept apart.
func TestRFC4787_REQ7_SameNumbersOnBothSides(t *testing.T) {
	b := newBench(t, nat.Config{External: []netip.Addr{addr("10.0.0.1")}, Filtering: apd})
	outside := ep("10.0.0.7:53")
	inside := ep("10.0.0.7:5000")
	x := b.out(inside, outside)
	if x != ep("10.0.0.1:5000") {
		t.Fatalf("mapped to %v", x)
	}
	if to, why := b.in(outside, x); to != inside {
		t.Errorf("went to %v: %v", to, why)
	}
}

// RFC 4787, 5, REQ-8: the three filters, over every mapping behaviour, with
// the reason for each refusal.
func TestRFC4787_REQ8_Filtering(t *testing.T) {
	for _, mapping := range []nat.Behavior{ei, ad, apd} {
		for _, tc := range []struct {
			filtering      nat.Behavior
			port, stranger nat.Reason
		}{
			{ei, nat.Permitted, nat.Permitted},
			{ad, nat.Permitted, nat.FilteredAddress},
			{apd, nat.FilteredPort, nat.FilteredAddress},
		} {
			t.Run("mapping "+mapping.String()+" filtering "+tc.filtering.String(), func(t *testing.T) {
				b := newBench(t, nat.Config{Mapping: mapping, Filtering: tc.filtering, Allocation: nat.Random, Seed: 1})
				x := b.out(inA1, outX1)
				for _, q := range []struct {
					from netip.AddrPort
					want nat.Reason
				}{{outX1, nat.Permitted}, {outX2, tc.port}, {outY1, tc.stranger}} {
					to, why := b.in(q.from, x)
					if why != q.want || why == nat.Permitted && to != inA1 {
						t.Errorf("from %v: went to %v, %v; want %v", q.from, to, why, q.want)
					}
				}
				if _, why := b.in(outX1, netip.AddrPortFrom(x.Addr(), x.Port()^1)); why != nat.NoMapping {
					t.Errorf("to a port without mapping: %v", why)
				}
				if _, why := b.in(outX1, ep("203.0.113.99:5000")); why != nat.NotExternal {
					t.Errorf("to an address that is not the NAT's: %v", why)
				}
			})
		}
	}
}

// RFC 4787, 6, REQ-9: the three ways with packets to our own external side.
func TestRFC4787_REQ9_Hairpinning(t *testing.T) {
	for _, tc := range []struct {
		hairpin nat.Hairpin
		action  nat.Action
		reason  nat.Reason
		source  netip.AddrPort // what B sees; its own external endpoint is :5000 of the NAT
	}{
		{nat.HairpinNone, nat.Drop, nat.NoHairpin, netip.AddrPort{}},
		{nat.HairpinInternalSource, nat.Back, nat.Hairpinned, inA1},
		{nat.HairpinExternalSource, nat.Back, nat.Hairpinned, ep("203.0.113.1:5000")},
	} {
		t.Run(tc.hairpin.String(), func(t *testing.T) {
			b := newBench(t, nat.Config{Hairpin: tc.hairpin, Seed: 1})
			b.out(inA1, outX1)
			xb := b.out(inB1, outX1)
			pkt := b.udp(inA1, xb)
			v := b.outbound(pkt)
			if v.Action != tc.action || v.Reason != tc.reason {
				t.Fatalf("%v, %v", v.Action, v.Reason)
			}
			if v.Action == nat.Drop {
				return
			}
			if src, dst := ends(pkt); src != tc.source || dst != inB1 {
				t.Errorf("%v > %v, want %v > %v", src, dst, tc.source, inB1)
			}
		})
	}
	t.Run("filtered like from outside", func(t *testing.T) {
		b := newBench(t, nat.Config{Hairpin: nat.HairpinExternalSource, Filtering: apd, Seed: 1})
		xa, xb := b.out(inA1, outX1), b.out(inB1, outX1)
		if v := b.outbound(b.udp(inA1, xb)); v.Reason != nat.FilteredAddress {
			t.Errorf("first packet: %v", v.Reason)
		}
		// B answers blindly, which opens its own filter and finds A's open.
		if v := b.outbound(b.udp(inB1, xa)); v.Action != nat.Back {
			t.Errorf("answer: %v", v.Reason)
		}
		if v := b.outbound(b.udp(inA1, xb)); v.Action != nat.Back {
			t.Errorf("third packet: %v", v.Reason)
		}
		if v := b.outbound(b.udp(inA1, ep("203.0.113.1:9"))); v.Reason != nat.NoMapping {
			t.Errorf("to a port without mapping: %v", v.Reason)
		}
	})
}

// RFC 4787, 7, REQ-10: there is no ALG: payloads that spell addresses pass
// unchanged.
func TestRFC4787_REQ10_NoALG(t *testing.T) {
	b := newBench(t, nat.Config{Allocation: nat.Random})
	payload := append([]byte("c=IN IP4 192.168.1.2\r\nm=audio 5000 RTP/AVP 0\r\n"), 192, 168, 1, 2, 0x13, 0x88)
	pkt := ipv4.AppendUDP(nil, 1, inA1, outX1, payload)
	if v := b.outbound(pkt); v.Action != nat.Forward {
		t.Fatal(v.Reason)
	}
	if !bytes.Equal(pkt[28:], payload) {
		t.Errorf("payload became %q", pkt[28:])
	}
}

// RFC 4787, 8, REQ-11: behaviour does not change, not even when the preserved
// port collides.
func TestRFC4787_REQ11_Deterministic(t *testing.T) {
	b := newBench(t, nat.Config{Seed: 1})
	first := b.out(inB1, outX1)
	x1 := b.out(inA1, outX1) // port 5000 is taken
	x2, y1 := b.out(inA1, outX2), b.out(inA1, outY1)
	if x1 == first || x1 != x2 || x1 != y1 {
		t.Errorf("after a collision: %v, %v, %v", x1, x2, y1)
	}
}

// RFC 7857, 3: ports may overlap where the destinations differ; then inbound
// packets are told apart by their source.
func TestRFC7857_3_PortOverlap(t *testing.T) {
	b := newBench(t, nat.Config{Mapping: apd, Filtering: apd, Overlap: true, Seed: 1})
	ax, by := b.out(inA1, outX1), b.out(inB1, outY1)
	if ax != by || ax.Port() != 5000 {
		t.Fatalf("%v and %v do not share their port", ax, by)
	}
	if to, why := b.in(outX1, ax); to != inA1 {
		t.Errorf("X reached %v: %v", to, why)
	}
	if to, why := b.in(outY1, ax); to != inB1 {
		t.Errorf("Y reached %v: %v", to, why)
	}
	if bx := b.out(inB1, outX1); bx == ax {
		t.Errorf("one tuple for two flows: %v", bx)
	}
}
