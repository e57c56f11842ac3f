package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

var (
	neighbourPort = netip.AddrPortFrom(mapping.Addr(), 40077) // behind the same NAT
	neighbour     = wire.AddressFrom(primary, 0x0155, neighbourPort).Addr()
	elsewhere     = addrPort("192.0.2.10:50123") // the peer's address, another port
)

// become has a rig's client learn that its NAT is symmetric: the secondary sees
// another port.
func (r *rig) become(port uint16) {
	r.t.Helper()
	rig := newRig(r.t, withSecondary)
	rs := rig.begin()
	rig.now = r.now
	test := rig.receive(serverPort, rig.advertise(rs[0], mapping))
	rig.receive(secondaryPort, rig.advertise(test[0], netip.AddrPortFrom(mapping.Addr(), port)))
	r.c, r.own = rig.c, rig.c.Snapshot().Address.Addr()
	r.out.Reset()
}

// trailers returns those of a bubble.
func trailers(t testing.TB, b []byte) (wire.Packet, wire.Trailers) {
	t.Helper()
	var d wire.Datagram
	var tr wire.Trailers
	if err := wire.Parse(b, &d); err != nil || !d.IPv6.IsBubble() {
		t.Fatalf("%x is no bubble: %v", b, err)
	}
	if err := wire.ParseTrailers(d.Trailers, &tr); err != nil || tr.Malformed {
		t.Fatalf("trailers %x: %v", d.Trailers, err)
	}
	return d.IPv6, tr
}

// tried returns a rig that tries peer, and the nonce of its indirect bubble.
func tried(t testing.TB) (r *rig, peer netip.Addr, nonce [4]byte) {
	t.Helper()
	r, peer = qualifiedRig(t), peerAt(peerPort)
	sent := r.send(udp(r.own, peer, 100))
	if len(sent) != 2 || sent[1].To.Port() != wire.Port {
		t.Fatalf("sent %v", sent)
	}
	if _, direct := trailers(t, sent[0].Payload); direct.HasNonce {
		t.Error("a nonce on a direct bubble before any was received (RFC 6081, 5.2.4.2)")
	}
	_, tr := trailers(t, sent[1].Payload)
	if !tr.HasNonce {
		t.Fatal("an indirect bubble without a nonce")
	}
	return r, peer, tr.Nonce
}

func answer(peer, own netip.Addr, nonce [4]byte) []byte {
	return wire.AppendTrailers(wire.AppendBubble(nil, peer, own, 64), &wire.Trailers{HasNonce: true, Nonce: nonce})
}

// T-18: a direct bubble from elsewhere counts if it returns the nonce, once, and
// within 10 s; the peer's packets then go and come there.
func TestNonce(t *testing.T) {
	t.Run("returned", func(t *testing.T) {
		r, peer, nonce := tried(t)
		sent := r.receive(elsewhere, answer(peer, r.own, nonce))
		if p, _ := r.c.Peer(r.now, peer); !p.Up || p.Endpoint != elsewhere || len(sent) != 1 || sent[0].To != elsewhere {
			t.Fatalf("peer %+v, sent %v", p, sent)
		}
		r.receive(elsewhere, udp(peer, r.own, 100))
		if r.delivered() != 1 {
			t.Error("data from there dropped")
		}
		third := addrPort("192.0.2.10:50124")
		r.expectDrop(t, engine.DropNonce, func() []engine.Transmit { return r.receive(third, answer(peer, r.own, nonce)) })
		if p, _ := r.c.Peer(r.now, peer); p.Endpoint != elsewhere {
			t.Errorf("a nonce used up moved the peer to %v", p.Endpoint)
		}
	})
	t.Run("missing", func(t *testing.T) {
		r, peer, _ := tried(t)
		r.expectDrop(t, engine.DropNonce, func() []engine.Transmit { return r.receive(elsewhere, wire.AppendBubble(nil, peer, r.own, 64)) })
	})
	t.Run("of another peer", func(t *testing.T) {
		r, _, nonce := tried(t)
		other := peerAt(otherPort)
		r.send(udp(r.own, other, 100))
		r.expectDrop(t, engine.DropNonce, func() []engine.Transmit { return r.receive(elsewhere, answer(other, r.own, nonce)) })
	})
	t.Run("late", func(t *testing.T) {
		r, peer, nonce := tried(t)
		r.now = r.now.Add(10*time.Second + time.Millisecond)
		r.expectDrop(t, engine.DropNonce, func() []engine.Transmit { return r.receive(elsewhere, answer(peer, r.own, nonce)) })
	})
	t.Run("after three guesses", func(t *testing.T) {
		r, peer, nonce := tried(t)
		for i := range byte(3) {
			r.receive(elsewhere, answer(peer, r.own, [4]byte{nonce[0] + 1 + i, 1, 2, 3}))
		}
		r.expectDrop(t, engine.DropNonce, func() []engine.Transmit { return r.receive(elsewhere, answer(peer, r.own, nonce)) })
	})
}

// T-18: whoever floods guesses moves nobody.
func TestNonceGuesses(t *testing.T) {
	r, peer, _ := tried(t)
	guesses := seeded(3)
	for range 100_000 {
		v := guesses.Uint64()
		r.receive(elsewhere, answer(peer, r.own, [4]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}))
	}
	if p, _ := r.c.Peer(r.now, peer); p.Up || p.Endpoint != peerPort {
		t.Errorf("peer %+v", p)
	}
}

// T-19: the second try adds a bubble whose link-local source only we can make.
// The answer to it proves the peer wherever it comes from, for 30 s at most.
func TestLinkLocalAnswer(t *testing.T) {
	for _, test := range []struct {
		name string
		age  time.Duration
		up   bool
	}{{"at once", time.Second, true}, {"after 31 s", 31 * time.Second, false}} {
		t.Run(test.name, func(t *testing.T) {
			r, peer, _ := tried(t)
			sent := r.pass(2 * time.Second)
			i := slices.IndexFunc(sent, func(s engine.Transmit) bool {
				var d wire.Datagram
				return wire.Parse(s.Payload, &d) == nil && d.IPv6.Source().IsLinkLocalUnicast()
			})
			if i < 0 {
				t.Fatalf("sent %v", sent)
			}
			bubble, tr := trailers(t, sent[i].Payload)
			if tr != (wire.Trailers{}) {
				t.Errorf("trailers %+v for somebody who knows none", tr)
			}
			r.now = r.now.Add(test.age)
			r.receive(elsewhere, wire.AppendBubble(nil, peer, bubble.Source(), 0))
			if p, _ := r.c.Peer(r.now, peer); p.Up != test.up || p.Up != (p.Endpoint == elsewhere) {
				t.Errorf("peer %+v, %v", p, r.c.Snapshot().Drops)
			}
		})
	}
}
