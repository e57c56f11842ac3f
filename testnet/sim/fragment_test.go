package sim_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// A datagram arrives whole over two lines, the second smaller than the first,
// with pieces reordered and doubled on the way. (RFC 791, 3.2)
func TestFragments(t *testing.T) {
	n := newLab(t, 3)
	bob, err := n.Host("bob", link.Config{MTU: 596, Delay: ms, Reorder: 0.5, Duplicate: 0.5}, addr("198.51.100.2"))
	if err != nil {
		t.Fatal(err)
	}
	alice, err := n.Host("alice", link.Config{MTU: 1280}, addr("198.51.100.3"))
	if err != nil {
		t.Fatal(err)
	}
	from, to := n.bind(alice, 7), n.bind(bob, 7)
	sizes := map[string]int{}
	n.Watch(func(tr sim.Transit) { sizes[tr.Line] = max(sizes[tr.Line], len(tr.Packet)) })
	dice := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{568, 569, 1252, 1253, 9000, 65507} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(dice.Uint32())
		}
		to.got = nil
		from.send(to.LocalAddr(), string(b))
		n.run(time.Second)
		if len(to.got) == 0 || to.got[0] != string(b) {
			t.Errorf("%d bytes: %d datagrams, or another", size, len(to.got))
		}
	}
	if sizes["alice/up"] != 1280 || sizes["bob/down"] != 596 {
		t.Errorf("largest packets %v", sizes)
	}
}

// Fragments that overlap, reach beyond the end or never get company deliver
// nothing, and what is kept of them is bounded in number and time.
func TestBadFragments(t *testing.T) {
	n := newLab(t, 1)
	alice := n.host("alice", "198.51.100.1")
	b := n.bind(n.host("bob", "198.51.100.2"), 7)
	whole := ipv4.AppendUDP(nil, 1, addrPort("198.51.100.1:7"), b.LocalAddr(), bytes.Repeat([]byte("abcdefgh"), 4))
	piece := func(id, at, end int, more bool) []byte {
		p := append(append([]byte(nil), whole[:20]...), whole[20+at:20+end]...)
		p[2], p[3], p[4], p[5] = 0, byte(len(p)), byte(id>>8), byte(id)
		p[6], p[7] = 0, byte(at/8)
		if more {
			p[6] = 0x20
		}
		p[10], p[11] = 0, 0
		c := ^ipv4.Fold(ipv4.Sum(p[:20], 0))
		p[10], p[11] = byte(c>>8), byte(c)
		return p
	}
	send := func(p []byte) { alice.Send(p); n.run(100 * ms) }
	send(piece(2, 0, 24, true)) // overlap: the rest never completes it
	send(piece(2, 16, 40, false))
	send(piece(2, 24, 40, false))
	send(piece(3, 24, 40, true)) // beyond the end
	send(piece(3, 8, 24, false))
	if len(b.got) != 0 {
		t.Fatalf("got %q", b.got)
	}
	send(piece(4, 8, 40, false)) // out of order is fine
	send(piece(4, 0, 8, true))
	if len(b.got) != 1 || len(b.got[0]) != 32 {
		t.Fatalf("in good order: got %q", b.got)
	}
	send(piece(5, 0, 8, true)) // too late
	n.run(61 * time.Second)
	send(piece(6, 0, 8, true))
	n.dropped("bob", "the other fragments did not come")
	send(piece(5, 8, 40, false))
	for i := range 100 { // too many at once
		send(piece(1000+i, 0, 8, true))
	}
	send(piece(1000, 8, 40, false))
	send(piece(1099, 8, 40, false))
	if len(b.got) != 2 {
		t.Errorf("got %d datagrams, want the youngest only", len(b.got))
	}
}

// RFC 4787, 11, REQ-14: pieces that arrive in any order pass a NAT both ways,
// and one that holds pieces back says so.
func TestFragmentsThroughNAT(t *testing.T) {
	n := newLab(t, 2)
	home := n.router("home", "port-restricted", "203.0.113.1")
	rough := link.Config{MTU: 600, Delay: ms, Reorder: 0.5}
	alice, err := home.Host("alice", rough, addr("192.168.1.2"))
	if err != nil {
		t.Fatal(err)
	}
	a, s := n.bind(alice, 5000), n.bind(n.host("server", "198.51.100.1"), 3544)
	if err := home.SetLink(rough); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		text := strings.Repeat(string(rune('a'+i)), 3000)
		a.send(s.LocalAddr(), text)
		n.run(time.Second)
		mapped := s.last(text)
		s.send(mapped, strings.ToUpper(text))
		n.run(time.Second)
		a.last(strings.ToUpper(text))
	}
	if held := strings.Count(strings.Join(n.events, "\n"), " held "); held == 0 {
		t.Error("no piece came before the first: the test shows nothing")
	}
}
