package engine_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// reply makes a node's answer to a test that the client sent through its server.
func reply(t *testing.T, ping []byte) []byte {
	t.Helper()
	e, err := wire.ParseEcho(ping)
	if err != nil || e.Reply {
		t.Fatalf("%x is no echo request: %v", ping, err)
	}
	b, _ := wire.AppendEcho(nil, &wire.Echo{Reply: true, Src: e.Dst, Dst: e.Src, HopLimit: 60, ID: e.ID, Seq: e.Seq, Data: e.Data})
	return b
}

// RFC 4380, 5.2.9: a packet to a native node waits for the test through the
// server; the answer's UDP source is the node's relay.
func TestNativeSend(t *testing.T) {
	r := qualifiedRig(t)
	pings := r.send(udp(r.own, native, 100))
	if len(pings) != 1 || pings[0].To != serverPort {
		t.Fatalf("sent %v", pings)
	}
	if n := len(pings[0].Payload) - wire.HeaderSize; n > 88 {
		t.Errorf("test of %d bytes: servers drop more than 88", n)
	}
	sent := r.receive(relay, reply(t, pings[0].Payload))
	if len(sent) != 1 || sent[0].To != relay || len(sent[0].Payload) != 100 || r.delivered() != 0 {
		t.Fatalf("sent %v, %v", sent, r.c.Snapshot().Drops)
	}
	if sent := r.send(udp(r.own, native, 101)); len(sent) != 1 || sent[0].To != relay {
		t.Errorf("second packet: %v", sent)
	}
	r.receive(relay, udp(native, r.own, 200))
	if r.delivered() != 1 {
		t.Error("not delivered")
	}
}

// A native node in use is tested again before its entry lapses. The answer comes
// from its relay like any packet, but is ours: the host never sees it.
func TestNativeRefresh(t *testing.T) {
	r := qualifiedRig(t)
	pings := r.send(udp(r.own, native, 100))
	r.receive(relay, reply(t, pings[0].Payload))
	r.now = r.now.Add(26 * time.Second)
	sent := r.send(udp(r.own, native, 100))
	if len(sent) != 3 || sent[0].To != relay || sent[2].To != serverPort {
		t.Fatalf("sent %v, want data, a solicitation because of the silence, and a test", sent)
	}
	r.receive(relay, reply(t, sent[2].Payload))
	if p, _ := r.c.Peer(r.now, native); !p.Up || p.Trying || !p.LastSeen.Equal(r.now) {
		t.Errorf("peer %+v", p)
	}
	if n := r.delivered(); n != 0 {
		t.Errorf("%d packets delivered: the host got the answer to a test of ours", n)
	}
	theirs, _ := wire.AppendEcho(nil, &wire.Echo{Reply: true, Src: native, Dst: r.own, HopLimit: 60, Data: make([]byte, 20)})
	r.receive(relay, theirs)
	if r.delivered() != 1 {
		t.Error("the answer to a ping of the host was not delivered")
	}
}

// T-15: our own tests are repeated at 2 s, three times; then the caller is told.
func TestNativeRetries(t *testing.T) {
	r := qualifiedRig(t)
	n := len(r.send(udp(r.own, native, 100)))
	n += len(r.pass(20 * time.Second))
	last := r.out.Events[len(r.out.Events)-1]
	if n != 4 || last.Kind != engine.PeerFailed || last.Peer != native {
		t.Errorf("%d tests, then %+v", n, last)
	}
}

// A packet from a native node waits until the node has proved its relay, and
// is delivered only if it came through that one.
func TestNativeReceive(t *testing.T) {
	r := qualifiedRig(t)
	pings := r.receive(relay, udp(native, r.own, 100))
	if len(pings) != 1 || pings[0].To != serverPort || r.delivered() != 0 {
		t.Fatalf("sent %v", pings)
	}
	r.receive(addrPort("192.0.2.66:3545"), udp(native, r.own, 101)) // forged
	r.receive(relay, udp(native, r.own, 102))
	r.receive(relay, reply(t, pings[0].Payload))
	if n := r.delivered(); n != 2 || r.drops(engine.DropUnproven) != 1 {
		t.Errorf("%d delivered, %v", n, r.c.Snapshot().Drops)
	}
	// The relay changes: the new one proves itself in turn.
	other := addrPort("192.0.2.100:3545")
	pings = r.receive(other, udp(native, r.own, 103))
	if len(pings) != 0 {
		t.Fatalf("tested again at once: %v", pings)
	}
	r.now = r.now.Add(31 * time.Second)
	pings = r.receive(other, udp(native, r.own, 104))
	if len(pings) != 1 {
		t.Fatalf("not tested: %v", r.c.Snapshot().Drops)
	}
	r.receive(other, reply(t, pings[0].Payload))
	if p, _ := r.c.Peer(r.now, native); p.Endpoint != other || r.delivered() != 1 {
		t.Errorf("relay %v", p.Endpoint)
	}
}

