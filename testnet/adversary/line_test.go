package adversary_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shipworm/testnet/adversary"
	"shipworm/testnet/internal/ipv4"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
)

// L-03: a man in the middle rewrites both directions, addresses included, with
// right checksums; swallows, delays and adds.
func TestMITM(t *testing.T) {
	n := newTown(t)
	m := adversary.MITM{Rewrite: func(m *adversary.Message) {
		switch text := string(m.Payload); {
		case text == "secret":
			m.Payload = []byte("a longer secret")
		case strings.HasPrefix(text, "A LONGER"):
			m.From = netip.AddrPortFrom(m.From.Addr(), 99)
		case text == "eat":
			m.Drop = true
		case text == "wait":
			m.Delay = 5 * time.Second
		case text == "spoil":
			m.To = addrPort("[2001:db8::1]:1")
		}
	}}
	m.Attach(n.alice)
	n.say("plain", "secret", "eat", "wait", "spoil", "late")
	n.run(10 * time.Second)
	n.expect("server", n.heard,
		"203.0.113.1:5000 plain", "203.0.113.1:5000 a longer secret", "203.0.113.1:5000 late", "203.0.113.1:5000 wait")
	n.expect("alice", n.got,
		"198.51.100.1:3544 PLAIN", "198.51.100.1:99 A LONGER SECRET", "198.51.100.1:3544 LATE", "198.51.100.1:3544 WAIT")
	m.Inject(true, addrPort("192.168.1.2:5000"), server, []byte("from the man"))
	m.Inject(false, forger, addrPort("192.168.1.2:5000"), []byte("hi"))
	n.alice.Send(ipv4.AppendEcho(nil, ipv4.EchoRequest, addr("192.168.1.2"), server.Addr(), 1, 1, nil)) // passes
	n.run(time.Second)
	n.expect("server", n.heard[4:], "203.0.113.1:5000 from the man")
	n.expect("alice", n.got[4:], "198.18.5.6:777 hi", "198.51.100.1:3544 FROM THE MAN")
	if s := m.Stats(); s != (adversary.Stats{Seen: 11, Sent: 2, Bytes: 70, Changed: 2, Swallowed: 2}) {
		t.Errorf("%+v", s)
	}
	m.Detach()
	n.say("eat")
	if len(n.heard) != 6 {
		t.Error("still there")
	}
}

// L-03: a replayer plays what it captured again: on the line in time, or from
// elsewhere.
func TestReplayer(t *testing.T) {
	n := newTown(t)
	r := adversary.Replayer{After: 30 * time.Second, Keep: 2, Match: func(p *sim.Passage) bool { return p.Up }}
	r.Attach(n.w, n.home)
	n.say("one", "two", "three")
	n.run(time.Minute)
	n.expect("server", n.heard[3:], "203.0.113.1:5000 one", "203.0.113.1:5000 two")
	c := r.Captured()
	if len(c) != 2 || !c[0].Up || r.Stats().Seen != 8 {
		t.Fatalf("captured %v, %+v", c, r.Stats())
	}
	if from, to, b, ok := c[1].Datagram(); !ok || from != addrPort("203.0.113.1:5000") || to != server || string(b) != "two" {
		t.Errorf("%v %v %q %v", from, to, b, ok)
	}
	r.ReplayFrom(n.eve, c[1])
	n.run(time.Second)
	n.expect("server", n.heard[5:], "203.0.113.1:5000 two")
	r.Detach()
	n.say("four")
	if s := r.Stats(); s.Seen != 9 || s.Sent != 3 {
		t.Errorf("%+v", s)
	}
}

