package nat_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// RFC 4787, 4.2.3: the port after an even one gets the port after its
// external port, whichever comes first.
func TestRFC4787_4_2_3_Contiguity(t *testing.T) {
	for _, alloc := range []nat.Allocation{nat.Preserving, nat.Sequential, nat.Random} {
		for _, first := range []uint16{0, 1} {
			b := newBench(t, nat.Config{Allocation: alloc, Contiguity: true, Parity: true, PortMin: 20000, PortMax: 29999, Seed: 2})
			for i := range byte(100) {
				var x [2]uint16
				x[first] = b.out(inside(i, 5000+first), outX1).Port()
				x[1-first] = b.out(inside(i, 5001-first), outX1).Port()
				if x[0]%2 != 0 || x[1] != x[0]+1 {
					t.Fatalf("%v: RTP has %d, RTCP %d", alloc, x[0], x[1])
				}
			}
		}
	}
}

// RFC 4787, 4.2.1: "port overloading": every host has its own port outside,
// and what comes in goes to the newest.
func TestOverloading(t *testing.T) {
	b := newBench(t, nat.Config{Allocation: nat.Overloading, Lifetime: time.Minute})
	x := b.out(inA1, outX1)
	b.wait(30 * time.Second)
	if y := b.out(inB1, outX1); x != y || x.Port() != 5000 {
		t.Fatalf("%v and %v", x, y)
	}
	if to, _ := b.in(outX1, x); to != inB1 {
		t.Errorf("went to %v", to)
	}
	b.out(inA1, outX1)
	b.wait(31 * time.Second)
	if _, why := b.in(outX1, x); why != nat.Permitted {
		t.Error(why)
	}
	b.wait(29 * time.Second)
	b.wait(time.Minute)
	if n := len(b.nat.Mappings(b.now)); n != 0 {
		t.Errorf("%d mappings", n)
	}
}

// A sequential NAT may go on in steps, with parity too.
func TestSequentialStep(t *testing.T) {
	for _, tc := range []struct {
		step   uint16
		parity bool
		want   []uint16
	}{
		{0, false, []uint16{6000, 6001, 6002, 6003}},
		{1, true, []uint16{6000, 6002, 6004, 6006}},
		{2, false, []uint16{6000, 6002, 6004, 6006}},
		{10, false, []uint16{6000, 6010, 6020, 6030}},
		{10, true, []uint16{6000, 6010, 6020, 6030}},
	} {
		b := newBench(t, nat.Config{Allocation: nat.Sequential, Step: tc.step, Parity: tc.parity, PortMin: 6000, PortMax: 6035})
		var got []uint16
		for i := range byte(4) {
			got = append(got, b.out(inside(i, 5000), outX1).Port())
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("step %d parity %v: %v", tc.step, tc.parity, got)
		}
	}
	// A step that does not divide the range leaves no port unused.
	b := newBench(t, nat.Config{Allocation: nat.Sequential, Step: 7, PortMin: 6000, PortMax: 6029})
	for i := range byte(30) {
		b.out(inside(i, 5000), outX1)
	}
	b.refused(inside(99, 5000), outX1, nat.PortsExhausted)
}

// RFC 4787, 4.3, REQ-5a: ports of well-known services may be forgotten sooner;
// a mapping that is used for others too may not.
func TestRFC4787_REQ5a_PortLifetimes(t *testing.T) {
	dns, ntp := ep("198.51.100.1:53"), ep("198.51.100.1:123")
	c := nat.Config{Refresh: nat.RefreshBoth, PortLifetimes: []nat.PortLifetime{{Port: 53, Lifetime: 10 * time.Second}, {Port: 123, Lifetime: 20 * time.Second}}}
	b := newBench(t, c)
	b.out(inA1, dns)
	b.livesFor(10 * time.Second)
	b.out(inA1, ntp)
	b.livesFor(20 * time.Second)
	x := b.out(inA1, dns)
	b.wait(9 * time.Second)
	b.in(dns, x)
	b.livesFor(10 * time.Second)
	b.out(inA1, dns)
	b.out(inA1, outX1)
	b.livesFor(nat.DefaultLifetime)
	b.out(inA1, outX1)
	b.out(inA1, dns)
	b.livesFor(nat.DefaultLifetime)
}

