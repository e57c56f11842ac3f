package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// solicitations returns how many of the datagrams to a peer ask it straight for
// an answer, and how many bubbles went through its server.
func solicitations(t *testing.T, sent []engine.Transmit, to netip.AddrPort) (straight, through int) {
	t.Helper()
	for _, s := range sent {
		switch _, tr := trailers(t, s.Payload); {
		case s.To == addrPort("192.0.2.77:3544"):
			through++
		case s.To == to && tr.Discovery == wire.DiscoverySolicitation:
			straight++
		default:
			t.Errorf("sent %x to %v", s.Payload, s.To)
		}
	}
	return straight, through
}

// RFC 6081, 5.7.4.1: a peer that was quiet for 30 s is solicited straight, and
// its server left in peace, before it is sent data, which waits meanwhile.
func TestQuietPeer(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	r.now = r.now.Add(45 * time.Second)
	straight, through := solicitations(t, r.send(udp(r.own, peer, 100)), peerPort)
	if straight != 1 || through != 0 {
		t.Fatalf("%d solicitations, %d bubbles through the server", straight, through)
	}
	advert := wire.AppendTrailers(wire.AppendBubble(nil, peer, r.own, 64), &wire.Trailers{Discovery: wire.DiscoveryAdvertisement})
	if sent := r.receive(peerPort, advert); len(sent) != 1 || len(sent[0].Payload) != 100 {
		t.Errorf("after the answer sent %v", sent)
	}
}

// RFC 6081, 5.7.2: without an answer the solicitation is repeated each 2 s, and
// with the third one a bubble goes through the server, as for a stranger.
func TestQuietPeerRepeats(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	r.now = r.now.Add(45 * time.Second)
	var all [][2]int
	sent := r.send(udp(r.own, peer, 100))
	for range 6 {
		straight, through := solicitations(t, sent, peerPort)
		all = append(all, [2]int{straight, through})
		sent = slices.DeleteFunc(r.pass(2*time.Second), func(s engine.Transmit) bool { return s.To == serverPort })
	}
	// From the second try on also the link-local one, for those who know no nonces.
	if want := [][2]int{{1, 0}, {1, 0}, {1, 1}, {1, 2}, {1, 2}, {1, 2}}; !slices.Equal(all, want) {
		t.Errorf("solicitations and bubbles through the server each 2 s: %v, want %v", all, want)
	}
	if len(sent) != 0 || r.c.Snapshot().Queued != 0 {
		t.Errorf("sent %v, %d bytes wait", sent, r.c.Snapshot().Queued)
	}
}

// A peer that does not know RFC 6081, as Miredo does not, would not answer a
// solicitation: its server is used at once.
func TestQuietStranger(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.send(udp(r.own, peer, 100))
	r.receive(peerPort, wire.AppendBubble(nil, peer, r.own, 64))
	r.now = r.now.Add(45 * time.Second)
	if _, through := solicitations(t, r.send(udp(r.own, peer, 100)), peerPort); through != 1 {
		t.Errorf("%d bubbles through the server, want one", through)
	}
}

// A known peer that was away under traffic is reached again within 30 s of its
// return, after whatever absence; Miredo takes up to 300 s. Meanwhile it is
// tried four times and then at growing gaps.
func TestAwayUnderTraffic(t *testing.T) {
	for _, away := range []time.Duration{20 * time.Second, 45 * time.Second, 90 * time.Second, 3 * time.Minute, 8 * time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			var worst time.Duration
			most, seeds := 0, times(100)
			for seed := range uint64(seeds) {
				f := newFlow(t, seed+1)
				f.run(time.Duration(seed) * 100 * time.Millisecond)
				tries := 0
				f.a.sent = func(s engine.Transmit) {
					if ip, tr, ok := bubbleOf(s.Payload); ok && s.To == serverPort && tr.HasNonce && ip.Destination() == f.b.addr() {
						tries++
					}
				}
				f.cut(1)
				f.run(away)
				f.cut(0)
				f.b.linkChanged() // what its driver tells; else only the next try for its server would
				worst, most = max(worst, f.silence(time.Minute)), max(most, tries)
			}
			if worst > 30*time.Second {
				t.Errorf("silent for %v after the return", worst)
			}
			if limit := 4 + 4 + int(away/(30*time.Second)); most > limit {
				t.Errorf("%d bubbles through the server, want at most %d", most, limit)
			}
			t.Logf("silent for %v at most after the return; %d bubbles through the server meanwhile", worst, most)
		})
	}
}

// T-16: whoever did not prove that it is there gets four tries in 300 s however
// much is sent to it; a peer that did gets more for ten minutes, then four as
// well.
func TestAwayLimits(t *testing.T) {
	tries := func(r *rig, peer netip.Addr, d time.Duration) (n int) {
		for range d / time.Second {
			for _, s := range append(r.send(udp(r.own, peer, 100)), r.pass(time.Second)...) {
				switch _, tr, ok := bubbleOf(s.Payload); {
				case ok && s.To == addrPort("192.0.2.77:3544") && tr.HasNonce:
					n++
				case len(s.Payload) == 61 && s.To == serverPort:
					r.receive(serverPort, r.advertise(s, mapping))
				}
			}
		}
		return n
	}
	peer := peerAt(peerPort)
	r := qualifiedRig(t)
	r.send(udp(r.own, peer, 100))
	r.receive(peerPort, wire.AppendBubble(nil, peer, r.own, 64))
	r.now = r.now.Add(31 * time.Second)
	if n := tries(r, peer, 299*time.Second); n != 4 {
		t.Errorf("a stranger was tried %d times in 299 s, want 4", n)
	}
	r = qualifiedRig(t)
	r.connect(peer, peerPort)
	if n := tries(r, peer, 630*time.Second); n < 15 || n > 30 {
		t.Errorf("a known peer was tried %d times in ten minutes", n)
	}
	if n := tries(r, peer, 299*time.Second); n > 4 {
		t.Errorf("a peer that was away for long was tried %d times in 299 s", n)
	}
}
