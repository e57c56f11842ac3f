package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// The rules of RFC 6081 one by one, each client alone with a test that plays
// everybody else. That all of them together connect clients is TestReachMatrix.

// behind returns a rig whose NAT showed the primary mapping, and the secondary
// another port, or whatever seen is.
func behind(t *testing.T, local uint16, seen netip.AddrPort) *rig {
	t.Helper()
	r := newRig(t, withSecondary)
	r.c.SetLocal(netip.AddrPortFrom(addr("192.168.1.2"), local))
	test := r.receive(serverPort, r.advertise(r.begin()[0], mapping))
	if nat := r.c.Snapshot().NAT; nat != wire.NATUnknown {
		t.Errorf("%v NAT before the secondary answered", nat)
	}
	r.receive(secondaryPort, r.advertise(test[0], seen))
	r.own = r.c.Snapshot().Address.Addr()
	return r
}

// preserving returns a rig behind a port-preserving NAT that tries peer, what it
// sent, and its extra port.
func preserving(t *testing.T, peer netip.Addr) (*rig, []engine.Transmit, uint16) {
	t.Helper()
	r := behind(t, mapping.Port(), netip.AddrPortFrom(mapping.Addr(), 33333))
	sent := r.send(udp(r.own, peer, 100))
	if len(r.out.Open) != 1 {
		t.Fatalf("opened %v", r.out.Open)
	}
	return r, sent, r.out.Open[0]
}

// invitation is the indirect bubble of a port-preserving peer at a random port.
func invitation(r *rig, peer netip.Addr, port uint16) []byte {
	return wire.AppendTrailers(indirect(peer, r.own, peerPort), &wire.Trailers{HasNonce: true, Nonce: [4]byte{7, 7, 7, byte(port)}, RandomPort: port,
		Announce: wire.Announcement{Present: true, NAT: wire.NATPreserving}})
}

// through returns the trailers of the indirect bubbles to the peer's server.
func through(sent []engine.Transmit) (all []wire.Trailers) {
	for _, s := range sent {
		if _, tr, ok := bubbleOf(s.Payload); ok && s.To == peerServer && tr.HasNonce {
			all = append(all, tr)
		}
	}
	return all
}

// from returns those of the datagrams that left a port to an address.
func from(sent []engine.Transmit, port uint16, to netip.AddrPort) (all []engine.Transmit) {
	for _, s := range sent {
		if s.Port == port && s.To == to {
			all = append(all, s)
		}
	}
	return all
}

// RFC 6081, 5.3.3 and 5.4.3: the kind of NAT follows from the mappings that the
// two servers see, and from the local port.
func TestNATKind(t *testing.T) {
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(mapping.Addr(), port) }
	for _, test := range []struct {
		name  string
		local uint16
		seen  netip.AddrPort
		want  wire.NAT
	}{
		{"the same", 5000, mapping, wire.NATIndependent},
		{"the same, and the local port", mapping.Port(), mapping, wire.NATIndependent},
		{"the local port, then another", mapping.Port(), at(33333), wire.NATPreserving},
		{"the next port", 5000, at(mapping.Port() + 1), wire.NATSequential},
		{"16 further on", 5000, at(mapping.Port() + 16), wire.NATSequential},
		{"17 further on", 5000, at(mapping.Port() + 17), wire.NATRandom},
		{"the port before", 5000, at(mapping.Port() - 1), wire.NATRandom},
		{"another address", mapping.Port(), addrPort("198.51.100.8:33333"), wire.NATRandom},
	} {
		t.Run(test.name, func(t *testing.T) {
			if nat := behind(t, test.local, test.seen).c.Snapshot().NAT; nat != test.want {
				t.Errorf("%v NAT, want %v", nat, test.want)
			}
		})
	}
}

// RFC 6081, 5.3.3: a forward that comes while a peer is tried is told to it. One
// that is the mapping itself is told as a port, not as an alternate address.
func TestForwardTold(t *testing.T) {
	r, _, _ := tried(t)
	r.c.SetMapped(r.now, netip.AddrPortFrom(mapping.Addr(), 52000), &r.out)
	if told := through(r.take()); len(told) != 1 || told[0].RandomPort != 52000 || !told[0].Announce.Mapped {
		t.Errorf("told %+v", told)
	}
	r.c.SetMapped(r.now, netip.AddrPortFrom(mapping.Addr(), 52000), &r.out)
	if sent := r.take(); len(sent) != 0 {
		t.Errorf("the same forward again: %v", sent)
	}
	r = qualifiedRig(t)
	r.c.SetLocal(addrPort("192.168.1.2:5000"))
	r.c.SetMapped(r.now, mapping, &r.out)
	for _, s := range r.send(udp(r.own, neighbour, 100)) {
		if _, tr, ok := bubbleOf(s.Payload); ok && s.To == serverPort {
			if tr.RandomPort != mapping.Port() || !tr.Announce.Mapped || tr.Alternates != 1 || tr.Alternate[0] != addrPort("192.168.1.2:5000") {
				t.Errorf("told %+v", tr)
			}
		}
	}
}

