package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/link"
	"shipworm/testnet/nat"
)

// RFC 5991, 3.2: the cone bit of a peer counts for nothing: it gets bubbles
// before any data.
func TestConeBitIgnored(t *testing.T) {
	r := qualifiedRig(t)
	cone := wire.AddressFrom(addr("192.0.2.77"), 0x8000, peerPort).Addr()
	sent := r.send(udp(r.own, cone, 100))
	if len(sent) != 2 || bubbles(sent) != 2 || r.c.Snapshot().Queued != 100 {
		t.Errorf("sent %v, %d bytes queued", sent, r.c.Snapshot().Queued)
	}
}

// RFC 6081, 5.7.4.2: a solicitation is answered with an advertisement, at once.
func TestSolicited(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	r.now = r.now.Add(10 * time.Second)
	asks := wire.AppendTrailers(wire.AppendBubble(nil, peer, r.own, 64), &wire.Trailers{Discovery: wire.DiscoverySolicitation})
	sent := r.receive(peerPort, asks)
	if len(sent) != 1 || sent[0].To != peerPort {
		t.Fatalf("sent %v", sent)
	}
	if _, tr := trailers(t, sent[0].Payload); tr.Discovery != wire.DiscoveryAdvertisement {
		t.Errorf("trailers %+v", tr)
	}
}

// RFC 6081, 5.2.4.2 and 5.2.4.3: direct bubbles return the nonce of the last
// indirect one, and none if that had none.
func TestNonceReturned(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	for _, nonce := range []wire.Trailers{{HasNonce: true, Nonce: [4]byte{1, 2, 3, 4}}, {HasNonce: true, Nonce: [4]byte{5}}, {}} {
		direct := 0
		for _, s := range r.receive(serverPort, wire.AppendTrailers(indirect(peer, r.own, peerPort), &nonce)) {
			if s.To.Port() == wire.Port {
				continue
			}
			direct++
			if _, tr := trailers(t, s.Payload); tr.HasNonce != nonce.HasNonce || tr.Nonce != nonce.Nonce {
				t.Errorf("returned %x, want %x", tr.Nonce, nonce.Nonce)
			}
		}
		if direct == 0 {
			t.Error("no direct bubble")
		}
		r.now = r.now.Add(time.Second)
	}
}

// sequential returns a rig behind a sequential NAT that tries peer, the
// datagrams that it sent, and its extra port.
func sequential(t *testing.T, peer netip.Addr) (*rig, []engine.Transmit, uint16) {
	t.Helper()
	r := qualifiedRig(t)
	r.become(mapping.Port() + 2)
	sent := r.send(udp(r.own, peer, 100))
	if len(r.out.Open) != 1 {
		t.Fatalf("opened %v", r.out.Open)
	}
	return r, sent, r.out.Open[0]
}

func (r *rig) receiveOn(port uint16, from netip.AddrPort, payload []byte) []engine.Transmit {
	r.c.ReceiveOn(r.now, port, from, payload, &r.out)
	return r.take()
}

// RFC 6081, 5.5.4.1.1 and 5.5.4.4: solicitation, bubble and solicitation leave
// the extra port, in this order; the port between those of the two answers is
// told to the peer. An answer with another nonce, or at another port, is none.
func TestEchoTest(t *testing.T) {
	r, sent, port := sequential(t, peerAt(peerPort))
	sent = slices.DeleteFunc(sent, func(s engine.Transmit) bool { return s.Port != port })
	if len(sent) != 3 || sent[0].To != serverPort || sent[1].To != peerPort || sent[2].To != secondaryPort || bubbles(sent[1:2]) != 1 {
		t.Fatalf("sent from the extra port: %v", sent)
	}
	origin := func(p uint16) netip.AddrPort { return netip.AddrPortFrom(mapping.Addr(), p) }
	lower, upper := r.advertise(sent[0], origin(41000)), r.advertise(sent[2], origin(41003))
	r.expectDrop(t, engine.DropRANonce, func() []engine.Transmit { return r.receiveOn(port, secondaryPort, lower) })
	r.expectDrop(t, engine.DropRANonce, func() []engine.Transmit { return r.receiveOn(0, serverPort, lower) })
	if out := r.receiveOn(port, secondaryPort, upper); len(out) != 0 {
		t.Errorf("after one answer sent %v", out)
	}
	out := r.receiveOn(port, serverPort, lower)
	if len(out) != 1 || out[0].To != addrPort("192.0.2.77:3544") {
		t.Fatalf("after both answers sent %v", out)
	}
	if _, tr := trailers(t, out[0].Payload); tr.RandomPort != 41001 || !tr.HasNonce {
		t.Errorf("told the peer port %d, want the middle, 41001", tr.RandomPort)
	}
}

