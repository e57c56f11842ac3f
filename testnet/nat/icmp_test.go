package nat_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

func (b *bench) echo(outbound bool, kind byte, from, to netip.Addr, id uint16) ([]byte, nat.Verdict) {
	b.t.Helper()
	b.id++
	pkt := ipv4.AppendEcho(nil, kind, from, to, id, b.id, []byte("ping"))
	if outbound {
		return pkt, b.outbound(pkt)
	}
	return pkt, b.inbound(pkt)
}

func echoID(pkt []byte) uint16 { return binary.BigEndian.Uint16(pkt[24:]) }

// RFC 5508, 3.1, REQ-1 and 3.2, REQ-2: echoes are mapped by identifier and
// live a minute.
func TestRFC5508_REQ1_REQ2_Echo(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Seed: 1})
	x, y := outX1.Addr(), outY1.Addr()
	pa, v := b.echo(true, ipv4.EchoRequest, inA1.Addr(), x, 7)
	if v.Reason != nat.NewMapping || echoID(pa) != 7 {
		t.Fatalf("first: %v, identifier %d", v.Reason, echoID(pa))
	}
	pb, v := b.echo(true, ipv4.EchoRequest, inB1.Addr(), x, 7)
	if v.Action != nat.Forward || echoID(pb) == 7 {
		t.Fatalf("second host with the same identifier: %v, %d", v.Reason, echoID(pb))
	}
	back, v := b.echo(false, ipv4.EchoReply, x, addr("203.0.113.1"), echoID(pb))
	if v.Action != nat.Forward || ipv4.Addr(ipv4.Dst(back)) != inB1.Addr() || echoID(back) != 7 {
		t.Errorf("reply: %v, %s", v.Reason, ipv4.Summary(back))
	}
	if _, v := b.echo(false, ipv4.EchoReply, y, addr("203.0.113.1"), 7); v.Reason != nat.FilteredAddress {
		t.Errorf("reply from a stranger: %v", v.Reason)
	}
	if _, v := b.echo(false, ipv4.EchoRequest, y, addr("203.0.113.1"), 7); v.Reason != nat.ToSelf {
		t.Errorf("request from outside: %v", v.Reason)
	}
	b.wait(time.Minute)
	if _, v := b.echo(false, ipv4.EchoReply, x, addr("203.0.113.1"), 7); v.Reason != nat.NoMapping {
		t.Errorf("after a minute: %v", v.Reason)
	}
}

// icmpError wraps the first n bytes of a packet in an error.
func icmpError(from netip.Addr, pkt []byte, n int) []byte {
	src, _ := ipv4.Number(from)
	whole := ipv4.AppendError(nil, ipv4.Unreachable, ipv4.CodePort, 0, src, pkt)
	// Shorten the quote by hand: the builder quotes all of a small packet.
	whole = whole[:28+n]
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	binary.BigEndian.PutUint16(whole[10:], 0)
	binary.BigEndian.PutUint16(whole[10:], ^ipv4.Fold(ipv4.Sum(whole[:20], 0)))
	binary.BigEndian.PutUint16(whole[22:], 0)
	binary.BigEndian.PutUint16(whole[22:], ^ipv4.Fold(ipv4.Sum(whole[20:], 0)))
	return whole
}

// RFC 5508, 4.2.1, REQ-4: an error about a packet of ours is translated inside
// and out, so that the sender finds in it exactly what it sent.
func TestRFC5508_REQ4_ErrorInbound(t *testing.T) {
	router := addr("198.18.0.1")
	for _, tc := range []struct {
		name string
		make func(*bench) []byte
	}{
		{"UDP", func(b *bench) []byte { return b.udp(inA1, outX1) }},
		{"UDP without checksum", func(b *bench) []byte {
			p := b.udp(inA1, outX1)
			p[26], p[27] = 0, 0
			return p
		}},
		{"TCP", func(b *bench) []byte { return ipv4.AppendTCP(nil, 1, inA1, outX1, ipv4.SYN, []byte("hi")) }},
		{"echo", func(b *bench) []byte {
			return ipv4.AppendEcho(nil, ipv4.EchoRequest, inA1.Addr(), outX1.Addr(), 9, 1, []byte("ping"))
		}},
	} {
		for _, short := range []bool{false, true} {
			name := tc.name
			if short {
				name += " 8 bytes quoted"
			}
			t.Run(name, func(t *testing.T) {
				b := newBench(t, nat.Config{Filtering: apd, Allocation: nat.Random, Seed: 5})
				pkt := tc.make(b)
				sent := slices.Clone(pkt)
				if v := b.outbound(pkt); v.Action != nat.Forward {
					t.Fatal(v.Reason)
				}
				n := len(pkt)
				if short {
					n = 28
				}
				e := icmpError(router, pkt, n)
				if v := b.inbound(e); v.Reason != nat.QuotedFlow {
					t.Fatal(v.Reason)
				}
				if src, dst := ipv4.Addr(ipv4.Src(e)), ipv4.Addr(ipv4.Dst(e)); src != router || dst != inA1.Addr() {
					t.Errorf("outer header %v > %v", src, dst)
				}
				if !slices.Equal(e[28:], sent[:n]) {
					t.Errorf("quote differs from what was sent:\n%x\n%x", e[28:], sent[:n])
				}
			})
		}
	}
}

