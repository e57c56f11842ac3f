package nat_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/nat"
)

// cut splits a packet without options into fragments of at most size payload
// bytes, a multiple of eight.
func cut(pkt []byte, size int) (pieces [][]byte) {
	for at := 0; at < len(pkt)-20; at += size {
		end := min(at+size, len(pkt)-20)
		p := append(slices.Clone(pkt[:20]), pkt[20+at:20+end]...)
		field := uint16(at / 8)
		if end < len(pkt)-20 {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[6:], field)
		sumHeader(p)
		pieces = append(pieces, p)
	}
	return pieces
}

func sumHeader(p []byte) {
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^ipv4.Fold(ipv4.Sum(p[:20], 0)))
}

// join puts fragments together again.
func join(t *testing.T, pieces [][]byte) []byte {
	t.Helper()
	slices.SortFunc(pieces, func(a, b []byte) int { return ipv4.FragmentOffset(a) - ipv4.FragmentOffset(b) })
	whole := slices.Clone(pieces[0][:20])
	for _, p := range pieces {
		if ipv4.FragmentOffset(p) != len(whole)-20 || ipv4.Src(p) != ipv4.Src(pieces[0]) || ipv4.Dst(p) != ipv4.Dst(pieces[0]) ||
			binary.BigEndian.Uint16(p[4:]) != binary.BigEndian.Uint16(pieces[0][4:]) {
			t.Fatalf("fragments do not fit: %s", ipv4.Summary(p))
		}
		whole = append(whole, p[20:]...)
	}
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	binary.BigEndian.PutUint16(whole[6:], 0)
	sumHeader(whole)
	if q, h, ok := ipv4.Check(whole); !ok || !ipv4.TransportOK(q, h) {
		t.Fatalf("reassembled with a wrong checksum: %x", whole)
	}
	return whole
}

var payload = []byte("a payload that is long enough for five fragments of 16 bytes and more")

// deliver sends pieces in an order and returns what came out.
func (b *bench) deliver(outbound bool, pieces [][]byte, order []int) (out [][]byte, reasons []nat.Reason) {
	b.t.Helper()
	run := b.inbound
	if outbound {
		run = b.outbound
	}
	for _, i := range order {
		p := slices.Clone(pieces[i])
		v := run(p)
		reasons = append(reasons, v.Reason)
		if v.Action == nat.Forward || v.Action == nat.Back {
			out = append(out, p)
		}
		for _, p := range v.Also {
			out = append(out, slices.Clone(p))
		}
	}
	return out, reasons
}

// RFC 4787, 11, REQ-14: fragments pass in order and out of order, in both
// directions and for each protocol.
func TestRFC4787_REQ14_Fragments(t *testing.T) {
	orders := map[string][]int{"in order": {0, 1, 2, 3, 4}, "backwards": {4, 3, 2, 1, 0}, "first in the middle": {3, 1, 0, 4, 2}}
	for name, order := range orders {
		for _, proto := range []byte{ipv4.UDP, ipv4.TCP, ipv4.ICMP} {
			for _, rewriteID := range []bool{false, true} {
				b := newBench(t, nat.Config{Filtering: apd, Allocation: nat.Random, Fragments: nat.FragmentsAnyOrder, RewriteID: rewriteID, Seed: 3})
				build := func(outbound bool) []byte {
					from, to := inA1, outX1
					if !outbound {
						rows := b.nat.Mappings(b.now)
						from, to = outX1, rows[0].External
					}
					switch {
					case proto == ipv4.UDP:
						return ipv4.AppendUDP(nil, 77, from, to, payload)
					case proto == ipv4.TCP:
						return ipv4.AppendTCP(nil, 77, from, to, ack, payload)
					case outbound:
						return ipv4.AppendEcho(nil, ipv4.EchoRequest, from.Addr(), to.Addr(), 9, 77, payload)
					}
					return ipv4.AppendEcho(nil, ipv4.EchoReply, from.Addr(), to.Addr(), to.Port(), 77, payload)
				}
				for _, outbound := range []bool{true, false} {
					pieces := cut(build(outbound), 24)
					use := order
					if len(pieces) < 5 { // the header of UDP and ICMP is shorter
						use = slices.DeleteFunc(slices.Clone(order), func(i int) bool { return i >= len(pieces) })
					}
					out, reasons := b.deliver(outbound, pieces, use)
					if len(out) != len(pieces) {
						t.Fatalf("%s, protocol %d, outbound %v: %d of %d pieces: %v", name, proto, outbound, len(out), len(pieces), reasons)
					}
					whole := join(t, out)
					if string(whole[len(whole)-len(payload):]) != string(payload) {
						t.Errorf("%s: payload changed", name)
					}
					if outbound && ipv4.Addr(ipv4.Src(whole)) != addr("203.0.113.1") || !outbound && ipv4.Addr(ipv4.Dst(whole)) != inA1.Addr() {
						t.Errorf("%s: %s", name, ipv4.Summary(whole))
					}
				}
			}
		}
	}
}

