package engine_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
	"shipworm/testnet/link"
)

// bytesTo returns how many bytes of the datagrams go to an address.
func bytesTo(sent []engine.Transmit, to netip.AddrPort) (n int) {
	for _, s := range sent {
		if s.To == to {
			n += len(s.Payload)
		}
	}
	return n
}

// ours returns the address of a client of our own server.
func ours(ap netip.AddrPort) netip.Addr { return wire.AddressFrom(primary, 0x0123, ap).Addr() }

// A forger who names a victim as the source of his packets cannot have the host
// send it more than three times what they cost him, though the host answers
// each with a large packet, and though he owns the server of the address that
// he made up and so knows every nonce that goes through it. T-30
func TestSpoofedPeer(t *testing.T) {
	r := qualifiedRig(t)
	victim := peerAt(peerPort) // of a server that is not ours
	in, out := 0, 0
	receive := func(b []byte) {
		in += len(b)
		sent := r.receive(peerPort, b)
		for _, s := range sent {
			if s.To == addrPort("192.0.2.77:3544") {
				_, tr := trailers(t, s.Payload)
				b := answer(victim, r.own, tr.Nonce)
				in += len(b)
				sent = append(sent, r.receive(peerPort, b)...)
			}
		}
		out += bytesTo(sent, peerPort)
	}
	receive(wire.AppendBubble(nil, victim, r.own, 64))
	for range 1000 {
		receive(udp(victim, r.own, 60))
		out += bytesTo(r.send(udp(r.own, victim, 1200)), peerPort)
		out += bytesTo(r.pass(20*time.Millisecond), peerPort)
	}
	if out > 3*in {
		t.Errorf("%d bytes drew %d: %.1f times as many", in, out, float64(out)/float64(in))
	}
	if r.delivered() != 1000 || r.drops(engine.DropQueueFull) == 0 {
		t.Errorf("dropped %v", r.c.Snapshot().Drops)
	}
}

// Data for a peer that sent a single packet is three times that at most; after
// that it is asked now and then, within the limits of bubbles. T-30
func TestSpoofedOnce(t *testing.T) {
	r := qualifiedRig(t)
	victim := peerAt(peerPort)
	r.receive(peerPort, udp(victim, r.own, 60))
	data, asked := 0, 0
	for range 400 {
		for _, s := range append(r.send(udp(r.own, victim, 61)), r.pass(100*time.Millisecond)...) {
			switch {
			case s.To != peerPort:
			case len(s.Payload) == 61:
				data += len(s.Payload)
			default:
				asked++
			}
		}
	}
	if data > 180 || asked < 4 || asked > 16 {
		t.Errorf("%d bytes of data and %d questions in 40 s", data, asked)
	}

	r = qualifiedRig(t)
	r.receive(peerPort, udp(victim, r.own, 60))
	r.pass(24900 * time.Millisecond) // just before it would be tried
	r.send(udp(r.own, victim, 1000))
	r.pass(15 * time.Second)
	if n := r.c.Snapshot().Queued; n != 0 {
		t.Errorf("%d bytes wait for a peer that is gone", n)
	}
}

// What proves a peer, and what does not. T-30
func TestProofs(t *testing.T) {
	type proof struct {
		name   string
		peer   netip.Addr
		given  bool
		answer func(t *testing.T, r *rig, peer netip.Addr, sent []engine.Transmit) []byte // to what was sent
	}
	through := func(t *testing.T, r *rig, peer netip.Addr, sent []engine.Transmit) []byte {
		a, _ := wire.AddressFromAddr(peer)
		for _, s := range sent {
			if s.To == netip.AddrPortFrom(a.Server(), wire.Port) {
				_, tr := trailers(t, s.Payload)
				return answer(peer, r.own, tr.Nonce)
			}
		}
		t.Fatalf("sent %v", sent)
		return nil
	}
	straight := func(t *testing.T, r *rig, peer netip.Addr, sent []engine.Transmit) []byte {
		return proofOf(t, peer, r.own, sent, peerPort)
	}
	for _, test := range []proof{
		{"a nonce that went straight", peerAt(peerPort), true, straight},
		{"a nonce through our server", ours(peerPort), true, through},
		{"a nonce through the peer's server", peerAt(peerPort), false, through},
		{"no nonce", ours(peerPort), false, func(_ *testing.T, r *rig, peer netip.Addr, _ []engine.Transmit) []byte {
			return wire.AppendBubble(nil, peer, r.own, 64)
		}},
		{"another nonce", ours(peerPort), false, func(_ *testing.T, r *rig, peer netip.Addr, _ []engine.Transmit) []byte {
			return answer(peer, r.own, [4]byte{1, 2, 3, 4})
		}},
		{"an old nonce", peerAt(peerPort), false, func(t *testing.T, r *rig, peer netip.Addr, sent []engine.Transmit) []byte {
			b := straight(t, r, peer, sent)
			r.now = r.now.Add(10*time.Second + time.Millisecond)
			return b
		}},
		{"a nonce after 16 guesses", peerAt(peerPort), false, func(t *testing.T, r *rig, peer netip.Addr, sent []engine.Transmit) []byte {
			for i := range byte(16) {
				r.receive(peerPort, answer(peer, r.own, [4]byte{9, 9, 9, i}))
			}
			return straight(t, r, peer, sent)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := qualifiedRig(t)
			sent := r.send(udp(r.own, test.peer, 50))
			r.receive(peerPort, test.answer(t, r, test.peer, sent))
			n := 0
			for range 3 {
				n += bytesTo(r.send(udp(r.own, test.peer, 1280)), peerPort)
			}
			if (n >= 3*1280) != test.given {
				t.Errorf("sent %d bytes, proven %v", n, test.given)
			}
		})
	}
}

