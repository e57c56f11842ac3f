package sim_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

func TestLANIsDirect(t *testing.T) {
	n := newLab(t, 1)
	home := n.router("home", "symmetric", "203.0.113.1")
	a, b := n.bind(n.behind(home, "a", "192.168.1.2"), 5000), n.bind(n.behind(home, "b", "192.168.1.3"), 5000)
	a.send(b.LocalAddr(), "hi")
	n.run(0)
	if from := b.last("hi"); from != a.LocalAddr() {
		t.Errorf("from %v", from)
	}
	if s := home.NAT().Stats(); s.Forwarded+s.Dropped+s.Hairpinned != 0 {
		t.Errorf("the NAT saw LAN traffic: %+v", s)
	}
}

// Two hosts behind one NAT reach each other by their external endpoints only
// where it hairpins.
func TestHairpin(t *testing.T) {
	for _, profile := range []string{"cone", "symmetric"} {
		n := newLab(t, 1)
		home, server := n.router("home", profile, "203.0.113.1"), n.bind(n.host("server", "198.51.100.1"), 3544)
		a, b := n.bind(n.behind(home, "a", "192.168.1.2"), 5000), n.bind(n.behind(home, "b", "192.168.1.3"), 6000)
		a.send(server.LocalAddr(), "a")
		n.run(time.Second)
		xa := server.last("a")
		b.send(server.LocalAddr(), "b")
		n.run(time.Second)
		xb := server.last("b")
		a.send(xb, "hairpin")
		n.run(time.Second)
		if profile == "cone" {
			if from := b.last("hairpin"); from != xa {
				t.Errorf("from %v, want %v", from, xa)
			}
		} else {
			n.dropped("home", "hairpinning is off")
		}
	}
}

// Hole punching: both sides send at once. Two port-restricted NATs open, two
// symmetric ones do not.
func TestHolePunching(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"port-restricted", "port-restricted", true},
		{"cone", "symmetric", true},
		{"port-restricted", "symmetric", false},
		{"symmetric", "symmetric", false},
		{"linux", "linux", true},
		{"udp-blocked", "cone", false},
	} {
		t.Run(tc.a+" "+tc.b, func(t *testing.T) {
			n := newLab(t, 1)
			server := n.bind(n.host("server", "198.51.100.1"), 3544)
			a := n.bind(n.behind(n.router("home-a", tc.a, "203.0.113.1"), "a", "192.168.1.2"), 5000)
			b := n.bind(n.behind(n.router("home-b", tc.b, "203.0.113.2"), "b", "192.168.1.2"), 6000)
			xa, xb := addrPort("203.0.113.1:5000"), addrPort("203.0.113.2:6000")
			a.send(server.LocalAddr(), "a")
			b.send(server.LocalAddr(), "b")
			n.run(time.Second)
			for i, who := range server.got {
				if who == "a" {
					xa = server.from[i]
				} else {
					xb = server.from[i]
				}
			}
			for range 2 {
				a.send(xb, "from a")
				b.send(xa, "from b")
				n.run(time.Second)
				// Each answers what it hears where it came from.
				for _, p := range []*inbox{a, b} {
					if k := len(p.from); k > 0 {
						p.send(p.from[k-1], "answer")
					}
				}
				n.run(time.Second)
			}
			got := strings.Contains(fmt.Sprint(a.got), "from b") || strings.Contains(fmt.Sprint(a.got), "answer")
			got = got && (strings.Contains(fmt.Sprint(b.got), "from a") || strings.Contains(fmt.Sprint(b.got), "answer"))
			if got != tc.want {
				t.Errorf("a got %q, b got %q", a.got, b.got)
			}
		})
	}
}

func TestNestedRouters(t *testing.T) {
	n := newLab(t, 1)
	carrier := n.router("carrier", "carrier", "203.0.113.1")
	home, err := carrier.Router("home", config(t, "port-restricted", "100.64.0.2"), link.Config{Delay: 2 * ms})
	if err != nil {
		t.Fatal(err)
	}
	other, err := carrier.Host("other", link.Config{}, addr("100.64.0.3"))
	if err != nil {
		t.Fatal(err)
	}
	alice, server := n.bind(n.behind(home, "alice", "192.168.1.2"), 5000), n.bind(n.host("server", "198.51.100.1"), 3544)
	alice.send(server.LocalAddr(), "up")
	n.run(time.Second)
	x := server.last("up")
	if x.Addr() != addr("203.0.113.1") {
		t.Errorf("the server sees %v", x)
	}
	server.send(x, "down")
	n.run(time.Second)
	alice.last("down")
	// The carrier's LAN is direct for its customers.
	neighbour := n.bind(other, 7)
	alice.send(neighbour.LocalAddr(), "next door")
	n.run(time.Second)
	if from := neighbour.last("next door"); from.Addr() != addr("100.64.0.2") {
		t.Errorf("the neighbour sees %v", from)
	}
}

