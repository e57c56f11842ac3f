package nat_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

const (
	syn, ack, fin, rst = ipv4.SYN, ipv4.ACK, ipv4.FIN, ipv4.RST

	established = 2*time.Hour + 4*time.Minute
	transitory  = 4 * time.Minute
)

// say sends a segment that must get through and returns both its ends.
func (b *bench) say(outbound bool, from, to netip.AddrPort, flags byte) (src, dst netip.AddrPort) {
	b.t.Helper()
	src, dst, v := b.segment(outbound, from, to, flags)
	if v.Action != nat.Forward {
		b.t.Fatalf("%v > %v flags %#x: %v", from, to, flags, v.Reason)
	}
	return src, dst
}

// handshake opens a connection from the inside and returns its external end.
func (b *bench) handshake(from, to netip.AddrPort) netip.AddrPort {
	b.t.Helper()
	x, _ := b.say(true, from, to, syn)
	b.say(false, to, x, syn|ack)
	b.say(true, from, to, ack)
	return x
}

// livesFor checks that the one mapping of the NAT ends after exactly d.
func (b *bench) livesFor(d time.Duration) {
	b.t.Helper()
	b.wait(d - 1)
	if n := len(b.nat.Mappings(b.now)); n != 1 {
		b.t.Errorf("%d mappings 1 ns before %v", n, d)
	}
	b.wait(1)
	if n := len(b.nat.Mappings(b.now)); n != 0 {
		b.t.Errorf("%d mappings after %v", n, d)
	}
}

// RFC 5382, 4.1, REQ-1: endpoint-independent mapping for TCP, unless it has a
// behaviour of its own.
func TestRFC5382_REQ1_Mapping(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    nat.Config
		same bool
	}{
		{"default", nat.Config{}, true},
		{"as UDP", nat.Config{Mapping: apd, Allocation: nat.Random}, false},
		{"TCP alone", nat.Config{Mapping: apd, Allocation: nat.Random, TCPMapping: nat.Only(ei)}, true},
		{"UDP alone", nat.Config{TCPMapping: nat.Only(apd), Allocation: nat.Random}, false},
	} {
		b := newBench(t, tc.c)
		x, _ := b.say(true, inA1, outX1, syn)
		y, _ := b.say(true, inA1, outY1, syn)
		if (x == y) != tc.same {
			t.Errorf("%s: %v and %v", tc.name, x, y)
		}
		if u, v := b.out(inA1, outX1), b.out(inA1, outY1); (u == v) != (tc.c.Mapping == ei) {
			t.Errorf("%s: UDP %v and %v", tc.name, u, v)
		}
	}
}

// RFC 5382, 4.2, REQ-2: every valid sequence of segments passes, whoever
// begins; REQ-2a: so does a simultaneous open, under the strictest filter.
func TestRFC5382_REQ2_ValidSequences(t *testing.T) {
	type step struct {
		outbound bool
		flags    byte
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"three-way handshake and orderly close", []step{
			{true, syn}, {false, syn | ack}, {true, ack}, {true, ack}, {false, ack},
			{true, fin | ack}, {false, ack}, {false, fin | ack}, {true, ack}}},
		{"simultaneous open", []step{{true, syn}, {false, syn}, {true, syn | ack}, {false, syn | ack}, {true, ack}, {false, ack}}},
		{"simultaneous close", []step{{true, syn}, {false, syn | ack}, {true, ack}, {true, fin | ack}, {false, fin | ack}, {true, ack}, {false, ack}}},
		{"half close, then data", []step{{true, syn}, {false, syn | ack}, {true, ack}, {true, fin | ack}, {false, ack}, {false, ack}, {true, ack}}},
		{"reset during the handshake, then again", []step{{true, syn}, {false, rst | ack}, {true, syn}, {false, syn | ack}, {true, ack}}},
		{"SYN retransmitted", []step{{true, syn}, {true, syn}, {false, syn | ack}, {false, syn | ack}, {true, ack}}},
	} {
		for _, mapping := range []nat.Behavior{ei, apd} {
			for _, only := range []bool{false, true} {
				b := newBench(t, nat.Config{Mapping: mapping, Filtering: apd, Allocation: nat.Random, TCPOutboundOnly: only})
				var x netip.AddrPort
				for i, s := range tc.steps {
					if s.outbound {
						y, _ := b.say(true, inA1, outX1, s.flags)
						if i > 0 && y != x {
							t.Errorf("%s: step %d left from %v, the first from %v", tc.name, i, y, x)
						}
						x = y
					} else if _, dst := b.say(false, outX1, x, s.flags); dst != inA1 {
						t.Errorf("%s: step %d went to %v", tc.name, i, dst)
					}
				}
			}
		}
	}
	t.Run("opened from outside", func(t *testing.T) {
		b := newBench(t, nat.Config{})
		x := b.handshake(inA1, outX1)
		b.say(false, outY1, x, syn)
		if y, _ := b.say(true, inA1, outY1, syn|ack); y != x {
			t.Errorf("the answer left from %v, not %v", y, x)
		}
		b.say(false, outY1, x, ack)
	})
}

