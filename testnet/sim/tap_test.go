package sim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/sim"
)

// L-03: a tap passes, changes, swallows, holds back and adds packets, in both
// directions, and watchers tell what it made from what was sent.
func TestTap(t *testing.T) {
	n := newLab(t, 1)
	alice, bob := n.host("alice", "198.51.100.1"), n.host("bob", "198.51.100.2")
	a, b := n.bind(alice, 1), n.bind(bob, 2)
	var lines []string
	n.Watch(func(tr sim.Transit) {
		if tr.Forged {
			lines = append(lines, tr.Line)
		}
	})
	ids := map[uint64]bool{}
	n.Watch(func(tr sim.Transit) { ids[tr.ID] = true })
	tap := alice.Tap("mallory", func(p *sim.Passage) {
		if p.Line != "alice/up" && p.Line != "alice/down" || p.Up != strings.HasSuffix(p.Line, "up") {
			t.Errorf("passage %+v", p)
		}
		switch text := string(p.Packet[28:]); {
		case text == "swallow":
			p.Drop = true
		case text == "hold":
			p.Delay = time.Second
		case text == "change":
			p.Packet = ipv4.AppendUDP(nil, 1, a.LocalAddr(), b.LocalAddr(), []byte("changed"))
		case strings.HasPrefix(text, "reply"):
			p.Packet[27] = 0 // no checksum
			p.Packet[26] = 0
			copy(p.Packet[28:], "REPLY")
		}
	})
	for _, text := range []string{"swallow", "hold", "change", "pass"} {
		a.send(b.LocalAddr(), text)
	}
	b.send(a.LocalAddr(), "reply")
	n.run(500 * ms)
	if !slices.Equal(b.got, []string{"changed", "pass"}) || !slices.Equal(a.got, []string{"REPLY"}) {
		t.Errorf("bob %q, alice %q", b.got, a.got)
	}
	n.run(time.Second)
	b.last("hold")
	if len(ids) != 5 || ids[0] {
		t.Errorf("ids %v of 5 packets", ids)
	}
	tap.Inject(ipv4.AppendUDP(nil, 1, a.LocalAddr(), b.LocalAddr(), []byte("in alice's name")), true)
	tap.Inject(ipv4.AppendUDP(nil, 1, b.LocalAddr(), a.LocalAddr(), []byte("in bob's name")), false)
	n.run(time.Second)
	if from := b.last("in alice's name"); from != a.LocalAddr() {
		t.Errorf("from %v", from)
	}
	a.last("in bob's name")
	want := []string{"alice/up", "bob/down", "alice/down", "alice/up", "alice/down", "bob/down"}
	if !slices.Equal(lines, want) {
		t.Errorf("forged on %v, want %v", lines, want)
	}
	if s := n.Stats(); s.Forged != 4 {
		t.Errorf("%d forged", s.Forged)
	}
	tap.Remove()
	a.send(b.LocalAddr(), "swallow")
	n.run(time.Second)
	b.last("swallow")
}

// Taps see what the one before lets through; one may leave in mid-passage.
func TestTwoTaps(t *testing.T) {
	n := newLab(t, 1)
	alice := n.host("alice", "198.51.100.1")
	a, b := n.bind(alice, 1), n.bind(n.host("bob", "198.51.100.2"), 2)
	var first, second *sim.Tap
	seen := ""
	first = alice.Tap("first", func(p *sim.Passage) { first.Remove(); p.Packet[26], p.Packet[27], p.Packet[28] = 0, 0, 'X' })
	second = alice.Tap("second", func(p *sim.Passage) { seen += string(p.Packet[28:]) })
	a.send(b.LocalAddr(), "a")
	n.run(time.Second)
	a.send(b.LocalAddr(), "b")
	n.run(time.Second)
	if seen != "Xb" || !slices.Equal(b.got, []string{"X", "b"}) {
		t.Errorf("second saw %q, bob %q", seen, b.got)
	}
	second.Remove()
}

// A forging host's packets are marked wherever they go.
func TestSendForged(t *testing.T) {
	n := newLab(t, 1)
	home := n.router("home", "cone", "203.0.113.1")
	alice := n.behind(home, "alice", "192.168.1.2")
	eve := n.host("eve", "198.51.100.9")
	a, s := n.bind(alice, 5000), n.bind(n.host("server", "198.51.100.1"), 3544)
	a.send(s.LocalAddr(), "x")
	n.run(time.Second)
	mapped := s.last("x")
	var lines []string
	n.Watch(func(tr sim.Transit) {
		if tr.Forged {
			lines = append(lines, tr.Line)
		}
	})
	pkt := ipv4.AppendUDP(nil, 1, s.LocalAddr(), mapped, []byte("not from the server"))
	for range 2 {
		eve.SendForged(pkt) // twice the same: no loop to blame on anybody
		n.run(time.Second)
	}
	if from := a.last("not from the server"); from != s.LocalAddr() || len(a.got) != 2 {
		t.Errorf("from %v, %d times", from, len(a.got))
	}
	want := []string{"eve/up", "home/down", "alice/down"}
	if !slices.Equal(lines, slices.Concat(want, want)) {
		t.Errorf("forged on %v", lines)
	}
}
