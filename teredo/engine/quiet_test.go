package engine_test

import (
	"testing"
	"time"

	"shipworm/teredo/wire"
)

// Server load reduction (RFC 6081, 3.6 and 5.7): a peer that was up, and quiet
// for less than two minutes, is asked straight; the server comes in only if it
// does not answer. Data waits meanwhile.
func TestQuietPeer(t *testing.T) {
	for _, answers := range []bool{true, false} {
		r := qualifiedRig(t)
		peer := peerAt(peerPort)
		r.connect(peer, peerPort)
		r.now = r.now.Add(45 * time.Second)
		sent := r.send(udp(r.own, peer, 100))
		if len(sent) != 1 || sent[0].To != peerPort {
			t.Fatalf("sent %v", sent)
		}
		if _, tr := trailers(t, sent[0].Payload); tr.Discovery != wire.DiscoverySolicitation {
			t.Errorf("trailers %+v, want a solicitation", tr)
		}
		if answers {
			advert := wire.AppendTrailers(wire.AppendBubble(nil, peer, r.own, 64), &wire.Trailers{Discovery: wire.DiscoveryAdvertisement})
			if sent := r.receive(peerPort, advert); len(sent) != 1 || len(sent[0].Payload) != 100 {
				t.Errorf("after the answer sent %v", sent)
			}
			continue
		}
		r.now = r.now.Add(2 * time.Second)
		r.c.Tick(r.now, &r.out)
		through := 0
		for _, s := range r.take() {
			if s.To == addrPort("192.0.2.77:3544") {
				through++
			}
		}
		if through == 0 {
			t.Error("without an answer the server was not used")
		}
	}
}