// RFC 5382, 4.3, REQ-3b: TCP's filter may differ from UDP's; and the filter
// that lets nobody open anything.
func TestRFC5382_REQ3_FilteringOfItsOwn(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, TCPFiltering: nat.Only(ei)})
	x := b.handshake(inA1, outX1)
	b.say(false, outY1, x, syn)
	u := b.out(inA1, outX1)
	if _, why := b.in(outY1, u); why != nat.FilteredAddress {
		t.Errorf("UDP: %v", why)
	}

	b = newBench(t, nat.Config{TCPOutboundOnly: true})
	x = b.handshake(inA1, outX1)
	if _, _, v := b.segment(false, outY1, x, syn); v.Reason != nat.Unopened {
		t.Errorf("a stranger's SYN: %v", v.Reason)
	}
	b.say(true, inA1, outX1, fin|ack)
	b.say(false, outX1, x, fin|ack)
	if _, _, v := b.segment(false, outX1, x, syn); v.Reason != nat.Unopened {
		t.Errorf("a SYN in TIME_WAIT: %v", v.Reason)
	}
}

// RFC 5382, 4.3, REQ-4: an unsolicited SYN is answered after six seconds, and
// not at all if the inside opens the same connection meanwhile.
func TestRFC5382_REQ4_UnsolicitedSYN(t *testing.T) {
	policy := func(p nat.Unsolicited, reject bool) (*bench, netip.AddrPort) {
		b := newBench(t, nat.Config{Filtering: apd, UnsolicitedTCP: p, Reject: reject})
		return b, b.handshake(inA1, outX1)
	}
	t.Run("silent", func(t *testing.T) {
		b, x := policy(nat.UnsolicitedAsUDP, false)
		_, _, v := b.segment(false, outY1, x, syn)
		if v.Action != nat.Drop || v.Reply != nil {
			t.Errorf("%v with %x", v.Action, v.Reply)
		}
		if _, waiting := b.nat.Next(); waiting {
			t.Error("something is to come")
		}
	})
	t.Run("ICMP after 6 s", func(t *testing.T) {
		b, x := policy(nat.UnsolicitedDelayed, false)
		for range 2 { // sent again: one answer is enough
			if _, _, v := b.segment(false, outY1, x, syn); v.Reason != nat.SYNHeld || v.Reply != nil {
				t.Fatalf("%v with %x", v.Reason, v.Reply)
			}
		}
		b.segment(false, outY1, netip.AddrPortFrom(x.Addr(), 9), syn) // where there is no mapping
		if _, _, v := b.segment(false, outY1, x, ack); v.Reason == nat.SYNHeld {
			t.Error("a segment that is no SYN is held")
		}
		at, waiting := b.nat.Next()
		if !waiting || !at.Equal(b.now.Add(6*time.Second)) {
			t.Fatalf("next at %v, %v", at, waiting)
		}
		b.wait(6*time.Second - 1)
		if p := b.nat.Poll(b.now); p != nil {
			t.Errorf("answered too early: %s", ipv4.Summary(p))
		}
		b.wait(1)
		for range 2 {
			p := b.nat.Poll(b.now)
			if p == nil || ipv4.Addr(ipv4.Dst(p)) != outY1.Addr() || p[20] != ipv4.Unreachable || p[21] != ipv4.CodePort {
				t.Errorf("answer %x", p)
			}
		}
		if p := b.nat.Poll(b.now); p != nil {
			t.Errorf("a third answer: %s", ipv4.Summary(p))
		}
	})
	t.Run("simultaneous open", func(t *testing.T) {
		b, x := policy(nat.UnsolicitedDelayed, false)
		b.segment(false, outY1, x, syn)
		b.wait(5 * time.Second)
		b.say(true, inA1, outY1, syn)
		b.wait(time.Minute)
		if p := b.nat.Poll(b.now); p != nil {
			t.Errorf("answered all the same: %s", ipv4.Summary(p))
		}
		b.say(false, outY1, x, syn)
	})
	t.Run("bounded", func(t *testing.T) {
		b, x := policy(nat.UnsolicitedDelayed, false)
		held := 0
		for port := range uint16(1000) {
			_, _, v := b.segment(false, netip.AddrPortFrom(outY1.Addr(), 1+port), x, syn)
			if v.Reason == nat.SYNHeld {
				held++
			}
		}
		if held != 256 {
			t.Errorf("%d SYNs held", held)
		}
	})
	t.Run("reset", func(t *testing.T) {
		b, x := policy(nat.UnsolicitedReset, true)
		_, _, v := b.segment(false, outY1, x, syn)
		src, dst := ends(v.Reply)
		if src != x || dst != outY1 || v.Reply[33] != rst|ack || binary.BigEndian.Uint32(v.Reply[28:]) != 1 {
			t.Errorf("reply %x", v.Reply)
		}
		if _, _, v := b.segment(false, outY1, x, rst); v.Reply != nil {
			t.Errorf("a reset was answered: %x", v.Reply)
		}
		if v := b.inbound(b.udp(outY1, netip.AddrPortFrom(x.Addr(), 9))); len(v.Reply) == 0 || v.Reply[9] != ipv4.ICMP {
			t.Errorf("UDP is answered with %x", v.Reply)
		}
	})
	t.Run("ICMP at once", func(t *testing.T) {
		b, x := policy(nat.UnsolicitedAsUDP, true)
		if _, _, v := b.segment(false, outY1, x, syn); len(v.Reply) == 0 || v.Reply[20] != ipv4.Unreachable {
			t.Errorf("reply %x", v.Reply)
		}
	})
}