// A router without translation shows its hosts' addresses to the Internet,
// and with a filter protects them.
func TestRoutersWithoutTranslation(t *testing.T) {
	for _, profile := range []string{"none", "firewall"} {
		n := newLab(t, 1)
		office := n.router("office", profile)
		inner, err := office.Router("floor", config(t, "none"), link.Config{})
		if err != nil {
			t.Fatal(err)
		}
		a, server := n.bind(n.behind(inner, "a", "198.18.0.2"), 5000), n.bind(n.host("server", "198.51.100.1"), 3544)
		server.send(a.LocalAddr(), "unsolicited")
		n.run(time.Second)
		if profile == "none" {
			a.last("unsolicited")
		} else {
			n.dropped("office", "no mapping for the destination")
		}
		a.send(server.LocalAddr(), "hello")
		n.run(time.Second)
		if from := server.last("hello"); from != a.LocalAddr() {
			t.Errorf("%s: the server sees %v", profile, from)
		}
		server.send(a.LocalAddr(), "answer")
		n.run(time.Second)
		a.last("answer")
		if _, err := n.Host("thief", link.Config{}, addr("198.18.0.2")); err == nil {
			t.Error("an address behind an open router was taken again")
		}
	}
}

// Every drop has a place and a reason.
func TestDropReasons(t *testing.T) {
	n := newLab(t, 1, invariant.Checksum)
	server := n.host("server", "198.51.100.1")
	home := n.router("home", "port-restricted", "203.0.113.1")
	alice := n.behind(home, "alice", "192.168.1.2")
	a, s := n.bind(alice, 5000), n.bind(server, 3544)
	for _, tc := range []struct {
		name      string
		do        func()
		node, why string
	}{
		{"unknown destination", func() { a.send(addrPort("198.51.100.99:1"), "x") }, "internet", "no host has this address"},
		{"no socket", func() { a.send(addrPort("198.51.100.1:9"), "x") }, "server", "no socket on this port"},
		{"not a packet", func() { alice.Send([]byte("Not a packet")) }, "home/lan", "not a well-formed IPv4 packet"},
		{"no mapping", func() { s.send(addrPort("203.0.113.1:9"), "x") }, "home", "no mapping for the destination"},
		{"filtered", func() {
			a.send(addrPort("198.51.100.1:9"), "x")
			n.run(time.Second)
			s.send(addrPort("203.0.113.1:5000"), "x")
		},
			"home", "filtered: the inside sent to this address but not to this port"},
		{"lost", func() { alice.SetLink(link.Config{Loss: 1}); a.send(s.LocalAddr(), "x") }, "alice/up", "lost on the line"},
		{"too big", func() {
			alice.SetLink(link.Config{MTU: 100})
			alice.Send(whole(ipv4.AppendUDP(nil, 1, a.LocalAddr(), addrPort("224.0.0.1:9"), make([]byte, 73)))) // nobody reports it
		},
			"alice/up", "larger than the line's MTU"},
		{"multicast", func() { s.send(addrPort("224.0.0.1:9"), "x") }, "internet", "multicast does not leave a LAN"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n.t = t
			tc.do()
			n.run(time.Second)
			n.dropped(tc.node, tc.why)
		})
	}
	n.t = t
}

// Multicast reaches the whole LAN, except its sender, and nobody else.
func TestMulticastStaysOnTheLAN(t *testing.T) {
	n := newLab(t, 1)
	home := n.router("home", "cone", "203.0.113.1")
	a := n.bind(n.behind(home, "a", "192.168.1.2"), 3544)
	b, c := n.bind(n.behind(home, "b", "192.168.1.3"), 3544), n.bind(n.behind(home, "c", "192.168.1.4"), 3544)
	a.send(addrPort("224.0.0.253:3544"), "bubble")
	n.run(time.Second)
	b.last("bubble")
	c.last("bubble")
	if len(a.got) != 0 || n.Stats().Delivered != 2 {
		t.Errorf("the sender got %q, %d delivered", a.got, n.Stats().Delivered)
	}
	n.bind(n.behind(n.router("cabin", "cone", "203.0.113.2"), "hermit", "192.168.2.2"), 3544).send(addrPort("224.0.0.253:3544"), "bubble")
	n.run(time.Second)
	n.dropped("cabin/lan", "nobody else is on this LAN")
}

