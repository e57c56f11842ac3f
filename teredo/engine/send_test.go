package engine_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"shipworm/teredo/engine"
	"shipworm/teredo/wire"
)

// T-26, T-02, T-01: what may not enter the tunnel does not, and no unproven
// peer at a forbidden address or port is sent anything.
func TestSendDropped(t *testing.T) {
	own := qualifiedRig(t).own
	peer := peerAt(peerPort)
	through := func(server string) netip.Addr {
		return wire.AddressFrom(addr(server), 0, peerPort).Addr()
	}
	for _, test := range []struct {
		name string
		b    []byte
		drop engine.Drop
	}{
		{"foreign source", udp(native, peer, 100), engine.DropSendSource},
		{"source with other flags", udp(wire.AddressFrom(primary, flagsOf(own)^1, mapping).Addr(), peer, 100), engine.DropSendSource},
		{"link-local source", udp(addr("fe80::1"), peer, 100), engine.DropSendSource},
		{"to ourselves", udp(own, own, 100), engine.DropLoop},
		{"to our mapping", udp(own, wire.AddressFrom(addr("192.0.2.77"), 0, mapping).Addr(), 100), engine.DropLoop},
		{"too big", udp(own, peer, 1281), engine.DropSendTooBig},
		{"malformed", udp(own, peer, 100)[:99], engine.DropSendMalformed},
		{"short", make([]byte, 10), engine.DropSendMalformed},
		{"routing header", packet(own, peer, wire.ProtoRouting, make([]byte, 24)), engine.DropSendMalformed},
		{"multicast", udp(own, addr("ff02::1"), 100), engine.DropSendTarget},
		{"link-local", udp(own, addr("fe80::1"), 100), engine.DropSendTarget},
		{"unique local", udp(own, addr("fd00::1"), 100), engine.DropSendTarget},
		{"loopback", udp(own, addr("::1"), 100), engine.DropSendTarget},
		{"6to4 of a private address", udp(own, addr("2002:c0a8:1::1"), 100), engine.DropSendTarget},
		{"peer at a private address", udp(own, peerAt(addrPort("192.168.1.1:5000")), 100), engine.DropDenied},
		{"peer at the host's own address", udp(own, peerAt(addrPort("192.168.1.2:5000")), 100), engine.DropDenied},
		{"peer's server private", udp(own, through("10.1.1.1"), 100), engine.DropDenied},
		{"peer at port 0", udp(own, peerAt(addrPort("192.0.2.10:0")), 100), engine.DropDeniedPort},
		{"peer at port 53", udp(own, peerAt(addrPort("192.0.2.10:53")), 100), engine.DropDeniedPort},
		{"peer at port 1900", udp(own, peerAt(addrPort("192.0.2.10:1900")), 100), engine.DropDeniedPort},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := qualifiedRig(t)
			r.expectDrop(t, test.drop, func() []engine.Transmit { return r.send(test.b) })
		})
	}
	t.Run("before qualification", func(t *testing.T) {
		r := newRig(t, nil)
		r.begin()
		r.expectDrop(t, engine.DropNotQualified, func() []engine.Transmit { return r.send(udp(own, peer, 100)) })
	})
}

// T-02: of all ports only the forbidden ones are never sent to unasked, neither
// because of the host's packets nor because of received bubbles.
func TestPortSweep(t *testing.T) {
	forbidden := func(p int) bool { return p < 1024 || p == 1900 || p == 3702 || p == 5353 || p == 11211 }
	r := qualifiedRig(t)
	refused := 0
	for p := range 65536 {
		if p%200 == 0 { // keeps tables and limits out of the way
			r = qualifiedRig(t)
		}
		ap := netip.AddrPortFrom(addr("192.0.2.10"), uint16(p))
		counted := r.drops(engine.DropDeniedPort)
		sent := r.send(udp(r.own, peerAt(ap), 100))
		if (len(sent) == 0) != forbidden(p) {
			t.Fatalf("port %d: sent %v", p, sent)
		}
		r.now = r.now.Add(time.Second)
		answered := r.receive(serverPort, indirect(addr("fe80::1"), r.own, ap))
		if (len(answered) == 0) != forbidden(p) {
			t.Fatalf("port %d: answered %v, %v", p, answered, r.c.Snapshot().Drops)
		}
		if forbidden(p) {
			refused++
			counted += 2 // the packet and the bubble
		}
		if n := r.drops(engine.DropDeniedPort); n != counted {
			t.Fatalf("port %d: %d refusals counted, want %d", p, n, counted)
		}
		for _, s := range append(sent, answered...) {
			if s.To.Addr() == ap.Addr() && forbidden(int(s.To.Port())) {
				t.Fatalf("sent to %v", s.To)
			}
		}
	}
	if refused != 1028 {
		t.Errorf("%d ports refused, want 1028", refused)
	}
}