// A mapping lives longer once it was answered, on some NATs only from an age.
func TestLifetimeTwoStages(t *testing.T) {
	c := nat.Config{Lifetime: 30 * time.Second, LifetimeAnswered: 2 * time.Minute, AnsweredAge: 2 * time.Second, Refresh: nat.RefreshBoth}
	b := newBench(t, c)
	b.out(inA1, outX1)
	b.livesFor(30 * time.Second)
	x := b.out(inA1, outX1)
	b.in(outX1, x)
	b.livesFor(30 * time.Second)
	x = b.out(inA1, outX1)
	b.wait(2*time.Second - 1)
	b.in(outX1, x)
	b.livesFor(30 * time.Second)
	x = b.out(inA1, outX1)
	b.in(outX1, x)
	b.wait(2 * time.Second)
	b.out(inA1, outX1)
	b.livesFor(2 * time.Minute)
}

// RFC 6888, 3, REQ-9: what a port control protocol asks for. A forward lets everybody in, or those it is for, and gives its internal
// endpoint its external one.
func TestRFC6888_REQ9_Forwards(t *testing.T) {
	for _, mapping := range []nat.Behavior{ei, apd} {
		b := newBench(t, nat.Config{Mapping: mapping, Filtering: apd, Allocation: nat.Random, Hairpin: nat.HairpinExternalSource, Lifetime: time.Minute})
		ext, limited := ep("203.0.113.1:8000"), ep("203.0.113.1:8001")
		for _, f := range []nat.PortForward{
			{Protocol: ipv4.UDP, External: ext, Internal: inA1},
			{Protocol: ipv4.TCP, External: ext, Internal: inB1},
			{Protocol: ipv4.UDP, External: limited, Internal: inA2, From: netip.MustParsePrefix("198.51.100.0/29")},
		} {
			if err := b.nat.AddForward(f); err != nil {
				t.Fatal(err)
			}
		}
		b.wait(time.Hour)
		if to, why := b.in(outY1, ext); to != inA1 {
			t.Errorf("UDP: %v", why)
		}
		if x := b.out(inA1, outX1); x != ext {
			t.Errorf("UDP leaves from %v", x)
		}
		if _, dst := b.say(false, outY1, ext, syn); dst != inB1 {
			t.Errorf("TCP went to %v", dst)
		}
		if src, _ := b.say(true, inB1, outY1, syn|ack); src != ext {
			t.Errorf("TCP leaves from %v", src)
		}
		if to, why := b.in(outX1, limited); to != inA2 {
			t.Errorf("from 198.51.100.1: %v", why)
		}
		if _, why := b.in(outY1, limited); why != nat.FilteredAddress {
			t.Errorf("from 198.51.100.9: %v", why)
		}
		pkt := b.udp(inB1, ext)
		if v := b.outbound(pkt); v.Action != nat.Back {
			t.Errorf("hairpin: %v", v.Reason)
		}
		e := b.udp(inA1, outX1)
		b.outbound(e)
		if v := b.inbound(icmpError(outX1.Addr(), e, len(e))); v.Reason != nat.QuotedFlow {
			t.Errorf("ICMP error: %v", v.Reason)
		}
		b.nat.Reset()
		if to, why := b.in(outY1, ext); to != inA1 {
			t.Errorf("after Reset: %v", why)
		}
		if err := b.nat.SetExternal(addr("203.0.113.200")); err != nil {
			t.Fatal(err)
		}
		moved := ep("203.0.113.200:8000")
		if to, why := b.in(outY1, moved); to != inA1 {
			t.Errorf("after SetExternal: %v", why)
		}
		if rows := b.nat.Mappings(b.now); len(rows) != 3 || !rows[0].Static || !rows[0].Expires.IsZero() {
			t.Errorf("%+v", rows)
		}
		if !b.nat.RemoveForward(ipv4.UDP, moved) || b.nat.RemoveForward(ipv4.UDP, moved) {
			t.Error("RemoveForward")
		}
		if _, why := b.in(outY1, moved); why != nat.NoMapping {
			t.Errorf("after RemoveForward: %v", why)
		}
		if x := b.out(inA1, outX1); x == moved {
			t.Errorf("still leaves from %v", x)
		}
		if n := len(b.nat.Forwards()); n != 2 {
			t.Errorf("%d forwards", n)
		}
	}
}