// RFC 5382, 5, REQ-5 and RFC 7857, 2.1: opening, closing and reset have idle
// times of their own.
func TestRFC7857_2_1_SeparateTimers(t *testing.T) {
	c := nat.Config{TCPEstablished: time.Hour, TCPOpening: time.Minute, TCPClosing: 2 * time.Minute, TCPReset: 3 * time.Minute}
	b := newBench(t, c)
	b.say(true, inA1, outX1, syn)
	b.livesFor(time.Minute)
	b.handshake(inA1, outX1)
	b.livesFor(time.Hour)
	x := b.handshake(inA1, outX1)
	b.say(true, inA1, outX1, fin|ack)
	b.say(false, outX1, x, fin|ack)
	b.livesFor(2 * time.Minute)
	x = b.handshake(inA1, outX1)
	b.say(false, outX1, x, rst)
	b.livesFor(3 * time.Minute)
}

// RFC 5382, 6, REQ-6: no ALG touches TCP, not even the one for UDP.
func TestRFC5382_REQ6_NoALG(t *testing.T) {
	b := newBench(t, nat.Config{Allocation: nat.Random, ALG: true})
	payload := []byte{192, 168, 1, 2, 0x13, 0x88}
	pkt := ipv4.AppendTCP(nil, 1, inA1, outX1, ack, payload)
	if v := b.outbound(pkt); v.Action != nat.Forward || string(pkt[40:]) != string(payload) {
		t.Errorf("%v: payload became %x", v.Reason, pkt[40:])
	}
}