// A NAT that takes fragments in order only ("Receive Fragments Ordered"), and
// one that takes none.
func TestFragmentsInOrderOnly(t *testing.T) {
	b := newBench(t, nat.Config{Fragments: nat.FragmentsInOrder})
	pieces := cut(ipv4.AppendUDP(nil, 1, inA1, outX1, payload), 24)
	out, reasons := b.deliver(true, pieces, []int{1, 0, 2, 3})
	if want := []nat.Reason{nat.FragmentEarly, nat.NewMapping, nat.FragmentFollows, nat.FragmentFollows}; len(out) != 3 || !slices.Equal(reasons, want) {
		t.Errorf("%d pieces, %v", len(out), reasons)
	}
	b = newBench(t, nat.Config{})
	if out, reasons := b.deliver(true, pieces, []int{0, 1, 2, 3}); len(out) != 0 || reasons[0] != nat.Fragmented {
		t.Errorf("%d pieces, %v", len(out), reasons)
	}
}

// What becomes of the first piece becomes of all.
func TestFragmentsShareTheVerdict(t *testing.T) {
	b := newBench(t, nat.Config{Filtering: apd, Fragments: nat.FragmentsAnyOrder, Hairpin: nat.HairpinExternalSource})
	x := b.out(inA1, outX1)
	pieces := cut(ipv4.AppendUDP(nil, 1, outY1, x, payload), 24)
	out, reasons := b.deliver(false, pieces, []int{3, 0, 1})
	if want := []nat.Reason{nat.FragmentHeld, nat.FilteredAddress, nat.FilteredAddress}; len(out) != 0 || !slices.Equal(reasons, want) {
		t.Errorf("%d pieces, %v", len(out), reasons)
	}
	xb := b.out(inB1, outX1)
	b.outbound(b.udp(inA1, xb)) // opens A's filter for B
	pieces = cut(ipv4.AppendUDP(nil, 2, inB1, x, payload), 24)
	out, reasons = b.deliver(true, pieces, []int{1, 0, 2, 3})
	if len(out) != 4 || reasons[1] != nat.Hairpinned {
		t.Fatalf("%d pieces, %v", len(out), reasons)
	}
	if src, dst := ends(join(t, out)); src != xb || dst != inA1 {
		t.Errorf("hairpinned %v > %v", src, dst)
	}
}

// RFC 4787, 11, REQ-14a: what fragments cost is bounded in number, bytes and
// time.
func TestRFC4787_REQ14a_Bounds(t *testing.T) {
	b := newBench(t, nat.Config{Fragments: nat.FragmentsAnyOrder, MaxFragmented: 2})
	datagram := func(id uint16) [][]byte { return cut(ipv4.AppendUDP(nil, id, inA1, outX1, payload), 24) }
	for id := range uint16(3) {
		want := nat.FragmentHeld
		if id == 2 {
			want = nat.TooManyFragments
		}
		if v := b.outbound(slices.Clone(datagram(id)[1])); v.Reason != want {
			t.Errorf("datagram %d: %v", id, v.Reason)
		}
	}
	b.wait(30 * time.Second)
	if out, reasons := b.deliver(true, datagram(0), []int{0, 2, 3}); len(out) != 3 {
		t.Errorf("after their time: %d pieces, %v", len(out), reasons) // without the one that was held
	}
	b = newBench(t, nat.Config{Fragments: nat.FragmentsAnyOrder})
	big := cut(ipv4.AppendUDP(nil, 1, inA1, outX1, make([]byte, 60000)), 1480)
	held := 0
	for range 10 {
		for _, p := range big[1:] {
			if v := b.outbound(slices.Clone(p)); v.Reason == nat.FragmentHeld {
				held += len(p)
			}
		}
	}
	if held > 64<<10 {
		t.Errorf("%d bytes of one datagram held", held)
	}
	// A first piece that hides the flags of TCP (RFC 1858, 3).
	tiny := cut(ipv4.AppendTCP(nil, 5, inA1, outX1, syn, payload), 8)[0]
	if v := b.outbound(tiny); v.Reason != nat.Malformed {
		t.Errorf("tiny first fragment: %v", v.Reason)
	}
}

// RFC 7857, 10: the identifications of two hosts never meet; packets that
// cannot be fragmented keep theirs.
func TestRFC7857_10_Identification(t *testing.T) {
	b := newBench(t, nat.Config{RewriteID: true})
	seen := map[uint16]bool{}
	for range 100 {
		for _, in := range []string{"10.0.0.1:9", "10.0.0.2:9"} {
			pkt := ipv4.AppendUDP(nil, 7, ep(in), outX1, []byte("x"))
			if v := b.outbound(pkt); v.Action != nat.Forward {
				t.Fatal(v.Reason)
			}
			id := binary.BigEndian.Uint16(pkt[4:])
			if seen[id] {
				t.Fatalf("identification %d twice", id)
			}
			seen[id] = true
		}
	}
	pkt := ipv4.AppendUDP(nil, 7, inA1, outX1, []byte("x"))
	pkt[6] = 0x40 // DF: atomic (RFC 6864, 4)
	sumHeader(pkt)
	b.outbound(pkt)
	if id := binary.BigEndian.Uint16(pkt[4:]); id != 7 {
		t.Errorf("identification of an atomic packet became %d", id)
	}
}