// RFC 5508, 4.2.2, REQ-5: an error from the inside shows only our side.
func TestRFC5508_REQ5_ErrorOutbound(t *testing.T) {
	b := newBench(t, nat.Config{Allocation: nat.Random, Seed: 5})
	x := b.out(inA1, outX1)
	pkt := b.udp(outX1, x)
	seen := slices.Clone(pkt)
	if v := b.inbound(pkt); v.Action != nat.Forward {
		t.Fatal(v.Reason)
	}
	e := icmpError(inA1.Addr(), pkt, len(pkt))
	if v := b.outbound(e); v.Reason != nat.QuotedFlow {
		t.Fatal(v.Reason)
	}
	if src, dst := ipv4.Addr(ipv4.Src(e)), ipv4.Addr(ipv4.Dst(e)); src != x.Addr() || dst != outX1.Addr() {
		t.Errorf("outer header %v > %v", src, dst)
	}
	if !slices.Equal(e[28:], seen) {
		t.Errorf("quote differs from what was sent:\n%x\n%x", e[28:], seen)
	}
}

// RFC 5508, 5, REQ-7: an error about a hairpinned packet is turned back too.
func TestRFC5508_REQ7_ErrorHairpinned(t *testing.T) {
	b := newBench(t, nat.Config{Hairpin: nat.HairpinExternalSource, Seed: 1})
	b.out(inA1, outX1)
	xb := b.out(inB1, outX1)
	pkt := b.udp(inA1, xb)
	sent := slices.Clone(pkt)
	if v := b.outbound(pkt); v.Action != nat.Back {
		t.Fatal(v.Reason)
	}
	e := icmpError(inB1.Addr(), pkt, len(pkt))
	if v := b.outbound(e); v.Action != nat.Back || v.Reason != nat.QuotedFlow {
		t.Fatalf("%v, %v", v.Action, v.Reason)
	}
	if src, dst := ipv4.Addr(ipv4.Src(e)), ipv4.Addr(ipv4.Dst(e)); src != xb.Addr() || dst != inA1.Addr() {
		t.Errorf("outer header %v > %v", src, dst)
	}
	if !slices.Equal(e[28:], sent) {
		t.Errorf("quote differs from what was sent:\n%x\n%x", e[28:], sent)
	}
}

// RFC 4787, 9, REQ-12 and RFC 5508, 4.3: no ICMP message ends a mapping or
// keeps it alive; REQ-12a: nor does its source matter.
func TestRFC4787_REQ12_ICMPKeepsMapping(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Refresh: nat.RefreshBoth})
	pkt := b.udp(inA1, outX1)
	b.outbound(pkt)
	x, _ := ends(pkt)
	for kind := range 256 {
		e := icmpError(addr("198.18.0.1"), pkt, len(pkt))
		e[20] = byte(kind)
		binary.BigEndian.PutUint16(e[22:], 0)
		binary.BigEndian.PutUint16(e[22:], ^ipv4.Fold(ipv4.Sum(e[20:], 0)))
		b.inbound(e)
	}
	b.wait(5*time.Minute - 1)
	if to, why := b.in(outX1, x); to != inA1 {
		t.Errorf("after 256 messages: %v", why)
	}
	b.wait(time.Minute)
	b.inbound(icmpError(addr("198.18.0.1"), pkt, len(pkt)))
	b.wait(4 * time.Minute)
	if _, why := b.in(outX1, x); why != nat.NoMapping {
		t.Errorf("an ICMP error kept the mapping alive: %v", why)
	}
}

// RFC 5508, 4.1, REQ-3 and forged errors: one case per rule.
func TestRFC5508_REQ3_ErrorRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mutate func(b *bench, e []byte) []byte
		want   nat.Reason
	}{
		{"wrong ICMP checksum", func(_ *bench, e []byte) []byte { e[22] ^= 1; return e }, nat.BadChecksum},
		{"wrong quoted checksum", func(_ *bench, e []byte) []byte {
			e[38] ^= 1 // and mend the outer one
			binary.BigEndian.PutUint16(e[22:], 0)
			binary.BigEndian.PutUint16(e[22:], ^ipv4.Fold(ipv4.Sum(e[20:], 0)))
			return e
		}, nat.BadChecksum},
		{"quote too short", func(b *bench, _ []byte) []byte {
			pkt := b.udp(ep("203.0.113.1:5000"), outX1)
			return icmpError(outX1.Addr(), pkt, 27)
		}, nat.BadICMP},
		{"flow that is not there", func(b *bench, _ []byte) []byte {
			pkt := b.udp(ep("203.0.113.1:5001"), outX1)
			return icmpError(outX1.Addr(), pkt, 28)
		}, nat.UnknownQuote},
		{"sent to another of our addresses", func(b *bench, e []byte) []byte {
			e[19]++ // the outer destination: 203.0.113.2
			binary.BigEndian.PutUint16(e[10:], 0)
			binary.BigEndian.PutUint16(e[10:], ^ipv4.Fold(ipv4.Sum(e[:20], 0)))
			return e
		}, nat.UnknownQuote},
		{"destination never sent to", func(b *bench, _ []byte) []byte {
			pkt := b.udp(ep("203.0.113.1:5000"), outY1)
			return icmpError(outX1.Addr(), pkt, 28)
		}, nat.UnknownQuote},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, nat.Config{Filtering: apd, External: []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")}})
			pkt := b.udp(inA1, outX1)
			b.outbound(pkt)
			e := tc.mutate(b, icmpError(outX1.Addr(), pkt, len(pkt)))
			if v := b.inbound(e); v.Action != nat.Drop || v.Reason != tc.want {
				t.Errorf("%v, %v; want %v", v.Action, v.Reason, tc.want)
			}
		})
	}
}