func TestForwardsRefused(t *testing.T) {
	b := newBench(t, nat.Config{})
	x := b.out(inA1, outX1) // port 5000
	ext := ep("203.0.113.1:8000")
	for name, f := range map[string]nat.PortForward{
		"no protocol":         {External: ext, Internal: inA1},
		"not our address":     {Protocol: 17, External: outX1, Internal: inA1},
		"to ourselves":        {Protocol: 17, External: ext, Internal: ext},
		"port 0":              {Protocol: 17, External: ext, Internal: ep("10.0.0.1:0")},
		"IPv6":                {Protocol: 17, External: ext, Internal: ep("[2001:db8::1]:1")},
		"nobody":              {Protocol: 17, External: ext},
		"IPv6 prefix":         {Protocol: 17, External: ext, Internal: inA1, From: netip.MustParsePrefix("::/0")},
		"all hosts inside":    {Protocol: 17, External: ext, Internal: ep("0.0.0.0:1")},
		"a group of machines": {Protocol: 17, External: ext, Internal: ep("224.0.0.1:1")},
	} {
		if err := b.nat.AddForward(f); !errors.Is(err, nat.ErrBadForward) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.nat.AddForward(nat.PortForward{Protocol: 17, External: x, Internal: inB1}); !errors.Is(err, nat.ErrPortInUse) {
		t.Errorf("a port that a mapping has: %v", err)
	}
	if err := b.nat.AddForward(nat.PortForward{Protocol: 17, External: x, Internal: inA1}); err != nil {
		t.Errorf("a port that a mapping of the same endpoint has: %v", err)
	}
	if err := b.nat.AddForward(nat.PortForward{Protocol: 17, External: x, Internal: inA1}); !errors.Is(err, nat.ErrPortInUse) {
		t.Errorf("twice: %v", err)
	}
	// A forwarded port is given to no mapping.
	b = newBench(t, nat.Config{PortMin: 4000, PortMax: 4000})
	if err := b.nat.AddForward(nat.PortForward{Protocol: 17, External: ep("203.0.113.1:4000"), Internal: inA1}); err != nil {
		t.Fatal(err)
	}
	b.refused(inB1, outX1, nat.PortsExhausted)
}

// RFC 5780, 3.6: a generic ALG rewrites what looks like the endpoint, before
// or after the address, at any offset; everything else stays.
func TestRFC5780_3_6_GenericALG(t *testing.T) {
	internal := []byte{192, 168, 1, 2}
	external := []byte{203, 0, 113, 1}
	port := func(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	pad := []byte{1, 2, 3}
	for _, odd := range [][]byte{nil, {9}} {
		b := newBench(t, nat.Config{Allocation: nat.Random, ALG: true, Seed: 1})
		x := b.out(inA1, outX1)
		for _, tc := range []struct{ name, sent, want []byte }{
			{[]byte("STUN"), join(odd, pad, port(5000), internal, pad), join(odd, pad, port(x.Port()), external, pad)},
			{[]byte("address, then port"), join(odd, internal, port(5000)), join(odd, external, port(x.Port()))},
			{[]byte("address alone"), join(odd, internal, port(5001)), join(odd, external, port(5001))},
			{[]byte("port alone"), join(odd, port(5000), pad), join(odd, port(5000), pad)},
			{[]byte("twice"), join(odd, internal, internal), join(odd, external, external)},
			{[]byte("cut off"), join(odd, internal[:3]), join(odd, internal[:3])},
		} {
			pkt := ipv4.AppendUDP(nil, 1, inA1, outX1, tc.sent)
			if v := b.outbound(pkt); v.Action != nat.Forward || !slices.Equal(pkt[28:], tc.want) {
				t.Errorf("%s: %x became %x, want %x", tc.name, tc.sent, pkt[28:], tc.want)
			}
			pkt = ipv4.AppendUDP(nil, 1, outX1, x, tc.want)
			if v := b.inbound(pkt); v.Action != nat.Forward || !slices.Equal(pkt[28:], tc.sent) {
				t.Errorf("%s, inbound: %x became %x, want %x", tc.name, tc.want, pkt[28:], tc.sent)
			}
		}
	}
	// Thousands of changes do not overflow the checksum.
	b := newBench(t, nat.Config{Allocation: nat.Random, ALG: true})
	b.outbound(ipv4.AppendUDP(nil, 1, inA1, outX1, slices.Repeat(slices.Concat([]byte{0xff}, internal, port(5000)), 9000)))
}