// T-02: a peer that spoke first from a service's port is answered while its
// entry is fresh; later it must speak again, for only its own word says that it
// lives there.
func TestServicePortLapses(t *testing.T) {
	r := qualifiedRig(t)
	dns := addrPort("192.0.2.10:53")
	peer := peerAt(dns)
	r.receive(dns, udp(peer, r.own, 100))
	r.now = r.now.Add(31 * time.Second)
	r.expectDrop(t, engine.DropDeniedPort, func() []engine.Transmit { r.delivered(); return r.send(udp(r.own, peer, 100)) })
	r.receive(dns, udp(peer, r.own, 100))
	if sent := r.send(udp(r.own, peer, 100)); len(sent) != 1 || sent[0].To != dns {
		t.Errorf("heard again: sent %v", sent)
	}
}

// RFC 4380, 5.2.4, case 5: packets wait, in order and bounded, for the direct
// bubble, and leave at once when it comes.
func TestQueue(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	var tries []engine.Transmit
	for i := range 6 {
		tries = append(tries, r.send(udp(r.own, peer, 100+i))...)
	}
	sent := r.receive(peerPort, proofOf(t, peer, r.own, tries, peerPort))
	if len(sent) != 4 || r.drops(engine.DropQueueFull) != 2 {
		t.Fatalf("%d packets left of 6, %d dropped", len(sent), r.drops(engine.DropQueueFull))
	}
	for i, s := range sent {
		if s.To != peerPort || len(s.Payload) != 102+i {
			t.Errorf("packet %d: %d bytes to %v", i, len(s.Payload), s.To)
		}
	}
	if q := r.c.Snapshot().Queued; q != 0 {
		t.Errorf("%d bytes still queued", q)
	}
}

// T-20: a queue holds at most 5,120 bytes, and nothing older than 6 s leaves it.
func TestQueueBounds(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	for range 4 {
		r.send(udp(r.own, peer, 1280))
	}
	r.send(udp(r.own, peer, 41))
	if q := r.c.Snapshot().Queued; q != 3*1280+41 {
		t.Errorf("%d bytes queued", q)
	}
	r.pass(4 * time.Second)
	r.send(udp(r.own, peer, 42))
	r.pass(2100 * time.Millisecond)
	sent := r.receive(peerPort, wire.AppendBubble(nil, peer, r.own, 0))
	if len(sent) != 1 || len(sent[0].Payload) != 42 || r.drops(engine.DropQueueOld) == 0 {
		t.Errorf("left: %v, %v", sent, r.c.Snapshot().Drops)
	}
}

// T-16: bubbles to a peer that does not answer are at least 2 s apart, and at
// most four in 300 s. On failure the caller learns when the next may be sent
// (TR-07).
func TestBubbleLimit(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	var at []time.Time
	var failed []engine.Event
	for r.now.Before(start.Add(700 * time.Second)) {
		for _, s := range r.send(udp(r.own, peer, 100)) {
			if s.To == peerPort {
				at = append(at, r.now)
			}
		}
		end := r.now.Add(time.Second)
		for next := r.c.Next(); !next.IsZero() && !next.After(end); next = r.c.Next() {
			r.now = later(r.now, next)
			r.c.Tick(r.now, &r.out)
			for _, s := range r.take() {
				if s.To == peerPort {
					at = append(at, r.now)
				}
			}
		}
		r.now = end
		for _, e := range r.out.Events {
			if e.Kind == engine.PeerFailed {
				failed = append(failed, e)
			}
		}
		r.out.Events = r.out.Events[:0]
		r.answerRefresh()
	}
	if len(at) != 12 {
		t.Fatalf("%d bubbles in 700 s, want 12: %v", len(at), at)
	}
	for i := range at {
		if i >= 1 && at[i].Sub(at[i-1]) < 2*time.Second {
			t.Errorf("bubbles %d and %d are %v apart", i-1, i, at[i].Sub(at[i-1]))
		}
		if i >= 4 && at[i].Sub(at[i-4]) < 300*time.Second {
			t.Errorf("five bubbles within %v", at[i].Sub(at[i-4]))
		}
	}
	if len(failed) == 0 || failed[0].Peer != peer || !failed[0].RetryAt.Equal(at[0].Add(300*time.Second)) {
		t.Errorf("first bubble %v, first failure %+v", at[0], failed)
	}
}