// T-14: a token serves only the node, the client and the time it was made for.
func TestPingToken(t *testing.T) {
	victim := addr("2001:db8:1::81")
	for _, test := range []struct {
		name   string
		change func(r *rig, b []byte) []byte
	}{
		{"another node's", func(r *rig, b []byte) []byte {
			e, _ := wire.ParseEcho(b)
			e.Src = victim
			c, _ := wire.AppendEcho(nil, &e)
			return c
		}},
		{"31 s old", func(r *rig, b []byte) []byte { r.now = r.now.Add(32 * time.Second); return b }},
		{"from the future", func(r *rig, b []byte) []byte { r.now = r.now.Add(-24 * time.Hour); return b }},
		{"changed", func(r *rig, b []byte) []byte {
			e, _ := wire.ParseEcho(b)
			e.Data = slices.Clone(e.Data)
			e.Data[10] ^= 1
			c, _ := wire.AppendEcho(nil, &e)
			return c
		}},
		{"other identifier", func(r *rig, b []byte) []byte {
			e, _ := wire.ParseEcho(b)
			e.ID++
			c, _ := wire.AppendEcho(nil, &e)
			return c
		}},
		{"checksum", func(r *rig, b []byte) []byte { b[42]++; return b }},
		{"after a restart", func(r *rig, b []byte) []byte {
			old := r.own
			fresh := newRig(t, func(c *engine.ClientConfig) { c.Rand = seeded(8) })
			fresh.receive(serverPort, fresh.advertise(fresh.begin()[0], mapping))
			fresh.own = fresh.c.Snapshot().Address.Addr()
			fresh.send(udp(fresh.own, native, 100))
			*r = *fresh
			e, _ := wire.ParseEcho(b)
			if e.Dst = fresh.own; old == fresh.own {
				t.Error("flags are not random")
			}
			c, _ := wire.AppendEcho(nil, &e)
			return c
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := qualifiedRig(t)
			r.now = r.now.Add(time.Hour)
			r.answerRefresh()
			r.send(udp(r.own, victim, 100))
			pings := r.send(udp(r.own, native, 100))
			sent := r.receive(relay, test.change(r, reply(t, pings[0].Payload)))
			for _, s := range sent {
				if s.To == relay {
					t.Errorf("sent %v", s)
				}
			}
			for _, ip := range []netip.Addr{native, victim} {
				if p, _ := r.c.Peer(r.now, ip); p.Up {
					t.Errorf("%v is up", ip)
				}
			}
		})
	}
}

// T-15: ten thousand forged sources in 10 s draw at most 60 tests, none twice,
// and fewer bytes than they brought.
func TestPingLimit(t *testing.T) {
	r := qualifiedRig(t)
	pings, in, out := 0, 0, 0
	for i := range 10_000 {
		src := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i), byte(i >> 8)}), 3545)
		b := udp(src, r.own, 48)
		in += len(b)
		for _, s := range append(r.receive(from, b), r.pass(time.Millisecond)...) {
			if s.To == serverPort && len(s.Payload) == 68 {
				pings++
			}
			out += len(s.Payload)
		}
	}
	if pings == 0 || pings > 60 || out > in {
		t.Errorf("%d tests, %d bytes in, %d out", pings, in, out)
	}
	again := r.pass(20 * time.Second)
	if n := slices.IndexFunc(again, func(s engine.Transmit) bool { return len(s.Payload) == 68 }); n >= 0 {
		t.Error("a test that a received packet caused was repeated")
	}
}
