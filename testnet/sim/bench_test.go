package sim_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
	"shipworm/testnet/sim"
)

// through is a world in which alice's packet crosses two NATs to bob's port.
func through(tb testing.TB) (*sim.World, *sim.Host, []byte, *int) {
	w := sim.New(1, start)
	var hosts [2]*sim.Host
	for i, name := range []string{"alice", "bob"} {
		c, _ := nat.Profile("cone")
		c.External = []netip.Addr{netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i)})}
		r, err := w.Router("home of "+name, c, link.Config{Delay: 10 * time.Millisecond})
		if err != nil {
			tb.Fatal(err)
		}
		if hosts[i], err = r.Host(name, link.Config{}, addr("192.168.1.2")); err != nil {
			tb.Fatal(err)
		}
	}
	got := new(int)
	p, err := hosts[1].BindUDP(5000, func(time.Time, netip.AddrPort, []byte) { *got++ })
	if err != nil {
		tb.Fatal(err)
	}
	p.SendTo(addrPort("203.0.113.1:1"), nil) // opens bob's NAT
	w.Settle(time.Second)
	pkt := ipv4.AppendUDP(nil, 1, addrPort("192.168.1.2:5000"), addrPort("203.0.113.2:5000"), make([]byte, 1252))
	return w, hosts[0], pkt, got
}

func TestPathAllocatesNothing(t *testing.T) {
	w, alice, pkt, got := through(t)
	if n := testing.AllocsPerRun(1000, func() {
		alice.Send(pkt)
		w.Settle(time.Second)
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	if *got < 1000 {
		t.Errorf("only %d packets arrived", *got)
	}
}

// Packets above the size of an Ethernet line cost no garbage either: the
// laboratory moves what a kernel sends in one go.
func TestLargePacketsAllocateNothing(t *testing.T) {
	w, alice, _, got := through(t)
	pkt := ipv4.AppendUDP(nil, 1, addrPort("192.168.1.2:5000"), addrPort("203.0.113.2:5000"), make([]byte, 60000))
	if n := testing.AllocsPerRun(100, func() {
		alice.Send(pkt)
		w.Settle(time.Second)
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	if *got < 100 {
		t.Errorf("only %d packets arrived", *got)
	}
}

// BenchmarkWorld is one 1280-byte packet from a host through two NATs and four
// lines to a UDP port.
func BenchmarkWorld(b *testing.B) {
	w, alice, pkt, got := through(b)
	sent := 0
	b.ReportAllocs()
	for b.Loop() {
		alice.Send(pkt)
		if sent++; sent%64 == 0 {
			w.Settle(time.Second)
		}
	}
	w.Settle(time.Second)
	if *got != sent {
		b.Fatalf("%d of %d arrived", *got, sent)
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "packets/s")
}
