package nat_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// warm is a NAT with many flows and the packets of some of them, ready to be
// sent again and again.
func warm(tb testing.TB, profile string, flows int) (*nat.NAT, [][]byte, [][]byte) {
	c, _ := nat.Profile(profile)
	c.External = []netip.Addr{addr("203.0.113.1")}
	n, err := nat.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	payload := make([]byte, 1252)
	var out, in [][]byte
	for i := range flows {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(2000+i))
		pkt := ipv4.AppendUDP(nil, 1, from, outX1, payload)
		out = append(out, ipv4.AppendUDP(nil, 1, from, outX1, payload))
		if v := n.Outbound(start, pkt); v.Action != nat.Forward {
			tb.Fatal(v.Reason)
		}
		ext, _ := ends(pkt)
		in = append(in, ipv4.AppendUDP(nil, 1, outX1, ext, payload))
	}
	return n, out, in
}

// The hot path makes no garbage, in either direction.
func TestExistingMappingAllocatesNothing(t *testing.T) {
	for _, profile := range []string{"cone", "address-restricted", "port-restricted", "symmetric", "linux"} {
		n, out, in := warm(t, profile, 10)
		buf := make([]byte, 1500)
		i := 0
		if got := testing.AllocsPerRun(1000, func() {
			i++
			n.Outbound(start, buf[:copy(buf, out[i%10])])
			n.Inbound(start, buf[:copy(buf, in[i%10])])
		}); got != 0 {
			t.Errorf("%s: %v allocations for two packets", profile, got)
		}
	}
}

// BenchmarkNATExisting is one 1280-byte packet on a mapping that exists, among
// 1,000 flows. It includes copying back the 28 header bytes that the
// translation changed, about 2 ns.
func BenchmarkNATExisting(b *testing.B) {
	for _, profile := range []string{"cone", "port-restricted", "symmetric", "linux"} {
		for _, dir := range []string{"out", "in"} {
			b.Run(profile+"/"+dir, func(b *testing.B) {
				n, pkts, in := warm(b, profile, 1000)
				f := n.Outbound
				if dir == "in" {
					f, pkts = n.Inbound, in
				}
				var headers [][28]byte
				for _, p := range pkts {
					headers = append(headers, [28]byte(p))
				}
				now := start
				b.ReportAllocs()
				k := 0
				for b.Loop() {
					if k++; k == len(pkts) {
						k = 0
						now = now.Add(time.Microsecond)
					}
					copy(pkts[k], headers[k][:])
					if v := f(now, pkts[k]); v.Action != nat.Forward {
						b.Fatal(v.Reason)
					}
				}
			})
		}
	}
}

// BenchmarkNATNew is the first packet of a flow, with the expiry of an old one.
func BenchmarkNATNew(b *testing.B) {
	n, err := nat.New(nat.Config{External: []netip.Addr{addr("203.0.113.1")}, Allocation: nat.Random, Lifetime: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	now := start
	buf := make([]byte, 100)
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		now = now.Add(100 * time.Microsecond)
		from := netip.AddrPortFrom(ipv4.Addr(10<<24|i&0xffff), 2000)
		if v := n.Outbound(now, ipv4.AppendUDP(buf[:0], 1, from, outX1, nil)); v.Action != nat.Forward {
			b.Fatal(v.Reason)
		}
	}
}