// answerRefresh plays the server for whatever solicitation is outstanding.
func (r *rig) answerRefresh() {
	r.c.LinkChanged(r.now, &r.out)
	for _, s := range r.take() {
		r.receive(serverPort, r.advertise(s, mapping))
	}
}

// T-16: eviction from the table does not give a peer fresh tries.
func TestBubbleLimitEviction(t *testing.T) {
	r := qualifiedRig(t)
	victim := peerAt(peerPort)
	sent := 0
	for round := range 20 {
		for _, s := range r.send(udp(r.own, victim, 100)) {
			if s.To == peerPort {
				sent++
			}
		}
		for i := range 600 { // more than the table has room for
			other := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(round), byte(i)}), uint16(5000+i))
			r.send(udp(r.own, peerAt(other), 100))
		}
		if _, known := r.c.Peer(r.now, victim); !known {
			t.Fatal("forgotten altogether")
		}
		r.now = r.now.Add(3 * time.Second)
	}
	if sent != 4 || r.drops(engine.DropEvicted) < 20 {
		t.Errorf("%d bubbles in a minute, want 4; %d evictions", sent, r.drops(engine.DropEvicted))
	}
}

// T-16: strangers make us send at most 50 bubbles at once and 20 a second.
func TestAnswerLimit(t *testing.T) {
	r := qualifiedRig(t)
	sent := 0
	for i := range 10_000 {
		origin := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 5000)
		src := addr("fe80::1")
		if i%2 == 0 {
			src = peerAt(origin)
		}
		sent += bubbles(r.receive(serverPort, indirect(src, r.own, origin)))
		sent += bubbles(r.pass(time.Millisecond))
	}
	if most := 50 + 20*10; sent > most {
		t.Errorf("%d bubbles in 10 s, want at most %d", sent, most)
	}
	if r.drops(engine.DropAnswerLimit) == 0 {
		t.Error("no drop counted")
	}
}

// The hot path allocates nothing: a data packet each way for a trusted peer.
func TestHotPathAllocates(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	out, in := udp(r.own, peer, 1280), udp(peer, r.own, 1280)
	r.out.Reset()
	n := testing.AllocsPerRun(1000, func() {
		r.out.Reset()
		r.c.Send(r.now, out, &r.out)
		r.c.Receive(r.now, peerPort, in, &r.out)
		if len(r.out.Transmit) != 1 || len(r.out.Deliver) != 1 || &r.out.Transmit[0].Payload[0] != &out[0] {
			t.Fatal("not sent and delivered uncopied")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDataPath(b *testing.B) {
	r := qualifiedRig(b)
	peer := peerAt(peerPort)
	r.connect(peer, peerPort)
	out, in := udp(r.own, peer, 1280), udp(peer, r.own, 1280)
	b.Run("send", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.out.Reset()
			r.c.Send(r.now, out, &r.out)
		}
	})
	run := bytes.Repeat(out, 40)
	b.Run("run of 40", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.out.Reset()
			r.c.SendRun(r.now, run, len(out), &r.out)
		}
	})
	b.Run("receive", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.out.Reset()
			r.c.Receive(r.now, peerPort, in, &r.out)
		}
	})
}