// RFC 6081, 5.4.2.1: an extra port in use is kept open by bubbles, 20 of them
// without data, then it is closed; data starts the count anew, and leaves the
// extra port.
func TestExtraPortKept(t *testing.T) {
	peer := peerAt(peerPort)
	r, sent, port := sequential(t, peer)
	for i, s := range sent {
		if s.Port == port && i != 1 && s.To.Port() == wire.Port {
			r.receiveOn(port, s.To, r.advertise(s, netip.AddrPortFrom(mapping.Addr(), 41000)))
		}
	}
	_, tr := trailers(t, sent[1].Payload)
	known := wire.Trailers{HasNonce: true, Nonce: tr.Announce.Echo, Announce: wire.Announcement{Present: true, Echo: [4]byte{1}}} // it has told its nonce
	sent = r.receiveOn(port, peerPort, wire.AppendTrailers(wire.AppendBubble(nil, peer, r.own, 64), &known))
	if i := slices.IndexFunc(sent, func(s engine.Transmit) bool { return len(s.Payload) == 100 }); i < 0 || sent[i].Port != port {
		t.Fatalf("the queued packet did not leave the extra port: %v", sent)
	}
	kept := 0
	pass := func(d time.Duration) {
		for range d / time.Second {
			for _, s := range r.pass(time.Second) {
				switch {
				case len(s.Payload) == 61:
					r.receive(s.To, r.advertise(s, mapping))
				case s.Port == port && s.To == peerPort:
					kept++
				}
			}
		}
	}
	pass(10 * 25 * time.Second)
	if kept != 10 {
		t.Errorf("%d bubbles in 250 s, want 10", kept)
	}
	r.receiveOn(port, peerPort, udp(peer, r.own, 60)) // the peer speaks, and is answered
	if sent := r.send(udp(r.own, peer, 101)); len(sent) != 1 || sent[0].Port != port {
		t.Fatalf("data left as %v", sent)
	}
	kept = 0
	r.out.Close = nil
	pass(15 * time.Minute)
	if kept != 20 || !slices.Contains(r.out.Close, port) {
		t.Errorf("%d bubbles without data, want 20; closed %v", kept, r.out.Close)
	}
}

// trailerRules watches what two clients send each other and fails if a bubble has a
// trailer where none may be, or lacks one.
type trailerRules struct {
	t        *testing.T
	returned map[*node]map[netip.Addr][4]byte // nonces to return in direct bubbles
	drawn    map[[4]byte]bool
	direct   int // bubbles
	through  int
	sides    int // of them with alternate addresses
	ports    int // direct ones with a random port
}

func (w *trailerRules) watch(n *node) {
	if w.returned == nil {
		w.returned, w.drawn = map[*node]map[netip.Addr][4]byte{}, map[[4]byte]bool{}
	}
	to := map[netip.Addr][4]byte{}
	w.returned[n] = to
	n.seen = func(_ netip.AddrPort, b []byte) {
		if ip, tr, ok := bubbleOf(b); ok && ip.Destination() == n.addr() {
			switch {
			case b[0] == 0: // with an origin indication: through the server
				to[ip.Source()] = tr.Nonce
			case tr.Announce.Echo != [4]byte{}:
				to[ip.Source()] = tr.Announce.Echo
			}
		}
	}
	n.sent = func(s engine.Transmit) {
		ip, tr, ok := bubbleOf(s.Payload)
		_, teredo := wire.AddressFromAddr(ip.Source())
		switch {
		case !ok || !teredo:
		case s.To.Port() == wire.Port:
			w.through++
			w.sides += min(tr.Alternates, 1)
			if !tr.HasNonce || w.drawn[tr.Nonce] || tr.Alternates > 2 || slices.Contains(tr.Alternate[:tr.Alternates], n.state().Mapped) {
				w.t.Errorf("indirect bubble with %+v", tr)
			}
			w.drawn[tr.Nonce] = true
		default:
			w.direct++
			if want := to[ip.Destination()]; tr.HasNonce != (want != [4]byte{}) || tr.Nonce != want {
				w.t.Errorf("direct bubble returns nonce %x, want %x", tr.Nonce, want)
			}
			if tr.Alternates != 0 {
				w.t.Errorf("direct bubble with alternate addresses %v", tr.Alternate)
			}
			if own := s.Port != 0 && n.state().NAT == wire.NATPreserving; (tr.RandomPort != 0) != own || own && tr.RandomPort != s.Port {
				w.t.Errorf("direct bubble from port %d names %d", s.Port, tr.RandomPort)
			}
			w.ports += min(int(tr.RandomPort), 1)
		}
	}
}

