package engine_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

func inside(c *engine.ClientConfig) {
	c.Policy.Inside = []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}
}

// T-17: alternate addresses count only from behind the same NAT, on a network
// that we are attached to or at the NAT's own address.
func TestAlternateAddresses(t *testing.T) {
	for _, test := range []struct {
		name      string
		peer      netip.Addr
		at        netip.AddrPort
		alternate string
		used      bool
	}{
		{"neighbour", neighbour, neighbourPort, "192.168.1.3:50000", true},
		{"the NAT itself", neighbour, neighbourPort, "198.51.100.7:50000", true},
		{"another private network", neighbour, neighbourPort, "10.0.0.1:50000", false},
		{"a service port", neighbour, neighbourPort, "192.168.1.3:53", false},
		{"ourselves", neighbour, neighbourPort, "192.168.1.2:50000", false},
		{"a public address", neighbour, neighbourPort, "192.0.2.200:50000", false},
		{"not behind our NAT", peerAt(peerPort), peerPort, "192.168.1.3:50000", false},
		{"not behind our NAT, private", peerAt(peerPort), peerPort, "10.0.0.1:50000", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, func(c *engine.ClientConfig) { inside(c); c.Policy.Own = []netip.Addr{addr("192.168.1.2")} })
			r.receive(serverPort, r.advertise(r.begin()[0], mapping))
			r.own = r.c.Snapshot().Address.Addr()
			to := addrPort(test.alternate)
			in := wire.AppendTrailers(indirect(test.peer, r.own, test.at), &wire.Trailers{
				HasNonce: true, Nonce: [4]byte{1}, Alternates: 1, Alternate: [4]netip.AddrPort{to},
			})
			sent, used := 0, false
			for _, s := range r.receive(serverPort, in) {
				used = used || s.To == to
				sent += len(s.Payload)
			}
			if used != test.used || (r.drops(engine.DropAlternate) == 0) != test.used {
				t.Errorf("sent there %v, want %v; %v", used, test.used, r.c.Snapshot().Drops)
			}
			if !used && float64(sent) > 2.5*float64(len(in)) {
				t.Errorf("%d bytes for %d", sent, len(in))
			}
		})
	}
}

// Two clients behind one NAT that does not hairpin find each other on their own
// network, in the time that a round trip through the server takes; Miredo's never
// do. RFC 6081, 3.5
func TestSameNAT(t *testing.T) {
	lan := netip.MustParsePrefix("192.168.0.0/16")
	denied := slices.DeleteFunc(engine.DeniedRanges(), func(p netip.Prefix) bool { return p == lan })
	l := newLabDenying(t, 1, link.Config{Delay: 20 * time.Millisecond}, denied)
	cfg, _ := nat.Profile("home-strict")
	na := l.behind(cfg, inside)
	nb := &node{l: l, name: "neighbour", router: na.router}
	nb.host = l.must(na.router.Host(nb.name, link.Config{}, addr("192.168.1.3")))
	l.nodes++ // dice of its own
	l.attach(nb, inside)
	l.qualify(na, nb)
	na.send(nb.addr(), 100)
	if !l.until(time.Second, func() bool { return len(nb.got) == 1 && na.up(nb) && nb.up(na) }) {
		t.Fatalf("not connected: %v", drops(na, nb))
	}
	if p, _ := na.c.Peer(l.w.Now(), nb.addr()); p.Endpoint != nb.port.LocalAddr() {
		t.Errorf("packets go to %v", p.Endpoint)
	}
}

// RFC 6081, 5.6.4.2: an indirect bubble whose alternate addresses are malformed
// is dropped: neither answered nor its nonce noted. Of a direct one only the
// trailer counts for nothing.
func TestMalformedAlternate(t *testing.T) {
	for _, trailer := range []string{
		"0104deadbeef 0308 0000 c0a801030000", "0104deadbeef 0307 0000 c0a8010350", "0104deadbeef 0302 0000",
		"0104deadbeef 0308 0000 e0000001c350", "0104deadbeef 0308 0000 c0a80103",
	} {
		r := qualifiedRig(t)
		tail := unhex(t, strings.ReplaceAll(trailer, " ", ""))
		r.expectDrop(t, engine.DropTrailer, func() []engine.Transmit {
			return r.receive(serverPort, append(indirect(neighbour, r.own, neighbourPort), tail...))
		})
		if _, known := r.c.Peer(r.now, neighbour); known {
			t.Errorf("%s: the peer was noted", trailer)
		}
		r.receive(peerPort, append(wire.AppendBubble(nil, peerAt(peerPort), r.own, 64), tail...))
		if p, _ := r.c.Peer(r.now, peerAt(peerPort)); !p.Up {
			t.Errorf("%s: a direct bubble was dropped", trailer)
		}
	}
}

// Two clients, each behind a router of its own, share the NAT beyond. They meet
// on the network between by what their routers told them of its forwards
// (RFC 6081, figure 3 and 6.5), and without forwards not at all.
func TestMiddleNetwork(t *testing.T) {
	for _, forwards := range []bool{true, false} {
		middle := netip.MustParsePrefix("192.168.0.0/16")
		denied := slices.DeleteFunc(engine.DeniedRanges(), func(p netip.Prefix) bool { return p == middle })
		l := newLabDenying(t, 1, link.Config{Delay: 20 * time.Millisecond}, denied)
		cfg, _ := nat.Profile("home-strict")
		cfg.External = []netip.Addr{addr("198.51.100.77")}
		outer, err := l.w.Router("outer", cfg, l.config())
		if err != nil {
			t.Fatal(err)
		}
		home := func(i byte) *node {
			cfg, _ := nat.Profile("upnp-port-restricted")
			cfg.External = []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 1, 10 + i})}
			n := &node{l: l, name: fmt.Sprint("home ", i)}
			var err error
			if n.router, err = outer.Router(n.name, cfg, link.Config{Delay: time.Millisecond}); err != nil {
				t.Fatal(err)
			}
			private := netip.AddrFrom4([4]byte{10, i, 0, 2})
			n.host = l.must(n.router.Host(n.name+" host", link.Config{}, private))
			l.nodes++
			l.attach(n, func(c *engine.ClientConfig) {
				c.Secondary = secondary
				c.Policy.Inside = []netip.Prefix{netip.PrefixFrom(private, 24).Masked()}
			})
			return n
		}
		na, nb := home(1), home(2)
		l.qualify(na, nb)
		if forwards {
			na.forwardPort()
			nb.forwardPort()
		}
		na.send(nb.addr(), 100)
		ok := l.until(3*time.Second, func() bool { return len(nb.got) == 1 && na.up(nb) && nb.up(na) })
		if ok != forwards {
			t.Errorf("forwards %v, connected %v: %v", forwards, ok, drops(na, nb))
		}
	}
}