// L-03: the liar quotes real packets, so that its errors pass a NAT, in both
// directions; neither the flow nor the mapping suffers (RFC 4787, REQ-10).
func TestICMPLiar(t *testing.T) {
	n := newTown(t)
	errors := map[string]int{}
	n.alice.Receive = func(_ time.Time, b []byte) { errors[ipv4.Summary(b)]++ }
	l := adversary.ICMPLiar{}
	l.Attach(n.home)
	n.say("one", "two")
	n.expect("alice", n.got, "198.51.100.1:3544 ONE", "198.51.100.1:3544 TWO")
	lies := len(adversary.Lies())
	if s := l.Stats(); s.Sent != uint64(4*lies) {
		t.Errorf("%+v, want %d errors about each of 4 packets", s, lies)
	}
	if len(errors) < 5 {
		t.Errorf("alice saw %v", errors)
	}
	l.Detach()
	before := len(errors)
	l.From, l.Lies = addr("192.0.2.254"), []adversary.Lie{{Type: ipv4.Unreachable, Code: ipv4.CodePort}}
	l.LieFrom(n.eve, ipv4.AppendUDP(nil, 1, addrPort("203.0.113.1:5000"), server, []byte("guessed")))
	n.run(time.Second)
	if len(errors) != before+1 {
		t.Errorf("off the path: alice saw %v", errors)
	}
	n.say("three")
	n.expect("server", n.heard[2:], "203.0.113.1:5000 three")
}

// L-03: a black hole takes a direction, a destination, or all.
func TestBlackHole(t *testing.T) {
	for _, test := range []struct {
		name        string
		hole        adversary.BlackHole
		heard, got  int
		seen, eaten uint64
	}{
		{"all", adversary.BlackHole{}, 0, 0, 1, 1},
		{"up", adversary.BlackHole{Direction: adversary.Up}, 0, 0, 1, 1},
		{"down", adversary.BlackHole{Direction: adversary.Down}, 1, 0, 2, 1},
		{"destination", adversary.BlackHole{Remote: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/30")}}, 0, 0, 1, 1},
		{"source", adversary.BlackHole{Direction: adversary.Down, Remote: []netip.Prefix{netip.PrefixFrom(server.Addr(), 32)}}, 1, 0, 2, 1},
		{"other destination", adversary.BlackHole{Remote: []netip.Prefix{netip.MustParsePrefix("198.51.100.4/30")}}, 1, 1, 2, 0},
		{"matched", adversary.BlackHole{Match: func(p *sim.Passage) bool { return len(p.Packet) > 100 }}, 1, 1, 2, 0},
	} {
		n := newTown(t)
		test.hole.Attach(n.home)
		n.say("x")
		if len(n.heard) != test.heard || len(n.got) != test.got || test.hole.Stats() != (adversary.Stats{Seen: test.seen, Swallowed: test.eaten}) {
			t.Errorf("%s: heard %v, got %v, %+v", test.name, n.heard, n.got, test.hole.Stats())
		}
		test.hole.Detach()
		n.say("y")
		if len(n.got) != test.got+1 {
			t.Errorf("%s: the hole is still there", test.name)
		}
	}
}

// L-02: the same seed gives the same trace, with every adversary at work on
// lines with faults.
func TestDeterminism(t *testing.T) {
	trace := func() string {
		n := newTown(t)
		sum := sim.NewHash()
		n.w.SetTrace(sum.Add)
		if err := n.home.SetLink(link.Config{Delay: time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1}); err != nil {
			t.Fatal(err)
		}
		(&adversary.MITM{Rewrite: func(m *adversary.Message) { m.Payload = append(m.Payload, '!') }}).Attach(n.alice)
		(&adversary.Replayer{After: time.Second}).Attach(n.w, n.home)
		(&adversary.ICMPLiar{}).Attach(n.home)
		(&adversary.BlackHole{Match: func(p *sim.Passage) bool { return p.Packet[5]%7 == 0 }}).Attach(n.home)
		(&adversary.Flooder{
			Rate: 100, To: netip.AddrPortFrom(public, 5000), From: adversary.Sources(n.w.Seed(), netip.MustParsePrefix("198.18.0.0/15")),
			Payload: func(i int, from netip.AddrPort) []byte { return fmt.Append(nil, i, from) },
		}).Attach(n.w, n.eve)
		if err := (&adversary.Dripper{
			Conversations: 5, Every: time.Second, To: server,
			Payload: func(c, step int, _ netip.AddrPort) []byte { return fmt.Append(nil, c, step) },
		}).Attach(n.w, n.eve); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			n.say(fmt.Sprint("text ", i))
		}
		if sum.Len() < 1000 {
			t.Fatalf("%d events", sum.Len())
		}
		return sum.Sum()
	}
	if a, b := trace(), trace(); a != b {
		t.Errorf("%s, then %s", a, b)
	}
}