// RFC 5382, 7.1, REQ-7: no port overloading, and 7.2, REQ-8: hairpinning from
// the external source.
func TestRFC5382_REQ7_REQ8_PortsAndHairpin(t *testing.T) {
	b := newBench(t, nat.Config{Hairpin: nat.HairpinExternalSource})
	xa := b.handshake(inA1, outX1)
	xb := b.handshake(inB1, outX1)
	if xa == xb {
		t.Fatalf("both hosts have %v", xa)
	}
	src, dst, v := b.segment(true, inA1, xb, syn)
	if v.Action != nat.Back || src != xa || dst != inB1 {
		t.Fatalf("SYN: %v, %v > %v", v.Reason, src, dst)
	}
	src, dst, v = b.segment(true, inB1, xa, syn|ack)
	if v.Action != nat.Back || src != xb || dst != inA1 {
		t.Errorf("SYN+ACK: %v, %v > %v", v.Reason, src, dst)
	}
}

// RFC 5382, 7.3, REQ-9: unreachable messages are translated, "too big" among
// them, and REQ-10: none ends a connection.
func TestRFC5382_REQ9_REQ10_ICMP(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Allocation: nat.Random})
	b.handshake(inA1, outX1)
	pkt := ipv4.AppendTCP(nil, 1, inA1, outX1, ack, []byte("data"))
	b.outbound(pkt)
	x, _ := ends(pkt)
	for code := range byte(16) {
		from, _ := ipv4.Number(addr("198.18.0.1"))
		e := ipv4.AppendError(nil, ipv4.Unreachable, code, 1280, from, pkt)
		if v := b.inbound(e); v.Reason != nat.QuotedFlow || e[21] != code || binary.BigEndian.Uint32(e[24:]) != 1280 {
			t.Errorf("code %d: %v", code, v.Reason)
		}
	}
	b.wait(established - 1)
	if _, dst := b.say(false, outX1, x, ack); dst != inA1 {
		t.Errorf("went to %v", dst)
	}
}

// RFC 7857, 2.2: a reset is translated, and four minutes of silence end the
// connection; data before that revives it (figure 1: TRANS to ESTABLISHED).
func TestRFC7857_2_2_Reset(t *testing.T) {
	for _, outbound := range []bool{false, true} {
		b := newBench(t, nat.Config{Filtering: apd})
		x := b.handshake(inA1, outX1)
		reset := func() {
			if outbound {
				b.say(true, inA1, outX1, rst)
			} else {
				b.say(false, outX1, x, rst)
			}
		}
		reset()
		b.wait(transitory - 1)
		b.say(false, outX1, x, ack) // still translated
		b.livesFor(established)

		x = b.handshake(inA1, outX1)
		reset()
		b.livesFor(transitory)
	}
}

// RFC 7857, 7.1: a reset that the inside sends in answer to a stranger keeps
// nothing alive and makes no mapping.
func TestRFC7857_7_1_OutboundResetRefreshesNothing(t *testing.T) {
	b := newBench(t, nat.Config{})
	if _, _, v := b.segment(true, inA1, outX1, rst); v.Reason != nat.StrayReset {
		t.Errorf("a reset about nothing: %v", v.Reason)
	}
	x, _ := b.say(true, inA1, outX1, syn)
	b.wait(3 * time.Minute)
	b.say(false, outY1, x, syn)
	b.wait(3 * time.Minute)
	b.say(true, inA1, outY1, rst|ack)
	b.livesFor(time.Minute)
}