// icmp keeps the ICMP messages that a host gets.
func icmp(h *sim.Host) *[]string {
	var got []string
	h.Receive = func(_ time.Time, pkt []byte) { got = append(got, ipv4.Summary(pkt)) }
	return &got
}

// Traceroute names the routers on the way, from both sides.
func TestTimeExceeded(t *testing.T) {
	n := newLab(t, 1)
	carrier := n.router("carrier", "cone", "203.0.113.1")
	home, err := carrier.Router("home", config(t, "cone", "100.64.0.2"), link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := home.SetGateway(addr("192.168.1.1")); err != nil {
		t.Fatal(err)
	}
	if err := carrier.SetGateway(addr("100.64.0.1")); err != nil {
		t.Fatal(err)
	}
	alice, server := n.behind(home, "alice", "192.168.1.2"), n.host("server", "198.51.100.1")
	got, seen := icmp(alice), icmp(server)
	send := func(h *sim.Host, ttl byte, from, to string) {
		pkt := ipv4.AppendUDP(nil, uint16(ttl), addrPort(from), addrPort(to), []byte("trace"))
		for ipv4.TTL(pkt) > ttl {
			ipv4.DecrementTTL(pkt)
		}
		h.Send(pkt)
		n.run(time.Second)
	}
	for ttl := byte(1); ttl <= 3; ttl++ {
		send(alice, ttl, "192.168.1.2:5000", "198.51.100.1:33434")
	}
	want := "[ICMP time exceeded, 192.168.1.1 > 192.168.1.2, 61 B ICMP time exceeded, 100.64.0.1 > 192.168.1.2, 61 B]"
	if fmt.Sprint(*got) != want {
		t.Errorf("alice got %v\nwant %v", *got, want)
	}
	if fmt.Sprint(*seen) != "[UDP 203.0.113.1:5000 > 198.51.100.1:33434, 5 B]" {
		t.Errorf("server got %v", *seen)
	}
	*seen = nil
	for ttl := byte(1); ttl <= 2; ttl++ {
		send(server, ttl, "198.51.100.1:33434", "203.0.113.1:5000")
	}
	// The second error comes from the inner router and is translated on its
	// way out.
	want = "[ICMP time exceeded, 203.0.113.1 > 198.51.100.1, 61 B ICMP time exceeded, 203.0.113.1 > 198.51.100.1, 61 B]"
	if fmt.Sprint(*seen) != want {
		t.Errorf("server got %v\nwant %v", *seen, want)
	}
}

// Routers answer pings to their own addresses, from either side.
func TestPingRouter(t *testing.T) {
	n := newLab(t, 1)
	home := n.router("home", "port-restricted", "203.0.113.1")
	home.SetGateway(addr("192.168.1.1"))
	alice, server := n.behind(home, "alice", "192.168.1.2"), n.host("server", "198.51.100.1")
	for i, tc := range []struct {
		h    *sim.Host
		from string
		to   string
	}{
		{alice, "192.168.1.2", "192.168.1.1"},
		{alice, "192.168.1.2", "203.0.113.1"},
		{server, "198.51.100.1", "203.0.113.1"},
	} {
		got := icmp(tc.h)
		tc.h.Send(ipv4.AppendEcho(nil, ipv4.EchoRequest, addr(tc.from), addr(tc.to), 7, uint16(i), []byte("ping")))
		n.run(time.Second)
		want := fmt.Sprintf("[ICMP echo reply 7/%d, %s > %s, 32 B]", i, tc.to, tc.from)
		if fmt.Sprint(*got) != want {
			t.Errorf("got %v, want %v", *got, want)
		}
	}
	// And pass them on: a ping from the inside to the server and back.
	got := icmp(alice)
	server.Receive = func(_ time.Time, pkt []byte) {
		server.Send(ipv4.AppendEcho(nil, ipv4.EchoReply, addr("198.51.100.1"), ipv4.Addr(ipv4.Src(pkt)), 7, 9, nil))
	}
	alice.Send(ipv4.AppendEcho(nil, ipv4.EchoRequest, addr("192.168.1.2"), addr("198.51.100.1"), 7, 9, nil))
	n.run(time.Second)
	if fmt.Sprint(*got) != "[ICMP echo reply 7/9, 198.51.100.1 > 192.168.1.2, 28 B]" {
		t.Errorf("got %v", *got)
	}
}

// RFC 4787, 10, REQ-13: a packet with DF that does not fit the uplink is
// answered; without DF it is cut.
func TestRFC4787_REQ13_TooBig(t *testing.T) {
	n := newLab(t, 1)
	home, err := n.Router("home", config(t, "cone", "203.0.113.1"), link.Config{MTU: 1280})
	if err != nil {
		t.Fatal(err)
	}
	alice := n.behind(home, "alice", "192.168.1.2")
	got := []byte(nil)
	alice.Receive = func(_ time.Time, pkt []byte) { got = append([]byte(nil), pkt...) }
	pkt := ipv4.AppendUDP(nil, 1, addrPort("192.168.1.2:5000"), addrPort("198.51.100.1:1"), make([]byte, 1253))
	server := n.host("server", "198.51.100.1")
	port := n.bind(server, 1)
	alice.Send(pkt)
	n.run(time.Second)
	if len(port.got) != 1 || len(port.got[0]) != 1253 {
		t.Errorf("without DF: %d datagrams", len(port.got))
	}
	if got != nil {
		t.Errorf("without DF: %s", ipv4.Summary(got))
	}
	alice.Send(whole(pkt))
	n.run(time.Second)
	if len(got) < 48 || ipv4.Summary(got)[:25] != "ICMP fragmentation needed" || int(got[26])<<8|int(got[27]) != 1280 {
		t.Fatalf("got %s %x", ipv4.Summary(got), got)
	}
	if inner := netip.AddrFrom4([4]byte(got[28+12:])); inner != alice.Addr() {
		t.Errorf("the quote is from %v", inner)
	}
}

// Reject: the sender of an unsolicited packet hears of it.
func TestRejectIsDelivered(t *testing.T) {
	n := newLab(t, 1)
	c := config(t, "port-restricted", "203.0.113.1")
	c.Reject = true
	if _, err := n.Router("home", c, link.Config{}); err != nil {
		t.Fatal(err)
	}
	server := n.host("server", "198.51.100.1")
	got := icmp(server)
	n.bind(server, 1).send(addrPort("203.0.113.1:9"), "x")
	n.run(time.Second)
	if fmt.Sprint(*got) != "[ICMP port unreachable, 203.0.113.1 > 198.51.100.1, 57 B]" {
		t.Errorf("got %v", *got)
	}
}

// L-04: a NAT that reboots, one that gets another address, and a line that
// turns into a black hole and back.
func TestFaults(t *testing.T) {
	n := newLab(t, 1)
	home, server := n.router("home", "symmetric", "203.0.113.1"), n.bind(n.host("server", "198.51.100.1"), 3544)
	a := n.bind(n.behind(home, "a", "192.168.1.2"), 5000)
	ask := func(text string) netip.AddrPort {
		t.Helper()
		a.send(server.LocalAddr(), text)
		n.run(time.Second)
		return server.last(text)
	}
	x := ask("first")
	home.NAT().Reset()
	server.send(x, "lost")
	n.run(time.Second)
	n.dropped("home", "no mapping for the destination")
	ask("after the reboot")

	if err := home.SetExternal(addr("203.0.113.50")); err != nil {
		t.Fatal(err)
	}
	server.send(x, "lost")
	n.run(time.Second)
	n.dropped("internet", "no host has this address")
	if y := ask("after the move"); y.Addr() != addr("203.0.113.50") {
		t.Errorf("the server sees %v", y)
	}
	if err := home.SetExternal(addr("198.51.100.1")); err == nil {
		t.Error("the router took the server's address")
	}
	if y := ask("after a refused move"); y.Addr() != addr("203.0.113.50") {
		t.Errorf("the server sees %v", y)
	}

	if err := home.SetLink(link.Config{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	a.send(server.LocalAddr(), "swallowed")
	n.run(time.Second)
	n.dropped("home/up", "lost on the line")
	if err := home.SetLink(link.Config{}); err != nil {
		t.Fatal(err)
	}
	ask("after the hole")
}
