package engine_test

import (
	"net/netip"
	"testing"
	"time"

	"shipworm/teredo/engine"
)

// T-36: extra ports are bounded, in all and for strangers, and each that was not
// to be had is counted. The peers that it was for are tried without.
func TestPortLimit(t *testing.T) {
	const most, forStrangers = 512, 64
	fill := func(n int) *rig {
		r := newRig(t, func(c *engine.ClientConfig) { withSecondary(c); c.Peers = 8192 }) // else peers make room, and ports
		test := r.receive(serverPort, r.advertise(r.begin()[0], mapping))
		// Sequential: each peer takes a port.
		r.receive(secondaryPort, r.advertise(test[0], netip.AddrPortFrom(mapping.Addr(), mapping.Port()+2)))
		r.own = r.c.Snapshot().Address.Addr()
		for i := range n {
			r.send(udp(r.own, peerAt(forged(i)), 100))
		}
		return r
	}
	r := fill(most)
	if n := r.drops(engine.DropPortLimit); len(r.out.Open) != most || n != 0 {
		t.Fatalf("%d ports open, %d refused", len(r.out.Open), n)
	}
	if sent := r.send(udp(r.own, peerAt(peerPort), 100)); len(r.out.Open) != most || r.drops(engine.DropPortLimit) != 1 || bubbles(sent) != 2 {
		t.Errorf("%d ports open, %d refused, sent %v", len(r.out.Open), r.drops(engine.DropPortLimit), sent)
	}
	r.pass(10 * time.Second) // every attempt fails
	if len(r.out.Close) != len(r.out.Open) {
		t.Errorf("%d ports opened, %d closed", len(r.out.Open), len(r.out.Close))
	}

	r = fill(forStrangers - 1)
	for i := range 3 {
		origin := forged(1000 + i)
		r.receive(serverPort, indirect(peerAt(origin), r.own, origin))
	}
	if n := r.drops(engine.DropPortLimit); len(r.out.Open) != forStrangers || n != 2 {
		t.Errorf("%d ports open for strangers, %d refused", len(r.out.Open)-forStrangers+1, n)
	}
}
