package nat_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

func addr(s string) netip.Addr   { return netip.MustParseAddr(s) }
func ep(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bench is a NAT under test with a clock.
type bench struct {
	t   testing.TB
	nat *nat.NAT
	now time.Time
	id  uint16
}

func newBench(t testing.TB, c nat.Config) *bench {
	t.Helper()
	if len(c.External) == 0 && !c.NoTranslation {
		c.External = []netip.Addr{addr("203.0.113.1")}
	}
	n, err := nat.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, nat: n, now: start}
}

func (b *bench) wait(d time.Duration) { b.now = b.now.Add(d) }

// udp builds a datagram with a payload of its own.
func (b *bench) udp(from, to netip.AddrPort) []byte {
	b.id++
	return ipv4.AppendUDP(nil, b.id, from, to, []byte{byte(b.id >> 8), byte(b.id), 'x'})
}

// out sends a datagram from the inside and returns its external source. It
// fails the test unless the NAT forwards it intact.
func (b *bench) out(from, to netip.AddrPort) netip.AddrPort {
	b.t.Helper()
	pkt := b.udp(from, to)
	v := b.outbound(pkt)
	if v.Action != nat.Forward {
		b.t.Fatalf("%v > %v: %v, %v", from, to, v.Action, v.Reason)
	}
	src, dst := ends(pkt)
	if dst != to {
		b.t.Fatalf("%v > %v: destination became %v", from, to, dst)
	}
	return src
}

// in sends a datagram from the outside and returns where it went and why.
func (b *bench) in(from, to netip.AddrPort) (netip.AddrPort, nat.Reason) {
	b.t.Helper()
	pkt := b.udp(from, to)
	v := b.inbound(pkt)
	if v.Action != nat.Forward {
		return netip.AddrPort{}, v.Reason
	}
	src, dst := ends(pkt)
	if src != from {
		b.t.Fatalf("%v > %v: source became %v", from, to, src)
	}
	return dst, v.Reason
}

func (b *bench) outbound(pkt []byte) nat.Verdict { return b.run(pkt, b.nat.Outbound) }
func (b *bench) inbound(pkt []byte) nat.Verdict  { return b.run(pkt, b.nat.Inbound) }

// run checks what holds for every packet: dropped ones are untouched, others
// keep their length, payload and right checksums.
func (b *bench) run(pkt []byte, f func(time.Time, []byte) nat.Verdict) nat.Verdict {
	b.t.Helper()
	before := slices.Clone(pkt)
	v := f(b.now, pkt)
	checkPacket(b.t, before, pkt, v)
	return v
}

func checkPacket(t testing.TB, before, after []byte, v nat.Verdict) {
	t.Helper()
	if v.Reason == nat.Unspecified {
		t.Fatalf("a verdict without a reason: %+v", v)
	}
	if v.Action == nat.Drop {
		if !slices.Equal(before, after) {
			t.Fatalf("dropped (%v) but changed:\n%x\n%x", v.Reason, before, after)
		}
	} else {
		p, h, ok := ipv4.Check(after)
		q, _, ok2 := ipv4.Check(before)
		if !ok || !ok2 || len(p) != len(q) {
			t.Fatalf("%v: malformed packet let through:\n%x\n%x", v.Reason, before, after)
		}
		if ipv4.TransportOK(q, h) && !ipv4.TransportOK(p, h) {
			t.Fatalf("%v: checksum broken:\n%x\n%x", v.Reason, before, after)
		}
		if !ipv4.TransportOK(q, h) && ipv4.TransportOK(p, h) {
			t.Fatalf("%v: a wrong checksum was repaired:\n%x\n%x", v.Reason, before, after)
		}
		if !slices.Equal(after[len(p):], before[len(q):]) {
			t.Fatalf("%v: bytes after the packet changed", v.Reason)
		}
	}
	if v.Reply != nil {
		p, h, ok := ipv4.Check(v.Reply)
		if !ok || len(p) != len(v.Reply) || !ipv4.TransportOK(p, h) {
			t.Fatalf("malformed reply %x", v.Reply)
		}
	}
}

// ends returns the endpoints of a UDP or TCP packet.
func ends(pkt []byte) (src, dst netip.AddrPort) {
	h := int(pkt[0]&15) * 4
	port := func(at int) uint16 { return uint16(pkt[h+at])<<8 | uint16(pkt[h+at+1]) }
	return netip.AddrPortFrom(ipv4.Addr(ipv4.Src(pkt)), port(0)), netip.AddrPortFrom(ipv4.Addr(ipv4.Dst(pkt)), port(2))
}

// Endpoints of the tests: two inside hosts, two servers with two ports each.
var (
	inA1 = ep("192.168.1.2:5000")
	inA2 = ep("192.168.1.2:5001")
	inB1 = ep("192.168.1.3:5000")

	outX1 = ep("198.51.100.1:1111")
	outX2 = ep("198.51.100.1:2222")
	outY1 = ep("198.51.100.9:1111")
)

func everyone() []netip.Addr { return []netip.Addr{addr("203.0.113.1")} }
