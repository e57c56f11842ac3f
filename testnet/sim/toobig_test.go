package sim_test

import (
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/internal/ipv6"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// L-04: whichever line a packet does not fit, its sender hears of it (RFC 1191,
// 4; RFC 8201, 3), through the NATs on the way.
func TestTooBigIsReported(t *testing.T) {
	small := link.Config{MTU: 1280}
	for _, tc := range []struct {
		name             string
		server, home, pc link.Config
		up, down         string // what pc hears, and what server does
	}{
		{
			"server's line", small, link.Config{}, link.Config{},
			"ICMP fragmentation needed, 192.0.0.8 > 192.168.1.2, 576 B",
			"ICMP fragmentation needed, 192.0.0.8 > 198.51.100.1, 576 B",
		},
		{
			"home's line", link.Config{}, small, link.Config{},
			"ICMP fragmentation needed, 192.168.1.1 > 192.168.1.2, 576 B",
			"ICMP fragmentation needed, 192.0.0.8 > 198.51.100.1, 576 B",
		},
		{
			"pc's line", link.Config{}, link.Config{}, small,
			"ICMP fragmentation needed, 192.168.1.1 > 192.168.1.2, 576 B",
			"ICMP fragmentation needed, 203.0.113.1 > 198.51.100.1, 576 B",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newLab(t, 1)
			server, err := n.Host("server", tc.server, addr("198.51.100.1"))
			if err != nil {
				t.Fatal(err)
			}
			home, err := n.Router("home", config(t, "cone", "203.0.113.1"), tc.home)
			if err != nil {
				t.Fatal(err)
			}
			pc := n.behind(home, "pc", "192.168.1.2")
			if err := home.SetGateway(addr("192.168.1.1")); err != nil {
				t.Fatal(err)
			}
			if err := pc.SetLink(tc.pc); err != nil {
				t.Fatal(err)
			}
			heard, answered := icmp(pc), icmp(server)
			// A small datagram opens the way back.
			pc.Send(ipv4.AppendUDP(nil, 1, addrPort("192.168.1.2:5000"), addrPort("198.51.100.1:7"), make([]byte, 8)))
			n.run(time.Second)
			*answered = nil
			pc.Send(whole(ipv4.AppendUDP(nil, 2, addrPort("192.168.1.2:5000"), addrPort("198.51.100.1:7"), make([]byte, 1300))))
			n.run(time.Second)
			server.Send(whole(ipv4.AppendUDP(nil, 3, addrPort("198.51.100.1:7"), addrPort("203.0.113.1:5000"), make([]byte, 1300))))
			n.run(time.Second)
			if want := []string{tc.up}; !slices.Equal(*heard, want) {
				t.Errorf("pc heard %q, want %q", *heard, want)
			}
			if want := []string{tc.down}; !slices.Equal(*answered, want) {
				t.Errorf("server heard %q, want %q", *answered, want)
			}
		})
	}
}

// A report that does not fit the line back is lost, as there is no report about
// a report.
func TestTooBigReportDoesNotFit(t *testing.T) {
	n := newLab(t, 1)
	line := func(name string, mtu int, a string) {
		if _, err := n.Host(name, link.Config{MTU: mtu}, addr(a)); err != nil {
			t.Fatal(err)
		}
	}
	line("b", 500, "2001:db8::2")
	line("c", 70, "198.51.100.2")
	a, err := n.Host("a", link.Config{MTU: 560}, addr("2001:db8::1"))
	if err != nil {
		t.Fatal(err)
	}
	a.Send(ipv6.AppendUDP(nil, addrPort("[2001:db8::1]:1"), addrPort("[2001:db8::2]:7"), make([]byte, 500)))
	n.run(time.Second)
	n.dropped("a/down", "larger than the line's MTU")
	d, err := n.Host("d", link.Config{MTU: 80}, addr("198.51.100.1"))
	if err != nil {
		t.Fatal(err)
	}
	d.Send(whole(ipv4.AppendUDP(nil, 1, addrPort("198.51.100.1:1"), addrPort("198.51.100.2:7"), make([]byte, 50))))
	n.run(time.Second)
	n.dropped("d/down", "larger than the line's MTU")
}

// Also of one that a router turned round with the source that it came with.
func TestTooBigHairpin(t *testing.T) {
	n := newLab(t, 1)
	home, err := n.Router("home", config(t, "home-alg", "203.0.113.1"), link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := n.behind(home, "a", "192.168.1.2"), n.behind(home, "b", "192.168.1.3")
	if err := home.SetGateway(addr("192.168.1.1")); err != nil {
		t.Fatal(err)
	}
	n.host("server", "198.51.100.1")
	// Both have the router let the other in, at ports that it preserves.
	send := func(from *sim.Host, at, to string, size int) {
		from.Send(whole(ipv4.AppendUDP(nil, 1, addrPort(at), addrPort(to), make([]byte, size))))
		n.run(time.Second)
	}
	send(a, "192.168.1.2:5000", "198.51.100.1:7", 8)
	send(b, "192.168.1.3:6000", "198.51.100.1:7", 8)
	send(a, "192.168.1.2:5000", "203.0.113.1:6000", 8)
	send(b, "192.168.1.3:6000", "203.0.113.1:5000", 8)
	if err := b.SetLink(link.Config{MTU: 1280}); err != nil {
		t.Fatal(err)
	}
	heard := icmp(a)
	send(a, "192.168.1.2:5000", "203.0.113.1:6000", 1300)
	if want := []string{"ICMP fragmentation needed, 192.168.1.1 > 192.168.1.2, 576 B"}; !slices.Equal(*heard, want) {
		t.Errorf("heard %q, want %q", *heard, want)
	}
}