// TestSendRun: a run goes whole to a peer that is up, and packet by packet,
// each judged by itself, to others.
func TestSendRun(t *testing.T) {
	r := qualifiedRig(t)
	peer := peerAt(peerPort)
	a, last := udp(r.own, peer, 1280), udp(r.own, peer, 300)
	run := append(append(bytes.Clone(a), a...), last...)
	before := r.c.Snapshot()
	r.out.Reset()
	r.c.SendRun(r.now, run, len(a), &r.out)
	for _, x := range r.out.Transmit {
		if x.Segment != 0 || len(x.Payload) >= len(a) {
			t.Errorf("sent %d bytes in segments of %d before the peer is up", len(x.Payload), x.Segment)
		}
	}
	if got := r.c.Snapshot(); got.Queued != len(run) || got.Sent != before.Sent {
		t.Errorf("%d bytes wait, %d packets were sent", got.Queued, got.Sent-before.Sent)
	}

	r = qualifiedRig(t)
	r.connect(peer, peerPort)
	before = r.c.Snapshot()
	r.out.Reset()
	r.c.SendRun(r.now, run, len(a), &r.out)
	if len(r.out.Transmit) != 1 || r.out.Transmit[0].Segment != len(a) || !bytes.Equal(r.out.Transmit[0].Payload, run) ||
		r.c.Snapshot().Sent != before.Sent+3 {
		t.Errorf("sent %+v, counted %d", r.out.Transmit, r.c.Snapshot().Sent-before.Sent)
	}
	foreign := append(udp(peerAt(otherPort), peer, 1280), a...)
	r.out.Reset()
	r.c.SendRun(r.now, foreign, len(a), &r.out)
	if len(r.out.Transmit) != 1 || !bytes.Equal(r.out.Transmit[0].Payload, a) {
		t.Errorf("of a foreign packet and one of ours %d were sent", len(r.out.Transmit))
	}
	r.out.Reset()
	r.c.SendRun(r.now, a, 0, &r.out)
	if len(r.out.Transmit) != 1 || r.out.Transmit[0].Segment != 0 {
		t.Errorf("a single packet: %+v", r.out.Transmit)
	}
}

// TestSendReady: it sends what Send would send and nothing else, whenever it
// does not refuse, and it refuses whenever more is due.
func TestSendReady(t *testing.T) {
	peer := peerAt(peerPort)
	a := udp(qualifiedRig(t).own, peer, 300)
	strange := qualifiedRig(t)
	strange.out.Reset()
	before := strange.c.Snapshot()
	if strange.c.SendReady(strange.now, a, &strange.out) || len(strange.out.Transmit) != 0 || strange.c.Snapshot().Queued != before.Queued {
		t.Error("something was done for a peer that is not up")
	}
	taken, refused := 0, 0
	for wait := time.Duration(0); wait < 2*time.Minute; wait += 3 * time.Second {
		direct, plain := qualifiedRig(t), qualifiedRig(t)
		for _, r := range []*rig{direct, plain} {
			r.connect(peer, peerPort)
			r.out.Reset()
			r.c.Send(r.now, a, &r.out)
			r.now = r.now.Add(wait)
			r.out.Reset()
		}
		due := direct.c.Next()
		sent := direct.c.Snapshot().Sent
		plain.c.Send(plain.now, a, &plain.out)
		alone := len(plain.out.Transmit) == 1 && &plain.out.Transmit[0].Payload[0] == &a[0] &&
			len(plain.out.Events)+len(plain.out.Open)+len(plain.out.Close)+len(plain.out.Deliver) == 0
		switch ready := direct.c.SendReady(direct.now, a, &direct.out); {
		case ready && !alone:
			t.Errorf("after %v there was more to be done: %+v", wait, plain.out)
		case ready:
			taken++
			x := direct.out.Transmit
			if len(x) != 1 || x[0].To != plain.out.Transmit[0].To || &x[0].Payload[0] != &a[0] || x[0].Port != 0 ||
				direct.c.Snapshot().Sent != sent+1 || direct.c.Next() != due {
				t.Errorf("after %v: sent %+v, %d counted, next %v, was %v", wait, x, direct.c.Snapshot().Sent-sent, direct.c.Next(), due)
			}
		default:
			refused++
			if len(direct.out.Transmit)+len(direct.out.Events) != 0 || direct.c.Snapshot().Sent != sent {
				t.Errorf("after %v: refused, and sent %+v", wait, direct.out)
			}
		}
	}
	if taken == 0 || refused == 0 {
		t.Errorf("%d taken, %d refused: nothing is tested", taken, refused)
	}
}
