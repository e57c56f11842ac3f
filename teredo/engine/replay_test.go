package engine_test

import (
	"testing"
	"time"

	"shipworm/teredo/engine"
)

// T-14: an answer counts once, and only while a test waits for it: whoever saw
// one cannot draw the node's packets to a UDP source of his own.
func TestPingReplay(t *testing.T) {
	thief := addrPort("192.0.2.200:3545")
	for _, test := range []struct {
		name string
		// seen returns the answers that the thief saw.
		seen func(r *rig) [][]byte
	}{
		{"first test", func(r *rig) [][]byte {
			b := reply(t, r.send(udp(r.own, native, 100))[0].Payload)
			r.receive(relay, b)
			return [][]byte{b}
		}},
		{"each retransmission", func(r *rig) [][]byte {
			pings := r.send(udp(r.own, native, 100))
			pings = append(pings, r.pass(5*time.Second)...)
			if len(pings) != 3 {
				t.Fatalf("%d tests in 5 s, want 3", len(pings))
			}
			var all [][]byte
			for _, p := range pings {
				all = append(all, reply(t, p.Payload))
			}
			r.receive(relay, all[1])
			return all
		}},
		{"refresh, answered from the known relay", func(r *rig) [][]byte {
			r.receive(relay, reply(t, r.send(udp(r.own, native, 100))[0].Payload))
			r.now = r.now.Add(26 * time.Second)
			sent := r.send(udp(r.own, native, 100))
			b := reply(t, sent[len(sent)-1].Payload)
			r.receive(relay, b)
			return [][]byte{b}
		}},
		{"test that a received packet caused", func(r *rig) [][]byte {
			b := reply(t, r.receive(relay, udp(native, r.own, 100))[0].Payload)
			r.receive(relay, b)
			r.delivered()
			return [][]byte{b}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := qualifiedRig(t)
			seen := test.seen(r)
			if p, _ := r.c.Peer(r.now, native); !p.Up || p.Endpoint != relay {
				t.Fatalf("peer %+v", p)
			}
			r.now = r.now.Add(time.Second)
			for _, b := range seen {
				r.expectDrop(t, engine.DropPingToken, func() []engine.Transmit { return r.receive(thief, b) })
			}
			if p, _ := r.c.Peer(r.now, native); p.Endpoint != relay {
				t.Errorf("moved to %v", p.Endpoint)
			}
			// The relay's own late answers are ours, not the host's.
			for _, b := range seen {
				r.receive(relay, b)
			}
			if n := r.delivered(); n != 0 {
				t.Errorf("%d answers delivered", n)
			}
		})
	}
}

// Any retransmission's answer proves the node, a late one as well.
func TestPingAnyAnswer(t *testing.T) {
	for i := range 4 {
		r := qualifiedRig(t)
		pings := append(r.send(udp(r.own, native, 100)), r.pass(7*time.Second)...)
		if len(pings) != 4 {
			t.Fatalf("%d tests, want 4", len(pings))
		}
		r.receive(relay, reply(t, pings[i].Payload))
		if p, _ := r.c.Peer(r.now, native); !p.Up || p.Endpoint != relay {
			t.Errorf("answer to test %d: peer %+v, %v", i+1, p, r.c.Snapshot().Drops)
		}
	}
}