func bubbleOf(b []byte) (wire.Packet, wire.Trailers, bool) {
	var d wire.Datagram
	var tr wire.Trailers
	if wire.Parse(b, &d) != nil || !d.IPv6.IsBubble() || wire.ParseTrailers(d.Trailers, &tr) != nil {
		return make(wire.Packet, wire.HeaderSize), tr, false
	}
	return d.IPv6, tr, true
}

// RFC 6081, 4.3, 5.2.4.1, 5.2.4.2, 5.4.4.3 and 5.6.4.1: between every pair of
// NATs, and behind one, each bubble has the trailers that it must have, and no
// others.
func TestTrailersSent(t *testing.T) {
	var w trailerRules
	for i, a := range kinds {
		for j, b := range kinds {
			t.Run(a.name+" to "+b.name, func(t *testing.T) {
				w.t = t
				l := newLab(t, uint64(1+9*i+j), link.Config{Delay: 20 * time.Millisecond})
				na, nb := l.kindNode(a.profile), l.kindNode(b.profile)
				w.watch(na)
				w.watch(nb)
				l.qualify(na, nb)
				l.run(time.Second)
				l.call(3*time.Second, na, nb)
			})
		}
	}
	if w.direct < 1000 || w.through < 300 || w.ports < 20 {
		t.Errorf("%d direct and %d indirect bubbles, %d with a port: the test is blind", w.direct, w.through, w.ports)
	}
	if w.sides != 0 {
		t.Errorf("%d indirect bubbles to peers behind another NAT tell private addresses", w.sides)
	}
	t.Run("neighbours", func(t *testing.T) {
		w.t = t
		lan := netip.MustParsePrefix("192.168.0.0/16")
		denied := slices.DeleteFunc(engine.DeniedRanges(), func(p netip.Prefix) bool { return p == lan })
		l := newLabDenying(t, 1, link.Config{Delay: 20 * time.Millisecond}, denied)
		cfg, _ := nat.Profile("home-strict")
		na := l.behind(cfg, inside)
		nb := &node{l: l, name: "neighbour", router: na.router}
		nb.host = l.must(na.router.Host(nb.name, link.Config{}, addr("192.168.1.3")))
		l.nodes++ // dice of its own
		l.attach(nb, inside)
		w.watch(na)
		w.watch(nb)
		w.through = 0
		l.qualify(na, nb)
		l.call(3*time.Second, na, nb)
		if w.sides == 0 || w.sides != w.through {
			t.Errorf("%d of %d indirect bubbles to a neighbour name our local address", w.sides, w.through)
		}
	})
}

// While the echo test runs, nobody is invited: the bubble would name no port,
// and a port-preserving peer would spend its own on the wrong destination.
func TestEchoTestComesFirst(t *testing.T) {
	peer := peerAt(peerPort)
	r, _, _ := sequential(t, peer)
	hides := indirect(addr("fe80::1"), r.own, peerPort) // it does not know us yet
	invites := wire.AppendTrailers(indirect(peer, r.own, peerPort), &wire.Trailers{HasNonce: true, Nonce: [4]byte{1},
		Announce: wire.Announcement{Present: true, NAT: wire.NATIndependent}})
	for _, s := range slices.Concat(r.receive(serverPort, hides), r.receive(serverPort, invites), r.pass(900*time.Millisecond)) {
		if s.To == addrPort("192.0.2.77:3544") {
			t.Errorf("invited at %v, in the middle of the test", r.now.Sub(start))
		}
	}
	if sent := r.pass(time.Second); !slices.ContainsFunc(sent, func(s engine.Transmit) bool { return s.To == addrPort("192.0.2.77:3544") }) {
		t.Errorf("not invited after the test: %v", sent)
	}
}