// RFC 6081, 5.4.4.2 to 5.4.4.4: a random port is open before the indirect bubble
// that names it. Once the peer has named its own, a direct bubble goes from there
// to that, and another from the service port to the embedded mapping.
func TestRandomPort(t *testing.T) {
	peer := peerAt(peerPort)
	r, sent, port := preserving(t, peer)
	if port < 49152 || len(from(sent, 0, peerPort)) != 1 {
		t.Errorf("port %d, sent %v", port, sent)
	}
	if told := through(sent); len(told) != 1 || told[0].RandomPort != port {
		t.Errorf("told %+v, want port %d", told, port)
	}
	if slices.ContainsFunc(sent, func(s engine.Transmit) bool { return s.Port != 0 }) {
		t.Error("the random port was used before its destination was known")
	}
	sent = r.receive(serverPort, invitation(r, peer, 51000))
	direct := from(sent, port, addrPort("192.0.2.10:51000"))
	if len(direct) != 1 || len(from(sent, 0, peerPort)) != 1 {
		t.Fatalf("sent %v", sent)
	}
	if _, tr := trailers(t, direct[0].Payload); tr.RandomPort != port {
		t.Errorf("the bubble names port %d, want its own, %d", tr.RandomPort, port)
	}
}

// RFC 6081, 5.4.4.4: of a peer that is tried the last random port counts, and
// ours is another one then; of a peer in use it changes nothing.
func TestRandomPortReplaced(t *testing.T) {
	peer := peerAt(peerPort)
	r, _, port := preserving(t, peer)
	r.receive(serverPort, invitation(r, peer, 51000))
	r.out.Open = nil
	sent := r.receive(serverPort, invitation(r, peer, 51001))
	if len(r.out.Open) != 1 || !slices.Contains(r.out.Close, port) || len(from(sent, r.out.Open[0], addrPort("192.0.2.10:51001"))) != 1 {
		t.Errorf("opened %v, closed %v, sent %v", r.out.Open, r.out.Close, sent)
	}

	r, port = heardOnRandom(t, peer)
	r.out.Open, r.out.Close = nil, nil
	r.now = r.now.Add(time.Second)
	r.receive(serverPort, invitation(r, peer, 51001))
	p, _ := r.c.Peer(r.now, peer)
	if len(r.out.Open)+len(r.out.Close) != 0 || p.Endpoint != addrPort("192.0.2.10:51000") {
		t.Errorf("opened %v, closed %v, peer at %v", r.out.Open, r.out.Close, p.Endpoint)
	}
	if sent := r.send(udp(r.own, peer, 100)); len(from(sent, port, p.Endpoint)) == 0 {
		t.Errorf("data left as %v", sent)
	}
}

// heardOnRandom returns a rig whose peer was heard on the extra port, and that.
func heardOnRandom(t *testing.T, peer netip.Addr) (*rig, uint16) {
	t.Helper()
	r, _, port := preserving(t, peer)
	sent := r.receive(serverPort, invitation(r, peer, 51000))
	_, tr := trailers(t, from(sent, port, addrPort("192.0.2.10:51000"))[0].Payload)
	sent = r.receiveOn(port, addrPort("192.0.2.10:51000"), answer(peer, r.own, tr.Announce.Echo))
	if len(from(sent, port, addrPort("192.0.2.10:51000"))) == 0 {
		t.Fatalf("the packet that waited left as %v, %v", sent, r.c.Snapshot().Drops)
	}
	return r, port
}

// RFC 6081, 5.4.4.5: a peer heard on the random port is up there, where it was
// heard; the same mapping goes on counting, and another one does not as long as
// this one is in use.
func TestHeardOnRandomPort(t *testing.T) {
	peer := peerAt(peerPort)
	r, port := heardOnRandom(t, peer)
	at, other := addrPort("192.0.2.10:51000"), addrPort("192.0.2.10:51007")
	if p, _ := r.c.Peer(r.now, peer); !p.Up || p.Endpoint != at || slices.Contains(r.out.Close, port) {
		t.Fatalf("peer %+v, closed %v", p, r.out.Close)
	}
	r.receiveOn(port, at, udp(peer, r.own, 100))
	if r.delivered() != 1 {
		t.Errorf("data there dropped: %v", r.c.Snapshot().Drops)
	}
	r.receiveOn(port, other, udp(peer, r.own, 100))
	if p, _ := r.c.Peer(r.now, peer); r.delivered() != 0 || p.Endpoint != at {
		t.Errorf("another mapping: peer %+v", p)
	}
	// After 30 s of silence the peer is tried again, and may answer from anywhere.
	r.now = r.now.Add(3 * time.Minute)
	told := through(r.send(udp(r.own, peer, 100)))
	if len(told) != 1 {
		t.Fatalf("told %+v", told)
	}
	r.receiveOn(0, other, answer(peer, r.own, told[0].Nonce))
	if p, _ := r.c.Peer(r.now, peer); !p.Up || p.Endpoint != other {
		t.Errorf("after the silence: peer %+v, %v", p, r.c.Snapshot().Drops)
	}
}