// A peer that knows no nonces is sent an echo request, and its answer, which
// the host does not see, is proof. T-30
func TestProofByEcho(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.receive(peerPort, udp(peer, r.own, 60))
	r.delivered()
	sent := r.send(udp(r.own, peer, 1280))
	for range 20 {
		sent = append(sent, r.pass(100*time.Millisecond)...)
	}
	var ping []byte
	for _, s := range sent {
		if wire.Packet(s.Payload).NextHeader() == wire.ProtoICMPv6 && s.To == peerPort {
			ping = s.Payload
		}
	}
	if ping == nil {
		t.Fatalf("no echo request among %v", sent)
	}
	if sent := r.receive(peerPort, reply(t, ping)); bytesTo(sent, peerPort) != 1280 || r.delivered() != 0 {
		t.Errorf("after the answer sent %v", sent)
	}
}

// The proof of an address is none of another one. T-30
func TestProofOfAddress(t *testing.T) {
	r, peer, victim := qualifiedRig(t), peerAt(peerPort), addrPort("198.18.0.9:50123")
	r.connect(peer, peerPort)
	r.now = r.now.Add(5 * time.Minute) // it lapses, and is tried again
	r.send(udp(r.own, peer, 100))
	for _, s := range r.pass(5 * time.Second) {
		if s.To == addrPort("192.0.2.77:3544") {
			if _, tr := trailers(t, s.Payload); tr.HasNonce {
				r.receive(victim, answer(peer, r.own, tr.Nonce))
			}
		}
	}
	if p, _ := r.c.Peer(r.now, peer); p.Endpoint != victim {
		t.Fatalf("peer %+v, %v", p, r.c.Snapshot().Drops)
	}
	if n := bytesTo(r.send(udp(r.own, peer, 1280)), victim); n >= 1280 {
		t.Errorf("%d bytes for whoever is there", n)
	}
}

// Honest clients notice nothing of it: of a hundred packets of full size, sent
// at once when the first one arrived, none is lost, and none waits. T-30
func TestProofCostsNothing(t *testing.T) {
	for i, a := range kinds[:4] {
		for j, b := range kinds[:4] {
			l := newLab(t, uint64(1+9*i+j), link.Config{Delay: 20 * time.Millisecond})
			na, nb := l.kindNode(a.profile), l.kindNode(b.profile)
			l.qualify(na, nb)
			l.run(time.Second)
			na.send(nb.addr(), 80)
			if !l.until(time.Second, func() bool { return len(nb.got) == 1 }) {
				t.Fatalf("%s to %s: not connected", a.name, b.name)
			}
			for range 100 {
				na.send(nb.addr(), 1280)
				nb.send(na.addr(), 1280)
			}
			l.run(50 * time.Millisecond)
			if len(nb.got) != 101 || len(na.got) != 100 {
				t.Errorf("%s to %s: %d and %d packets of 100 arrived", a.name, b.name, len(nb.got)-1, len(na.got))
			}
		}
	}
}

// Nobody is asked at a service's port, where a stranger says that it lives, or at
// an address that none may be sent to. T-02, T-30
func TestProofAtServicePort(t *testing.T) {
	r := qualifiedRig(t)
	dns := addrPort("192.0.2.10:53")
	r.receive(dns, udp(peerAt(dns), r.own, 60))
	asked := 0
	for range 100 {
		for _, s := range append(r.send(udp(r.own, peerAt(dns), 61)), r.pass(100*time.Millisecond)...) {
			if s.To == dns && len(s.Payload) != 61 {
				asked++
			}
		}
	}
	if asked != 0 || r.drops(engine.DropDeniedPort) == 0 {
		t.Errorf("asked %d times, %v", asked, r.c.Snapshot().Drops)
	}
}