// Behind a port-preserving NAT the extra port waits for a sequential peer to tell
// its own: its first destination is the only one that gets the number.
func TestPreservedPortWaits(t *testing.T) {
	peer := peerAt(peerPort)
	for _, told := range []uint16{0, 41001} {
		r := newRig(t, withSecondary)
		r.c.SetLocal(netip.AddrPortFrom(addr("192.168.1.2"), mapping.Port()))
		test := r.receive(serverPort, r.advertise(r.begin()[0], mapping))
		r.receive(secondaryPort, r.advertise(test[0], netip.AddrPortFrom(mapping.Addr(), 33333)))
		r.own = r.c.Snapshot().Address.Addr()
		if nat := r.c.Snapshot().NAT; nat != wire.NATPreserving {
			t.Fatalf("%v NAT", nat)
		}
		r.send(udp(r.own, peer, 100))
		port := r.out.Open[0]
		invitation := wire.AppendTrailers(indirect(peer, r.own, peerPort), &wire.Trailers{HasNonce: true, Nonce: [4]byte{1}, RandomPort: told,
			Announce: wire.Announcement{Present: true, NAT: wire.NATSequential, Aim: port}})
		used := slices.ContainsFunc(r.receive(serverPort, invitation), func(s engine.Transmit) bool { return s.Port == port })
		if used != (told != 0) {
			t.Errorf("told port %d, extra port used %v", told, used)
		}
	}
}

// RFC 6081, 5.3.4.1 to 5.3.4.3: between two symmetric NATs, with a port forward
// at ours, packets go to the mapping in the peer's address, or to the forward
// that it told of, though it is heard from elsewhere; what comes from there is
// its own. Where a nonce went straight, its return tells the place.
func TestForwardedPeer(t *testing.T) {
	peer := peerAt(peerPort)
	told := netip.AddrPortFrom(peerPort.Addr(), 52000)
	for _, test := range []struct {
		name     string
		forward  string         // ours
		trailers wire.Trailers  // of its indirect bubble
		through  netip.AddrPort // whose nonce it returns: invalid that of the indirect bubble
		want     netip.AddrPort // where data goes
	}{
		{"by the RFC", "198.51.100.7:60000", wire.Trailers{}, netip.AddrPort{}, peerPort},
		{"a forward of its own", "198.51.100.7:60000", wire.Trailers{RandomPort: 52000, Announce: wire.Announcement{Present: true, NAT: wire.NATRandom, Mapped: true}}, netip.AddrPort{}, told},
		{"no forward at its end", "198.51.100.7:60000", wire.Trailers{Announce: wire.Announcement{Present: true, NAT: wire.NATRandom}}, netip.AddrPort{}, elsewhere},
		{"a nonce that went straight", "198.51.100.7:60000", wire.Trailers{RandomPort: 52000, Announce: wire.Announcement{Present: true, NAT: wire.NATRandom, Mapped: true}}, peerPort, peerPort},
		{"no forward at ours", "192.168.1.1:60000", wire.Trailers{}, netip.AddrPort{}, elsewhere},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := qualifiedRig(t)
			r.become(mapping.Port() + 1000)
			r.c.SetMapped(r.now, addrPort(test.forward), &r.out)
			sent := r.send(udp(r.own, peer, 100))
			in := test.trailers
			in.HasNonce, in.Nonce = true, [4]byte{1, 2, 3, 4}
			sent = append(sent, r.receive(serverPort, wire.AppendTrailers(indirect(peer, r.own, peerPort), &in))...)
			if bytesTo(sent, peerPort) == 0 {
				t.Errorf("no direct bubble to the embedded mapping among %v", sent)
			}
			var proof []byte
			for _, s := range sent {
				if ip, tr, ok := bubbleOf(s.Payload); ok && s.To == test.through {
					proof = answer(peer, r.own, tr.Announce.Echo)
				} else if ok && !test.through.IsValid() && s.To.Port() == wire.Port && ip.Source() == r.own {
					proof = answer(peer, r.own, tr.Nonce)
				}
			}
			r.receive(elsewhere, proof)
			r.receive(elsewhere, udp(peer, r.own, 1000)) // enough for a packet back
			if r.delivered() != 1 {
				t.Fatalf("what it sends from elsewhere is dropped: %v", r.c.Snapshot().Drops)
			}
			sent = r.send(udp(r.own, peer, 777))
			if i := slices.IndexFunc(sent, func(s engine.Transmit) bool { return len(s.Payload) == 777 }); i < 0 || sent[i].To != test.want {
				t.Errorf("data sent as %v, want to %v", sent, test.want)
			}
		})
	}
}