// RFC 6081, 5.4.4.5: a peer heard on the primary port is up there, and the random
// port closed, whether it was in use or not.
func TestHeardOnPrimaryPort(t *testing.T) {
	peer := peerAt(peerPort)
	check := func(t *testing.T, r *rig, port uint16) {
		t.Helper()
		p, _ := r.c.Peer(r.now, peer)
		if !p.Up || p.Endpoint != peerPort || !slices.Contains(r.out.Close, port) {
			t.Errorf("peer %+v, closed %v", p, r.out.Close)
		}
		if sent := r.send(udp(r.own, peer, 100)); len(from(sent, 0, peerPort)) == 0 {
			t.Errorf("data left as %v", sent)
		}
		r.now, r.out.Open = r.now.Add(3*time.Minute), nil
		if told := through(r.send(udp(r.own, peer, 100))); len(r.out.Open) != 1 || len(told) != 1 || told[0].RandomPort != r.out.Open[0] {
			t.Errorf("tried anew with %v open, told %+v", r.out.Open, told)
		}
	}
	r, sent, port := preserving(t, peer)
	_, tr := trailers(t, from(sent, 0, peerPort)[0].Payload)
	r.receive(peerPort, wire.AppendTrailers(wire.AppendBubble(nil, peer, r.own, 64), &wire.Trailers{
		HasNonce: true, Nonce: tr.Announce.Echo, Announce: wire.Announcement{Present: true, Echo: [4]byte{1}}, // data waits for its nonce
	}))
	check(t, r, port)
	r, port = heardOnRandom(t, peer)
	r.receive(peerPort, wire.AppendBubble(nil, peer, r.own, 64))
	check(t, r, port)
}

// RFC 6081, 5.5.4.1 and 5.5.2.2: no indirect bubble goes before the echo test is
// over. What is not answered is asked six times, each 200 ms; then one answer
// must do, with the step that the NAT took before, and without any no port is
// named. Each port has a test of its own.
func TestEchoTestRetries(t *testing.T) {
	for _, test := range []struct {
		name     string
		answered netip.AddrPort
		want     uint16
	}{
		{"none", netip.AddrPort{}, 0},
		{"the lower", serverPort, 41000 + 2},
		{"the upper", secondaryPort, 41000 - 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			peer := peerAt(peerPort)
			r, sent, port := sequential(t, peer)
			asked := map[netip.AddrPort]int{}
			for range 6 {
				for _, s := range sent {
					if s.Port != port || s.To.Port() != wire.Port {
						continue
					}
					if asked[s.To]++; asked[s.To] == 1 && s.To == test.answered {
						r.receiveOn(port, s.To, r.advertise(s, netip.AddrPortFrom(mapping.Addr(), 41000)))
					}
				}
				if n := len(through(sent)); n != 0 {
					t.Fatalf("%d indirect bubbles after %v", n, r.now.Sub(start))
				}
				sent = r.pass(200 * time.Millisecond)
			}
			if told := through(sent); len(told) != 1 || told[0].RandomPort != test.want {
				t.Errorf("told %+v, want port %d", told, test.want)
			}
			for _, s := range []netip.AddrPort{serverPort, secondaryPort} {
				want := 6
				if s == test.answered {
					want = 1
				}
				if asked[s] != want {
					t.Errorf("%v asked %d times, want %d", s, asked[s], want)
				}
			}
		})
	}
}

// RFC 6081, 5.5.4.3: the echo test ends when the peer is heard on the primary
// port, and its values are forgotten with the port (5.5.2.1).
func TestEchoTestCancelled(t *testing.T) {
	peer := peerAt(peerPort)
	r, sent, port := sequential(t, peer)
	late := r.advertise(sent[0], netip.AddrPortFrom(mapping.Addr(), 41000))
	r.receive(peerPort, proofOf(t, peer, r.own, from(sent, 0, peerPort), peerPort))
	if !slices.Contains(r.out.Close, port) {
		t.Errorf("closed %v, want %d", r.out.Close, port)
	}
	r.expectDrop(t, engine.DropRANonce, func() []engine.Transmit { return r.receiveOn(port, serverPort, late) })
	if sent := r.pass(3 * time.Second); len(sent) != 0 {
		t.Errorf("sent %v afterwards", sent)
	}
}
